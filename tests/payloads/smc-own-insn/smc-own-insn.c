/* SPDX-License-Identifier: MIT */
/*
 * Rule: an instruction that stores to itself completes as it was, and is the new one when it is executed again; no
 * livelock however often that happens (SMC cases 4, 5, 39).
 */
#include "tests/payloads/lib/smc.h"

/* 1: incb 1b(%rip) turns its opcode FE into FF; the second pass is incl on the same bytes. */
static void own_opcode(void)
{
    uint8_t *code = page_alloc();
    uint8_t *p = EMIT(code, 0xb9, 2, 0, 0, 0, 0xfe, 0x05); /* mov $2, %ecx; 1: */

    p = emit32(p, (uint32_t)-6);
    p = EMIT(p, 0xff, 0xc9, 0x75, 0xf6, INSN_RET); /* dec %ecx; jnz 1b */
    call(code, 0, 0);
    CHECK_EQ(code[5], 0x00); /* FE+1 = FF, then dword 05FF+1 = 0600 */
    CHECK_EQ(code[6], 0x06);
    CHECK_EQ(code[7], 0xfa);
}

/* addb $1, own-immediate: doubles at every execution. */
static void own_immediate(void)
{
    for (unsigned n = 1; n <= 7; n++) {
        uint8_t *code = page_alloc();
        uint8_t *p = EMIT(code, 0x89, 0xf9, 0x80, 0x05); /* mov %edi, %ecx; 1: addb */

        p = emit32(p, (uint32_t)-1);
        p = EMIT(p, 1, 0xff, 0xc9, 0x75, 0xf5, INSN_RET);
        call(code, n, 0);
        CHECK_EQ(code[8], (1u << n) & 0xff);
    }
}

/* 1: mov $0, %eax; inc %eax; mov %eax, 1b+1(%rip); cmp %edi, %eax; jb 1b: a counter that lives in an immediate. */
static void counter_in_immediate(void)
{
    uint64_t n = cmdline_number("iterations=", 20000);
    uint8_t *code = page_alloc();
    uint8_t *p = EMIT(code, INSN_MOV_EAX, 0, 0, 0, 0, 0xff, 0xc0, 0x89, 0x05);

    p = emit32(p, (uint32_t)-12);
    p = EMIT(p, 0x39, 0xf8, 0x72, 0xef, INSN_RET);
    CHECK_EQ(call(code, n, 0), n);
    uint32_t imm;

    memcpy(&imm, code + 1, 4);
    CHECK_EQ(imm, n);
}

/* Store into the instruction before, the own and the next one with one 16-byte store of the bytes that belong there. */
static void rewrite_around(void)
{
    uint8_t *code = page_alloc();
    /* mov %rdi, (%rsi); mov %rdx, 8(%rsi); mov $0x11, %eax; ret; the stores rewrite themselves and patch the immediate. */
    static const uint8_t text[16] = {0x48, 0x89, 0x3e, 0x48, 0x89, 0x56, 0x08, INSN_MOV_EAX,
                                     0x11, 0, 0, 0, INSN_RET, 0x90, 0x90, 0x90};
    uint64_t half[2];

    memcpy(code, text, 16);
    memcpy(half, text, 16);
    for (uint64_t v = 0; v < 100; v++) {
        half[1] = (half[1] & ~0xffull) | v;
        CHECK_EQ(((code_fn *)(uint64_t)code)(half[0], (uint64_t)code, half[1], 0), v);
    }
}

/* Code runs; the page is data for a while; then other code: each phase sees its own bytes. */
static void page_reused(void)
{
    uint8_t *code = page_alloc();

    for (unsigned round = 1; round < 8; round++) {
        for (unsigned i = 0; i < 64; i++) {
            uint8_t *p = EMIT(code + i * 64, INSN_MOV_EAX);

            p = emit32(p, round * 1000 + i);
            *p = INSN_RET;
        }
        for (unsigned i = 0; i < 64; i++) {
            CHECK_EQ(call(code + i * 64, 0, 0), round * 1000 + i);
        }
        volatile uint64_t *data = (volatile uint64_t *)code;

        for (unsigned i = 0; i < 512; i++) {
            data[i] = i * round;
        }
        uint64_t sum = 0;

        for (unsigned i = 0; i < 512; i++) {
            sum += data[i];
        }
        CHECK_EQ(sum, 511ull * 512 / 2 * round);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"own-opcode", own_opcode},
        {"own-immediate", own_immediate},
        {"counter-in-immediate", counter_in_immediate},
        {"rewrite-around", rewrite_around},
        {"page-reused", page_reused},
    };
    return run_cases("smc-own-insn", cases, ARRAY_SIZE(cases));
}
