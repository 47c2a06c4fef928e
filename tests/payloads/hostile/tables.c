/* SPDX-License-Identifier: MIT */
/* Page tables that no kernel would build: entries that point at themselves, at nothing, with every bit set. */
#include "tests/payloads/lib/snippet.h"

#include "tests/payloads/hostile/hostile.h"

#define SLOT 300ull /* of the PML4: ours */
#define BASE (0xffff000000000000ull | SLOT << 39)

static uint64_t *pml4(void)
{
    return (uint64_t *)(read_cr3() & PTE_ADDR);
}

/* Read, write and jump; whatever happens, it must come back here. */
static void touch(uint64_t va)
{
    for (int user = 0; user < 2; user++) {
        for (unsigned i = 0; i < 2; i++) {
            struct cpu_state s;

            snippet_state(&s, user);
            s.rip += i * 16;
            s.gpr[RBX] = va;
            s.gpr[RAX] = 0;
            cpu_run(&s);
            CHECK(s.vector == 0x80 || s.vector == VEC_PF);
        }
    }
}

/* Only reads: the address may be real memory that matters. */
static void look(uint64_t va)
{
    struct cpu_state s;

    snippet_state(&s, false);
    s.gpr[RBX] = va;
    cpu_run(&s);
    CHECK(s.vector == 0x80 || s.vector == VEC_PF);
}

/* A table whose every entry points at the table itself. */
static void all_self(void)
{
    uint64_t *table = page_alloc();

    for (unsigned i = 0; i < 512; i++) {
        table[i] = (uint64_t)table | PTE_P | PTE_W | PTE_U;
    }
    pml4()[SLOT] = (uint64_t)table | PTE_P | PTE_W | PTE_U;
    tlb_flush_all();
    for (uint64_t off = 0; off < 1ull << 39; off += 0x0123456000 | 1ull << 12) {
        look(BASE + off);
    }
    /* Through the mapping the table rewrites itself while it is in use. */
    for (unsigned i = 0; i < 64; i++) {
        *(volatile uint64_t *)(BASE + 8 * (200 + i)) = 0;
        look(BASE + ((uint64_t)(200 + i) << 30));
    }
    pml4()[SLOT] = 0;
    tlb_flush_all();
    sanity("all-self");
}

/* An entry at each level that points at the table it is in. */
static void self_at_each_level(void)
{
    for (unsigned level = 1; level <= 3; level++) {
        uint64_t va = BASE + 0x12345678000ull;
        uint64_t *e;

        page_map(va, (uint64_t)page_alloc(), PTE_P | PTE_W | PTE_U);
        e = page_entry(va, level);
        *e = ((uint64_t)e & PTE_ADDR) | PTE_P | PTE_W | PTE_U;
        tlb_flush_all();
        for (uint64_t off = 0; off < 0x40000000; off += 0x1fff000) {
            look(va + off);
        }
        pml4()[SLOT] = 0;
        tlb_flush_all();
    }
    sanity("self");
}

/* Pages whose physical address is no RAM: reads give something, writes go nowhere, code cannot crash the machine. */
static void no_ram(void)
{
    static const uint64_t frames[] = {0x00000000c0000000, 0x00000000fffff000, 0x0000000200000000,
                                      0x0000000fffff0000, 0x0000003ffffff000, 0x0000000080000000};

    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        page_map(BASE, frames[i], PTE_P | PTE_W | PTE_U);
        touch(BASE);
        touch(BASE + 0xff8);
    }
    *page_entry(BASE + 0x40000000, 2) = 0x0000003fffe00000ull | PTE_P | PTE_W | PTE_U | PTE_PS;
    tlb_flush_all();
    touch(BASE + 0x40000000 + 0x1ff000);
    pml4()[SLOT] = 0;
    tlb_flush_all();
    sanity("no-ram");
}

