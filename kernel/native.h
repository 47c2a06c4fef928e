/* SPDX-License-Identifier: MIT */
/* mode = native: the same guest with no monitor, the baseline of benchmarks. */
#ifndef KERNEL_NATIVE_H
#define KERNEL_NATIVE_H

#include "kernel/load.h"

/*
 * Move what load_guest() has put into guest RAM to the same physical addresses of the host and
 * jump. Does not return, unless the host has something else at one of these addresses: -EBUSY after
 * one line on the console, and nothing has been moved.
 */
int native_run(const struct load *ld);

#endif
