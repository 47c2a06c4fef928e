/* SPDX-License-Identifier: MIT */
/*
 * kernel/lib/string.c, printf.c and log.c against the C library: the expected value is never typed
 * by hand. Our versions get other names, because the C library's are in use here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define memcpy    nd_memcpy
#define memmove   nd_memmove
#define memset    nd_memset
#define memcmp    nd_memcmp
#define strlen    nd_strlen
#define strnlen   nd_strnlen
#define strcmp    nd_strcmp
#define strncmp   nd_strncmp
#define strchr    nd_strchr
#define strstr    nd_strstr
#define vsnprintf nd_vsnprintf
#define snprintf  nd_snprintf
#include "kernel/lib/string.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.c"
#include "kernel/lib/printf.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strstr
#undef vsnprintf
#undef snprintf

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"

#define BUF   640
#define GUARD 0xa5

static void fill_random(unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (unsigned char)rand();
    }
}

/* Lengths round the changes of method, and some in between. */
static size_t pick_length(unsigned i)
{
    static const size_t edges[] = {0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 255, 256, 257, 263, 264};

    return i % 2 ? edges[(i / 2) % ARRAY_SIZE(edges)] : (size_t)rand() % 200;
}

static void test_memcpy_memset(void **state)
{
    unsigned char src[BUF], got[BUF], want[BUF];

    for (unsigned i = 0; i < 20000; i++) {
        size_t n = pick_length(i), from = (size_t)rand() % 17, to = (size_t)rand() % 17;
        int c = rand() - RAND_MAX / 2;

        fill_random(src, BUF);
        memset(got, GUARD, BUF);
        memset(want, GUARD, BUF);
        assert_ptr_equal(nd_memcpy(got + to, src + from, n), got + to);
        memcpy(want + to, src + from, n);
        assert_memory_equal(got, want, BUF);
        assert_ptr_equal(nd_memset(got + from, c, n), got + from);
        memset(want + from, c, n);
        assert_memory_equal(got, want, BUF);
    }
}

static void test_memmove(void **state)
{
    unsigned char got[BUF], want[BUF];

    for (unsigned i = 0; i < 40000; i++) {
        size_t n = pick_length(i), from = (size_t)rand() % 150, to = (size_t)rand() % 150;

        fill_random(got, BUF);
        memcpy(want, got, BUF);
        assert_ptr_equal(nd_memmove(got + to, got + from, n), got + to);
        memmove(want + to, want + from, n);
        assert_memory_equal(got, want, BUF);
    }
}

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static void test_memcmp(void **state)
{
    unsigned char a[BUF], b[BUF];

    for (unsigned i = 0; i < 40000; i++) {
        size_t n = pick_length(i), off = (size_t)rand() % 9;

        fill_random(a, BUF);
        memcpy(b + off, a, n);
        if (n && i % 3) {
            b[off + (size_t)rand() % n] ^= (unsigned char)(1 << rand() % 8);
        }
        assert_int_equal(sign(nd_memcmp(a, b + off, n)), sign(memcmp(a, b + off, n)));
    }
}

/* Random strings over a small alphabet, so that prefixes and substrings do match; with bytes above
 * 0x7f. */
static void random_string(char *s, size_t max)
{
    size_t n = (size_t)rand() % max;

    for (size_t i = 0; i < n; i++) {
        s[i] = "ab\xff"[rand() % 3];
    }
    s[n] = '\0';
}

static void test_strings(void **state)
{
    char a[24], b[24], needle[5];

    for (unsigned i = 0; i < 100000; i++) {
        size_t n = (size_t)rand() % 26;
        int c = "ab\xff\0z"[rand() % 5];

        random_string(a, sizeof(a));
        random_string(b, i % 4 ? 4 : sizeof(b));
        random_string(needle, sizeof(needle));
        assert_int_equal(nd_strlen(a), strlen(a));
        assert_int_equal(nd_strnlen(a, n), strnlen(a, n));
        assert_int_equal(sign(nd_strcmp(a, b)), sign(strcmp(a, b)));
        assert_int_equal(nd_strcmp(a, a), 0);
        assert_int_equal(sign(nd_strncmp(a, b, n)), sign(strncmp(a, b, n)));
        assert_ptr_equal(nd_strchr(a, c), strchr(a, c));
        assert_ptr_equal(nd_strstr(a, needle), strstr(a, needle));
    }
}

