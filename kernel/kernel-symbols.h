/* SPDX-License-Identifier: MIT */
/* Names of the kernel's own code addresses (the table is made by kernel/mksyms.py at the end of the build). */
#ifndef KERNEL_KERNEL_SYMBOLS_H
#define KERNEL_KERNEL_SYMBOLS_H

#include "kernel/lib/types.h"

/* The function that addr lies in, and how far (bytes); NULL if it is not in the kernel's text. */
const char *kernel_symbol(uint64_t addr, uint64_t *offset);

#endif
