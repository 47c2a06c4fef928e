/* SPDX-License-Identifier: MIT */
/*
 * PageDesc: the index "physical page -> TBs that have bytes on it", its locks, lists and byte maps.
 * Does not decide which TB dies (tb-maint.c) and does not protect pages.
 */
#include "dbt/tb-internal.h"

#include "kernel/lib/string.h"
#include "kernel/lib/types.h"
#include "dbt/host.h"

/*
 * Radix tree over 40 index bits; every table has 1024 entries:
 *
 *   l1_map[index 39:30] -> void *[index 29:20] -> void *[index 19:10] -> struct leaf.page[index 9:0]
 * (4 MiB of RAM)
 *
 * Tables are published with a releasing compare-and-swap and never freed, so that readers need no
 * lock: whoever sees a pointer (acquire) sees a zeroed table, and zero is an unlocked, empty
 * PageDesc.
 */
#define V_L2_BITS   10
#define V_L2_SIZE   (1u << V_L2_BITS)
#define V_L2_LEVELS 2
#define V_L1_SHIFT  ((V_L2_LEVELS + 1) * V_L2_BITS)
#define V_L1_SIZE   (1u << (PAGE_INDEX_BITS - V_L1_SHIFT))
_Static_assert(PAGE_INDEX_BITS == V_L1_SHIFT + 10, "tree covers the index");

static void *l1_map[V_L1_SIZE]; /* lock-free, see above; lifetime: from tb_maint_init() on */

/* A table of the last level; it says itself what it is for, so that one load decides whether it is the one wanted. */
struct leaf {
    tb_page_addr_t number; /* of its pages' indexes without the low bits; written before the table is published */
    struct PageDesc page[V_L2_SIZE];
};
static struct leaf *last_leaf; /* found last, by anyone; as l1_map. Code of one kernel or program is mostly on one */

uint64_t tb_list_steps;

void page_desc_init(void)
{
    memset(l1_map, 0, sizeof(l1_map));
    __atomic_store_n(&last_leaf, NULL, __ATOMIC_RELEASE);
}

/*
 * The table that *lp points to, created if asked for. Two CPUs may create one at the same time: the
 * loser drops its own. dbt_zalloc() memory cannot be given back, so a lost race costs one table; it
 * happens at most once per table and CPU.
 */
