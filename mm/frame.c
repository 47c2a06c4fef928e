/* SPDX-License-Identifier: MIT */
/*
 * Host physical frames: one bitmap per range of RAM (bit set = in use), placed at the end of the
 * range itself. Ranges are only collected, sorted and merged until the first allocation, so that
 * the order and the fragmentation of a firmware's memory map do not matter. Knows nothing of what
 * frames are used for.
 */
#include "mm/frame.h"

#include "kernel/lib/log.h"
#include "kernel/lib/spinlock.h"
#include "kernel/lib/string.h"
#include "mm/host.h"

#define ZONES_MAX  320 /* BOOT_MEM_MAX ranges and some that are split around modules */
#define WORD_BITS  64
#define FRAME_JUNK 0xdf

struct zone {
    uint64_t pfn;   /* first frame number */
    uint64_t count; /* frames that can be given out (without the bitmap) */
    uint64_t free;
    uint64_t hint;    /* words below this one have no free bit */
    uint64_t *bitmap; /* bits from count on are set */
};

/* Sorted by pfn, never overlapping or touching. Fixed after sealing, except for the bitmaps and
 * counters. */
static struct zone zones[ZONES_MAX];
static unsigned zone_count;
static bool sealed;
/* Protects bitmaps, `free` and `hint`. A leaf lock. Frames are cleared and filled outside of it. */
static struct spinlock frame_lock;

static void zone_remove(unsigned i)
{
    memmove(&zones[i], &zones[i + 1], (zone_count - i - 1) * sizeof(zones[0]));
    zone_count--;
}

void frames_add(hpa_t base, uint64_t len)
{
    uint64_t first = ALIGN_UP(base, PAGE_SIZE) >> PAGE_SHIFT;
    uint64_t past = (base + len) >> PAGE_SHIFT;
    unsigned i = 0;

    ASSERT(!sealed);
    first = MAX(first, 1); /* page 0 is never given out */
    if (base + len < base || past <= first) {
        return;
    }
    while (i < zone_count && zones[i].pfn + zones[i].count < first) {
        i++;
    }
    /* Take in every range that touches or overlaps the new one. */
    while (i < zone_count && zones[i].pfn <= past) {
        first = MIN(first, zones[i].pfn);
        past = MAX(past, zones[i].pfn + zones[i].count);
        zone_remove(i);
    }
    if (zone_count == ZONES_MAX) {
        printk("frame: too many ranges, %llu KiB of memory left out\n",
               (unsigned long long)(past - first) * 4);
        return;
    }
    memmove(&zones[i + 1], &zones[i], (zone_count - i) * sizeof(zones[0]));
    zone_count++;
    zones[i] = (struct zone){.pfn = first, .count = past - first};
}

/* Lay out the bitmap in the last frames of the zone. */
static void zone_seal(struct zone *z)
{
    uint64_t bytes = ALIGN_UP(z->count, WORD_BITS) / 8;
    uint64_t frames = ALIGN_UP(bytes, PAGE_SIZE) >> PAGE_SHIFT;
    uint64_t i;

    z->count = z->count > frames ? z->count - frames : 0;
    z->free = z->count;
    if (!z->count) {
        return;
    }
    z->bitmap = phys_to_virt((z->pfn + z->count) << PAGE_SHIFT);
    memset(z->bitmap, 0, bytes);
    for (i = z->count; i < bytes * 8; i++) {
        z->bitmap[i / WORD_BITS] |= BIT(i % WORD_BITS);
    }
}

static void frames_seal(void)
{
    unsigned i;

    for (i = 0; i < zone_count; i++) {
        zone_seal(&zones[i]);
    }
    sealed = true;
}

/* First frame at or after `i` whose bit equals `used`, or `limit`. */
static uint64_t bitmap_find(const uint64_t *bitmap, uint64_t i, uint64_t limit, bool used)
{
    while (i < limit) {
        uint64_t word = bitmap[i / WORD_BITS];

        word = (used ? word : ~word) & (~0ull << (i % WORD_BITS));
        if (word) {
            return MIN(ALIGN_DOWN(i, WORD_BITS) + (unsigned)__builtin_ctzll(word), limit);
        }
        i = ALIGN_DOWN(i, WORD_BITS) + WORD_BITS;
    }
    return limit;
}

