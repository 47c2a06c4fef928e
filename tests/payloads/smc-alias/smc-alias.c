/* SPDX-License-Identifier: MIT */
/*
 * Rule: what counts is the physical page: a store through any mapping of a code page, made before or after the code was
 * translated, is seen after a jump (SMC cases 31-35, 11). So it is if one page has two physical addresses (case 44).
 */
#include "tests/payloads/lib/smc.h"

#define RX   0x0000700000000000ull
#define RW   0x0000700000400000ull
#define HIGH 0xffffffff81000000ull

static uint8_t *make_function(void)
{
    uint8_t *code = page_alloc();

    emit_return(code, 0x11);
    smc_guard(code + SMC_FREE);
    return code;
}

static void patch_through(uint64_t write_va, uint64_t run_va)
{
    volatile uint32_t *imm = (volatile uint32_t *)(write_va + 1);

    smc_stores(199);
    for (uint32_t v = 1; v < 200; v++) {
        *imm = v;
        CHECK_EQ(call((void *)run_va, 0, 0), v);
        CHECK_EQ(call((void *)run_va, 0, 0), v);
    }
}

/* Both mappings exist before the code runs. */
static void two_mappings(void)
{
    uint8_t *code = make_function();

    page_map(RX, (uint64_t)code, PTE_P);
    page_map(RW, (uint64_t)code, PTE_P | PTE_W | PTE_NX);
    CHECK_EQ(call((void *)RX, 0, 0), 0x11);
    patch_through(RW, RX);
    patch_through((uint64_t)code, RX);
    patch_through(RW, (uint64_t)code);
}

/* The writable mapping is made after the code was translated. */
static void mapped_later(void)
{
    uint8_t *code = make_function();

    page_map(RX, (uint64_t)code, PTE_P);
    CHECK_EQ(call((void *)RX, 0, 0), 0x11);
    page_map(RW + 4096, (uint64_t)code, PTE_P | PTE_W);
    patch_through(RW + 4096, RX);
}

/* The alias was written while there was no code, so it is cached writable when the code is translated. */
static void written_before(void)
{
    uint8_t *code = page_alloc();

    page_map(RW, (uint64_t)code, PTE_P | PTE_W);
    page_map(RX, (uint64_t)code, PTE_P);
    for (uint32_t v = 1; v < 100; v++) {
        emit_return((uint8_t *)RW, v);
        smc_stores(3);
        CHECK_EQ(call((void *)RX, 0, 0), v);
    }
}

/* Code at a kernel address, written through the identity map; both ways round. */
static void high_and_identity(void)
{
    uint8_t *code = make_function();

    page_map(HIGH, (uint64_t)code, PTE_P | PTE_W);
    patch_through((uint64_t)code, HIGH);
    patch_through(HIGH, (uint64_t)code);
    patch_through(HIGH, HIGH);
}

/* Two pages of addresses, one page of memory: an instruction that straddles them has both its parts there. */
static void straddles_itself(void)
{
    uint8_t *page = page_alloc();

    page_map(RX, (uint64_t)page, PTE_P | PTE_W);
    page_map(RX + 4096, (uint64_t)page, PTE_P | PTE_W);
    EMIT(page + 4094, INSN_MOV_EAX, 0x11);
    EMIT(page, 0, 0, 0, INSN_RET);
    for (uint32_t v = 1; v < 60; v++) {
        page[0] = (uint8_t)v;
        CHECK_EQ(call((void *)(RX + 4094), 0, 0), v << 8 | 0x11);
        *(volatile uint8_t *)(RX + 4096) = (uint8_t)(v + 1);
        CHECK_EQ(call((void *)(RX + 4094), 0, 0), (v + 1) << 8 | 0x11);
        *(volatile uint8_t *)(RX + 1) = (uint8_t)v;
        CHECK_EQ(call((void *)(RX + 4094), 0, 0), v << 16 | (v + 1) << 8 | 0x11);
        *(volatile uint8_t *)(RX + 1) = 0;
        smc_stores(4);
    }
}

/* Code inside a 2 MiB page: patched, with data stores elsewhere in the large page. */
static void large_page(void)
{
    uint8_t *chunk = pages_alloc(1024);
    uint8_t *base = (uint8_t *)ALIGN_UP((uint64_t)chunk, 0x200000);
    uint64_t va = HIGH + 0x40000000ull / 4;

    *page_entry(va, 2) = (uint64_t)base | PTE_P | PTE_W | PTE_PS;
    tlb_flush_all();
    uint8_t *code = (uint8_t *)va + 0x5000;
    uint8_t *p = EMIT(code, INSN_MOV_EAX);

    p = emit32(p, 0);
    *p = INSN_RET;
    smc_stores(100); /* not those to the rest of the large page */
    for (uint32_t v = 0; v < 100; v++) {
        *(volatile uint32_t *)(code + 1) = v;
        *(volatile uint32_t *)(va + 0x6000 + v * 4096) = v;
        CHECK_EQ(call(code, 0, 0), v);
        CHECK_EQ(*(volatile uint32_t *)(base + 0x6000 + v * 4096), v);
    }
    *page_entry(va, 2) = 0;
    tlb_flush_all();
}

