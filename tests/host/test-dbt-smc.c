/* SPDX-License-Identifier: MIT */
/*
 * Random self-modifying programs, native against translated: alone, under a storm of timer interrupts, and interrupted after
 * every few host instructions.
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

#include "dbt/tb.h"
#include "kernel/lib/log.h"
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
                 {"flushes", STAT_tb_flush}};

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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_alone), cmocka_unit_test(test_storm),
                                       cmocka_unit_test(test_every)};

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
