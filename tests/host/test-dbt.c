/* SPDX-License-Identifier: MIT */
/*
 * Translated against native: every snippet of dbt-cases.S runs on the CPU itself and through dbt/, in the low and in the
 * far window, with several register sets, alone and under a storm of interrupts; all registers, flags, x87/SSE/AVX state,
 * memory and the final exception must agree. Arguments name the cases to run.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/lib/log.h"
#include "tests/host/diff.h"

struct dbt_case {
    const uint8_t *start, *end;
    const char *name;
};
extern const struct dbt_case dbt_cases[];

#define SEEDS 4

static void run_case(void **state)
{
    const struct dbt_case *c = *state;
    size_t len = (size_t)(c->end - c->start);
    size_t patch_end = strcmp(c->name, "indirect") ? 0 : len - 9; /* its last jump goes through a pointer to its end */
    int bad = 0;

    for (unsigned seed = 0; seed < SEEDS; seed++) {
        bad += diff_run(c->name, c->start, len, HOSTED_LOW_BASE, seed, false, patch_end);
        bad += diff_run(c->name, c->start, len, HOSTED_FAR_BASE, seed, false, patch_end);
        bad += diff_run(c->name, c->start, len, HOSTED_LOW_BASE, seed, true, patch_end);
        diff_cpl = 0;
        bad += diff_run(c->name, c->start, len, HOSTED_LOW_BASE, seed, true, patch_end);
        diff_cpl = 3;
    }
    assert_int_equal(bad, 0);
}

int main(int argc, char **argv)
{
    static struct CMUnitTest tests[128];
    size_t count = 0;

    if (getenv("LOG")) {
        log_parse(getenv("LOG"), &log_mask);
    }
    hosted_init();
    for (const struct dbt_case *c = dbt_cases; c->name; c++) {
        bool wanted = argc < 2;

        for (int i = 1; i < argc; i++) {
            wanted |= !strcmp(argv[i], c->name);
        }
        if (wanted) {
            tests[count++] = (struct CMUnitTest){.name = c->name, .test_func = run_case, .initial_state = (void *)c};
        }
    }
    return _cmocka_run_group_tests("dbt", tests, count, NULL, NULL);
}
