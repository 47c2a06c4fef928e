/* SPDX-License-Identifier: MIT */
/* The shadow tables, property by property, on a guest whose tables are built by hand. Random
 * histories: test-shadow-model. */
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
/* ---- the properties ---- */

static void test_dirty_is_learnt(void **ctx)
{
    gva_t va = 0x400000;
    uint64_t *pte;
    unsigned invlpgs;

    fresh_guest(256);
    guest_map(va, 1, LARGE, WU);
    pte = guest_entry(sim_paging.cr3, va, 1);
    assert_reads(va + 5, LARGE + 5);
    assert_int_equal(*pte & (A | D), A);
    assert_false(sim_walk(VIEW_KERNEL, va).writable);
    invlpgs = sim_invlpg_count();
    assert_writes(va);
    assert_int_equal(*pte & (A | D), A | D);
    assert_true(sim_walk(VIEW_KERNEL, va).writable);
    assert_int_equal(sim_invlpg_count(), invlpgs); /* more rights need no invalidation */
    assert_int_equal(shadow_check(), 0);
}

static void test_views(void **ctx)
{
    struct sim_result r;

    fresh_guest(256);
    guest_map(0x400000, 1, LARGE, W | D);          /* supervisor */
    guest_map(0x401000, 1, LARGE + 0x1000, U | D); /* user, read-only */
    assert_int_equal(touch(VIEW_USER, 0x400000, false, &r), FILL_GUEST_FAULT);
    assert_int_equal(res.error_code, 0x5);
    assert_int_equal(touch(VIEW_KERNEL, 0x400000, true, &r), FILL_OK);
    assert_false(sim_walk(VIEW_USER, 0x400000).present);
    assert_int_equal(touch(VIEW_USER, 0x401000, false, &r), FILL_OK);
    assert_int_equal(touch(VIEW_USER, 0x401000, true, &r), FILL_GUEST_FAULT);
    assert_int_equal(res.error_code, 0x7);
    assert_int_equal(touch(VIEW_KERNEL, 0x401000, true, &r), FILL_GUEST_FAULT);
    sim_paging.cr0 &= ~0x10000ull; /* WP = 0 */
    shadow_set_paging(&sim_paging);
    assert_int_equal(touch(VIEW_KERNEL, 0x401000, true, &r), FILL_OK);
    assert_int_equal(touch(VIEW_USER, 0x401000, true, &r), FILL_GUEST_FAULT);
    assert_int_equal(touch(VIEW_USER, 0x402000, false, &r), FILL_GUEST_FAULT);
    assert_int_equal(res.error_code, 0x4);
    assert_int_equal(shadow_check(), 0);
}

static void test_large_and_tracking(void **ctx)
{
    gva_t va = 0xffff888000000000;
    ram_addr_t page = 2 * LARGE + 0x5000;
    struct sim_result r;

    fresh_guest(256);
    guest_map(va, 2, 2 * LARGE, W | D);
    assert_writes(va + 0x1000);
    assert_int_equal(shadow_stats.fills, 1);
    assert_writes(va + 0x1ff000);
    assert_writes(va + 0x5000);
    assert_int_equal(shadow_stats.fills, 1); /* one large entry serves all of it */
    assert_int_equal(shadow_stats.large_maps, 1);

    assert_true(track_set(page, TRACK_CODE));
    assert_false(track_set(page, TRACK_CODE));
    assert_true(track_set(page, TRACK_PT));
    assert_false(sim_tlb_can_write(ram_to_hpa(page)));
    assert_int_equal(shadow_stats.splits, 1);
    assert_int_equal(touch(VIEW_KERNEL, va + 0x5008, true, &r), FILL_TRACKED);
    assert_int_equal(res.gpa, page + 8);
    r = sim_walk(VIEW_KERNEL, va + 0x5008);
    assert_true(r.present && !r.writable && r.hpa == ram_to_hpa(page) + 8);
    assert_writes(va + 0x4ff8);
    assert_writes(va + 0x6000);
    assert_int_equal(shadow_check(), 0);

    assert_true(track_clear(page, TRACK_CODE));
    assert_false(track_clear(page, TRACK_CODE));
    assert_int_equal(touch(VIEW_KERNEL, va + 0x5008, true, &r), FILL_TRACKED);
    assert_true(track_clear(page, TRACK_PT));
    assert_int_equal(track_reasons(page), 0);
    assert_writes(va + 0x5008);
    shadow_flush();
    assert_writes(va);
    assert_int_equal(shadow_stats.large_maps, 2); /* large again */
    assert_int_equal(shadow_check(), 0);
}

