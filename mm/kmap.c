/* SPDX-License-Identifier: MIT */
/*
 * The kernel's own page tables. W^X throughout: a mapping is writable or executable, never both,
 * and the physmap is never executable. All level 3 tables of the monitor's slots exist from the
 * start, so that roots which copied these slots by reference (shadow roots) see every later change.
 * Kernel mappings are global: shadow root switches keep them in the TLB. User pages are none of
 * this file's business.
 */
#include "mm/kmap.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/layout.h"
#include "mm/pte.h"

#define TABLE_BITS (PTE_P | PTE_W | PTE_A) /* permissions are decided in leaves */
#define LEAF_BITS  (PTE_P | PTE_A | PTE_D | PTE_G)

/* Set by kmap_init(), then constant. */
static hpa_t root_hpa;
/* Next unused stack address; stacks are never freed. */
static uint64_t stack_next;

static uint64_t *table_at(uint64_t entry)
{
    return phys_to_virt(entry & PTE_ADDR);
}

static uint64_t leaf_bits(unsigned flags, unsigned level)
{
    ASSERT((flags & (KMAP_W | KMAP_X)) != (KMAP_W | KMAP_X));
    return LEAF_BITS | (flags & KMAP_W ? PTE_W : 0) | (flags & KMAP_X ? 0 : PTE_NX) |
           (flags & KMAP_UC ? PTE_PCD | PTE_PWT : 0) | (level > 1 ? PTE_PS : 0);
}

/* Replace a large page by a table of 512 pages of the level below, with the same rights. */
static int entry_split(uint64_t *entry, unsigned level)
{
    uint64_t old = *entry;
    uint64_t bits = old & ~PTE_ADDR & (level == 2 ? ~PTE_PS : ~0ull);
    hpa_t hpa = frame_alloc();
    uint64_t *table;
    unsigned i;

    if (hpa == HPA_INVALID) {
        return -ENOMEM;
    }
    table = phys_to_virt(hpa);
    for (i = 0; i < PT_ENTRIES; i++) {
        table[i] = (pte_leaf_addr(old, level) + i * pt_span(level - 1)) | bits;
    }
    pte_write(entry, hpa | TABLE_BITS);
    return 0;
}

/*
 * The entry of `level` for va, with all tables above it created and all large pages above it split.
 * NULL: out of memory.
 */
static uint64_t *entry_make(uint64_t va, unsigned level)
{
    uint64_t *table = phys_to_virt(root_hpa);
    unsigned l;

    for (l = PT_LEVELS; l > level; l--) {
        uint64_t *entry = &table[pt_index(va, l)];

        if (!(*entry & PTE_P)) {
            hpa_t hpa = frame_alloc();

            if (hpa == HPA_INVALID) {
                return NULL;
            }
            pte_write(entry, hpa | TABLE_BITS);
        } else if (pte_is_leaf(*entry, l) && entry_split(entry, l)) {
            return NULL;
        }
        table = table_at(*entry);
    }
    return &table[pt_index(va, level)];
}

/* The present leaf for va, or NULL; sets *level. */
static uint64_t *leaf_find(uint64_t va, unsigned *level)
{
    uint64_t *table = phys_to_virt(root_hpa);
    unsigned l;

    for (l = PT_LEVELS; l >= 1; l--) {
        uint64_t *entry = &table[pt_index(va, l)];

        if (!(*entry & PTE_P)) {
            return NULL;
        }
        if (pte_is_leaf(*entry, l)) {
            *level = l;
            return entry;
        }
        table = table_at(*entry);
    }
    return NULL;
}

/* Write one leaf of `level`. A table that a large page replaces is given back, with stale entries
 * gone everywhere. */
static void leaf_set(uint64_t *entry, unsigned level, uint64_t va, uint64_t value)
{
    uint64_t old = *entry;

    pte_write(entry, value);
    if (!(old & PTE_P)) {
        return;
    }
    if (pte_is_leaf(old, level)) {
        host_invlpg(va);
        return;
    }
    for (unsigned i = 0; i < PT_ENTRIES; i++) {
        host_invlpg(va + i * PAGE_SIZE);
    }
    frame_free(old & PTE_ADDR); /* level 2 is the highest that leaf_set() is used with */
}

static bool range_valid(uint64_t va, uint64_t len)
{
    return !(va & ~PAGE_MASK) && !(len & ~PAGE_MASK) && len && va + (len - 1) > va &&
           is_canonical(va) && is_canonical(va + (len - 1));
}

