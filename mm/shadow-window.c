/* SPDX-License-Identifier: MIT */
/*
 * One-instruction windows: an exception to the rules of the shadow tables, held open while the
 * monitor lets one guest instruction run. Each window remembers the entry it changed; while it is
 * open fills leave that entry alone, and whatever drops mappings closes all windows first.
 */
#include "kernel/lib/log.h"
#include "mm/host.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"

#define WINDOWS_MAX 4

struct redo_window {
    enum view view;
    gva_t gva;
    struct shadow_table *t; /* level 1 */
    unsigned slot;
    bool mapped;    /* a private frame is in place; otherwise W was added */
    uint64_t saved; /* mapped: the guest's leaf that was there, 0 = none */
    uint64_t snap;  /* of `saved` */
};

static struct redo_window open[WINDOWS_MAX];
static unsigned open_count;

unsigned redo_windows_open(void)
{
    return open_count;
}

bool redo_window_at(enum view view, gva_t gva)
{
    unsigned i;

    for (i = 0; i < open_count; i++) {
        if (open[i].view == view && open[i].gva == (gva & PAGE_MASK)) {
            return true;
        }
    }
    return false;
}

bool redo_window_slot(const struct shadow_table *t, unsigned slot)
{
    unsigned i;

    for (i = 0; i < open_count; i++) {
        if (open[i].t == t && open[i].slot == slot) {
            return true;
        }
    }
    return false;
}

/* The level 1 slot for gva, of whatever the guest has there, made if it is missing; NULL: the guest maps nothing. */
static struct shadow_table *small_slot(enum view view, gva_t gva)
{
    unsigned access = WALK_PROBE | (view == VIEW_USER ? WALK_USER : 0);
    struct walk_result res;

    if (guest_walk(&shadow_paging, gva, access, &res)) {
        return NULL;
    }
    shadow_prepare_fill(view, gva);
    return fill_small(view, gva, &res);
}

void shadow_window_open(enum view view, gva_t gva)
{
    struct walk_result res;
    struct shadow_table *t;
    unsigned slot = pt_index(gva, 1);

    if (redo_window_at(view, gva) || shadow_fill(view, gva, WALK_WRITE, &res) != FILL_TRACKED) {
        return; /* writable already, or the instruction will fault again for another reason */
    }
    t = table_find(view, gva, 1); /* not before the fill, which may close all windows */
    ASSERT(t && slot_used(t, slot));
    if (open_count == WINDOWS_MAX || redo_window_slot(t, slot)) {
        return;
    }
    open[open_count++] = (struct redo_window){.view = view, .gva = gva & PAGE_MASK, .t = t, .slot = slot};
    pte_write(&t->pte[slot], t->pte[slot] | PTE_W);
    host_invlpg(gva);
}

void shadow_window_map(enum view view, gva_t gva, hpa_t frame, bool writable)
{
    unsigned slot = pt_index(gva, 1);
    struct shadow_table *t;
    struct redo_window *w;

    ASSERT(!shadow_reserved(gva) && !(frame & ~PAGE_MASK));
    if (redo_window_at(view, gva) || open_count == WINDOWS_MAX) {
        return;
    }
    t = small_slot(view, gva); /* may close all windows */
    if (!t || redo_window_slot(t, slot)) {
        return;
    }
    w = &open[open_count++];
    *w = (struct redo_window){.view = view, .gva = gva & PAGE_MASK, .t = t, .slot = slot, .mapped = true};
    if (slot_used(t, slot)) {
        w->saved = t->pte[slot];
        w->snap = t->snap[slot];
        leaf_drop(t, slot);
    }
    pte_write(&t->pte[slot], frame | SHADOW_LEAF | (writable ? PTE_W : 0));
    if (t->multi) {
        host_tlb_flush();
    } else {
        host_invlpg(gva);
    }
}

static void window_restore(const struct redo_window *w)
{
    uint64_t *pte = &w->t->pte[w->slot];

    if (!w->mapped) {
        pte_write(pte, *pte & ~PTE_W);
    } else {
        pte_write(pte, 0);
        if (w->saved) {
            leaf_set(w->t, w->slot, w->saved, w->snap);
            if (track_reasons(leaf_ram(w->t, w->slot))) { /* it may have become tracked meanwhile */
                pte_write(pte, *pte & ~PTE_W);
            }
        }
    }
    if (w->t->multi) {
        host_tlb_flush();
    } else {
        host_invlpg(w->gva);
    }
}

void shadow_window_close(void)
{
    ram_addr_t written[WINDOWS_MAX], ram;
    unsigned n = 0;

    while (open_count) {
        struct redo_window *w = &open[--open_count];

        if (!w->mapped || hpa_to_ram(pte_leaf_addr(w->t->pte[w->slot], 1), &ram)) {
            written[n++] = w->mapped ? ram : leaf_ram(w->t, w->slot);
        }
        window_restore(w);
    }
    while (n) { /* it may have become a page table while it was open */
        shadow_guest_writes(written[--n]);
    }
}
