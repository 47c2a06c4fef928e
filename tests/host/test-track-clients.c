/* SPDX-License-Identifier: MIT */
/*
 * Several clients of one write-protect bit: dirty logs (VGA, MIGRATION) beside CODE and WATCH. A write is let through only when
 * nobody wants to know of it, and no client loses one to another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernel/lib/errno.h"
#include "mm/dirty-log.h"
#include "mm/ram.h"
#include "mm/track.h"
#include "mm/watch.h"
#include "tests/host/shadow-guest.h"

#define VA    0x400000ull
#define PAGES 16u

static void fresh(void)
{
    fresh_guest(256);
    for (unsigned i = 0; i < PAGES; i++) {
        guest_map(VA + i * PAGE_SIZE, 1, LARGE + i * PAGE_SIZE, WU | D);
    }
}

static bool writable(unsigned page)
{
    struct sim_result r;

    return touch(VIEW_KERNEL, VA + page * PAGE_SIZE, true, &r) == FILL_OK;
}

/* What the fault funnel does with a store to the page; CODE and WATCH keep it. Returns whether it may be repeated. */
static bool store(unsigned page)
{
    if (!writable(page)) {
        dirty_log_written(LARGE + page * PAGE_SIZE + 8, 8);
    }
    return writable(page);
}

static void test_first_write_only(void **ctx)
{
    ram_addr_t at = 0;

    fresh();
    assert_true(writable(3)); /* mapped writable before the log begins */
    dirty_log_start(TRACK_MIGRATION, 0, guest_ram_size());
    assert_int_equal(dirty_log_count(TRACK_MIGRATION), 0);
    assert_false(writable(3));
    assert_true(store(3));
    assert_true(store(3));
    assert_int_equal(dirty_log_count(TRACK_MIGRATION), 1);
    assert_true(dirty_log_next(TRACK_MIGRATION, &at));
    assert_int_equal(at, LARGE + 3 * PAGE_SIZE);
    assert_false(dirty_log_next(TRACK_MIGRATION, &at));
    assert_false(writable(3)); /* read and clear arms again */
    assert_int_equal(shadow_check(), 0);
    dirty_log_stop(TRACK_MIGRATION);
    assert_true(writable(3));
}

/* SMC case 64: both clients on a page with code. */
static void test_beside_code(void **ctx)
{
    fresh();
    track_set(LARGE, TRACK_CODE);
    dirty_log_start(TRACK_MIGRATION, 0, guest_ram_size());
    dirty_log_start(TRACK_VGA, LARGE, 2 * PAGE_SIZE);
    assert_false(store(0)); /* dirty for both, and still protected for code */
    assert_int_equal(dirty_log_count(TRACK_MIGRATION), 1);
    assert_int_equal(dirty_log_count(TRACK_VGA), 1);
    assert_int_equal(track_reasons(LARGE), TRACK_CODE);
    track_clear(LARGE, TRACK_CODE); /* the last TB is gone: nobody is left */
    assert_true(writable(0));
    for (ram_addr_t at = 0; dirty_log_next(TRACK_VGA, &at);) {
    }
    assert_false(writable(0)); /* VGA alone is enough */
    assert_true(store(0));
    assert_int_equal(dirty_log_count(TRACK_MIGRATION), 1);
    dirty_log_stop(TRACK_VGA);
    dirty_log_stop(TRACK_MIGRATION);
    assert_int_equal(track_reasons(LARGE), 0);
    assert_int_equal(shadow_check(), 0);
}

static void test_ranges(void **ctx)
{
    ram_addr_t at = 0;

    fresh();
    dirty_log_start(TRACK_VGA, LARGE + 2 * PAGE_SIZE + 100, PAGE_SIZE); /* two pages, in part */
    assert_false(dirty_log_covers(TRACK_VGA, LARGE + PAGE_SIZE));
    assert_true(dirty_log_covers(TRACK_VGA, LARGE + 3 * PAGE_SIZE + 4095));
    assert_false(dirty_log_covers(TRACK_VGA, LARGE + 4 * PAGE_SIZE));
    assert_false(dirty_log_written(LARGE, 2 * PAGE_SIZE));
    assert_true(dirty_log_written(LARGE + 4 * PAGE_SIZE - 1, 2)); /* across the end */
    assert_true(dirty_log_next(TRACK_VGA, &at));
    assert_int_equal(at, LARGE + 3 * PAGE_SIZE);
    assert_false(dirty_log_next(TRACK_VGA, &at));
    dirty_log_stop(TRACK_VGA);
}

