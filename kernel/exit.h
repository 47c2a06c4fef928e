/* SPDX-License-Identifier: MIT */
/* How the machine ends. */
#ifndef KERNEL_EXIT_H
#define KERNEL_EXIT_H

#include "kernel/lib/conf.h"
#include "kernel/lib/exit-codes.h"

/*
 * End the machine: flush the console and write value to port 0xf4, where QEMU's isa-debug-exit ends
 * with status (value << 1) | 1. A machine that is still alive is reset (CONF_EXIT_REBOOT) or halted
 * with a line that says so.
 */
_Noreturn void machine_exit(int value, enum conf_exit how);

#endif
