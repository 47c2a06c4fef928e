/* SPDX-License-Identifier: MIT */
/*
 * That the invariant checker sees damage in what only a real translator has: the tables of smc = check, the memos of hot store
 * sites, the kernel view's look-up table. Lists, jumps and jump caches: test-tb-smp; link sets: test-link-set; shadow tables: test-shadow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/code-buffer.h"
#include "dbt/jump-table.h"
#include "dbt/store-site.h"
#include "tests/host/hosted-check.h"
#include "tests/host/hosted.h"

#define CODE (HOSTED_LOW_BASE + 0x1000) /* the storing loop */
#define PAGE (HOSTED_LOW_BASE + 0x8000) /* data, all of it `int3` */
#define DATA (PAGE + 0x800)
#define INT3 0xccccccccccccccccull

static int violations(void)
{
    return tb_maint_check(hosted_cpu());
}

static void run_at(uint64_t eip)
{
    struct hosted_result res;

    hosted_cpu()->env.eip = eip;
    hosted_run(&res);
    assert_int_equal(res.vector, EXCP03_INT3);
}

static void store(unsigned n)
{
    hosted_cpu()->env.regs[R_ECX] = n;
    hosted_cpu()->env.regs[R_ESI] = DATA;
    hosted_cpu()->env.regs[R_EAX] = INT3;
    run_at(CODE);
}

static int setup(void **state)
{
    /* 1: mov %rax, (%rsi); loop 1b; int3 */
    static const uint8_t loop[] = {0x48, 0x89, 0x06, 0xe2, 0xfb, 0xcc};

    hosted_forget(HOSTED_LOW_BASE, 0x10000);
    memset((void *)PAGE, 0xcc, PAGE_SIZE);
    memcpy((void *)CODE, loop, sizeof(loop));
    return 0;
}

/* The table says that a granule is free of code, and code is linked there. */
static void test_store_table(void **state)
{
    static uint64_t before[STORE_TABLE_ENTRIES], after[STORE_TABLE_ENTRIES];

    hosted_check_stores(true);
    store(10);
    memcpy(before, hosted_store_table, sizeof(before));
    run_at(DATA + 4);
    memcpy(after, hosted_store_table, sizeof(after));
    assert_memory_not_equal(before, after, sizeof(before));
    assert_int_equal(violations(), 0);
    memcpy(hosted_store_table, before, sizeof(before));
    assert_true(violations() > 0);
    memcpy(hosted_store_table, after, sizeof(after));
    assert_int_equal(violations(), 0);
    hosted_check_stores(false);
}

static struct store_site *found;

static void remember(const struct store_site *site)
{
    found = (struct store_site *)(uintptr_t)site; /* to be damaged */
}

/* A memo covers code, or was taken away and still leads to the alias. */
static void test_memo(void **state)
{
    uint64_t *slot, lo;

    store_site_threshold = 4;
    run_at(PAGE);
    store(100);
    store_site_for_each(CODE - HOSTED_LOW_BASE, remember);
    assert_non_null(found);
    assert_true(found->armed);
    assert_int_equal(violations(), 0);

    const struct store_site sound = *found;
    found->first = PAGE - HOSTED_LOW_BASE;
    assert_true(violations() > 0);
    found->first = sound.first;
    assert_int_equal(violations(), 0);

    slot = &code_buffer_region()->slots_rw[store_site_slot(found)];
    lo = *slot;
    run_at(DATA + 4);
    assert_false(found->armed);
    assert_true(*slot != lo);
    assert_int_equal(violations(), 0);
    uint64_t nowhere = *slot;
    *slot = lo;
    assert_true(violations() > 0);
    *slot = nowhere;
    assert_int_equal(violations(), 0);
}

/* A process has no kernel code: a block is one for as long as it takes to enter it, so that its death overlooks the entry. */
static void test_jump_table(void **state)
{
    struct TranslationBlock *tb = NULL;

    run_at(PAGE);
    for (size_t i = 0; i < tb_count(); i++) {
        if (tb_at(i)->hashed && tb_at(i)->pc == PAGE) {
            tb = tb_at(i);
        }
    }
    assert_non_null(tb);
    tb->flags &= ~(uint32_t)HF_CPL_MASK;
    jump_table_add(tb);
    tb->flags |= 3;
    assert_int_equal(jump_table_check(), 0);
    hosted_forget(PAGE, 1);
    assert_true(jump_table_check() > 0);
    jump_table_flush(true);
    assert_int_equal(jump_table_check(), 0);
    assert_int_equal(violations(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_store_table, setup),
        cmocka_unit_test_setup(test_memo, setup),
        cmocka_unit_test_setup(test_jump_table, setup),
    };

    hosted_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
