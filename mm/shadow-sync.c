/* SPDX-License-Identifier: MIT */
/*
 * Guest tables and their shadows. A guest table that is shadowed is in one of two states:
 *
 *   synchronized    TRACK_PT: the guest cannot write it, and every used slot of every shadow agrees with it
 *   unsynchronized  the guest writes it freely; where the architecture makes old translations end (MOV to CR3,
 *                   INVLPG) the used slots are compared with the guest's entries that they were made from, and what has changed
 *                   is dropped
 *
 * A table starts unsynchronized, because it is likely to be filled now. After SYNC_QUIET comparisons without a change it is
 * synchronized; the next write to it, one fault, makes it unsynchronized again. Slots that are not used
 * need no comparison: what is not in a shadow table is looked up in the guest's.
 */
#include "kernel/lib/log.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"

/* Tables that may be unsynchronized at once: bounds the work of a CR3 write. */
#define UNSYNC_MAX 32
/* Comparisons, at a few instructions for each used slot, that cost about as much as one write fault. */
#define SYNC_QUIET 8

/* Bits of an entry that shadow entries are made from. G is the translator's business. */
#define SNAP_MASK (PTE_P | PTE_W | PTE_U | PTE_PS | PTE_G | PTE_ADDR | PTE_NX)

static struct unsync {
    ram_addr_t ram; /* RAM_NONE: an empty place */
    unsigned quiet; /* comparisons in a row that found nothing */
} unsync[UNSYNC_MAX];
static unsigned unsync_count; /* places in use, empty ones among them */
static unsigned unsync_live;

void sync_init(void)
{
    unsync_count = unsync_live = 0;
}

static struct unsync *unsync_find(ram_addr_t ram)
{
    unsigned i;

    for (i = 0; i < unsync_count; i++) {
        if (unsync[i].ram == ram) {
            return &unsync[i];
        }
    }
    return NULL;
}

bool sync_frame_unsynced(ram_addr_t ram)
{
    return unsync_find(ram);
}

static bool unsync_add(ram_addr_t ram)
{
    struct unsync *u = unsync_find(RAM_NONE);

    if (!u) {
        if (unsync_count == UNSYNC_MAX) {
            return false;
        }
        u = &unsync[unsync_count++];
    }
    *u = (struct unsync){.ram = ram};
    unsync_live++;
    return true;
}

static void unsync_remove(struct unsync *u)
{
    u->ram = RAM_NONE;
    unsync_live--;
}

/* In the middle of a fill: nothing may be dropped to make room. */
void sync_frame_shadowed(ram_addr_t ram)
{
    if (!unsync_add(ram)) {
        track_set(ram, TRACK_PT);
    }
}

void sync_frame_forgotten(ram_addr_t ram)
{
    struct unsync *u = unsync_find(ram);

    if (u) {
        unsync_remove(u);
    } else {
        track_clear(ram, TRACK_PT);
    }
}

/* ---- comparing ---- */

bool snap_valid(uint64_t snap, uint64_t now)
{
    return !((snap ^ now) & SNAP_MASK) && !(snap & ~now & (PTE_A | PTE_D));
}

static const uint64_t *guest_table(const struct shadow_table *t)
{
    return ram_to_virt(t->role.ram);
}

/* Drop the slots of t whose guest entry has changed. Returns how many. */
static unsigned sync_table(struct shadow_table *t)
{
    const uint64_t *guest = guest_table(t);
    unsigned w, n = 0;

    for (w = 0; w < ARRAY_SIZE(t->used); w++) {
        uint64_t bits = t->used[w];

        for (; bits; bits &= bits - 1) {
            unsigned slot = w * 64 + (unsigned)__builtin_ctzll(bits);

            if (unlikely(!snap_valid(t->snap[slot], pte_read(&guest[slot])))) {
                slot_drop(t, slot);
                n++;
            }
        }
    }
    return n;
}

static bool is_current(const struct shadow_table *t)
{
    return t == root_table(VIEW_KERNEL) || t == root_table(VIEW_USER);
}

