/* SPDX-License-Identifier: MIT */
/* Own page tables of a payload: 4 GiB identity-mapped plus whatever the payload maps. See page.c. */
#ifndef PAYLOAD_PAGE_H
#define PAYLOAD_PAGE_H

#include "kernel/lib/types.h"

#define PTE_P  (1ull << 0)
#define PTE_W  (1ull << 1)
#define PTE_U  (1ull << 2)
#define PTE_A  (1ull << 5)
#define PTE_D  (1ull << 6)
#define PTE_PS (1ull << 7)
#define PTE_G  (1ull << 8)
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

/* Build and load the tables: identity, supervisor, writable, executable, 2 MiB pages; EFER.NXE and CR0.WP on. */
void paging_init(void);
/* A second root with the same identity map. Returns its physical address, a CR3 value. */
uint64_t paging_new_root(void);

/* A zeroed page of RAM that nobody else uses (address = physical = identity-mapped). Never freed; fatal when used up. */
void *page_alloc(void);
/* The same for n adjacent pages. */
void *pages_alloc(size_t n);

/*
 * The entry for va at `level` (1 = 4 KiB, 2 = 2 MiB, 3 = 1 GiB, 4 = PML4) in the current CR3; levels above it are made
 * (present, writable, user) and large pages split on the way.
 */
uint64_t *page_entry(uint64_t va, unsigned level);
/* Map one 4 KiB page and drop the old translation. `flags` are PTE bits; PTE_P is not implied. */
void page_map(uint64_t va, uint64_t pa, uint64_t flags);
/* Replace the flags of identity-mapped pages [start, start + len). */
void page_protect(const void *start, size_t len, uint64_t flags);
void tlb_flush_all(void);

#endif
