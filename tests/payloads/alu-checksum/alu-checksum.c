/* SPDX-License-Identifier: MIT */
/*
 * Rule: integer instructions compute what they compute: random blocks, checksummed over all registers, flags and memory.
 * The expected sums are those of another engine (run.py compares); that a block gives the same twice is checked here.
 * `seed=`, `blocks=` choose the sequence.
 */
#include "tests/payloads/lib/random-code.h"

#include "tests/payloads/lib/page.h"

#define INSNS 40

static uint8_t *data;

static uint64_t run_once(const struct random_regs *start, const uint8_t *code, uint64_t data_seed)
{
    struct random_regs regs = *start;
    struct rng rng = {data_seed};
    uint64_t sum;

    for (unsigned i = 0; i < RANDOM_DATA_SIZE / 8; i++) {
        ((uint64_t *)data)[i] = rng_next(&rng);
    }
    random_run(&regs, code);
    regs.gpr[15] = 0;
    regs.rflags &= FLAGS_ARITH | FLAG_DF;
    sum = checksum_add(CHECKSUM_INIT, &regs, sizeof(regs));
    return checksum_add(sum, data, 1024); /* a part, for speed */
}

/* A run of the whole buffer is folded 8 bytes at a time. */
static uint64_t fold_data(uint64_t sum)
{
    for (unsigned i = 0; i < RANDOM_DATA_SIZE / 8; i++) {
        sum = (sum ^ ((uint64_t *)data)[i]) * 0x100000001b3ull;
    }
    return sum;
}

static uint64_t run_blocks(uint64_t seed, unsigned blocks)
{
    struct rng rng = {seed * 2 + 1};
    uint64_t sum = CHECKSUM_INIT;

    for (unsigned b = 0; b < blocks; b++) {
        static uint8_t code[8][INSNS * RANDOM_INSN_MAX]; /* a few places, so that blocks are also replaced */
        uint8_t *p = code[b % 8];
        struct random_regs regs;
        uint64_t data_seed = rng_next(&rng) | 1;

        for (unsigned i = 0; i < INSNS; i++) {
            p = random_insn(&rng, p, data);
        }
        *p = 0xc3;
        random_regs_init(&regs, &rng, data);
        uint64_t first = run_once(&regs, code[b % 8], data_seed);

        CHECK_EQ(run_once(&regs, code[b % 8], data_seed), first);
        sum = fold_data(checksum_u64(sum, first));
    }
    return sum;
}

static void random_blocks(void)
{
    uint64_t seed = cmdline_number("seed=", 1);
    unsigned blocks = (unsigned)cmdline_number("blocks=", 40);

    for (unsigned i = 0; i < 10; i++) {
        char name[] = "alu-0";

        name[4] = (char)('0' + i);
        checksum_print(name, run_blocks(seed * 10 + i, blocks));
    }
}

/* Every ALU operation on values at the edges of each size, with every carry in, written by the compiler's assembler. */
#define EDGE(op, suffix, type)                                                                     \
    static uint64_t edge_##op##suffix(uint64_t sum, uint64_t a, uint64_t b, uint64_t flags)        \
    {                                                                                              \
        type x = (type)a;                                                                          \
                                                                                                   \
        __asm__ volatile("push %1; popfq; " #op #suffix " %2, %0; pushfq; pop %1"                  \
                         : "+r"(x), "+r"(flags)                                                    \
                         : "r"((type)b)                                                            \
                         : "cc", "memory");                                                        \
        return checksum_u64(checksum_u64(sum, x), flags & FLAGS_ARITH);                            \
    }
#define EDGES(op) EDGE(op, b, uint8_t) EDGE(op, w, uint16_t) EDGE(op, l, uint32_t) EDGE(op, q, uint64_t)
EDGES(add)
EDGES(adc)
EDGES(sub)
EDGES(sbb)
EDGES(cmp)
EDGES(and)
EDGES(or)
EDGES(xor)

static void edges(void)
{
    typedef uint64_t edge_fn(uint64_t sum, uint64_t a, uint64_t b, uint64_t flags);
#define ROW(op) edge_##op##b, edge_##op##w, edge_##op##l, edge_##op##q
    static edge_fn *const fns[] = {ROW(add), ROW(adc), ROW(sub), ROW(sbb),
                                   ROW(cmp), ROW(and), ROW(or),  ROW(xor)};
#undef ROW
    static const uint64_t values[] = {0,      1,      0x7f,       0x80,       0xff,
                                      0x7fff, 0x8000, 0xffff,     0x7fffffff, 0x80000000,
                                      0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~0ull};
    uint64_t sum = CHECKSUM_INIT;

    for (size_t f = 0; f < ARRAY_SIZE(fns); f++) {
        for (size_t a = 0; a < ARRAY_SIZE(values); a++) {
            for (size_t b = 0; b < ARRAY_SIZE(values); b++) {
                sum = fns[f](sum, values[a], values[b], FLAG_FIXED);
                sum = fns[f](sum, values[a], values[b], FLAG_FIXED | FLAGS_ARITH);
            }
        }
    }
    checksum_print("edges", sum);
}

int main(void)
{
    static const struct test_case cases[] = {{"edges", edges}, {"random-blocks", random_blocks}};

    data = pages_alloc(RANDOM_DATA_SIZE / 4096);
    return run_cases("alu-checksum", cases, ARRAY_SIZE(cases));
}
