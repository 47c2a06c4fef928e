/* SPDX-License-Identifier: MIT */
/*
 * Rule: code and stores that straddle a page boundary: the new bytes are executed whichever page was written, and a store
 * beside the code of a page lands in memory (SMC cases 8, 9, 10, 12).
 */
#include "tests/payloads/lib/smc.h"

/* mov %rdi, (%rsi); jmp *%rdx; the store and the jump to the target are one block. */
static uint8_t *make_store8_jump(void)
{
    uint8_t *code = page_alloc();

    EMIT(code, 0x48, 0x89, 0x3e, 0xff, 0xe2);
    return code;
}

/* Target `mov $imm, %eax; ret` at the start of page 2; an 8-byte store from 4 bytes before rewrites its first 4 bytes. */
static void store_straddles(void)
{
    uint8_t *writer = make_store8_jump();

    for (unsigned before = 1; before < 8; before++) {
        uint8_t *code = pages_alloc(2);
        uint8_t *target = code + 4096;

        EMIT(target, INSN_MOV_EAX, 0x11, 0, 0, 0, INSN_RET, INSN_NOP, INSN_NOP);
        CHECK_EQ(call(target, 0, 0), 0x11);
        for (uint64_t v = 0x20; v < 0x40; v++) {
            uint64_t image;
            uint8_t bytes[16] = {0};

            memset(bytes, (int)v, before);
            memcpy(bytes + before, target, 8);
            if (before < 7) {
                bytes[before + 1] = (uint8_t)v;
            }
            memcpy(&image, bytes, 8);
            ((code_fn *)(uint64_t)writer)(image, (uint64_t)(target - before), (uint64_t)target, 0);
            CHECK_EQ(call(target, 0, 0), before < 7 ? v : 0x11);
            CHECK_EQ(target[-1], v);
        }
    }
}

/* nop; mov $imm32, %eax; ret with `first` bytes of the mov on page 1; every byte of the immediate is patched in turn. */
static void insn_straddles(void)
{
    for (unsigned first = 1; first <= 5; first++) {
        uint8_t *code = pages_alloc(2);
        uint8_t *insn = code + 4096 - first;

        EMIT(insn - 1, INSN_NOP, INSN_MOV_EAX, 0x11, 0x11, 0x11, 0x11, INSN_RET);
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned byte = 0; byte < 4; byte++) {
                uint32_t expected;

                CHECK_EQ(call(insn - 1, 0, 0), call(insn, 0, 0));
                *(volatile uint8_t *)(insn + 1 + byte) = (uint8_t)(0x20 * round + byte);
                memcpy(&expected, insn + 1, 4);
                CHECK_EQ(call(insn - 1, 0, 0), expected);
                CHECK_EQ(call(insn, 0, 0), expected);
            }
        }
    }
}

/* 40 instructions over two pages, `inc %eax` each: replaced one by one by a 2-byte nop, on both pages. */
static void block_spans_pages(void)
{
    uint8_t *code = pages_alloc(2);
    uint8_t *start = code + 4096 - 41;
    uint8_t *p = EMIT(start, 0x31, 0xc0);

    for (unsigned i = 0; i < 40; i++) {
        p = EMIT(p, 0xff, 0xc0);
    }
    *p = INSN_RET;
    CHECK_EQ(call(start, 0, 0), 40);
    for (unsigned i = 0; i < 40; i++) {
        unsigned k = i * 27 % 40;

        *(volatile uint16_t *)(start + 2 + 2 * k) = 0x9066;
        CHECK_EQ(call(start, 0, 0), 39 - i);
    }
}

/* First and last bytes of a code page; the bytes just before and after the code. */
static void page_bounds(void)
{
    uint8_t *code = pages_alloc(3);
    uint8_t *page = code + 4096;
    volatile uint8_t *v = page;

    EMIT(page, INSN_MOV_EAX, 0x11, 0, 0, 0, INSN_RET);
    EMIT(page + 4090, INSN_MOV_EAX, 0x12, 0, 0, 0, INSN_RET);
    for (unsigned i = 1; i < 50; i++) {
        CHECK_EQ(call(page, 0, 0), 0x11);
        CHECK_EQ(call(page + 4090, 0, 0), 0x12);
        v[-1] = (uint8_t)i; /* other pages, and between the two functions: no code there */
        v[4096] = (uint8_t)i;
        v[6] = (uint8_t)i;
        v[4089] = (uint8_t)i;
        CHECK_EQ(v[-1] + v[4096] + v[6] + v[4089], 4 * i);
    }
    v[0] = INSN_RET;
    register uint64_t rax __asm__("rax") = 77;

    __asm__ volatile("call *%1" : "+r"(rax) : "r"(page) : "memory");
    CHECK_EQ(rax, 77); /* the new first byte is a bare ret */
    v[4095] = INSN_NOP;
    v[4096] = INSN_RET;
    CHECK_EQ(call(page + 4090, 0, 0), 0x12); /* runs over the boundary now */
    v[4096] = 0x40; /* REX; the next byte completes `inc %eax` */
    EMIT(page + 4097, 0xff, 0xc0, INSN_RET);
    CHECK_EQ(call(page + 4090, 0, 0), 0x13);
}

/* A block that starts on page 1 falls into page 2 by a branch: page 2 is patched, page 1 jumps. */
static void branch_into_page(void)
{
    uint8_t *code = pages_alloc(2);
    uint8_t *p = EMIT(code, 0xe9);

    emit32(p, 4096 - 5);
    EMIT(code + 4096, INSN_MOV_EAX, 0, 0, 0, 0, INSN_RET);
    for (unsigned i = 0; i < 300; i++) {
        *(volatile uint32_t *)(code + 4097) = i;
        CHECK_EQ(call(code, 0, 0), i);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"store-straddles", store_straddles},     {"insn-straddles", insn_straddles},
        {"block-spans-pages", block_spans_pages}, {"page-bounds", page_bounds},
        {"branch-into-page", branch_into_page},
    };
    return run_cases("smc-page-edge", cases, ARRAY_SIZE(cases));
}
