/* SPDX-License-Identifier: MIT */
/*
 * Slots of shadow tables: leaves, pointers to shared tables, and their end. Dropping never
 * allocates and never fails; a table goes back to the pool when the last slot that points to it is
 * dropped. What the TLBs may still hold is collected and invalidated by tlb_commit().
 */
#include "kernel/lib/log.h"
#include "mm/host.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"

/* Up to so many single invalidations; beyond, the whole TLB. */
#define INVLPG_MAX 32

/* ---- TLB invalidation ---- */

static struct {
    gva_t gva[INVLPG_MAX];
    unsigned count; /* > INVLPG_MAX: everything */
} stale;

void tlb_note(const struct shadow_table *t, unsigned slot)
{
    if (t->multi) {
        tlb_note_all();
        return;
    }
    if (stale.count < INVLPG_MAX) {
        stale.gva[stale.count] = table_gva(t, slot);
    }
    stale.count += stale.count <= INVLPG_MAX;
}

void tlb_note_all(void)
{
    stale.count = INVLPG_MAX + 1;
}

void tlb_commit(void)
{
    unsigned i, n = stale.count;

    stale.count = 0;
    if (n > INVLPG_MAX) {
        host_tlb_flush();
        return;
    }
    for (i = 0; i < n; i++) {
        host_invlpg(stale.gva[i]);
    }
}

/* ---- leaves ---- */

static void mark_used(struct shadow_table *t, unsigned slot, uint64_t pte, uint64_t snap)
{
    ASSERT(!slot_used(t, slot));
    t->used[slot / 64] |= BIT(slot % 64);
    t->nr_used++;
    t->snap[slot] = snap;
    pte_write(&t->pte[slot], pte);
}

/* What the template says comes back. */
static void mark_unused(struct shadow_table *t, unsigned slot)
{
    t->used[slot / 64] &= ~BIT(slot % 64);
    t->nr_used--;
    t->snap[slot] = 0;
    pte_write(&t->pte[slot], t->role.tmpl ? table_get(t->role.tmpl)->pte[slot] : 0);
}

ram_addr_t leaf_ram(const struct shadow_table *t, unsigned slot)
{
    ram_addr_t ram;
    bool ok = hpa_to_ram(pte_leaf_addr(t->pte[slot], t->role.level), &ram);

    ASSERT(ok);
    return ram;
}

void leaf_set(struct shadow_table *t, unsigned slot, uint64_t pte, uint64_t snap)
{
    ASSERT(!t->pte[slot]);
    mark_used(t, slot, pte, snap);
    rmap_add(t, slot, leaf_ram(t, slot));
}

void leaf_drop(struct shadow_table *t, unsigned slot)
{
    ASSERT(slot_used(t, slot));
    if (t->role.level == 1 && (t->pte[slot] & (PTE_W | PTE_D)) == (PTE_W | PTE_D) && track_is_sampled(leaf_ram(t, slot))) {
        track_note_dirty(leaf_ram(t, slot));
    }
    alias_drop_all(); /* one may have come from here */
    rmap_del(t, slot, leaf_ram(t, slot));
    mark_unused(t, slot);
}

/* ---- pointers ---- */

struct shadow_table *table_child(const struct shadow_table *t, unsigned slot)
{
    if (!slot_used(t, slot) || pte_is_leaf(t->pte[slot], t->role.level)) {
        return NULL;
    }
    return table_get(t->links[slot].prev);
}

/* Children of a table with many addresses have many addresses. */
static void mark_multi(struct shadow_table *t)
{
    unsigned slot;

    if (t->multi) {
        return;
    }
    t->multi = true;
    for (slot = 0; t->role.level > 1 && slot < PT_ENTRIES; slot++) {
        struct shadow_table *child = table_child(t, slot);

        if (child) {
            mark_multi(child);
        }
    }
}

void slot_link(struct shadow_table *t, unsigned slot, struct shadow_table *child, uint64_t pte,
               uint64_t snap)
{
    if (!child->parents) {
        child->gva = table_gva(t, slot);
        child->multi = t->multi;
    } else if (t->multi || child->gva != table_gva(t, slot)) {
        mark_multi(child);
    }
    mark_used(t, slot, pte, snap);
    t->links[slot] = (struct rmap_link){.next = child->parents, .prev = child->index};
    child->parents = t->index * PT_ENTRIES + slot;
}

static void parent_remove(struct shadow_table *child, const struct shadow_table *t, unsigned slot)
{
    uint32_t id = t->index * PT_ENTRIES + slot;
    uint32_t *link = &child->parents;

    while (*link != id) {
        ASSERT(*link);
        link = &rmap_link(*link)->next;
    }
    *link = rmap_link(id)->next;
}

void slot_drop(struct shadow_table *t, unsigned slot)
{
    struct shadow_table *child = table_child(t, slot);

    if (!child) {
        tlb_note(t, slot);
        leaf_drop(t, slot);
        return;
    }
    shadow_window_close(); /* one may be open below */
    alias_drop_all();
    parent_remove(child, t, slot);
    t->links[slot] = (struct rmap_link){0};
    mark_unused(t, slot);
    tlb_note_all();
    if (!child->parents) {
        table_clear(child);
        table_release(child);
    }
}

void table_clear(struct shadow_table *t)
{
    unsigned w;

    for (w = 0; w < ARRAY_SIZE(t->used); w++) {
        while (t->used[w]) {
            slot_drop(t, w * 64 + (unsigned)__builtin_ctzll(t->used[w]));
        }
    }
}

void table_unlink(struct shadow_table *t)
{
    uint32_t id;

    /* The last slot frees t, and .parents stays 0. */
    while ((id = t->parents)) {
        slot_drop(table_get(id / PT_ENTRIES), id % PT_ENTRIES);
    }
}