/* A page table that is not in RAM. */
static void table_not_ram(void)
{
    for (unsigned level = 2; level <= 4; level++) {
        page_map(BASE, (uint64_t)page_alloc(), PTE_P | PTE_W | PTE_U);
        *page_entry(BASE, level) = 0x0000003ffffff000ull | PTE_P | PTE_W | PTE_U;
        tlb_flush_all();
        look(BASE);
        pml4()[SLOT] = 0;
        tlb_flush_all();
    }
    sanity("table-not-ram");
}

/* Random entries at every level, reserved bits included. */
static void random_tables(void)
{
    struct rng rng = {31337};
    uint64_t *tables[3] = {page_alloc(), page_alloc(), page_alloc()};

    for (unsigned round = 0; round < 40; round++) {
        for (unsigned t = 0; t < 3; t++) {
            for (unsigned i = 0; i < 512; i++) {
                uint64_t r = rng_next(&rng);

                tables[t][i] = r & 1 ? r : ((uint64_t)tables[r >> 8 & 1 ? t : (t + 1) % 3]) | (r & 0x67);
            }
        }
        pml4()[SLOT] = (uint64_t)tables[0] | PTE_P | PTE_W | PTE_U;
        tlb_flush_all();
        for (unsigned i = 0; i < 30; i++) {
            look(BASE + (rng_next(&rng) & 0x7fffffffffull));
        }
    }
    pml4()[SLOT] = 0;
    tlb_flush_all();
    sanity("random-tables");
}

/* The guest maps its own memory at the monitor's addresses: its right, if it can be done; else it sees faults. */
static void map_over_monitor(void)
{
    static const uint64_t places[] = {CACHE_FIRST + 0x3000, WINDOW_FIRST, VCPU_PAGE, WINDOW_LAST - 0xfff,
                                      MONITOR_FIRST, 0xffff810000000000, 0xffff850000001000};
    uint64_t *frame = page_alloc();

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        struct cpu_state s;

        *frame = 0;
        page_map(places[i], (uint64_t)frame, PTE_P | PTE_W | PTE_U);
        PUT(0x100, 0x48, 0x89, 0x03, 0x48, 0x8b, 0x13, 0xcd, 0x80); /* mov %rax, (%rbx); mov (%rbx), %rdx */
        snippet_state(&s, false);
        s.rip += 0x100;
        s.gpr[RBX] = places[i];
        cpu_run(&s);
        if (s.vector == 0x80) {
            check_eq("mapped over the monitor", (int)i, "memory", *frame, s.gpr[RAX]);
            check_eq("mapped over the monitor", (int)i, "read back", s.gpr[RDX], s.gpr[RAX]);
        }
        page_map(places[i], 0, 0);
        sanity("map-over-monitor");
    }
}

/* CR3 with low and high bits set. */
static void odd_cr3(void)
{
    uint64_t cr3 = read_cr3();

    write_cr3(cr3 | 0x18); /* PCD, PWT */
    CHECK_EQ(read_cr3() & PTE_ADDR, cr3);
    write_cr3(cr3);
    sanity("odd-cr3");
}

/* Many roots, one after the other, more than a cache of shadow tables would keep. */
static void many_roots(void)
{
    uint64_t cr3 = read_cr3();

    for (unsigned i = 0; i < 200; i++) {
        uint64_t *root = page_alloc();

        memcpy(root, (void *)cr3, 4096);
        write_cr3((uint64_t)root);
        page_map(BASE + i * 4096, (uint64_t)root, PTE_P | PTE_W);
        CHECK_EQ(*(volatile uint64_t *)(BASE + i * 4096), root[0]);
        root[SLOT] = 0;
    }
    write_cr3(cr3);
    sanity("many-roots");
}

const struct test_case table_cases[] = {
    {"all-self", all_self},           {"self-at-each-level", self_at_each_level},
    {"no-ram", no_ram},               {"table-not-ram", table_not_ram},
    {"random-tables", random_tables}, {"map-over-monitor", map_over_monitor},
    {"odd-cr3", odd_cr3},             {"many-roots", many_roots},
};
const unsigned table_case_count = ARRAY_SIZE(table_cases);