/* INVLPG anywhere in a large guest page drops every piece that shadows it. */
static void invlpg_of_pieces(unsigned level, gva_t far)
{
    gva_t va = 0xffffffff80000000;

    fresh_guest(256);
    track_set(0x5000, TRACK_CODE); /* so that the first 2 MiB are shadowed in pieces */
    guest_map(va, level, 0, W | D);
    assert_reads(va + 0x3000, 0x3000);
    assert_reads(va + 0x5000, 0x5000);
    assert_reads(va + far, far);
    guest_map(va, level, 0x40000000, W | D); /* not RAM */
    assert_true(sim_walk(VIEW_KERNEL, va + 0x3000).present);
    shadow_flush_page(va + 0x5fff);
    assert_false(sim_access(VIEW_KERNEL, va + 0x3000, false).ok);
    assert_false(sim_access(VIEW_KERNEL, va + 0x5000, false).ok);
    assert_false(sim_access(VIEW_KERNEL, va + far, false).ok);
    assert_int_equal(shadow_fill(VIEW_KERNEL, va + 0x3000, 0, &res), FILL_MMIO);
    assert_int_equal(shadow_check(), 0);
}

static void test_invlpg(void **ctx)
{
    gva_t va = 0x7f0000000000;

    invlpg_of_pieces(2, 0x1ff000);
    invlpg_of_pieces(3, LARGE * 3 + 0x1000);
    /* Of a small page: that page, in both views, and no other. */
    fresh_guest(256);
    guest_map(va, 1, LARGE, WU | D);
    guest_map(va + 0x1000, 1, LARGE + 0x1000, WU | D);
    for (enum view view = 0; view < VIEW_COUNT; view++) {
        shadow_fill(view, va, 0, &res);
        shadow_fill(view, va + 0x1000, 0, &res);
    }
    guest_map(va, 1, LARGE + 0x2000, WU | D);
    guest_map(va + 0x1000, 1, LARGE + 0x3000, WU | D);
    shadow_flush_page(va + 0x1000);
    shadow_flush_page(0x800000001000); /* not canonical: nothing */
    for (enum view view = 0; view < VIEW_COUNT; view++) {
        assert_true(sim_walk(view, va).present);
        assert_false(sim_walk(view, va + 0x1000).present);
    }
    /* Of a large shadow entry. */
    guest_map(va, 2, 4 * LARGE, WU | D);
    shadow_flush();
    assert_reads(va + 0x100000, 4 * LARGE + 0x100000);
    shadow_flush_page(va + 0x1000);
    assert_true(sim_walk(VIEW_KERNEL, va + 0x100000).present); /* as before */
    guest_map(va, 2, 5 * LARGE, WU | D);
    shadow_flush_page(va + 0x1000);
    assert_false(sim_walk(VIEW_KERNEL, va + 0x100000).present);
    assert_int_equal(shadow_check(), 0);
}

/* The MMU may have cached pointers to tables that hold nothing any more, and translations that are
 * replaced. */
