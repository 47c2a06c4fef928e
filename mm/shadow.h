/* SPDX-License-Identifier: MIT */
/*
 * Shadow page tables: what the hardware walks while guest code runs. Two views of each guest address space: the
 * kernel view (every guest page, as a user page of the host) and the user view (guest U=1 pages only). Every guest page is NX.
 * Filled on fault, and kept: a guest table is shadowed once, wherever it is used, and the roots of several address
 * spaces exist side by side. What the guest writes to its tables is noticed by the next MOV to CR3 or INVLPG (docs/paging.md). The
 * monitor's own slots (mm/layout.h) are in every root. Large guest pages stay 2 MiB where guest RAM backs them
 * contiguously and no 4 KiB inside is tracked.
 */
#ifndef MM_SHADOW_H
#define MM_SHADOW_H

#include "kernel/lib/types.h"
#include "mm/walk.h"

enum view { VIEW_KERNEL, VIEW_USER, VIEW_COUNT };

/*
 * template_root: a root whose slots MONITOR_PML4_FIRST..LAST are copied by reference into every root. shadow_map_window()
 * below is then used for what ring 3 may see. At most max_tables shadow tables are made, each with 12 KiB of frames; when they are used up,
 * the address spaces used least recently are dropped. 0 or -ENOMEM.
 */
int shadow_init(hpa_t template_root, unsigned max_tables);
/* Map [va, va + count*4K) to consecutive frames at hpa in one view of all address spaces, user-accessible, never dropped. Only
 * inside the reserved user windows of mm/layout.h; 2 MiB of which a part is mapped with 4 KiB pages belong to the monitor as a
 * whole. Flags: MAP_W, MAP_X. Drops all guest mappings. 0 or -ENOMEM. */
#define SHADOW_MAP_W 1
#define SHADOW_MAP_X 2
int shadow_map_window(enum view view, gva_t va, hpa_t hpa, uint64_t count, unsigned flags);

/* Let a window that was mapped with 4 KiB pages, by one call of the above, show as many other frames at hpa. */
void shadow_remap_window(enum view view, gva_t va, hpa_t hpa);

/* The root to run the view of the present address space on. May change with every call of a function of this header, but
 * for shadow_stats and the windows. */
hpa_t shadow_root(enum view view);

/* The guest's paging registers changed (CR0, CR3, CR4, EFER): no translation of before is used where the guest's tables
 * say something else now. Other bits of CR0 and CR4 than those of paging need no call. */
void shadow_set_paging(const struct guest_paging *gp);
void shadow_flush(void);             /* drop all mappings of all address spaces */
void shadow_flush_page(gva_t gva);   /* INVLPG, in both views */
/* The guest's RAM at ram is about to be written, or has just been, by something else than translated code (what that writes
 * comes through shadow_fill()): as the page may hold a page table. True if it did and its frame has lost TRACK_PT. */
bool shadow_guest_writes(ram_addr_t ram);

enum shadow_fill_result {
    FILL_OK,         /* mapped (or made writable): retry */
    FILL_GUEST_FAULT,/* the guest must see #PF with res->error_code */
    FILL_TRACKED,    /* write to a tracked frame: res->gpa; the mapping is present and read-only */
    FILL_WATCHED,    /* RAM at res->gpa, not mapped because reads are watched (mm/watch.h) */
    FILL_MMIO,       /* res->gpa is not RAM */
    FILL_RESERVED,   /* gva lies in the monitor's reserved slots and the guest maps it: cannot be given */
};
#define FILL_MAPPED 0x100u /* with WALK_WRITE: the CPU found gva mapped, read-only; no entry is made again if only TRACK_CODE forbids W */
/* A fault at gva in the view; access: WALK_WRITE, WALK_USER, FILL_MAPPED. */
enum shadow_fill_result shadow_fill(enum view view, gva_t gva, unsigned access, struct walk_result *res);

/*
 * One-instruction windows, until shadow_window_close(): let writes through to a tracked page (mapped RAM at gva), or map a
 * private frame in place of a device page. At most 4 are open; one more is not opened, and the instruction faults there
 * again. The closed state is exactly the state before.
 */
void shadow_window_open(enum view view, gva_t gva);
void shadow_window_map(enum view view, gva_t gva, hpa_t frame, bool writable);
void shadow_window_close(void);

/*
 * Aliases. Reserve their window in both views; 0 or -ENOMEM. Then: an address at which the bytes at gva can be written, whatever
 * is tracked, up to the end of its page, and with `next` of the page after it. 0 if the guest does not let the view
 * write there now, or it is not RAM. Valid until anything drops mappings; A and D bits are set.
 */
int shadow_alias_init(void);
gva_t shadow_alias(enum view view, gva_t gva, bool next);

/* Is gva inside a range reserved by the monitor in the shadow roots? */
bool shadow_reserved(gva_t gva);

struct shadow_stats {
    uint64_t fills, flushes, page_flushes, frames_used, large_maps, splits, pool_flushes;
    uint64_t root_hits, roots, root_evictions;               /* MOV to CR3: roots found; roots made; roots dropped for room */
    uint64_t resyncs, sync_drops, synced, unsynced;           /* shadow-sync.c */
};
extern struct shadow_stats shadow_stats;
/* Check that no shadow PTE maps a frame outside guest RAM and the registered windows, that tracked frames are nowhere
 * writable, that rmap and PTEs agree, that synchronized tables agree with the guest's. Returns the number of violations, each logged. */
int shadow_check(void);

/* ---- shadow-show.c: for the monitor's prompt ---- */

/* The present root of a view, and what all roots of that view that are kept map of the guest's; what they share counts once. */
struct shadow_view_info {
    hpa_t root;
    bool made; /* false: the present root is only the monitor's own, nothing has been filled for this address space */
    unsigned tables;
    uint64_t pages, large_pages; /* of 4 KiB, of 2 MiB */
};
void shadow_view_info(enum view view, struct shadow_view_info *info);
/* The guest's CR3 of up to max roots that are kept for the view, the one made last first. Returns how many there are. */
unsigned shadow_kept_roots(enum view view, gpa_t *cr3, unsigned max);
/* The entry that maps gva in the view now, and its level; 0 if none has been filled, or it is a window of the monitor's. */
uint64_t shadow_entry(enum view view, gva_t gva, unsigned *level);

#endif
