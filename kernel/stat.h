/* SPDX-License-Identifier: MIT */
/* Event counters by name, for the `nd-stat key=value ...` lines on the console (design.md 5). */
#ifndef KERNEL_STAT_H
#define KERNEL_STAT_H

#include "kernel/lib/types.h"

/* Have *value printed as `name`, after those registered before. Both must live for ever. Start-up
 * only. */
void stat_register(const char *name, const uint64_t *value);
/* Print all counters, several a line, and the TSC. */
void stat_print(void);

#endif
