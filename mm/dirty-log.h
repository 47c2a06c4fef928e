/* SPDX-License-Identifier: MIT */
/*
 * Which frames of guest RAM were written since somebody last asked: the clients TRACK_VGA and TRACK_MIGRATION. A page whose bit
 * is clear is tracked, so the first write is seen; then the bit is set, the reason dropped, and further writes cost nothing.
 */
#ifndef MM_DIRTY_LOG_H
#define MM_DIRTY_LOG_H

#include "kernel/lib/types.h"

/* 0 or -ENOMEM. Once, after track_init(). */
int dirty_log_init(void);
/* From now on, for one client (TRACK_VGA or TRACK_MIGRATION), on the pages of [start, start + len): all clean. */
void dirty_log_start(unsigned client, ram_addr_t start, uint64_t len);
/* Nothing is tracked for the client any more. */
void dirty_log_stop(unsigned client);
/* Is a log on, and does it hold the page? */
bool dirty_log_covers(unsigned client, ram_addr_t ram);
/*
 * The next dirty page at or after *page, made clean and tracked again before this returns true; *page is its address. What is
 * read from the page afterwards is at least as new as the last write that was logged.
 */
bool dirty_log_next(unsigned client, ram_addr_t *page);
/* Pages that are dirty now. */
uint64_t dirty_log_count(unsigned client);

/*
 * [ram, ram + len) is about to be written, or has been, by whoever: set the bits of all clients and drop their reasons (QEMU's
 * cpu_physical_memory_set_dirty_range()). Every writer of guest RAM calls this. Returns whether a reason was dropped.
 */
bool dirty_log_written(ram_addr_t ram, uint64_t len);

#endif
