/* SPDX-License-Identifier: MIT */
/* Reports that end in a panic with a machine state. */
#ifndef KERNEL_PANIC_H
#define KERNEL_PANIC_H

#include "kernel/trap.h"

/* As panic(), with the decoded state of the trap that nobody wanted. */
_Noreturn void panic_trap(const struct trap_frame *f);

#endif
