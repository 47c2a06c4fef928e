/* SPDX-License-Identifier: MIT */
/* Unit tests of TB maintenance: several CPUs at once, lock order, and that the checker sees damage.
 */
#include "tests/host/tb-fake.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- several CPUs ---- */

#define LINKERS    3u
#define LINK_EACH  1600u
#define RACE_PAGES 6u

static struct {
    struct TranslationBlock *tb[LINKERS][LINK_EACH];
    unsigned linking; /* linkers at work */
    unsigned kills;   /* writes of the killer, */
    unsigned links;   /* and TBs linked: neither side runs far ahead, whatever the scheduler does */
} race;

/* Link crossing and other TBs, upwards and downwards in physical memory, and chain each to the one
 * before. */
static void *link_thread(void *arg)
{
    struct TranslationBlock **tb = arg;

    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < LINK_EACH; i++) {
        tb_page_addr_t phys_pc = P(i % RACE_PAGES) + (tb[i]->pc & ~PAGE_MASK);
        tb_page_addr_t page2 = P(i / RACE_PAGES % RACE_PAGES);

        while (__atomic_load_n(&race.kills, __ATOMIC_SEQ_CST) < i / 2) {
            sched_yield();
        }
        ASSERT(tb_page_prepare(phys_pc) == 0 && tb_page_prepare(page2) == 0);
        ASSERT(tb_link_page(tb[i], phys_pc, page2) == tb[i]);
        for (unsigned n = 0; n < 2 && i > n; n++) {
            tb_add_jump(tb[i], (int)n, tb[i - 1 - n]);
            tb_add_jump(tb[i - 1 - n], (int)n, tb[i]);
        }
        __atomic_add_fetch(&race.links, 1, __ATOMIC_SEQ_CST);
    }
    __atomic_sub_fetch(&race.linking, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void *kill_thread(void *arg)
{
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; __atomic_load_n(&race.linking, __ATOMIC_SEQ_CST); i++) {
        uint64_t start = P(i % RACE_PAGES) + (i * 1777) % 4000;

        while (__atomic_load_n(&race.links, __ATOMIC_SEQ_CST) < 2 * i &&
               __atomic_load_n(&race.linking, __ATOMIC_SEQ_CST)) {
            sched_yield();
        }
        if (i % 3 == 0) {
            tb_invalidate_phys_range(&fake_cpu[1], start, start + 600, 0);
        } else {
            write_hits(start, 64);
        }
        tb_unlink_cross_page(true);
        __atomic_add_fetch(&race.kills, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

/* Linking, chaining and killing at once end in sound structures. A wrong lock order hangs: the
 * alarm ends the test. */
static void test_race(void **state)
{
    pthread_t thread[LINKERS + 1];

    for (unsigned t = 0; t < LINKERS; t++) {
        for (unsigned i = 0; i < LINK_EACH; i++) {
            race.tb[t][i] = fake_tb(P(t * LINK_EACH + i) + (i % 2 ? 0xff8 : i % 4000), 16, 0, 0);
        }
    }
    for (size_t i = 0; i < tb_count(); i++) {
        tb_at(i)->jmp_list_head = tb_at(i)->jmp_dest[0] = tb_at(i)->jmp_dest[1] = 0;
    }
    race.linking = LINKERS;
    race.kills = race.links = 0;
    pthread_barrier_init(&barrier, NULL, LINKERS + 1);
    alarm(30);
    for (unsigned t = 0; t < LINKERS; t++) {
        assert_int_equal(pthread_create(&thread[t], NULL, link_thread, race.tb[t]), 0);
    }
    assert_int_equal(pthread_create(&thread[LINKERS], NULL, kill_thread, NULL), 0);
    for (unsigned t = 0; t < LINKERS + 1; t++) {
        pthread_join(thread[t], NULL);
    }
    alarm(0);
    pthread_barrier_destroy(&barrier);
    assert_int_equal(tb_maint_check(NULL), 0);
    assert_true(fake_cpu[1].stat[STAT_tb_invalidated] + fake_cpu[0].stat[STAT_tb_invalidated] >
                100);
    tb_invalidate_phys_range(NULL, 0, ~0ull, 0);
    for (size_t i = 0; i < tb_count(); i++) {
        assert_false(fake_live(tb_at(i)));
    }
}

/* Poll for at most some seconds: only a failing test waits that long. */
static bool becomes_true(bool (*cond)(const void *), const void *arg)
{
    for (unsigned i = 0; i < 50000; i++) {
        if (cond(arg)) {
            return true;
        }
        usleep(100);
    }
    return false;
}

static bool is_locked(const void *lock)
{
    return spin_is_locked(lock);
}

static bool is_free(const void *lock)
{
    return !spin_is_locked(lock);
}

static bool has_stepped(const void *before)
{
    return __atomic_load_n(&tb_list_steps, __ATOMIC_RELAXED) > *(const uint64_t *)before;
}

static void *link_one_thread(void *arg)
{
    struct TranslationBlock *tb = arg;

    return tb_link_page(tb, P(9) + 0xff8, P(3));
}

/* Linking with the halves in falling order: the lower page is locked while the higher is waited
 * for. */
static void test_lock_order_of_link(void **state)
{
    struct TranslationBlock *tb = fake_tb(P(9) + 0xff8, 16, 0, 0);
    pthread_t thread;

    tb_page_prepare(P(3));
    tb_page_prepare(P(9));
    spin_lock(&pd_of(P(9))->lock);
    assert_int_equal(pthread_create(&thread, NULL, link_one_thread, tb), 0);
    bool ordered = becomes_true(is_locked, &pd_of(P(3))->lock);
    spin_unlock(&pd_of(P(9))->lock);
    pthread_join(thread, NULL);
    assert_true(ordered);
    assert_true(fake_live(tb));
}

static void *kill_high_thread(void *arg)
{
    write_hits(P(9), 1);
    return NULL;
}

/* A TB found on the higher of its pages: that page's lock is given up while the lower one is waited
 * for. */
static void test_lock_order_of_kill(void **state)
{
    fake.va_to_page[4] = 9;
    struct TranslationBlock *tb = gen(P(3) + 0xff8, 16);
    uint64_t before = tb_list_steps;
    pthread_t thread;

    spin_lock(&pd_of(P(3))->lock);
    assert_int_equal(pthread_create(&thread, NULL, kill_high_thread, NULL), 0);
    assert_true(becomes_true(has_stepped, &before));
    bool ordered = becomes_true(is_free, &pd_of(P(9))->lock);
    spin_unlock(&pd_of(P(3))->lock);
    pthread_join(thread, NULL);
    assert_true(ordered);
    assert_false(fake_live(tb));
}

/* ---- the checker itself ---- */

#define EXPECT_VIOLATION(broken, repair)                                                           \
    do {                                                                                           \
        broken;                                                                                    \
        assert_true(tb_maint_check(&fake_cpu[0]) > 0);                                             \
        repair;                                                                                    \
        assert_int_equal(tb_maint_check(&fake_cpu[0]), 0);                                         \
    } while (0)

static void test_checker_sees(void **state)
{
    struct TranslationBlock *a = gen(P(3), 8), *b = gen(P(3) + 8, 8), *far = gen(P(5), 8);
    struct TranslationBlock *dead = gen(P(3) + 0x100, 8), *crossing = gen(P(3) + 0xffc, 8);
    struct PageDesc *pd = pd_of(P(3)), *pd4 = pd_of(P(4)), *empty = pd_of(P(6));
    struct TranslationBlock **slot =
        &fake_cpu[1].tb_jmp_cache[tb_jmp_cache_hash_func(P(3) + 0x100, 0)];
    static struct CPUState stranger;

    tb_add_jump(a, 0, b);
    tb_add_jump(a, 1, far);
    for (unsigned i = 0; i < SMC_BITMAP_USE_THRESHOLD; i++) {
        write_hits(P(3) + 0x800, 1);
    }
    write_hits(P(3) + 0x100, 1);
    assert_int_equal(tb_maint_check(&fake_cpu[0]), 0);

    uintptr_t first = pd->first_tb, end = a->page_next[0];
    EXPECT_VIOLATION(pd->is_protected = false, pd->is_protected = true);
    EXPECT_VIOLATION(pd->first_tb = *page_next_of_link(first), pd->first_tb = first);
    EXPECT_VIOLATION(a->page_next[0] = first, a->page_next[0] = end);
    EXPECT_VIOLATION(pd4->first_tb = tb_link(crossing, 0), pd4->first_tb = tb_link(crossing, 1));
    EXPECT_VIOLATION(pd->nr_tbs++, pd->nr_tbs--);
    EXPECT_VIOLATION(crossing->page_addr[1] = P(5), crossing->page_addr[1] = P(4));
    EXPECT_VIOLATION(pd->code_bitmap[1] &= ~1, pd->code_bitmap[1] |= 1);
    EXPECT_VIOLATION(dead->cflags &= ~CF_INVALID; dead->hashed = true, dead->cflags |= CF_INVALID;
                     dead->hashed = false);
    EXPECT_VIOLATION(b->cflags |= CF_INVALID, b->cflags &= ~CF_INVALID);
    EXPECT_VIOLATION(b->hashed = false, b->hashed = true);
    EXPECT_VIOLATION(b->jmp_dest[0] = 1, b->jmp_dest[0] = 0);
    EXPECT_VIOLATION(b->jmp_dest[0] = (uintptr_t)a, b->jmp_dest[0] = 0);
    EXPECT_VIOLATION(a->jmp_dest[0] = 0, a->jmp_dest[0] = (uintptr_t)b);
    EXPECT_VIOLATION(a->jmp_list_next[0] = tb_link(a, 0), a->jmp_list_next[0] = 0);
    EXPECT_VIOLATION(a->jmp_logged = 0, a->jmp_logged = BIT(1));
    EXPECT_VIOLATION(dead->jmp_list_head = tb_link(a, 0), dead->jmp_list_head = 0);
    EXPECT_VIOLATION(spin_lock(&pd->lock), spin_unlock(&pd->lock));
    EXPECT_VIOLATION(spin_lock(&a->jmp_lock), spin_unlock(&a->jmp_lock));
    EXPECT_VIOLATION(empty->code_bitmap = pd->code_bitmap, empty->code_bitmap = NULL);
    EXPECT_VIOLATION(fake.memory[3][1] ^= 1, fake.memory[3][1] ^= 1);
    EXPECT_VIOLATION(*slot = dead, *slot = NULL);
    EXPECT_VIOLATION(*slot = a, *slot = NULL);
    assert_true(tb_maint_check(&stranger) > 0);

    for (unsigned i = 0; i < TB_INDEX_THRESHOLD; i++) {
        gen(P(7) + 0x100 * i, 0x41);
    }
    write_hits(P(7) + 0xfff, 1);
    struct PageDesc *pd7 = pd_of(P(7));
    uintptr_t *list = &pd7->tb_index[0x100 >> TB_INDEX_SHIFT], link = *list;
    assert_int_equal(tb_maint_check(&fake_cpu[0]), 0);
    EXPECT_VIOLATION(*list = 0; list[1] = link, *list = link; list[1] = 0);
    EXPECT_VIOLATION(pd7->tb_reach = 1, pd7->tb_reach = 2);
    EXPECT_VIOLATION(pd7->first_tb = link, pd7->first_tb = 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_race),
        T(test_lock_order_of_link),
        T(test_lock_order_of_kill),
        T(test_checker_sees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
