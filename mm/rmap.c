/* SPDX-License-Identifier: MIT */
/*
 * Reverse map: for every frame of guest RAM a list of the 4 KiB shadow entries that map it, and for
 * every 2 MiB of it a list of the large ones. Lists are doubly linked through the link that every
 * table entry owns, so nothing here allocates after start-up or can fail.
 */
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"

/* List heads: [1] per 4 KiB, [2] per 2 MiB of guest RAM. Allocated by rmap_init(). */
static uint32_t *heads[3];

static uint32_t *head_alloc(uint64_t entries)
{
    hpa_t hpa = frame_alloc_contig(ALIGN_UP(entries * sizeof(uint32_t), PAGE_SIZE) >> PAGE_SHIFT,
                                   PAGE_SIZE);

    return hpa == HPA_INVALID ? NULL : phys_to_virt(hpa);
}

int rmap_init(uint64_t ram_size)
{
    heads[1] = head_alloc(ram_size >> PAGE_SHIFT);
    heads[2] = head_alloc(ram_size >> LARGE_SHIFT);
    return heads[1] && heads[2] ? 0 : -ENOMEM;
}

static uint32_t *rmap_head(unsigned level, ram_addr_t ram)
{
    ASSERT(level == 1 || level == 2);
    return &heads[level][ram >> pt_shift(level)];
}

uint32_t rmap_first(unsigned level, ram_addr_t ram)
{
    return *rmap_head(level, ram);
}

struct rmap_link *rmap_link(uint32_t id)
{
    return &table_get(id / PT_ENTRIES)->links[id % PT_ENTRIES];
}

void rmap_add(struct shadow_table *t, unsigned slot, ram_addr_t ram)
{
    uint32_t *head = rmap_head(t->role.level, ram);
    uint32_t id = t->index * PT_ENTRIES + slot;

    t->links[slot] = (struct rmap_link){.next = *head};
    if (*head) {
        rmap_link(*head)->prev = id;
    }
    *head = id;
}

void rmap_del(struct shadow_table *t, unsigned slot, ram_addr_t ram)
{
    struct rmap_link *link = &t->links[slot];

    if (link->prev) {
        rmap_link(link->prev)->next = link->next;
    } else {
        ASSERT(rmap_first(t->role.level, ram) == t->index * PT_ENTRIES + slot);
        *rmap_head(t->role.level, ram) = link->next;
    }
    if (link->next) {
        rmap_link(link->next)->prev = link->prev;
    }
    *link = (struct rmap_link){0};
}

/* Returns whether there was a writable one. */
static bool drop_large(ram_addr_t page)
{
    bool writable = false;
    uint32_t id;

    while ((id = rmap_first(2, page))) {
        struct shadow_table *t = table_get(id / PT_ENTRIES);

        writable |= t->pte[id % PT_ENTRIES] & PTE_W;
        tlb_note(t, id % PT_ENTRIES);
        leaf_drop(t, id % PT_ENTRIES);
        shadow_stats.splits++;
    }
    return writable;
}

/* Clear `bits` in all small mappings of the page. Returns whether all of `wanted` were set in one. */
static bool clear_bits(ram_addr_t page, uint64_t bits, uint64_t wanted)
{
    bool found = false;
    uint32_t id;

    for (id = rmap_first(1, page); id; id = rmap_link(id)->next) {
        struct shadow_table *t = table_get(id / PT_ENTRIES);
        uint64_t *pte = &t->pte[id % PT_ENTRIES];

        if (*pte & bits) {
            found |= (*pte & wanted) == wanted;
            pte_write(pte, *pte & ~bits);
            tlb_note(t, id % PT_ENTRIES);
        }
    }
    return found;
}

void rmap_protect(ram_addr_t page)
{
    drop_large(page);
    clear_bits(page, PTE_W, PTE_W);
    tlb_commit();
}

bool rmap_clear_dirty(ram_addr_t page)
{
    bool dirty = drop_large(page);

    dirty |= clear_bits(page, PTE_D, PTE_D | PTE_W);
    tlb_commit();
    return dirty;
}