/* Two functions of one page run at different addresses: each patch is seen at every address. */
static void many_addresses(void)
{
    uint8_t *code = make_function();
    enum { N = 16 };

    for (uint64_t i = 0; i < N; i++) {
        page_map(RX + i * 0x200000, (uint64_t)code, PTE_P | PTE_W);
    }
    smc_stores(64);
    for (uint32_t v = 0; v < 64; v++) {
        *(volatile uint32_t *)(RX + v % N * 0x200000 + 1) = v;
        for (uint64_t i = 0; i < N; i++) {
            CHECK_EQ(call((void *)(RX + i * 0x200000), 0, 0), v);
        }
    }
}

/* The writer stores through one mapping and falls into the code at another with no jump between (case 32). */
static void no_jump_between(void)
{
    for (unsigned distance = 0; distance <= 64; distance += 8) {
        uint8_t *code = page_alloc();
        /* mov %dil, 1(%rsi, %rdx): the immediate below, through the alias; nops; mov $0x11, %eax; ret */
        uint8_t *p = EMIT(code, 0x40, 0x88, 0x7c, 0x16, 0x01);

        page_map(RX, (uint64_t)code, PTE_P);
        page_map(RW, (uint64_t)code, PTE_P | PTE_W | PTE_NX);
        for (unsigned i = 0; i < distance; i++) {
            *p++ = INSN_NOP;
        }
        emit_return(p, 0x11);
        for (uint64_t v = 0; v < 30; v++) {
            CHECK_EQ(((code_fn *)RX)(v, RW, (uint64_t)(p - code), 0), v);
        }
        smc_stores(30);
    }
}

/* Both gates: either holds bit 20 of the address open. */
static void a20_gate(bool open)
{
    uint8_t port92 = inb(0x92);

    outb(0x64, 0xd1); /* the keyboard controller's output port: no reset */
    outb(0x60, open ? 0xdf : 0xdd);
    outb(0x92, (uint8_t)((port92 & ~3) | (open ? 2 : 0)));
}

/*
 * While A20 is closed the second MiB of every two is the first once more: code there is the first one's code, and a store through
 * either address reaches it. This payload's own memory, up to here, lies in the first half of two. The two addresses are in one large
 * page of the identity map.
 */
static void a20_alias(void)
{
    uint8_t *low = (uint8_t *)0x4003000, *high = low + 0x100000;
    volatile uint64_t *data = (volatile uint64_t *)0x4400000; /* a large page without code */

    CHECK((uint64_t)page_alloc() < 0x1100000);
    data[0] = 1;
    data[0x100000 / 8] = 2;
    smc_guard(low + SMC_FREE);
    emit_return(low, 0x11);
    emit_return(high, 0x77);
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        volatile uint32_t *low_imm = (volatile uint32_t *)(low + 1), *high_imm = (volatile uint32_t *)(high + 1);

        for (unsigned i = 0; i < (heat == COLD ? 0 : heat == WARM ? 1 : 20); i++) {
            CHECK_EQ(call(low, 0, 0), *low_imm);
            CHECK_EQ(call(high, 0, 0), 0x77);
        }
        a20_gate(false);
        if (*high_imm == 0x77 && !counters_present()) {
            printf("  this machine has no A20 gate\n");
            a20_gate(true);
            return;
        }
        CHECK_EQ(*high_imm, *low_imm);
        CHECK_EQ(data[0x100000 / 8], data[0]);
        data[0x100000 / 8]++;
        smc_stores(2 * 50);
        for (uint32_t v = 100; v < 150; v++) {
            *high_imm = v;
            CHECK_EQ(call(low, 0, 0), v);
            CHECK_EQ(call(high, 0, 0), v);
            *low_imm = v + 100;
            CHECK_EQ(call(high, 0, 0), v + 100);
            CHECK_EQ(call(low, 0, 0), v + 100);
        }
        a20_gate(true);
        CHECK_EQ(call(low, 0, 0), 249);
        CHECK_EQ(call(high, 0, 0), 0x77);
        CHECK_EQ(data[0], 2u + heat);
        CHECK_EQ(data[0x100000 / 8], 2);
        smc_stores(1);
        *high_imm = 0x77; /* and a write with the gate open stays on its side */
        CHECK_EQ(call(low, 0, 0), 249);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"a20-alias", a20_alias}, /* first: little memory is in use */
        {"two-mappings", two_mappings},     {"mapped-later", mapped_later},
        {"written-before", written_before}, {"high-and-identity", high_and_identity},
        {"straddles-itself", straddles_itself}, {"large-page", large_page},
        {"many-addresses", many_addresses}, {"no-jump-between", no_jump_between},
    };
    paging_init();
    return run_smc_cases("smc-alias", cases, ARRAY_SIZE(cases));
}
