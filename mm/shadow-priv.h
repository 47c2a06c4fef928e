/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of the shadow tables (shadow*.c, rmap.c, track.c) and by nobody else.
 *
 * Context of everything here: one CPU at a time; the vCPU loop is the only caller.
 *
 *   root (level 4) -> level 3 -> level 2 -> level 1      one struct shadow_table per frame
 *
 *   .pte[slot]    what the hardware walks
 *   .used         bit per slot that the guest's mappings have filled: leaves, and pointers to
 *                 tables that may be freed. The monitor's own entries (slots 256..271, windows,
 *                 the tables above windows) are never in it
 *   .links[slot]  of a used leaf: its place in the reverse map;
 *                 of a pointer to a table: .next is the child's index
 */
#ifndef MM_SHADOW_PRIV_H
#define MM_SHADOW_PRIV_H

#include "kernel/lib/types.h"
#include "mm/pte.h"
#include "mm/shadow.h"

struct rmap_link {
    uint32_t next, prev; /* table index * 512 + slot; 0 = end */
};

struct shadow_table {
    uint64_t *pte;
    struct rmap_link *links;
    hpa_t hpa; /* of pte */
    gva_t gva; /* first address covered */
    uint64_t used[PT_ENTRIES / 64];
    uint64_t global[PT_ENTRIES / 64]; /* leaves that a CR3 write spares */
    uint32_t index;
    uint32_t parent; /* index; 0 for roots */
    uint32_t next;   /* free list, or list of tables of the level */
    uint16_t slot;   /* in the parent */
    uint8_t level;
    uint8_t view;
    bool permanent; /* a root, or above a window: survives flushes */
    bool fractured; /* holds a piece of a guest page no smaller than what t covers */
};

/* ---- shadow-pool.c: table frames ---- */

/* Tables that ordinary fills leave for use between opening and closing one-instruction windows. */
#define POOL_WINDOW_RESERVE 24
/* Allocated at once, so that after a flush there is always enough to go on. */
#define POOL_MIN           64
#define POOL_PERMANENT_MAX (POOL_MIN - POOL_WINDOW_RESERVE - PT_LEVELS)

int pool_init(unsigned max_frames);
/* Are n tables free (growing the pool if it may grow)? */
bool pool_ensure(unsigned n);
/* A new empty table below parent (NULL: a root), entered there at slot. NULL: none is free, or too
 * many are permanent. */
struct shadow_table *table_alloc(enum view view, struct shadow_table *parent, unsigned slot,
                                 bool permanent);
struct shadow_table *table_get(uint32_t index);
/* The table that slot points to, or NULL: absent, a leaf, or the monitor's own. */
struct shadow_table *table_child(const struct shadow_table *t, unsigned slot);
/* First table of a level, linked by .next. */
struct shadow_table *table_first(unsigned level);
/* Free all tables of a level that are empty and not permanent. Returns how many. The MMU may still
 * have pointers to them: the caller flushes the TLB before anything is allocated. */
unsigned tables_reap(unsigned level);

static inline gva_t table_gva(const struct shadow_table *t, unsigned slot)
{
    return sign_extend_va(t->gva + slot * pt_span(t->level));
}

static inline bool slot_used(const struct shadow_table *t, unsigned slot)
{
    return t->used[slot / 64] & BIT(slot % 64);
}

/* ---- rmap.c: from a frame of guest RAM to the entries that map it ---- */

int rmap_init(uint64_t ram_size);
/* Enter or remove leaf `slot` of t (level 1 or 2), which maps ram. Cannot fail. */
void rmap_add(struct shadow_table *t, unsigned slot, ram_addr_t ram);
void rmap_del(struct shadow_table *t, unsigned slot, ram_addr_t ram);
/* First link of a page (level 1) or of its 2 MiB region (level 2); 0 = none. */
uint32_t rmap_first(unsigned level, ram_addr_t ram);
struct rmap_link *rmap_link(uint32_t id);
/* Take write permission from all mappings of the page; large ones are dropped. No CPU can write it
 * on return. */
void rmap_protect(ram_addr_t page);
/* Clear D in all small mappings of the page, drop large ones. Was it set in a writable one? */
bool rmap_clear_dirty(ram_addr_t page);

/* ---- track.c ---- */

int track_init(uint64_t ram_size);
/* How many frames are tracked in the 2 MiB region of ram. */
unsigned track_region_count(ram_addr_t ram);

/* ---- shadow.c ---- */

/* Bits of every guest leaf. A and D are preset: the hardware never has to write them. */
#define SHADOW_LEAF  (PTE_P | PTE_U | PTE_A | PTE_D | PTE_NX)
#define SHADOW_TABLE (PTE_P | PTE_W | PTE_U | PTE_A)

extern struct guest_paging shadow_paging; /* owner: shadow_set_paging() */

struct shadow_table *root_table(enum view view);
/* The table of `level` for gva; NULL if absent, or if a large entry is in the way. */
struct shadow_table *table_find(enum view view, gva_t gva, unsigned level);
/* As table_find, creating; never NULL. The caller has called shadow_prepare_fill(), and no large
 * entry is in the way. */
struct shadow_table *table_make(enum view view, gva_t gva, unsigned level);
/* Make sure that table_make() for the address succeeds; flushes everything if tables are missing
 * and the pool is used up. */
void shadow_prepare_fill(enum view view, gva_t gva);

void leaf_set(struct shadow_table *t, unsigned slot, uint64_t pte, bool global);
void leaf_drop(struct shadow_table *t, unsigned slot); /* no TLB invalidation */
ram_addr_t leaf_ram(const struct shadow_table *t, unsigned slot);
/* Drop what the view maps at gva, if anything, with TLB invalidation. */
void shadow_drop_at(enum view view, gva_t gva);
/* Drop the large entry over gva, if there is one, so that 4 KiB entries can take its place. */
void shadow_drop_large(enum view view, gva_t gva);

struct shadow_window {
    enum view view;
    unsigned flags; /* SHADOW_MAP_* */
    gva_t va;
    hpa_t hpa;
    uint64_t count; /* pages */
};
/* The registered window that holds va in the view, or NULL. */
const struct shadow_window *window_find(enum view view, gva_t va);

/* Make [va, va + count pages) a window whose entries the caller writes itself: its level 1 table, in which all of it must
 * lie. NULL: no room. */
struct shadow_table *window_reserve(enum view view, gva_t va, uint64_t count);

/* ---- shadow-alias.c ---- */

void alias_drop_all(void);
/* Drop what maps the frame. */
void alias_drop_frame(ram_addr_t page);
bool alias_window_holds(gva_t gva);
/* Is pte what the alias window must have at gva? */
bool alias_consistent(enum view view, gva_t gva, uint64_t pte);

/* ---- shadow-window.c ---- */

unsigned redo_windows_open(void);
/* Is there an open one-instruction window at gva? Its entry is then not to be touched. */
bool redo_window_at(enum view view, gva_t gva);

#endif
