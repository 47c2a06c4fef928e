/* SPDX-License-Identifier: MIT */
/* Sorts, clips and merges a firmware's memory map. Pure: no firmware calls, no allocation. */
#include "boot/memory-map.h"

#include "kernel/lib/types.h"

/* Firmware maps are nearly sorted: insertion sort is close to linear on them. */
static void sort_spans(struct mem_span *spans, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct mem_span moving = spans[i];
        size_t j = i;

        for (; j > 0 && spans[j - 1].base > moving.base; j--) {
            spans[j] = spans[j - 1];
        }
        spans[j] = moving;
    }
}

/* Append [base, base + len), which lies above everything appended before. */
static void append(struct boot_info *info, uint64_t base, uint64_t len, uint32_t type)
{
    struct boot_mem_range *prev = info->mem_count ? &info->mem[info->mem_count - 1] : NULL;

    if (prev && prev->type == type && prev->base + prev->len == base) {
        prev->len += len;
        return;
    }
    if (info->mem_count == BOOT_MEM_MAX) {
        prev->len = base + len - prev->base;
        prev->type = BOOT_MEM_RESERVED;
        return;
    }
    info->mem[info->mem_count++] = (struct boot_mem_range){.base = base, .len = len, .type = type};
}

/*
 * How far from `at` on (at most to `last`) memory is uniformly ours or uniformly not ours. Returns
 * the length of that stretch and says which in *ours.
 */
static uint64_t stretch(const struct mem_span *own, size_t own_count, uint64_t at, uint64_t last,
                        bool *ours)
{
    uint64_t stretch_last = last;

    *ours = false;
    for (size_t i = 0; i < own_count; i++) {
        if (at - own[i].base < own[i].len) {
            *ours = true;
            return MIN(last, own[i].base + own[i].len - 1) - at + 1;
        }
        if (own[i].len && own[i].base > at && own[i].base <= stretch_last) {
            stretch_last = own[i].base - 1;
        }
    }
    return stretch_last - at + 1;
}

void memory_map_build(struct boot_info *info, struct mem_span *spans, size_t count,
                      const struct mem_span *own, size_t own_count)
{
    uint64_t floor = 0; /* first address above everything appended */

    info->mem_count = 0;
    sort_spans(spans, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t base = MAX(spans[i].base, floor);
        uint64_t last = spans[i].base + spans[i].len - 1;

        if (spans[i].len == 0 || last < base) {
            continue;
        }
        floor = last + 1;
        while (base != floor) {
            bool ours = false;
            uint64_t len = last - base + 1;

            if (spans[i].type == BOOT_MEM_USABLE) {
                len = stretch(own, own_count, base, last, &ours);
            }
            append(info, base, len, ours ? BOOT_MEM_LOADER : spans[i].type);
            base += len;
        }
    }
}
