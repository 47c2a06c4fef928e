/* SPDX-License-Identifier: MIT */
/*
 * Rule: a program that patches itself at random, with every kind of store, at every moment, computes the same in every
 * engine. A model in C knows what each function must return; `seed=`, `steps=` choose the sequence.
 */
#include "tests/payloads/lib/random-code.h"
#include "tests/payloads/lib/smc.h"
#include "tests/payloads/smc-random/smc-random.h"

#define PAGES 4
#define SLOT 32
#define SLOTS (PAGES * 4096 / SLOT)
#define IMM_OFF 1 /* of the immediate of `mov $imm32, %eax` */

/*
 * A slot: mov $imm32, %eax; [patch of another slot's immediate, in this block]; add $k, %eax; ret. The arena is one run of
 * slots; the one over each page boundary straddles it, because the arena starts SLOT/2 before a page.
 */
static uint8_t *arena;
static uint32_t imm[SLOTS];
static uint8_t add[SLOTS];

static uint8_t *slot(unsigned i)
{
    return arena + i * SLOT;
}

static void write_slot(unsigned i, uint32_t v, uint8_t k)
{
    uint8_t text[16];
    uint8_t *p = EMIT(text, INSN_MOV_EAX);

    p = emit32(p, v);
    p = EMIT(p, 0x83, 0xc0, k, INSN_RET);
    memcpy(slot(i), text, (size_t)(p - text));
    imm[i] = v;
    add[i] = k;
}

static uint32_t expected(unsigned i)
{
    return imm[i] + (uint32_t)(int8_t)add[i];
}

/* Store `v` into the immediate of slot i with the given kind of instruction; all of the 4 bytes unless said. */
static void patch(unsigned kind, unsigned i, uint32_t v)
{
    uint8_t *p = slot(i) + IMM_OFF;
    uint32_t old = imm[i];
    uint64_t saved_sp;

    switch (kind) {
    case 0:
        *(volatile uint8_t *)p = (uint8_t)v;
        imm[i] = (old & ~0xffu) | (v & 0xff);
        return;
    case 1:
        *(volatile uint16_t *)(p + 1) = (uint16_t)v;
        imm[i] = (old & 0xff0000ff) | (v & 0xffff) << 8;
        return;
    case 2:
        *(volatile uint32_t *)p = v;
        break;
    case 3:
        __asm__ volatile("xchg %0, (%1)" : "+r"(v) : "r"(p) : "memory");
        CHECK_EQ(v, old);
        v = *(volatile uint32_t *)p;
        break;
    case 4:
        __asm__ volatile("lock xadd %0, (%1)" : "+r"(v) : "r"(p) : "memory", "cc");
        CHECK_EQ(v, old);
        v = *(volatile uint32_t *)p;
        break;
    case 5:
        __asm__ volatile("lock cmpxchg %2, (%3)" : "=a"(old) : "0"(old), "r"(v), "r"(p) : "memory", "cc");
        CHECK_EQ(old, imm[i]);
        break;
    case 6: {
        uint64_t image;

        memcpy(&image, p, 8);
        image = (image & ~0xffffffffull) | v;
        __asm__ volatile("mov %%rsp, %0; lea 8(%1), %%rsp; push %2; mov %0, %%rsp"
                         : "=&r"(saved_sp)
                         : "r"(p), "r"(image)
                         : "memory");
        break;
    }
    case 7: {
        void *d = p;
        uint64_t n = 4;

        v = (v & 0xff) * 0x01010101u;
        __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(v) : "memory");
        break;
    }
    case 8:
        __asm__ volatile("addl %0, (%1)" : : "r"(v), "r"(p) : "memory", "cc");
        v += old;
        break;
    case 9:
        __asm__ volatile("movd %0, %%xmm0; movd %%xmm0, (%1)" : : "r"(v), "r"(p) : "memory");
        break;
    default:
        memcpy(p, &v, 4);
    }
    imm[i] = v;
}

