/* SPDX-License-Identifier: MIT */
/* From a firmware's memory map to boot_info's: pure, so that it is tested on the host. */
#ifndef BOOT_MEMORY_MAP_H
#define BOOT_MEMORY_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "boot/boot-info.h"

struct mem_span {
    uint64_t base;
    uint64_t len;
    uint32_t type; /* enum boot_mem_type */
};

/*
 * Fill info->mem from spans[0..count), in any order (they are sorted in place): ascending, not
 * overlapping, neighbours of one type merged. Whatever of own[0..own_count) lies in BOOT_MEM_USABLE
 * spans becomes BOOT_MEM_LOADER. If there are more ranges than BOOT_MEM_MAX, the highest are folded
 * into one reserved range.
 */
void memory_map_build(struct boot_info *info, struct mem_span *spans, size_t count,
                      const struct mem_span *own, size_t own_count);

#endif
