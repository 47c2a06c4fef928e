/* SPDX-License-Identifier: MIT */
/*
 * Rule: when the code cache is full and is emptied, everything goes on: pages that held code stay writable, code written
 * before the flush runs, code rewritten after it is seen (SMC cases 56, 57). `functions=` says how many
 * functions are made; the runner sees from nd-stat that a flush happened.
 */
#include "tests/payloads/lib/smc.h"

#define PAGES 128
#define SLOT 64
#define PER_PAGE (4096 / SLOT)
#define BRANCHES 20 /* each ends a block, and takes much more room translated than its two bytes */

/* mov $v, %eax; cmp $v, %eax; BRANCHES x jne to the next instruction; add $1, %eax; ret */
static void emit_function(uint8_t *p, uint32_t v)
{
    p = EMIT(p, INSN_MOV_EAX);
    p = emit32(p, v);
    p = EMIT(p, 0x3d);
    p = emit32(p, v);
    for (unsigned i = 0; i < BRANCHES; i++) {
        p = EMIT(p, 0x75, 0);
    }
    EMIT(p, 0x83, 0xc0, 1, INSN_RET);
}

/* A page of functions that return first + 1, first + 2, ..., made elsewhere and copied at once. */
static void fill_page(uint8_t *page, uint32_t first)
{
    static uint8_t image[4096];

    for (uint32_t i = 0; i < PER_PAGE; i++) {
        emit_function(image + i * SLOT, first + i);
    }
    memcpy(page, image, sizeof(image));
}

static void overflow(void)
{
    uint32_t n = (uint32_t)cmdline_number("functions=", 4000);
    uint8_t *code = pages_alloc(PAGES);
    uint8_t *survivor = page_alloc();

    emit_function(survivor, 1000000);
    for (uint32_t first = 0; first < n; first += PER_PAGE) {
        uint8_t *page = code + first / PER_PAGE % PAGES * 4096;

        fill_page(page, first);
        smc_stores(1);
        for (uint32_t i = 0; i < PER_PAGE; i++) {
            CHECK_EQ(call(page + i * SLOT, 0, 0), first + i + 1);
        }
        CHECK_EQ(call(survivor, 0, 0), 1000001);
    }
    smc_stores((PAGES + 1) * (BRANCHES + 8ull));
    emit_function(survivor, 2000000);
    CHECK_EQ(call(survivor, 0, 0), 2000001);
    /* The pages as data: every store must get through, and then code again. */
    for (size_t i = 0; i < PAGES; i++) {
        volatile uint64_t *d = (volatile uint64_t *)(code + i * 4096 + 64);

        *d = i;
        CHECK_EQ(*d, i);
        emit_function(code + i * 4096, (uint32_t)i * 3);
        CHECK_EQ(call(code + i * 4096, 0, 0), i * 3 + 1);
    }
}

/* An SMC loop that itself fills the cache: every pass makes new translations of the same bytes. */
static void loop_fills_cache(void)
{
    uint64_t n = cmdline_number("functions=", 4000);
    uint8_t *code = page_alloc();
    uint64_t sum = 0;

    emit_function(code, 0);
    for (uint64_t i = 0; i < n; i++) {
        *(volatile uint32_t *)(code + 1) = (uint32_t)i;
        *(volatile uint32_t *)(code + 6) = (uint32_t)i;
        sum += call(code, 0, 0);
    }
    CHECK_EQ(sum, n * (n + 1) / 2);
    smc_stores(2 * n);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"overflow", overflow},
        {"loop-fills-cache", loop_fills_cache},
    };
    return run_smc_cases("smc-flush", cases, ARRAY_SIZE(cases));
}