int kmap_map(uint64_t va, hpa_t hpa, uint64_t len, unsigned flags)
{
    ASSERT(range_valid(va, len) && !(hpa & ~PAGE_MASK));
    while (len) {
        unsigned level = !((va | hpa) & ~LARGE_MASK) && len >= LARGE_SIZE ? 2 : 1;
        uint64_t *entry = entry_make(va, level);

        if (!entry) {
            return -ENOMEM;
        }
        leaf_set(entry, level, va, hpa | leaf_bits(flags, level));
        va += pt_span(level);
        hpa += pt_span(level);
        len -= pt_span(level);
    }
    return 0;
}

int kmap_unmap(uint64_t va, uint64_t len)
{
    ASSERT(range_valid(va, len));
    while (len) {
        unsigned level;
        uint64_t step = PAGE_SIZE;
        uint64_t *entry = leaf_find(va, &level);

        if (entry) {
            if (level > 1 && ((va & (pt_span(level) - 1)) || len < pt_span(level))) {
                level = 1;
                entry = entry_make(va, level);
            }
            if (!entry) {
                return -ENOMEM;
            }
            step = pt_span(level);
            leaf_set(entry, level, va, 0);
        }
        va += step;
        len -= step;
    }
    return 0;
}

int kmap_protect_physmap(hpa_t base, uint64_t len, unsigned flags)
{
    ASSERT(base + len >= base && base + len <= PHYSMAP_SIZE && !(flags & KMAP_X));
    if (flags & KMAP_NONE) {
        return kmap_unmap(PHYSMAP_BASE + base, len);
    }
    return kmap_map(PHYSMAP_BASE + base, base, len, flags);
}

int kmap_init(hpa_t phys_last)
{
    uint64_t *root;
    unsigned slot;

    if (phys_last >= PHYSMAP_SIZE) {
        panic("kmap: physical memory up to 0x%llx, the physmap ends at 0x%llx",
              (unsigned long long)phys_last, (unsigned long long)PHYSMAP_SIZE);
    }
    root_hpa = frame_alloc();
    if (root_hpa == HPA_INVALID) {
        return -ENOMEM;
    }
    stack_next = KSTACK_BASE;
    root = phys_to_virt(root_hpa);
    for (slot = MONITOR_PML4_FIRST; slot <= MONITOR_PML4_LAST; slot++) {
        hpa_t hpa = frame_alloc();

        if (hpa == HPA_INVALID) {
            return -ENOMEM;
        }
        root[slot] = hpa | TABLE_BITS;
    }
    return kmap_map(PHYSMAP_BASE, 0, ALIGN_UP(phys_last + 1, LARGE_SIZE), KMAP_W);
}

hpa_t kmap_root(void)
{
    return root_hpa;
}

uint64_t kmap_stack_alloc(unsigned pages)
{
    uint64_t bottom =
        stack_next + PAGE_SIZE; /* the guard page below is unmapped, as is the one above */
    uint64_t top = bottom + pages * PAGE_SIZE;
    uint64_t va;

    ASSERT(pages && top + PAGE_SIZE <= KDEVICE_BASE);
    for (va = bottom; va < top; va += PAGE_SIZE) {
        hpa_t hpa = frame_alloc();

        if (hpa == HPA_INVALID) {
            goto out_free;
        }
        if (kmap_map(va, hpa, PAGE_SIZE, KMAP_W)) {
            frame_free(hpa);
            goto out_free;
        }
    }
    stack_next = top;
    return top;

out_free:
    while (va > bottom) {
        hpa_t hpa;

        va -= PAGE_SIZE;
        if (kmap_query(va, &hpa) >= 0 && !kmap_unmap(va, PAGE_SIZE)) {
            frame_free(hpa);
        }
    }
    return 0;
}

int kmap_query(uint64_t va, hpa_t *hpa)
{
    unsigned level = 0;
    const uint64_t *entry = is_canonical(va) ? leaf_find(va, &level) : NULL;

    if (!entry) {
        return -1;
    }
    if (hpa) {
        *hpa = pte_leaf_addr(*entry, level) + (va & (pt_span(level) - 1));
    }
    return (*entry & PTE_W ? KMAP_W : 0) | (*entry & PTE_NX ? 0 : KMAP_X) |
           (*entry & PTE_PCD ? KMAP_UC : 0);
}
