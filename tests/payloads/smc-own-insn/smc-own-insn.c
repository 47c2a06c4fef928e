/* SPDX-License-Identifier: MIT */
/*
 * Rule: an instruction that stores to itself completes as it was, and is the new one when it is executed again; no
 * livelock however often that happens (SMC cases 4, 5, 39).
 */
#include "tests/payloads/lib/smc.h"

/* 1: incb 1b(%rip) turns its opcode FE into FF; the second pass is incl on the same bytes. */
static uint8_t *make_opcode(uint8_t *page)
{
    uint8_t *p = EMIT(page, 0xb9, 2, 0, 0, 0, 0xfe, 0x05); /* mov $2, %ecx; 1: */

    p = emit32(p, (uint32_t)-6);
    EMIT(p, 0xff, 0xc9, 0x75, 0xf6, INSN_RET); /* dec %ecx; jnz 1b */
    return page;
}

static unsigned check_opcode(const struct smc_code *c, uint64_t value)
{
    run_code(c, 0, 0);
    CHECK_EQ(c->code[5], 0x00); /* FE+1 = FF, then dword 05FF+1 = 0600 */
    CHECK_EQ(c->code[6], 0x06);
    CHECK_EQ(c->code[7], 0xfa);
    return 2;
}

static void own_opcode(void)
{
    each_heat_restored(make_opcode, check_opcode);
}

/* addb $1, own-immediate: doubles at every execution. */
static uint8_t *make_immediate(uint8_t *page)
{
    uint8_t *p = EMIT(page, 0x89, 0xf9, 0x80, 0x05); /* mov %edi, %ecx; 1: addb */

    p = emit32(p, (uint32_t)-1);
    EMIT(p, 1, 0xff, 0xc9, 0x75, 0xf5, INSN_RET);
    return page;
}

static unsigned check_immediate(const struct smc_code *c, uint64_t value)
{
    unsigned n = 1 + (unsigned)value % 7;

    run_code(c, n, 0);
    CHECK_EQ(c->code[8], (1u << n) & 0xff);
    return n;
}

static void own_immediate(void)
{
    each_heat_restored(make_immediate, check_immediate);
}

/* 1: mov $0, %eax; inc %eax; mov %eax, 1b+1(%rip); cmp %edi, %eax; jb 1b: a counter that lives in an immediate. */
static uint8_t *make_counter(uint8_t *page)
{
    uint8_t *p = EMIT(page, INSN_MOV_EAX, 0, 0, 0, 0, 0xff, 0xc0, 0x89, 0x05);

    p = emit32(p, (uint32_t)-12);
    EMIT(p, 0x39, 0xf8, 0x72, 0xef, INSN_RET);
    return page;
}

static unsigned count_in_immediate(const struct smc_code *c, uint32_t n)
{
    uint32_t imm;

    CHECK_EQ(run_code(c, n, 0), n);
    memcpy(&imm, c->code + 1, 4);
    CHECK_EQ(imm, n);
    return n;
}

static unsigned check_counter(const struct smc_code *c, uint64_t value)
{
    return count_in_immediate(c, (uint32_t)value + 1);
}

static void counter_in_immediate(void)
{
    uint32_t n = (uint32_t)cmdline_number("iterations=", 20000);
    struct smc_code c = {.code = page_alloc()};

    c.entry = make_counter(c.code);
    smc_stores(count_in_immediate(&c, n));
    each_heat_restored(make_counter, check_counter);
}

/*
 * mov %rdi, (%rsi); mov %rdx, 8(%rsi); mov $0x11, %eax; ret: the stores rewrite themselves with the same bytes, and the
 * immediate that comes next.
 */
static uint8_t *make_around(uint8_t *page)
{
    emit_return(EMIT(page, 0x48, 0x89, 0x3e, 0x48, 0x89, 0x56, 0x08), 0x11);
    EMIT(page + 13, 0x90, 0x90, 0x90);
    return page;
}

static unsigned check_around(const struct smc_code *c, uint64_t value)
{
    uint64_t half[2];

    memcpy(half, c->code, 16);
    half[1] = (half[1] & ~0xffull) | value;
    CHECK_EQ(((code_fn *)(uint64_t)c->entry)(half[0], (uint64_t)c->code, half[1], 0), value);
    return 2;
}

