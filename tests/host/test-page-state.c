/* SPDX-License-Identifier: MIT */
/* The state machine of pages (dbt/page-state.c) on faked pages: thresholds, ageing, hysteresis, bulk overwrites, and I2. */
#include "tests/host/tb-fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/page-state.h"

#define PAGE P(5)

static struct CPUState *cpu = &fake_cpu[0];

static int setup(void **state)
{
    fake_reset();
    smc_policy = (struct smc_policy){.adaptive = true,
                                     .precise = true,
                                     .self_check_faults = 4,
                                     .self_check_hits = 3,
                                     .quiet_ticks = 8,
                                     .bulk_faults = 3};
    return 0;
}

/* What page_unprotect() does for one store of a TB elsewhere; true if the page still has TBs. */
static bool fault_from(tb_page_addr_t addr, unsigned len, uint64_t host_pc, bool *current)
{
    bool hit;

    *current = tb_invalidate_phys_page_fast(cpu, addr, len, host_pc, &hit);
    *current |= page_state_fault(cpu, pd_of(addr), addr, len, host_pc, hit);
    return tb_page_stays_protected(addr);
}

static bool fault(tb_page_addr_t addr, unsigned len)
{
    bool current;

    return fault_from(addr, len, 0, &current);
}

static void pass_ticks(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        page_state_tick();
        page_state_poll(cpu);
    }
}

static void to_self_check(void)
{
    for (unsigned i = 0; i < smc_policy.self_check_faults; i++) {
        fault(PAGE + 2048 + i % 2 * 64, 8);
    }
    assert_int_equal(pd_of(PAGE)->state.kind, PAGE_SELF_CHECK);
}

static void test_misses(void **state)
{
    struct TranslationBlock *tb = gen(PAGE, 16);

    for (unsigned i = 0; i < 3; i++) {
        assert_true(fault(PAGE + 2048 + i % 2 * 64, 8));
        assert_true(fake.is_protected[5] && fake_live(tb));
    }
    assert_false(fault(PAGE + 2048, 8));
    assert_int_equal(pd_of(PAGE)->state.kind, PAGE_SELF_CHECK);
    assert_int_equal(cpu->stat[STAT_page_self_check], 1);
    assert_false(fake.is_protected[5] || fake_live(tb));
    assert_true(fake.is_sampled[5]);

    tb = gen(PAGE + 32, 16);
    assert_int_equal(tb->self_check, 1);
    assert_false(fake.is_protected[5]);
    assert_int_equal(tb_maint_check(cpu), 0);
    tb->self_check = 0;
    assert_int_equal(tb_maint_check(cpu), 1); /* I2: neither protected nor checked */
}

static void test_hits(void **state)
{
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pd_of(PAGE) ? pd_of(PAGE)->state.kind : PAGE_PROTECTED, PAGE_PROTECTED);
        gen(PAGE, 16);
        gen(PAGE + 64, 16);
        fault(PAGE + 4, 4);
    }
    assert_int_equal(pd_of(PAGE)->state.kind, PAGE_SELF_CHECK);
}

static void test_never(void **state)
{
    smc_policy.self_check_hits = 0;
    smc_policy.self_check_faults = 0;
    smc_policy.bulk_faults = 0;
    gen(PAGE + 64, 16);
    for (unsigned i = 0; i < 100; i++) {
        gen(PAGE, 16);
        fault(PAGE + 4, 4);
        fault(PAGE + 1024 + i * 8, 8);
    }
    assert_int_equal(cpu->stat[STAT_page_self_check] + cpu->stat[STAT_page_bulk], 0);
    smc_policy = (struct smc_policy){.adaptive = false, .precise = true, .self_check_faults = 1, .bulk_faults = 1};
    fault(PAGE + 1024, 8);
    assert_int_equal(cpu->stat[STAT_page_self_check] + cpu->stat[STAT_page_bulk], 0);
}

/* Faults count half a tick later: two a tick never make four. */
static void test_ageing(void **state)
{
    gen(PAGE, 16);
    for (unsigned i = 0; i < 40; i++) {
        fault(PAGE + 2048, 8);
        fault(PAGE + 3072, 8);
        assert_int_equal(pd_of(PAGE)->state.kind, PAGE_PROTECTED);
        page_state_tick();
    }
    to_self_check();
}

/* The running TB is on the page: it must be left. */
static void test_current(void **state)
{
    struct TranslationBlock *tb;
    bool current = false;

    smc_policy.self_check_faults = 1;
    tb = gen(PAGE, 16);
    fault_from(PAGE + 2048, 8, tb->tc.ptr + 4, &current);
    assert_true(current && !fake_live(tb));
}

static void test_quiet(void **state)
{
    struct TranslationBlock *tb, *crossing;

    gen(PAGE, 16);
    to_self_check();
    for (unsigned round = 0; round < 4; round++) { /* every return takes twice as long */
        unsigned quiet = 8u << round;

        tb = gen(PAGE, 16);
        crossing = gen(PAGE - 4, 16);
        assert_int_equal(crossing->self_check, 2);
        for (unsigned i = 0; i < 5; i++) {
            fake.is_dirty[5] = true;
            pass_ticks(2 * quiet / 3);
        }
        assert_true(fake_live(tb));
        pass_ticks(quiet - 1 - 2 * quiet / 3);
        assert_true(fake_live(tb) && pd_of(PAGE)->state.kind == PAGE_SELF_CHECK);
        pass_ticks(2);
        assert_false(fake_live(tb) || fake_live(crossing) || fake.is_sampled[5]);
        assert_int_equal(pd_of(PAGE)->state.kind, PAGE_PROTECTED);
        assert_int_equal(cpu->stat[STAT_page_reprotect], round + 1);
        assert_int_equal(gen(PAGE, 16)->self_check, 0);
        assert_true(fake.is_protected[5]);
        assert_int_equal(tb_maint_check(cpu), 0);
        to_self_check();
    }
}