static void test_invalidation(void **ctx)
{
    gva_t va = 0x400000;
    unsigned flushes, invlpgs;

    fresh_guest(256);
    guest_map(va, 1, LARGE, WU | D);
    assert_writes(va);
    guest_map(va, 1, LARGE, U | D);
    shadow_flush_page(va);
    assert_false(
        sim_access(VIEW_KERNEL, va, true).ok); /* a stale translation would have let it through */
    flushes = sim_flush_count();
    shadow_flush(); /* frees empty tables */
    assert_int_equal(sim_flush_count(), flushes + 1);
    shadow_flush(); /* nothing left to forget */
    assert_int_equal(sim_flush_count(), flushes + 1);

    guest_map(va, 1, LARGE, WU | A);
    assert_reads(va, LARGE);
    guest_map(va, 1, LARGE + 0x1000, WU);
    invlpgs = sim_invlpg_count();
    assert_int_equal(shadow_fill(VIEW_KERNEL, va, WALK_WRITE, &res), FILL_OK);
    assert_int_equal(sim_invlpg_count(), invlpgs + 1);
    assert_reads(va, LARGE + 0x1000);
    /* The same for a large entry that has to make room for pieces. */
    guest_map(va, 2, 2 * LARGE, WU | D);
    shadow_flush();
    assert_writes(va + 0x5000);
    guest_map(va, 2, 0, WU | D);
    track_set(0x6000, TRACK_CODE);
    invlpgs = sim_invlpg_count();
    assert_int_equal(shadow_fill(VIEW_KERNEL, va + 0x6000, WALK_WRITE, &res), FILL_TRACKED);
    assert_int_equal(sim_invlpg_count(), invlpgs + 1);
    assert_false(sim_tlb_reaches(ram_to_hpa(2 * LARGE + 0x5000)));
    assert_int_equal(shadow_check(), 0);
}

/* A write to CR3 drops what has changed since it was filled, global or not, and nothing else. */
static void test_cr3_write(void **ctx)
{
    gva_t global = 0xffffffff81000000, local = 0x400000;

    fresh_guest(256);
    guest_map(global, 2, LARGE, W | D | G);
    guest_map(local, 1, 2 * LARGE, WU | D);
    guest_map(local + 0x1000, 1, 2 * LARGE, WU | D | G);
    assert_reads(global, LARGE);
    assert_reads(local, 2 * LARGE);
    assert_reads(local + 0x1000, 2 * LARGE);
    guest_map(local, 1, 3 * LARGE, WU | D);
    assert_true(sim_access(VIEW_KERNEL, local, false).ok); /* stale, and may be */
    shadow_set_paging(&sim_paging);
    assert_true(sim_walk(VIEW_KERNEL, global).present);
    assert_true(sim_walk(VIEW_KERNEL, local + 0x1000).present);
    assert_false(sim_access(VIEW_KERNEL, local, false).ok);
    assert_int_equal(shadow_check(), 0);
    guest_map(global, 2, 2 * LARGE, W | D | G);
    shadow_flush_page(global);
    assert_false(sim_walk(VIEW_KERNEL, global).present);
    assert_reads(global, 2 * LARGE);
    sim_paging.cr4 &= ~0x80ull;
    guest_map(global, 2, LARGE, W | D | G);
    shadow_set_paging(&sim_paging);
    assert_false(sim_access(VIEW_KERNEL, global, false).ok);
    assert_int_equal(shadow_check(), 0);
}

/* One frame under thousands of addresses in both views. */
static void test_many_aliases(void **ctx)
{
    unsigned i, flushes;
    struct sim_result r;

    fresh_guest(256);
    for (i = 0; i < 3000; i++) {
        guest_map(0x10000000 + i * 4096ull, 1, LARGE, WU | D);
        assert_int_equal(shadow_fill(VIEW_KERNEL, 0x10000000 + i * 4096ull, WALK_WRITE, &res),
                         FILL_OK);
        assert_int_equal(shadow_fill(VIEW_USER, 0x10000000 + i * 4096ull, WALK_WRITE, &res),
                         FILL_OK);
        sim_access(i & 1, 0x10000000 + i * 4096ull, true);
    }
    flushes = sim_flush_count();
    assert_true(sim_tlb_can_write(ram_to_hpa(LARGE)));
    track_set(LARGE, TRACK_WATCH);
    assert_int_equal(sim_flush_count(), flushes + 1);
    assert_false(sim_tlb_can_write(ram_to_hpa(LARGE)));
    for (i = 0; i < 3000; i++) {
        r = sim_walk(VIEW_USER, 0x10000000 + i * 4096ull);
        assert_true(r.present && !r.writable);
    }
    assert_int_equal(shadow_check(), 0);
    shadow_flush();
    assert_int_equal(shadow_check(), 0);
}

