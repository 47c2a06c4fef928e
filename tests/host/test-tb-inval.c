/* SPDX-License-Identifier: MIT */
/* Unit tests of TB maintenance: which TBs a write kills, the byte map in front, and what it costs.
 */
#include "tests/host/tb-fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/host.h"
#include "dbt/page-state.h"
#include "kernel/lib/errno.h"

static int setup(void **state)
{
    fake_reset();
    smc_policy.disarm_faults = 0; /* test-page-state has that */
    return 0;
}

/* Every test must leave sound structures behind. */
static int teardown(void **state)
{
    return tb_maint_check(&fake_cpu[0]);
}

/* ---- invalidation ---- */

static void test_exact_extent(void **state)
{
    static const struct {
        unsigned start, len;
        bool hit;
    } write[] = {
        {0x0ff, 1, false},    {0x100, 1, true}, {0x10f, 1, true},  {0x110, 1, false},
        {0x0f8, 8, false},    {0x0f9, 8, true}, {0x110, 8, false}, {0x10f, 8, true},
        {0, 0x100, false},    {0, 0x101, true}, {0, 4096, true},   {0x104, 2, true},
        {0x110, 3824, false},
    };

    for (unsigned fast = 0; fast < 2; fast++) {
        for (unsigned i = 0; i < ARRAY_SIZE(write); i++) {
            struct TranslationBlock *tb = gen(P(3) + 0x100, 16);

            if (fast) {
                assert_int_equal(write_hits(P(3) + write[i].start, write[i].len), write[i].hit);
            } else {
                tb_invalidate_phys_range(NULL, P(3) + write[i].start,
                                         P(3) + write[i].start + write[i].len - 1, 0);
            }
            assert_int_equal(fake_live(tb), !write[i].hit);
            assert_int_equal(fake.is_protected[3], !write[i].hit);
        }
    }
}

/* Halves on pages that are neither neighbours nor in order; each half dies by its own bytes only.
 */
static void test_crossing_extent(void **state)
{
    static const unsigned page2[] = {9, 2};

    for (unsigned i = 0; i < 2; i++) {
        tb_page_addr_t second = P(page2[i]);

        fake.va_to_page[4] = page2[i];
        struct TranslationBlock *tb = gen(P(3) + 0xffd, 8); /* 3 bytes, then 5 */
        assert_false(write_hits(P(3) + 0xffc, 1));
        assert_false(write_hits(P(4), 4096));
        assert_false(write_hits(second + 5, 1));
        assert_false(write_hits(second + 0xffd, 3));
        assert_true(write_hits(second + 4, 1));
        assert_false(fake_live(tb));
        assert_false(tb_page_stays_protected(P(3)) || tb_page_stays_protected(second));
        tb = gen(P(3) + 0xffd, 8);
        assert_true(write_hits(P(3) + 0xfff, 1));
        assert_false(fake_live(tb));
        assert_int_equal(tb_maint_check(NULL), 0);
    }
}

/* QEMU 8.1 to 10.0 lose the tail here. */
static void test_both_halves_on_one_page(void **state)
{
    static const struct {
        unsigned start, len;
        bool hit;
    } write[] = {{0, 1, true},      {4, 1, true},    {5, 1, false},     {0xffd, 1, true},
                 {0xffc, 1, false}, {0, 4096, true}, {5, 0xff8, false}, {0xfff, 1, true}};

    fake.va_to_page[4] = 3;
    for (unsigned i = 0; i < ARRAY_SIZE(write); i++) {
        struct TranslationBlock *before = gen(P(3) + 0x800, 16);
        struct TranslationBlock *tb = gen(P(3) + 0xffd, 8);
        struct TranslationBlock *after = gen(P(3) + 0x900, 16);
        unsigned all = write[i].len == 4096;

        assert_int_equal(tb->page_addr[0], P(3) + 0xffd);
        assert_int_equal(tb->page_addr[1], P(3));
        assert_int_equal(tb_maint_check(NULL), 0);
        tb_invalidate_phys_range(&fake_cpu[0], P(3) + write[i].start,
                                 P(3) + write[i].start + write[i].len - 1, 0);
        assert_int_equal(fake_live(tb), !write[i].hit);
        if (write[i].len <= 8) {
            assert_true(fake_live(before) && fake_live(after));
        }
        assert_int_equal(fake.is_protected[3], !all);
        assert_int_equal(tb_maint_check(NULL), 0);
    }
}