static void rewrite_around(void)
{
    each_heat(make_around, check_around);
}

/*
 * DynamoRIO's shape: one block with many stores, each of which patches the next instruction: 24 times
 * `mov %dil, 1f+1(%rip); 1: mov $imm, %cl; add %cl, %al`. With dl = 0 it goes on, with each pass.
 */
#define STEPS 24
static uint8_t *make_many(uint8_t *page)
{
    uint8_t *p = EMIT(page, 0x31, 0xc0);

    for (unsigned i = 0; i < STEPS; i++) {
        p = EMIT(p, 0x40, 0x88, 0x3d, 1, 0, 0, 0, 0xb1, 0, 0x00, 0xc8);
    }
    *p = INSN_RET;
    return page;
}

static unsigned check_many(const struct smc_code *c, uint64_t value)
{
    CHECK_EQ(run_code(c, value, 0), (value * STEPS) & 0xff);
    return STEPS;
}

static void many_in_block(void)
{
    each_heat(make_many, check_many);
}

/*
 * mov $2, %ecx; 1: mov %rdi, 1b(%rip); dec %ecx; jnz 1b; ret, where rdi holds the code of `mov %rsi, data(%rip)`: the second pass
 * stores another register to data on the same page. What executed the first pass alone must not execute the second.
 */
#define RETARGET_AT 5 /* offset of 1: */
static uint8_t *make_retarget(uint8_t *page)
{
    uint8_t *p = EMIT(page, 0xb9, 2, 0, 0, 0, 0x48, 0x89, 0x3d);

    p = emit32(p, (uint32_t)-7);
    EMIT(p, 0xff, 0xc9, 0x75, 0xf5, INSN_RET);
    return page;
}

static unsigned check_retarget(const struct smc_code *c, uint64_t value)
{
    uint8_t *data = c->code + 1024 + 8 * value;
    uint8_t insn[8];
    uint64_t new_insn, found;

    EMIT(emit32(EMIT(insn, 0x48, 0x89, 0x35), (uint32_t)(data - (c->code + RETARGET_AT + 7))), 0xff);
    memcpy(&new_insn, insn, 8);
    emit64(data, 0);
    run_code(c, new_insn, 0x1234567800 + value);
    memcpy(&found, data, 8);
    CHECK_EQ(found, 0x1234567800 + value);
    emit64(data, 0); /* what is restored ends before it */
    return 4;
}

static void retargets_itself(void)
{
    each_heat_restored(make_retarget, check_retarget);
}

/* Code runs; the page is data for a while; then other code: each phase sees its own bytes, and data takes no faults. */
static void page_reused(void)
{
    uint8_t *code = page_alloc();
    uint8_t *text = page_alloc();
    volatile uint64_t *data = (volatile uint64_t *)code;

    for (unsigned round = 1; round < 5; round++) {
        uint64_t sum = 0;

        for (unsigned i = 0; i < 64; i++) {
            emit_return(text + i * 64, round * 1000 + i);
        }
        memcpy(code, text, PAGE_SIZE);
        for (unsigned i = 0; i < 64; i++) {
            CHECK_EQ(call(code + i * 64, 0, 0), round * 1000 + i);
        }
        for (unsigned i = 0; i < 512; i++) {
            data[i] = i * round;
        }
        for (unsigned pass = 0; pass < 20; pass++) {
            for (unsigned i = 0; i < 512; i++) {
                data[i]++;
            }
        }
        for (unsigned i = 0; i < 512; i++) {
            sum += data[i];
        }
        CHECK_EQ(sum, 511ull * 512 / 2 * round + 20 * 512);
        smc_stores(1 + 63 * 64 / 8 + 1); /* the copy, and up to the last function: not the 10,240 that follow */
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"own-opcode", own_opcode},
        {"own-immediate", own_immediate},
        {"counter-in-immediate", counter_in_immediate},
        {"rewrite-around", rewrite_around},
        {"many-in-block", many_in_block},
        {"retargets-itself", retargets_itself},
        {"page-reused", page_reused},
    };
    return run_smc_cases("smc-own-insn", cases, ARRAY_SIZE(cases));
}