/* The monitor's own: reserved, shared by reference, kept by flushes, surrounded by guest pages. */
static void test_reserved(void **ctx)
{
    hpa_t code = frame_alloc_contig(1024 + 1, LARGE), page = frame_alloc();
    struct sim_result r;
    enum view view;

    fresh_guest(256);
    for (view = 0; view < VIEW_COUNT; view++) {
        assert_int_equal(shadow_map_window(view, CODE_CACHE_BASE, code, 1024, SHADOW_MAP_X), 0);
        assert_int_equal(shadow_map_window(view, SLOTS_BASE, code + 0x1000, 3, 0), 0);
        assert_int_equal(shadow_map_window(view, VCPU_PAGE_ADDR, page, 1, SHADOW_MAP_W), 0);
    }
    guest_map(CODE_CACHE_BASE + 2 * LARGE, 2, LARGE, W | D); /* behind the code cache */
    guest_map(CODE_CACHE_BASE, 2, LARGE, W | D);
    guest_map(USER_WINDOW_BASE - LARGE, 1, LARGE, W | D); /* below the 2 MiB of the vCPU page */
    guest_map(VCPU_PAGE_ADDR + 0x1000, 1, LARGE, W | D);  /* inside */
    guest_map(VCPU_PAGE_ADDR, 1, LARGE, W | D);
    guest_map(KERNEL_VMA, 2, LARGE, W | D);
    for (unsigned round = 0; round < 2; round++) {
        for (view = 0; view < VIEW_COUNT; view++) {
            r = sim_access(view, CODE_CACHE_BASE + LARGE + 7, false);
            assert_true(r.ok && !r.nx && !r.writable && r.hpa == code + LARGE + 7);
            r = sim_access(view, SLOTS_BASE + 0x2ff8, false);
            assert_true(r.ok && r.nx && !r.writable && r.hpa == code + 0x3ff8);
            r = sim_access(view, VCPU_PAGE_ADDR, true);
            assert_true(r.ok && r.nx && r.hpa == page);
            assert_false(sim_access(view, 0xfffffffffffff000, false).ok);
            assert_false(sim_access(view, KERNEL_VMA, false).ok);
            assert_false(
                sim_access(view, PHYSMAP_BASE + ARENA_BASE, false).ok); /* supervisor only */
        }
        assert_writes(CODE_CACHE_BASE + 2 * LARGE);
        assert_writes(USER_WINDOW_BASE - LARGE);
        assert_int_equal(shadow_fill(VIEW_KERNEL, VCPU_PAGE_ADDR + 0x1000, 0, &res), FILL_RESERVED);
        assert_int_equal(shadow_check(), 0);
        shadow_flush();
        shadow_flush_page(VCPU_PAGE_ADDR);
        shadow_flush_page(CODE_CACHE_BASE);
    }
    assert_true(sim_access(VIEW_USER, SLOTS_BASE, false).ok);
    shadow_remap_window(VIEW_USER, SLOTS_BASE, code + 0x100000);
    assert_true(sim_access(VIEW_USER, SLOTS_BASE + 0x2ff8, false).hpa == code + 0x102ff8);
    assert_true(sim_access(VIEW_USER, SLOTS_BASE, false).hpa == code + 0x100000);
    assert_true(sim_access(VIEW_KERNEL, SLOTS_BASE + 0x2ff8, false).hpa == code + 0x3ff8);
    assert_int_equal(shadow_check(), 0);
    assert_int_equal(shadow_fill(VIEW_KERNEL, CODE_CACHE_BASE, WALK_WRITE, &res), FILL_RESERVED);
    assert_int_equal(shadow_fill(VIEW_KERNEL, KERNEL_VMA, 0, &res), FILL_RESERVED);
    assert_int_equal(shadow_fill(VIEW_KERNEL, PHYSMAP_BASE, 0, &res), FILL_GUEST_FAULT);
    assert_int_equal(shadow_fill(VIEW_USER, VCPU_PAGE_ADDR, 0, &res), FILL_GUEST_FAULT);
    assert_true(shadow_reserved(KERNEL_VMA) && shadow_reserved(VCPU_PAGE_ADDR + 0xfff));
    assert_true(shadow_reserved(VCPU_PAGE_ADDR + 0x1000)); /* 2 MiB with a page of ours are ours */
    assert_false(shadow_reserved(USER_WINDOW_BASE - 1) || shadow_reserved(CODE_CACHE_BASE + 2 * LARGE));
    assert_memory_equal((uint64_t *)phys_to_virt(shadow_root(VIEW_USER)) + 256,
                        (uint64_t *)phys_to_virt(kmap_root()) + 256, 16 * 8);
}