static void count_tb(const struct TranslationBlock *tb, void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_for_each_on_page(void **state)
{
    unsigned on3 = 0, on4 = 0, on7 = 0, on50 = 0;

    gen(P(3), 8);
    gen(P(3) + 0xffd, 8);
    fake.va_to_page[8] = 7;
    gen(P(7) + 0xffd, 8);
    tb_for_each_on_page(P(3) + 5, count_tb, &on3);
    tb_for_each_on_page(P(4), count_tb, &on4);
    tb_for_each_on_page(P(7), count_tb, &on7);
    tb_for_each_on_page(P(50), count_tb, &on50);
    assert_int_equal(on3, 2);
    assert_int_equal(on4, 1);
    assert_int_equal(on7, 1);
    assert_int_equal(on50, 0);
}

/* The caller learns whether the running TB was hit, by whatever byte of its host code. */
static void test_current_tb(void **state)
{
    struct TranslationBlock *a = gen(P(3), 8);
    struct TranslationBlock *b = gen(P(3) + 8, 8);
    bool hit;

    assert_false(tb_invalidate_phys_page_fast(&fake_cpu[0], P(3) + 8, 1, a->tc.ptr + 5, &hit));
    assert_true(hit && fake_live(a) && !fake_live(b));
    assert_true(tb_invalidate_phys_page_fast(&fake_cpu[0], P(3) + 7, 1, a->tc.ptr + 127, &hit));
    assert_true(hit);
    a = gen(P(3) + 0xff8, 16);
    assert_true(tb_invalidate_phys_range(&fake_cpu[0], P(4), P(20), a->tc.ptr));
    a = gen(P(3), 8);
    assert_false(tb_invalidate_phys_range(&fake_cpu[0], P(3), P(20), 0));
    a = gen(P(3), 8);
    assert_false(
        tb_invalidate_phys_range(&fake_cpu[0], P(3), P(20), a->tc.ptr + 128)); /* not in its code */
    assert_int_equal(fake_cpu[0].stat[STAT_tb_invalidated], 5);
}

/* The other page of a dead TB stays protected with an empty list, and the next write to it gives it
 * back. */
static void test_second_page_is_lazy(void **state)
{
    gen(P(3) + 0xff8, 16);
    assert_true(write_hits(P(3) + 0xff8, 1));
    assert_false(fake.is_protected[3]);
    assert_true(fake.is_protected[4]);
    assert_false(write_hits(P(4) + 0x800, 1));
    assert_false(fake.is_protected[4]);
    assert_int_equal(fake_cpu[0].stat[STAT_page_unprotect], 2);
    assert_int_equal(fake_cpu[0].stat[STAT_page_protect], 2);
    assert_false(write_hits(P(60), 1)); /* never had a PageDesc */
    assert_int_equal(fake.unprotects, 2);
}

/* Jump-like ranges over many pages, with TBs that lead to pages before and after; nothing outside
 * is touched. */
static void test_range_over_pages(void **state)
{
    struct TranslationBlock *tb[40];

    for (unsigned i = 0; i < 20; i++) {
        fake.va_to_page[i + 1] = (i * 7 + 3) % 20;
    }
    for (unsigned i = 0; i < 20; i++) {
        tb[2 * i] = gen(P(i + 1) + 0x10, 16);
        tb[2 * i + 1] = gen(P(i + 1) + 0xff8, 16);
    }
    tb_invalidate_phys_range(&fake_cpu[0], P(4) + 0x20, P(9) + 0x1f, 0);
    for (unsigned i = 0; i < 40; i++) {
        bool hit = false;

        for (unsigned b = 0; b < tb[i]->size; b++) {
            uint64_t addr = tb[i]->page_addr[0] + b;
            if ((addr ^ tb[i]->page_addr[0]) & PAGE_MASK) {
                addr = tb[i]->page_addr[1] + (addr & ~PAGE_MASK);
            }
            hit |= addr >= P(4) + 0x20 && addr <= P(9) + 0x1f;
        }
        assert_int_equal(fake_live(tb[i]), !hit);
    }
    assert_int_equal(tb_maint_check(NULL), 0);
    tb_invalidate_phys_range(&fake_cpu[0], 0, ~0ull, 0);
    for (unsigned i = 0; i < 40; i++) {
        assert_false(fake_live(tb[i]));
        assert_false(fake.is_protected[i]);
    }
}

static void test_phys_invalidate(void **state)
{
    struct TranslationBlock *tb = gen(P(3) + 0xff8, 16);
    struct TranslationBlock *loose = fake_tb(P(3), 4, 0, 0);

    tb_phys_invalidate(tb, TB_PAGE_ADDR_INVALID);
    tb_phys_invalidate(tb, TB_PAGE_ADDR_INVALID);
    assert_false(tb->hashed);
    assert_int_equal(fake_cpu[0].stat[STAT_tb_invalidated], 1);
    assert_true(fake.is_protected[3] && fake.is_protected[4]); /* no write: given back lazily */
    loose->jmp_list_head = 0;
    memset(loose->jmp_dest, 0, sizeof(loose->jmp_dest));
    loose->jmp_lock = (struct spinlock){0};
    tb_phys_invalidate(loose, TB_PAGE_ADDR_INVALID); /* never linked */
    assert_true(tb_cflags(loose) & CF_INVALID);
}

static void test_jmp_cache(void **state)
{
    struct TranslationBlock *tb = gen(P(3) + 0x10, 8);
    struct TranslationBlock *other = gen(P(3) + 0x20, 8);

    for (unsigned i = 0; i < 2; i++) {
        fake_cpu[i].tb_jmp_cache[tb_jmp_cache_hash_func(tb->pc, 0)] = tb;
        fake_cpu[i].tb_jmp_cache[tb_jmp_cache_hash_func(other->pc, 0)] = other;
    }
    tb->pad = 0x1234;
    assert_true(write_hits(P(3) + 0x10, 1));
    assert_int_equal(tb->pad, 0); /* the inline table was told */
    for (unsigned i = 0; i < 2; i++) {
        assert_null(fake_cpu[i].tb_jmp_cache[tb_jmp_cache_hash_func(tb->pc, 0)]);
        assert_ptr_equal(fake_cpu[i].tb_jmp_cache[tb_jmp_cache_hash_func(other->pc, 0)], other);
    }
}

/* ---- byte map ---- */

static void test_bitmap_threshold(void **state)
{
    struct TranslationBlock *tb = gen(P(3) + 0x100, 16);

    for (unsigned i = 1; i < SMC_BITMAP_USE_THRESHOLD; i++) {
        assert_false(write_hits(P(3), 8));
        assert_null(pd_of(P(3))->code_bitmap);
    }
    assert_false(write_hits(P(3), 8));
    assert_non_null(pd_of(P(3))->code_bitmap);
    for (unsigned i = 0; i < 4096; i++) {
        assert_int_equal(page_bitmap_test(pd_of(P(3))->code_bitmap, i, i), i >= 0x100 && i < 0x110);
    }
    assert_true(fake_live(tb));
}

/* A TB linked after the map was built is in it; the page that empties has an empty map, in the same
 * memory. */
static void test_bitmap_is_superset(void **state)
{
    gen(P(3) + 0x100, 16);
    for (unsigned i = 0; i < SMC_BITMAP_USE_THRESHOLD; i++) {
        write_hits(P(3), 1);
    }
    uint8_t *map = pd_of(P(3))->code_bitmap;
    struct TranslationBlock *late = gen(P(3) + 0x200, 3);
    struct TranslationBlock *tail = gen(P(2) + 0xffe, 4); /* its last two bytes */
    struct TranslationBlock *head = gen(P(3) + 0xffe, 4); /* its first two bytes */

    assert_false(write_hits(P(3) + 0x203, 8));
    assert_true(write_hits(P(3) + 0x202, 8));
    assert_true(write_hits(P(3) + 1, 1));
    assert_true(write_hits(P(3) + 0xfff, 1));
    assert_false(fake_live(late) || fake_live(tail) || fake_live(head));
    assert_true(write_hits(P(3) + 0x100, 1));
    assert_ptr_equal(pd_of(P(3))->code_bitmap, map);
    assert_false(page_bitmap_test(map, 0, 4095));
    gen(P(3) + 0x400, 1);
    assert_true(write_hits(P(3) + 0x400, 1));
}

/* Bytes of a dead TB stay in the map until a write to them finds no TB; then it is exact again. */
static void test_bitmap_false_positive(void **state)
{
    gen(P(3) + 0x100, 16);
    gen(P(3) + 0x200, 16);
    for (unsigned i = 0; i < SMC_BITMAP_USE_THRESHOLD; i++) {
        write_hits(P(3), 1);
    }
    uint8_t *map = pd_of(P(3))->code_bitmap;
    assert_true(write_hits(P(3) + 0x100, 1));
    assert_true(page_bitmap_test(map, 0x104, 0x104));
    assert_false(write_hits(P(3) + 0x104, 1));
    assert_false(page_bitmap_test(map, 0x100, 0x10f));
    assert_true(page_bitmap_test(map, 0x200, 0x200));
}

static void test_bitmap_without_memory(void **state)
{
    struct TranslationBlock *tb = gen(P(3) + 0x100, 16);

    fake.allocs_left = 0;
    for (unsigned i = 0; i < 3 * SMC_BITMAP_USE_THRESHOLD; i++) {
        assert_false(write_hits(P(3) + 0x110, 8));
    }
    assert_null(pd_of(P(3))->code_bitmap);
    fake.allocs_left = -1;
    for (unsigned i = 0; i < SMC_BITMAP_USE_THRESHOLD; i++) {
        assert_false(write_hits(P(3) + 0x110, 8));
    }
    assert_non_null(pd_of(P(3))->code_bitmap);
    assert_true(write_hits(P(3) + 0x10f, 8));
    assert_false(fake_live(tb));
}

/* ---- cost ---- */

static uint64_t steps_of(tb_page_addr_t addr, unsigned len)
{
    uint64_t before = tb_list_steps;

    write_hits(addr, len);
    return tb_list_steps - before;
}

/* Data stores beside 200 TBs: after the warm-up they visit none. */
static void test_miss_is_constant(void **state)
{
    for (unsigned i = 0; i < 200; i++) {
        gen(P(3) + 16 * i, 16);
    }
    assert_int_equal(steps_of(P(3) + 0xf00, 8), 400); /* sees all, builds the index */
    for (unsigned i = 2; i < SMC_BITMAP_USE_THRESHOLD; i++) {
        assert_int_equal(steps_of(P(3) + 0xf00, 8), 0);
    }
    assert_int_equal(steps_of(P(3) + 0xf00, 8), 200); /* builds the map */
    for (unsigned i = 0; i < 100000; i++) {
        assert_int_equal(steps_of(P(3) + 0xf00 + i % 0xf8, 8), 0);
    }
    gen(P(3) + 0xe00, 16); /* a page that goes on gaining TBs keeps its filter */
    assert_int_equal(steps_of(P(3) + 0xf00, 8), 0);
    assert_int_equal(fake_cpu[0].stat[STAT_tb_invalidated], 0);
    assert_int_equal(fake.protects, 1);
}

/* Killing all TBs of a page is linear in their number: each is removed where the walk found it. */
static void test_kill_is_linear(void **state)
{
    for (unsigned i = 0; i < 4096; i++) {
        gen(P(3) + i, 1);
    }
    assert_true(steps_of(P(3), 4096) <= 4096);
    assert_int_equal(fake_cpu[0].stat[STAT_tb_invalidated], 4096);
    fake_flush();
    for (unsigned i = 0; i < 4096; i++) {
        gen(P(3) + i, 1);
    }
    assert_true(steps_of(P(3) + 2048, 1) <= 2 * 4096); /* found once, removed where it was found; builds the index */
    assert_true(steps_of(P(3) + 1, 4000) <= 4096);
}

/* Stores that hit look at the TBs near them, not at all of the page; so they do on a page that got its index with other TBs. */
static void test_hit_is_local(void **state)
{
    for (unsigned i = 0; i < 200; i++) {
        gen(P(3) + 16 * i, 16);
    }
    for (unsigned i = 0; i < SMC_BITMAP_USE_THRESHOLD; i++) {
        assert_true(write_hits(P(3) + 16 * i, 1)); /* index and byte map are built */
    }
    for (unsigned i = 20; i < 200; i++) {
        assert_true(steps_of(P(3) + 16 * i + 3, 4) <= 4);
    }
    assert_int_equal(fake_cpu[0].stat[STAT_tb_invalidated], 190);
    fake_flush();
    for (unsigned i = 0; i < 255; i++) {
        gen(P(3) + 16 * i, 16);
    }
    assert_true(steps_of(P(3) + 16 * 100, 1) <= 4);
    assert_int_equal(tb_maint_check(&fake_cpu[0]), 0);
}

/* A long TB is found by its last byte, a crossing one by the first byte of its second page. */
static void test_index_reaches_back(void **state)
{
    for (unsigned i = 0; i < 40; i++) {
        gen(P(3) + 0x800 + 16 * i, 16);
    }
    struct TranslationBlock *before = gen(P(3) + 0x101, 900);
    assert_false(write_hits(P(3) + 0xff0, 1));
    assert_non_null(pd_of(P(3))->tb_index);
    struct TranslationBlock *after = gen(P(3) + 0x102, 901), *crossing = gen(P(2) + 0xfff, 2);
    assert_int_equal(tb_maint_check(&fake_cpu[0]), 0);
    assert_true(write_hits(P(3) + 0x102 + 900, 1));
    assert_true(fake_live(before) && !fake_live(after));
    assert_true(write_hits(P(3) + 0x101 + 899, 1));
    assert_false(fake_live(before));
    assert_false(write_hits(P(3) + 1, 1));
    assert_true(write_hits(P(3), 1));
    assert_false(fake_live(crossing));
}

/* Without memory there is no index, and all goes on. */
static void test_index_without_memory(void **state)
{
    for (unsigned i = 0; i < 200; i++) {
        gen(P(3) + 16 * i, 16);
    }
    fake.allocs_left = 0;
    assert_int_equal(steps_of(P(3) + 32, 1), 200);
    assert_int_equal(steps_of(P(3) + 64, 1), 199);
    assert_null(pd_of(P(3))->tb_index);
    fake.allocs_left = -1;
    assert_int_equal(steps_of(P(3) + 96, 1), 198 + 197);
    assert_true(steps_of(P(3) + 128, 1) <= 4);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_exact_extent),          T(test_crossing_extent),    T(test_both_halves_on_one_page),
        T(test_for_each_on_page),      T(test_current_tb),         T(test_second_page_is_lazy),
        T(test_range_over_pages),      T(test_phys_invalidate),    T(test_jmp_cache),
        T(test_bitmap_threshold),      T(test_bitmap_is_superset), T(test_bitmap_false_positive),
        T(test_bitmap_without_memory), T(test_miss_is_constant),   T(test_kill_is_linear),
        T(test_hit_is_local),          T(test_index_reaches_back), T(test_index_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
