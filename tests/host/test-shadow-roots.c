/* SPDX-License-Identifier: MIT */
/* Several address spaces at once: roots that are kept, tables that they share, and guest tables that are written while their
 * shadows exist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/lib/string.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"
#include "tests/host/shadow-guest.h"

#define KERNEL 0xffff888000000000ull
#define USER   0x400000ull

static void load_cr3(gpa_t cr3)
{
    sim_paging.cr3 = cr3;
    shadow_set_paging(&sim_paging);
}

/* An address space whose kernel half is that of `other`. */
static gpa_t space_new(gpa_t other)
{
    gpa_t cr3 = table_new();
    unsigned i;

    for (i = 256; i < 512; i++) {
        guest_store(cr3 + i * 8, *sim_guest_word(other + i * 8));
    }
    return cr3;
}

/* Two address spaces: the kernel at KERNEL, and another page each at USER. */
static void two_spaces(gpa_t space[2])
{
    fresh_guest(256);
    space[0] = sim_paging.cr3;
    guest_map(KERNEL, 1, LARGE, W | D);
    guest_map(USER, 1, 2 * LARGE, WU | D);
    space[1] = space_new(space[0]);
    guest_set(space[1], USER, 1, 3 * LARGE | P | WU | D);
}

static void test_roots_are_kept(void **ctx)
{
    gpa_t space[2];
    uint64_t fills, tables, flushes;
    unsigned i;

    two_spaces(space);
    for (i = 0; i < 2; i++) {
        load_cr3(space[i]);
        assert_writes(KERNEL);
        assert_writes(USER);
    }
    fills = shadow_stats.fills;
    tables = shadow_stats.frames_used;
    flushes = sim_flush_count();
    for (i = 0; i < 1000; i++) {
        load_cr3(space[i % 2]);
        assert_reads(KERNEL + 8, LARGE + 8);
        assert_reads(USER, (2 + i % 2) * LARGE);
    }
    assert_int_equal(shadow_stats.fills, fills);
    assert_int_equal(shadow_stats.frames_used, tables);
    assert_int_equal(sim_flush_count(), flushes);
    assert_int_equal(shadow_stats.root_hits, 1000);
    assert_int_equal(shadow_check(), 0);
}

/* The kernel half is shadowed once. */
static void test_tables_are_shared(void **ctx)
{
    gpa_t space[2];
    uint64_t tables;

    two_spaces(space);
    assert_writes(KERNEL);
    tables = shadow_stats.frames_used;
    load_cr3(space[1]);
    assert_writes(KERNEL);
    assert_int_equal(shadow_stats.frames_used, tables + 1); /* the root */
    /* A change is one for both. */
    guest_set(space[0], KERNEL, 1, 4 * LARGE | P | W | D);
    shadow_flush_page(KERNEL);
    assert_reads(KERNEL, 4 * LARGE);
    load_cr3(space[0]);
    assert_reads(KERNEL, 4 * LARGE);
    assert_int_equal(shadow_check(), 0);
}

/* The tables of an address space that is not the present one are changed. */
static void test_other_space_changes(void **ctx)
{
    gpa_t space[2];
    unsigned i;

    two_spaces(space);
    assert_writes(USER);
    load_cr3(space[1]);
    assert_writes(USER);
    for (i = 0; i < 40; i++) { /* fresh, then synchronized, then written again */
        guest_set(space[0], USER, 1, (4 + i % 3) * LARGE | P | WU | D);
        assert_reads(USER, 3 * LARGE);
        load_cr3(space[0]);
        assert_reads(USER, (4 + i % 3) * LARGE);
        for (unsigned k = 0; k < i % 20; k++) {
            load_cr3(space[k % 2]);
        }
        load_cr3(space[1]);
        assert_int_equal(shadow_check(), 0);
    }
    guest_store(space[0] + pt_index(USER, 4) * 8, 0);
    load_cr3(space[0]);
    assert_false(sim_access(VIEW_KERNEL, USER, false).ok);
    assert_int_equal(shadow_fill(VIEW_KERNEL, USER, 0, &res), FILL_GUEST_FAULT);
    assert_int_equal(shadow_check(), 0);
}

