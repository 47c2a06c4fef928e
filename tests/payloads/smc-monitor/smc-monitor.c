/* SPDX-License-Identifier: MIT */
/*
 * Rule: what the monitor's `mem` command writes into a running guest's code is executed at once, wherever the guest is
 * (SMC case 46). Each case waits, executing the code all the time, and says what is to be written:
 *     patch <address> = <bytes>
 * which tests/system/monitor_writes.py does by the monitor. Useless without somebody who does that.
 */
#include "tests/payloads/lib/smc.h"

/* Ask for bytes at p. */
static void ask(const uint8_t *p, const uint8_t *bytes, size_t n)
{
    printf("patch %#lx =", (uint64_t)p);
    for (size_t i = 0; i < n; i++) {
        printf(" %#x", bytes[i]);
    }
    printf("\n");
}
#define ASK(p, ...) ask((p), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* A function that is called again and again. */
static void function(void)
{
    uint8_t *page = page_alloc();

    smc_stores(8); /* making the code, beside the guard; not the writes of the monitor */
    smc_guard(page + 1024);
    emit_return(page, 0);
    CHECK_EQ(call(page, 0, 0), 0);
    ASK(page + 1, 0x78, 0x56, 0x34, 0x12);
    while (!call(page, 0, 0)) {
    }
    CHECK_EQ(call(page, 0, 0), 0x12345678);
}

/* 1: mov $0, %eax; test %eax, %eax; je 1b; ret: never leaves its own block. */
static void own_loop(void)
{
    uint8_t *page = page_alloc();
    uint8_t *p = emit32(EMIT(page, INSN_MOV_EAX), 0);

    smc_stores(8); /* making the code, beside the guard; not the writes of the monitor */
    smc_guard(page + 1024);
    EMIT(p, 0x85, 0xc0, 0x74, 0xf7, INSN_RET);
    ASK(page + 1, 0x21, 0x43);
    CHECK_EQ(call(page, 0, 0), 0x4321);
}

/* jmp . */
static void spin(void)
{
    uint8_t *page = page_alloc();

    smc_stores(8); /* making the code, beside the guard; not the writes of the monitor */
    EMIT(page, 0xeb, 0xfe, 0x89, 0xf8, INSN_RET); /* mov %edi, %eax */
    ASK(page, 0x90, 0x90);
    CHECK_EQ(call(page, 77, 0), 77);
}

/* An instruction over two pages, both of whose parts are written at once; and the jump to it is linked. */
static void over_pages(void)
{
    uint8_t *page = pages_alloc(2);
    uint8_t *code = page + PAGE_SIZE - 3;

    smc_stores(8); /* making the code, beside the guard; not the writes of the monitor */
    smc_guard(page + 1024);
    smc_guard(page + PAGE_SIZE + 1024);
    emit_return(code, 0);
    emit_jmp(page, code);
    ASK(code + 1, 0xef, 0xbe, 0xad, 0xde);
    while (!call(page, 0, 0)) {
    }
    CHECK_EQ(call(page, 0, 0), 0xdeadbeef);
}

/* Data beside code: seen, and the code beside it stays. */
static void data(void)
{
    uint8_t *page = page_alloc();
    volatile uint8_t *flag = page + 2000;

    smc_stores(8); /* making the code, beside the guard; not the writes of the monitor */
    smc_guard(page + 1024);
    smc_guard(page + 2001);
    ASK(page + 2000, 0x5a);
    while (!*flag) {
    }
    CHECK_EQ(*flag, 0x5a);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"function", function}, {"own-loop", own_loop}, {"spin", spin}, {"over-pages", over_pages}, {"data", data},
    };
    return run_smc_cases("smc-monitor", cases, ARRAY_SIZE(cases));
}
