/* SPDX-License-Identifier: MIT */
/* How fast the TSC is (calibrate.h). Must not touch hardware: it is tested on the host. */
#include "kernel/calibrate.h"

#define GOOD 500 /* one part of so many may be in doubt */

void calibration_init(struct calibration *c)
{
    *c = (struct calibration){.shortest = UINT64_MAX, .second = UINT64_MAX};
}

void calibration_add(struct calibration *c, const struct calibration_window *w)
{
    uint64_t length = w->now - w->before;

    c->runs++;
    if (length < c->shortest) {
        c->second = c->shortest;
        c->shortest = length;
        c->best = *w;
    } else if (length < c->second) {
        c->second = length;
    }
}

bool calibration_done(const struct calibration *c)
{
    uint64_t doubt = (c->best.after - c->best.before) + (c->best.now - c->best.last);

    if (c->runs >= CALIBRATION_MAX_RUNS) {
        return true;
    }
    return c->runs >= CALIBRATION_MIN_RUNS && c->second - c->shortest <= c->shortest / GOOD && doubt <= c->shortest / GOOD;
}

uint64_t calibration_tsc(const struct calibration *c)
{
    const struct calibration_window *w = &c->best;

    return (w->last + w->now) / 2 - (w->before + w->after) / 2;
}
