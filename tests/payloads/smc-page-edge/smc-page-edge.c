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

/* Runs before the test proper: none, one, or enough for jumps to be linked. */
static unsigned runs_before(enum heat heat)
{
    return heat == COLD ? 0 : heat == WARM ? 1 : 20;
}

/* For HOT a page with a jump to `code`, else `code`. */
static const void *entry_to(const uint8_t *code, enum heat heat)
{
    if (heat == HOT) {
        uint8_t *far = page_alloc();

        emit_jmp(far, code);
        return far;
    }
    return code;
}

/* Target `mov $imm, %eax; ret` at the start of page 2; an 8-byte store from 1..7 bytes before rewrites its first bytes. */
static void store_straddles_at(unsigned before, enum heat heat)
{
    uint8_t *writer = make_store8_jump();
    uint8_t *code = pages_alloc(2);
    uint8_t *target = code + 4096;
    const void *entry = entry_to(target, heat);

    EMIT(target, INSN_MOV_EAX, 0x11, 0, 0, 0, INSN_RET, INSN_NOP, INSN_NOP);
    smc_guard(code + 0x800);
    smc_guard(target + 0x800);
    for (unsigned i = 0; i < runs_before(heat); i++) {
        CHECK_EQ(call(entry, 0, 0), 0x11);
    }
    for (uint64_t v = 0x20; v < 0x28; v++) {
        uint64_t image;
        uint8_t bytes[16] = {0};

        memset(bytes, (int)v, before);
        memcpy(bytes + before, target, 8);
        if (before < 7) {
            bytes[before + 1] = (uint8_t)v;
        }
        memcpy(&image, bytes, 8);
        smc_stores(1);
        CHECK_EQ(((code_fn *)(uint64_t)writer)(image, (uint64_t)(target - before), (uint64_t)entry, 0),
                 before < 7 ? v : 0x11);
        CHECK_EQ(call(target, 0, 0), before < 7 ? v : 0x11);
        CHECK_EQ(target[-1], v);
    }
    smc_check_guards();
}

static void store_straddles(void)
{
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        for (unsigned before = 1; before < 8; before++) {
            store_straddles_at(before, heat);
        }
    }
}

/* nop; mov $imm32, %eax; ret with `first` bytes of the mov on page 1; every byte of the immediate is patched in turn. */
static void insn_straddles_at(unsigned first, enum heat heat)
{
    uint8_t *code = pages_alloc(2);
    uint8_t *insn = code + 4096 - first;
    const void *entry = entry_to(insn - 1, heat);

    EMIT(insn - 1, INSN_NOP, INSN_MOV_EAX, 0x11, 0x11, 0x11, 0x11, INSN_RET);
    smc_guard(code + 0x800);
    smc_guard(code + 0x1800);
    for (unsigned i = 0; i < runs_before(heat); i++) {
        CHECK_EQ(call(entry, 0, 0), 0x11111111);
    }
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned byte = 0; byte < 4; byte++) {
            uint32_t expected;

            smc_stores(1);
            *(volatile uint8_t *)(insn + 1 + byte) = (uint8_t)(0x20 * round + byte);
            memcpy(&expected, insn + 1, 4);
            CHECK_EQ(call(entry, 0, 0), expected);
            CHECK_EQ(call(insn, 0, 0), expected);
        }
    }
    smc_check_guards();
}

static void insn_straddles(void)
{
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        for (unsigned first = 1; first <= 5; first++) {
            insn_straddles_at(first, heat);
        }
    }
}