/* Replace slot i by one that patches slot j when it is called, in the same block as its own instructions. */
static void write_patcher(unsigned i, unsigned j, uint32_t v, uint32_t patch_value)
{
    uint8_t text[SLOT];
    uint8_t *p = EMIT(text, INSN_MOV_EAX);

    p = emit32(p, v);
    p = EMIT(p, 0xc7, 0x05);
    p = emit32(p, (uint32_t)(slot(j) + IMM_OFF - (slot(i) + (p - text) + 8)));
    p = emit32(p, patch_value);
    p = EMIT(p, 0x83, 0xc0, 7, INSN_RET);
    memcpy(slot(i), text, (size_t)(p - text));
    imm[i] = v;
    add[i] = 7;
    CHECK_EQ(call(slot(i), 0, 0), v + 7);
    imm[j] = patch_value;
    write_slot(i, v, 7);
}

static void run_steps(uint64_t seed, unsigned steps)
{
    struct rng rng = {seed * 2 + 1};
    uint64_t sum = CHECKSUM_INIT;

    for (unsigned i = 0; i < SLOTS; i++) {
        write_slot(i, (uint32_t)rng_next(&rng), (uint8_t)rng_next(&rng));
    }
    for (unsigned s = 0; s < steps; s++) {
        unsigned base = rng_below(&rng, PAGES) * (4096 / SLOT);
        unsigned i = (base + rng_below(&rng, 20)) % SLOTS; /* few slots, so that many were executed before */
        uint32_t v = (uint32_t)rng_next(&rng);

        switch (rng_below(&rng, 8)) {
        case 0:
            write_slot(i, v, (uint8_t)rng_next(&rng));
            break;
        case 1:
            if (i + 1 < SLOTS) {
                write_patcher(i, i + 1, v, (uint32_t)rng_next(&rng));
            }
            break;
        default:
            patch(rng_below(&rng, 11), i, v);
        }
        for (unsigned n = rng_below(&rng, 4); n > 0; n--) {
            unsigned j = (base + rng_below(&rng, 20)) % SLOTS;

            sum = checksum_u64(sum, call(slot(j), 0, 0));
            CHECK_EQ(call(slot(j), 0, 0), expected(j));
        }
        CHECK_EQ(call(slot(i), 0, 0), expected(i));
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        CHECK_EQ(call(slot(i), 0, 0), expected(i));
    }
    checksum_print("smc-random", sum);
}

static void constants(void)
{
    uint8_t *pages = pages_alloc(PAGES + 1);

    arena = pages + 4096 - 3; /* a slot's immediate straddles each page boundary */
    unsigned steps = (unsigned)cmdline_number("steps=", 6000);

    smc_stores(SLOTS + 4ull * steps);
    run_steps(cmdline_number("seed=", 1), steps);
}

/* Random ALU code, of which single instructions are regenerated between runs; checksummed like alu-checksum. */
static void random_code(void)
{
    struct rng rng = {cmdline_number("seed=", 1) * 2 + 77};
    uint8_t *code = pages_alloc(2), *data = pages_alloc(2);
    uint8_t *at[64];
    uint64_t sum = CHECKSUM_INIT;
    enum { CELL = 64 };

    smc_stores(300 * 48); /* a third of them would do */
    for (unsigned round = 0; round < 300; round++) {
        struct random_regs regs;

        for (unsigned i = 0; i < 48; i++) { /* cells of 64 bytes: an instruction and a jump to the next cell */
            at[i] = code + 4096 - 24 * CELL + i * CELL;
            if (round == 0 || rng_below(&rng, 16) == 0) {
                uint8_t *p = random_insn(&rng, at[i], data);

                if (p - at[i] > CELL - 2) {
                    fatal("cell too small");
                }
                EMIT(p, 0xeb, (uint8_t)(at[i] + CELL - (p + 2)));
            }
        }
        *(code + 4096 + 24 * CELL) = INSN_RET;
        random_regs_init(&regs, &rng, data);
        random_run(&regs, at[0]);
        regs.gpr[15] = 0;
        regs.rflags &= FLAGS_ARITH;
        sum = checksum_add(sum, &regs, sizeof(regs));
    }
    checksum_print("smc-random-code", checksum_add(sum, data, RANDOM_DATA_SIZE));
}

int main(void)
{
    static const struct test_case cases[] = {{"constants", constants}, {"random-code", random_code}, {"mixed", mixed}};

    paging_init();
    fpu_enable();
    return run_smc_cases("smc-random", cases, ARRAY_SIZE(cases));
}
