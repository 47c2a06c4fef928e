/* SPDX-License-Identifier: MIT */
/* Work on bytes: loops as a C library without vector code has them, and the string instructions. */
#include "tests/bench/workloads/work.h"

#define BYTES 16384
static char text[BYTES + 16], copy[BYTES + 16];

static void fill(void)
{
    uint32_t seed = 17;

    for (unsigned i = 0; i < BYTES; i++) {
        text[i] = (char)('a' + work_random(&seed) % 26);
    }
    text[BYTES] = 0;
}

static __attribute__((noinline)) uint64_t length(const char *s)
{
    const char *p = s;

    while (*p) {
        p++;
    }
    return (uint64_t)(p - s);
}

static __attribute__((noinline)) const char *find(const char *s, char c)
{
    while (*s && *s != c) {
        s++;
    }
    return s;
}

static __attribute__((noinline)) int equal(const char *a, const char *b, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (a[i] != b[i]) {
            return 0;
        }
    }
    return 1;
}

uint64_t work_string(uint64_t n)
{
    uint64_t sum = 1;

    fill();
    for (unsigned i = 0; i <= BYTES; i++) {
        copy[i] = text[i];
    }
    for (uint64_t round = 0; round < n; round++) {
        unsigned at = (unsigned)(round * 37 % BYTES);

        sum = work_mix(sum, length(text + at));
        for (unsigned i = 0; i < 64; i++) {
            sum += (uint64_t)(find(text + at / 2, (char)('a' + i % 26)) - text);
        }
        sum += (uint64_t)equal(text, copy, BYTES);
    }
    return sum;
}

uint64_t work_rep(uint64_t n)
{
    uint64_t sum = 1;

    fill();
    for (uint64_t round = 0; round < n; round++) {
        const char *from = text;
        char *to = copy;
        uint64_t count = BYTES / 8;

        __asm__ volatile("rep movsq" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
        to = copy + round % 512;
        count = 256;
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(round) : "memory");
        to = copy;
        count = 2048;
        __asm__ volatile("repne scasb" : "+D"(to), "+c"(count) : "a"(0) : "memory", "cc");
        sum = work_mix(sum, count + (uint8_t)copy[round % BYTES]);
    }
    return sum;
}