/* A page that is only data by now is written for ever: nothing to keep. */
static void test_no_tb(void **state)
{
    gen(PAGE, 16);
    to_self_check();
    for (unsigned i = 0; i < 10; i++) {
        fake.is_dirty[5] = true;
        pass_ticks(1);
    }
    assert_int_equal(pd_of(PAGE)->state.kind, PAGE_PROTECTED);
    assert_false(fake.is_protected[5]);
}

static void test_bulk(void **state)
{
    smc_policy.self_check_faults = 100;
    smc_policy.self_check_hits = 100;
    for (unsigned i = 0; i < 20; i++) {
        gen(PAGE + 256 + i * 64, 16);
    }
    assert_true(fault(PAGE + 64, 8));
    assert_true(fault(PAGE + 72, 8));
    assert_true(fault(PAGE + 88, 8)); /* a gap: from the beginning */
    assert_true(fault(PAGE + 96, 8));
    assert_int_equal(cpu->stat[STAT_page_bulk], 0);
    struct TranslationBlock *own = gen(PAGE + 2048, 16), *other = gen(P(6), 16);
    bool current;

    assert_true(fault_from(PAGE + 104, 8, own->tc.ptr, &current)); /* it writes its own page */
    assert_false(fault_from(PAGE + 112, 8, other->tc.ptr, &current));
    assert_false(current);
    assert_int_equal(cpu->stat[STAT_page_bulk], 1);
    assert_false(fake.is_protected[5]);
}

/* The check fails and the bytes are equal: it cannot work there. */
static void test_pinned(void **state)
{
    struct TranslationBlock *tb = gen(PAGE, 16);

    to_self_check();
    tb = gen(PAGE, 16);
    fake.memory[5][3] = 1; /* really changed */
    self_check_failed(cpu, tb);
    assert_false(fake_live(tb));
    assert_int_equal(pd_of(PAGE)->state.kind, PAGE_SELF_CHECK);
    fake.memory[5][3] = 0;
    tb = gen(PAGE, 16);
    self_check_failed(cpu, tb);
    assert_false(fake_live(tb));
    assert_int_equal(pd_of(PAGE)->state.kind, PAGE_PROTECTED);
    gen(PAGE, 16);
    for (unsigned i = 0; i < 100; i++) {
        fault(PAGE + 2048 + i % 2 * 64, 8);
    }
    assert_int_equal(pd_of(PAGE)->state.kind, PAGE_PROTECTED);
    fake.memory[5][3] = 1;
    assert_int_equal(tb_maint_check(cpu), 1); /* I8 */
}

/* One TB, made and hit: is the page protected afterwards? */
static bool patch_and_call(void)
{
    gen(PAGE, 16);
    return fault(PAGE + 4, 4);
}

/* A page that is protected again at once each time stays protected; a few writes without a TB, and it is given back. */
static void test_disarm_late(void **state)
{
    smc_policy = (struct smc_policy){.adaptive = true, .precise = true, .disarm_faults = 3};
    assert_false(patch_and_call());
    assert_false(patch_and_call());
    assert_int_equal(cpu->stat[STAT_page_linger], 0);
    for (unsigned i = 0; i < 10; i++) {
        assert_true(patch_and_call());
        assert_true(fake.is_protected[5]);
    }
    assert_int_equal(cpu->stat[STAT_page_protect], 3);
    assert_int_equal(cpu->stat[STAT_page_linger], 10);
    assert_true(fault(PAGE + 4, 4) && fault(PAGE + 2048, 4));
    assert_string_equal(page_state_name(pd_of(PAGE)), "still protected");
    assert_false(fault(PAGE + 4, 4));
    assert_false(fake.is_protected[5]);
    assert_false(patch_and_call()); /* it begins anew */
    assert_int_equal(tb_maint_check(cpu), 0);
}

/* Where time passes in between, at once; a range that is written by something else than a store of the guest, too. */
static void test_disarm_at_once(void **state)
{
    smc_policy = (struct smc_policy){.adaptive = true, .precise = true, .disarm_faults = 3};
    for (unsigned i = 0; i < 10; i++) {
        assert_false(patch_and_call());
        pass_ticks(2);
    }
    assert_int_equal(cpu->stat[STAT_page_linger], 0);
    for (unsigned i = 0; i < 3; i++) {
        patch_and_call();
    }
    assert_true(fake.is_protected[5]);
    gen(PAGE, 16);
    tb_invalidate_phys_range(cpu, PAGE, PAGE + PAGE_SIZE - 1, 0);
    assert_false(fake.is_protected[5]);
}

static void test_flush(void **state)
{
    gen(PAGE, 16);
    to_self_check();
    gen(PAGE, 16);
    fake_flush();
    assert_int_equal(gen(PAGE, 16)->self_check, 1);
    assert_int_equal(tb_maint_check(cpu), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_disarm_late, setup), cmocka_unit_test_setup(test_disarm_at_once, setup),
        cmocka_unit_test_setup(test_misses, setup),  cmocka_unit_test_setup(test_hits, setup),
        cmocka_unit_test_setup(test_never, setup),   cmocka_unit_test_setup(test_ageing, setup),
        cmocka_unit_test_setup(test_current, setup), cmocka_unit_test_setup(test_quiet, setup),
        cmocka_unit_test_setup(test_no_tb, setup),   cmocka_unit_test_setup(test_bulk, setup),
        cmocka_unit_test_setup(test_pinned, setup),  cmocka_unit_test_setup(test_flush, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
