/* SPDX-License-Identifier: MIT */
/*
 * The guest CPU's sensitive instructions and exception delivery, on exact state in cpu->env (QEMU target/i386/tcg:
 * seg_helper.c, excp_helper.c, misc_helper.c). This folder must not know how guest code is run or mapped: it reaches the
 * machine only through the functions under "environment" below, so it is unit-tested on the host.
 */
#ifndef KERNEL_VCPU_VCPU_H
#define KERNEL_VCPU_VCPU_H

#include "dbt/cpu.h"
#include "dbt/decode.h"

/* ---- provided by kernel/vcpu/ ---- */

/* CPU state at payload or Linux entry (design.md 5): long mode, flat segments, IF=0, paging root cr3. FP state included in
 * the sense of XCR0 etc.; x87/SSE registers are the hardware's. */
void cpu_reset(struct CPUState *cpu);

/* dbt/host.h: int helper_sensitive(struct CPUState *, const struct insn *, const uint8_t *bytes); */
/* dbt/host.h: void do_interrupt(struct CPUState *cpu); */

/* Deliver hardware interrupt `vector` (env.eflags.IF was checked). */
void do_interrupt_hard(struct CPUState *cpu, int vector);

/* Physical address bits of the guest CPU (CPUID 80000008). Valid after cpu_reset(). */
unsigned cpu_maxphyaddr(void);

/* ---- environment: implemented by kernel/vcpu-host.c, kernel/guest-memory.c and by tests ---- */

/* Guest linear memory with the privilege given (user: CPL-3 rules). Ranges may cross pages. 0, or -EFAULT with #PF raised
 * (exception_index, error_code, cr[2]); nothing is written on failure. Writes go through the SMC funnel. Device memory: -EFAULT with
 * CPU_EXIT_ERROR. Non-canonical addresses: caller's duty (#GP/#SS). */
int cpu_ldub(struct CPUState *cpu, gva_t va, void *buf, size_t len, bool user);
int cpu_stub(struct CPUState *cpu, gva_t va, const void *buf, size_t len, bool user);

/* What `fnsave` would store, X87_STATE_SIZE bytes, FIP being the guest's address; the FPU stays as it is. CR0.TS and EM are 0. */
void cpu_x87_image(struct CPUState *cpu, uint8_t *image);
/* And then: what fnstenv or fnsave does to the FPU. */
void cpu_x87_stored(struct CPUState *cpu, bool fnsave);

/* Port access. size 1, 2, 4. */
uint32_t cpu_inport(struct CPUState *cpu, uint16_t port, unsigned size);
void cpu_outport(struct CPUState *cpu, uint16_t port, unsigned size, uint32_t value);

/* CR0, CR3, CR4, EFER changed: flush translations of addresses as the SDM demands. */
void tlb_flush_guest(struct CPUState *cpu, enum tlb_flush kind);
void tlb_flush_page_guest(struct CPUState *cpu, gva_t va);

/* DR0-DR3 or DR7 changed: breakpoints as they say, from the next instruction on. */
void cpu_debug_regs_changed(struct CPUState *cpu);

/* Hardware mirrors of guest state that is live while guest code runs. */
void cpu_load_fs_base(struct CPUState *cpu);   /* env.segs[R_FS].base -> hardware */
void cpu_load_gs_base(struct CPUState *cpu);
void cpu_sync_fsgs_base(struct CPUState *cpu); /* hardware -> env, vCPU page -> env.kernelgsbase (guest may have run wrfsbase, wrgsbase, swapgs) */
void cpu_apply_cr0_cr4(struct CPUState *cpu);  /* CR0.TS/EM/MP, CR4.OSFXSR/OSXMMEXCPT/OSXSAVE/FSGSBASE, XCR0 as far as the
                                                  hardware has to behave the same in ring 3 */
void cpu_apply_tsd(struct CPUState *cpu);      /* CR4.TSD for the level at which the guest runs now */
void cpu_tsc_offset_changed(struct CPUState *cpu); /* env.tsc_offset became zero, so that rdtsc is the host's, or ceased to be */
void cpu_fsgsbase_cleared(struct CPUState *cpu); /* CR4.FSGSBASE became 0: translations may contain rdgsbase and wrgsbase */
void host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]); /* eax ebx ecx edx */
uint64_t cpu_host_tsc(struct CPUState *cpu);

#endif
