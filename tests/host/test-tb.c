/* SPDX-License-Identifier: MIT */
/* Unit tests of TB maintenance: page index, linking and look-up, jumps, flush. Each rule of
 * docs/tb-life.md by itself; histories are test-tb-model.c's. */
#include "tests/host/tb-fake.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/host.h"
#include "kernel/lib/errno.h"

static pthread_barrier_t barrier;

static int setup(void **state)
{
    fake_reset();
    return 0;
}

/* Every test must leave sound structures behind. */
static int teardown(void **state)
{
    return tb_maint_check(&fake_cpu[0]);
}

static struct TranslationBlock *lookup(uint64_t pc)
{
    return tb_htable_lookup(&fake_cpu[0], pc, probe_page_addr_code(NULL, pc), 0, 0);
}

/* ---- page index ---- */

static void test_page_find(void **state)
{
    static const uint64_t index[] = {
        0, 1, 1023, 1024, 1ull << 20, (1ull << 20) + 5, 1ull << 30, PAGE_INDEX_LAST};
    struct PageDesc *pd[ARRAY_SIZE(index)];

    for (unsigned i = 0; i < ARRAY_SIZE(index); i++) {
        pd[i] = page_find_alloc(index[i], true);
        assert_non_null(pd[i]);
        pd[i]->code_write_count = i + 1;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(index); i++) {
        assert_ptr_equal(page_find(index[i]), pd[i]);
        assert_int_equal(pd[i]->code_write_count, i + 1);
    }
    assert_null(page_find(2048)); /* its leaf does not exist */
    assert_null(page_find((1ull << 30) + 1024));
    assert_null(page_find(2ull << 30));
    assert_null(page_find_alloc(PAGE_INDEX_LAST + 1, true));
    assert_null(page_find(page_index(TB_PAGE_ADDR_INVALID)));
}

static void test_page_find_next(void **state)
{
    uint64_t index = 0;
    unsigned found = 0;

    page_find_alloc(5000, true);
    page_find_alloc(1ull << 31, true);
    while (page_find_next(&index, PAGE_INDEX_LAST)) {
        assert_true(index >> 10 == 5000 >> 10 || index >> 10 == 1ull << 21);
        assert_ptr_equal(page_find_next(&index, index), page_find(index));
        found++;
        index++;
    }
    assert_int_equal(found, 2048);
    index = 0;
    assert_null(page_find_next(&index, 4095));
    assert_non_null(page_find_next(&index, 4096));
    assert_int_equal(index, 4096);
}

/* Whatever level runs out of memory: NULL, nothing broken, and it works once there is memory. */
static void test_page_find_oom(void **state)
{
    for (int allowed = 0; allowed < 3; allowed++) {
        uint64_t index = (uint64_t)(allowed + 1) << 30;

        fake.allocs_left = allowed;
        assert_null(page_find_alloc(index, true));
        assert_int_equal(tb_page_prepare(P(index)), -ENOMEM);
        assert_null(page_find(index));
        fake.allocs_left = -1;
        assert_non_null(page_find_alloc(index, true));
    }
    assert_int_equal(fake.protects, 0);
}

