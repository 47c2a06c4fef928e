/* SPDX-License-Identifier: MIT */
/*
 * The two shadow roots: creation, the monitor's windows in them, and everything that drops guest
 * mappings. Filling is in shadow-fill.c. Dropping never allocates and never fails.
 */
#include "mm/shadow.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "mm/host.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"

#define WINDOWS_MAX 32

/* Bits that change what a translation means or whether it is global; the others in these registers
 * do not concern us. */
#define CR0_PAGING (BIT(16) | BIT(31)) /* WP, PG */
#define CR4_PAGING                                                                                 \
    (BIT(4) | BIT(5) | BIT(7) | BIT(12) | BIT(17) | BIT(20)) /* PSE PAE PGE LA57 PCIDE SMEP */
#define CR4_PGE     BIT(7)
#define EFER_PAGING (BIT(8) | BIT(10) | BIT(11)) /* LME, LMA, NXE */

struct shadow_stats shadow_stats;  /* owner: mm/; read by anyone */
struct guest_paging shadow_paging; /* owner: shadow_set_paging(); what fills walk with */

static struct shadow_table *roots[VIEW_COUNT];
static struct shadow_window windows[WINDOWS_MAX];
static unsigned window_count;

/* ---- single entries ---- */

ram_addr_t leaf_ram(const struct shadow_table *t, unsigned slot)
{
    ram_addr_t ram;
    bool ok = hpa_to_ram(pte_leaf_addr(t->pte[slot], t->level), &ram);

    ASSERT(ok);
    return ram;
}

void leaf_set(struct shadow_table *t, unsigned slot, uint64_t pte, bool global)
{
    ASSERT(!t->pte[slot]);
    t->used[slot / 64] |= BIT(slot % 64);
    if (global) {
        t->global[slot / 64] |= BIT(slot % 64);
    }
    pte_write(&t->pte[slot], pte);
    rmap_add(t, slot, leaf_ram(t, slot));
}

void leaf_drop(struct shadow_table *t, unsigned slot)
{
    ASSERT(slot_used(t, slot));
    if (t->level == 1 && (t->pte[slot] & (PTE_W | PTE_D)) == (PTE_W | PTE_D) && track_is_sampled(leaf_ram(t, slot))) {
        track_note_dirty(leaf_ram(t, slot));
    }
    rmap_del(t, slot, leaf_ram(t, slot));
    pte_write(&t->pte[slot], 0);
    t->used[slot / 64] &= ~BIT(slot % 64);
    t->global[slot / 64] &= ~BIT(slot % 64);
}

/* ---- finding and making tables ---- */

struct shadow_table *root_table(enum view view)
{
    return roots[view];
}

hpa_t shadow_root(enum view view)
{
    return roots[view]->hpa;
}

struct shadow_table *table_find(enum view view, gva_t gva, unsigned level)
{
    struct shadow_table *t = roots[view];

    while (t && t->level > level) {
        t = table_child(t, pt_index(gva, t->level));
    }
    return t;
}

/* NULL only if no table is left. */
static struct shadow_table *table_descend(enum view view, gva_t gva, unsigned level, bool permanent)
{
    struct shadow_table *t = roots[view];

    while (t && t->level > level) {
        unsigned slot = pt_index(gva, t->level);

        t = t->pte[slot] ? table_child(t, slot) : table_alloc(view, t, slot, permanent);
    }
    return t;
}

struct shadow_table *table_make(enum view view, gva_t gva, unsigned level)
{
    struct shadow_table *t = table_descend(view, gva, level, false);

    ASSERT(t); /* shadow_prepare_fill() has seen to it */
    return t;
}

void shadow_prepare_fill(enum view view, gva_t gva)
{
    unsigned reserve = redo_windows_open() ? 0 : POOL_WINDOW_RESERVE;
    unsigned missing = 0;

    while (missing < PT_LEVELS - 1 && !table_find(view, gva, missing + 1)) {
        missing++;
    }
    if (missing && !pool_ensure(missing + reserve)) {
        shadow_stats.pool_flushes++;
        shadow_flush();
        /* POOL_MIN and POOL_PERMANENT_MAX are chosen for this. */
        ASSERT(pool_ensure(PT_LEVELS - 1 + POOL_WINDOW_RESERVE));
    }
}

