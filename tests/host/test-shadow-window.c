/* SPDX-License-Identifier: MIT */
/* The one-instruction windows: open for exactly what they name, closed exactly to the state before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/lib/string.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/kmap.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/shadow.h"
#include "mm/track.h"
#include "tests/host/mm-host.h"
#include "tests/host/shadow-guest.h"

static void test_redo_write(void **ctx)
{
    gva_t va = 0x400000, alias = 0x500000;
    struct sim_result r;
    uint64_t digest, other;

    fresh_guest(256);
    guest_map(va, 1, LARGE, WU | D);
    guest_map(alias, 1, LARGE, WU | D);
    track_set(LARGE, TRACK_CODE);
    assert_reads(alias, LARGE);
    assert_int_equal(touch(VIEW_KERNEL, va, true, &r), FILL_TRACKED);
    digest = sim_digest(VIEW_KERNEL);
    other = sim_digest(VIEW_USER);
    shadow_window_open(VIEW_KERNEL, va + 8);
    shadow_window_open(VIEW_KERNEL, va + 16); /* the same page: one window */
    assert_true(sim_access(VIEW_KERNEL, va, true).ok);
    assert_false(sim_access(VIEW_KERNEL, alias, true).ok);
    assert_int_equal(sim_digest(VIEW_USER), other);
    assert_int_equal(shadow_check(), 0);
    shadow_window_close();
    assert_false(sim_access(VIEW_KERNEL, va, true).ok);
    assert_false(sim_tlb_can_write(ram_to_hpa(LARGE)));
    assert_int_equal(sim_digest(VIEW_KERNEL), digest);

    /* A flush, a change of tracking and a fill of the page itself while it is open. */
    shadow_window_open(VIEW_KERNEL, va);
    assert_int_equal(shadow_fill(VIEW_KERNEL, va, WALK_WRITE, &res), FILL_TRACKED);
    assert_true(sim_access(VIEW_KERNEL, va, true).ok);
    track_set(LARGE + 0x1000, TRACK_CODE);
    shadow_flush();
    assert_false(sim_tlb_can_write(ram_to_hpa(LARGE)));
    shadow_window_close();
    assert_false(sim_walk(VIEW_KERNEL, va).present);
    assert_int_equal(shadow_check(), 0);

    /* Not mapped yet: the window fills first. Guest read-only: no window. */
    shadow_window_open(VIEW_KERNEL, va);
    assert_true(sim_access(VIEW_KERNEL, va, true).ok);
    guest_map(alias, 1, LARGE, U);
    shadow_flush_page(alias); /* closes */
    shadow_window_open(VIEW_KERNEL, alias);
    assert_false(sim_access(VIEW_KERNEL, alias, true).ok);
    shadow_window_close();
    assert_int_equal(shadow_check(), 0);
}

static void test_redo_map(void **ctx)
{
    gva_t device = 0x40000000, ram = 0x400000, large = 0x600000;
    hpa_t private = frame_alloc();
    struct sim_result r;
    uint64_t digest;

    fresh_guest(256);
    guest_map(device, 2, 0xfee00000, WU | D);
    guest_map(ram, 1, LARGE, WU | D);
    guest_map(large, 2, 2 * LARGE, WU | D);
    assert_writes(ram);
    assert_writes(large + 0x3000);
    assert_int_equal(touch(VIEW_KERNEL, device, true, &r), FILL_MMIO);
    assert_int_equal(res.gpa, 0xfee00000);
    digest = sim_digest(VIEW_KERNEL);
    shadow_window_map(VIEW_KERNEL, device, private, false);
    shadow_window_map(VIEW_KERNEL, ram, private, true);
    r = sim_access(VIEW_KERNEL, device + 8, false);
    assert_true(r.ok && r.hpa == private + 8 && r.nx);
    assert_false(sim_access(VIEW_KERNEL, device, true).ok);
    assert_int_equal(sim_access(VIEW_KERNEL, ram, true).hpa, private);
    assert_int_equal(shadow_fill(VIEW_KERNEL, device, WALK_WRITE, &res), FILL_MMIO);
    assert_true(sim_access(VIEW_KERNEL, device, false).ok);
    assert_int_equal(shadow_check(), 0);
    shadow_window_close();
    assert_false(sim_tlb_reaches(private));
    assert_int_equal(sim_digest(VIEW_KERNEL), digest);
    assert_int_equal(shadow_check(), 0);

    /* The frame that stood aside becomes tracked meanwhile: it comes back read-only. */
    shadow_window_map(VIEW_KERNEL, ram, private, true);
    track_set(LARGE, TRACK_CODE);
    shadow_window_close();
    r = sim_walk(VIEW_KERNEL, ram);
    assert_true(r.present && !r.writable && r.hpa == ram_to_hpa(LARGE));

    /* A flush takes the private frame away, and closing finds nothing to do. */
    shadow_window_map(VIEW_KERNEL, device, private, true);
    assert_true(sim_access(VIEW_KERNEL, device, true).ok);
    shadow_flush();
    assert_int_equal(redo_windows_open(), 0);
    assert_false(sim_access(VIEW_KERNEL, device, true).ok);
    shadow_window_map(VIEW_KERNEL, device, private, true);
    shadow_flush_page(device + LARGE);
    assert_false(sim_access(VIEW_KERNEL, device, true).ok);
    assert_int_equal(shadow_check(), 0);
    shadow_window_close();
    assert_int_equal(shadow_check(), 0);
    assert_writes(large + 0x3000);

    /* In the middle of a large entry. */
    shadow_window_map(VIEW_KERNEL, large + 0x3000, private, true);
    assert_int_equal(sim_access(VIEW_KERNEL, large + 0x3000, true).hpa, private);
    shadow_window_close();
    assert_writes(large + 0x3000);
    assert_reads(large + 0x4000, 2 * LARGE + 0x4000);
    assert_int_equal(shadow_check(), 0);
}

/* An instruction that touches more pages than there are windows gets no more, and nothing breaks. */
static void test_too_many(void **ctx)
{
    gva_t va = 0x400000;
    hpa_t private = frame_alloc();
    unsigned writable = 0;

    fresh_guest(256);
    for (unsigned i = 0; i < 6; i++) {
        guest_map(va + i * PAGE_SIZE, 1, LARGE + i * PAGE_SIZE, WU | D);
        track_set(LARGE + i * PAGE_SIZE, TRACK_CODE);
    }
    for (unsigned i = 0; i < 6; i++) {
        shadow_window_open(VIEW_KERNEL, va + i * PAGE_SIZE);
    }
    shadow_window_map(VIEW_KERNEL, va + 0x100000, private, true);
    for (unsigned i = 0; i < 6; i++) {
        writable += sim_access(VIEW_KERNEL, va + i * PAGE_SIZE, true).ok;
    }
    assert_int_equal(writable, 4);
    assert_false(sim_walk(VIEW_KERNEL, va + 0x100000).present);
    shadow_window_close();
    assert_false(sim_access(VIEW_KERNEL, va, true).ok);
    assert_int_equal(shadow_check(), 0);
    frame_free(private);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redo_write),
        cmocka_unit_test(test_redo_map),
        cmocka_unit_test(test_too_many),
    };

    return cmocka_run_group_tests(tests, shadow_guest_setup, NULL);
}
