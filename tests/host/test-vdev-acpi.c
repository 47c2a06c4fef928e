/* SPDX-License-Identifier: MIT */
/* ACPI fixed hardware: registers as Linux's ACPICA uses them, the timer, its interrupt, S5. */
#include "tests/host/test-vdev.h"

#include <string.h>

#include "drivers/vdev/acpi-pm.h"

#define SEC VDEV_NS_PER_SEC

struct bench {
    struct test_clock time;
    struct test_line sci;
    unsigned power_offs;
    struct acpi_pm dev;
};

static void on_power_off(void *opaque)
{
    ((struct bench *)opaque)->power_offs++;
}

static void start(struct bench *b)
{
    struct vdev_clock clock = test_clock(&b->time);
    struct vdev_irq sci = test_irq(&b->sci, 0);

    memset(b, 0, sizeof(*b));
    acpi_pm_init(&b->dev, &clock, &sci, on_power_off, b);
}

static uint32_t in(struct bench *b, uint32_t offset, unsigned size)
{
    struct vdev_access acc = {.offset = offset, .size = size, .value = 0xdeadbeef};

    assert_int_equal(acpi_pm_access(&b->dev, &acc), VDEV_HANDLED);
    return acc.value;
}

static void out(struct bench *b, uint32_t offset, unsigned size, uint32_t value)
{
    struct vdev_access acc = {.offset = offset, .size = size, .write = true, .value = value};

    assert_int_equal(acpi_pm_access(&b->dev, &acc), VDEV_HANDLED);
}

static void test_control(void **state)
{
    struct bench b;

    start(&b);
    assert_int_equal(in(&b, ACPI_PM1_CONTROL, 2), 1); /* always in ACPI mode */
    out(&b, ACPI_PM1_CONTROL, 2, 0);
    assert_int_equal(in(&b, ACPI_PM1_CONTROL, 2), 1);
    out(&b, ACPI_PM1_CONTROL, 2, 0x1402); /* SLP_TYP 5 without SLP_EN, as ACPICA does first */
    assert_int_equal(in(&b, ACPI_PM1_CONTROL, 2), 0x1403);
    assert_int_equal(in(&b, ACPI_PM1_CONTROL + 1, 1), 0x14);
    assert_int_equal(in(&b, ACPI_PM1_CONTROL + 2, 2), 0);
    assert_int_equal(b.power_offs, 0);
    out(&b, ACPI_PM1_CONTROL, 2, 0x2000 | 4 << 10); /* no such state */
    assert_int_equal(b.power_offs, 0);
    out(&b, ACPI_PM1_CONTROL, 2, 0x2000 | 5 << 10);
    assert_int_equal(b.power_offs, 1);
    assert_int_equal(in(&b, ACPI_PM1_CONTROL, 2), 0x1401); /* SLP_EN reads as 0 */
    out(&b, ACPI_PM1_CONTROL, 1, 2); /* the kept SLP_TYP alone does nothing */
    assert_int_equal(b.power_offs, 1);
    out(&b, ACPI_PM1_CONTROL + 1, 1, 0x34);
    assert_int_equal(b.power_offs, 2);
    b.dev.power_off = NULL;
    out(&b, ACPI_PM1_CONTROL + 1, 1, 0x34);
}

/* 24 bits at 3.579545 MHz, of one moment in a wide read. */
static void test_timer(void **state)
{
    struct bench b;

    start(&b);
    assert_int_equal(in(&b, ACPI_PM_TIMER, 4), 0);
    b.time.now = SEC;
    assert_int_equal(in(&b, ACPI_PM_TIMER, 4), ACPI_PM_TIMER_HZ);
    b.time.now = SEC - 1;
    assert_int_equal(in(&b, ACPI_PM_TIMER, 4), ACPI_PM_TIMER_HZ - 1);
    b.time.now = 100 * SEC;
    assert_int_equal(in(&b, ACPI_PM_TIMER, 4), 357954500 & 0xffffff);
    assert_int_equal(in(&b, ACPI_PM_TIMER + 1, 1), 357954500 >> 8 & 0xff);
    out(&b, ACPI_PM_TIMER, 4, 0); /* read-only */
    assert_int_equal(in(&b, ACPI_PM_TIMER, 4), 357954500 & 0xffffff);
    b.time.now = UINT64_MAX / 4;
    in(&b, ACPI_PM_TIMER, 4);
}

static void test_timer_interrupt(void **state)
{
    struct bench b;
    uint64_t half = 1u << 23, next;

    start(&b);
    b.time.now = 3 * SEC; /* the highest bit has changed: status, but nobody asked */
    assert_int_equal(in(&b, ACPI_PM1_EVENT, 2), 1);
    assert_int_equal(acpi_pm_next_event_ns(&b.dev), VDEV_NEVER);
    out(&b, ACPI_PM1_EVENT + 2, 2, 0xffff);
    assert_int_equal(in(&b, ACPI_PM1_EVENT + 2, 2), 0x0721);
    assert_int_equal(b.sci.level, 1);
    out(&b, ACPI_PM1_EVENT, 2, 1);
    assert_int_equal(b.sci.level, 0);
    next = acpi_pm_next_event_ns(&b.dev);
    assert_true(next > b.time.now);
    acpi_pm_update(&b.dev, next - 1);
    assert_int_equal(b.sci.level, 0);
    acpi_pm_update(&b.dev, next);
    assert_int_equal(b.sci.level, 1);
    b.time.now = next;
    assert_int_equal(in(&b, ACPI_PM_TIMER, 4), 2 * half & 0xffffff);
    out(&b, ACPI_PM1_EVENT + 2, 1, 0);
    assert_int_equal(b.sci.level, 0);
    assert_int_equal(in(&b, ACPI_PM1_EVENT, 4), 0x07000001);
    out(&b, ACPI_PM1_EVENT, 4, 0x00010001); /* enabling and clearing in one */
    assert_int_equal(in(&b, ACPI_PM1_EVENT, 4), 0x00010000);
    assert_int_equal(b.sci.rises, 2);
}

static void test_edges(void **state)
{
    struct bench b;
    struct vdev_access acc = {.offset = ACPI_PM_PORTS - 1, .size = 4};

    start(&b);
    assert_int_equal(acpi_pm_access(&b.dev, &acc), VDEV_UNHANDLED); /* beyond the range */
    assert_int_equal(in(&b, ACPI_PM1_EVENT + 1, 4), 0x01000000); /* three registers, the last has SCI_EN */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_timer),
        cmocka_unit_test(test_timer_interrupt),
        cmocka_unit_test(test_edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
