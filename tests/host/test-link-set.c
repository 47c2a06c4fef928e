/* SPDX-License-Identifier: MIT */
/*
 * Link sets: what an address space keeps while others run, and that it is never shown what is no longer right. First by hand,
 * then at random: address spaces are entered, remapped behind the sets' backs while parked, and forgotten; TBs are made, linked and
 * killed. Whatever translated code could follow must then lead to live code on the page that is mapped there.
 * Environment: LINK_SET_SEED, LINK_SET_STEPS.
 */
#include "tests/host/tb-fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/host.h"
#include "dbt/link-set.h"

#define STUB(tb, n) fake_stub(tb, n)

static bool stale[FAKE_PAGES]; /* remapped in the present space, and the guest has not said so yet */

/* ---- a guest with address spaces ---- */

static void show_space(void)
{
    for (unsigned va = 0; va < FAKE_PAGES; va++) {
        uint64_t leaf = fake.leaf[fake.space][va];

        fake.va_to_page[va] = leaf ? (unsigned)leaf - 1 : FAKE_UNMAPPED;
    }
}

static void map(unsigned space, unsigned va, unsigned page)
{
    fake.leaf[space][va] = page == FAKE_UNMAPPED ? 0 : page + 1;
    if (space == fake.space) {
        stale[va] = true;
        show_space();
    }
}

static void enter(unsigned space)
{
    fake.space = space;
    show_space();
    memset(stale, 0, sizeof(stale));
    link_set_enter(space + 1);
}

static void invlpg(void)
{
    memset(stale, 0, sizeof(stale));
    link_set_enter(fake.space + 1);
}

/* All spaces map page i at i. */
static int setup(void **state)
{
    fake_reset();
    for (unsigned s = 0; s < FAKE_SPACES; s++) {
        for (unsigned va = 0; va < FAKE_PAGES; va++) {
            fake.leaf[s][va] = va + 1;
        }
    }
    enter(0);
    return 0;
}

static uint64_t slot_value(const struct TranslationBlock *tb, unsigned n)
{
    return link_set_get(fake.set_shown)->slots[tb->jmp_slot[n] & ~JMP_SLOT_LINK];
}

static void link_jump(struct TranslationBlock *tb, unsigned n, struct TranslationBlock *next)
{
    link_set_cover(&fake_cpu[0], next);
    tb_add_jump(tb, (int)n, next);
}

static void table_add(struct TranslationBlock *tb)
{
    tb->pad = tb->tc.ptr + 0xc0;
    link_set_cover(&fake_cpu[0], tb);
    link_table_add(tb);
}

static uint64_t table_value(const struct TranslationBlock *tb)
{
    return link_set_get(fake.set_shown)->table[(uint16_t)tb->pc];
}

static void assert_sound(void)
{
    assert_int_equal(tb_maint_check(&fake_cpu[0]), 0);
}

/* ---- by hand ---- */

static void test_links_come_back(void **state)
{
    struct TranslationBlock *a = fake_gen_user(P(1), 8), *b = fake_gen_user(P(2), 8), *c = fake_gen_user(P(3), 8);

    link_jump(a, 0, b);
    table_add(c);
    assert_int_equal(slot_value(a, 0), b->tc.ptr);
    assert_int_equal(table_value(c), c->pad);
    enter(1);
    assert_int_equal(slot_value(a, 0), STUB(a, 0));
    assert_int_equal(table_value(c), link_table_miss());
    link_jump(a, 0, c);
    assert_int_equal(slot_value(a, 0), c->tc.ptr);
    enter(0);
    assert_int_equal(slot_value(a, 0), b->tc.ptr);
    assert_int_equal(table_value(c), c->pad);
    enter(1);
    assert_int_equal(slot_value(a, 0), c->tc.ptr);
    assert_sound();
}

static void test_parked_links_die(void **state)
{
    struct TranslationBlock *a = fake_gen_user(P(1), 8), *b = fake_gen_user(P(2), 8), *c = fake_gen_user(P(3), 8);

    link_jump(a, 0, b);
    link_jump(b, 1, c);
    table_add(b);
    enter(1);
    link_jump(a, 0, b);
    enter(2);
    assert_true(write_hits(P(2), 8));
    assert_sound();
    for (unsigned s = 0; s < 2; s++) {
        enter(s);
        assert_int_equal(slot_value(a, 0), STUB(a, 0));
        assert_int_equal(slot_value(b, 1), STUB(b, 1));
        assert_int_equal(table_value(b), link_table_miss());
    }
    assert_sound();
}

