/* SPDX-License-Identifier: MIT */
/*
 * The seam: all that dbt/ needs from its environment. Plain functions, implemented by kernel/dbt-host.c with page tables
 * and by tests/host/dbt-host.c with mmap, mprotect and SIGSEGV; chosen by object list.
 */
#ifndef DBT_HOST_H
#define DBT_HOST_H

#include "dbt/cpu.h"
#include "dbt/tb.h"
#include "kernel/lib/types.h"

/* ---- memory for translated code ---- */

/*
 * Where translated code lives. "exec" addresses are what translated code uses; "rw" pointers are the monitor's writable
 * aliases. Everything that translated code reaches with a 32-bit absolute address (table, vcpu) lies in the lowest or the
 * highest 2 GiB; code and slots are within 2 GiB of each other.
 */
struct code_gen_region {
    uint64_t code_exec;   /* read-execute for guest code */
    uint8_t *code_rw;
    size_t code_size;
    uint64_t slots_exec;  /* read-only for guest code: chain slots and 64-bit literals */
    uint64_t *slots_rw;
    size_t slots_count;   /* 8-byte units */
    uint64_t links_exec;  /* read-only for guest code: the slots of the present link set; within 2 GiB of code */
    size_t links_count;   /* slots in a link set; 0: there is only one address space */
    uint64_t vcpu_addr;   /* struct vcpu_page, read-write for guest code */
    uint64_t store_table_addr; /* smc = check: STORE_TABLE_SIZE bytes, read-only for guest code (store-table.h) */
    uint64_t table_addr;  /* 65536 entries of 8 bytes, read-only for guest code: the inline look-up table */
    bool patch_code;      /* patching code that has run is cheap: a CPU of silicon, not one that QEMU's TCG emulates */
    bool exit_by_syscall; /* leave with `syscall` (bare) or `int3` (hosted) where speed matters */
};
/* Fill in *r. 0 or -ENOMEM. Called once. */
int code_gen_alloc(struct code_gen_region *r);

/* The monitor's alias of the inline look-up table of the guest-kernel view. */
uint64_t *jump_table_rw(void);

/*
 * Link sets (link-set.h): for each, the inline look-up table of the guest-user view, and links_count slots, of which the
 * first two functions give the monitor's aliases and decide which ones translated code sees. Set 0 is seen first.
 */
bool link_set_alloc(unsigned set, uint64_t **table, uint64_t **slots); /* false: out of memory */
void link_set_use(unsigned set);

/* One entry of the guest's page tables: what of its value decides where code is fetched from. */
struct code_path_entry {
    const void *entry;
    uint64_t value;
};
#define CODE_PATH_MAX 4
/* The entries that map the page at va for instruction fetch at the CPU's present privilege, from the top; 0 if that cannot change; or -1 if it is not mapped
 * to ram. */
int code_page_path(struct CPUState *cpu, uint64_t va, tb_page_addr_t ram, struct code_path_entry path[CODE_PATH_MAX]);
/* Do the entries still say the same? */
bool code_path_same(const struct code_path_entry *path, unsigned n);

/* The same of the table of stores, if there is one. */
uint64_t *store_table_rw(bool user);

/* Zeroed memory that is never freed (page index levels, byte maps); NULL if none is left. */
void *dbt_zalloc(size_t size);

/* ---- guest memory ---- */

/*
 * Translate pc for instruction fetch at the CPU's present privilege. Returns the ram address and sets *hostp to the
 * byte in the monitor's address space; bytes are valid to the end of the guest page. On failure returns
 * TB_PAGE_ADDR_INVALID with cpu->exception_index set (#PF as fetch, or CPU_EXIT_* for code in a device).
 */
tb_page_addr_t get_page_addr_code(struct CPUState *cpu, uint64_t pc, const uint8_t **hostp);
/* As above without faulting or raising anything: TB_PAGE_ADDR_INVALID if there is no mapping. */
tb_page_addr_t probe_page_addr_code(struct CPUState *cpu, uint64_t pc);
/* Where data at va lies, with no permission check and no effect: TB_PAGE_ADDR_INVALID if not mapped to RAM. */
tb_page_addr_t probe_page_addr_data(struct CPUState *cpu, uint64_t va);
/* The same for a store of the guest's: also TB_PAGE_ADDR_INVALID if it may not write there now. */
tb_page_addr_t probe_page_addr_store(struct CPUState *cpu, uint64_t va);

