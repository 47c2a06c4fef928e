/* SPDX-License-Identifier: MIT */
/*
 * String functions for bare metal; host programs use the C library's. Bulk work is done in 8-byte
 * units, also because byte-wise stores into pages that hold code are eight times as slow when the
 * machine is itself emulated.
 */
#include "kernel/lib/string.h"

#include "kernel/lib/types.h"

/* An 8-byte access at any address, aliasing anything. */
struct word {
    uint64_t v;
} __attribute__((packed, may_alias));

#define WORD 8u
/* From here on the start-up cost of rep movsq is worth it. */
#define REP_MIN 256u

static void copy_forward(unsigned char *d, const unsigned char *s, size_t n)
{
    if (n >= REP_MIN) {
        size_t words = n / WORD;

        __asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
        n %= WORD;
    }
    for (; n >= WORD; n -= WORD, d += WORD, s += WORD) {
        ((struct word *)d)->v = ((const struct word *)s)->v;
    }
    while (n--) {
        *d++ = *s++;
    }
}

static void copy_backward(unsigned char *d, const unsigned char *s, size_t n)
{
    for (; n >= WORD; n -= WORD) {
        ((struct word *)(d + n - WORD))->v = ((const struct word *)(s + n - WORD))->v;
    }
    while (n--) {
        d[n] = s[n];
    }
}

void *memcpy(void *dst, const void *src, size_t n)
{
    copy_forward(dst, src, n);
    return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
    /* Forward is right unless dst lies inside [src, src + n). */
    if ((uintptr_t)dst - (uintptr_t)src >= n) {
        copy_forward(dst, src, n);
    } else {
        copy_backward(dst, src, n);
    }
    return dst;
}

void *memset(void *dst, int c, size_t n)
{
    unsigned char *d = dst;
    uint64_t pattern = (unsigned char)c * 0x0101010101010101ull;

    if (n >= REP_MIN) {
        size_t words = n / WORD;

        __asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
        n %= WORD;
    }
    for (; n >= WORD; n -= WORD, d += WORD) {
        ((struct word *)d)->v = pattern;
    }
    while (n--) {
        *d++ = (unsigned char)c;
    }
    return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p = a, *q = b;

    while (n >= WORD && ((const struct word *)p)->v == ((const struct word *)q)->v) {
        p += WORD;
        q += WORD;
        n -= WORD;
    }
    for (; n; n--, p++, q++) {
        if (*p != *q) {
            return *p < *q ? -1 : 1;
        }
    }
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while (s[n]) {
        n++;
    }
    return n;
}

size_t strnlen(const char *s, size_t max)
{
    size_t n = 0;

    while (n < max && s[n]) {
        n++;
    }
    return n;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
    while (n && *a && *a == *b) {
        a++;
        b++;
        n--;
    }
    return n ? (unsigned char)*a - (unsigned char)*b : 0;
}

char *strchr(const char *s, int c)
{
    for (;; s++) {
        if (*s == (char)c) {
            return (char *)s;
        }
        if (!*s) {
            return NULL;
        }
    }
}

char *strstr(const char *s, const char *needle)
{
    size_t n = strlen(needle);

    for (;; s++) {
        if (strncmp(s, needle, n) == 0) {
            return (char *)s;
        }
        if (!*s) {
            return NULL;
        }
    }
}