/* 40 instructions over two pages, `inc %eax` each: replaced one by one by a 2-byte nop, on both pages. */
static void block_spans_pages(void)
{
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        uint8_t *code = pages_alloc(2);
        uint8_t *start = code + 4096 - 41;
        uint8_t *p = EMIT(start, 0x31, 0xc0);
        const void *entry = entry_to(start, heat);

        for (unsigned i = 0; i < 40; i++) {
            p = EMIT(p, 0xff, 0xc0);
        }
        *p = INSN_RET;
        smc_guard(code + 0x800);
        smc_guard(code + 0x1800);
        for (unsigned i = 0; i < runs_before(heat); i++) {
            CHECK_EQ(call(entry, 0, 0), 40);
        }
        for (unsigned i = 0; i < 40; i++) {
            unsigned k = i * 27 % 40;

            smc_stores(1);
            *(volatile uint16_t *)(start + 2 + 2 * k) = 0x9066;
            CHECK_EQ(call(entry, 0, 0), 39 - i);
        }
        smc_check_guards();
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
    smc_guard(page + 7);
    smc_guard(page + 4089 - SMC_GUARD_SIZE);
    for (unsigned i = 1; i < 50; i++) {
        CHECK_EQ(call(page, 0, 0), 0x11);
        CHECK_EQ(call(page + 4090, 0, 0), 0x12);
        v[-1] = (uint8_t)i; /* other pages, and between the functions: no code there */
        v[4096] = (uint8_t)i;
        v[6] = (uint8_t)i;
        v[4089] = (uint8_t)i;
        *(volatile uint32_t *)(page + 2000) = 4 * i;
        CHECK_EQ(v[-1] + v[4096] + v[6] + v[4089] + *(volatile uint32_t *)(page + 2000), 8 * i);
    }
    smc_stores(3 * 49); /* the other two pages have no code */
    smc_check_guards();
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
    smc_stores(5);
}

/* The blocks on either side of a patched byte, with not a byte between, survive: `mov $n, %al; ret` packed back to back. */
static void neighbours_survive(void)
{
    uint8_t *page = page_alloc();
    uint8_t *target = page + SMC_GUARD_SIZE;

    /* A guard's last function ends one byte before its end: the target begins there. */
    emit_return(target - 1, 0x11);
    smc_guard(page);
    smc_guard(target + 5);
    for (uint32_t v = 0; v < 8; v++) {
        CHECK_EQ(call(target - 1, 0, 0), v ? v : 0x11);
        *(volatile uint32_t *)target = v + 1;
        CHECK_EQ(call(target - 1, 0, 0), v + 1);
        EMIT(target - 1, INSN_MOV_EAX);
        *(volatile uint8_t *)(target + 4) = INSN_RET;
        CHECK_EQ(call(target - 1, 0, 0), v + 1);
        smc_stores(3);
    }
    smc_check_guards();
}

/* A block that starts on page 1 falls into page 2 by a branch: page 2 is patched, page 1 jumps. */
static void branch_into_page(void)
{
    uint8_t *code = pages_alloc(2);

    emit_jmp(code, code + 4096);
    emit_return(code + 4096, 0);
    for (unsigned i = 0; i < 300; i++) {
        *(volatile uint32_t *)(code + 4097) = i;
        CHECK_EQ(call(code, 0, 0), i);
    }
    smc_stores(300);
}

/* The instruction's last byte is the last of its page, and is patched; the next page, which is not mapped, is not touched. */
static uint8_t *make_last_byte(uint8_t *page)
{
    EMIT(page + 4096 - 2, 0xb0, 0x11); /* mov $0x11, %al */
    EMIT(page + 4096, 0x0f, 0xb6, 0xc0, INSN_RET);
    return page + 4096 - 2;
}

static unsigned check_last_byte(const struct smc_code *c, uint64_t value)
{
    *(volatile uint8_t *)(c->code + 1) = (uint8_t)value;
    CHECK_EQ(run_code(c, 0, 0), value);
    return 1;
}

static void last_byte(void)
{
    each_heat(make_last_byte, check_last_byte);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"store-straddles", store_straddles},     {"insn-straddles", insn_straddles},
        {"block-spans-pages", block_spans_pages}, {"page-bounds", page_bounds},
        {"neighbours-survive", neighbours_survive},
        {"branch-into-page", branch_into_page},   {"last-byte", last_byte},
    };
    return run_smc_cases("smc-page-edge", cases, ARRAY_SIZE(cases));
}