/* A table that nobody writes becomes tracked; one write fault, and it is writable again. */
static void test_synchronized(void **ctx)
{
    gva_t alias = 0x10000000;
    struct sim_result r;
    ram_addr_t table;
    unsigned i;

    fresh_guest(256);
    guest_map(USER, 1, LARGE, WU | D);
    table = *guest_entry(sim_paging.cr3, USER, 2) & 0xffffffffff000;
    guest_map(alias, 1, table, WU | D);
    assert_writes(USER);
    assert_writes(alias);
    assert_false(track_reasons(table) & TRACK_PT);
    for (i = 0; i < 20; i++) {
        assert_true(sim_access(VIEW_KERNEL, alias, true).ok == !(track_reasons(table) & TRACK_PT));
        load_cr3(sim_paging.cr3);
    }
    assert_int_equal(track_reasons(table), TRACK_PT);
    assert_false(sim_access(VIEW_KERNEL, alias, true).ok);
    assert_int_equal(shadow_fill(VIEW_KERNEL, alias, WALK_WRITE, &res), FILL_OK);
    assert_true(sim_access(VIEW_KERNEL, alias, true).ok);
    assert_int_equal(track_reasons(table), 0);
    assert_int_equal(shadow_stats.unsynced, 1);
    /* With code in it the write is still for somebody else to complete. */
    for (i = 0; i < 20; i++) {
        load_cr3(sim_paging.cr3);
    }
    track_set(table, TRACK_CODE);
    assert_int_equal(track_reasons(table), TRACK_PT | TRACK_CODE);
    assert_int_equal(touch(VIEW_KERNEL, alias, true, &r), FILL_TRACKED);
    assert_int_equal(track_reasons(table), TRACK_CODE);
    *sim_guest_word(table + pt_index(USER, 1) * 8) = 2 * LARGE | P | WU | D;
    load_cr3(sim_paging.cr3);
    assert_reads(USER, 2 * LARGE);
    assert_int_equal(shadow_check(), 0);
}

/* Accessed and dirty bits that the guest takes away come back with the next access. */
static void test_accessed_dirty(void **ctx)
{
    fresh_guest(256);
    guest_map(USER, 1, LARGE, WU);
    assert_writes(USER);
    guest_set(sim_paging.cr3, USER, 1, LARGE | P | WU);
    shadow_flush_page(USER);
    assert_reads(USER, LARGE);
    assert_int_equal(*guest_entry(sim_paging.cr3, USER, 1) & (A | D), A);
    assert_writes(USER);
    assert_int_equal(*guest_entry(sim_paging.cr3, USER, 1) & (A | D), A | D);
    guest_set(sim_paging.cr3, USER, 1, LARGE | P | WU | A);
    load_cr3(sim_paging.cr3);
    assert_false(sim_access(VIEW_KERNEL, USER, true).ok);
    assert_int_equal(shadow_check(), 0);
}

/* More tables are written than may be unsynchronized at once. */
static void test_many_written(void **ctx)
{
    unsigned i, round;

    fresh_guest(512);
    for (i = 0; i < 100; i++) {
        guest_map(USER + i * LARGE, 1, LARGE + i * PAGE_SIZE, WU | D);
        assert_writes(USER + i * LARGE);
    }
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 100; i++) {
            guest_set(sim_paging.cr3, USER + i * LARGE, 1,
                      (2 * LARGE + (i + round) * PAGE_SIZE) | P | WU | D);
        }
        assert_int_equal(shadow_check(), 0);
        load_cr3(sim_paging.cr3);
        for (i = 0; i < 100; i++) {
            assert_reads(USER + i * LARGE, 2 * LARGE + (i + round) * PAGE_SIZE);
        }
        assert_int_equal(shadow_check(), 0);
    }
    assert_true(shadow_stats.unsynced > 100);
}

/* A page table's page becomes data, and the data look like entries or do not. */
static void test_reuse_as_data(void **ctx)
{
    gpa_t space[2];
    ram_addr_t table;
    uint64_t tables;
    unsigned i;

    two_spaces(space);
    assert_writes(USER);
    load_cr3(space[1]);
    assert_writes(USER);
    tables = shadow_stats.frames_used;
    table = *guest_entry(space[0], USER, 2) & 0xffffffffff000;
    guest_store(space[0] + pt_index(USER, 4) * 8, 0); /* space 0 has ended, */
    for (i = 0; i < 512; i++) {                       /* and its pages are used for something else */
        guest_store(table + i * 8, 0x123456789abcdefull * i);
        guest_store(space[0] + i * 8, 0xfedcba987654321ull * i);
    }
    load_cr3(space[1]);
    assert_true(shadow_stats.frames_used <= tables - 4); /* nothing shadows them any more */
    assert_int_equal(track_reasons(table) | track_reasons(space[0]), 0);
    assert_int_equal(shadow_check(), 0);
}

