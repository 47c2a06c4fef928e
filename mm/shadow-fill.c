/* SPDX-License-Identifier: MIT */
/*
 * Shadow fill: a fault in a view, resolved by walking the guest's tables and mapping one page.
 * Decides what an entry may hold; the only place besides one-instruction windows that gives W.
 *
 *   W = the guest allows the write
 *       && guest D is set, else the first write has to be seen
 *       && the frame is untracked
 */
#include "kernel/lib/log.h"
#include "mm/host.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"
#include "mm/watch.h"

/* Make leaf `slot` of t hold `pte`. More rights for the same frame are given in place; anything
 * else replaces the entry. */
static void leaf_update(struct shadow_table *t, unsigned slot, uint64_t pte, bool global)
{
    uint64_t old = t->pte[slot];
    bool was_global = t->global[slot / 64] & BIT(slot % 64);

    if (old) {
        if (((old | PTE_D) == (pte | PTE_D) || (old | PTE_W | PTE_D) == (pte | PTE_D)) && was_global == global) {
            pte_write(&t->pte[slot], pte | (old & PTE_D));
            return;
        }
        alias_drop_all();
        leaf_drop(t, slot);
        host_invlpg(table_gva(t, slot));
    }
    leaf_set(t, slot, pte, global);
}

/* Map the page of a successful walk at gva; ram is what gva's page translates to. */
static void fill_install(enum view view, gva_t gva, const struct walk_result *res, ram_addr_t ram)
{
    if (unlikely(watch_in(gva & PAGE_MASK, PAGE_SIZE, false))) {
        watch_mark(ram & PAGE_MASK);
    }
    uint64_t bits = SHADOW_LEAF | (res->writable && res->dirty && !track_reasons(ram) ? PTE_W : 0);
    bool large = res->level >= 2 && !track_region_count(ram) && !watch_in(gva & LARGE_MASK, LARGE_SIZE, false);
    unsigned slot = pt_index(gva, 2);
    struct shadow_table *t;
    uint64_t old;

    shadow_prepare_fill(view, gva);
    t = table_make(view, gva, 2);
    old = t->pte[slot];
    /* An entry that is a table stays one until it is flushed: pieces are correct, if slower. */
    large = large && (!old || pte_is_leaf(old, 2));
    t->fractured |= res->level == 3;
    if (large) {
        shadow_stats.large_maps += !old;
        leaf_update(t, slot, ram_to_hpa(ram & LARGE_MASK) | bits | PTE_PS, res->global);
        return;
    }
    shadow_drop_large(view, gva);
    t = table_make(view, gva, 1);
    t->fractured |= res->level >= 2;
    /* The hardware sets D in an entry whose writes are sampled. */
    bits &= track_is_sampled(ram) ? ~PTE_D : ~0ull;
    leaf_update(t, pt_index(gva, 1), ram_to_hpa(ram) | bits, res->global);
}

enum shadow_fill_result shadow_fill(enum view view, gva_t gva, unsigned access,
                                    struct walk_result *res)
{
    unsigned walk_access = (access & WALK_WRITE) | (view == VIEW_USER ? WALK_USER : 0);
    ram_addr_t ram;
    bool mapped;

    shadow_stats.fills++;
    if (guest_walk(&shadow_paging, gva, walk_access, res)) {
        /* A fault ends what the TLB holds for the address (SDM 3A 4.10.4.1). */
        if (!redo_window_at(view, gva)) {
            shadow_drop_at(view, gva);
        }
        return FILL_GUEST_FAULT;
    }
    if (shadow_reserved(gva)) {
        return FILL_RESERVED;
    }
    mapped = gpa_to_ram(res->gpa & PAGE_MASK, &ram);
    if (mapped && unlikely(watch_in(gva & PAGE_MASK, PAGE_SIZE, true))) {
        return FILL_WATCHED; /* nothing can be mapped there: watch_add() and every flush dropped what was */
    }
    if (!redo_window_at(view, gva)) {
        if (mapped) {
            fill_install(view, gva, res, ram);
        } else {
            shadow_drop_at(view, gva);
        }
    }
    LOG(MMU, "fill view=%d gva=%016llx gpa=%llx level=%u %s%s", view, (unsigned long long)gva,
        (unsigned long long)res->gpa, res->level, access & WALK_WRITE ? "write" : "read",
        mapped ? "" : " device");
    if (!mapped) {
        return FILL_MMIO;
    }
    return (access & WALK_WRITE) && track_reasons(ram) ? FILL_TRACKED : FILL_OK;
}
