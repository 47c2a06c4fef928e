/* SPDX-License-Identifier: MIT */
/*
 * Workloads: pure computations with no library, no system call and no device, so that the very same objects run as a bare
 * payload (any engine in QEMU), as guest code of the hosted build, and in a Linux program (native and under qemu-x86_64).
 */
#ifndef TESTS_BENCH_WORK_H
#define TESTS_BENCH_WORK_H

#include <stdint.h>

struct work {
    const char *name;
    uint64_t (*run)(uint64_t n); /* returns a checksum of n, the same in every engine */
    uint32_t n;                  /* about 2 ms of a 2.5 GHz CPU: less than what a busy computer gives in one go */
    uint32_t small;              /* for machines where every instruction is counted or emulated twice */
    uint32_t avx;                /* needs AVX2 */
};

/* Ends with a row whose name is 0. */
extern const struct work works[];

uint64_t work_list(uint64_t n);
uint64_t work_matrix(uint64_t n);
uint64_t work_crc(uint64_t n);
uint64_t work_state(uint64_t n);
uint64_t work_nbody(uint64_t n);
uint64_t work_mandel(uint64_t n);
uint64_t work_fib(uint64_t n);
uint64_t work_tree(uint64_t n);
uint64_t work_interp(uint64_t n);
uint64_t work_icall(uint64_t n);
uint64_t work_sort(uint64_t n);
uint64_t work_string(uint64_t n);
uint64_t work_rep(uint64_t n);
uint64_t work_sse(uint64_t n);
uint64_t work_avx(uint64_t n);

static inline uint32_t work_random(uint32_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 17;
    *s ^= *s << 5;
    return *s;
}

static inline uint64_t work_mix(uint64_t sum, uint64_t v)
{
    return (sum ^ v) * 0x100000001b3ull;
}

#endif
