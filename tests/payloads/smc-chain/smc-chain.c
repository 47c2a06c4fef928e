/* SPDX-License-Identifier: MIT */
/*
 * Rule: however blocks came to be linked (direct jumps, calls, returns, tables), a patched target or a patched jump takes
 * effect at its next execution (SMC cases 58, 59, 60, 65).
 */
#include "tests/payloads/lib/smc.h"

/* Many callers jump to one target; the target is replaced between calls. */
static void target_of_many(void)
{
    enum { CALLERS = 100 };
    uint8_t *target = page_alloc();
    uint8_t *callers = page_alloc();

    emit_return(target, 0);
    for (int i = 0; i < CALLERS; i++) {
        uint8_t *p = EMIT(callers + i * 16, 0xe9);

        emit32(p, (uint32_t)(target - (p + 4)));
    }
    for (uint32_t round = 0; round < 50; round++) {
        for (int i = 0; i < CALLERS; i++) {
            CHECK_EQ(call(callers + i * 16, 0, 0), round);
        }
        emit_return(target, round + 1);
        smc_stores(3);
    }
}

/* One jmp rel32 is switched between two targets. */
static void jump_switched(void)
{
    uint8_t *code = page_alloc();
    uint8_t *targets = page_alloc();
    uint64_t n = cmdline_number("switches=", 5000);

    emit_return(targets, 1);
    emit_return(targets + 64, 2);
    code[0] = 0xe9;
    for (uint64_t i = 0; i < n; i++) {
        emit32(code + 1, (uint32_t)(targets + (i & 1) * 64 - (code + 5)));
        CHECK_EQ(call(code, 0, 0), 1 + (i & 1));
    }
    smc_stores(n);
}

/* A calls B calls C; C patches A and B while they are on the stack: the return runs new bytes. */
static void patched_while_active(void)
{
    uint8_t *a = page_alloc();
    uint8_t *b = page_alloc();
    uint8_t *c = page_alloc();
    uint8_t *p;

    for (uint32_t v = 1; v < 100; v++) {
        p = EMIT(a, 0xe8); /* A: call B; add $1, %eax; ret */
        p = emit32(p, (uint32_t)(b - (p + 4)));
        EMIT(p, 0x83, 0xc0, 1, INSN_RET);
        p = EMIT(b, 0xe8); /* B: call C; add $1, %eax; ret */
        p = emit32(p, (uint32_t)(c - (p + 4)));
        EMIT(p, 0x83, 0xc0, 1, INSN_RET);
        p = EMIT(c, 0x40, 0x88, 0x3d); /* C: mov %dil, A+7; mov %dil, B+7; xor %eax, %eax; ret */
        p = emit32(p, (uint32_t)(a + 7 - (p + 4)));
        p = EMIT(p, 0x40, 0x88, 0x3d);
        p = emit32(p, (uint32_t)(b + 7 - (p + 4)));
        EMIT(p, 0x31, 0xc0, INSN_RET);
        CHECK_EQ(call(a, v, 0), 2 * v);
        CHECK_EQ(call(a, v + 1, 0), 2 * (v + 1));
        smc_stores(3 + 3 + 5 + 4);
    }
}

/* The callee replaces the very instruction it returns to, which shares a page and a block with the call. */
static void return_address_patched(void)
{
    uint8_t *code = page_alloc();

    for (uint32_t v = 0; v < 100; v++) {
        uint8_t *p = EMIT(code, 0xe8, 6, 0, 0, 0); /* call 1f; mov $imm, %eax; ret; 1: */

        p = emit_return(p, 0);
        p = EMIT(p, 0x48, 0x8b, 0x14, 0x24); /* mov (%rsp), %rdx */
        EMIT(p, 0x40, 0x88, 0x7a, 1, INSN_RET); /* mov %dil, 1(%rdx); ret */
        CHECK_EQ(call(code, v, 0), v);
        CHECK_EQ(call(code, v ^ 0x55, 0), v ^ 0x55);
        smc_stores(6 + 2);
    }
}

/* A cycle A -> B -> C -> A of direct jumps, counted down in A; C patches B in every round. */
static void cycle(void)
{
    uint8_t *code = page_alloc();
    uint8_t *a = code, *b = code + 0x400, *c = code + 0x800;
    uint8_t *p = EMIT(a, 0xff, 0xcf, 0x78, 5, 0xe9); /* A: dec %edi; js out; jmp B; out: ret */

    p = emit32(p, (uint32_t)(b - (p + 4)));
    *p = INSN_RET;
    p = EMIT(b, 0x83, 0xc0, 0, 0xe9); /* B: add $0, %eax; jmp C */
    emit32(p, (uint32_t)(c - (p + 4)));
    p = EMIT(c, 0xfe, 0x05); /* C: incb B+2; jmp A */
    p = emit32(p, (uint32_t)(b + 2 - (p + 4)));
    p = EMIT(p, 0xe9);
    emit32(p, (uint32_t)(a - (p + 4)));
    uint64_t rax = 0, rdi = 101;

    __asm__ volatile("call *%2" : "+a"(rax), "+D"(rdi) : "r"(a) : "memory", "cc");
    CHECK_EQ(rax, 100 * 101 / 2);
    smc_stores(101);
}

/* Functions appended to a page that is already executed, each called at once; then all again, overwritten. */
static void append_functions(void)
{
    enum { N = 4000 };
    uint8_t *code = pages_alloc(N * 8 / 4096 + 1);

    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < N; i++) {
            emit_return(code + i * 8, i + round);
            smc_stores(3);
            CHECK_EQ(call(code + i * 8, 0, 0), i + round);
            if (i) {
                CHECK_EQ(call(code + (i - 1) * 8, 0, 0), i - 1 + round);
            }
        }
    }
}

/* An indirect jump through a table whose target is patched; and a table entry that changes. */
static void through_table(void)
{
    uint8_t *code = page_alloc();
    const void *table[2] = {code, code + 64};

    for (uint32_t v = 0; v < 200; v++) {
        emit_return(code, v);
        emit_return(code + 64, v + 1000);
        CHECK_EQ(call(*(const void *volatile *)&table[0], 0, 0), v);
        CHECK_EQ(call(*(const void *volatile *)&table[1], 0, 0), v + 1000);
        const void *swap = table[0];

        table[0] = table[1];
        table[1] = swap;
        CHECK_EQ(call(*(const void *volatile *)&table[0], 0, 0), v + 1000);
        smc_stores(6);
        table[1] = table[0];
        table[0] = swap;
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"target-of-many", target_of_many},
        {"jump-switched", jump_switched},
        {"patched-while-active", patched_while_active},
        {"return-address-patched", return_address_patched},
        {"cycle", cycle},
        {"append-functions", append_functions},
        {"through-table", through_table},
    };
    return run_smc_cases("smc-chain", cases, ARRAY_SIZE(cases));
}
