/* SPDX-License-Identifier: MIT */
/*
 * Rule: a store to the bytes of an instruction that follows in the same block is seen by that instruction, with no jump
 * between (SDM 3A 9.1.3 by linear address; SMC cases 1, 2, 3, 13).
 */
#include "tests/payloads/lib/smc.h"

static unsigned distance; /* bytes between store and target, for make_ahead */

/* movb %dil, target+1(%rip); nops; target: mov $0x11, %eax; ret */
static uint8_t *make_ahead(uint8_t *page)
{
    uint8_t *p = EMIT(page, 0x40, 0x88, 0x3d);

    p = emit32(p, distance + 1);
    for (unsigned i = 0; i < distance; i++) {
        *p++ = INSN_NOP;
    }
    emit_return(p, 0x11);
    return page;
}

static unsigned check_value(const struct smc_code *c, uint64_t value)
{
    CHECK_EQ(run_code(c, value, 0), value);
    return 1;
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

/* As make_ahead, at such a place that the store is the last instruction of its page and the target the first of the next. */
static uint8_t *make_across(uint8_t *page)
{
    uint8_t *code = page + PAGE_SIZE - 7;

    distance = 0;
    make_ahead(code);
    return code;
}

static void next_page(void)
{
    each_heat(make_across, check_value);
}

/* The branch goes to an instruction in the middle of what the store writes. */
static uint8_t *make_jump(uint8_t *page)
{
    uint8_t *p = EMIT(page, 0x40, 0x88, 0x3d);

    p = emit32(p, 2 + 3 + 1);
    p = EMIT(p, 0xeb, 3, INSN_RET, INSN_RET, INSN_RET); /* jmp over three bytes */
    emit_return(p, 0x11);
    return page;
}

static void next_after_jump(void)
{
    each_heat(make_jump, check_value);
}

/*
 * xor %eax, %eax; mov %edi, %ecx; 1: add $1, %eax; incb 1b+2(%rip); dec %ecx; jnz 1b; ret
 * adds 1, 2, 3, ...: the rest of the pass that stores is unaffected, the next pass sees the new byte.
 */
static uint8_t *make_behind(uint8_t *page)
{
    uint8_t *p = EMIT(page, 0x31, 0xc0, 0x89, 0xf9, 0x83, 0xc0, 0x01, 0xfe, 0x05);

    p = emit32(p, (uint32_t)-7);
    EMIT(p, 0xff, 0xc9, 0x75, 0xf3 /* to add */, INSN_RET);
    return page;
}

static unsigned check_behind(const struct smc_code *c, uint64_t value)
{
    unsigned n = 1 + (unsigned)value % 100;

    CHECK_EQ(run_code(c, n, 0), n * (n + 1) / 2);
    CHECK_EQ(c->code[6], n + 1);
    return n;
}

static void behind(void)
{
    each_heat_restored(make_behind, check_behind);
}

/* One block stores to two later instructions and to one that has passed. */
static uint8_t *make_several(uint8_t *page)
{
    uint8_t *p = EMIT(page, 0x90, 0x90, 0x40, 0x88, 0x3d); /* nop; nop; mov %dil, A+2 */

    p = emit32(p, 7 + 7 + 2 + 2);
    p = EMIT(p, 0x40, 0x88, 0x35); /* mov %sil, B+2 */
    p = emit32(p, 7 + 2 + 3 + 2);
    p = EMIT(p, 0xc6, 0x05); /* movb $0x90, code(%rip) */
    p = emit32(p, (uint32_t)-(2 + 7 + 7 + 7));
    p = EMIT(p, 0x90, 0x31, 0xc0); /* movb's imm; xor %eax, %eax */
    EMIT(p, 0x83, 0xc0, 1, 0x83, 0xc0, 1, INSN_RET); /* A: add $1; B: add $1 */
    return page;
}

static unsigned check_several(const struct smc_code *c, uint64_t value)
{
    CHECK_EQ(run_code(c, value & 0x3f, value / 2), (value & 0x3f) + value / 2);
    return 3;
}

static void several(void)
{
    each_heat(make_several, check_several);
}

/* A store of the bytes that are there already must change nothing. */
static unsigned check_same(const struct smc_code *c, uint64_t value)
{
    for (unsigned i = 0; i < 10; i++) {
        CHECK_EQ(run_code(c, 0x11, 0), 0x11);
    }
    return 10;
}

static void same_value(void)
{
    distance = 3;
    each_heat(make_ahead, check_same);
}

/* mov %edi, T+1(%rip); jmp 1f; 1: jmp 2f; 2: T: mov $0x11, %eax; ret: the patched block is another one, two jumps away. */
static uint8_t *make_other_block(uint8_t *page)
{
    uint8_t *p = EMIT(page, 0x89, 0x3d);

    p = emit32(p, 2 + 8 + 2 + 1);
    p = EMIT(p, 0xeb, 8);
    p += 8;
    p = EMIT(p, 0xeb, 0);
    emit_return(p, 0x11);
    return page;
}

static void other_block(void)
{
    each_heat(make_other_block, check_value);
}

/*
 * T: mov $0x11, %eax; cmp %edi, %eax; je out; mov %edi, T+1(%rip); jmp T; out: ret: goes back into the middle of its own block,
 * until the value is there.
 */
static uint8_t *make_back(uint8_t *page)
{
    uint8_t *p = EMIT(page, INSN_MOV_EAX);

    p = emit32(p, 0x55);
    p = EMIT(p, 0x39, 0xf8, 0x74, 0x08, 0x89, 0x3d);
    p = emit32(p, (uint32_t)-14);
    EMIT(p, 0xeb, 0xef, INSN_RET);
    return page;
}

static void jumps_back(void)
{
    each_heat(make_back, check_value);
}

/*
 * jmp into the middle of an instruction that was executed whole before: b8 | b0 ii c3 xx xx: as `mov $..., %eax` it falls to
 * ret, entered one byte later it is `mov $ii, %al; ret`. Both views are patched by one store.
 */
static uint8_t *make_middle(uint8_t *page)
{
    EMIT(page, INSN_MOV_EAX, 0xb0, 0x11, INSN_RET, 0, INSN_RET);
    return page;
}

static unsigned check_middle(const struct smc_code *c, uint64_t value)
{
    CHECK_EQ(run_code(c, 0, 0) & 0xff, 0xb0);
    CHECK_EQ(call(c->code + 1, 0, 0) & 0xff, c->code[2]);
    *(volatile uint8_t *)(c->code + 2) = (uint8_t)value;
    CHECK_EQ(run_code(c, 0, 0), 0x00c300b0 | value << 8);
    CHECK_EQ(call(c->code + 1, 0, 0) & 0xff, value);
    return 1;
}

static void into_the_middle(void)
{
    each_heat(make_middle, check_middle);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"next-insn", next_insn},
        {"ahead-1-to-128", ahead},
        {"next-page", next_page},
        {"next-after-jump", next_after_jump},
        {"behind", behind},
        {"several", several},
        {"same-value", same_value},
        {"other-block", other_block},
        {"jumps-back", jumps_back},
        {"into-the-middle", into_the_middle},
    };
    return run_smc_cases("smc-next-insn", cases, ARRAY_SIZE(cases));
}