/* A guest that maps more than the pool can shadow goes on, and windows that are open stay open. */
static void test_pool(void **ctx)
{
    gva_t va = 0x7000000000;
    struct sim_result r;
    unsigned i;

    assert_int_equal(shadow_init(kmap_root(), 63), -12);
    fresh_guest(64);
    track_set(LARGE, TRACK_CODE);
    for (i = 0; i < 100; i++) {
        guest_map(va + i * 0x40000000ull, 1, LARGE + i * 0x1000, WU | D);
        assert_int_equal(touch(VIEW_KERNEL, va + i * 0x40000000ull, true, &r),
                         i ? FILL_OK : FILL_TRACKED);
        if (i > 4) { /* a window and another four pages; some time the pool runs low just here */
            uint64_t flushes;

            assert_int_equal(touch(VIEW_KERNEL, va, true, &r), FILL_TRACKED);
            shadow_window_open(VIEW_KERNEL, va);
            flushes = shadow_stats.pool_flushes;
            for (unsigned k = i - 4; k < i; k++) {
                assert_int_equal(touch(VIEW_USER, va + k * 0x40000000ull, true, &r), FILL_OK);
            }
            assert_true(sim_access(VIEW_KERNEL, va, true).ok);
            assert_int_equal(shadow_stats.pool_flushes, flushes);
            shadow_window_close();
        }
        assert_int_equal(shadow_check(), 0);
    }
    assert_true(shadow_stats.pool_flushes >= 2);
    assert_true(shadow_stats.frames_used <= 64);
    shadow_flush();
    assert_int_equal(shadow_stats.frames_used, 2);
}

/* The checker itself finds what it is there to find. */
static void test_check_finds(void **ctx)
{
    static const struct {
        uint64_t clear, set;
    } damage[] = {
        {PS << 56, 0},             /* NX gone */
        {0xffffffffff000, 0},      /* frame 0: not guest RAM */
        {0, W},                    /* tracked and writable */
        {0xffffffffff000, 0x1000}, /* below RAM */
        {P, 0},                    /* half an entry */
    };
    gva_t va = 0x400000;
    unsigned i;

    fresh_guest(256);
    guest_map(va, 1, LARGE, WU | D);
    guest_map(va + 0x1000, 1, LARGE, WU | D);
    track_set(LARGE, TRACK_CODE);
    assert_reads(va, LARGE);
    assert_reads(va + 0x1000, LARGE);
    for (i = 0; i < ARRAY_SIZE(damage); i++) {
        uint64_t *leaf = sim_leaf(VIEW_KERNEL, va);
        uint64_t saved = *leaf;

        assert_int_equal(shadow_check(), 0);
        *leaf = (saved & ~damage[i].clear) | damage[i].set;
        assert_true(shadow_check() > 0);
        *leaf = saved;
    }
    *sim_leaf(VIEW_KERNEL, va) += 0x1000; /* another frame of RAM than the reverse map knows */
    assert_true(shadow_check() > 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dirty_is_learnt),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_large_and_tracking),
        cmocka_unit_test(test_invlpg),
        cmocka_unit_test(test_invalidation),
        cmocka_unit_test(test_cr3_write),
        cmocka_unit_test(test_many_aliases),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_check_finds),
    };

    return cmocka_run_group_tests(tests, shadow_guest_setup, NULL);
}
