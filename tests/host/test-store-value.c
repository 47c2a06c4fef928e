/* SPDX-License-Identifier: MIT */
/* store_changes_nothing(): each form of store, with memory as it would leave it and with each of its bytes different. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/host.h"
#include "dbt/store-value.h"

static uint8_t memory[2 * PAGE_SIZE];
static struct CPUState cpu;

const uint8_t *code_page_bytes(tb_page_addr_t addr)
{
    return &memory[addr];
}

struct form {
    const char *bytes;
    unsigned len, size;
    uint64_t value;
};

static const struct form plain[] = {
    {"\x88\x1e", 2, 1, 0x33},                                     /* mov %bl, (%rsi) */
    {"\x88\x3e", 2, 1, 0x22},                                     /* mov %bh, (%rsi) */
    {"\x40\x88\x3e", 3, 1, 0x77},                                 /* mov %dil, (%rsi) */
    {"\x66\x89\x1e", 3, 2, 0x2233},                               /* mov %bx, (%rsi) */
    {"\x89\x1e", 2, 4, 0xff002233},                               /* mov %ebx, (%rsi) */
    {"\x4c\x89\x1e", 3, 8, 0x8877665544332211},                   /* mov %r11, (%rsi) */
    {"\x44\x88\x1e", 3, 1, 0x11},                                 /* mov %r11b, (%rsi) */
    {"\xc6\x06\x99", 3, 1, 0x99},                                 /* movb $0x99, (%rsi) */
    {"\x66\xc7\x06\x34\x12", 5, 2, 0x1234},                       /* movw */
    {"\xc7\x06\x78\x56\x34\x92", 6, 4, 0x92345678},               /* movl */
    {"\x48\xc7\x06\x78\x56\x34\x92", 7, 8, 0xffffffff92345678},   /* movq, sign-extended */
    {"\xa2\x10\x00\x00\x00\x00\x00\x00\x00", 9, 1, 0x44},         /* mov %al, abs */
    {"\x48\xa3\x10\x00\x00\x00\x00\x00\x00\x00", 10, 8, 0x44},    /* mov %rax, abs */
};
/* Not plain: what they write depends on memory, or on more than one register. */
static const struct form others[] = {
    {"\x87\x1e", 2, 4, 0xff002233},     /* xchg */
    {"\x01\x1e", 2, 4, 0xff002233},     /* add */
    {"\x0f\xc3\x1e", 3, 4, 0xff002233}, /* movnti */
    {"\xaa", 1, 1, 0x44},               /* stosb */
    {"\x0f\x11\x06", 3, 16, 0},         /* movups */
    {"\x8b\x1e", 2, 4, 0xff002233},     /* a load */
};

static void set_registers(void)
{
    cpu.env.regs[R_EAX] = 0x44;
    cpu.env.regs[R_EBX] = 0x12345678ff002233;
    cpu.env.regs[R_EDI] = 0x77;
    cpu.env.regs[R_R11] = 0x8877665544332211;
}

static bool same(const struct form *f, gva_t at, gva_t va, uint64_t len)
{
    const struct insn_access write = {.addr = at, .len = f->size, .acc = ACC_W};
    struct insn insn;

    assert_int_equal(insn_decode(&insn, (const uint8_t *)f->bytes, f->len), DECODE_OK);
    return store_changes_nothing(&cpu, &insn, &write, va, len, va);
}

static void put(uint64_t at, const struct form *f)
{
    memset(memory, 0x5b, sizeof(memory));
    memcpy(&memory[at], &f->value, MIN(f->size, 8u));
}

static void test_plain(void **state)
{
    set_registers();
    for (unsigned i = 0; i < ARRAY_SIZE(plain); i++) {
        const struct form *f = &plain[i];

        put(0x10, f);
        assert_true(same(f, 0x10, 0x10, f->size));
        for (unsigned bit = 0; bit < f->size * 8; bit++) {
            memory[0x10 + bit / 8] ^= 1 << bit % 8;
            assert_false(same(f, 0x10, 0x10, f->size));
            memory[0x10 + bit / 8] ^= 1 << bit % 8;
        }
        memory[0x0f]++;
        memory[0x10 + f->size]++;
        assert_true(same(f, 0x10, 0x10, f->size));
    }
}

/* Page by page: each part is asked for by itself, and what is not the store's own is never known to be the same. */
static void test_straddles(void **state)
{
    set_registers();
    for (unsigned i = 0; i < ARRAY_SIZE(plain); i++) {
        const struct form *f = &plain[i];

        for (unsigned first = 1; first < f->size; first++) {
            uint64_t at = PAGE_SIZE - first;

            put(at, f);
            assert_true(same(f, at, at, first));
            assert_true(same(f, at, PAGE_SIZE, f->size - first));
            assert_false(same(f, at, PAGE_SIZE, f->size - first + 1));
            assert_false(same(f, at, at - 1, 1));
            memory[at]++;
            assert_false(same(f, at, at, first));
            assert_true(same(f, at, PAGE_SIZE, f->size - first));
        }
    }
}

static void test_others(void **state)
{
    set_registers();
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        put(0x10, &others[i]);
        assert_false(same(&others[i], 0x10, 0x10, others[i].size));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_straddles), cmocka_unit_test(test_others)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
