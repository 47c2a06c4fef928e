/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of kernel/vcpu/ only. A function that can raise returns 0, or 1 with an
 * exception in cpu->exception_index (or the run ended); on 1 the guest state is as before the
 * instruction, except where a comment says otherwise.
 */
#ifndef KERNEL_VCPU_INTERNAL_H
#define KERNEL_VCPU_INTERNAL_H

#include "dbt/cpu.h"
#include "dbt/decode.h"
#include "dbt/host.h"
#include "kernel/lib/types.h"
#include "kernel/vcpu/vcpu.h"

/* What a handler of one instruction returns; helper_sensitive() moves eip after SENS_NEXT. */
enum sens_result {
    SENS_NEXT,   /* done, continue behind the instruction */
    SENS_RAISED, /* exception raised or run ended */
    SENS_JUMPED, /* done, eip is set */
};
typedef int sens_fn(struct CPUState *cpu, const struct insn *insn);

/* A software interrupt's kind, in cpu->error_code while exception_is_int: int1 is not subject to
 * the DPL check. */
#define SOFT_INT_N     0
#define SOFT_INT_ICEBP 1

/* ---- excp.c ---- */

/* raise_exception_err() in an expression: always 1. */
int raise_fault(struct CPUState *cpu, int vector, uint64_t error_code);
/* End the run: exit_request, exit_msg, EXCP_EXIT. Always 1. */
int cpu_end_run(struct CPUState *cpu, enum cpu_exit_request why, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The guest asks for a code segment that is not 64-bit, to run at `cpl`. User code may enter it (0);
 * for others the run ends (1). */
int refuse_cs32(struct CPUState *cpu, const char *what, uint16_t selector, unsigned cpl);
/* User code has entered it, CS and rip are loaded: its first instruction is #UD, whatever it is.
 * Always 1. */
int entered_cs32(struct CPUState *cpu, const char *what);
/* Short name such as "#GP"; "int" for vectors without one. */
const char *exception_name(int vector);
/* SDM vol. 3 6.15: `second` was raised while `first` was being delivered. Returns the vector to
 * deliver: second, #DF, or -1 for a triple fault. first = EXCP_NONE for interrupts, which are
 * benign. */
int check_exception(int first, int second);

/* ---- mem.c: operands ---- */

static inline bool is_canonical(gva_t va)
{
    return (uint64_t)((int64_t)(va << 16) >> 16) == va; /* 48 bits: LA57 is hidden */
}

/* A range that wraps round the top counts as non-canonical: the environment never sees one. */
static inline bool is_canonical_range(gva_t va, uint64_t len)
{
    return is_canonical(va) && is_canonical(va + len - 1) && va + len - 1 >= va;
}

static inline bool is_user(const struct CPUState *cpu)
{
    return cpu->env.cpl == 3;
}

static inline unsigned cpu_iopl(const struct CPUState *cpu)
{
    return (unsigned)(cpu->env.eflags & IOPL_MASK) >> 12;
}

/* Operand size where the default is 4 (insn_osz) or 8 (insn_osz64: stack instructions). */
static inline unsigned insn_osz(const struct insn *insn)
{
    return insn->rex & 8 ? 8 : insn->pfx & PFX_OSZ ? 2 : 4;
}

static inline unsigned insn_osz64(const struct insn *insn)
{
    return !(insn->rex & 8) && (insn->pfx & PFX_OSZ) ? 2 : 8;
}

/* ModRM.reg without and with REX.R; ModRM.rm as a register, also where mod is ignored (mov cr). */
static inline unsigned insn_reg3(const struct insn *insn)
{
    return (insn->modrm >> 3) & 7;
}

static inline unsigned insn_reg4(const struct insn *insn)
{
    return insn_reg3(insn) | (insn->rex & 4 ? 8u : 0u);
}

static inline unsigned insn_rm4(const struct insn *insn)
{
    return (insn->modrm & 7) | (insn->rex & 1 ? 8u : 0u);
}

static inline uint64_t insn_next(const struct CPUState *cpu, const struct insn *insn)
{
    return cpu->env.eip + insn->len;
}

/* Write a GPR as the hardware does: 8 and 4 bytes replace all 64 bits, 2 and 1 (low byte) merge. */
void gpr_write(struct CPUState *cpu, unsigned reg, unsigned size, uint64_t value);

/* Linear address of the ModRM memory operand; no checks. */
gva_t operand_ea(struct CPUState *cpu, const struct insn *insn);
/* The memory operand, at the present privilege. Non-canonical: #SS(0) for stack-based addresses,
 * #GP(0) for others. */
int operand_load(struct CPUState *cpu, const struct insn *insn, void *buf, unsigned len);
int operand_store(struct CPUState *cpu, const struct insn *insn, const void *buf, unsigned len);
/* r/m16 source; and r/m destination of sldt, str, smsw, mov r/m,sreg: 16 bits to memory, operand
 * size to a register. */
int operand_load16(struct CPUState *cpu, const struct insn *insn, uint16_t *value);
int operand_store_rm16(struct CPUState *cpu, const struct insn *insn, uint64_t value);

/* Stack at the present privilege; #SS(0) if not canonical. push moves rsp on success, peek does
 * not. */
int stack_push(struct CPUState *cpu, const void *buf, unsigned len);
int stack_peek(struct CPUState *cpu, uint64_t offset, void *buf, unsigned len);
/* An implicit supervisor access to a system table; #GP(error_code) if not canonical. */
int system_load(struct CPUState *cpu, gva_t va, void *buf, unsigned len, uint64_t error_code);
int system_store(struct CPUState *cpu, gva_t va, const void *buf, unsigned len,
                 uint64_t error_code);

/* #GP(0) unless CPL = 0. */
static inline int require_cpl0(struct CPUState *cpu)
{
    return cpu->env.cpl ? raise_fault(cpu, EXCP0D_GPF, 0) : 0;
}

/* ---- seg.c: descriptors ---- */

struct desc {
    gva_t addr;      /* where it lies */
    uint32_t e1, e2; /* low and high dword, QEMU's names */
    uint32_t e3, e4; /* system descriptors: upper 8 bytes */
};
enum desc_status {
    DESC_OK,
    DESC_RAISED,
    DESC_LIMIT /* selector beyond its table: nothing raised */
};

#define DESC_CACHE_MASK 0x00f0ff00u /* of e2: what segment_cache.flags keeps */
#define DESC_TYPE(e2)   (((e2) >> DESC_TYPE_SHIFT) & 15)
#define DESC_DPL(e2)    (((e2) >> DESC_DPL_SHIFT) & 3)
#define SEL_RPL(s)      ((s)&3u)
#define SEL_ERR(s)      ((s)&0xfffcu) /* as an error code */
#define SEL_NULL(s)     (SEL_ERR(s) == 0)
/* System descriptor types in long mode, SDM vol. 3 table 3-2 */
enum {
    SYS_LDT = 2,
    SYS_TSS_AVAIL = 9,
    SYS_TSS_BUSY = 11,
    SYS_CALL_GATE = 12,
    SYS_INT_GATE = 14,
    SYS_TRAP_GATE = 15
};

/* Flat segments as syscall, sysenter and cpu_reset() make them. */
#define FLAT_CODE64(dpl)                                                                           \
    (DESC_G_MASK | DESC_L_MASK | DESC_P_MASK | DESC_S_MASK | DESC_CS_MASK | DESC_R_MASK |          \
     DESC_A_MASK | ((uint32_t)(dpl) << DESC_DPL_SHIFT))
#define FLAT_DATA(dpl)                                                                             \
    (DESC_G_MASK | DESC_B_MASK | DESC_P_MASK | DESC_S_MASK | DESC_W_MASK | DESC_A_MASK |           \
     ((uint32_t)(dpl) << DESC_DPL_SHIFT))

static inline uint32_t desc_base32(const struct desc *d)
{
    return d->e1 >> 16 | (d->e2 & 0xff) << 16 | (d->e2 & 0xff000000u);
}

static inline uint32_t desc_limit(const struct desc *d)
{
    uint32_t limit = (d->e1 & 0xffff) | (d->e2 & 0xf0000);

    return d->e2 & DESC_G_MASK ? limit << 12 | 0xfff : limit;
}

static inline bool desc_is_code(uint32_t e2)
{
    return (e2 & (DESC_S_MASK | DESC_CS_MASK)) == (DESC_S_MASK | DESC_CS_MASK);
}

/* Fetch the 8-byte, or with `system` also the upper 8 bytes of a 16-byte, descriptor. */
enum desc_status load_segment(struct CPUState *cpu, uint16_t selector, struct desc *d);
enum desc_status load_system_upper(struct CPUState *cpu, uint16_t selector, struct desc *d);
/* As above, a selector beyond the table is #GP(selector | ext). */
int load_segment_gp(struct CPUState *cpu, uint16_t selector, unsigned ext, struct desc *d);
/* Set the accessed bit in memory if it is clear. */
int set_accessed(struct CPUState *cpu, struct desc *d);
/* Load the hidden part and keep every mirror right: vCPU page, hardware FS/GS base, cpl for CS. */
void cpu_x86_load_seg_cache(struct CPUState *cpu, unsigned seg, uint16_t selector, uint64_t base,
                            uint32_t limit, uint32_t flags);
/* From a descriptor. */
void load_seg_desc(struct CPUState *cpu, unsigned seg, uint16_t selector, const struct desc *d);
/* Unusable SS with the selector a change of privilege gives it: null with RPL = cpl. */
void load_null_ss(struct CPUState *cpu, unsigned cpl);
/* mov/pop/lxs into a segment register other than CS, with all checks. */
int load_sreg(struct CPUState *cpu, unsigned seg, uint16_t selector);
/* RSPn (offset 4 + 8n) or ISTn from the 64-bit TSS: #TS(TR | ext) beyond its limit, #SS(ext) if not
 * canonical. */
int tss_load_rsp(struct CPUState *cpu, unsigned offset, unsigned ext, uint64_t *rsp);
#define TSS_RSP(n) (4 + 8 * (n))
#define TSS_IST(n) (0x24 + 8 * ((n)-1))

/* A 64-bit code segment as the target of a transfer: L = 1 and D = 0. */
static inline bool desc_is_code64(uint32_t e2)
{
    return (e2 & (DESC_L_MASK | DESC_B_MASK)) == DESC_L_MASK;
}

/* ---- cpuid.c ---- */

/* Compute the guest's feature words from host_cpuid(). The first cpu_reset() does it; tests do it
 * again. */
void cpuid_init(void);
/* Features that instructions or control registers depend on. */
enum cpuid_feature {
    CPUID_FEAT_FSGSBASE,
    CPUID_FEAT_SMEP,
    CPUID_FEAT_XSAVE,
    CPUID_FEAT_RDTSCP,
    CPUID_FEAT_RDPID,
    CPUID_FEAT_NX,
    CPUID_FEAT_PGE,
    CPUID_FEAT_SYSENTER64, /* Intel's; on AMD's CPUs sysenter and sysexit are #UD in long mode */
};
bool cpu_has_feature(enum cpuid_feature feature);
/* XCR0 bits that xsetbv may set: a subset of x87, SSE, AVX. */
uint64_t cpu_xcr0_supported(void);
#define XCR0_X87 1u
#define XCR0_SSE 2u
#define XCR0_AVX 4u

/* ---- sysreg.c ---- */

/* Bits of CR4 that this guest CPU has. */
uint64_t cpu_cr4_valid(void);
#define DR6_FIXED_1  0xffff0ff0u
#define DR6_WRITABLE 0x0000e00fu
#define DR6_BD       0x00002000u
#define DR7_FIXED_1  0x00000400u
#define DR7_WRITABLE 0xffff23ffu
#define DR7_GD       0x00002000u

/* ---- msr.c ---- */
#define PAT_RESET 0x0007040600070406ull

/* ---- handlers, one per SENS_* (sensitive.c has the table) ---- */
sens_fn sens_cli, sens_sti, sens_pushf, sens_popf;                           /* flags.c */
sens_fn sens_hlt, sens_int3, sens_int1, sens_int_n;                          /* int.c */
sens_fn sens_in, sens_out, sens_ins, sens_outs;                              /* io.c */
sens_fn sens_iret, sens_retf;                                                /* iret.c */
sens_fn sens_call_far, sens_jmp_far;                                         /* far.c */
sens_fn sens_syscall, sens_sysret, sens_sysenter, sens_sysexit;              /* syscall.c */
sens_fn sens_mov_from_sreg, sens_mov_to_sreg, sens_push_sreg, sens_pop_sreg; /* seg.c */
sens_fn sens_lss, sens_lfs, sens_lgs;
sens_fn sens_lar, sens_lsl, sens_verr, sens_verw;             /* segcheck.c */
sens_fn sens_x87_store; /* x87.c: fnstenv, fnsave */
sens_fn sens_sgdt, sens_sidt, sens_sldt, sens_str, sens_smsw; /* tables.c */
sens_fn sens_lgdt, sens_lidt, sens_lldt, sens_ltr;
sens_fn sens_lmsw, sens_clts, sens_mov_from_cr, sens_mov_to_cr; /* sysreg.c */
sens_fn sens_mov_from_dr, sens_mov_to_dr, sens_invlpg, sens_wbinvd, sens_xsetbv, sens_xgetbv;
sens_fn sens_rdmsr, sens_wrmsr, sens_rdpmc, sens_rdtsc, sens_rdtscp, sens_rdpid; /* msr.c */
sens_fn sens_swapgs, sens_rdbase, sens_wrbase;
sens_fn sens_cpuid; /* cpuid.c */

#endif
