/* SPDX-License-Identifier: MIT */
/* The TSC's frequency on a machine that is away at times: simulated clocks, disturbed at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernel/calibrate.h"

#define WINDOW 25000000u /* TSC cycles of a window: 10 ms at 2.5 GHz */
#define POLL   4000u     /* cycles of one reading of the other clock */

struct sim {
    uint64_t tsc, clock; /* both in TSC cycles; the clock stands still in a stopped machine */
    uint64_t rng;
    unsigned away;       /* in 65536 readings, how often the CPU is away */
    unsigned stopped;    /* in 65536 readings, how often the machine is stopped while the TSC goes on */
};

static uint32_t rnd(struct sim *s)
{
    s->rng ^= s->rng << 13;
    s->rng ^= s->rng >> 7;
    s->rng ^= s->rng << 17;
    return s->rng >> 20;
}

static void spend(struct sim *s, uint64_t cycles)
{
    s->tsc += cycles;
    s->clock += cycles;
    if (rnd(s) % 65536 < s->away) {
        uint64_t gone = rnd(s) % 20000000; /* up to 8 ms */

        s->tsc += gone;
        s->clock += gone;
    }
    if (rnd(s) % 65536 < s->stopped) {
        s->tsc += 100000000 + rnd(s) % 500000000;
    }
}

static void window(struct sim *s, struct calibration_window *w)
{
    uint64_t start;

    w->before = s->tsc;
    spend(s, POLL);
    start = s->clock;
    spend(s, POLL);
    w->now = w->after = s->tsc;
    do {
        uint64_t seen;

        w->last = w->now;
        spend(s, POLL / 2);
        seen = s->clock;
        spend(s, POLL / 2);
        w->now = s->tsc;
        if (seen - start >= WINDOW) {
            break;
        }
    } while (true);
    w->other = (uint32_t)(w->now - w->before);
}

/* The error in parts of a thousand, and the number of windows. */
static unsigned calibrate(struct sim *s, unsigned *runs)
{
    struct calibration c;
    uint64_t tsc;

    calibration_init(&c);
    while (!calibration_done(&c)) {
        struct calibration_window w;

        window(s, &w);
        calibration_add(&c, &w);
    }
    tsc = calibration_tsc(&c);
    *runs = c.runs;
    assert_int_equal(c.best.other, c.shortest); /* the third clock's count is of the same window */
    return (unsigned)(llabs((long long)tsc - WINDOW) * 1000ull / WINDOW);
}

static void test_quiet(void **state)
{
    struct sim s = {.rng = 1};
    unsigned runs;

    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(calibrate(&s, &runs), 0);
        assert_int_equal(runs, CALIBRATION_MIN_RUNS);
    }
}

/* The CPU is away for a quarter of the time, so every fourth window ends at some time when it is. */
static void test_busy(void **state)
{
    struct sim s = {.rng = 2, .away = 4};
    unsigned runs;

    for (unsigned i = 0; i < 200; i++) {
        assert_in_range(calibrate(&s, &runs), 0, 5);
    }
}

/* Almost every second window lasts several times as long, and nothing at either end shows it. */
static void test_stopped(void **state)
{
    struct sim s = {.rng = 3, .stopped = 3};
    unsigned runs;

    for (unsigned i = 0; i < 200; i++) {
        assert_in_range(calibrate(&s, &runs), 0, 5);
    }
}

static void test_gives_up(void **state)
{
    struct sim s = {.rng = 4, .away = 6554}; /* at every tenth reading */
    unsigned runs;

    calibrate(&s, &runs);
    assert_int_equal(runs, CALIBRATION_MAX_RUNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_gives_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
