/* SPDX-License-Identifier: MIT */
/*
 * The guest CPU: architectural state that does not live in the hardware while translated code runs, and the page of
 * spill slots and virtual flags that translated code can write. Field names follow QEMU's CPUX86State.
 */
#ifndef DBT_CPU_H
#define DBT_CPU_H

#include "dbt/debug.h"
#include "dbt/decode.h"
#include "kernel/lib/types.h"

/* EFLAGS, SDM vol. 1 3.4.3 */
#define CC_C    0x0001u
#define CC_P    0x0004u
#define CC_A    0x0010u
#define CC_Z    0x0040u
#define CC_S    0x0080u
#define CC_O    0x0800u
#define CC_ALL  (CC_C | CC_P | CC_A | CC_Z | CC_S | CC_O)
#define TF_MASK   0x00000100u
#define IF_MASK   0x00000200u
#define DF_MASK   0x00000400u
#define IOPL_MASK 0x00003000u
#define NT_MASK   0x00004000u
#define RF_MASK   0x00010000u
#define VM_MASK   0x00020000u
#define AC_MASK   0x00040000u
#define VIF_MASK  0x00080000u
#define VIP_MASK  0x00100000u
#define ID_MASK   0x00200000u
/* Virtual flags that make vcpu_page.flags_special. */
#define EFLAGS_SPECIAL_MASK (TF_MASK | IOPL_MASK | NT_MASK | RF_MASK | VM_MASK | AC_MASK | VIF_MASK | VIP_MASK | ID_MASK)
/* Flag bits that live in the hardware while guest code runs; all others are virtual (env->eflags). */
#define EFLAGS_HW_MASK (CC_ALL | DF_MASK)

/* Control register and EFER bits, SDM vol. 3 2.5, 2.2.1 */
#define CR0_PE_MASK 0x00000001u
#define CR0_MP_MASK 0x00000002u
#define CR0_EM_MASK 0x00000004u
#define CR0_TS_MASK 0x00000008u
#define CR0_ET_MASK 0x00000010u
#define CR0_NE_MASK 0x00000020u
#define CR0_WP_MASK 0x00010000u
#define CR0_AM_MASK 0x00040000u
#define CR0_NW_MASK 0x20000000u
#define CR0_CD_MASK 0x40000000u
#define CR0_PG_MASK 0x80000000u
#define CR4_TSD_MASK 0x0004u
#define CR4_DE_MASK 0x0008u
#define CR4_PSE_MASK 0x0010u
#define CR4_PAE_MASK 0x0020u
#define CR4_MCE_MASK 0x0040u
#define CR4_PGE_MASK 0x0080u
#define CR4_PCE_MASK 0x0100u
#define CR4_OSFXSR_MASK 0x0200u
#define CR4_OSXMMEXCPT_MASK 0x0400u
#define CR4_UMIP_MASK 0x0800u
#define CR4_LA57_MASK 0x1000u
#define CR4_FSGSBASE_MASK 0x10000u
#define CR4_PCIDE_MASK 0x20000u
#define CR4_OSXSAVE_MASK 0x40000u
#define CR4_SMEP_MASK 0x100000u
#define CR4_SMAP_MASK 0x200000u
#define CR4_PKE_MASK 0x400000u
#define MSR_EFER_SCE 0x0001u
#define MSR_EFER_LME 0x0100u
#define MSR_EFER_LMA 0x0400u
#define MSR_EFER_NXE 0x0800u

/* Exception vectors, SDM vol. 3 6.15 */
enum {
    EXCP00_DIVZ = 0, EXCP01_DB = 1, EXCP02_NMI = 2, EXCP03_INT3 = 3, EXCP04_INTO = 4, EXCP05_BOUND = 5,
    EXCP06_ILLOP = 6, EXCP07_PREX = 7, EXCP08_DBLE = 8, EXCP0A_TSS = 10, EXCP0B_NOSEG = 11,
    EXCP0C_STACK = 12, EXCP0D_GPF = 13, EXCP0E_PAGE = 14, EXCP10_COPR = 16, EXCP11_ALGN = 17,
    EXCP12_MCHK = 18, EXCP13_SIMD = 19
};
/* cpu->exception_index beyond the architecture's 0..255 */
#define EXCP_NONE        (-1)
#define EXCP_HALTED      0x10001 /* hlt: wait for an interrupt */
#define EXCP_EXIT        0x10002 /* the run ends: cpu->exit_request says why */

