/* SPDX-License-Identifier: MIT */
/* The port bus: overlap, capacity, splitting, and what nobody answers. */
#include "tests/host/test-vdev.h"

#include "kernel/lib/errno.h"

/* Eight bytes of memory that also record how they were accessed. */
struct store {
    uint8_t byte[8];
    unsigned max_size;
    unsigned calls;
    uint32_t last_offset;
    uint8_t last_size;
    enum vdev_result refuse; /* for sizes above max_size */
};

static enum vdev_result store_access(void *dev, struct vdev_access *acc)
{
    struct store *s = dev;

    if (acc->size > s->max_size) {
        return s->refuse;
    }
    s->calls++;
    s->last_offset = acc->offset;
    s->last_size = acc->size;
    if (!acc->write) {
        acc->value = 0xdead0000; /* junk above the size must not reach the guest */
    }
    for (unsigned i = 0; i < acc->size; i++) {
        if (acc->write) {
            s->byte[acc->offset + i] = acc->value >> (8 * i);
        } else {
            acc->value = (acc->value & ~(0xffu << (8 * i))) | (uint32_t)s->byte[acc->offset + i]
                                                                  << (8 * i);
        }
    }
    return VDEV_HANDLED;
}

static int add(struct vbus *bus, uint16_t base, uint16_t len, struct store *s)
{
    struct vdev_range r = {
        .base = base, .len = len, .access = store_access, .dev = s, .name = "store"};

    return vbus_add(bus, &r);
}

static uint32_t in(struct vbus *bus, uint16_t port, unsigned size, enum vdev_result expected)
{
    struct vdev_access acc = {.size = size, .value = 0x12345678};

    assert_int_equal(vbus_access(bus, port, &acc), expected);
    return acc.value;
}

static void out(struct vbus *bus, uint16_t port, unsigned size, uint32_t value,
                enum vdev_result expected)
{
    struct vdev_access acc = {.size = size, .write = true, .value = value};

    assert_int_equal(vbus_access(bus, port, &acc), expected);
    assert_int_equal(acc.value, value);
}

static void test_overlap(void **state)
{
    struct vbus bus = {0};
    struct store s = {.max_size = 4};

    assert_int_equal(add(&bus, 0x100, 8, &s), 0);
    assert_int_equal(add(&bus, 0x107, 1, &s), -EEXIST);
    assert_int_equal(add(&bus, 0xff, 2, &s), -EEXIST);
    assert_int_equal(add(&bus, 0xf0, 0x40, &s), -EEXIST);
    assert_int_equal(add(&bus, 0x102, 2, &s), -EEXIST);
    assert_int_equal(add(&bus, 0x108, 1, &s), 0);
    assert_int_equal(add(&bus, 0xff, 1, &s), 0);
    assert_int_equal(add(&bus, 0xfff8, 8, &s), 0);
    for (unsigned i = bus.count; i < VBUS_MAX; i++) {
        assert_int_equal(add(&bus, 0x1000 + i, 1, &s), 0);
    }
    assert_int_equal(add(&bus, 0x2000, 1, &s), -ENOSPC);
}

static void test_whole_and_split(void **state)
{
    struct vbus bus = {0};
    struct store wide = {.max_size = 4}, bytes = {.max_size = 1, .refuse = VDEV_UNHANDLED};

    add(&bus, 0x200, 8, &wide);
    add(&bus, 0x208, 8, &bytes);
    out(&bus, 0x202, 4, 0x44332211, VDEV_HANDLED);
    assert_int_equal(wide.calls, 1);
    assert_int_equal(wide.last_offset, 2);
    assert_int_equal(wide.last_size, 4);
    assert_int_equal(in(&bus, 0x203, 2, VDEV_HANDLED), 0x3322);
    assert_int_equal(in(&bus, 0x205, 1, VDEV_HANDLED), 0x44);

    out(&bus, 0x20a, 4, 0x88776655, VDEV_HANDLED);
    assert_int_equal(bytes.calls, 4);
    assert_int_equal(bytes.last_size, 1);
    assert_int_equal(in(&bus, 0x20a, 4, VDEV_HANDLED), 0x88776655);
}

static void test_across_ranges(void **state)
{
    struct vbus bus = {0};
    struct store a = {.max_size = 4}, b = {.max_size = 4};

    add(&bus, 0x200, 2, &a);
    add(&bus, 0x202, 1, &b);
    out(&bus, 0x200, 4, 0x44332211, VDEV_HANDLED);
    assert_int_equal(a.byte[0], 0x11);
    assert_int_equal(a.byte[1], 0x22);
    assert_int_equal(b.byte[0], 0x33);
    assert_int_equal(a.last_size, 1);
    assert_int_equal(in(&bus, 0x200, 4, VDEV_HANDLED), 0xff332211);
    assert_int_equal(in(&bus, 0x1ff, 2, VDEV_HANDLED), 0x11ff);
}

static void test_nobody(void **state)
{
    struct vbus bus = {0};
    struct store failing = {.max_size = 0, .refuse = VDEV_ERROR};

    assert_int_equal(in(&bus, 0x300, 1, VDEV_UNHANDLED), 0xff);
    assert_int_equal(in(&bus, 0x300, 2, VDEV_UNHANDLED), 0xffff);
    assert_int_equal(in(&bus, 0x300, 4, VDEV_UNHANDLED), 0xffffffff);
    out(&bus, 0x300, 4, 1, VDEV_UNHANDLED);
    assert_int_equal(in(&bus, 0xffff, 4, VDEV_UNHANDLED), 0xffffffff); /* ports do not wrap round */
    add(&bus, 0, 4, &failing);
    assert_int_equal(in(&bus, 0xffff, 2, VDEV_UNHANDLED), 0xffff);
    assert_int_equal(in(&bus, 0, 2, VDEV_ERROR), 0xffff);
    assert_int_equal(in(&bus, 3, 2, VDEV_ERROR), 0xffff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_whole_and_split),
        cmocka_unit_test(test_across_ranges),
        cmocka_unit_test(test_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