static void bitmap_fill(uint64_t *bitmap, uint64_t i, uint64_t count, bool used)
{
    while (count) {
        uint64_t n = MIN(count, WORD_BITS - i % WORD_BITS);
        uint64_t mask = (n == WORD_BITS ? ~0ull : BIT(n) - 1) << (i % WORD_BITS);
        uint64_t *word = &bitmap[i / WORD_BITS];

        ASSERT((*word & mask) == (used ? 0 : mask)); /* neither given out nor freed twice */
        *word = used ? *word | mask : *word & ~mask;
        i += n;
        count -= n;
    }
}

/* Index in the zone of a free, aligned run, or the zone's count. `align` in frames, of the physical
 * address. */
static uint64_t zone_find_run(const struct zone *z, uint64_t count, uint64_t align)
{
    uint64_t i = z->hint * WORD_BITS;

    while (i < z->count) {
        uint64_t blocker;

        i = bitmap_find(z->bitmap, i, z->count, false);
        i = ALIGN_UP(z->pfn + i, align) - z->pfn;
        if (i >= z->count || z->count - i < count) {
            break;
        }
        blocker = bitmap_find(z->bitmap, i, i + count, true);
        if (blocker == i + count) {
            return i;
        }
        i = blocker + 1;
    }
    return z->count;
}

/* Take a run out of the first zone that has one. `count` and `align` in frames. */
static hpa_t run_take(uint64_t count, uint64_t align)
{
    hpa_t hpa = HPA_INVALID;
    unsigned n;

    spin_lock(&frame_lock);
    if (!sealed) {
        frames_seal();
    }
    for (n = 0; n < zone_count && hpa == HPA_INVALID; n++) {
        struct zone *z = &zones[n];
        uint64_t i;

        if (z->free < count) {
            continue;
        }
        i = zone_find_run(z, count, align);
        if (i == z->count) {
            continue;
        }
        bitmap_fill(z->bitmap, i, count, true);
        z->free -= count;
        if (count == 1 && align == 1) {
            z->hint = i / WORD_BITS; /* it was the first free frame */
        }
        hpa = (z->pfn + i) << PAGE_SHIFT;
    }
    spin_unlock(&frame_lock);
    return hpa;
}

hpa_t frame_alloc(void)
{
    return frame_alloc_contig(1, PAGE_SIZE);
}

hpa_t frame_alloc_contig(uint64_t count, uint64_t align)
{
    hpa_t hpa;

    ASSERT(align >= PAGE_SIZE && !(align & (align - 1)));
    if (!count) {
        return HPA_INVALID;
    }
    hpa = run_take(count, align >> PAGE_SHIFT);
    if (hpa != HPA_INVALID) {
        memset(phys_to_virt(hpa), 0, count << PAGE_SHIFT);
    }
    return hpa;
}

void frame_free(hpa_t hpa)
{
    frame_free_contig(hpa, 1);
}

void frame_free_contig(hpa_t hpa, uint64_t count)
{
    uint64_t pfn = hpa >> PAGE_SHIFT;
    unsigned n = 0;
    struct zone *z;

    while (n < zone_count && pfn >= zones[n].pfn + zones[n].count) {
        n++;
    }
    ASSERT(sealed && n < zone_count && !(hpa & ~PAGE_MASK));
    z = &zones[n];
    ASSERT(pfn >= z->pfn && count && count <= z->count - (pfn - z->pfn));
    memset(phys_to_virt(hpa), FRAME_JUNK, count << PAGE_SHIFT);
    spin_lock(&frame_lock);
    bitmap_fill(z->bitmap, pfn - z->pfn, count, false);
    z->free += count;
    z->hint = MIN(z->hint, (pfn - z->pfn) / WORD_BITS);
    spin_unlock(&frame_lock);
}

uint64_t frames_free(void)
{
    uint64_t sum = 0;
    unsigned n;

    for (n = 0; n < zone_count; n++) {
        sum += sealed ? zones[n].free : zones[n].count;
    }
    return sum;
}

uint64_t frames_total(void)
{
    uint64_t sum = 0;
    unsigned n;

    for (n = 0; n < zone_count; n++) {
        sum += zones[n].count;
    }
    return sum;
}
