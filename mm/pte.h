/* SPDX-License-Identifier: MIT */
/*
 * Entries of x86-64 paging structures (SDM 3A 4.5), shared by the guest walk, the kernel's tables
 * and the shadow tables.
 *
 *  63  62..59  58..52  51 ........ 12  11..9  8  7      6  5  4    3    2    1    0
 *  NX  (pkey)  ignored  frame address  avail  G  PS/PAT D  A  PCD  PWT  U/S  R/W  P
 */
#ifndef MM_PTE_H
#define MM_PTE_H

#include "kernel/lib/types.h"

#define PTE_P         BIT(0)
#define PTE_W         BIT(1)
#define PTE_U         BIT(2)
#define PTE_PWT       BIT(3)
#define PTE_PCD       BIT(4)
#define PTE_A         BIT(5)
#define PTE_D         BIT(6)
#define PTE_PS        BIT(7)  /* levels 2 and 3: a page, not a table */
#define PTE_G         BIT(8)  /* leaves */
#define PTE_PAT_LARGE BIT(12) /* leaves of level 2 and 3 */
#define PTE_ADDR      0x000ffffffffff000ull
#define PTE_NX        BIT(63)

#define PT_ENTRIES    512
#define PT_LEVELS     4
#define LARGE_SHIFT   21
#define LARGE_SIZE    BIT(LARGE_SHIFT)
#define LARGE_MASK    (~(LARGE_SIZE - 1))
#define HUGE_SIZE     BIT(30)

/* Bytes covered by one entry of a table of this level, as a power of two: 12, 21, 30, 39. */
static inline unsigned pt_shift(unsigned level)
{
    return PAGE_SHIFT + 9 * (level - 1);
}

static inline uint64_t pt_span(unsigned level)
{
    return BIT(pt_shift(level));
}

static inline unsigned pt_index(uint64_t va, unsigned level)
{
    return (va >> pt_shift(level)) & (PT_ENTRIES - 1);
}

/* Level 1 entries are always pages, level 4 entries never. */
static inline bool pte_is_leaf(uint64_t pte, unsigned level)
{
    return level == 1 || (level < PT_LEVELS && (pte & PTE_PS));
}

/* The frame that a leaf maps; bit 12 of a large page is PAT, not address. */
static inline uint64_t pte_leaf_addr(uint64_t pte, unsigned level)
{
    return pte & PTE_ADDR & ~(pt_span(level) - 1);
}

static inline bool is_canonical(uint64_t va)
{
    return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

static inline uint64_t sign_extend_va(uint64_t va)
{
    return (uint64_t)((int64_t)(va << 16) >> 16);
}

/* Entries that hardware may be walking are read and written whole. */
static inline uint64_t pte_read(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void pte_write(uint64_t *p, uint64_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

#endif
