/* SPDX-License-Identifier: MIT */
/*
 * Random self-modifying programs, native against translated: alone, under a storm of timer interrupts, and interrupted after
 * every few host instructions; with pages that change state never, at the default rate, and at every opportunity; with every
 * store that misses made a hot site at once; with checks in front of all stores (smc = check) instead of protection.
 *
 * Usage: test-dbt-smc [programs [first number [size]]]; PRINT=1 disassembles what fails, or the one program asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/page-state.h"
#include "dbt/store-site.h"
#include "dbt/tb.h"
#include "kernel/lib/log.h"
#include "tests/host/hosted-check.h"
#include "tests/host/smc-run.h"

static unsigned programs = 600;
static unsigned long first_number = 1;
static unsigned size = 2;

static void print_stats(unsigned count)
{
    static uint64_t before[STAT_COUNT];
    uint64_t *stat = hosted_cpu()->stat;
    static const struct {
        const char *name;
        enum stat_id id;
    } shown[] = {{"TBs made", STAT_tb_gen},     {"invalidated", STAT_tb_invalidated}, {"write faults", STAT_smc_fault},
                 {"redone", STAT_redo_tb},      {"interrupts", STAT_irq},             {"host steps", STAT_exit_step},
                 {"flushes", STAT_tb_flush},
                 {"pages to self-checks", STAT_page_self_check},
                 {"back", STAT_page_reprotect},
                 {"bulk", STAT_page_bulk},
                 {"checks failed", STAT_self_check_fail},
                 {"data immediates", STAT_data_imm}};

    printf("%u programs:", count);
    for (unsigned i = 0; i < ARRAY_SIZE(shown); i++) {
        printf(" %llu %s%s", (unsigned long long)(stat[shown[i].id] - before[shown[i].id]), shown[i].name,
               i + 1 < ARRAY_SIZE(shown) ? "," : "\n");
    }
    memcpy(before, stat, sizeof(before));
}

static void run(unsigned count, unsigned long first, struct smc_storm storm)
{
    unsigned bad = smc_compare(first, count, size, storm);

    print_stats(count);
    assert_int_equal(bad, 0);
}

static void test_alone(void **state)
{
    uint64_t faults = hosted_cpu()->stat[STAT_smc_fault];

    run(programs, first_number, (struct smc_storm){0, 0});
    assert_true(hosted_cpu()->stat[STAT_smc_fault] > faults);
}

static void test_storm(void **state)
{
    uint64_t irqs = hosted_cpu()->stat[STAT_irq];

    run(programs, first_number + programs, (struct smc_storm){50, 0});
    assert_true(hosted_cpu()->stat[STAT_irq] > irqs);
}

static void test_every(void **state)
{
    static const unsigned every[] = {1, 2, 3, 5, 7, 11, 17, 29, 61};
    unsigned count = MAX(programs / 100, 1u);
    uint64_t irqs = hosted_cpu()->stat[STAT_irq];

    for (unsigned i = 0; i < ARRAY_SIZE(every); i++) {
        run(count, first_number + i * count, (struct smc_storm){0, every[i]});
    }
    assert_true(hosted_cpu()->stat[STAT_irq] > irqs);
}

static int setup_default(void **state)
{
    static struct smc_policy saved;

    *state = &saved;
    saved = smc_policy;
    return 0;
}

/* Every page changes state at the first fault, and back as soon as a tick finds it unwritten. */
static int setup_eager(void **state)
{
    setup_default(state);
    smc_policy.self_check_faults = 1;
    smc_policy.self_check_hits = 1;
    smc_policy.quiet_ticks = 1;
    smc_policy.bulk_faults = 2;
    smc_policy.data_imm_hits = 1;
    return 0;
}

/* The same with some room in between, where bulk overwrites are met. */
static int setup_brisk(void **state)
{
    setup_eager(state);
    smc_policy.self_check_faults = 6;
    smc_policy.self_check_hits = 5;
    return 0;
}

static int setup_off(void **state)
{
    setup_default(state);
    smc_policy.adaptive = false;
    return 0;
}

/* Send all pages back to protection, too: the next test begins as the first one. */
static int teardown(void **state)
{
    smc_policy.quiet_ticks = 0;
    for (unsigned i = 0; i < 2; i++) { /* the first look may still find a page written */
        page_state_tick();
        page_state_poll(hosted_cpu());
    }
    smc_policy = *(struct smc_policy *)*state;
    return 0;
}

static void test_transitions(void **state)
{
    const uint64_t *stat = hosted_cpu()->stat;

    test_storm(state);
    test_every(state);
    run(programs, first_number, (struct smc_storm){0, 0});
    assert_true(stat[STAT_page_self_check] && stat[STAT_page_reprotect] && stat[STAT_self_check_fail]);
}

static void test_hot_sites(void **state)
{
    uint64_t armed = hosted_cpu()->stat[STAT_store_site_armed];

    store_site_threshold = 1;
    run(programs / 2, first_number + 2 * programs, (struct smc_storm){0, 0});
    run(programs / 4, first_number + 3 * programs, (struct smc_storm){50, 0});
    run(MAX(programs / 100, 1u), first_number, (struct smc_storm){0, 3});
    printf("%llu memos\n", (unsigned long long)(hosted_cpu()->stat[STAT_store_site_armed] - armed));
    assert_true(hosted_cpu()->stat[STAT_store_site_armed] > armed);
}

/* No page is protected; every translated store is checked. */
static int setup_check(void **state)
{
    setup_off(state);
    hosted_check_stores(true);
    return 0;
}

static int teardown_check(void **state)
{
    hosted_check_stores(false);
    return teardown(state);
}

static void test_check(void **state)
{
    const uint64_t *stat = hosted_cpu()->stat;
    uint64_t faults = stat[STAT_smc_fault], checks = stat[STAT_smc_check];

    run(programs, first_number, (struct smc_storm){0, 0});
    test_storm(state);
    test_every(state);
    printf("%llu checks met code\n", (unsigned long long)(stat[STAT_smc_check] - checks));
    assert_int_equal(stat[STAT_smc_fault], faults);
    assert_true(stat[STAT_smc_check] > checks);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_alone, setup_off, teardown),
                                       cmocka_unit_test_setup_teardown(test_storm, setup_off, teardown),
                                       cmocka_unit_test_setup_teardown(test_every, setup_off, teardown),
                                       cmocka_unit_test_setup_teardown(test_alone, setup_default, teardown),
                                       cmocka_unit_test_setup_teardown(test_storm, setup_default, teardown),
                                       cmocka_unit_test_setup_teardown(test_transitions, setup_eager, teardown),
                                       cmocka_unit_test_setup_teardown(test_transitions, setup_brisk, teardown),
                                       cmocka_unit_test_setup_teardown(test_hot_sites, setup_off, teardown),
                                       cmocka_unit_test_setup_teardown(test_check, setup_check, teardown_check)};

    if (getenv("LOG")) {
        log_parse(getenv("LOG"), &log_mask);
    }
    programs = argc > 1 ? (unsigned)MAX(strtoul(argv[1], NULL, 0), 1ul) : programs;
    first_number = argc > 2 ? strtoul(argv[2], NULL, 0) : first_number;
    size = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : size;
    hosted_init();
    if (getenv("PRINT")) {
        static struct smc_program p;

        smc_generate(&p, first_number & 1 ? HOSTED_FAR_BASE : HOSTED_LOW_BASE, first_number, size);
        smc_print(&p);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
