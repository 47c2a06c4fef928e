/* SPDX-License-Identifier: MIT */
/*
 * Write tracking: the reason set of every frame of guest RAM, and per 2 MiB the number of frames
 * with a non-empty set (a large mapping is allowed only at zero). The shadow tables ask here
 * whenever they decide on W; taking W away goes through the reverse map. Nothing here allocates
 * after start-up or can fail.
 */
#include "mm/track.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"

/* Allocated by track_init(); NULL before, when nothing is tracked. */
static uint8_t *reasons;        /* TRACK_* per 4 KiB */
static uint16_t *region_counts; /* per 2 MiB: frames with reasons, and frames sampled */
static uint8_t *sampled;        /* SAMPLED, SAMPLE_DIRTY per 4 KiB */
#define SAMPLED      1
#define SAMPLE_DIRTY 2

static void *array_alloc(uint64_t bytes)
{
    hpa_t hpa = frame_alloc_contig(ALIGN_UP(bytes, PAGE_SIZE) >> PAGE_SHIFT, PAGE_SIZE);

    return hpa == HPA_INVALID ? NULL : phys_to_virt(hpa);
}

int track_init(uint64_t ram_size)
{
    reasons = array_alloc(ram_size >> PAGE_SHIFT);
    region_counts = array_alloc((ram_size >> LARGE_SHIFT) * sizeof(*region_counts));
    sampled = array_alloc(ram_size >> PAGE_SHIFT);
    return reasons && region_counts && sampled ? 0 : -ENOMEM;
}

unsigned track_reasons(ram_addr_t page)
{
    ASSERT(page < guest_ram_size());
    return reasons ? reasons[page >> PAGE_SHIFT] : 0;
}

unsigned track_region_count(ram_addr_t ram)
{
    return region_counts[ram >> LARGE_SHIFT];
}

bool track_set(ram_addr_t page, unsigned reason)
{
    uint8_t *set;

    ASSERT(reasons && page < guest_ram_size() && reason && reason <= UINT8_MAX);
    set = &reasons[page >> PAGE_SHIFT];
    if ((*set & reason) == reason) {
        return false;
    }
    if (reason & ~TRACK_CODE) {
        alias_drop_frame(page); /* what keeps an alias for long knows of code only */
    }
    if (!*set) {
        region_counts[page >> LARGE_SHIFT]++;
        *set = reason; /* before W is taken: no fill may give it back in between */
        rmap_protect(page);
    } else {
        *set |= reason;
    }
    return true;
}

bool track_clear(ram_addr_t page, unsigned reason)
{
    uint8_t *set;

    ASSERT(reasons && page < guest_ram_size());
    set = &reasons[page >> PAGE_SHIFT];
    if (!(*set & reason)) {
        return false;
    }
    *set &= ~reason;
    if (!*set) {
        region_counts[page >> LARGE_SHIFT]--;
    }
    return true;
}

/* ---- sampling ---- */

bool track_is_sampled(ram_addr_t page)
{
    return sampled[page >> PAGE_SHIFT] & SAMPLED;
}

void track_note_dirty(ram_addr_t page)
{
    sampled[page >> PAGE_SHIFT] |= SAMPLE_DIRTY;
}

void track_sample(ram_addr_t page, bool on)
{
    uint8_t *flags = &sampled[page >> PAGE_SHIFT];

    ASSERT(page < guest_ram_size());
    if (on == (*flags & SAMPLED)) {
        return;
    }
    *flags = on ? SAMPLED : 0;
    if (on) {
        region_counts[page >> LARGE_SHIFT]++;
        rmap_clear_dirty(page); /* what was there before counts for nothing */
    } else {
        region_counts[page >> LARGE_SHIFT]--;
    }
}

bool track_test_and_clear_dirty(ram_addr_t page)
{
    uint8_t *flags = &sampled[page >> PAGE_SHIFT];
    bool dirty = rmap_clear_dirty(page) || *flags & SAMPLE_DIRTY;

    ASSERT(*flags & SAMPLED);
    *flags = SAMPLED;
    return dirty;
}