/* Random writes and reads against a plain array. */
static void test_model(void **ctx)
{
    bool dirty[PAGES] = {0};

    fresh();
    srand(1);
    dirty_log_start(TRACK_MIGRATION, 0, guest_ram_size());
    for (unsigned i = 0; i < 20000; i++) {
        unsigned page = (unsigned)rand() % PAGES;

        if (rand() % 50) {
            assert_true(store(page));
            dirty[page] = true;
            continue;
        }
        for (ram_addr_t at = 0; dirty_log_next(TRACK_MIGRATION, &at);) {
            unsigned found = (unsigned)((at - LARGE) / PAGE_SIZE);

            assert_true(found < PAGES && dirty[found]);
            dirty[found] = false;
        }
        for (unsigned p = 0; p < PAGES; p++) {
            assert_false(dirty[p]);
        }
    }
    dirty_log_stop(TRACK_MIGRATION);
    assert_int_equal(shadow_check(), 0);
}

/* A watched address follows the mapping: the frame behind it is tracked, whatever it is, also within a large page. */
static void test_watch_follows(void **ctx)
{
    struct sim_result r;

    fresh();
    assert_true(writable(1));
    assert_int_equal(watch_add(VA + PAGE_SIZE + 40, 8, false), 0);
    assert_false(writable(1));
    assert_true(writable(2));
    assert_int_equal(track_reasons(LARGE + PAGE_SIZE), TRACK_WATCH);
    guest_map(VA + PAGE_SIZE, 1, LARGE + 9 * PAGE_SIZE, WU | D);
    shadow_flush_page(VA + PAGE_SIZE);
    assert_false(writable(1));
    assert_int_equal(track_reasons(LARGE + 9 * PAGE_SIZE), TRACK_WATCH);
    assert_int_equal(shadow_check(), 0);
    watch_remove(VA + PAGE_SIZE + 40, 8, false);
    assert_true(writable(1));
    assert_int_equal(track_reasons(LARGE + PAGE_SIZE) | track_reasons(LARGE + 9 * PAGE_SIZE), 0);

    guest_map(0x40000000ull, 2, 2 * LARGE, WU | D | PS);
    assert_int_equal(watch_add(0x40000000ull + 7 * PAGE_SIZE, 4, false), 0);
    assert_int_equal(touch(VIEW_USER, 0x40000000ull, true, &r), FILL_OK); /* not mapped large: */
    assert_int_equal(touch(VIEW_USER, 0x40000000ull + 7 * PAGE_SIZE, true, &r), FILL_TRACKED);
    watch_remove(0x40000000ull + 7 * PAGE_SIZE, 4, false);
}

static void test_watch_reads(void **ctx)
{
    struct sim_result r;

    fresh();
    assert_int_equal(touch(VIEW_KERNEL, VA, false, &r), FILL_OK);
    assert_int_equal(watch_add(VA + 4090, 12, true), 0); /* two pages */
    assert_int_equal(touch(VIEW_KERNEL, VA, false, &r), FILL_WATCHED);
    assert_false(sim_access(VIEW_KERNEL, VA, false).ok);
    assert_int_equal(touch(VIEW_USER, VA + PAGE_SIZE, true, &r), FILL_WATCHED);
    assert_int_equal(touch(VIEW_KERNEL, VA + 2 * PAGE_SIZE, false, &r), FILL_OK);
    watch_remove(VA + 4090, 12, true);
    assert_int_equal(touch(VIEW_KERNEL, VA, false, &r), FILL_OK);
    for (unsigned i = 0; i < WATCH_MAX; i++) {
        assert_int_equal(watch_add(VA, 1, false), 0);
    }
    assert_int_equal(watch_add(VA, 1, false), -ENOSPC);
    for (unsigned i = 0; i < WATCH_MAX; i++) {
        watch_remove(VA, 1, false);
    }
    assert_true(writable(0));
    assert_int_equal(shadow_check(), 0);
}

static int setup(void **ctx)
{
    return shadow_guest_setup(ctx) || dirty_log_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_write_only), cmocka_unit_test(test_beside_code), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_model), cmocka_unit_test(test_watch_follows), cmocka_unit_test(test_watch_reads),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
