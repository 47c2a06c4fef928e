/* SPDX-License-Identifier: MIT */
/*
 * Shadow fill: a fault in a view, resolved by walking the guest's tables and mapping one page.
 * Decides what an entry may hold; the only place besides one-instruction windows that gives W.
 *
 *   pointer: W = the guest's entry allows the write
 *   leaf:    W = the guest's entry allows the write
 *                && guest D is set, else the first write has to be seen
 *                && the frame is untracked
 *
 * and the hardware combines the levels as it would combine the guest's. The pieces of a large page have the rights that
 * the page's own entry would have in the pointer to them.
 */
#include "kernel/lib/log.h"
#include "mm/host.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"
#include "mm/watch.h"

/* Pieces of a large page that one fill maps. */
#define FILL_AROUND 16

/*
 * This fill has made a table reachable that was there before. An INVLPG that did not find it on its way has not looked at it:
 * it is compared before the guest can see it.
 */
static bool relinked;

static bool entry_writable(const struct shadow_table *t, uint64_t entry)
{
    return (entry & PTE_W) || (t->role.view == VIEW_KERNEL && !(t->role.mode & MODE_WP));
}

/* Give pointer `slot` of t the rights of `entry`. */
static void pointer_update(struct shadow_table *t, unsigned slot, uint64_t pte, uint64_t entry)
{
    uint64_t old = t->pte[slot];

    t->snap[slot] = entry;
    if (old != pte) {
        if (old & ~pte) {
            alias_drop_all();
            tlb_note_all();
        }
        pte_write(&t->pte[slot], pte);
    }
}

/*
 * The table below `slot` of t, for the guest's entry, which allows writes or does not. It shadows the guest's table at ram, or is
 * the pieces of the large page that the entry maps (RAM_NONE).
 */
static struct shadow_table *descend(struct shadow_table *t, unsigned slot, uint64_t entry, bool writable,
                                    ram_addr_t ram)
{
    struct shadow_role role = t->role;
    struct shadow_table *tmpl = t->role.tmpl ? table_get(t->role.tmpl) : NULL;
    struct shadow_table *child = table_child(t, slot);
    uint64_t pte;

    role.ram = ram;
    role.level--;
    role.tmpl = 0;
    role.ro = false;
    writable = writable && !t->role.ro;
    if (tmpl && tmpl->pte[slot]) { /* above a window: the pointer has all rights */
        role.tmpl = table_get(tmpl->links[slot].prev)->index;
        role.ro = !writable;
        writable = true;
    }
    if (child && (child->role.ram != ram || child->role.ro != role.ro || ((t->snap[slot] ^ entry) & PTE_ADDR))) {
        slot_drop(t, slot);
        child = NULL;
    }
    if (!child) {
        if (slot_used(t, slot)) {
            slot_drop(t, slot); /* a large entry */
        }
        child = ram == RAM_NONE ? NULL : table_lookup(&role, table_gva(t, slot));
        relinked = relinked || child;
        if (!child) {
            child = table_alloc(&role);
            child->direct = ram == RAM_NONE;
        }
        pte = child->hpa | SHADOW_TABLE;
        slot_link(t, slot, child, writable ? pte : pte & ~PTE_W, entry);
        return child;
    }
    pte = child->hpa | SHADOW_TABLE;
    pointer_update(t, slot, writable ? pte : pte & ~PTE_W, entry);
    return child;
}

/* Make leaf `slot` of t hold `pte`. More rights for the same frame are given in place; anything
 * else replaces the entry. */
static void leaf_update(struct shadow_table *t, unsigned slot, uint64_t pte, uint64_t entry)
{
    uint64_t old = t->pte[slot];

    if (redo_window_slot(t, slot)) {
        return;
    }
    if (slot_used(t, slot)) {
        if ((old | PTE_D) == (pte | PTE_D) || (old | PTE_W | PTE_D) == (pte | PTE_D)) {
            pte_write(&t->pte[slot], pte | (old & PTE_D));
            t->snap[slot] = entry;
            return;
        }
        slot_drop(t, slot);
    }
    leaf_set(t, slot, pte, entry);
}

/* Of a leaf, or for 2 MiB in which nothing is tracked or sampled. */
static uint64_t leaf_bits(const struct shadow_table *t, bool writable, ram_addr_t ram)
{
    uint64_t bits = SHADOW_LEAF | (writable && !t->role.ro && !track_reasons(ram & PAGE_MASK) ? PTE_W : 0);

    /* The hardware sets D in an entry whose writes are sampled. */
    return track_is_sampled(ram & PAGE_MASK) ? bits & ~PTE_D : bits;
}

/* A piece of a large page, and its neighbours: who touches one touches others. */
static void fill_pieces(struct shadow_table *t, unsigned slot, ram_addr_t ram)
{
    unsigned first = ALIGN_DOWN(slot, FILL_AROUND), i;

    ram = ALIGN_DOWN(ram, (uint64_t)FILL_AROUND << PAGE_SHIFT);
    for (i = first; i < first + FILL_AROUND; i++, ram += PAGE_SIZE) {
        if (i == slot || (!t->pte[i] && !watch_in(table_gva(t, i), PAGE_SIZE, false))) {
            leaf_update(t, i, ram_to_hpa(ram) | leaf_bits(t, true, ram), 0);
        }
    }
}

/* The table of level res->level for gva, in the present root: pointers for all that the walk has passed. */
static struct shadow_table *fill_path(enum view view, gva_t gva, const struct walk_result *res)
{
    struct shadow_table *t = root_make(view);
    unsigned l;