static void *level_get(void **lp, size_t size, bool alloc)
{
    void *table = __atomic_load_n(lp, __ATOMIC_ACQUIRE);
    if (table || !alloc) {
        return table;
    }
    void *fresh = dbt_zalloc(size);
    if (!fresh) {
        return NULL;
    }
    if (__atomic_compare_exchange_n(lp, &table, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        return fresh;
    }
    return table;
}

/* The leaf that *lp points to, created if asked for, as level_get(). */
static struct leaf *leaf_get(void **lp, tb_page_addr_t number, bool alloc)
{
    void *leaf = __atomic_load_n(lp, __ATOMIC_ACQUIRE);

    if (leaf || !alloc) {
        return leaf;
    }
    struct leaf *fresh = dbt_zalloc(sizeof(*fresh));
    if (!fresh) {
        return NULL;
    }
    fresh->number = number;
    return __atomic_compare_exchange_n(lp, &leaf, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) ? fresh : leaf;
}

static __attribute__((noinline)) struct PageDesc *tree_find(tb_page_addr_t index, bool alloc)
{
    if (index > PAGE_INDEX_LAST) {
        return NULL;
    }
    void **lp = &l1_map[index >> V_L1_SHIFT];
    for (int level = V_L2_LEVELS; level > 0; level--) {
        void **table = level_get(lp, V_L2_SIZE * sizeof(void *), alloc);
        if (!table) {
            return NULL;
        }
        lp = table + ((index >> (level * V_L2_BITS)) & (V_L2_SIZE - 1));
    }
    struct leaf *leaf = leaf_get(lp, index >> V_L2_BITS, alloc);
    if (!leaf) {
        return NULL;
    }
    __atomic_store_n(&last_leaf, leaf, __ATOMIC_RELEASE);
    return &leaf->page[index & (V_L2_SIZE - 1)];
}

struct PageDesc *page_find_alloc(tb_page_addr_t index, bool alloc)
{
    struct leaf *leaf = __atomic_load_n(&last_leaf, __ATOMIC_ACQUIRE);

    if (likely(leaf && leaf->number == index >> V_L2_BITS)) {
        return &leaf->page[index & (V_L2_SIZE - 1)];
    }
    return tree_find(index, alloc);
}

struct PageDesc *page_find(tb_page_addr_t index)
{
    return page_find_alloc(index, false);
}

struct PageDesc *page_find_next(tb_page_addr_t *index, tb_page_addr_t last)
{
    last = MIN(last, PAGE_INDEX_LAST);
    for (tb_page_addr_t i = *index; i <= last;) {
        void **lp = &l1_map[i >> V_L1_SHIFT];
        int level = V_L2_LEVELS;
        void *table = __atomic_load_n(lp, __ATOMIC_ACQUIRE);
        for (; table && level > 0; level--) {
            lp = (void **)table + ((i >> (level * V_L2_BITS)) & (V_L2_SIZE - 1));
            table = __atomic_load_n(lp, __ATOMIC_ACQUIRE);
        }
        if (table) {
            *index = i;
            return &((struct leaf *)table)->page[i & (V_L2_SIZE - 1)];
        }
        i = (i | (BIT((level + 1) * V_L2_BITS) - 1)) +
            1; /* past all that this empty entry covers */
    }
    return NULL;
}

/* ---- locks ---- */

void page_lock_tb(const struct TranslationBlock *tb, struct PageDesc *pd[2])
{
    tb_page_addr_t index0 = page_index(tb->page_addr[0]);
    tb_page_addr_t index1 = page_index(tb->page_addr[1]);

    pd[0] = page_find(index0);
    pd[1] = tb->page_addr[1] == TB_PAGE_ADDR_INVALID ? NULL : page_find(index1);
    ASSERT(pd[0] && (pd[1] || tb->page_addr[1] == TB_PAGE_ADDR_INVALID));
    if (!pd[1] || pd[1] == pd[0]) {
        spin_lock(&pd[0]->lock);
        return;
    }
    spin_lock(&pd[index0 < index1 ? 0 : 1]->lock);
    spin_lock(&pd[index0 < index1 ? 1 : 0]->lock);
}

void page_unlock_tb(struct PageDesc *pd[2])
{
    if (pd[1] && pd[1] != pd[0]) {
        spin_unlock(&pd[1]->lock);
    }
    spin_unlock(&pd[0]->lock);
}

/* ---- byte maps ---- */

void tb_page_extent(const struct TranslationBlock *tb, unsigned n, unsigned *first, unsigned *last)
{
    unsigned begin = tb->page_addr[0] & ~PAGE_MASK;
    unsigned final = begin + tb->size - 1; /* from the start of page 0; on page 1 if >= PAGE_SIZE */

    if (n == 0) {
        *first = begin;
        *last = MIN(final, (unsigned)PAGE_SIZE - 1);
    } else {
        *first = 0;
        *last = final - (unsigned)PAGE_SIZE;
    }
}

/* Bits first..last of the map byte i, as far as they lie in it. */
static inline uint8_t map_mask(unsigned i, unsigned first, unsigned last)
{
    unsigned low = i == first / 8 ? first % 8 : 0;
    unsigned high = i == last / 8 ? last % 8 : 7;
    return (uint8_t)((0xffu << low) & (0xffu >> (7 - high)));
}

static void page_bitmap_set(uint8_t *map, unsigned first, unsigned last)
{
    for (unsigned i = first / 8; i <= last / 8; i++) {
        map[i] |= map_mask(i, first, last);
    }
}

bool tb_range_in_hole(const struct TranslationBlock *tb, tb_page_addr_t start, tb_page_addr_t last)
{
    for (unsigned h = 0; h < tb->nr_holes; h++) {
        tb_page_addr_t hole = tb->page_addr[0] + tb->hole[h].off;

        if (start >= hole && last < hole + tb->hole[h].len) {
            return true;
        }
    }
    return false;
}

unsigned tb_find_change(const struct TranslationBlock *tb, unsigned n, unsigned *last)
{
    unsigned first_off, last_off, first = tb->size;

    tb_page_extent(tb, n, &first_off, &last_off);
    unsigned len = last_off - first_off + 1;
    unsigned skip = n ? tb->size - len : 0;
    tb_page_addr_t addr = (tb->page_addr[n] & PAGE_MASK) + first_off;
    const uint8_t *now = code_page_bytes(addr);
    const uint8_t *then = tb_guest_bytes(tb) + skip;

    if (memcmp(now, then, len) == 0) {
        return first;
    }
    for (unsigned i = 0; i < len; i++) {
        if (now[i] != then[i] && !tb_range_in_hole(tb, addr + i, addr + i)) {
            first = MIN(first, skip + i);
            *last = skip + i;
        }
    }
    return first;
}

/* All bytes of half n, but for holes: those are data. Only a TB of one page has any. */
static void bitmap_add_tb(uint8_t *map, const struct TranslationBlock *tb, unsigned n)
{
    unsigned first, last;

    tb_page_extent(tb, n, &first, &last);
    unsigned begin = first;
    for (unsigned h = 0; h < tb->nr_holes; h++) {
        unsigned hole = begin + tb->hole[h].off;

        if (hole > first) {
            page_bitmap_set(map, first, hole - 1);
        }
        first = hole + tb->hole[h].len;
    }
    if (first <= last) {
        page_bitmap_set(map, first, last);
    }
}

bool page_bitmap_test(const uint8_t *map, unsigned first, unsigned last)
{
    for (unsigned i = first / 8; i <= last / 8; i++) {
        if (map[i] & map_mask(i, first, last)) {
            return true;
        }
    }
    return false;
}

/* The list has become empty. Nothing is freed: an all-zero map is the exact map of an empty list.
 */
void page_bitmap_clear(struct PageDesc *pd)
{
    assert_page_locked(pd);
    if (pd->code_bitmap) {
        memset(pd->code_bitmap, 0, CODE_BITMAP_SIZE);
    }
}

void build_page_bitmap(struct PageDesc *pd)
{
    assert_page_locked(pd);
    if (pd->code_bitmap) {
        page_bitmap_clear(pd);
    } else {
        pd->code_bitmap = dbt_zalloc(CODE_BITMAP_SIZE);
        pd->code_write_count = 0; /* no memory: ask again after as many writes */
    }
    if (!pd->code_bitmap) {
        return;
    }
    unsigned count;
    const uintptr_t *list = page_all_lists(pd, &count);
    for (const uintptr_t *end = list + count; list < end; list++) {
        for (uintptr_t link = *list; link; link = *page_next_of_link(link)) {
            tb_list_steps++;
            bitmap_add_tb(pd->code_bitmap, tb_of_link(link), n_of_link(link));
        }
    }
}

/* 64 bits of the map, those of bytes i to i + 63 of the page (i a multiple of 64); the first byte's is the lowest. */
static uint64_t bitmap_word(const uint8_t *map, unsigned i)
{
    uint64_t word;

    memcpy(&word, map + i / 8, sizeof(word));
    return word;
}

/* The first byte of the run of clear bits that contains `at`, whose bit is clear. */
static unsigned bitmap_gap_begin(const uint8_t *map, unsigned at)
{
    unsigned base = at & ~63u;
    uint64_t below = bitmap_word(map, base) & ((1ull << (at & 63)) - 1);

    while (!below && base) {
        base -= 64;
        below = bitmap_word(map, base);
    }
    return below ? base + 64 - (unsigned)__builtin_clzll(below) : 0;
}

/* The last one. */
static unsigned bitmap_gap_end(const uint8_t *map, unsigned at)
{
    unsigned base = at & ~63u;
    uint64_t above = bitmap_word(map, base) & ~0ull << (at & 63);

    while (!above && base + 64 < PAGE_SIZE) {
        base += 64;
        above = bitmap_word(map, base);
    }
    return above ? base + (unsigned)__builtin_ctzll(above) - 1 : PAGE_SIZE - 1;
}

bool tb_page_free_gap(tb_page_addr_t addr, unsigned len, unsigned *first, unsigned *last)
{
    struct PageDesc *pd = addr == TB_PAGE_ADDR_INVALID ? NULL : page_find(page_index(addr));
    bool is_free = false;

    if (!pd) {
        return false;
    }
    *first = addr & ~PAGE_MASK;
    *last = *first + len - 1;
    spin_lock(&pd->lock);
    if (!pd->code_bitmap) {
        build_page_bitmap(pd);
    }
    if (pd->code_bitmap && !page_bitmap_test(pd->code_bitmap, *first, *last)) {
        is_free = true;
        *first = bitmap_gap_begin(pd->code_bitmap, *first);
        *last = bitmap_gap_end(pd->code_bitmap, *last);
    }
    spin_unlock(&pd->lock);
    return is_free;
}

/* ---- lists ---- */

uintptr_t *page_lists(struct PageDesc *pd, unsigned first, unsigned last, unsigned *count)
{
    unsigned low = first >> TB_INDEX_SHIFT;

    if (!pd->tb_index) {
        *count = 1;
        return &pd->first_tb;
    }
    low -= MIN(low, (unsigned)pd->tb_reach);
    *count = (last >> TB_INDEX_SHIFT) - low + 1;
    return &pd->tb_index[low];
}

/* The list that half n of tb is on or belongs on. */
static uintptr_t *list_of_tb(struct PageDesc *pd, const struct TranslationBlock *tb, unsigned n)
{
    unsigned first, last;

    if (!pd->tb_index) {
        return &pd->first_tb;
    }
    tb_page_extent(tb, n, &first, &last);
    return &pd->tb_index[first >> TB_INDEX_SHIFT];
}

static void list_push(struct PageDesc *pd, struct TranslationBlock *tb, unsigned n)
{
    uintptr_t *list = list_of_tb(pd, tb, n);

    if (pd->tb_index) {
        unsigned first, last;

        tb_page_extent(tb, n, &first, &last);
        pd->tb_reach = MAX(pd->tb_reach, (uint8_t)((last >> TB_INDEX_SHIFT) - (first >> TB_INDEX_SHIFT)));
    }
    tb->page_next[n] = *list;
    *list = tb_link(tb, n);
}

void page_index_tbs(struct PageDesc *pd, unsigned walked)
{
    assert_page_locked(pd);
    ASSERT(spin_is_locked(&tb_invalidate_lock));
    if (pd->tb_index || walked < TB_INDEX_THRESHOLD) {
        return;
    }
    pd->tb_index = dbt_zalloc(TB_INDEX_LISTS * sizeof(*pd->tb_index));
    if (!pd->tb_index) {
        return;
    }
    uintptr_t link = pd->first_tb;
    pd->first_tb = 0;
    while (link) {
        uintptr_t next = *page_next_of_link(link);

        tb_list_steps++;
        list_push(pd, tb_of_link(link), n_of_link(link));
        link = next;
    }
}

void page_lists_clear(struct PageDesc *pd)
{
    assert_page_locked(pd);
    pd->first_tb = 0;
    pd->nr_tbs = 0;
    pd->tb_reach = 0;
    if (pd->tb_index) {
        memset(pd->tb_index, 0, TB_INDEX_LISTS * sizeof(*pd->tb_index));
    }
    page_bitmap_clear(pd);
}

/*
 * QEMU drops the byte map here, because a map without the new TB's bytes would let a store to them
 * pass as data. Adding the bytes instead keeps the map a superset just as well, and a page that
 * gains TBs while it is being written to as data keeps its O(1) filter.
 */
void tb_page_add(struct PageDesc *pd, struct TranslationBlock *tb, unsigned n)
{
    assert_page_locked(pd);
    list_push(pd, tb, n);
    pd->nr_tbs++;
    if (pd->code_bitmap) {
        bitmap_add_tb(pd->code_bitmap, tb, n);
    }
}

/* tb->page_next[n] is left as it was: a walk that stands on the removed node can go on. */
void tb_page_remove(struct PageDesc *pd, struct TranslationBlock *tb, unsigned n, uintptr_t *hint)
{
    uintptr_t link = tb_link(tb, n);
    uintptr_t *prev = hint && *hint == link ? hint : list_of_tb(pd, tb, n);

    assert_page_locked(pd);
    while (*prev != link) {
        ASSERT(*prev);
        tb_list_steps++;
        prev = page_next_of_link(*prev);
    }
    *prev = tb->page_next[n];
    if (--pd->nr_tbs == 0) {
        pd->tb_reach = 0;
        page_bitmap_clear(pd);
    }
}
