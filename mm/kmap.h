/* SPDX-License-Identifier: MIT */
/* The kernel's own page tables: image segments with their permissions, physmap, stacks with guard pages. */
#ifndef MM_KMAP_H
#define MM_KMAP_H

#include "kernel/lib/types.h"

#define KMAP_W  1
#define KMAP_X  2
#define KMAP_UC 4 /* uncached (devices) */
#define KMAP_NONE 8 /* only kmap_protect_physmap(): not even readable */

/* Build an empty root with the physmap over [0, phys_last]: 2 MiB pages, read-write, NX. 0 or -ENOMEM. */
int kmap_init(hpa_t phys_last);
/* Map [va, va+len) -> hpa; splits large pages as needed; replaces. All arguments multiples of 4 KiB. 0 or -ENOMEM. */
int kmap_map(uint64_t va, hpa_t hpa, uint64_t len, unsigned flags);
int kmap_unmap(uint64_t va, uint64_t len);
/* Take write permission (or all permission) from a physmap range: flags is what is left, 0 = read-only, KMAP_NONE = nothing.
 * 0 or -ENOMEM. */
int kmap_protect_physmap(hpa_t base, uint64_t len, unsigned flags);
hpa_t kmap_root(void);
/* A stack of `pages` pages below an unmapped guard page at both ends; returns its top (exclusive), 0 if out of memory. */
uint64_t kmap_stack_alloc(unsigned pages);
/* Address-to-permission look-up for checks: KMAP_* of va, or -1 if unmapped. */
int kmap_query(uint64_t va, hpa_t *hpa);

#endif
