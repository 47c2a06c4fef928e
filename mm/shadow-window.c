/* SPDX-License-Identifier: MIT */
/*
 * One-instruction windows: an exception to the rules of the shadow tables, held open while the
 * monitor lets one guest instruction run. Each window remembers the entry it changed; while it is
 * open fills leave that entry alone, and whatever drops mappings closes all windows first.
 */
#include "kernel/lib/log.h"
#include "mm/host.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"

#define WINDOWS_MAX 4

struct redo_window {
    struct shadow_table *t; /* level 1 */
    unsigned slot;
    bool mapped;    /* a private frame is in place; otherwise W was added */
    bool global;    /* of `saved` */
    uint64_t saved; /* mapped: the guest's leaf that was there, 0 = none */
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
        const struct redo_window *w = &open[i];

        if (w->t->view == view && table_gva(w->t, w->slot) == (gva & PAGE_MASK)) {
            return true;
        }
    }
    return false;
}

void shadow_window_open(enum view view, gva_t gva)
{
    struct walk_result res;
    struct redo_window *w;

    if (redo_window_at(view, gva) || shadow_fill(view, gva, WALK_WRITE, &res) != FILL_TRACKED) {
        return; /* writable already, or the instruction will fault again for another reason */
    }
    if (open_count == WINDOWS_MAX) {
        return;
    }
    w = &open[open_count]; /* not before the fill, which may close all windows */
    *w = (struct redo_window){.t = table_find(view, gva, 1), .slot = pt_index(gva, 1)};
    ASSERT(w->t && slot_used(w->t, w->slot));
    open_count++;
    pte_write(&w->t->pte[w->slot], w->t->pte[w->slot] | PTE_W);
    host_invlpg(gva);
}

void shadow_window_map(enum view view, gva_t gva, hpa_t frame, bool writable)
{
    struct redo_window *w;

    ASSERT(!shadow_reserved(gva) && !(frame & ~PAGE_MASK));
    if (redo_window_at(view, gva)) {
        return;
    }
    if (open_count == WINDOWS_MAX) {
        return;
    }
    shadow_prepare_fill(view, gva);
    w = &open[open_count]; /* not before that, which may close all windows */
    shadow_drop_large(view, gva);
    *w = (struct redo_window){
        .t = table_make(view, gva, 1), .slot = pt_index(gva, 1), .mapped = true};
    if (slot_used(w->t, w->slot)) {
        w->saved = w->t->pte[w->slot];
        w->global = w->t->global[w->slot / 64] & BIT(w->slot % 64);
        leaf_drop(w->t, w->slot);
    }
    open_count++;
    pte_write(&w->t->pte[w->slot], frame | SHADOW_LEAF | (writable ? PTE_W : 0));
    host_invlpg(gva);
}

static void window_restore(const struct redo_window *w)
{
    uint64_t *pte = &w->t->pte[w->slot];

    if (!w->mapped) {
        pte_write(pte, *pte & ~PTE_W);
    } else {
        pte_write(pte, 0);
        if (w->saved) {
            leaf_set(w->t, w->slot, w->saved, w->global);
            if (track_reasons(leaf_ram(w->t, w->slot))) { /* it may have become tracked meanwhile */
                pte_write(pte, *pte & ~PTE_W);
            }
        }
    }
    host_invlpg(table_gva(w->t, w->slot));
}

void shadow_window_close(void)
{
    while (open_count) {
        window_restore(&open[--open_count]);
    }
}