    for (l = PT_LEVELS; l > res->level; l--) {
        uint64_t entry = res->entry[l];
        ram_addr_t table;
        bool ok = gpa_to_ram(entry & PTE_ADDR, &table);

        ASSERT(ok); /* what is not RAM reads as ones, and the walk has failed */
        t = descend(t, pt_index(gva, l), entry, entry_writable(t, entry), table);
    }
    return t;
}

/* From the table whose slot maps the large page of the walk down to `level`, by tables of pieces. */
static struct shadow_table *descend_pieces(struct shadow_table *t, gva_t gva, const struct walk_result *res,
                                           unsigned level)
{
    uint64_t entry = res->entry[res->level];
    bool writable = entry_writable(t, entry) && (entry & PTE_D);

    while (t->role.level > level) {
        if (t->direct) {
            entry = 0;
            writable = true;
        }
        t = descend(t, pt_index(gva, t->role.level), entry, writable, RAM_NONE);
    }
    return t;
}

/* Map the large page of the walk (level 2 or 3) at slot of t, as large as possible. */
static void fill_large(struct shadow_table *t, gva_t gva, const struct walk_result *res, ram_addr_t ram)
{
    unsigned slot = pt_index(gva, 2);
    uint64_t entry;
    bool writable;

    t = descend_pieces(t, gva, res, 2);
    entry = t->direct ? 0 : res->entry[2];
    writable = t->direct || (entry_writable(t, entry) && (entry & PTE_D));
    /* With A20 closed both halves of a large page are one MiB of RAM. An entry that is a table stays one: pieces are correct, if
     * slower, and what was tracked once will be again. */
    if (guest_ram_a20_open() && !track_region_count(ram) && !table_child(t, slot) &&
        !watch_in(gva & LARGE_MASK, LARGE_SIZE, false)) {
        shadow_stats.large_maps += !slot_used(t, slot);
        leaf_update(t, slot, ram_to_hpa(ram & LARGE_MASK) | leaf_bits(t, writable, ram) | PTE_PS, entry);
        return;
    }
    shadow_stats.splits += slot_used(t, slot) && !table_child(t, slot);
    fill_pieces(descend_pieces(t, gva, res, 1), pt_index(gva, 1), ram);
}

/* Map the page of a successful walk at gva; ram is what gva's page translates to. */
static void fill_install(enum view view, gva_t gva, const struct walk_result *res, ram_addr_t ram)
{
    struct shadow_table *t = fill_path(view, gva, res);
    uint64_t entry = res->entry[1];
    bool writable;

    if (unlikely(watch_in(gva & PAGE_MASK, PAGE_SIZE, false))) {
        watch_mark(ram & PAGE_MASK);
    }

    if (res->level > 1) {
        fill_large(t, gva, res, ram);
        return;
    }
    writable = entry_writable(t, entry) && (entry & PTE_D);
    leaf_update(t, pt_index(gva, 1), ram_to_hpa(ram) | leaf_bits(t, writable, ram), entry);
}

/* After all links are made. */
static void fill_done(void)
{
    if (relinked) {
        relinked = false;
        sync_all(SYNC_RELINKED);
    }
    tlb_commit();
}

struct shadow_table *fill_small(enum view view, gva_t gva, const struct walk_result *res)
{
    descend_pieces(fill_path(view, gva, res), gva, res, 1);
    fill_done();
    return table_find(view, gva, 1);
}

/*
 * A write to a guest table makes it unsynchronized. The page can be one that this very fill comes to shadow, and finds no
 * place among the unsynchronized ones: then again. After a flush there is room for all.
 */
static void fill_mapped(enum view view, gva_t gva, bool write, const struct walk_result *res, ram_addr_t ram)
{
    unsigned tries = 0;

    do {
        if (tries++ == 2) {
            shadow_flush();
        }
        if (write) {
            shadow_guest_writes(ram);
        }
        shadow_prepare_fill(view, gva);
        fill_install(view, gva, res, ram);
        fill_done();
    } while (write && (track_reasons(ram) & TRACK_PT) && table_first_of(ram));
}

enum shadow_fill_result shadow_fill(enum view view, gva_t gva, unsigned access,
                                    struct walk_result *res)
{
    bool write = access & WALK_WRITE;
    unsigned walk_access = (access & WALK_WRITE) | (view == VIEW_USER ? WALK_USER : 0);
    ram_addr_t ram;
    bool mapped;

    shadow_stats.fills++;
    if (guest_walk(&shadow_paging, gva, walk_access, res)) {
        /* A fault ends what the TLB holds for the address (SDM 3A 4.10.4.1). */
        if (!redo_window_at(view, gva)) {
            sync_address(view, gva);
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
    if (write && mapped && access & FILL_MAPPED && track_reasons(ram & PAGE_MASK) == TRACK_CODE) {
        return FILL_TRACKED;
    }
    if (!redo_window_at(view, gva)) {
        if (mapped) {
            fill_mapped(view, gva, write, res, ram);
        } else {
            sync_address(view, gva);
        }
    }
    LOG(MMU, "fill view=%d gva=%016llx gpa=%llx level=%u %s%s", view, (unsigned long long)gva,
        (unsigned long long)res->gpa, res->level, access & WALK_WRITE ? "write" : "read",
        mapped ? "" : " device");
    if (!mapped) {
        return FILL_MMIO;
    }
    return write && track_reasons(ram) ? FILL_TRACKED : FILL_OK;
}
