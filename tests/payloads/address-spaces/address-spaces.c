/* SPDX-License-Identifier: MIT */
/*
 * Rule: user code that goes from page to page, by jump or by address, is always that of the present address space: whatever was
 * changed in its tables, or in its code, while another one was present takes effect at the latest with the write to CR3 that comes
 * back to it (SDM 3A 4.10.4.1).
 */
#include "tests/payloads/lib/snippet.h"

#define VA      0x40000000000ull /* page 0: jumps to page 1 directly; at +32 by address. Page 1: mov $n, %eax; int $0x80 */
#define INDIRECT 32
#define MANY    40
#define FAULT   0x10000u /* of run(): + vector */

static uint8_t *jumper, *target[MANY];
static uint64_t root[MANY], home;

static void emit_value(uint8_t *page, uint32_t n)
{
    page[0] = 0xb8;
    __builtin_memcpy(page + 1, &n, 4);
    page[5] = 0xcd;
    page[6] = 0x80;
}

/* rax, or FAULT + the vector, of user code at VA + offset. A fault must be the fetch of page 1. */
static uint64_t run(uint64_t offset)
{
    struct cpu_state s;

    snippet_state(&s, true);
    s.rip = VA + offset;
    s.gpr[RDI] = VA + PAGE_SIZE;
    cpu_run(&s);
    if (s.vector == 0x80) {
        return s.gpr[RAX];
    }
    CHECK_EQ(s.cr2, VA + PAGE_SIZE);
    CHECK_EQ(s.rip, VA + PAGE_SIZE);
    return FAULT + s.vector;
}

static void expect(uint64_t value)
{
    CHECK_EQ(run(0), value);
    CHECK_EQ(run(INDIRECT), value);
    CHECK_EQ(run(0), value);
    CHECK_EQ(run(INDIRECT), value);
}

/* Root i has target i behind the jumper, which all share. */
static void make_roots(void)
{
    home = read_cr3();
    jumper = page_alloc();
    jumper[0] = 0xe9; /* jmp to the next page */
    __builtin_memcpy(jumper + 1, &(uint32_t){PAGE_SIZE - 5}, 4);
    jumper[INDIRECT] = 0xff; /* jmp *%rdi */
    jumper[INDIRECT + 1] = 0xe7;
    for (unsigned i = 0; i < MANY; i++) {
        target[i] = page_alloc();
        emit_value(target[i], i);
        root[i] = paging_new_root();
        write_cr3(root[i]);
        page_map(VA, (uint64_t)jumper, PTE_P | PTE_U);
        page_map(VA + PAGE_SIZE, (uint64_t)target[i], PTE_P | PTE_U);
    }
    write_cr3(home);
}

/* By turns, few and many. */
static void take_turns(void)
{
    static const unsigned counts[] = {2, 3, MANY, 5};

    for (unsigned c = 0; c < ARRAY_SIZE(counts); c++) {
        for (unsigned round = 0; round < 4; round++) {
            for (unsigned i = 0; i < counts[c]; i++) {
                write_cr3(root[i]);
                expect(i);
            }
        }
    }
    write_cr3(home);
}

/* Change an entry of root 0's tables while root 1 is present. */
static void remapped_while_parked(void)
{
    for (unsigned level = 1; level <= 3; level++) {
        write_cr3(root[0]);
        uint64_t *entry = page_entry(VA + PAGE_SIZE, level), old = *entry, other;

        write_cr3(root[2]);
        other = *page_entry(VA + PAGE_SIZE, level);
        for (unsigned n = 0; n < 3; n++) {
            write_cr3(root[0]);
            expect(0);
            write_cr3(root[1]);
            expect(1);
            *entry = other;
            write_cr3(root[0]);
            expect(2);
            write_cr3(root[1]);
            *entry = old;
        }
        write_cr3(root[0]);
        expect(0);
    }
    write_cr3(home);
}

/* The page is taken away, becomes the kernel's, or data. */
static void refused_while_parked(void)
{
    static const struct {
        uint64_t set, clear;
    } change[] = {{0, PTE_P}, {0, PTE_U}, {PTE_NX, 0}};

    write_cr3(root[0]);
    uint64_t *entry = page_entry(VA + PAGE_SIZE, 1);

    for (unsigned n = 0; n < 3 * ARRAY_SIZE(change); n++) {
        uint64_t old = *entry;

        write_cr3(root[0]);
        expect(0);
        write_cr3(root[1]);
        *entry = (old | change[n % 3].set) & ~change[n % 3].clear;
        expect(1);
        write_cr3(root[0]);
        expect(FAULT + VEC_PF);
        *entry = old;
        write_cr3(root[0]);
    }
    expect(0);
    write_cr3(home);
}

/* Without a change of address space: INVLPG, or the same CR3 again. And there and back between two writes of CR3. */
static void remapped_while_present(void)
{
    write_cr3(root[0]);
    uint64_t *entry = page_entry(VA + PAGE_SIZE, 1), old = *entry;

    for (unsigned n = 0; n < 4; n++) {
        *entry = (uint64_t)target[3] | PTE_P | PTE_U;
        invlpg(VA + PAGE_SIZE);
        expect(3);
        *entry = old;
        write_cr3(root[0]);
        expect(0);
        write_cr3(root[1]);
        expect(1);
        write_cr3(root[0]);
        *entry = (uint64_t)target[4 + n] | PTE_P | PTE_U;
        invlpg(VA + PAGE_SIZE);
        expect(4 + n);
        *entry = old;
        invlpg(VA + PAGE_SIZE);
        write_cr3(root[1]);
        write_cr3(root[0]);
        expect(0);
    }
    write_cr3(home);
}

/* Code written while its address space is not present, through another mapping. */
static void written_while_parked(void)
{
    for (uint32_t n = 100; n < 120; n++) {
        write_cr3(root[0]);
        expect(n == 100 ? 0 : n - 1);
        write_cr3(root[1]);
        expect(1);
        emit_value(target[0], n);
        expect(1);
        write_cr3(root[0]);
        expect(n);
    }
    emit_value(target[0], 0);
    expect(0);
    write_cr3(home);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"take-turns", take_turns},
        {"remapped-while-parked", remapped_while_parked},
        {"refused-while-parked", refused_while_parked},
        {"remapped-while-present", remapped_while_present},
        {"written-while-parked", written_while_parked},
    };
    paging_init();
    trap_init();
    snippet_init();
    make_roots();
    return run_cases("address-spaces", cases, ARRAY_SIZE(cases));
}