/* #PF error code bits, SDM vol. 3 4.7 */
#define PG_ERROR_P_MASK  0x01u
#define PG_ERROR_W_MASK  0x02u
#define PG_ERROR_U_MASK  0x04u
#define PG_ERROR_RSVD_MASK 0x08u
#define PG_ERROR_I_D_MASK 0x10u

/* A segment register with its hidden part. flags = the descriptor's second dword & 0x00f0ff00, as in QEMU. */
struct segment_cache {
    uint16_t selector;
    uint32_t limit; /* bytes - 1, granularity applied */
    uint32_t flags;
    uint64_t base;
};
#define DESC_G_MASK   (1u << 23)
#define DESC_B_MASK   (1u << 22)
#define DESC_L_MASK   (1u << 21)
#define DESC_P_MASK   (1u << 15)
#define DESC_DPL_SHIFT 13
#define DESC_DPL_MASK (3u << DESC_DPL_SHIFT)
#define DESC_S_MASK   (1u << 12)
#define DESC_TYPE_SHIFT 8
#define DESC_A_MASK   (1u << 8)
#define DESC_CS_MASK  (1u << 11) /* code */
#define DESC_C_MASK   (1u << 10) /* code: conforming */
#define DESC_E_MASK   (1u << 10) /* data: expand down */
#define DESC_R_MASK   (1u << 9)  /* code: readable */
#define DESC_W_MASK   (1u << 9)  /* data: writable */
#define DESC_TSS_BUSY_MASK (1u << 9)

/*
 * env: the architectural state. While translated code runs, regs[], the EFLAGS_HW_MASK bits, FS and GS bases and all
 * FP/vector state are in the hardware, kernelgsbase in the vCPU page; cpu_tb_exec() leaves regs and flags here when it returns, and
 * cpu_restore_state() makes them exact for a guest pc. Everything else is always here.
 */
struct CPUX86State {
    uint64_t regs[16];
    uint64_t eip;
    uint64_t eflags;  /* complete architectural value once state is restored; bit 1 set */
    struct segment_cache segs[6]; /* selector values; for FS and GS the base is mirrored in the hardware */
    struct segment_cache ldt, tr, gdt, idt;
    uint64_t cr[5];   /* cr[1] unused */
    uint64_t cr8;
    uint64_t xcr0;
    uint64_t dr[8];
    uint64_t efer, star, lstar, cstar, fmask, kernelgsbase;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, tsc_aux, apicbase, misc_enable, mtrr_deftype, tsc_offset;
    uint8_t cpl;
    uint8_t inhibit_irq; /* the next instruction is in the shadow of INHIBIT_*; 0 = none */
};
#define INHIBIT_STI 1 /* external interrupts wait */
#define INHIBIT_SS  2 /* mov ss, pop ss: debug exceptions too */
#define DR6_BS      0x00004000u /* SDM vol. 3 17.2.3 */

/* Why a run ended; with cpu->exit_code as detail. Printed by the kernel in one line each. */
enum cpu_exit_request {
    CPU_RUNNING,
    CPU_EXIT_PORT,         /* guest wrote port 0xf4: exit_code = value */
    CPU_EXIT_TRIPLE_FAULT,
    CPU_EXIT_UNSUPPORTED,  /* "not translated yet" */
    CPU_EXIT_HALTED,       /* hlt with interrupts off */
    CPU_EXIT_RESET,        /* guest asked for a reset (0xcf9, i8042) */
    CPU_EXIT_POWEROFF,
    CPU_EXIT_TIMEOUT,
    CPU_EXIT_USER,         /* the user quit */
    CPU_EXIT_DEBUG,        /* not an end: debug.stop says why the monitor's prompt is wanted */
    CPU_EXIT_ERROR,        /* guest broke a limit of the monitor: exit_msg says */
    CPU_EXIT_NOWHERE       /* guest executes where it has no memory */
};

