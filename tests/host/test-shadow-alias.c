/* SPDX-License-Identifier: MIT */
/* Aliases: they write past tracking, give nothing that the guest's tables do not, and go with every change of a mapping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"
#include "tests/host/shadow-guest.h"

#define VA    0x400000ull
#define OTHER (VA + 64 * PAGE_SIZE) /* the same pair as VA */

static void fresh(void)
{
    fresh_guest(256);
    assert_int_equal(shadow_alias_init(), 0);
    guest_map(VA, 1, LARGE, WU | D);
    guest_map(VA + PAGE_SIZE, 1, LARGE + 0x5000, WU | D);
    track_set(LARGE, TRACK_CODE);
}

static void assert_alias(enum view view, gva_t alias, gpa_t gpa)
{
    struct sim_result r = sim_access(view, alias, true);

    assert_true(r.ok && r.nx);
    assert_int_equal(r.hpa, ram_to_hpa(gpa));
}

static void test_writes_past_tracking(void **ctx)
{
    gva_t alias;

    fresh();
    alias = shadow_alias(VIEW_KERNEL, VA + 24, false);
    assert_alias(VIEW_KERNEL, alias, LARGE + 24);
    assert_false(sim_access(VIEW_KERNEL, VA, true).ok);
    assert_false(sim_access(VIEW_USER, alias, false).ok);
    assert_false(sim_access(VIEW_KERNEL, alias + PAGE_SIZE, false).ok);
    /* Across the page end: both pages, contiguous. */
    assert_int_equal(shadow_alias(VIEW_KERNEL, VA + PAGE_SIZE - 4, true), alias - 24 + PAGE_SIZE - 4);
    assert_alias(VIEW_KERNEL, alias - 24 + PAGE_SIZE, LARGE + 0x5000);
    assert_int_equal(shadow_check(), 0);
}

static void test_rights(void **ctx)
{
    fresh();
    guest_map(VA + 2 * PAGE_SIZE, 1, LARGE + 0x6000, U);       /* read-only */
    guest_map(VA + 3 * PAGE_SIZE, 1, LARGE + 0x7000, W | D);   /* kernel */
    guest_map(VA + 4 * PAGE_SIZE, 1, 0xfee00000, WU | D);      /* device */
    assert_int_equal(shadow_alias(VIEW_USER, VA + 2 * PAGE_SIZE, false), 0);
    assert_int_equal(shadow_alias(VIEW_USER, VA + PAGE_SIZE + 8, true), 0); /* the second page */
    assert_int_equal(shadow_alias(VIEW_USER, VA + 3 * PAGE_SIZE, false), 0);
    assert_int_not_equal(shadow_alias(VIEW_KERNEL, VA + 3 * PAGE_SIZE, false), 0);
    assert_int_equal(shadow_alias(VIEW_KERNEL, VA + 4 * PAGE_SIZE, false), 0);
    assert_int_equal(shadow_alias(VIEW_KERNEL, VA + 9 * PAGE_SIZE, false), 0);
    assert_int_equal(shadow_check(), 0);
}

/* Every way to take a mapping away takes the alias, in the entries and in the TLB. */
static void test_dropped(void **ctx)
{
    struct guest_paging gp;

    for (unsigned how = 0; how < 6; how++) {
        struct sim_result r;
        gva_t alias;

        fresh();
        gp = sim_paging;
        guest_map(OTHER, 1, LARGE + 0x9000, WU | D);
        alias = shadow_alias(VIEW_USER, VA, false);
        assert_alias(VIEW_USER, alias, LARGE);
        switch (how) {
        case 0:
            shadow_flush();
            break;
        case 1:
            shadow_set_paging(&gp); /* a CR3 write */
            break;
        case 2:
            guest_map(VA, 1, LARGE, U);
            shadow_flush_page(VA);
            break;
        case 3: /* changed without INVLPG, and met by a fault */
            *guest_entry(sim_paging.cr3, VA, 1) = 0;
            assert_int_equal(touch(VIEW_USER, VA, true, &r), FILL_GUEST_FAULT);
            break;
        case 4:
            track_set(LARGE, TRACK_WATCH);
            break;
        default:
            assert_int_equal(shadow_alias(VIEW_USER, OTHER, false), alias);
            assert_alias(VIEW_USER, alias, LARGE + 0x9000);
            break;
        }
        if (how < 5) {
            assert_false(sim_access(VIEW_USER, alias, false).ok);
        }
        assert_false(sim_tlb_can_write(ram_to_hpa(LARGE)));
        assert_int_equal(shadow_check(), 0);
    }
}

/* The checker sees an alias that nobody recorded. */
static void test_check_finds(void **ctx)
{
    uint64_t *pte;

    fresh();
    pte = sim_leaf(VIEW_KERNEL, shadow_alias(VIEW_KERNEL, VA, false));
    assert_non_null(pte);
    *pte += PAGE_SIZE;
    assert_int_equal(shadow_check(), 1);
    *pte -= PAGE_SIZE;
    assert_int_equal(shadow_check(), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_past_tracking),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_check_finds),
    };

    return cmocka_run_group_tests(tests, shadow_guest_setup, NULL);
}
