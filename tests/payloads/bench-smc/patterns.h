/* SPDX-License-Identifier: MIT */
/* Ways to change code, timed. */
#ifndef BENCH_SMC_PATTERNS_H
#define BENCH_SMC_PATTERNS_H

#include "kernel/lib/types.h"

/* Run and print all; the operations of a round are multiplied by `scale` where they can be repeated for ever. */
void run_patterns(uint32_t scale);

#endif
