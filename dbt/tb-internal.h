/* SPDX-License-Identifier: MIT */
/*
 * What the files of TB maintenance share: tb-maint.c, page-desc.c, tb-hash.c, tb-jmp.c, tb-check.c.
 * No one else includes this, tests excepted. Lock order (docs/tb-life.md): tb_invalidate_lock, page
 * locks by ascending index, a TB's jmp_lock, then the leaves: hash table lock, cross-page log lock.
 */
#ifndef DBT_TB_INTERNAL_H
#define DBT_TB_INTERNAL_H

#include "dbt/tb.h"
#include "kernel/lib/log.h"

/* ---- tagged links ---- */

#define TB_LINK_MASK (TB_MAX_JMP - 1)
_Static_assert(!(TB_MAX_JMP & TB_LINK_MASK) && TB_MAX_JMP <= _Alignof(struct TranslationBlock), "n fits below a TB's address");

static inline uintptr_t tb_link(const struct TranslationBlock *tb, unsigned n)
{
    return (uintptr_t)tb | n;
}

static inline struct TranslationBlock *tb_of_link(uintptr_t link)
{
    return (struct TranslationBlock *)(link & ~(uintptr_t)TB_LINK_MASK);
}

static inline unsigned n_of_link(uintptr_t link)
{
    return link & TB_LINK_MASK;
}

/* Where the page list goes on after `link`. */
static inline uintptr_t *page_next_of_link(uintptr_t link)
{
    return &tb_of_link(link)->page_next[n_of_link(link)];
}

/* ---- page-desc.c: the page index, page locks, page lists, byte maps ---- */

#define PAGE_INDEX_BITS  (52 - PAGE_SHIFT)
#define PAGE_INDEX_LAST  (BIT(PAGE_INDEX_BITS) - 1)
#define CODE_BITMAP_SIZE (PAGE_SIZE / 8)

/* Page-list nodes visited by walks and removals: what tests measure invalidation work with. Lock:
 * tb_invalidate_lock, or the page's lock; a statistic, so lost counts do not matter. */
extern uint64_t tb_list_steps;

void page_desc_init(void);
/* The PageDesc with the lowest index in [*index, last], skipping absent parts of the tree; sets
 * *index. NULL if none. */
struct PageDesc *page_find_next(tb_page_addr_t *index, tb_page_addr_t last);

static inline void assert_page_locked(const struct PageDesc *pd)
{
    ASSERT(spin_is_locked(&pd->lock));
}

static inline tb_page_addr_t page_index(tb_page_addr_t addr)
{
    return addr >> PAGE_SHIFT;
}

/* Lock the PageDescs of both pages of tb in ascending order; pd[1] is NULL if the TB has one page,
 * and pd[0] if both halves lie on one page (one lock is taken then). The PageDescs must exist. */
void page_lock_tb(const struct TranslationBlock *tb, struct PageDesc *pd[2]);
void page_unlock_tb(struct PageDesc *pd[2]);

/* Bytes of half n of tb, as offsets in its page, both inclusive. */
void tb_page_extent(const struct TranslationBlock *tb, unsigned n, unsigned *first, unsigned *last);

/* Does [start, last] lie within one of tb's holes? */
bool tb_range_in_hole(const struct TranslationBlock *tb, tb_page_addr_t start, tb_page_addr_t last);
/* The first byte of half n, holes apart, that is another one in memory, as offset in tb; tb->size if all are equal. *last: the
 * last such byte. */
unsigned tb_find_change(const struct TranslationBlock *tb, unsigned n, unsigned *last);

/* ---- page lists ---- */

/*
 * A page that pays for walks gets an index: one list for each granule of the page instead of one list, by the granule that a TB's first byte on
 * the page is in. Bytes [first, last] can only belong to TBs on the lists from tb_reach granules before first's up to last's.
 */
#define TB_INDEX_SHIFT     5
#define TB_INDEX_LISTS     (PAGE_SIZE >> TB_INDEX_SHIFT)
#define TB_INDEX_THRESHOLD 16u /* nodes that a write walks before the page gets an index */

/* The lists on which TBs with bytes in [first, last], offsets in the page, can be: *count heads from the returned one on. */
uintptr_t *page_lists(struct PageDesc *pd, unsigned first, unsigned last, unsigned *count);
/* All of them. */
static inline uintptr_t *page_all_lists(struct PageDesc *pd, unsigned *count)
{
    return page_lists(pd, 0, PAGE_SIZE - 1, count);
}
/* A write has walked so many nodes: build the index if that was much. Moves TBs from list to list, so tb_invalidate_lock is
 * held as well. Without memory the page goes on with one list. */
void page_index_tbs(struct PageDesc *pd, unsigned walked);
/* Forget all TBs. */
void page_lists_clear(struct PageDesc *pd);

void tb_page_add(struct PageDesc *pd, struct TranslationBlock *tb, unsigned n);
/* hint: the link that points to (tb, n), if the caller knows it, else NULL; a wrong hint is
 * noticed. */
void tb_page_remove(struct PageDesc *pd, struct TranslationBlock *tb, unsigned n, uintptr_t *hint);

/* Build the map from the page's list, in fresh memory if it has none. Without memory the page goes
 * on without a map. */
void build_page_bitmap(struct PageDesc *pd);
bool page_bitmap_test(const uint8_t *map, unsigned first, unsigned last);
void page_bitmap_clear(struct PageDesc *pd);

/* ---- tb-hash.c ---- */

int tb_htable_init(void);
/* Insert tb unless an equal one is there. Returns the TB that is in the table now. */
struct TranslationBlock *tb_htable_insert(struct TranslationBlock *tb);
/* False if it was not there. */
bool tb_htable_remove(struct TranslationBlock *tb);
void tb_htable_reset(void);
/* Check that chains are sound; returns violations, sets *entries to the TBs found. */
int tb_htable_check(size_t *entries);

/* ---- tb-jmp.c ---- */

#define TB_CROSS_PAGE_LOG 65536u
/* Jumps between pages that may exist at once, at most TB_CROSS_PAGE_LOG; 0: none are made. Set
 * before the guest runs. */
extern unsigned tb_cross_page_limit;

void tb_jmp_init(struct TranslationBlock *tb);
void tb_reset_jump(struct TranslationBlock *tb, unsigned n);
/* A dying TB's outgoing jump n: unlink it and forbid new ones. */
void tb_remove_from_jmp_list(struct TranslationBlock *orig, unsigned n);
/* A dying TB's incoming jumps: send each back to its own exit. */
void tb_jmp_unlink(struct TranslationBlock *dest);
bool tb_jmp_is_cross_page(const struct TranslationBlock *tb,
                          const struct TranslationBlock *tb_next);
/* Is exit n in a log? Which one depends on what its ends were when the jump was made. */
bool tb_jmp_is_logged(const struct TranslationBlock *tb, unsigned n);
unsigned tb_cross_page_count(void);
void tb_cross_page_reset(void);

/* ---- tb-maint.c ---- */

#define TB_MAX_CPUS 64u
/* Registered CPUs. Lock: tb_invalidate_lock for writing; entries are never removed. */
extern struct CPUState *tb_cpus[TB_MAX_CPUS];
extern unsigned tb_cpu_count;
bool tb_cpu_is_registered(const struct CPUState *cpu);

/* Serializes all that kills TBs; first in the lock order. */
extern struct spinlock tb_invalidate_lock;

#endif
