/* SPDX-License-Identifier: MIT */
/*
 * How fast the TSC is, from windows of known length: another clock is started and polled until it has
 * run out, with readings of the TSC around both. Pure arithmetic; kernel/irq.c has the clocks.
 */
#ifndef KERNEL_CALIBRATE_H
#define KERNEL_CALIBRATE_H

#include "kernel/lib/types.h"

#define CALIBRATION_MIN_RUNS 3u
#define CALIBRATION_MAX_RUNS 20u

/* One window. The start lies between `before` and `after`, the end between `last` and `now`. */
struct calibration_window {
    uint64_t before, after, last, now; /* TSC */
    uint32_t other;                    /* what a third clock counted meanwhile */
};

/*
 * The CPU may be away at any time (SMM, or a hypervisor that runs something else), and under a
 * hypervisor that stops its clocks the TSC may go on meanwhile: all of that makes a window longer,
 * never shorter. So the shortest counts, when another agrees with it.
 */
struct calibration {
    struct calibration_window best;
    uint64_t shortest, second; /* now - before */
    unsigned runs;
};

void calibration_init(struct calibration *c);
void calibration_add(struct calibration *c, const struct calibration_window *w);
/* Enough seen? True after CALIBRATION_MAX_RUNS in any case. */
bool calibration_done(const struct calibration *c);
/* TSC cycles of a window. */
uint64_t calibration_tsc(const struct calibration *c);

#endif