/* A table from which everything has gone is hardly a table any more: its frame is data now. */
static void free_if_empty(struct shadow_table *t)
{
    if (t->nr_used || is_current(t)) {
        return;
    }
    if (t->role.level == PT_LEVELS) {
        root_free(t);
    } else {
        table_unlink(t);
    }
}

/* Compare all shadows of a guest table. Dropping frees tables, of the same guest table even where it contains itself: start
 * over after each change, of which there are no more than used slots. Returns how many slots were dropped. */
static unsigned sync_frame(ram_addr_t ram)
{
    struct shadow_table *t = table_first_of(ram);
    unsigned dropped = 0;

    while (t) {
        unsigned n = sync_table(t);

        if (!n) {
            t = t->frame_next ? table_get(t->frame_next) : NULL;
            continue;
        }
        dropped += n;
        free_if_empty(t);
        t = table_first_of(ram);
    }
    return dropped;
}

/* Is the frame shadowed as a table above level 1, whose entries the MMU keeps in paging-structure caches? */
static bool is_upper(ram_addr_t ram)
{
    const struct shadow_table *t;

    for (t = table_first_of(ram); t; t = t->frame_next ? table_get(t->frame_next) : NULL) {
        if (t->role.level > 1) {
            return true;
        }
    }
    return false;
}

static void make_synced(struct unsync *u)
{
    ram_addr_t ram = u->ram;

    unsync_remove(u);
    track_set(ram, TRACK_PT);
    shadow_stats.synced++;
}

void sync_all(enum sync_cause cause)
{
    unsigned i;

    shadow_window_close();
    for (i = 0; i < unsync_count && unsync_live; i++) {
        struct unsync *u = &unsync[i];
        ram_addr_t ram = u->ram;
        unsigned dropped;

        if (ram == RAM_NONE || (cause == SYNC_INVLPG && !is_upper(ram))) {
            continue;
        }
        dropped = sync_frame(ram);
        shadow_stats.resyncs++;
        shadow_stats.sync_drops += dropped;
        if (u->ram != ram) { /* nothing shadows it any more */
            continue;
        }
        u->quiet = dropped ? 0 : u->quiet + (cause != SYNC_RELINKED);
        if (u->quiet >= SYNC_QUIET) {
            make_synced(u);
        }
    }
    while (unsync_count && unsync[unsync_count - 1].ram == RAM_NONE) {
        unsync_count--;
    }
    tlb_commit();
}

void sync_address(enum view view, gva_t gva)
{
    struct shadow_table *t = root_table(view);

    while (t) {
        unsigned slot = pt_index(gva, t->role.level);
        struct shadow_table *child = table_child(t, slot);

        if (!t->direct && slot_used(t, slot) && !snap_valid(t->snap[slot], pte_read(&guest_table(t)[slot]))) {
            shadow_window_close();
            slot_drop(t, slot);
            break;
        }
        t = child;
    }
    tlb_commit();
}

/* ---- writes ---- */

/* Make room by synchronizing the table that has been quiet for longest. */
static void evict_unsync(void)
{
    struct unsync *victim = &unsync[0];
    ram_addr_t ram;
    unsigned i;

    shadow_window_close();
    for (i = 1; i < unsync_count; i++) {
        if (unsync[i].quiet > victim->quiet) {
            victim = &unsync[i];
        }
    }
    ram = victim->ram;
    sync_frame(ram);
    if (victim->ram == ram) {
        make_synced(victim);
    }
    tlb_commit();
}

bool shadow_guest_writes(ram_addr_t ram)
{
    ram_addr_t page = ram & PAGE_MASK;

    if (likely(!(track_reasons(page) & TRACK_PT)) || !table_first_of(page)) {
        return false;
    }
    if (unsync_live == UNSYNC_MAX) {
        evict_unsync();
        if (!table_first_of(page)) { /* it went with the other */
            return true;
        }
    }
    unsync_add(page);
    track_clear(page, TRACK_PT);
    shadow_stats.unsynced++;
    return true;
}