/* ---- dropping ---- */

/* Drop the guest leaves of one table, or only the non-global ones. Returns how many. */
static unsigned table_drop_leaves(struct shadow_table *t, bool keep_global)
{
    unsigned w, n = 0;

    for (w = 0; w < ARRAY_SIZE(t->used); w++) {
        uint64_t bits = t->used[w] & (keep_global ? ~t->global[w] : ~0ull);

        for (; bits; bits &= bits - 1) {
            unsigned slot = w * 64 + (unsigned)__builtin_ctzll(bits);

            if (pte_is_leaf(t->pte[slot], t->level)) {
                leaf_drop(t, slot);
                n++;
            }
        }
    }
    return n;
}

/* Drop from the bottom up, so that tables are empty by the time they are looked at. */
static void shadow_drop_all(bool keep_global)
{
    unsigned level, n = 0;

    shadow_window_close();
    alias_drop_all();
    for (level = 1; level < PT_LEVELS; level++) {
        struct shadow_table *t;

        for (t = level <= 2 ? table_first(level) : NULL; t;
             t = t->next ? table_get(t->next) : NULL) {
            n += table_drop_leaves(t, keep_global);
            t->fractured = t->fractured && keep_global;
        }
        n += tables_reap(level);
    }
    if (n) {
        host_tlb_flush();
    }
    shadow_stats.flushes++;
    LOG(MMU, "flush%s: %u dropped", keep_global ? " but global" : "", n);
}

void shadow_flush(void)
{
    shadow_drop_all(false);
}

void shadow_set_paging(const struct guest_paging *gp)
{
    const struct guest_paging *old = &shadow_paging;
    bool same = !((gp->cr0 ^ old->cr0) & CR0_PAGING) && !((gp->cr4 ^ old->cr4) & CR4_PAGING) &&
                !((gp->efer ^ old->efer) & EFER_PAGING) && gp->maxphyaddr == old->maxphyaddr;

    /* As MOV to CR3 (SDM 3A 4.10.4.1): global translations stay unless the mode itself has changed.
     */
    shadow_paging = *gp;
    shadow_drop_all(same && (gp->cr4 & CR4_PGE));
}

/* Drop all guest leaves below t (level 1 or 2), whose area holds pieces of one guest page. */
static void subtree_drop(struct shadow_table *t)
{
    unsigned slot;

    for (slot = 0; slot < PT_ENTRIES; slot++) {
        if (table_child(t, slot)) {
            subtree_drop(table_child(t, slot));
        }
    }
    table_drop_leaves(t, false);
    t->fractured = false;
}

/* Drop the leaf at gva in one view. With `whole`, all pieces of the guest page that it may be a
 * part of. */
static void drop_at(enum view view, gva_t gva, bool whole)
{
    struct shadow_table *child, *t = roots[view];
    unsigned slot = pt_index(gva, t->level);

    while ((child = table_child(t, slot))) {
        t = child;
        slot = pt_index(gva, t->level);
        if (whole && t->fractured) {
            subtree_drop(t);
            host_tlb_flush();
            return;
        }
    }
    if (slot_used(t, slot)) {
        leaf_drop(t, slot);
        host_invlpg(gva);
    }
}

void shadow_drop_at(enum view view, gva_t gva)
{
    alias_drop_all();
    drop_at(view, gva, false);
}

void shadow_drop_large(enum view view, gva_t gva)
{
    struct shadow_table *t = table_find(view, gva, 2);
    unsigned slot = pt_index(gva, 2);

    if (t && slot_used(t, slot) && !table_child(t, slot)) {
        leaf_drop(t, slot);
        host_invlpg(gva);
        shadow_stats.splits++;
    }
}

void shadow_flush_page(gva_t gva)
{
    if (!is_canonical(gva)) {
        return; /* INVLPG of such an address is a no-op (SDM 2A) */
    }
    shadow_window_close();
    alias_drop_all();
    drop_at(VIEW_KERNEL, gva, true);
    drop_at(VIEW_USER, gva, true);
    shadow_stats.page_flushes++;
}

/* ---- the monitor's part ---- */

