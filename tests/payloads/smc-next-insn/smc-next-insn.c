/* SPDX-License-Identifier: MIT */
/*
 * Rule: a store to the bytes of an instruction that follows in the same block is seen by that instruction, with no jump
 * between (SDM 3A 9.1.3 by linear address; SMC cases 1, 2, 3, 13).
 */
#include "tests/payloads/lib/smc.h"

static unsigned distance; /* bytes between store and target, for make_ahead */

/* movb %dil, target+1(%rip); nops; target: mov $0x11, %eax; ret */
static uint8_t *make_ahead(void)
{
    uint8_t *code = page_alloc();
    uint8_t *p = EMIT(code, 0x40, 0x88, 0x3d);

    p = emit32(p, distance + 1);
    for (unsigned i = 0; i < distance; i++) {
        *p++ = INSN_NOP;
    }
    p = EMIT(p, INSN_MOV_EAX);
    p = emit32(p, 0x11);
    *p = INSN_RET;
    return code;
}

static void check_value(uint8_t *code, uint64_t value)
{
    CHECK_EQ(call(code, value, 0), value);
}

static void next_insn(void)
{
    distance = 0;
    each_heat(make_ahead, check_value);
}

static void ahead(void)
{
    for (distance = 1; distance <= 128; distance += distance < 16 ? 1 : 14) {
        each_heat(make_ahead, check_value);
    }
}

/* The branch goes to an instruction in the middle of what the store writes. */
static uint8_t *make_jump(void)
{
    uint8_t *code = page_alloc();
    uint8_t *p = EMIT(code, 0x40, 0x88, 0x3d);

    p = emit32(p, 2 + 3 + 1);
    p = EMIT(p, 0xeb, 3, INSN_RET, INSN_RET, INSN_RET, INSN_MOV_EAX); /* jmp over three bytes */
    p = emit32(p, 0x11);
    *p = INSN_RET;
    return code;
}

static void next_after_jump(void)
{
    each_heat(make_jump, check_value);
}

/*
 * xor %eax, %eax; mov %edi, %ecx; 1: add $1, %eax; incb 1b+2(%rip); dec %ecx; jnz 1b; ret
 * adds 1, 2, 3, ...: the rest of the pass that stores is unaffected, the next pass sees the new byte.
 */
static void behind(void)
{
    for (unsigned n = 1; n <= 100; n += 11) {
        uint8_t *code = page_alloc();
        uint8_t *p = EMIT(code, 0x31, 0xc0, 0x89, 0xf9, 0x83, 0xc0, 0x01, 0xfe, 0x05);

        p = emit32(p, (uint32_t)-7);
        p = EMIT(p, 0xff, 0xc9, 0x75, 0xf3 /* to add */, INSN_RET);
        CHECK_EQ(call(code, n, 0), n * (n + 1) / 2);
        CHECK_EQ(code[6], n + 1);
    }
}

/* One block stores to two later instructions and to one that has passed. */
static void several(void)
{
    uint8_t *code = page_alloc();
    uint8_t *p = EMIT(code, 0x90, 0x90, 0x40, 0x88, 0x3d); /* nop; nop; mov %dil, A+2 */

    p = emit32(p, 7 + 7 + 2 + 2);
    p = EMIT(p, 0x40, 0x88, 0x35); /* mov %sil, B+2 */
    p = emit32(p, 7 + 2 + 3 + 2);
    p = EMIT(p, 0xc6, 0x05); /* movb $0x90, code(%rip) */
    p = emit32(p, (uint32_t)-(2 + 7 + 7 + 7));
    p = EMIT(p, 0x90, 0x31, 0xc0); /* movb's imm; xor %eax, %eax */
    p = EMIT(p, 0x83, 0xc0, 1, 0x83, 0xc0, 1, INSN_RET); /* A: add $1; B: add $1 */
    for (uint64_t i = 0; i < 50; i++) {
        CHECK_EQ(call(code, i, 2 * i), 3 * i);
    }
}

/* A store of the bytes that are there already must change nothing. */
static void same_value(void)
{
    distance = 3;
    uint8_t *code = make_ahead();

    for (unsigned i = 0; i < 100; i++) {
        CHECK_EQ(call(code, 0x11, 0), 0x11);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"next-insn", next_insn}, {"ahead-1-to-128", ahead}, {"next-after-jump", next_after_jump},
        {"behind", behind},       {"several", several},      {"same-value", same_value},
    };
    return run_cases("smc-next-insn", cases, ARRAY_SIZE(cases));
}
