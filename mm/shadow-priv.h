/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of the shadow tables (shadow*.c, rmap.c, track.c) and by nobody else.
 *
 * Context of everything here: one CPU at a time; the vCPU loop is the only caller.
 *
 *   root (level 4) -> level 3 -> level 2 -> level 1      one struct shadow_table per table
 *
 * A table shadows one table of the guest in one role (level, view, mode, ...), wherever and in
 * however many address spaces the guest uses it; or it is
 *   direct     the pieces of one large guest page, owned by the one slot that points to it;
 *   template   one of the monitor's own, which hold the windows. Where a guest has tables on the
 *              way to a window, their shadows start as copies of the template (.tmpl).
 *
 *   .pte[slot]    what the hardware walks
 *   .used         bit per slot that the guest's mappings have filled. What comes from the template
 *                 is not in it
 *   .snap[slot]   of a used slot, unless direct: the guest's entry that it was made from
 *   .links[slot]  of a used leaf: its place in the reverse map;
 *                 of a used pointer: .prev is the child's index, .next the child's next parent
 */
#ifndef MM_SHADOW_PRIV_H
#define MM_SHADOW_PRIV_H

#include "kernel/lib/types.h"
#include "mm/pte.h"
#include "mm/shadow.h"

struct rmap_link {
    uint32_t next, prev; /* table index * 512 + slot; 0 = end */
};

#define RAM_NONE (~(ram_addr_t)0)

/* What a table shadows and how; the key of table_lookup(). */
struct shadow_role {
    ram_addr_t ram; /* the guest's table; RAM_NONE for direct and template tables */
    uint32_t tmpl;  /* index of the template, 0 = no window lies below */
    uint8_t level, view;
    uint8_t mode; /* MODE_* */
    bool ro;      /* entries above that point to windows cannot carry a missing W: all below lacks it */
};

struct shadow_table {
    uint64_t *pte;
    uint64_t *snap;
    struct rmap_link *links;
    hpa_t hpa; /* of pte */
    gva_t gva; /* first address covered, where it was first used */
    uint64_t used[PT_ENTRIES / 64];
    struct shadow_role role;
    uint32_t index;
    uint32_t next;       /* free list; list of roots */
    uint32_t frame_next; /* next table that shadows the same guest table */
    uint32_t parents;    /* first slot that points here: table index * 512 + slot; 0 = none */
    uint32_t stamp;      /* roots: when last made current */
    uint16_t nr_used;
    bool in_use;
    bool template;
    bool direct;
    bool multi; /* reachable at more addresses than .gva, and so is all below */
};

/* ---- shadow-pool.c: tables, and which table shadows what ---- */

/* Tables that ordinary fills leave for use between opening and closing one-instruction windows. */
#define POOL_WINDOW_RESERVE 24
/* Allocated at once, so that after a flush there is always enough to go on. */
#define POOL_MIN          64
#define POOL_TEMPLATE_MAX (POOL_MIN - POOL_WINDOW_RESERVE - FILL_TABLES)
/* One fill needs at most a root, three tables, and two of pieces. */
#define FILL_TABLES 6

int pool_init(unsigned max_tables, uint64_t ram_size);
/* Are n tables free (growing the pool if it may grow)? */
bool pool_ensure(unsigned n);
/* A new table, empty but for what its template holds. NULL: none is free. */
struct shadow_table *table_alloc(const struct shadow_role *role);
/* Back to the pool. It has no used slots and no parents. */
void table_release(struct shadow_table *t);
struct shadow_table *table_get(uint32_t index);
/* 1..table_count() are the indices of all tables that ever existed. */
uint32_t table_count(void);
/* The table with this role, or NULL. While addresses are watched, for use at gva only: there a fill decides by address. */
struct shadow_table *table_lookup(const struct shadow_role *role, gva_t gva);
/* First table that shadows the guest's table at ram, linked by .frame_next; NULL if none does. */
struct shadow_table *table_first_of(ram_addr_t ram);

