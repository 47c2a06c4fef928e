/* SPDX-License-Identifier: MIT */
/* Page tables of a payload, edited directly through the identity map; the allocator only ever grows. */
#include "tests/payloads/lib/page.h"

#include "tests/payloads/lib/payload.h"

#define ARENA_PAGES 4096
#define TABLE_FLAGS (PTE_P | PTE_W | PTE_U)

static uint8_t arena[ARENA_PAGES][4096] __attribute__((aligned(4096)));
static size_t arena_used;

void *pages_alloc(size_t n)
{
    if (n > ARENA_PAGES - arena_used) {
        fatal("page arena used up");
    }
    void *p = arena[arena_used];

    arena_used += n;
    return p;
}

void *page_alloc(void)
{
    return pages_alloc(1);
}

uint64_t paging_new_root(void)
{
    uint64_t *pml4 = page_alloc();
    uint64_t *pdpt = page_alloc();

    pml4[0] = (uint64_t)pdpt | TABLE_FLAGS;
    for (uint64_t gib = 0; gib < 4; gib++) {
        uint64_t *pd = page_alloc();

        pdpt[gib] = (uint64_t)pd | TABLE_FLAGS;
        for (uint64_t i = 0; i < 512; i++) {
            pd[i] = gib << 30 | i << 21 | PTE_PS | PTE_P | PTE_W;
        }
    }
    return (uint64_t)pml4;
}

void paging_init(void)
{
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
    write_cr0(read_cr0() | CR0_WP);
    write_cr3(paging_new_root());
}

/* The table below *entry, made if absent, by splitting if *entry is a large page of `level`. */
static uint64_t *next_table(uint64_t *entry, unsigned level)
{
    uint64_t old = *entry;

    if ((old & PTE_P) && !(old & PTE_PS)) {
        return (uint64_t *)(old & PTE_ADDR);
    }
    uint64_t *table = page_alloc();

    if (old & PTE_P) {
        uint64_t step = 1ull << (12 + 9 * (level - 2));
        uint64_t leaf = level == 2 ? old & ~PTE_PS : old;

        for (uint64_t i = 0; i < 512; i++) {
            table[i] = leaf + i * step;
        }
    }
    *entry = (uint64_t)table | TABLE_FLAGS;
    return table;
}

uint64_t *page_entry(uint64_t va, unsigned level)
{
    uint64_t *table = (uint64_t *)(read_cr3() & PTE_ADDR);

    for (unsigned l = 4; l > level; l--) {
        table = next_table(&table[va >> (12 + 9 * (l - 1)) & 511], l);
    }
    return &table[va >> (12 + 9 * (level - 1)) & 511];
}

void page_map(uint64_t va, uint64_t pa, uint64_t flags)
{
    *page_entry(va, 1) = pa | flags;
    invlpg(va);
}

void page_protect(const void *start, size_t len, uint64_t flags)
{
    uint64_t first = (uint64_t)start & PAGE_MASK;

    for (uint64_t va = first; va < (uint64_t)start + len; va += PAGE_SIZE) {
        page_map(va, va, flags);
    }
}

void tlb_flush_all(void)
{
    write_cr3(read_cr3());
}
