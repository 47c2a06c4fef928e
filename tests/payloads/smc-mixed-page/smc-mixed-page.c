/* SPDX-License-Identifier: MIT */
/*
 * Rule: data that lies on a page of code may be written at any rate, by any code, and neither is harmed; code on a stack
 * page in use runs right (SMC cases 12, 61, 66).
 */
#include "tests/payloads/lib/smc.h"

/* `functions` functions on a page, and a counter that a loop on another page increments. */
static void counter_beside(unsigned functions)
{
    uint64_t n = cmdline_number("stores=", 20000);
    uint8_t *page = page_alloc();
    volatile uint64_t *counter = (volatile uint64_t *)(page + 4088);

    for (uint32_t i = 0; i < functions; i++) {
        emit_return(page + i * 8, i);
        CHECK_EQ(call(page + i * 8, 0, 0), i);
    }
    smc_guard(page + 2048);
    smc_stores(functions * 3 + n);
    for (uint64_t i = 0; i < n; i++) {
        ++*counter;
    }
    CHECK_EQ(*counter, n);
    for (uint32_t i = 0; i < functions; i++) {
        CHECK_EQ(call(page + i * 8, 0, 0), i);
    }
}

static void few_blocks(void)
{
    counter_beside(1);
}

static void many_blocks(void)
{
    counter_beside(200);
}

/* 1: addq $1, data(%rip); dec %rdi; jnz 1b: the loop's own page holds the counter. */
static void own_page(void)
{
    uint64_t n = cmdline_number("stores=", 20000);
    uint8_t *page = page_alloc();
    uint8_t *p = EMIT(page, 0x48, 0x83, 0x05);

    p = emit32(p, 2048 - 8);
    p = EMIT(p, 1, 0x48, 0xff, 0xcf, 0x75, 0xf3);
    *p = INSN_RET;
    smc_guard(page + 1024);
    smc_stores(n);
    call(page, n, 0);
    CHECK_EQ(*(uint64_t *)(page + 2048), n);
}

/* All forms of data store on the loop's page, flags and registers checked through a checksum. */
static void own_page_forms(void)
{
    uint8_t *page = page_alloc();
    uint8_t *p = page;

    /* mov %rdi,%rcx; xor %eax,%eax; 1: lock xadd %rax, D; add %ecx, D+8; adc; xchg; inc; sets; loop 1b */
    p = EMIT(p, 0x48, 0x89, 0xf9, 0x31, 0xc0);
    uint8_t *loop = p;

    p = EMIT(p, 0xf0, 0x48, 0x0f, 0xc1, 0x86, 0, 0, 0, 0); /* lock xadd %rax, (%rsi) */
    p = EMIT(p, 0x01, 0x4e, 8);                            /* add %ecx, 8(%rsi) */
    p = EMIT(p, 0x48, 0x11, 0x46, 16);                     /* adc %rax, 16(%rsi) */
    p = EMIT(p, 0x48, 0x87, 0x46, 24);                     /* xchg %rax, 24(%rsi) */
    p = EMIT(p, 0x48, 0xff, 0xc0);                         /* inc %rax */
    p = EMIT(p, 0x0f, 0x98, 0x46, 32);                     /* sets 32(%rsi) */
    p = EMIT(p, 0xe2, (uint8_t)(loop - (p + 2)));          /* loop */
    *p = INSN_RET;
    uint8_t *elsewhere = page_alloc();

    smc_guard(page + 1024);
    smc_stores(5000 * 5);
    CHECK_EQ(call(page, 5000, (uint64_t)page + 2048), call(page, 5000, (uint64_t)elsewhere));
    CHECK_EQ(memcmp(page + 2048, elsewhere, 64), 0);
    checksum_print("own-page-forms", checksum_add(CHECKSUM_INIT, elsewhere, 64));
}

/* A function on the stack page: the stack is used all the time, the function is rewritten now and then. */
static void code_on_stack(void)
{
    volatile uint64_t sum = 0;

    smc_unbounded(); /* every push of the compiled code is a store to this page */

    for (uint32_t v = 0; v < 200; v++) {
        uint8_t code[32] __attribute__((aligned(16)));

        emit_return(code, v);
        for (unsigned i = 0; i < 20; i++) {
            sum += call(code, 0, 0);
        }
    }
    CHECK_EQ(sum, 20 * 199 * 200 / 2);
}

/* Stores that move over the page: data first, then hits, then data. */
static void sweep(void)
{
    uint8_t *page = page_alloc();

    for (unsigned round = 0; round < 20; round++) {
        smc_stores(3 + 250 + 261);
        emit_return(page + 2000, round);
        CHECK_EQ(call(page + 2000, 0, 0), round);
        for (unsigned i = 0; i < 2000; i += 8) {
            *(volatile uint64_t *)(page + i) = i;
        }
        CHECK_EQ(call(page + 2000, 0, 0), round);
        for (unsigned i = 2008; i < 4096; i += 8) {
            *(volatile uint64_t *)(page + i) = i;
        }
        CHECK_EQ(call(page + 2000, 0, 0), round);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"few-blocks", few_blocks},         {"many-blocks", many_blocks},
        {"own-page", own_page},             {"own-page-forms", own_page_forms},
        {"code-on-stack", code_on_stack},   {"sweep", sweep},
    };
    return run_smc_cases("smc-mixed-page", cases, ARRAY_SIZE(cases));
}