/*
 * The vCPU page, readable and writable by translated code at a fixed address (host.h: VCPU_PAGE_ADDR). All of it is
 * guest-owned: the monitor validates whatever it reads from here.
 */
struct vcpu_page {
    uint64_t spill[16]; /* slot n holds guest GPR n while glue uses the register (translate.h: recipes) */
    uint64_t target;    /* where the indirect branch leads that is looked up */
    uint64_t zero;      /* behind it: 8 bytes at target + 2 are target >> 16 */
    uint64_t sel[6];    /* segment selectors, zero-extended, for mov r, sreg */
    uint8_t vif;           /* kernel view: the guest's IF while translated code runs; cli and sti write it */
    uint8_t irq_pending;   /* an interrupt waits for IF: sti looks at it */
    uint8_t flags_special; /* pushf must ask the monitor: EFLAGS has bits that the hardware does not hold */
    /* The redo TB's store (translate-store.c): where it goes; of a repeated string, how many elements now, how many then
     * are left, and what added to rdi gives the guest's rdi again. */
    uint64_t alias, alias_count, alias_rest, alias_back;
    uint64_t check_addr; /* smc = check: the address of the store that is being checked */
    uint64_t seg_base[2]; /* smc = check: of FS and GS */
    uint64_t kernelgsbase; /* kernel view: the guest's KERNEL_GS_BASE, which an inline swapgs exchanges with the hardware's GS base */
    uint64_t cr2; /* kernel view: a copy of the guest's CR2, for mov from it */
};

struct TranslationBlock;
#define TB_JMP_CACHE_BITS 12
#define TB_JMP_CACHE_SIZE (1 << TB_JMP_CACHE_BITS)
#define JMP_CACHE_LOG 512

/* Per-CPU event counters, printed as nd-stat lines; indices are names in STAT_LIST. */
#define STAT_LIST(X)                                                                               \
    X(tb_gen) X(tb_flush) X(tb_invalidated) X(smc_fault) X(smc_fault_miss) X(smc_same_value) X(page_protect)         \
    X(page_unprotect) X(shadow_fill) X(shadow_flush) X(guest_fault) X(exit_total) X(exit_chain)    \
    X(exit_lookup) X(exit_sens) X(exit_fault) X(exit_irq) X(exit_step) X(mmio) X(irq)              \
    X(guest_insn_translated) X(guest_bytes_translated) X(cache_bytes) X(redo_tb) X(redo_window) \
    X(page_self_check) X(page_reprotect) X(page_bulk) X(page_linger) X(self_check_fail) X(data_imm) \
    X(store_site_miss) X(store_site_hot) X(store_site_cooled) X(store_site_armed)                  \
    X(jmp_settled) X(smc_check) X(smc_check_miss) X(smc_check_fill) X(smc_check_vain)
enum stat_id {
#define X(n) STAT_##n,
    STAT_LIST(X)
#undef X
    STAT_COUNT
};

/* What ends the translations of addresses, and which. */
enum tlb_flush {
    TLB_FLUSH_LOCAL,  /* MOV to CR3: those of global pages stay */
    TLB_FLUSH_MODES,  /* CR0.WP, CR4.SMEP, EFER.NXE, A20, a restored snapshot: forget everything */
    TLB_FLUSH_GLOBAL, /* CR4.PGE and PSE, MOV to CR3 without PGE: the entries of the tables may have changed, their meaning has not */
};

#define SMC_RANGE_MAX 4 /* pages that one instruction's stores can touch: two operands, two pages each */

