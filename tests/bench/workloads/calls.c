/* SPDX-License-Identifier: MIT */
/* Work that is mostly calls, returns and indirect branches: what a translator that keeps the guest's stack must look up. */
#include "tests/bench/workloads/work.h"

static __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls"))) uint64_t fib(uint64_t n)
{
    __asm__ volatile(""); /* keeps both calls */
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

uint64_t work_fib(uint64_t n)
{
    return fib(n);
}

/* ---- a tree of calls whose shape is random: returns that no history predicts well ---- */
static uint32_t tree_seed;
static uint64_t tree_sum;

static void tree_a(unsigned depth);
static void tree_b(unsigned depth);
static void tree_c(unsigned depth);

static __attribute__((noinline)) void tree_a(unsigned depth)
{
    uint32_t r = work_random(&tree_seed);

    tree_sum += r & 0xff;
    if (depth) {
        r & 1 ? tree_b(depth - 1) : tree_c(depth - 1);
        tree_sum ^= depth;
        r & 2 ? tree_a(depth - 1) : tree_b(depth - 1);
        tree_sum += r & 3;
    }
}

static __attribute__((noinline)) void tree_b(unsigned depth)
{
    uint32_t r = work_random(&tree_seed);

    tree_sum += r & 0xfff;
    if (depth) {
        r & 1 ? tree_c(depth - 1) : tree_a(depth - 1);
        tree_sum += r & 7;
    }
}

static __attribute__((noinline)) void tree_c(unsigned depth)
{
    uint32_t r = work_random(&tree_seed);

    if (depth > 1) {
        r & 4 ? tree_a(depth - 2) : tree_b(depth - 2);
        tree_sum ^= r;
        r & 8 ? tree_c(depth - 2) : tree_a(depth - 2);
        tree_sum += 3;
    }
}

uint64_t work_tree(uint64_t n)
{
    tree_seed = 2463534242u;
    tree_sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        tree_a(14);
    }
    return tree_sum;
}

/* ---- an interpreter: a register machine, one computed goto for each byte code ---- */
enum op { OP_ADD, OP_SUB, OP_XOR, OP_SHR, OP_MUL, OP_LOAD, OP_STORE, OP_JNZ, OP_DEC, OP_END };

uint64_t work_interp(uint64_t n)
{
    static const uint8_t program[] = {
        /* op, destination, source */
        OP_LOAD, 1, 0, OP_ADD, 2, 1, OP_XOR, 3, 2, OP_SHR, 3, 7, OP_MUL, 2, 3, OP_STORE, 2, 0, OP_SUB, 4, 2,
        OP_ADD, 4, 3, OP_LOAD, 5, 2, OP_XOR, 4, 5, OP_DEC, 0, 0, OP_JNZ, 0, 0, OP_END, 0, 0};
    static const void *const labels[] = {&&l_add, &&l_sub, &&l_xor,   &&l_shr, &&l_mul,
                                         &&l_load, &&l_store, &&l_jnz, &&l_dec, &&l_end};
    uint64_t reg[8] = {0}, memory[256] = {1, 2, 3}, sum = 1;
    const uint8_t *pc;

#define NEXT(len)                                                                                  \
    do {                                                                                           \
        pc += (len);                                                                               \
        goto *labels[*pc];                                                                         \
    } while (0)
    for (uint64_t round = 0; round < n; round++) {
        reg[0] = 100;
        pc = program;
        NEXT(0);
    l_add:
        reg[pc[1]] += reg[pc[2]];
        NEXT(3);
    l_sub:
        reg[pc[1]] -= reg[pc[2]];
        NEXT(3);
    l_xor:
        reg[pc[1]] ^= reg[pc[2]] + 0x9e3779b9;
        NEXT(3);
    l_shr:
        reg[pc[1]] ^= reg[pc[1]] >> pc[2];
        NEXT(3);
    l_mul:
        reg[pc[1]] *= reg[pc[2]] | 1;
        NEXT(3);
    l_load:
        reg[pc[1]] = memory[(uint8_t)reg[pc[2]]];
        NEXT(3);
    l_store:
        memory[(uint8_t)reg[pc[2]]] = reg[pc[1]];
        NEXT(3);
    l_dec:
        reg[pc[1]]--;
        NEXT(3);
    l_jnz:
        if (reg[pc[1]]) {
            pc = program;
            NEXT(0);
        }
        NEXT(3);
    l_end:
        sum = work_mix(sum, reg[4]);
    }
    return sum;
#undef NEXT
}

/* ---- calls through pointers, in random order ---- */
#define TARGET(n)                                                                                  \
    static __attribute__((noinline)) uint64_t target_##n(uint64_t v)                               \
    {                                                                                              \
        return (v ^ n) * (2 * n + 1) + (v >> (n + 1));                                             \
    }
TARGET(0) TARGET(1) TARGET(2) TARGET(3) TARGET(4) TARGET(5) TARGET(6) TARGET(7)
#undef TARGET

static uint64_t (*const volatile targets[8])(uint64_t) = {target_0, target_1, target_2, target_3,
                                                          target_4, target_5, target_6, target_7};

uint64_t work_icall(uint64_t n)
{
    uint32_t seed = 1;
    uint64_t v = 1;

    for (uint64_t i = 0; i < n * 1000; i++) {
        v = targets[work_random(&seed) & 7](v);
    }
    return v;
}

/* ---- quicksort with a comparison function ---- */
#define KEYS 2048
static uint32_t keys[KEYS];

static __attribute__((noinline)) int compare(const uint32_t *a, const uint32_t *b)
{
    return *a < *b ? -1 : *a > *b;
}
static int (*volatile comparison)(const uint32_t *, const uint32_t *) = compare;

static void quicksort(uint32_t *a, int64_t lo, int64_t hi)
{
    int (*cmp)(const uint32_t *, const uint32_t *) = comparison;

    while (lo < hi) {
        uint32_t pivot = a[(lo + hi) / 2];
        int64_t i = lo, j = hi;

        while (i <= j) {
            while (cmp(&a[i], &pivot) < 0) {
                i++;
            }
            while (cmp(&pivot, &a[j]) < 0) {
                j--;
            }
            if (i <= j) {
                uint32_t t = a[i];

                a[i++] = a[j];
                a[j--] = t;
            }
        }
        quicksort(a, lo, j);
        lo = i;
    }
}

uint64_t work_sort(uint64_t n)
{
    uint32_t seed = 555;
    uint64_t sum = 1;

    for (uint64_t round = 0; round < n; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            keys[i] = work_random(&seed);
        }
        quicksort(keys, 0, KEYS - 1);
        for (unsigned i = 0; i < KEYS; i += 16) {
            sum = work_mix(sum, keys[i]);
        }
    }
    return sum;
}
