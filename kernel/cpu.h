/* SPDX-License-Identifier: MIT */
/* The host CPU as the kernel wants it: control registers, segments, task state, system calls. */
#ifndef KERNEL_CPU_H
#define KERNEL_CPU_H

#include "kernel/lib/types.h"

/* What the CPU has and the kernel has switched on (constant after cpu_init). */
struct cpu_features {
    bool fsgsbase, osxsave, smep, smap, umip;
};
extern struct cpu_features cpu_features;

/* What traps and our page tables need: segments, per-CPU data in GS, TSS, NX, WP. First thing of
 * all; panics if the CPU lacks something essential. */
void cpu_init_early(void);
/* The rest, once stacks can be allocated: CR4, stacks of NMI, #DF and #MC, system call MSRs, FP
 * state. */
void cpu_init(void);

#endif
