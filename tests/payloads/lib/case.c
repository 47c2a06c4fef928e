/* SPDX-License-Identifier: MIT */
/* Named cases, checks and checksums. Output is one line per event, read by tests/system/run.py. */
#include "tests/payloads/lib/payload.h"

#include <stdarg.h>

#include "kernel/lib/printf.h"

#define FAILURES_SHOWN 5

static const char *case_name; /* the case that runs; failures so far in it */
static unsigned case_failures;

bool check_eq(const char *file, int line, const char *what, uint64_t got, uint64_t expected)
{
    if (got == expected) {
        return true;
    }
    if (case_failures++ < FAILURES_SHOWN) {
        printf("  %s: %s:%d: %s: expected %#lx, got %#lx\n", case_name ? case_name : "-", file, line,
               what, expected, got);
    }
    return false;
}

void fatal(const char *fmt, ...)
{
    char line[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    printf("FAIL %s: %s\n", case_name ? case_name : "payload", line);
    exit_run(1);
}

static bool wanted(const char *name)
{
    bool has_only, has_skip;
    bool only = cmdline_lists("only=", name, &has_only);
    bool skip = cmdline_lists("skip=", name, &has_skip);

    return (only || !has_only) && !skip;
}

int run_cases(const char *payload, const struct test_case *cases, size_t count)
{
    return run_cases_between(payload, cases, count, NULL, NULL);
}

int run_cases_between(const char *payload, const struct test_case *cases, size_t count, void (*before)(void),
                      void (*after)(void))
{
    unsigned passed = 0, failed = 0;

    for (size_t i = 0; i < count; i++) {
        case_name = cases[i].name;
        case_failures = 0;
        if (!wanted(case_name)) {
            printf("SKIP %s\n", case_name);
            continue;
        }
        if (before) {
            before();
        }
        cases[i].run();
        if (after) {
            after();
        }
        if (case_failures) {
            failed++;
        } else {
            passed++;
        }
        printf("%s %s\n", case_failures ? "FAIL" : "PASS", case_name);
    }
    case_name = NULL;
    printf("payload %s: %u passed, %u failed\n", payload, passed, failed);
    return failed || !passed;
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        sum = (sum ^ p[i]) * 0x100000001b3ull;
    }
    return sum;
}

void checksum_print(const char *name, uint64_t sum)
{
    printf("checksum %s %016lx\n", name, sum);
}