static void test_remapped_while_parked(void **state)
{
    struct TranslationBlock *a = fake_gen_user(P(1), 8), *b = fake_gen_user(P(2), 8);

    link_jump(a, 0, b);
    table_add(b);
    enter(1);
    map(0, 2, 7);
    enter(0);
    assert_int_equal(slot_value(a, 0), STUB(a, 0));
    assert_int_equal(table_value(b), link_table_miss());
    assert_sound();
}

/* There and back: what was linked in between led elsewhere. */
static void test_remapped_twice(void **state)
{
    struct TranslationBlock *a = fake_gen_user(P(1), 8), *b = fake_gen_user(P(2), 8);

    link_jump(a, 1, b);
    map(0, 2, 7);
    struct TranslationBlock *other = fake_gen_user(P(2) + 16, 8);
    assert_int_equal(other->page_addr[0], P(7) + 16);
    link_jump(a, 0, other);
    table_add(other);
    map(0, 2, 2);
    enter(0);
    assert_int_equal(slot_value(a, 0), STUB(a, 0));
    assert_int_equal(slot_value(a, 1), b->tc.ptr);
    assert_int_equal(table_value(other), link_table_miss());
    assert_sound();
}

/* An upper entry changes: everything below it is another page, even where the leaf it led to is as it was. */
static void test_upper_entry(void **state)
{
    struct TranslationBlock *a = fake_gen_user(P(1), 8), *b = fake_gen_user(P(2), 8);

    link_jump(a, 0, b);
    enter(1);
    fake.upper[0]++;
    enter(0);
    assert_int_equal(slot_value(a, 0), STUB(a, 0));
}

static void test_second_page(void **state)
{
    struct TranslationBlock *a = fake_gen_user(P(1), 8), *b = fake_gen_user(P(3) - 4, 8);

    assert_int_equal(b->page_addr[1], P(3));
    link_jump(a, 0, b);
    assert_int_equal(slot_value(a, 0), b->tc.ptr);
    enter(1);
    map(0, 3, 9);
    enter(0);
    assert_int_equal(slot_value(a, 0), STUB(a, 0));
    assert_sound();
}

/* Of a page of data it undoes nothing, of one that a link leads to all of the set. */
static void test_invlpg_is_for_the_present(void **state)
{
    struct TranslationBlock *a = fake_gen_user(P(1), 8), *b = fake_gen_user(P(2), 8);

    link_jump(a, 0, b);
    enter(1);
    link_jump(a, 0, b);
    map(1, 5, 7);
    invlpg();
    assert_int_equal(slot_value(a, 0), b->tc.ptr);
    map(1, 2, 7);
    invlpg();
    assert_int_equal(slot_value(a, 0), STUB(a, 0));
    enter(0);
    assert_int_equal(slot_value(a, 0), b->tc.ptr);
    link_sets_forget();
    assert_int_equal(slot_value(a, 0), STUB(a, 0));
    assert_sound();
}

/* Too many address spaces: the one used longest ago begins anew. */
static void test_eviction(void **state)
{
    struct TranslationBlock *a = fake_gen_user(P(1), 8), *b = fake_gen_user(P(2), 8);

    for (unsigned s = 0; s <= LINK_SETS; s++) {
        enter(s);
        link_jump(a, 0, b);
    }
    enter(1);
    assert_int_equal(slot_value(a, 0), b->tc.ptr);
    enter(0);
    assert_int_equal(slot_value(a, 0), STUB(a, 0));
    assert_sound();
}

/* Slots given out while a set was parked lead to their stubs in it; after a flush all begin anew. */
static void test_new_slots_and_flush(void **state)
{
    struct TranslationBlock *a, *b;

    enter(1);
    enter(0);
    a = fake_gen_user(P(1), 8);
    b = fake_gen_user(P(2), 8);
    link_jump(a, 1, b);
    enter(1);
    assert_int_equal(slot_value(a, 1), STUB(a, 1));
    fake_flush();
    enter(0);
    a = fake_gen_user(P(4), 8);
    assert_int_equal(slot_value(a, 1), STUB(a, 1));
    b = fake_gen_user(P(5), 8);
    link_jump(a, 1, b);
    assert_int_equal(slot_value(a, 1), b->tc.ptr);
    enter(1);
    assert_int_equal(slot_value(a, 1), STUB(a, 1));
    assert_sound();
}

