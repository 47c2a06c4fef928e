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

#endif
