/* SPDX-License-Identifier: MIT */
/*
 * Rule: what a device delivers into code is code: ins stores through the monitor, not through translated code, and the next
 * execution sees it, in the same block as well (SMC case 45, as far as the machine has devices that deliver).
 */
#include "tests/payloads/lib/smc.h"

#define UART_SCRATCH 0x3ff /* gives back the byte that was written */
#define PCI_ADDRESS  0xcf8 /* gives back the dword that was written */

/* mov %esi, %edx (port); lea T+1(%rip), %rdi; ins; T: mov $0x11, %eax; ret */
static uint8_t *make_ins(uint8_t *page, uint8_t opcode)
{
    uint8_t *p = EMIT(page, 0x89, 0xf2, 0x48, 0x8d, 0x3d);

    p = emit32(p, 2);
    emit_return(EMIT(p, opcode), 0x11);
    return page;
}

static uint8_t *make_insb(uint8_t *page)
{
    return make_ins(page, 0x6c);
}

static uint8_t *make_insl(uint8_t *page)
{
    return make_ins(page, 0x6d);
}

static unsigned check_insb(const struct smc_code *c, uint64_t value)
{
    outb(UART_SCRATCH, (uint8_t)value);
    CHECK_EQ(run_code(c, 0, UART_SCRATCH), value);
    CHECK_EQ(c->code[11], value);
    return 1;
}

static void insb_ahead(void)
{
    each_heat(make_insb, check_insb);
}

static unsigned check_insl(const struct smc_code *c, uint64_t value)
{
    uint32_t address = 0x80000000u | (uint32_t)value << 8;

    __asm__ volatile("outl %0, %1" : : "a"(address), "Nd"((uint16_t)PCI_ADDRESS));
    CHECK_EQ(run_code(c, 0, PCI_ADDRESS), address);
    return 1;
}

static void insl_ahead(void)
{
    each_heat(make_insl, check_insl);
}

static void rep_insb(void *to, uint8_t byte, uint64_t n)
{
    outb(UART_SCRATCH, byte);
    __asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"(UART_SCRATCH) : "memory");
    CHECK_EQ(n, 0);
}

/* `inc %eax` 60 times and ret; a number of them are replaced by nops from outside, beginning in the middle of one. */
static void make_sled(uint8_t *code)
{
    uint8_t *p = EMIT(code, 0x31, 0xc0);

    for (unsigned i = 0; i < 60; i++) {
        p = EMIT(p, 0xff, 0xc0);
    }
    *p = INSN_RET;
}

static void rep_insb_over_code(void)
{
    uint8_t *text = page_alloc();
    uint8_t *code = page_alloc();

    make_sled(text);
    smc_guard(code + 1024);
    for (unsigned n = 0; n <= 60; n += 4) {
        memcpy(code, text, 128);
        smc_stores(1);
        CHECK_EQ(call(code, 0, 0), 60);
        rep_insb(code + 2 + 2 * (60 - n), INSN_NOP, 2 * n);
        CHECK_EQ(call(code, 0, 0), 60 - n);
    }
}

/* A block over two pages; the device fills either side of the boundary, and both at once. */
static void rep_insb_over_pages(void)
{
    smc_stores(0); /* a device takes no fault */
    for (unsigned k = 0; k < 3; k++) {
        uint8_t *page = pages_alloc(2);
        uint8_t *code = page + PAGE_SIZE - 62; /* 30 of them before the boundary */
        unsigned first = k == 1 ? 30 : 20, last = k == 0 ? 30 : 50;

        make_sled(code);
        smc_guard(page + 1024);
        smc_guard(page + PAGE_SIZE + 1024);
        CHECK_EQ(call(code, 0, 0), 60);
        rep_insb(code + 2 + 2 * first, INSN_NOP, 2 * (last - first));
        CHECK_EQ(call(code, 0, 0), 60 - (last - first));
        smc_check_guards();
    }
}

/* Module A is replaced by module B at the same address, page after page, by the device; one call is patched to each. */
static void module_reload(void)
{
    enum { PAGES = 2 };
    uint8_t *module = pages_alloc(PAGES);
    uint8_t *caller = page_alloc();

    for (unsigned round = 0; round < 6; round++) {
        uint8_t filler = round & 1 ? INSN_NOP : 0xf8; /* clc: nothing, either */

        for (unsigned i = 0; i < PAGES; i++) {
            rep_insb(module + i * PAGE_SIZE, filler, PAGE_SIZE);
        }
        emit_return(module + PAGES * PAGE_SIZE - 16, round);
        for (unsigned i = 1; i <= 20; i++) {
            emit_jmp(caller, module + PAGES * PAGE_SIZE - 16 - i * 100);
            CHECK_EQ(call(caller, 0, 0), round);
        }
        smc_stores(3 + 20 * 2);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"insb-ahead", insb_ahead},
        {"insl-ahead", insl_ahead},
        {"rep-insb-over-code", rep_insb_over_code},
        {"rep-insb-over-pages", rep_insb_over_pages},
        {"module-reload", module_reload},
    };
    return run_smc_cases("smc-device-write", cases, ARRAY_SIZE(cases));
}
