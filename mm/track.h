/* SPDX-License-Identifier: MIT */
/*
 * Write tracking: one write-protect bit, many reasons. A frame of guest RAM is writable in the shadow views only when its
 * reason set is empty. W is always recomputed from the set, never toggled.
 */
#ifndef MM_TRACK_H
#define MM_TRACK_H

#include "kernel/lib/types.h"

#define TRACK_CODE      0x01 /* holds translated code */
#define TRACK_PT        0x02 /* guest page table */
#define TRACK_VGA       0x04
#define TRACK_MIGRATION 0x08
#define TRACK_WATCH     0x10

/* Add a reason. If the set was empty: clear W in all shadow PTEs of the frame (reverse map), split large ones, shoot down;
 * returns after no CPU can write it. Returns true if the reason was new. */
bool track_set(ram_addr_t page, unsigned reason);
/* Remove a reason. W comes back lazily, by a fault, unless eager. Returns true if it was set. */
bool track_clear(ram_addr_t page, unsigned reason);
unsigned track_reasons(ram_addr_t page);

/*
 * Sampling of writes that need not trap: the D bits of the page's shadow entries, which are kept small meanwhile.
 * test_and_clear: written by the guest since the last call, or since sampling began? Only for sampled pages.
 */
void track_sample(ram_addr_t page, bool on);
bool track_is_sampled(ram_addr_t page);
bool track_test_and_clear_dirty(ram_addr_t page);
/* An entry of a sampled page that was written goes away: remember it. */
void track_note_dirty(ram_addr_t page);

#endif
