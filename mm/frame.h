/* SPDX-License-Identifier: MIT */
/* Host physical page frames. */
#ifndef MM_FRAME_H
#define MM_FRAME_H

#include "kernel/lib/types.h"

#define HPA_INVALID (~(hpa_t)0)

/* Give [base, base + len) to the allocator; partial pages and page 0 are left out. Before the first allocation. */
void frames_add(hpa_t base, uint64_t len);
/* One zeroed 4 KiB frame, or HPA_INVALID. */
hpa_t frame_alloc(void);
/* count contiguous zeroed frames whose start is a multiple of align bytes (a power of two >= 4096), or HPA_INVALID. */
hpa_t frame_alloc_contig(uint64_t count, uint64_t align);
/* Freed frames are filled with junk (0xdf) in ASSERT builds, which is all of them. */
void frame_free(hpa_t hpa);
void frame_free_contig(hpa_t hpa, uint64_t count);
uint64_t frames_free(void);
uint64_t frames_total(void);

#endif
