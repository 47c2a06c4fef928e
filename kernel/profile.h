/* SPDX-License-Identifier: MIT */
/* Where the time goes, by sampling: each tick of the host finds the CPU in translated code, in the monitor or idle. */
#ifndef KERNEL_PROFILE_H
#define KERNEL_PROFILE_H

#include "dbt/cpu.h"
#include "kernel/lib/types.h"

/* Register the counters (nd-stat prof_*) and the monitor command `top`. Start-up only. */
void profile_init(void);
/*
 * A tick interrupted ring 3 at host_pc, after it was entered at entry_pc. Interrupts are off in the monitor, so a tick that came
 * due there is taken at the first instruction of ring 3: then host_pc == entry_pc, and the monitor is charged, by what it did last.
 */
void profile_tick(struct CPUState *cpu, uint64_t entry_pc, uint64_t host_pc);
/* A tick ended the sleep of a halted guest. */
void profile_idle(void);

#endif