const struct shadow_window *window_find(enum view view, gva_t va)
{
    unsigned i;

    for (i = 0; i < window_count; i++) {
        const struct shadow_window *w = &windows[i];

        if (w->view == view && va >= w->va && va - w->va < w->count * PAGE_SIZE) {
            return w;
        }
    }
    return NULL;
}

bool shadow_reserved(gva_t gva)
{
    unsigned slot = pt_index(gva, PT_LEVELS);

    return (slot >= MONITOR_PML4_FIRST && slot <= MONITOR_PML4_LAST) ||
           window_find(VIEW_KERNEL, gva) || window_find(VIEW_USER, gva);
}

/* Is the whole range in one of the places that mm/layout.h gives to windows? The last page of all
 * stays unmapped. */
static bool window_range_valid(gva_t va, uint64_t len)
{
    static const struct {
        gva_t base;
        uint64_t len;
    } places[] = {
        {CODE_CACHE_BASE, CODE_CACHE_MAX},
        {SLOTS_BASE, SLOTS_MAX},
        {USER_WINDOW_BASE, LARGE_SIZE - PAGE_SIZE},
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(places); i++) {
        if (va >= places[i].base && va - places[i].base < places[i].len &&
            len <= places[i].len - (va - places[i].base)) {
            return true;
        }
    }
    return false;
}

int shadow_map_window(enum view view, gva_t va, hpa_t hpa, uint64_t count, unsigned flags)
{
    uint64_t bits = PTE_P | PTE_U | PTE_A | PTE_D | (flags & SHADOW_MAP_W ? PTE_W : 0) |
                    (flags & SHADOW_MAP_X ? 0 : PTE_NX);
    uint64_t done = 0;

    ASSERT(count && !((va | hpa) & ~PAGE_MASK) && window_range_valid(va, count * PAGE_SIZE));
    ASSERT((flags & (SHADOW_MAP_W | SHADOW_MAP_X)) != (SHADOW_MAP_W | SHADOW_MAP_X));
    if (window_count == WINDOWS_MAX) {
        return -ENOMEM;
    }
    shadow_flush(); /* the guest may have had something here; now every table on the way is
                       permanent */
    windows[window_count++] =
        (struct shadow_window){.view = view, .flags = flags, .va = va, .hpa = hpa, .count = count};
    while (done < count) {
        gva_t at = va + done * PAGE_SIZE;
        hpa_t frame = hpa + done * PAGE_SIZE;
        bool large = !((at | frame) & ~LARGE_MASK) && count - done >= PT_ENTRIES;
        struct shadow_table *t = table_descend(view, at, large ? 2 : 1, true);
        uint64_t *pte;

        if (!t) {
            return -ENOMEM;
        }
        pte = &t->pte[pt_index(at, t->level)];
        ASSERT(!*pte);
        pte_write(pte, frame | bits | (large ? PTE_PS : 0));
        done += large ? PT_ENTRIES : 1;
    }
    return 0;
}

struct shadow_table *window_reserve(enum view view, gva_t va, uint64_t count)
{
    ASSERT(window_range_valid(va, count * PAGE_SIZE));
    ASSERT(((va ^ (va + (count - 1) * PAGE_SIZE)) & LARGE_MASK) == 0);
    if (window_count == WINDOWS_MAX) {
        return NULL;
    }
    shadow_flush();
    windows[window_count++] = (struct shadow_window){.view = view, .flags = SHADOW_MAP_W, .va = va, .count = count};
    return table_descend(view, va, 1, true);
}

int shadow_init(hpa_t template_root, unsigned max_frames)
{
    const uint64_t *template = phys_to_virt(template_root);
    enum view view;

    ASSERT(guest_ram_size());
    window_count = 0;
    memset(&shadow_stats, 0, sizeof(shadow_stats));
    if (pool_init(max_frames) || rmap_init(guest_ram_size()) || track_init(guest_ram_size())) {
        return -ENOMEM;
    }
    for (view = 0; view < VIEW_COUNT; view++) {
        roots[view] = table_alloc(view, NULL, 0, true);
        if (!roots[view]) {
            return -ENOMEM;
        }
        memcpy(&roots[view]->pte[MONITOR_PML4_FIRST], &template[MONITOR_PML4_FIRST],
               (MONITOR_PML4_LAST - MONITOR_PML4_FIRST + 1) * sizeof(*template));
    }
    return 0;
}