/* A table that is its own child at every level, and is edited through itself. */
static void test_recursive(void **ctx)
{
    const gva_t slot = 510; /* 511 has the windows */
    gva_t self = sign_extend_va(slot << 39 | slot << 30 | slot << 21 | slot << 12);
    gva_t other = self - (slot << 12) + (300 << 12);
    ram_addr_t page = LARGE + 0x5000;

    fresh_guest(256);
    guest_store(sim_paging.cr3 + slot * 8, sim_paging.cr3 | P | W | D);
    guest_map(USER, 1, LARGE, WU | D);
    assert_writes(self);
    assert_reads(self + 8, sim_paging.cr3 + 8);
    assert_writes(USER);
    for (unsigned i = 0; i < 12; i++) {
        load_cr3(sim_paging.cr3);
        assert_int_equal(shadow_check(), 0);
    }
    assert_true(track_reasons(sim_paging.cr3) & TRACK_PT);
    assert_writes(self); /* one fault */
    *sim_guest_word(sim_paging.cr3 + 300 * 8) = page | P | W | D; /* as an entry of level 1 */
    assert_reads(other, page);
    assert_int_equal(shadow_check(), 0);
    *sim_guest_word(sim_paging.cr3 + 300 * 8) = 0;
    load_cr3(sim_paging.cr3);
    assert_false(sim_access(VIEW_KERNEL, other, false).ok);
    assert_int_equal(shadow_check(), 0);
}

/* Rights of upper levels are the hardware's to combine, except over windows. */
static void test_upper_rights(void **ctx)
{
    gva_t near = CODE_CACHE_BASE + 4 * LARGE, high = 0xffffffff80000000;
    hpa_t page = frame_alloc(), code = frame_alloc_contig(512, LARGE);

    fresh_guest(256);
    for (enum view view = 0; view < VIEW_COUNT; view++) {
        assert_int_equal(shadow_map_window(view, VCPU_PAGE_ADDR, page, 1, SHADOW_MAP_W), 0);
        assert_int_equal(shadow_map_window(view, CODE_CACHE_BASE, code, 512, SHADOW_MAP_X), 0);
    }
    guest_map(high, 1, LARGE, WU | D);
    guest_map(near, 2, LARGE, WU | D);
    guest_map(KERNEL, 1, LARGE, WU | D);
    for (unsigned round = 0; round < 2; round++) {
        for (enum view view = 0; view < VIEW_COUNT; view++) {
            struct sim_result r;

            assert_int_equal(touch(view, high, true, &r), round ? FILL_GUEST_FAULT : FILL_OK);
            assert_int_equal(touch(view, near, true, &r), round ? FILL_GUEST_FAULT : FILL_OK);
            assert_int_equal(touch(view, KERNEL, true, &r), round ? FILL_GUEST_FAULT : FILL_OK);
            assert_int_equal(touch(view, high, false, &r), FILL_OK);
            assert_true(sim_access(view, VCPU_PAGE_ADDR, true).ok);
            assert_true(sim_access(view, CODE_CACHE_BASE, false).ok);
        }
        assert_int_equal(shadow_check(), 0);
        guest_store(sim_paging.cr3 + 511 * 8, *sim_guest_word(sim_paging.cr3 + 511 * 8) & ~W);
        guest_store(sim_paging.cr3 + pt_index(KERNEL, 4) * 8,
                    *sim_guest_word(sim_paging.cr3 + pt_index(KERNEL, 4) * 8) & ~W);
        load_cr3(sim_paging.cr3);
    }
    sim_paging.cr0 &= ~0x10000ull; /* WP = 0: other tables; the others are found again afterwards */
    load_cr3(sim_paging.cr3);
    assert_writes(high);
    assert_writes(near);
    sim_paging.cr0 |= 0x10000ull;
    load_cr3(sim_paging.cr3);
    assert_false(sim_access(VIEW_KERNEL, high, true).ok);
    assert_true(sim_access(VIEW_KERNEL, high, false).ok);
    assert_int_equal(shadow_check(), 0);
}

