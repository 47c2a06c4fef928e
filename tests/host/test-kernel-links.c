/* SPDX-License-Identifier: MIT */
/* What lasting links of the guest's kernel rest on: which changes of page-table entries are noticed, and what ends with them. */
#include "tests/host/tb-fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/host.h"
#include "dbt/kernel-links.h"

static struct CPUState *const cpu = &fake_cpu[0];

static void map(unsigned va, unsigned page)
{
    fake.leaf[fake.space][va] = page == FAKE_UNMAPPED ? 0 : page + 1;
    fake.va_to_page[va] = page;
}

/* All spaces map page i at i, by tables of their own. */
static int setup(void **state)
{
    fake_reset();
    kernel_links_forget();
    memset(&kernel_link_stats, 0, sizeof(kernel_link_stats));
    for (unsigned s = 0; s < FAKE_SPACES; s++) {
        fake.upper[s] = 1000 + s;
        for (unsigned va = 0; va < FAKE_PAGES; va++) {
            fake.leaf[s][va] = va + 1;
        }
    }
    return 0;
}

static struct TranslationBlock *covered(unsigned va)
{
    struct TranslationBlock *tb = gen(P(va) + 16, 8);

    assert_true(kernel_links_cover(cpu, tb));
    return tb;
}

static void test_nothing_changed(void **state)
{
    struct TranslationBlock *tb[8];

    assert_true(kernel_links_same(cpu)); /* of nothing */
    for (unsigned i = 0; i < 8; i++) {
        tb[i] = covered(i);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_true(kernel_links_same(cpu));
    }
    for (unsigned i = 0; i < 8; i++) {
        assert_true(fake_live(tb[i]) && kernel_links_cover(cpu, tb[i]));
    }
    assert_int_equal(kernel_link_stats.kept, 4);
    assert_int_equal(kernel_link_stats.pages, 0);
}

/* A page that is mapped elsewhere now: its blocks die, wherever jumps come from, and nobody else's. */
static void test_one_page_changed(void **state)
{
    struct TranslationBlock *a = covered(1), *b = covered(2), *c = covered(3), *d = gen(P(3) + 100, 8);

    tb_add_jump(a, 0, b);
    tb_add_jump(a, 1, c);
    map(3, 9);
    assert_true(kernel_links_same(cpu));
    assert_true(fake_live(a) && fake_live(b) && !fake_live(c) && !fake_live(d));
    assert_int_equal(fake.jmp[fake_index(a)][0], b->tc.ptr);
    assert_int_equal(fake.jmp[fake_index(a)][1], fake_stub(a, 1));
    assert_int_equal(kernel_link_stats.pages, 1);
    assert_true(kernel_links_same(cpu));
    assert_int_equal(kernel_link_stats.pages, 1);
    assert_int_equal(tb_maint_check(cpu), 0);
}

/* And what is there then may be linked to, and is watched in turn. */
static void test_page_used_again(void **state)
{
    covered(1);
    for (unsigned i = 0; i < 5; i++) {
        struct TranslationBlock *tb = covered(3);

        map(3, i & 1 ? FAKE_UNMAPPED : 20 + i);
        assert_true(kernel_links_same(cpu));
        assert_false(fake_live(tb));
        map(3, 30 + i);
    }
    assert_int_equal(kernel_link_stats.pages, 5);
}

/* A block that crosses rests on both of its pages. */
static void test_second_page(void **state)
{
    struct TranslationBlock *a = covered(1), *x = gen(P(5) + PAGE_SIZE - 4, 8);

    assert_true(kernel_links_cover(cpu, x));
    map(6, 40);
    assert_true(kernel_links_same(cpu));
    assert_true(fake_live(a) && !fake_live(x));
}

/* A table that maps several pages, or another table in its place: no page can be named. */
static void test_upper_entry(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        struct TranslationBlock *a = covered(1);

        fake.middle[i]++;
        assert_false(kernel_links_same(cpu));
        assert_true(fake_live(a));
        kernel_links_forget();
        assert_true(kernel_links_same(cpu));
    }
    assert_int_equal(kernel_link_stats.lost, 2);
}

/* The top-level entry is that of the address space which is present when links are compared. */
static void test_other_space(void **state)
{
    covered(1);
    fake.space = 1;
    assert_false(kernel_links_same(cpu));
    fake.upper[1] = fake.upper[0]; /* the same tables below */
    assert_true(kernel_links_same(cpu));
}

/* It is found by a page below it; that may go, and another is taken. */
static void test_root_page_gone(void **state)
{
    covered(1);
    struct TranslationBlock *b = covered(2);

    map(1, FAKE_UNMAPPED);
    assert_true(kernel_links_same(cpu));
    assert_true(fake_live(b));
    map(2, FAKE_UNMAPPED);
    assert_false(kernel_links_same(cpu)); /* none is left: begin anew */
    assert_false(fake_live(b));
}

/* The entry has changed and the guest has not said so yet: no new link before all have been forgotten. */
static void test_conflict(void **state)
{
    covered(3);
    map(3, 9);
    struct TranslationBlock *tb = gen(P(3) + 200, 8);

    assert_false(kernel_links_cover(cpu, tb));
    kernel_links_forget();
    assert_true(kernel_links_cover(cpu, tb));
    assert_true(kernel_links_same(cpu));
}

/* Nothing rests on a page that is not mapped where the block is. */
static void test_not_mapped(void **state)
{
    struct TranslationBlock *tb = gen(P(4), 8);

    map(4, FAKE_UNMAPPED);
    assert_false(kernel_links_cover(cpu, tb));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_changed, setup), cmocka_unit_test_setup(test_one_page_changed, setup),
        cmocka_unit_test_setup(test_page_used_again, setup), cmocka_unit_test_setup(test_second_page, setup),
        cmocka_unit_test_setup(test_upper_entry, setup),     cmocka_unit_test_setup(test_other_space, setup),
        cmocka_unit_test_setup(test_root_page_gone, setup),  cmocka_unit_test_setup(test_conflict, setup),
        cmocka_unit_test_setup(test_not_mapped, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
