/* SPDX-License-Identifier: MIT */
/* mm/ram.c with 5 GiB of guest RAM that exist in numbers only: the frame allocator and the physmap
 * are fakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mm/frame.h"
#include "mm/host.h"
#include "mm/ram.h"

#define BASE 0x40200000ull
#define SIZE 0x140000000ull
#define LOW  0xc0000000ull
#define HIGH 0x100000000ull

static hpa_t next_alloc;

hpa_t frame_alloc_contig(uint64_t count, uint64_t align)
{
    assert_int_equal(align, 0x200000);
    return next_alloc;
}

void *phys_to_virt(hpa_t hpa)
{
    return (void *)(uintptr_t)(hpa | 0x4000000000000000);
}

static void test_init(void **ctx)
{
    next_alloc = BASE;
    assert_int_equal(guest_ram_init(0), -22);
    assert_int_equal(guest_ram_init(0x201000), -22);
    next_alloc = HPA_INVALID;
    assert_int_equal(guest_ram_init(SIZE), -12);
    assert_int_equal(guest_ram_size(), 0);
    next_alloc = BASE;
    assert_int_equal(guest_ram_init(SIZE), 0);
    assert_int_equal(guest_ram_size(), SIZE);
}

static void test_addresses(void **ctx)
{
    static const struct {
        gpa_t gpa;
        ram_addr_t ram;
    } pairs[] = {
        {0, 0},
        {0xfff, 0xfff},
        {0xa0000, 0xa0000},
        {LOW - 1, LOW - 1},
        {HIGH, LOW},
        {HIGH + 0x1234, LOW + 0x1234},
        {HIGH + SIZE - LOW - 1, SIZE - 1},
    };
    static const gpa_t outside[] = {LOW,        0xfee00000, HIGH - 1, HIGH + SIZE - LOW,
                                    1ull << 51, ~0ull};
    ram_addr_t ram;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(pairs); i++) {
        assert_true(gpa_to_ram(pairs[i].gpa, &ram));
        assert_int_equal(ram, pairs[i].ram);
        assert_int_equal(ram_to_gpa(ram), pairs[i].gpa);
        assert_int_equal(ram_to_hpa(ram), BASE + ram);
        assert_ptr_equal(ram_to_virt(ram), phys_to_virt(BASE + ram));
        assert_true(hpa_to_ram(BASE + pairs[i].ram, &ram));
        assert_int_equal(ram, pairs[i].ram);
    }
    for (i = 0; i < ARRAY_SIZE(outside); i++) {
        assert_false(gpa_to_ram(outside[i], &ram));
    }
    assert_false(hpa_to_ram(BASE - 1, &ram));
    assert_false(hpa_to_ram(BASE + SIZE, &ram));
}

static void test_ranges(void **ctx)
{
    assert_true(gpa_range_is_ram(0, LOW));
    assert_false(gpa_range_is_ram(0, LOW + 1));
    assert_true(gpa_range_is_ram(HIGH, SIZE - LOW));
    assert_false(gpa_range_is_ram(HIGH, SIZE - LOW + 1));
    assert_false(
        gpa_range_is_ram(LOW - 8, HIGH - LOW + 16)); /* both ends are RAM, the middle is not */
    assert_false(gpa_range_is_ram(HIGH - 1, 2));
    assert_false(gpa_range_is_ram(1, ~0ull));
    assert_false(gpa_range_is_ram(LOW, 0));
    assert_true(gpa_range_is_ram(LOW - 1, 1));
}

/* Closed, every second MiB is the one before it, below 3 GiB and above 4 GiB; nothing that is not RAM becomes RAM. */
static void test_a20(void **ctx)
{
    static const gpa_t addresses[] = {0, 0x100000, 0x1234567, 0x1334567, LOW - 0x100000, HIGH + 0x100fff, HIGH + SIZE - LOW - 1};
    ram_addr_t open, closed;

    assert_true(guest_ram_a20_open());
    for (unsigned i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        assert_true(gpa_to_ram(addresses[i], &open));
        guest_ram_set_a20(false);
        assert_false(guest_ram_a20_open());
        assert_true(gpa_to_ram(addresses[i], &closed));
        assert_int_equal(closed, open & ~0x100000ull);
        assert_false(gpa_to_ram(LOW + 0x100000, &closed));
        assert_false(gpa_to_ram(HIGH + SIZE - LOW + 0x100000, &closed));
        assert_false(gpa_range_is_ram(0xfff00, 0x200));
        guest_ram_set_a20(true);
        assert_true(gpa_range_is_ram(0xfff00, 0x200));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_a20),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
