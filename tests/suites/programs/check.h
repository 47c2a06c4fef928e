/* SPDX-License-Identifier: MIT */
/* What the suites' own programs share: a check that counts and says what was wrong, and the exit status. */
#ifndef TESTS_SUITES_CHECK_H
#define TESTS_SUITES_CHECK_H

#include <stdio.h>

static int check_failures;
static int check_count;

#define CHECK(cond, ...)                                                                                               \
    do {                                                                                                               \
        check_count++;                                                                                                 \
        if (!(cond)) {                                                                                                 \
            check_failures++;                                                                                          \
            printf("%s:%d: %s: ", __FILE__, __LINE__, #cond);                                                          \
            printf(__VA_ARGS__);                                                                                       \
            printf("\n");                                                                                              \
        }                                                                                                              \
    } while (0)

#define CHECK_EQ(got, want)                                                                                            \
    do {                                                                                                               \
        unsigned long long g_ = (unsigned long long)(got), w_ = (unsigned long long)(want);                            \
        CHECK(g_ == w_, #got " = %llx, expected %llx", g_, w_);                                                        \
    } while (0)

/* The program's exit status. */
static inline int check_done(void)
{
    printf("%d checks, %d failed\n", check_count, check_failures);
    return check_failures != 0 || check_count == 0;
}

#endif