/* ---- at random ---- */

static uint64_t rng;

static unsigned pick(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)((rng >> 11) % n);
}

static struct TranslationBlock *pick_live(void)
{
    struct TranslationBlock *tb = fake.tbs ? tb_at(pick((unsigned)fake.tbs)) : NULL;

    return tb && fake_live(tb) ? tb : NULL;
}

/* Could the guest be executing tb now, as its tables stand? */
static bool is_mapped(const struct TranslationBlock *tb)
{
    return probe_page_addr_code(NULL, tb->pc) == tb->page_addr[0] &&
           (tb->page_addr[1] == TB_PAGE_ADDR_INVALID ||
            probe_page_addr_code(NULL, (tb->pc & PAGE_MASK) + PAGE_SIZE) == tb->page_addr[1]);
}

static bool is_stale(const struct TranslationBlock *tb)
{
    return stale[tb->pc >> PAGE_SHIFT] || stale[(tb->pc + tb->size - 1) >> PAGE_SHIFT];
}

static void check_destination(uint64_t target, uint64_t step)
{
    const struct TranslationBlock *tb = tcg_tb_lookup(target & ~0xffull);

    if (!tb || !fake_live(tb) || !(is_mapped(tb) || is_stale(tb))) {
        fail_msg("step %llu: translated code is led to %s", (unsigned long long)step,
                 tb && fake_live(tb) ? "a page that is not mapped there" : "a dead block");
    }
}

/* What the present set shows, against the page tables. Returns how many jumps and entries there are. */
static unsigned check_shown(uint64_t step)
{
    const struct link_set *set = link_set_get(fake.set_shown);
    unsigned found = 0;

    assert_ptr_equal(set, link_set_present());
    for (uint32_t slot = 1; slot < link_first_slot(); slot++) {
        const struct TranslationBlock *tb = tb_of_link(link_slot_owner(slot));

        if (set->slots[slot] != fake_stub(tb, n_of_link(link_slot_owner(slot)))) {
            check_destination(set->slots[slot], step);
            found++;
        }
    }
    for (size_t i = 0; i < fake.tbs; i++) {
        uint64_t entry = set->table[(uint16_t)fake.pool[i].pc];

        if (entry != link_table_miss()) {
            check_destination(entry, step);
            found++;
        }
    }
    return found;
}

static struct TranslationBlock *gen_somewhere(void)
{
    unsigned size = 4 + pick(12);
    uint64_t pc = P(pick(12)) + (pick(4) ? pick(200) * 16 : PAGE_SIZE - 1 - pick(8));

    if (fake.tbs + 1 >= FAKE_TBS || fake.va_to_page[pc >> PAGE_SHIFT] == FAKE_UNMAPPED ||
        fake.va_to_page[(pc + size - 1) >> PAGE_SHIFT] == FAKE_UNMAPPED) {
        return NULL;
    }
    return fake_gen_user(pc, size);
}

static unsigned flushes, kills, kept;

static void step(void)
{
    struct TranslationBlock *a = pick_live(), *b = pick_live();
    unsigned what = pick(100), found;

    if (what < 20) {
        gen_somewhere();
    } else if (what < 60 && a && b && is_mapped(a) && is_mapped(b)) {
        if (pick(3)) {
            link_jump(a, pick(TB_MAX_JMP), b);
        } else {
            table_add(b);
        }
    } else if (what < 80) {
        enter(pick(10) ? pick(4) : pick(FAKE_SPACES));
        found = check_shown(0);
        kept += found > 4;
    } else if (what < 82) {
        map(pick(3) ? fake.space : pick(4), pick(12), pick(3) ? pick(16) : FAKE_UNMAPPED);
    } else if (what < 90) {
        unsigned va = pick(12);

        map(pick(4), va, va); /* often as it was before */
    } else if (what < 92) {
        invlpg();
    } else if (what < 98) {
        kills += write_hits(P(pick(16)) + pick(4090), 6);
    } else if (what == 98 && !pick(20)) {
        link_sets_forget();
        memset(stale, 0, sizeof(stale));
    } else if (fake.tbs + 2 >= FAKE_TBS || link_slots_left() < TB_MAX_JMP) {
        fake_flush();
        flushes++;
    }
}