static inline gva_t table_gva(const struct shadow_table *t, unsigned slot)
{
    return sign_extend_va(t->gva + slot * pt_span(t->role.level));
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

/* ---- shadow-slot.c: single slots, and the tables that hang on them ---- */

/* Bits of every guest leaf. A and D are preset: the hardware never has to write them. */
#define SHADOW_LEAF  (PTE_P | PTE_U | PTE_A | PTE_D | PTE_NX)
#define SHADOW_TABLE (PTE_P | PTE_W | PTE_U | PTE_A)

/* Entries removed or weakened since the last tlb_commit() are noted, and go from the TLBs there. Whoever calls
 * something that notes commits before it returns to another module. */
void tlb_note(const struct shadow_table *t, unsigned slot);
void tlb_note_all(void);
void tlb_commit(void);

/* Fill an empty slot with a leaf. */
void leaf_set(struct shadow_table *t, unsigned slot, uint64_t pte, uint64_t snap);
void leaf_drop(struct shadow_table *t, unsigned slot); /* notes nothing */
ram_addr_t leaf_ram(const struct shadow_table *t, unsigned slot);
/* Let an empty slot point to child. */
void slot_link(struct shadow_table *t, unsigned slot, struct shadow_table *child, uint64_t pte, uint64_t snap);
/* Empty a used slot, and free what nothing else points to. Closes one-instruction windows if it is a pointer. */
void slot_drop(struct shadow_table *t, unsigned slot);
/* Drop all slots that point to t; unless it is a root, t is free then. */
void table_unlink(struct shadow_table *t);
/* Drop all slots of t. */
void table_clear(struct shadow_table *t);
/* The table that a used slot points to; NULL: not used, or a leaf. */
struct shadow_table *table_child(const struct shadow_table *t, unsigned slot);

/* ---- shadow.c: roots ---- */

#define MODE_WP  1 /* CR0.WP; only the kernel view depends on it */
#define MODE_NXE 2

extern struct guest_paging shadow_paging; /* owner: shadow_set_paging() */
extern uint8_t shadow_mode;               /* MODE_*, of shadow_paging */

/* The root of the present address space in the view; NULL: not made yet. */
struct shadow_table *root_table(enum view view);
/* As above, made if missing. Never NULL after shadow_prepare_fill(). */
struct shadow_table *root_make(enum view view);
void root_free(struct shadow_table *t);
/* Index of the root made last, 0: none; the others follow by .next. */
uint32_t root_first(void);
/* The template table of `level` for va, or NULL: no window is near. */
struct shadow_table *template_find(enum view view, gva_t va, unsigned level);
/* Make sure that a fill finds the tables it needs; drops roots, then everything, if the pool is used up. */
void shadow_prepare_fill(enum view view, gva_t gva);
/* The table of `level` for gva; NULL if absent, or if a large entry is in the way. */
struct shadow_table *table_find(enum view view, gva_t gva, unsigned level);

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
 * lie. Level 1 templates are in all roots. NULL: no room. */
struct shadow_table *window_reserve(enum view view, gva_t va, uint64_t count);

/* ---- shadow-alias.c ---- */

void alias_drop_all(void);
/* Drop what maps the frame. */
void alias_drop_frame(ram_addr_t page);
bool alias_window_holds(gva_t gva);
/* Is pte what the alias window must have at gva? */
bool alias_consistent(enum view view, gva_t gva, uint64_t pte);

/* ---- shadow-fill.c ---- */

/* The level 1 table for gva, whose walk gave *res, made if it is not there; a large entry makes room for pieces. The
 * slot of gva may be empty, even the table is then (NULL) in rare cases. The caller has called shadow_prepare_fill(). */
struct shadow_table *fill_small(enum view view, gva_t gva, const struct walk_result *res);

/* ---- shadow-sync.c: guest tables and their shadows ---- */

void sync_init(void);
/* A table has come to shadow the guest's table at ram, the first one; or the last one has gone. */
void sync_frame_shadowed(ram_addr_t ram);
void sync_frame_forgotten(ram_addr_t ram);
/* Is the guest's table at ram writable by the guest at present, and compared later? */
bool sync_frame_unsynced(ram_addr_t ram);
/* Does `now` say at least what the entry `snap` said? Accessed and dirty may have been added. */
bool snap_valid(uint64_t snap, uint64_t now);
/* Compare all unsynchronized tables with their snapshots and drop what has changed; for INVLPG only those above level 1. */
enum sync_cause { SYNC_CR3, SYNC_INVLPG, SYNC_RELINKED };
void sync_all(enum sync_cause cause);
/* The same for what translates gva in the view, whatever its state. */
void sync_address(enum view view, gva_t gva);

/* ---- shadow-window.c ---- */

unsigned redo_windows_open(void);
/* Is there an open one-instruction window at gva? Its entry is then not to be touched. */
bool redo_window_at(enum view view, gva_t gva);
bool redo_window_slot(const struct shadow_table *t, unsigned slot);

#endif