/* More address spaces than there is room for: those used least recently go. */
static void test_eviction(void **ctx)
{
    gpa_t space[80], first;
    unsigned i, round;

    fresh_guest(120);
    first = sim_paging.cr3;
    guest_map(KERNEL, 1, LARGE, W | D);
    for (i = 0; i < 80; i++) {
        space[i] = space_new(first);
        guest_set(space[i], USER, 1, (2 * LARGE + i * PAGE_SIZE) | P | WU | D);
    }
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 80; i++) {
            load_cr3(space[i]);
            assert_writes(USER);
            assert_reads(USER, 2 * LARGE + i * PAGE_SIZE);
            assert_reads(KERNEL, LARGE);
            if (i) {
                uint64_t fills = shadow_stats.fills;

                load_cr3(space[i - 1]);
                assert_reads(USER, 2 * LARGE + (i - 1) * PAGE_SIZE);
                assert_int_equal(shadow_stats.fills, fills); /* that one was kept */
            }
        }
        assert_int_equal(shadow_check(), 0);
    }
    assert_true(shadow_stats.root_evictions > 100);
    assert_int_equal(shadow_stats.pool_flushes, 0);
}

/* What the monitor's prompt is told, and that telling changes nothing. */
static void test_what_is_shown(void **ctx)
{
    struct shadow_view_info info;
    gpa_t space[2], kept[4];
    uint64_t fills;
    unsigned level;

    two_spaces(space);
    shadow_view_info(VIEW_KERNEL, &info);
    assert_false(info.made);
    assert_int_equal(info.tables + info.pages + info.large_pages, 0);
    assert_int_equal(shadow_kept_roots(VIEW_KERNEL, kept, ARRAY_SIZE(kept)), 0);
    assert_int_equal(shadow_entry(VIEW_KERNEL, KERNEL, &level), 0);
    for (unsigned i = 0; i < 2; i++) {
        load_cr3(space[i]);
        assert_writes(KERNEL);
        assert_writes(USER);
        assert_reads(USER, (2 + i) * LARGE);
    }
    fills = shadow_stats.fills;
    shadow_view_info(VIEW_KERNEL, &info);
    assert_true(info.made);
    assert_int_equal(info.root, shadow_root(VIEW_KERNEL));
    assert_int_equal(info.pages + info.large_pages, 3); /* KERNEL is shared */
    assert_int_equal(info.tables, 2 + 3 * (info.pages ? 3 : 2)); /* the roots, and three ways down */
    assert_int_equal(shadow_kept_roots(VIEW_KERNEL, kept, ARRAY_SIZE(kept)), 2);
    assert_int_equal(kept[0], space[1]);
    assert_int_equal(kept[1], space[0]);
    kept[1] = 0;
    assert_int_equal(shadow_kept_roots(VIEW_KERNEL, kept, 1), 2);
    assert_int_equal(kept[1], 0); /* no more than asked for */
    ram_addr_t ram;
    uint64_t pte = shadow_entry(VIEW_KERNEL, USER + 8, &level);
    assert_true(hpa_to_ram(pte_leaf_addr(pte, level) + (USER & (pt_span(level) - 1)), &ram));
    assert_int_equal(ram_to_gpa(ram), 3 * LARGE);
    assert_true(pte & PTE_W);
    assert_int_equal(shadow_entry(VIEW_KERNEL, KERNEL + (1ull << 40), &level), 0);
    assert_int_equal(level, PT_LEVELS);
    assert_int_equal(shadow_stats.fills, fills);
    assert_int_equal(shadow_check(), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roots_are_kept),
        cmocka_unit_test(test_tables_are_shared),
        cmocka_unit_test(test_other_space_changes),
        cmocka_unit_test(test_synchronized),
        cmocka_unit_test(test_accessed_dirty),
        cmocka_unit_test(test_many_written),
        cmocka_unit_test(test_reuse_as_data),
        cmocka_unit_test(test_recursive),
        cmocka_unit_test(test_upper_rights),
        cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_what_is_shown),
    };

    return cmocka_run_group_tests(tests, shadow_guest_setup, NULL);
}
