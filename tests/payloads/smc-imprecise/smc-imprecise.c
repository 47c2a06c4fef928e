/* SPDX-License-Identifier: MIT */
/*
 * Rule: a store to the next instruction is seen by it (SMC case 1), unless the monitor runs with precise = off: then the block
 * that stores goes on as it was translated, and the next pass is the new code. Command line: expect=0 says that the old value
 * must be seen.
 */
#include "tests/payloads/lib/smc.h"

/* mov %dil, 1+next(%rip); next: mov $0x11, %eax; ret */
static uint8_t *make(void)
{
    uint8_t *code = page_alloc();
    uint8_t *p = EMIT(code, 0x40, 0x88, 0x3d);

    p = emit32(p, 1);
    p = EMIT(p, INSN_MOV_EAX);
    p = emit32(p, 0x11);
    *p = INSN_RET;
    return code;
}

static void next_insn(void)
{
    bool precise = cmdline_number("expect=", 1) != 0;

    for (unsigned i = 0; i < 50; i++) {
        uint8_t *code = make();

        CHECK_EQ(call(code, 0x22, 0), precise ? 0x22 : 0x11);
        CHECK_EQ(code[8], 0x22);
        CHECK_EQ(call(code, 0x22, 0), 0x22); /* the same value: nothing to be late for */
        CHECK_EQ(call(code, 0x33, 0), precise ? 0x33 : 0x22);
        CHECK_EQ(code[8], 0x33);
    }
}

/* A jump between store and patched instruction ends the block: the new value in any case. */
static void next_block(void)
{
    uint8_t *code = page_alloc();
    uint8_t *p = EMIT(code, 0x40, 0x88, 0x3d);

    p = emit32(p, 3);
    p = EMIT(p, 0xeb, 0, INSN_MOV_EAX);
    p = emit32(p, 0x11);
    *p = INSN_RET;
    for (unsigned i = 0; i < 50; i++) {
        CHECK_EQ(call(code, i, 0), i);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"next-insn", next_insn},
        {"next-block", next_block},
    };
    return run_cases("smc-imprecise", cases, ARRAY_SIZE(cases));
}