static void test_random(void **state)
{
    const char *seed = getenv("LINK_SET_SEED"), *steps = getenv("LINK_SET_STEPS");
    uint64_t count = steps ? strtoull(steps, NULL, 0) : 30000;

    rng = seed ? strtoull(seed, NULL, 0) : 0x9e3779b97f4a7c15;
    for (unsigned s = 0; s < FAKE_SPACES; s++) {
        for (unsigned va = 0; va < 12; va++) {
            map(s, va, pick(4) ? va : pick(16));
        }
    }
    enter(0);
    for (uint64_t i = 0; i < count; i++) {
        step();
        check_shown(i);
        if (i % 512 == 0) {
            assert_sound();
        }
    }
    print_message("%u flushes, %u kills, links kept %u times; %llu sets right, %llu changed, %llu jumps\n", flushes, kills, kept,
                  (unsigned long long)link_stats.hits, (unsigned long long)link_stats.changed,
                  (unsigned long long)link_stats.jumps);
    assert_true(flushes > 3 && kills > 20 && kept > 1000);
    assert_true(link_stats.hits > 100 && link_stats.changed > 100 && link_stats.jumps > 1000);
}

#define EXPECT_VIOLATION(broken, repair)                                                           \
    do {                                                                                           \
        broken;                                                                                    \
        assert_true(tb_maint_check(&fake_cpu[0]) > 0);                                             \
        repair;                                                                                    \
        assert_sound();                                                                            \
    } while (0)

/* Damage in the present set and, the same, in one that is parked. */
static void test_checker_sees(void **state)
{
    struct TranslationBlock *a = fake_gen_user(P(1), 8), *b = fake_gen_user(P(2), 8), *c = fake_gen_user(P(3), 8);
    struct TranslationBlock *dead = fake_gen_user(P(4), 8);
    struct link_set *set = link_set_get(fake.set_shown);
    uint32_t slot;

    link_jump(a, 0, b);
    table_add(c);
    write_hits(P(4), 1);
    assert_false(fake_live(dead));
    slot = a->jmp_slot[0] & ~JMP_SLOT_LINK;
    for (unsigned parked = 0; parked < 2; parked++) {
        uint64_t leads = set->slots[slot], pad = set->table[(uint16_t)c->pc];
        uint32_t head = b->link_head;

        assert_sound();
        EXPECT_VIOLATION(set->slots[slot] = dead->tc.ptr, set->slots[slot] = leads);
        EXPECT_VIOLATION(set->dest[slot] = NULL, set->dest[slot] = b);
        EXPECT_VIOLATION(set->dest[slot] = dead, set->dest[slot] = b);
        EXPECT_VIOLATION(b->link_head = 0, b->link_head = head);
        EXPECT_VIOLATION(dead->link_head = head, dead->link_head = 0);
        EXPECT_VIOLATION(set->table[(uint16_t)dead->pc] = dead->tc.ptr, set->table[(uint16_t)dead->pc] = link_table_miss());
        EXPECT_VIOLATION(c->table_sets = 0, c->table_sets = (uint16_t)BIT(set->index));
        EXPECT_VIOLATION(set->jmp_cache[7] = dead, set->jmp_cache[7] = NULL);
        assert_int_equal(set->table[(uint16_t)c->pc], pad);
        enter(1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_links_come_back, setup),
        cmocka_unit_test_setup(test_parked_links_die, setup),
        cmocka_unit_test_setup(test_remapped_while_parked, setup),
        cmocka_unit_test_setup(test_remapped_twice, setup),
        cmocka_unit_test_setup(test_upper_entry, setup),
        cmocka_unit_test_setup(test_second_page, setup),
        cmocka_unit_test_setup(test_invlpg_is_for_the_present, setup),
        cmocka_unit_test_setup(test_eviction, setup),
        cmocka_unit_test_setup(test_new_slots_and_flush, setup),
        cmocka_unit_test_setup(test_random, setup),
        cmocka_unit_test_setup(test_checker_sees, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
