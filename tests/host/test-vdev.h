/* SPDX-License-Identifier: MIT */
/* What the tests of drivers/vdev/ share: a clock set by hand, an interrupt line that counts, and
 * port access in one call. */
#ifndef TESTS_HOST_TEST_VDEV_H
#define TESTS_HOST_TEST_VDEV_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/vdev/vdev.h"

struct test_clock {
    uint64_t now;
};

static inline uint64_t test_clock_now(void *opaque)
{
    return ((struct test_clock *)opaque)->now;
}

static inline struct vdev_clock test_clock(struct test_clock *c)
{
    return (struct vdev_clock){.now_ns = test_clock_now, .opaque = c};
}

/* One line; rises counts 0 to 1. */
struct test_line {
    int level;
    unsigned rises;
};

static inline void test_line_set(void *ctl, unsigned line, int level)
{
    struct test_line *l = (struct test_line *)ctl + line;

    l->rises += level && !l->level;
    l->level = level;
}

static inline struct vdev_irq test_irq(struct test_line *lines, unsigned line)
{
    return (struct vdev_irq){.set = test_line_set, .ctl = lines, .line = line};
}

typedef enum vdev_result (*test_access_fn)(void *dev, struct vdev_access *acc);

static inline uint8_t test_in(test_access_fn fn, void *dev, uint32_t offset)
{
    struct vdev_access acc = {.offset = offset, .size = 1};

    assert_int_equal(fn(dev, &acc), VDEV_HANDLED);
    return acc.value;
}

static inline void test_out(test_access_fn fn, void *dev, uint32_t offset, uint8_t value)
{
    struct vdev_access acc = {.offset = offset, .size = 1, .write = true, .value = value};

    assert_int_equal(fn(dev, &acc), VDEV_HANDLED);
}

/* xorshift64*: the same sequence on every run. */
static inline uint64_t test_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

#endif