static void *insert_thread(void *arg)
{
    struct PageDesc **out = arg;

    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < 512; i++) {
        out[i] = page_find_alloc((uint64_t)i << 10, true);
        __atomic_fetch_add(&out[i]->code_write_count, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void test_page_find_threads(void **state)
{
    static struct PageDesc *out[4][512];
    pthread_t thread[4];

    pthread_barrier_init(&barrier, NULL, 4);
    for (unsigned t = 0; t < 4; t++) {
        assert_int_equal(pthread_create(&thread[t], NULL, insert_thread, out[t]), 0);
    }
    for (unsigned t = 0; t < 4; t++) {
        pthread_join(thread[t], NULL);
    }
    for (unsigned i = 0; i < 512; i++) {
        assert_int_equal(page_find((uint64_t)i << 10)->code_write_count, 4);
    }
    pthread_barrier_destroy(&barrier);
}

/* ---- linking and look-up ---- */

static void test_protect_before_link(void **state)
{
    assert_int_equal(tb_page_prepare(P(3) + 0x123), 0);
    assert_true(fake.is_protected[3]);
    assert_int_equal(tb_page_prepare(P(3)),
                     0); /* owned already: the fake panics at a second call */
    gen(P(3), 4);
    gen(P(3) + 4, 4);
    assert_int_equal(fake.protects, 1);
    assert_int_equal(fake_cpu[0].stat[STAT_page_protect], 1);
    assert_true(tb_page_stays_protected(P(3)));
    assert_false(tb_page_stays_protected(P(4)));
}

/* A page prepared in vain is given back by the first question, a page with TBs is not. */
static void test_has_code_gives_back(void **state)
{
    tb_page_prepare(P(3));
    assert_false(tb_page_stays_protected(P(3)));
    assert_false(fake.is_protected[3]);
    /* ... and if that happens between prepare and link, linking protects again (I2) */
    tb_page_prepare(P(5));
    assert_false(tb_page_stays_protected(P(5)));
    struct TranslationBlock *tb = fake_tb(P(5), 8, 0, 0);
    assert_ptr_equal(tb_link_page(tb, P(5), TB_PAGE_ADDR_INVALID), tb);
    assert_true(fake.is_protected[5]);
}

static void test_lookup_key(void **state)
{
    struct TranslationBlock *tb = fake_gen(P(3) + 8, 16, HF_CS64_MASK, 0);
    struct TranslationBlock *one = fake_gen(P(3) + 8, 4, HF_CS64_MASK, 1 | CF_NOIRQ);
    struct CPUState *cpu = &fake_cpu[1];

    assert_ptr_equal(tb_htable_lookup(cpu, P(3) + 8, P(3) + 8, HF_CS64_MASK, 0), tb);
    assert_ptr_equal(tb_htable_lookup(cpu, P(3) + 8, P(3) + 8, HF_CS64_MASK, CF_INVALID), tb);
    assert_ptr_equal(tb_htable_lookup(cpu, P(3) + 8, P(3) + 8, HF_CS64_MASK, 1 | CF_NOIRQ), one);
    assert_null(tb_htable_lookup(cpu, P(3) + 8, P(3) + 8, HF_CS64_MASK, 1));
    assert_null(tb_htable_lookup(cpu, P(3) + 8, P(3) + 8, HF_CS64_MASK | 3, 0));
    assert_null(tb_htable_lookup(cpu, P(3) + 8, P(4) + 8, HF_CS64_MASK, 0));
    assert_null(tb_htable_lookup(cpu, P(7) + 8, P(3) + 8, HF_CS64_MASK, 0));
    assert_null(tb_htable_lookup(cpu, P(3) + 9, P(3) + 9, HF_CS64_MASK, 0));
    assert_int_equal(fake.probes,
                     2); /* by fake_gen(): one-page TBs cost the look-up no page walk */
}

/* Keys that share a bucket are still told apart: a full table is asked for what is not in it. */
static void test_lookup_collisions(void **state)
{
    unsigned found = 0;

    for (unsigned i = 0; i < 4000; i++) {
        fake_gen(P(3) + 8, 4, i, 0);
    }
    for (unsigned i = 0; i < 4000; i++) {
        assert_non_null(tb_htable_lookup(&fake_cpu[0], P(3) + 8, P(3) + 8, i, 0));
        for (unsigned other = 4; other < 400; other++) {
            found += tb_htable_lookup(&fake_cpu[0], P(3) + 8, P(other) + 8, i, 0) != NULL;
        }
        found += tb_htable_lookup(&fake_cpu[0], P(3) + 8, P(3) + 8, i + 4000, 0) != NULL;
        found += tb_htable_lookup(&fake_cpu[0], P(3) + 8, P(3) + 8, i, 1 + i % 64) != NULL;
    }
    assert_int_equal(found, 0);
}

/* The second page belongs to the identity of a crossing TB and is translated anew at each look-up.
 */
static void test_lookup_second_page(void **state)
{
    uint64_t pc = P(3) + 0xffc;
    struct TranslationBlock *a = gen(pc, 8);

    fake.va_to_page[4] = 9;
    assert_null(lookup(pc));
    struct TranslationBlock *b = gen(pc, 8);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(lookup(pc), b);
    fake.va_to_page[4] = 4;
    assert_ptr_equal(lookup(pc), a);
    fake.va_to_page[4] = FAKE_UNMAPPED;
    assert_null(lookup(pc));
    fake.va_to_page[4] = 4;
    assert_true(write_hits(P(9), 1));
    assert_ptr_equal(lookup(pc), a);
    assert_null(tb_htable_lookup(&fake_cpu[0], pc, P(7) + 0xffc, 0, 0));
}

static void test_equal_tb_wins(void **state)
{
    struct TranslationBlock *first = gen(P(3) + 0xff8, 16);
    struct TranslationBlock *other = gen(P(3) + 0x100, 16);

    assert_ptr_equal(gen(P(3) + 0xff8, 16), first); /* the loser's memory is filled with junk */
    assert_int_equal(tb_maint_check(NULL), 0);
    assert_int_equal(tb_count(), 2);
    assert_true(write_hits(P(4), 1));
    assert_false(fake_live(first));
    struct TranslationBlock *again = gen(P(3) + 0xff8, 16); /* a dead equal does not win */
    assert_ptr_not_equal(again, first);
    assert_true(fake_live(again) && fake_live(other));
}

/* A second page that was prepared but holds no byte of the TB is not its page. */
static void test_unreached_second_page(void **state)
{
    tb_page_prepare(P(3));
    tb_page_prepare(P(4));
    struct TranslationBlock *tb = fake_tb(P(3) + 0xff0, 16, 0, 0);

    tb_link_page(tb, P(3) + 0xff0, P(4));
    assert_int_equal(tb->page_addr[1], TB_PAGE_ADDR_INVALID);
    assert_false(write_hits(P(4), 8));
    assert_true(fake_live(tb));
}

/* ---- jumps ---- */

static void assert_chained(const struct TranslationBlock *tb, unsigned n,
                           const struct TranslationBlock *dest)
{
    assert_ptr_equal(tb_of_link(tb->jmp_dest[n]), dest);
    assert_int_equal(fake.jmp[fake_index(tb)][n], dest ? dest->tc.ptr : fake_stub(tb, n));
}

static void test_chain(void **state)
{
    struct TranslationBlock *a = gen(P(3), 8), *b = gen(P(3) + 8, 8), *c = gen(P(3) + 16, 8);

    assert_chained(a, 0, NULL); /* linking has sent the exits to their stubs */
    tb_add_jump(a, 0, b);
    tb_add_jump(a, 1, b);
    tb_add_jump(b, 0, b);
    tb_add_jump(c, 0, b);
    tb_add_jump(c, 0, a); /* taken: stays */
    tb_add_jump(c, 1, a);
    assert_chained(a, 0, b);
    assert_chained(a, 1, b);
    assert_chained(b, 0, b);
    assert_chained(c, 0, b);
    assert_chained(c, 1, a);
    assert_int_equal(tb_maint_check(NULL), 0);
    assert_true(write_hits(P(3) + 8, 1));
    assert_chained(a, 0, NULL);
    assert_chained(a, 1, NULL);
    assert_chained(b, 0, NULL);
    assert_chained(c, 0, NULL);
    assert_chained(c, 1, a);
    tb_add_jump(a, 0, b); /* to the dead, from the dead */
    tb_add_jump(b, 1, a);
    assert_chained(a, 0, NULL);
    assert_chained(b, 1, NULL);
    tb_add_jump(a, 0, c);
    assert_chained(a, 0, c);
}

/* One store kills a TB and its successor: the first must not go on into the second's old code. */
static void test_dead_tb_leaves_by_its_stub(void **state)
{
    for (unsigned order = 0; order < 2; order++) {
        struct TranslationBlock *x = gen(P(3) + 8 * order, 8), *y = gen(P(3) + 8 * !order, 8);

        tb_add_jump(x, 0, y);
        tb_add_jump(y, 0, x);
        assert_true(write_hits(P(3) + 7, 2));
        assert_chained(x, 0, NULL);
        assert_chained(y, 0, NULL);
    }
}

static void test_chain_refused(void **state)
{
    struct TranslationBlock *a = gen(P(3), 8);
    struct TranslationBlock *lone = fake_gen(P(3) + 0x100, 8, 0, CF_NO_GOTO_TB);

    tb_add_jump(a, 0, lone);
    tb_add_jump(lone, 0, a);
    assert_chained(a, 0, NULL);
    assert_chained(lone, 0, NULL);
    a->jmp_reset_offset[1] = TB_JMP_OFFSET_INVALID;
    tb_add_jump(a, 1, a);
    assert_int_equal(a->jmp_dest[1], 0);
}

static void test_cross_page(void **state)
{
    struct TranslationBlock *a = gen(P(3), 8), *b = gen(P(3) + 8, 8), *far = gen(P(5), 8),
                            *far2 = gen(P(6), 8);

    tb_add_jump(a, 0, b);
    tb_add_jump(a, 1, far);
    tb_add_jump(b, 0, far);
    tb_add_jump(far, 0, far2);
    tb_add_jump(far2, 0, a);
    assert_int_equal(tb_cross_page_count(), 4);
    assert_true(write_hits(P(6), 1)); /* far2 dies: an undone entry and a dead one */
    tb_unlink_cross_page(true);
    assert_int_equal(tb_cross_page_count(), 0);
    assert_chained(a, 0, b);
    assert_chained(a, 1, NULL);
    assert_chained(b, 0, NULL);
    assert_chained(far, 0, NULL);
    tb_unlink_cross_page(true);
    tb_add_jump(a, 1, far);
    assert_chained(a, 1, far);
}

/* A conditional jump of a hot TB gets its rel32 once its target is known, if that may last; and is undone as others are. */
static void test_settle(void **state)
{
    struct TranslationBlock *a = gen(P(3), 8), *b = gen(P(3) + 8, 8), *far = gen(P(5), 8);

    a->jmp_insn_offset[0] = TB_JMP_OFFSET_LATER | 16;
    a->jmp_insn_offset[1] = TB_JMP_OFFSET_LATER | 24;
    b->jmp_insn_offset[0] = TB_JMP_OFFSET_INVALID; /* nothing but a slot */
    assert_int_equal(tb_settle_jumps(a), 0); /* not linked */
    tb_add_jump(a, 0, b);
    tb_add_jump(a, 1, far);
    tb_add_jump(b, 0, a);
    assert_int_equal(tb_settle_jumps(a), 1); /* the one between pages may be undone any time */
    assert_int_equal(tb_settle_jumps(a), 0);
    assert_int_equal(tb_settle_jumps(b), 0);
    assert_true(tb_exit_is_direct(a, 0));
    assert_false(tb_exit_is_direct(a, 1));
    assert_int_equal(a->jmp_insn_offset[0], 16);
    a->global = far->global = true;
    assert_int_equal(tb_settle_jumps(a), 1);
    assert_chained(a, 0, b);
    assert_chained(a, 1, far);
    assert_true(write_hits(P(3) + 8, 1));
    tb_unlink_cross_page(true);
    assert_chained(a, 0, NULL);
    assert_chained(a, 1, NULL);
    tb_add_jump(a, 0, far);
    assert_chained(a, 0, far);
    assert_int_equal(tb_maint_check(NULL), 0);
}

/* The same virtual page on another physical one: mapping changed between the look-ups, so the jump
 * must not last. */
static void test_cross_page_by_remap(void **state)
{
    struct TranslationBlock *a = gen(P(3), 8);

    fake.va_to_page[3] = 7;
    struct TranslationBlock *b = gen(P(3) + 8, 8);
    tb_add_jump(a, 0, b);
    assert_int_equal(tb_cross_page_count(), 1);
    tb_unlink_cross_page(true);
    assert_chained(a, 0, NULL);
}

/* An exit takes one place in the log, however often its target dies and is chained anew. */
static void test_log_has_no_duplicates(void **state)
{
    struct TranslationBlock *a = gen(P(3), 8);

    for (unsigned i = 0; i < 100; i++) {
        struct TranslationBlock *b = gen(P(5), 8);
        tb_add_jump(a, 0, b);
        assert_chained(a, 0, b);
        assert_true(write_hits(P(5), 1));
        assert_chained(a, 0, NULL);
    }
    assert_int_equal(tb_cross_page_count(), 1);
}

/* A TB with a second page depends on that page's mapping: jumps to it are logged even within the first page. */
static void test_cross_page_by_second_page(void **state)
{
    struct TranslationBlock *a = gen(P(3), 8), *crossing = gen(P(3) + 0xff8, 16);

    tb_add_jump(a, 0, crossing);
    tb_add_jump(crossing, 0, a);
    assert_chained(a, 0, crossing);
    assert_chained(crossing, 0, a);
    assert_int_equal(tb_cross_page_count(), 1);
    tb_unlink_cross_page(true);
    assert_chained(a, 0, NULL);
    assert_chained(crossing, 0, a);
}

/* A flush that leaves global pages alone leaves the jumps between them alone. */
static void test_cross_page_global(void **state)
{
    struct TranslationBlock *a = gen(P(3), 8), *b = gen(P(5), 8), *c = gen(P(6), 8);

    a->global = true;
    b->global = true;
    tb_add_jump(a, 0, b);
    tb_add_jump(b, 0, c);
    tb_add_jump(c, 0, a);
    assert_int_equal(tb_cross_page_count(), 3);
    tb_unlink_cross_page(false);
    assert_chained(a, 0, b);
    assert_chained(b, 0, NULL);
    assert_chained(c, 0, NULL);
    assert_int_equal(tb_cross_page_count(), 1);
    tb_unlink_cross_page(true);
    assert_chained(a, 0, NULL);
    assert_int_equal(tb_cross_page_count(), 0);
}

#define SMALL_LOG 2048u /* the fake pool holds no more TBs than this needs */

static void test_full_log(void **state)
{
    struct TranslationBlock *far = gen(P(5), 8);
    struct TranslationBlock *source[SMALL_LOG / 2 + 1];

    tb_cross_page_limit = SMALL_LOG;
    for (unsigned i = 0; i < ARRAY_SIZE(source); i++) {
        source[i] = gen(P(3) + i, 1);
        tb_add_jump(source[i], 0, far);
        tb_add_jump(source[i], 1, far);
    }
    unsigned last = ARRAY_SIZE(source) - 1;
    assert_int_equal(tb_cross_page_count(), SMALL_LOG);
    assert_chained(source[last - 1], 1, far);
    assert_chained(source[last], 0, NULL);
    tb_add_jump(source[last], 0, source[0]); /* within the page still */
    assert_chained(source[last], 0, source[0]);
    tb_unlink_cross_page(true);
    for (unsigned i = 0; i < last; i++) {
        assert_chained(source[i], 0, NULL);
        assert_chained(source[i], 1, NULL);
    }
    assert_int_equal(far->jmp_list_head, 0);
    tb_add_jump(source[last], 1, far);
    assert_chained(source[last], 1, far);
    tb_cross_page_limit = 0;
    tb_add_jump(source[0], 0, far);
    assert_chained(source[0], 0, NULL);
}

/* ---- flush ---- */

static void test_flush(void **state)
{
    struct TranslationBlock *a = gen(P(3), 8), *b = gen(P(5), 8);

    for (unsigned i = 0; i < SMC_BITMAP_USE_THRESHOLD; i++) {
        write_hits(P(3) + 0x800, 1);
    }
    tb_add_jump(a, 0, b);
    fake_cpu[1].tb_jmp_cache[tb_jmp_cache_hash_func(a->pc, 0)] = a;
    fake_flush();
    assert_null(fake_cpu[1].tb_jmp_cache[tb_jmp_cache_hash_func(P(3), 0)]);
    assert_null(lookup(P(3)));
    assert_int_equal(tb_cross_page_count(), 0);
    tb_unlink_cross_page(true);
    assert_int_equal(tb_maint_check(NULL), 0);
    assert_true(fake.is_protected[3] && fake.is_protected[5]);
    assert_false(write_hits(P(3), 1)); /* spurious: no TB, given back */
    assert_false(fake.is_protected[3]);
    assert_true(fake.is_protected[5]);
    gen(P(3), 8);
    gen(P(5), 8);
    assert_int_equal(fake.protects, 3);
    assert_true(write_hits(P(3), 1) && write_hits(P(5), 1));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_page_find),
        T(test_page_find_next),
        T(test_page_find_oom),
        T(test_page_find_threads),
        T(test_protect_before_link),
        T(test_has_code_gives_back),
        T(test_lookup_key),
        T(test_lookup_collisions),
        T(test_lookup_second_page),
        T(test_equal_tb_wins),
        T(test_unreached_second_page),
        T(test_chain),
        T(test_dead_tb_leaves_by_its_stub),
        T(test_chain_refused),
        T(test_settle), T(test_cross_page),
        T(test_cross_page_global),
        T(test_cross_page_by_second_page),
        T(test_cross_page_by_remap),
        T(test_log_has_no_duplicates),
        T(test_full_log),
        T(test_flush),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
