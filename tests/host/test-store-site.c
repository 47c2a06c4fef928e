/* SPDX-License-Identifier: MIT */
/* Hot store sites: they stop faulting, never pass over code, and become plain again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/store-site.h"
#include "tests/host/hosted.h"

#define CODE (HOSTED_LOW_BASE + 0x1000) /* the storing loop */
#define PAGE (HOSTED_LOW_BASE + 0x8000) /* data, and at PAGE a function that returns to the test */
#define DATA (PAGE + 0x800)

static uint64_t stat(enum stat_id id)
{
    return hosted_cpu()->stat[id];
}

static void run_at(uint64_t eip)
{
    struct hosted_result res;

    hosted_cpu()->env.eip = eip;
    hosted_run(&res);
    assert_int_equal(res.vector, EXCP03_INT3);
}

/* `n` stores of rax to va, by one instruction. Returns the faults that took. */
static uint64_t store(uint64_t va, uint64_t value, unsigned n)
{
    uint64_t before = hosted_faults;

    hosted_cpu()->env.regs[R_ECX] = n;
    hosted_cpu()->env.regs[R_ESI] = va;
    hosted_cpu()->env.regs[R_EAX] = value;
    run_at(CODE);
    assert_int_equal(*(uint64_t *)va, value);
    return hosted_faults - before;
}

static int setup(void **state)
{
    /* 1: mov %rax, (%rsi); loop 1b; int3 */
    static const uint8_t loop[] = {0x48, 0x89, 0x06, 0xe2, 0xfb, 0xcc};

    hosted_forget(HOSTED_LOW_BASE, 0x10000);
    memset((void *)PAGE, 0xcc, 0x1000);
    memcpy((void *)CODE, loop, sizeof(loop));
    run_at(PAGE);
    store_site_threshold = 4;
    return 0;
}

static void test_becomes_hot(void **state)
{
    uint64_t hot = stat(STAT_store_site_hot);

    assert_int_equal(store(DATA, 1, 3), 3);
    assert_int_equal(stat(STAT_store_site_hot), hot);
    assert_int_equal(store(DATA, 2, 1000), 1);
    assert_int_equal(stat(STAT_store_site_hot), hot + 1);
    /* Up and down over a stretch without code: a wide memo. */
    for (unsigned i = 0; i < 64; i++) {
        store(DATA + i * 8, i, 1);
    }
    for (unsigned i = 64; i-- > 0;) {
        assert_int_equal(store(DATA + i * 8, i + 1, 1), 0);
    }
}

/* Code appears inside the memo: the next store there must kill it. */
static void test_code_in_memo(void **state)
{
    uint64_t killed;

    store(DATA, ~0ull / 0xff * 0xcc, 100);
    assert_int_equal(store(DATA, ~0ull / 0xff * 0xcc, 100), 0);
    run_at(DATA + 4); /* an int3 of those */
    killed = stat(STAT_tb_invalidated);
    assert_int_equal(store(DATA, ~0ull / 0xff * 0x90, 1), 1);
    assert_true(stat(STAT_tb_invalidated) > killed);
    assert_int_equal(tb_maint_check(hosted_cpu()), 0);
}

static void test_becomes_plain(void **state)
{
    uint64_t cooled = stat(STAT_store_site_cooled);

    store(DATA, 1, 100);
    for (unsigned i = 0; i < 64 * 6 && stat(STAT_store_site_cooled) == cooled; i++) {
        store_sites_tick(hosted_cpu());
    }
    assert_true(stat(STAT_store_site_cooled) > cooled);
    assert_int_equal(store(DATA, 2, 1), 1);
}

static void test_never(void **state)
{
    uint64_t hot = stat(STAT_store_site_hot);

    store_site_threshold = 0;
    hosted_forget(CODE, 16);
    memcpy((void *)(CODE + 64), (void *)CODE, 6); /* another site */
    hosted_cpu()->env.regs[R_ECX] = 50;
    hosted_cpu()->env.regs[R_ESI] = DATA;
    run_at(CODE + 64);
    assert_int_equal(stat(STAT_store_site_hot), hot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_becomes_hot, setup),
        cmocka_unit_test_setup(test_code_in_memo, setup),
        cmocka_unit_test_setup(test_becomes_plain, setup),
        cmocka_unit_test_setup(test_never, setup),
    };

    hosted_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
