/* SPDX-License-Identifier: MIT */
/* The vCPU loop (QEMU accel/tcg/cpu-exec.c). */
#ifndef DBT_CPU_EXEC_H
#define DBT_CPU_EXEC_H

#include "dbt/cpu.h"

/* Run the guest until cpu->exit_request is set. State is exact in cpu->env on entry and on return. */
void cpu_exec(struct CPUState *cpu);

#endif