/* Both printf on the same arguments, in buffers of every size from 0 on; the format is not a
 * literal, on purpose. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
static void compare_printf(const char *fmt, ...)
{
    static const size_t sizes[] = {0, 1, 2, 5, 16, BUF};
    char got[BUF], want[BUF];

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        va_list ap;
        int n, m;

        memset(got, GUARD, BUF);
        memset(want, GUARD, BUF);
        va_start(ap, fmt);
        n = nd_vsnprintf(got, sizes[i], fmt, ap);
        va_end(ap);
        va_start(ap, fmt);
        m = vsnprintf(want, sizes[i], fmt, ap);
        va_end(ap);
        if (n != m || memcmp(got, want, sizes[i]) != 0) {
            fail_msg("format '%s' size %zu: got %d '%s', expected %d '%s'", fmt, sizes[i], n,
                     sizes[i] ? got : "", m, sizes[i] ? want : "");
        }
        if (sizes[i] < BUF) {
            assert_int_equal((unsigned char)got[sizes[i]], GUARD);
        }
    }
}

/* Every set of flags, with widths and precisions, for every conversion and size. */
static void test_printf_numbers(void **state)
{
    static const char *const lengths[] = {"hh", "h", "", "l", "ll", "z"};
    static const char *const widths[] = {"", "1", "9", "25"};
    static const char *const precisions[] = {"", ".", ".0", ".3", ".22"};
    static const uint64_t values[] = {0,
                                      1,
                                      9,
                                      10,
                                      127,
                                      128,
                                      255,
                                      0x7fff,
                                      0x8000,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x7fffffffffffffff,
                                      0x8000000000000000,
                                      0xffffffffffffffff,
                                      0x123456789abcdef};
    unsigned conversions = 0;

    for (unsigned flags = 0; flags < 32; flags++) {
        for (const char *conv = "diuxX"; *conv; conv++) {
            for (unsigned k = 0;
                 k < ARRAY_SIZE(lengths) * ARRAY_SIZE(widths) * ARRAY_SIZE(precisions); k++) {
                const char *length = lengths[k % ARRAY_SIZE(lengths)];
                uint64_t value = values[(k + flags + (unsigned)*conv) % ARRAY_SIZE(values)];
                char fmt[40];

                snprintf(fmt, sizeof(fmt), "<%%%s%s%s%s%s%s%s%s%c>", flags & 1 ? "-" : "",
                         flags & 2 ? "0" : "", flags & 4 ? "+" : "", flags & 8 ? " " : "",
                         flags & 16 ? "#" : "",
                         widths[k / ARRAY_SIZE(lengths) % ARRAY_SIZE(widths)],
                         precisions[k / (ARRAY_SIZE(lengths) * ARRAY_SIZE(widths))], length, *conv);
                compare_printf(fmt, value);
                conversions++;
            }
        }
    }
    assert_int_equal(conversions, 32 * 5 * 6 * 4 * 5);
}

static void test_printf_text(void **state)
{
    compare_printf("plain, no conversion");
    compare_printf("%s|%10s|%-10s|%.2s|%10.3s|%.*s|%*s|%-*s|", "abc", "abc", "abc", "abc", "abcdef",
                   4, "abcdef", 7, "x", 7, "y");
    compare_printf("%*s|%.*s|%*d", -6, "neg", -1, "all", -5, 42);
    compare_printf("%c%5c%-5c|%%|100%%", 'x', 'y', 'z');
    compare_printf("%p %20p %-20p| %p", (void *)0x1234, (void *)0xffff800000000000, (void *)1,
                   NULL);
    compare_printf("%s%s%s", "", "", "");
    compare_printf("%5d%%%-5u%#x %d", -3, 7u, 0xbeefu, 1);
}

static void test_snprintf(void **state)
{
    const char *volatile unknown = "a%yb", *volatile text = "%s",
                         *volatile null = NULL; /* not for the compiler to judge */
    char buf[8];

    assert_int_equal(nd_snprintf(buf, sizeof(buf), "%s=%lu", "stat", 12345ul), 10);
    assert_string_equal(buf, "stat=12");
    assert_int_equal(nd_snprintf(buf, sizeof(buf), text, null), 6);
    assert_string_equal(buf, "(null)");
    assert_int_equal(nd_snprintf(buf, sizeof(buf), unknown), 4); /* stays visible */
    assert_string_equal(buf, "a%yb");
}

static void test_log_parse(void **state)
{
    uint32_t mask = 1;

    assert_int_equal(log_parse("", &mask), 0);
    assert_int_equal(mask, 0);
    assert_int_equal(log_parse("smc,tb", &mask), 0);
    assert_int_equal(mask, LOG_SMC | LOG_TB);
    assert_int_equal(log_parse("exec,int,mmu,io,cpu,boot,asm", &mask), 0);
    assert_int_equal(mask, LOG_EXEC | LOG_INT | LOG_MMU | LOG_IO | LOG_CPU | LOG_BOOT | LOG_ASM);
    assert_int_equal(log_parse("smc, io", &mask), 0);
    assert_int_equal(mask, LOG_SMC | LOG_IO);
    assert_int_equal(log_parse(" smc , io\t,\ttb ", &mask), 0);
    assert_int_equal(mask, LOG_SMC | LOG_IO | LOG_TB);
    assert_int_equal(log_parse("all", &mask), 0);
    assert_true((mask & LOG_ASM) && (mask & LOG_TB));
}

static void test_log_parse_errors(void **state)
{
    static const char *const bad[] = {"smcx", "sm", "tb,",    ",tb", "tb,,smc",
                                      "tb, ", "TB", "tb smc", ","};
    uint32_t mask = 0x1234;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(log_parse(bad[i], &mask), -EINVAL);
        assert_int_equal(mask, 0x1234); /* left alone */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memcpy_memset),    cmocka_unit_test(test_memmove),
        cmocka_unit_test(test_memcmp),           cmocka_unit_test(test_strings),
        cmocka_unit_test(test_printf_numbers),   cmocka_unit_test(test_printf_text),
        cmocka_unit_test(test_snprintf),         cmocka_unit_test(test_log_parse),
        cmocka_unit_test(test_log_parse_errors),
    };

    srand(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
