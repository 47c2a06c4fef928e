/* SPDX-License-Identifier: MIT */
/* Into ring 3 and back: the run loop's primitive. */
#ifndef KERNEL_ENTER_H
#define KERNEL_ENTER_H

#include "kernel/lib/types.h"

/* Ring-3 state beside the general registers. Offsets reach the assembly through asm-offsets.h. */
struct vcpu_regs {
    uint64_t rip;
    uint64_t rflags;
    /* out only */
    uint64_t cr2;
    uint64_t error_code;
    uint64_t vector;
};

#define CPU_ENTER_SYSCALL 0x100

/* What ring 3 may be given: status flags, DF and TF; IF is always on, everything else off (AC in
 * particular, because it would suspend SMAP in ring 0). */
#define USER_RFLAGS_ALLOWED 0x0dd5
#define USER_RFLAGS_FIXED   0x0202

/*
 * Enter ring 3 with *r and come back at the next trap, interrupt or `syscall`, whose vector
 * (0..255, or CPU_ENTER_SYSCALL) is returned, with interrupts off and DF clear. gpr[0..15] (rax rcx rdx rbx rsp rbp rsi rdi
 * r8..r15, as env->regs) and *r then hold all registers. gpr[1] and gpr[11] mean nothing after `syscall`. A vector >= 32 is a host interrupt
 * that the caller must pass to host_irq(). NMIs are dealt with before; #MC and #DF panic. FS and GS
 * bases and all FP state are live; the caller's root (CR3) is used. r->rip must be canonical.
 */
int cpu_enter(struct vcpu_regs *r, uint64_t *gpr);

#endif
