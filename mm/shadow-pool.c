/* SPDX-License-Identifier: MIT */
/*
 * Frames for shadow tables, with the bookkeeping that belongs to each: allocated from the frame
 * allocator as they are first needed, up to a maximum, and recycled for ever. A free table is all
 * zero (whoever fills an entry clears it again), so that allocation and release cost nothing.
 * Policy (what to drop when it is used up) is in shadow.c.
 */
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/shadow-priv.h"

_Static_assert(sizeof(struct rmap_link) * PT_ENTRIES == PAGE_SIZE,
               "the links of a table fill one frame");

static struct {
    struct shadow_table *tables; /* [max + 1]; [0] is unused */
    unsigned max;                /* most tables that may exist */
    unsigned count;              /* tables that have frames: indices 1..count */
    unsigned free_count;
    unsigned permanent;
    uint32_t free;                 /* list by .next */
    uint32_t level[PT_LEVELS + 1]; /* lists by .next of the tables in use */
} pool;

/* Give the next table its two frames and put it on the free list. */
static bool pool_grow(void)
{
    struct shadow_table *t;
    hpa_t hpa, links;

    if (pool.count == pool.max) {
        return false;
    }
    hpa = frame_alloc();
    links = frame_alloc();
    if (hpa == HPA_INVALID || links == HPA_INVALID) {
        if (hpa != HPA_INVALID) {
            frame_free(hpa);
        }
        pool.max = pool.count; /* memory is short: do with what we have */
        return false;
    }
    t = &pool.tables[++pool.count];
    t->index = pool.count;
    t->hpa = hpa;
    t->pte = phys_to_virt(hpa);
    t->links = phys_to_virt(links);
    t->next = pool.free;
    pool.free = t->index;
    pool.free_count++;
    return true;
}

int pool_init(unsigned max_frames)
{
    uint64_t bytes = ((uint64_t)max_frames + 1) * sizeof(struct shadow_table);
    hpa_t hpa = frame_alloc_contig(ALIGN_UP(bytes, PAGE_SIZE) >> PAGE_SHIFT, PAGE_SIZE);

    if (hpa == HPA_INVALID || max_frames < POOL_MIN) {
        return -ENOMEM;
    }
    memset(&pool, 0, sizeof(pool));
    pool.tables = phys_to_virt(hpa);
    pool.max = max_frames;
    return pool_ensure(POOL_MIN) ? 0 : -ENOMEM;
}

bool pool_ensure(unsigned n)
{
    while (pool.free_count < n && pool_grow()) {
    }
    return pool.free_count >= n;
}

struct shadow_table *table_get(uint32_t index)
{
    ASSERT(index && index <= pool.count);
    return &pool.tables[index];
}

struct shadow_table *table_child(const struct shadow_table *t, unsigned slot)
{
    uint64_t pte = t->pte[slot];

    /* In the monitor's slots of a root are pointers without a link. */
    if (!(pte & PTE_P) || pte_is_leaf(pte, t->level) || !t->links[slot].next) {
        return NULL;
    }
    return table_get(t->links[slot].next);
}

struct shadow_table *table_first(unsigned level)
{
    return pool.level[level] ? table_get(pool.level[level]) : NULL;
}

struct shadow_table *table_alloc(enum view view, struct shadow_table *parent, unsigned slot,
                                 bool permanent)
{
    struct shadow_table *t;

    if (!pool_ensure(1) || (permanent && pool.permanent == POOL_PERMANENT_MAX)) {
        return NULL;
    }
    t = table_get(pool.free);
    pool.free = t->next;
    pool.free_count--;
    pool.permanent += permanent;
    shadow_stats.frames_used = pool.count - pool.free_count;

    t->view = view;
    t->level = parent ? parent->level - 1 : PT_LEVELS;
    t->gva = parent ? table_gva(parent, slot) : 0;
    t->parent = parent ? parent->index : 0;
    t->slot = slot;
    t->permanent = permanent;
    t->fractured = false;
    t->next = pool.level[t->level];
    pool.level[t->level] = t->index;
    if (parent) {
        ASSERT(!parent->pte[slot]);
        parent->links[slot].next = t->index;
        if (!permanent) {
            parent->used[slot / 64] |= BIT(slot % 64);
        }
        pte_write(&parent->pte[slot], t->hpa | SHADOW_TABLE);
    }
    return t;
}

static bool table_empty(const struct shadow_table *t)
{
    uint64_t any = 0;
    unsigned w;

    for (w = 0; w < ARRAY_SIZE(t->used); w++) {
        any |= t->used[w];
    }
    return !any;
}

/* Take an empty table out of its parent and put it on the free list. */
static void table_release(struct shadow_table *t)
{
    struct shadow_table *parent = table_get(t->parent);

    pte_write(&parent->pte[t->slot], 0);
    parent->links[t->slot].next = 0;
    parent->used[t->slot / 64] &= ~BIT(t->slot % 64);
    t->next = pool.free;
    pool.free = t->index;
    pool.free_count++;
    shadow_stats.frames_used = pool.count - pool.free_count;
}

unsigned tables_reap(unsigned level)
{
    uint32_t *link = &pool.level[level];
    unsigned n = 0;

    while (*link) {
        struct shadow_table *t = table_get(*link);

        if (t->permanent || !table_empty(t)) {
            link = &t->next;
            continue;
        }
        *link = t->next;
        table_release(t);
        n++;
    }
    return n;
}