/* One virtual CPU: monitor-private. Owner: the host CPU that runs it; others may only set `interrupt_request`. */
struct CPUState {
    struct CPUX86State env;
    int exception_index;        /* EXCP_NONE, a vector to be delivered, or EXCP_* */
    uint64_t error_code;        /* with exception_index */
    bool exception_is_int;      /* software interrupt (int n, int3, into): checks DPL, pushes next_eip */
    uint64_t exception_next_eip;
    int old_exception;          /* vector under delivery, for double faults; EXCP_NONE */
    enum cpu_exit_request exit_request;
    uint64_t exit_code;
    char exit_msg[160];
    volatile uint32_t interrupt_request; /* bit 0: an external interrupt is pending at the guest's PIC */
    uint32_t cflags_next_tb;    /* (uint32_t)-1 = none, as in QEMU */
    struct {
        gva_t va;
        uint64_t len;           /* bytes, within one page */
        ram_addr_t ram;         /* where va lies; ~0 if it is not RAM */
    } smc_range[SMC_RANGE_MAX]; /* stores that the next redo TB makes to pages with code (notdirty.c) */
    unsigned nr_smc_ranges;
    bool smc_alias;             /* they need no windows: the redo TB writes them through an alias, or nothing traps (smc = check) */
    gva_t mmio_page[SMC_RANGE_MAX]; /* device pages that the next redo TB accesses (the host's handle_fault) */
    unsigned nr_mmio_pages;
    gva_t watch_page[SMC_RANGE_MAX]; /* unmapped because they are watched, and the next redo TB accesses them */
    bool watch_writable[SMC_RANGE_MAX];
    unsigned nr_watch_pages;
    struct TranslationBlock *tb_jmp_cache[TB_JMP_CACHE_SIZE];
    uint16_t jmp_cache_log[JMP_CACHE_LOG]; /* entries of tb_jmp_cache filled with non-global TBs */
    unsigned jmp_cache_logged;             /* > JMP_CACHE_LOG: more than the log holds */
    bool want_pad;              /* the next TB is looked up for an indirect branch: a new one gets a landing pad in front */
    bool code_page_global;      /* get_page_addr_code()'s last page is mapped global */
    struct vcpu_page *vp;       /* monitor's mapping of the vCPU page of the present view */
    struct vcpu_page *vp_view[2]; /* [1]: the guest-user view's; another page, so that user code cannot reach the kernel's */
    struct cpu_debug debug;
    uint64_t stat[STAT_COUNT];
    enum stat_id last_stat;     /* the last event counted: what a profile charges the monitor's time to */
    void *host;                 /* the embedding environment's per-CPU data */
};
#define CPU_STAT(cpu, name) ((void)((cpu)->last_stat = STAT_##name), (cpu)->stat[STAT_##name]++)

/* env.segs[seg].selector has changed: the vCPU pages show it too (null in unit tests). */
static inline void vcpu_publish_selector(struct CPUState *cpu, unsigned seg)
{
    for (unsigned v = 0; v < 2; v++) {
        if (cpu->vp_view[v]) {
            cpu->vp_view[v]->sel[seg] = cpu->env.segs[seg].selector;
        }
    }
}

/* env.kernelgsbase has changed. While translated code runs it lives in the kernel view's page. */
static inline void vcpu_publish_kernel_gs(struct CPUState *cpu)
{
    if (cpu->vp_view[0]) {
        cpu->vp_view[0]->kernelgsbase = cpu->env.kernelgsbase;
    }
}

/* The guest's kernel can write what it likes there: what is not canonical is made so. */
static inline void vcpu_sync_kernel_gs(struct CPUState *cpu)
{
    if (cpu->vp_view[0]) {
        cpu->env.kernelgsbase = (uint64_t)((int64_t)(cpu->vp_view[0]->kernelgsbase << 16) >> 16);
    }
}

/* env.cr[2] has changed, for the guest to see: an exception is delivered, or it was written. */
static inline void vcpu_publish_cr2(struct CPUState *cpu)
{
    if (cpu->vp_view[0]) {
        cpu->vp_view[0]->cr2 = cpu->env.cr[2];
    }
}

/* Queue an exception with or without error code for delivery before the next guest instruction. */
void raise_exception_err(struct CPUState *cpu, int vector, uint64_t error_code);
void raise_exception(struct CPUState *cpu, int vector);

#endif
