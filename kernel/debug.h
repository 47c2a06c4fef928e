/* SPDX-License-Identifier: MIT */
/* Breakpoints and watchpoints on bare metal: the guest's debug registers (guest-debug.c) and the monitor's commands
 * (monitor-debug.c). */
#ifndef KERNEL_DEBUG_H
#define KERNEL_DEBUG_H

#include "dbt/cpu.h"

/* ---- guest-debug.c ---- */

/* A guest access to ports [port, port + size): note which I/O breakpoints (DR7 R/W = 2 under CR4.DE) it hits. */
void guest_debug_io(struct CPUState *cpu, uint16_t port, unsigned size);

/* ---- monitor-debug.c ---- */

/* Add the commands to the monitor. */
void monitor_debug_init(void);
/* A guest store is about to be made to a watched page: remember what is there. */
void debug_remember(struct CPUState *cpu);
/* cpu_exec() returned with CPU_EXIT_DEBUG: say why, and prompt until the user resumes. */
void debug_stopped(struct CPUState *cpu);

#endif
