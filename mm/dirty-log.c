/* SPDX-License-Identifier: MIT */
/*
 * Dirty bits: one bitmap for each client, over its own range of pages. Invariant, for every page of a client's range: dirty bit
 * clear <=> the client's reason is set on the frame. Nothing here knows why a client asks.
 */
#include "mm/dirty-log.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/ram.h"
#include "mm/track.h"

/* Owner: the vCPU loop. */
struct dirty_log {
    unsigned reason;
    uint64_t first, count; /* pages; count = 0: off */
    uint64_t *bits;        /* bit n: page n of guest RAM is dirty */
    uint64_t dirty;        /* bits that are set */
};
static struct dirty_log logs[] = {{.reason = TRACK_VGA}, {.reason = TRACK_MIGRATION}};

static struct dirty_log *log_of(unsigned client)
{
    for (unsigned i = 0; i < ARRAY_SIZE(logs); i++) {
        if (logs[i].reason == client) {
            return &logs[i];
        }
    }
    panic("dirty log of client %#x, expected VGA or MIGRATION", client);
}

int dirty_log_init(void)
{
    uint64_t bytes = ALIGN_UP((guest_ram_size() >> PAGE_SHIFT) / 8 + 8, PAGE_SIZE);

    for (unsigned i = 0; i < ARRAY_SIZE(logs); i++) {
        hpa_t hpa = frame_alloc_contig(bytes >> PAGE_SHIFT, PAGE_SIZE);

        if (hpa == HPA_INVALID) {
            return -ENOMEM;
        }
        logs[i] = (struct dirty_log){.reason = logs[i].reason, .bits = phys_to_virt(hpa)};
    }
    return 0;
}

static bool is_dirty(const struct dirty_log *l, uint64_t page)
{
    return l->bits[page / 64] & BIT(page % 64);
}

static bool covers(const struct dirty_log *l, uint64_t page)
{
    return page - l->first < l->count;
}

void dirty_log_start(unsigned client, ram_addr_t start, uint64_t len)
{
    struct dirty_log *l = log_of(client);

    ASSERT(l->bits && len && start + len <= guest_ram_size());
    dirty_log_stop(client);
    l->first = start >> PAGE_SHIFT;
    l->count = ((start + len - 1) >> PAGE_SHIFT) - l->first + 1;
    for (uint64_t page = l->first; page < l->first + l->count; page++) {
        track_set(page << PAGE_SHIFT, l->reason);
    }
}

void dirty_log_stop(unsigned client)
{
    struct dirty_log *l = log_of(client);

    for (uint64_t page = l->first; page < l->first + l->count; page++) {
        track_clear(page << PAGE_SHIFT, l->reason);
        l->bits[page / 64] &= ~BIT(page % 64);
    }
    l->count = l->dirty = 0;
}

bool dirty_log_covers(unsigned client, ram_addr_t ram)
{
    return covers(log_of(client), ram >> PAGE_SHIFT);
}

bool dirty_log_next(unsigned client, ram_addr_t *at)
{
    struct dirty_log *l = log_of(client);
    uint64_t page = MAX(*at >> PAGE_SHIFT, l->first);

    while (l->dirty && page < l->first + l->count) {
        if (!(l->bits[page / 64] >> (page % 64))) {
            page = (page | 63) + 1; /* nothing more in this word */
            continue;
        }
        if (is_dirty(l, page)) {
            l->bits[page / 64] &= ~BIT(page % 64);
            l->dirty--;
            *at = page << PAGE_SHIFT;
            track_set(*at, l->reason);
            return true;
        }
        page++;
    }
    return false;
}

uint64_t dirty_log_count(unsigned client)
{
    return log_of(client)->dirty;
}

bool dirty_log_written(ram_addr_t ram, uint64_t len)
{
    bool dropped = false;

    for (unsigned i = 0; i < ARRAY_SIZE(logs); i++) {
        struct dirty_log *l = &logs[i];

        if (likely(!l->count)) {
            continue;
        }
        for (uint64_t page = ram >> PAGE_SHIFT; page <= (ram + len - 1) >> PAGE_SHIFT; page++) {
            if (covers(l, page) && !is_dirty(l, page)) {
                l->bits[page / 64] |= BIT(page % 64);
                l->dirty++;
                dropped |= track_clear(page << PAGE_SHIFT, l->reason);
            }
        }
    }
    return dropped;
}
