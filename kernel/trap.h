/* SPDX-License-Identifier: MIT */
/*
 * Traps taken in ring 0, and NMI, #DF and #MC from anywhere. Traps from ring 3 do not come here:
 * they return from cpu_enter() (kernel/enter.h).
 */
#ifndef KERNEL_TRAP_H
#define KERNEL_TRAP_H

#include "kernel/lib/types.h"

/* As drawn in kernel/trap-entry.S. 16-byte aligned at its low end. */
struct trap_frame {
    uint64_t gpr[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8..r15; [4] is meaningless, see rsp */
    uint64_t cr2;
    uint64_t vector;
    uint64_t error_code; /* 0 where the CPU pushes none */
    uint64_t rip, cs, rflags, rsp, ss;
};
_Static_assert(sizeof(struct trap_frame) == 24 * 8, "trap-entry.S pushes 24 words");

#define TRAP_DB        1
#define TRAP_NMI       2
#define TRAP_BP        3
#define TRAP_DF        8
#define TRAP_GP        13
#define TRAP_PF        14
#define TRAP_MC        18
#define TRAP_IRQ_FIRST 32
#define TRAP_STUB_SIZE 16

/* Fill the IDT and load it. The stacks of NMI, #DF and #MC are in the TSS by then (kernel/cpu.c).
 */
void trap_init(void);
/* Called by trap-entry.S. */
void trap_dispatch(struct trap_frame *f);
/* "#PF" for 14; never NULL. */
const char *trap_name(unsigned vector);
/* NMIs taken so far; besides being counted they are samples (kernel/nmi-samples.h) or ignored. */
extern uint64_t nmi_count;

/*
 * An access that may fault on purpose: 0, or -EFAULT if the CPU refused (#GP, #PF). Supervisor
 * mappings only, because SMAP is on.
 */
int peek64(uint64_t va, uint64_t *value);

#endif