/*
 * A second mapping of [va, va + len), always writable whatever is tracked, in the present view, for stores that the guest may
 * make there now: contiguous, at the same offset in its page. 0 if there is none: some byte is not RAM or may not be
 * written, or the range touches more than two pages. A and D bits are set as by the store itself. Lasts until a guest
 * mapping changes.
 */
uint64_t store_alias(struct CPUState *cpu, uint64_t va, uint64_t len);
/* The page's bytes from addr to its end, in the monitor's address space. */
const uint8_t *code_page_bytes(tb_page_addr_t addr);

/* May stores through an alias go on unseen for as long as no TB is on the bytes: is the page tracked for nothing but code? */
bool store_alias_may_last(tb_page_addr_t ram);

/* Make the page trap writes, in every view and alias, before returning (tlb_protect_code); let it go again. */
void tlb_protect_code(tb_page_addr_t page_addr);
void tlb_unprotect_code(tb_page_addr_t page_addr);
/* Begin or stop to notice writes to the page without making them trap each time. */
void tlb_sample_dirty(tb_page_addr_t page_addr, bool on);
/* Has a page that is sampled been written by the guest since the last call (or, at first, since sampling began)? */
bool tlb_test_and_clear_dirty(tb_page_addr_t page_addr);

/* ---- running ---- */

enum host_event_kind {
    HOST_EV_EXIT,      /* int3 or syscall of an exit stub; host_pc = address after it */
    HOST_EV_FAULT,     /* a fault raised by a guest instruction: vector, error_code, fault_addr (CR2) */
    HOST_EV_INTERRUPT, /* a host interrupt (already handled) ended the run at an arbitrary host_pc */
    HOST_EV_STEP,      /* single-step trap after one host instruction (asked for by `step`) */
};
struct host_event {
    enum host_event_kind kind;
    uint8_t vector;
    uint32_t error_code;
    uint64_t fault_addr;
    uint64_t host_pc;
};
/*
 * Enter the code cache at host_pc with the registers and hardware flags of cpu->env, in the view of cpu->env.cpl, and
 * stay there until something happens. On return env.regs and the EFLAGS_HW_MASK bits of env.eflags are what the hardware
 * had (rcx and r11 are as the stub left them after `syscall`: their guest values are in the spill slots). With `step`,
 * execute one host instruction.
 */
void host_run(struct CPUState *cpu, uint64_t host_pc, bool step, struct host_event *ev);

/* Make env.segs[].base what the hardware has, and env.kernelgsbase what the vCPU page has: guest code may have changed them itself. */
void cpu_sync_fsgs_base(struct CPUState *cpu);

/* A synchronous fault at a guest instruction whose state has been restored into env. Handles shadow fills, devices, SMC;
 * may raise a guest exception in cpu->exception_index. */
enum fault_result {
    FAULT_RETRY,     /* resume at ev->host_pc */
    FAULT_REDO,      /* leave the TB: continue at env.eip with cflags_next_tb */
    FAULT_EXCEPTION, /* cpu->exception_index is set */
};
enum fault_result handle_fault(struct CPUState *cpu, const struct host_event *ev, struct TranslationBlock *tb);
/*
 * Windows for a redo TB. Open, just before it runs: lets its stores to the pages of cpu->smc_range[] through, and maps
 * device accesses noted by handle_fault() on a private frame. Close, after every run: as before; device writes are then
 * performed.
 */
void fault_window_open(struct CPUState *cpu);
void fault_window_close(struct CPUState *cpu);

/* Execute a sensitive instruction at env.eip with exact state in env. On success advances eip (or sets it) and returns 0.
 * Returns 1 with cpu->exception_index set if it raises an exception or ends the run. */
int helper_sensitive(struct CPUState *cpu, const struct insn *insn, const uint8_t *bytes);

/* Low half of the last x87 instruction's address, in the code cache, as the guest's FPU has it. Changes nothing. */
uint32_t host_fip(struct CPUState *cpu);

/* Deliver cpu->exception_index through the guest's IDT, or end the run (triple fault). */
void do_interrupt(struct CPUState *cpu);
/* If an external interrupt is pending and env allows it, acknowledge and deliver it. Returns true if delivered. */
bool cpu_exec_interrupt(struct CPUState *cpu);
/* Would cpu_exec_interrupt() do anything at all now? May say yes in vain. */
bool cpu_irq_attends(struct CPUState *cpu);
/* Is there an external interrupt that would be delivered now? */
bool cpu_has_work(struct CPUState *cpu);
/* hlt: wait until cpu_has_work() or the run ends. */
void cpu_halt_wait(struct CPUState *cpu);

/* ---- other CPUs ---- */
void start_exclusive(void);
void end_exclusive(void);

#endif
