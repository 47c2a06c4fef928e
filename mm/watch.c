/* SPDX-License-Identifier: MIT */
/*
 * The list of watched ranges. A frame becomes tracked when a watched page is filled, so adding a range drops what is mapped;
 * frames that were tracked for a range that is gone are let go together with all others, which their next fill marks again.
 */
#include "mm/watch.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "mm/pte.h"
#include "mm/ram.h"
#include "mm/shadow.h"
#include "mm/track.h"

/* Owner: the vCPU loop. */
static struct {
    gva_t va;
    uint64_t len;
    bool reads;
} ranges[WATCH_MAX];
static unsigned range_count;

/* Frames that were marked, so that they are found again quickly; more than fit: all of guest RAM is searched. */
#define MARKED_MAX 64
static ram_addr_t marked[MARKED_MAX];
static unsigned marked_count; /* MARKED_MAX + 1: too many */

int watch_add(gva_t va, uint64_t len, bool reads)
{
    ASSERT(len && va + len - 1 >= va);
    if (range_count == WATCH_MAX) {
        return -ENOSPC;
    }
    ranges[range_count].va = va;
    ranges[range_count].len = len;
    ranges[range_count].reads = reads;
    range_count++;
    shadow_flush();
    return 0;
}

static void unmark_all(void)
{
    for (unsigned i = 0; i < MIN(marked_count, MARKED_MAX); i++) {
        track_clear(marked[i], TRACK_WATCH);
    }
    for (ram_addr_t page = 0; marked_count > MARKED_MAX && page < guest_ram_size(); page += PAGE_SIZE) {
        track_clear(page, TRACK_WATCH);
    }
    marked_count = 0;
}

void watch_remove(gva_t va, uint64_t len, bool reads)
{
    for (unsigned i = 0; i < range_count; i++) {
        if (ranges[i].va == va && ranges[i].len == len && ranges[i].reads == reads) {
            ranges[i] = ranges[--range_count];
            break;
        }
    }
    unmark_all();
    shadow_flush();
}

void watch_mark(ram_addr_t page)
{
    if (track_set(page, TRACK_WATCH) && marked_count <= MARKED_MAX) {
        if (marked_count < MARKED_MAX) {
            marked[marked_count] = page;
        }
        marked_count++;
    }
}

bool watch_any(void)
{
    return range_count;
}

bool watch_in(gva_t va, uint64_t len, bool reads)
{
    gva_t last = va + len - 1;

    for (unsigned i = 0; i < range_count; i++) {
        gva_t first_page = ranges[i].va & PAGE_MASK;
        gva_t last_byte = (ranges[i].va + ranges[i].len - 1) | ~PAGE_MASK;

        if (va <= last_byte && first_page <= last && (!reads || ranges[i].reads)) {
            return true;
        }
    }
    return false;
}
