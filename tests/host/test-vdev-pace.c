/* SPDX-License-Identifier: MIT */
/* The pace of timer interrupts: what waits, how long, and that a slow handler leaves the guest its share. */
#include "tests/host/test-vdev.h"

#include <string.h>

#include "drivers/vdev/irq-pace.h"

#define LINES 2

struct bench {
    struct irq_pace pace;
    struct irq_pace_line line[LINES];
    struct vdev_irq in[LINES];
    int level[LINES];
    unsigned edges[LINES];
};

static void out(void *ctl, unsigned line, int level)
{
    struct bench *b = ctl;

    b->edges[line] += level && !b->level[line];
    b->level[line] = level;
}

static void start(struct bench *b)
{
    memset(b, 0, sizeof(*b));
    irq_pace_init(&b->pace, b->line, LINES);
    for (unsigned i = 0; i < LINES; i++) {
        struct vdev_irq irq = {.set = out, .ctl = b, .line = i};

        b->in[i] = irq_pace_input(&b->line[i], &b->pace, &irq);
    }
}

static void pulse(struct bench *b, unsigned line)
{
    vdev_irq_set(&b->in[line], 0);
    vdev_irq_set(&b->in[line], 1);
}

static void test_quick_handler(void **state)
{
    struct bench b;

    start(&b);
    for (unsigned i = 1; i <= 100; i++) { /* a tick finds the guest outside of its handler: nothing waits */
        irq_pace_tick(&b.pace, true);
        pulse(&b, 0);
        assert_int_equal(b.edges[0], i);
        irq_pace_taken(&b.pace);
        irq_pace_open(&b.pace);
    }
}

static void test_waits_for_handler(void **state)
{
    struct bench b;

    start(&b);
    pulse(&b, 0);
    irq_pace_taken(&b.pace);
    pulse(&b, 0);
    pulse(&b, 1); /* the other timer as well */
    assert_int_equal(b.edges[0], 1);
    assert_int_equal(b.edges[1], 0);
    irq_pace_open(&b.pace); /* not a tick in the handler: at once */
    assert_int_equal(b.edges[0], 2);
    assert_int_equal(b.edges[1], 1);
    irq_pace_open(&b.pace);
    assert_int_equal(b.edges[0], 2);
}

static void test_pays_back(void **state)
{
    struct bench b;

    for (unsigned took = 1; took < IRQ_PACE_MAX; took++) {
        start(&b);
        pulse(&b, 0);
        irq_pace_taken(&b.pace);
        for (unsigned i = 0; i < took; i++) {
            irq_pace_tick(&b.pace, false);
        }
        irq_pace_open(&b.pace);
        pulse(&b, 0);
        for (unsigned i = 0; i < took; i++) {
            assert_int_equal(b.edges[0], 1);
            irq_pace_tick(&b.pace, i & 1); /* once it was left, with interrupts off as well */
        }
        assert_int_equal(b.edges[0], 2);
    }
}

static void test_withdrawn(void **state)
{
    struct bench b;

    start(&b);
    irq_pace_taken(&b.pace);
    vdev_irq_set(&b.in[1], 1);
    vdev_irq_set(&b.in[1], 0); /* the guest read the clock's flags */
    irq_pace_open(&b.pace);
    assert_int_equal(b.edges[1], 0);
    pulse(&b, 1);
    assert_int_equal(b.edges[1], 1);
}

/* A guest that waits for the request with interrupts off gets it. */
static void test_bounded(void **state)
{
    struct bench b;

    start(&b);
    irq_pace_taken(&b.pace);
    pulse(&b, 0);
    for (unsigned i = 0; i < IRQ_PACE_MAX; i++) {
        assert_int_equal(b.edges[0], 0);
        irq_pace_tick(&b.pace, false);
    }
    assert_int_equal(b.edges[0], 1);
    pulse(&b, 0); /* and from then on as if nothing had been */
    assert_int_equal(b.edges[0], 2);
}

static void test_idle(void **state)
{
    struct bench b;

    start(&b);
    irq_pace_taken(&b.pace);
    irq_pace_tick(&b.pace, false);
    irq_pace_open(&b.pace);
    pulse(&b, 0);
    assert_int_equal(b.edges[0], 0);
    irq_pace_idle(&b.pace);
    assert_int_equal(b.edges[0], 1);
}

/* A timer that fires at every tick, a handler of a few: the guest has at least half of the ticks for itself. */
static void test_share(void **state)
{
    struct bench b;

    for (unsigned handler = 1; handler < IRQ_PACE_MAX; handler++) {
        unsigned inside = 0, outside = 0, left = 0, served = 0;

        start(&b);
        for (unsigned t = 0; t < 1000; t++) {
            irq_pace_tick(&b.pace, !left);
            pulse(&b, 0);
            *(left ? &inside : &outside) += 1;
            if (left && --left == 0) {
                irq_pace_open(&b.pace);
            }
            if (!left && b.edges[0] != served) {
                served = b.edges[0];
                irq_pace_taken(&b.pace);
                left = handler;
            }
        }
        assert_true(served > 1000 / (2 * handler + 2));
        assert_true(outside * 10 >= inside * 9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quick_handler), cmocka_unit_test(test_waits_for_handler), cmocka_unit_test(test_pays_back),
        cmocka_unit_test(test_withdrawn),     cmocka_unit_test(test_bounded),           cmocka_unit_test(test_idle),
        cmocka_unit_test(test_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
