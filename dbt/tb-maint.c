/* SPDX-License-Identifier: MIT */
/*
 * Life and death of translation blocks: protection of their pages, linking, invalidation by writes,
 * flush. All ways to kill a TB end in do_tb_phys_invalidate(). Does not translate, does not restore
 * guest state and does not perform the write; killing allocates nothing and cannot fail. See
 * docs/tb-life.md.
 */
#include "dbt/tb-internal.h"

#include "dbt/data-imm.h"
#include "dbt/link-set.h"
#include "dbt/page-state.h"
#include "dbt/store-table.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"
#include "dbt/host.h"

struct spinlock tb_invalidate_lock;
struct CPUState *tb_cpus[TB_MAX_CPUS];
unsigned tb_cpu_count;

int tb_maint_init(void)
{
    page_desc_init();
    page_state_init();
    data_imm_init();
    tb_cross_page_reset();
    return tb_htable_init();
}

bool tb_cpu_is_registered(const struct CPUState *cpu)
{
    for (unsigned i = 0; i < tb_cpu_count; i++) {
        if (tb_cpus[i] == cpu) {
            return true;
        }
    }
    return false;
}

void tb_maint_register_cpu(struct CPUState *cpu)
{
    spin_lock(&tb_invalidate_lock);
    if (!tb_cpu_is_registered(cpu)) {
        ASSERT(tb_cpu_count < TB_MAX_CPUS);
        tb_cpus[tb_cpu_count++] = cpu;
    }
    spin_unlock(&tb_invalidate_lock);
}

/* Whose counters an event goes to: the CPU that caused it; where none is given, the first. NULL
 * before there is any. */
static struct CPUState *stat_cpu(struct CPUState *cpu)
{
    return cpu ? cpu : tb_cpu_count ? tb_cpus[0] : NULL;
}

/* ---- protection ---- */

static void page_protect_locked(struct PageDesc *pd, tb_page_addr_t page_addr)
{
    struct CPUState *cpu = stat_cpu(NULL);

    assert_page_locked(pd);
    if (pd->is_protected || pd->state.kind == PAGE_SELF_CHECK) {
        return;
    }
    if (smc_policy.check) {
        store_table_linked(pd, page_addr, page_addr + PAGE_SIZE - 1);
    } else {
        tlb_protect_code(page_addr);
    }
    page_state_armed(pd);
    __atomic_store_n(&pd->is_protected, true, __ATOMIC_RELEASE); /* tb_page_prepare() reads it without the lock */
    if (cpu) {
        CPU_STAT(cpu, page_protect);
    }
}

/* Give back protection if no TB is left; after a store maybe later (page_state_lingers()). */
static void page_unprotect_if_empty_locked(struct CPUState *cpu, struct PageDesc *pd,
                                           tb_page_addr_t page_addr, bool by_store)
{
    assert_page_locked(pd);
    if (pd->nr_tbs || !pd->is_protected) {
        return;
    }
    cpu = stat_cpu(cpu);
    if (by_store && page_state_lingers(pd)) {
        if (cpu) {
            CPU_STAT(cpu, page_linger);
        }
        return;
    }
    __atomic_store_n(&pd->is_protected, false, __ATOMIC_RELEASE);
    if (!smc_policy.check) {
        tlb_unprotect_code(page_addr);
    }
    if (cpu) {
        CPU_STAT(cpu, page_unprotect);
    }
}

int tb_page_prepare(tb_page_addr_t addr)
{
    struct PageDesc *pd = page_find_alloc(page_index(addr), true);

    if (!pd) {
        return -ENOMEM;
    }
    if (__atomic_load_n(&pd->is_protected, __ATOMIC_ACQUIRE)) {
        return 0; /* as good as with the lock, which would be given up before the bytes are read: tb_link_page() looks again */
    }
    spin_lock(&pd->lock);
    page_protect_locked(pd, addr & PAGE_MASK);
    spin_unlock(&pd->lock);
    return 0;
}

bool tb_page_self_checks(tb_page_addr_t addr)
{
    const struct PageDesc *pd = page_find(page_index(addr));

    return pd && pd->state.kind == PAGE_SELF_CHECK;
}

bool tb_page_stays_protected(tb_page_addr_t addr)
{
    struct PageDesc *pd = page_find(page_index(addr));

    if (!pd) {
        return false;
    }
    spin_lock(&pd->lock);
    if (!pd->state.lingers) {
        page_unprotect_if_empty_locked(NULL, pd, addr & PAGE_MASK, false);
    }
    bool stays = pd->is_protected;
    spin_unlock(&pd->lock);
    return stays;
}

/* ---- linking ---- */

struct TranslationBlock *tb_link_page(struct TranslationBlock *tb, tb_page_addr_t phys_pc,
                                      tb_page_addr_t phys_page2)
{
    struct PageDesc *pd[2];
    bool crosses = (phys_pc & ~PAGE_MASK) + tb->size > PAGE_SIZE;

    ASSERT(tb->size >= 1 && tb->size <= PAGE_SIZE && !(tb_cflags(tb) & CF_INVALID));
    ASSERT((tb->pc & ~PAGE_MASK) == (phys_pc & ~PAGE_MASK));
    ASSERT(!crosses || phys_page2 != TB_PAGE_ADDR_INVALID);
    tb->page_addr[0] = phys_pc;
    /* A second page that was prepared but not reached is no part of the TB. */
    tb->page_addr[1] = crosses ? phys_page2 & PAGE_MASK : TB_PAGE_ADDR_INVALID;
    tb->page_next[0] = tb->page_next[1] = 0;
    tb->hash_next = NULL;
    tb->hashed = false;
    tb_jmp_init(tb);

    page_lock_tb(tb, pd);
    for (unsigned n = 0; n < 2 && pd[n]; n++) {
        /* tb_page_prepare() did this, but a monitor write may have given the page back (I2). */
        page_protect_locked(pd[n], tb->page_addr[n] & PAGE_MASK);
        pd[n]->state.lingers = 0;
        ASSERT(pd[n]->is_protected || tb->self_check & BIT(n));
        tb_page_add(pd[n], tb, n);

        tb_page_addr_t page = tb->page_addr[n] & PAGE_MASK;
        unsigned first, last;

        tb_page_extent(tb, n, &first, &last);
        store_site_linked(page + first, page + last);
        if (smc_policy.check) {
            store_table_linked(pd[n], page + first, page + last);
        }
    }
    /* Last: the hash table never holds a TB that is not on its page lists (I1). */
    struct TranslationBlock *existing = tb_htable_insert(tb);
    if (existing != tb) {
        for (unsigned n = 0; n < 2 && pd[n]; n++) {
            tb_page_remove(pd[n], tb, n, NULL);
        }
    }
    page_unlock_tb(pd);
    return existing;
}

/* ---- death ---- */

static void tb_jmp_cache_remove(struct TranslationBlock *tb)
{
    unsigned h = tb_jmp_cache_hash_func(tb->pc, tb_cflags(tb));

    for (unsigned i = 0; i < tb_cpu_count; i++) {
        struct TranslationBlock **slot = &tb_cpus[i]->tb_jmp_cache[h];
        /* A fill by the owner that races with this is harmless: look-ups compare cflags. */
        if (__atomic_load_n(slot, __ATOMIC_RELAXED) == tb) {
            __atomic_store_n(slot, NULL, __ATOMIC_RELAXED);
        }
    }
    link_jmp_cache_remove(tb);
    jump_table_remove(tb);
}

/*
 * The order is that of QEMU and matters: first no new jump to tb can appear (CF_INVALID under
 * jmp_lock), then no look-up finds it, then it leaves the pages, then what was cached and chained
 * earlier goes. tb_invalidate_lock and the locks of both pages are held. A TB that is not in the
 * table is dead already. hint as for tb_page_remove().
 */
static void do_tb_phys_invalidate(struct CPUState *cpu, struct TranslationBlock *tb,
                                  uintptr_t *hint)
{
    ASSERT(spin_is_locked(&tb_invalidate_lock));
    spin_lock(&tb->jmp_lock);
    __atomic_store_n(&tb->cflags, tb->cflags | CF_INVALID, __ATOMIC_SEQ_CST);
    spin_unlock(&tb->jmp_lock);
    if (!tb_htable_remove(tb)) {
        return;
    }
    for (unsigned n = 0; n < 2 && tb->page_addr[n] != TB_PAGE_ADDR_INVALID; n++) {
        tb_page_remove(page_find(page_index(tb->page_addr[n])), tb, n, hint);
    }
    tb_jmp_cache_remove(tb);
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        tb_remove_from_jmp_list(tb, n);
    }
    tb_jmp_unlink(tb);
    link_jmp_kill(tb);
    cpu = stat_cpu(cpu);
    if (cpu) {
        CPU_STAT(cpu, tb_invalidated);
    }
    LOG(SMC, "invalidate pc=%#llx size=%u flags=%#x cflags=%#x", (unsigned long long)tb->pc,
        tb->size, tb->flags, tb_cflags(tb));
}

/*
 * Kill tb, found on the list of pd, whose lock is held before and after; page_addr is pd's page.
 * Another page that comes first in the lock order is taken first, for which pd's lock is given up
 * for a moment: only killing, which tb_invalidate_lock serializes, takes TBs off a list, so *hint
 * and tb stay what they are.
 */
static void tb_phys_invalidate__locked(struct CPUState *cpu, struct PageDesc *pd,
                                       tb_page_addr_t page_addr, struct TranslationBlock *tb,
                                       uintptr_t *hint)
{
    struct PageDesc *other = NULL;

    assert_page_locked(pd);
    if (tb->page_addr[1] != TB_PAGE_ADDR_INVALID) {
        tb_page_addr_t page0 = tb->page_addr[0] & PAGE_MASK;
        tb_page_addr_t other_addr = page0 == page_addr ? tb->page_addr[1] : page0;

        if (other_addr != page_addr) {
            other = page_find(page_index(other_addr));
            if (other_addr < page_addr) {
                spin_unlock(&pd->lock);
                spin_lock(&other->lock);
                spin_lock(&pd->lock);
            } else {
                spin_lock(&other->lock);
            }
        }
    }
    do_tb_phys_invalidate(cpu, tb, hint);
    if (other) {
        spin_unlock(&other->lock);
    }
}

/*
 * page_addr is QEMU's parameter: the page whose list the caller is dropping anyway, so that the TB
 * need not be taken off it. Here a TB always leaves both lists; a half-removed one would break I1.
 */
void tb_phys_invalidate(struct TranslationBlock *tb, tb_page_addr_t page_addr)
{
    struct PageDesc *pd[2];

    spin_lock(&tb_invalidate_lock);
    if (tb->hashed) {
        page_lock_tb(tb, pd);
        do_tb_phys_invalidate(NULL, tb, NULL);
        page_unlock_tb(pd);
    } else {
        do_tb_phys_invalidate(NULL, tb, NULL); /* never linked, or dead: only the mark is set */
    }
    spin_unlock(&tb_invalidate_lock);
}

/* A write to [start, last], bytes of one page, and what it did. */
struct page_write {
    struct CPUState *cpu;
    struct PageDesc *pd; /* of the page; locked */
    tb_page_addr_t start, last;
    bool by_store;                             /* which is repeated whatever becomes of the page */
    const struct TranslationBlock *current_tb; /* may be NULL */
    bool current_modified;                     /* current_tb was among those that died */
    unsigned hits, passed;                     /* TBs that died; nodes looked at that did not */
};

static void invalidate_list__locked(struct page_write *w, uintptr_t *list)
{
    tb_page_addr_t page_addr = w->start & PAGE_MASK;
    uintptr_t *prev = list;

    while (*prev) {
        struct TranslationBlock *tb = tb_of_link(*prev);
        unsigned n = n_of_link(*prev);
        unsigned tb_first, tb_last;

        tb_list_steps++;
        tb_page_extent(tb, n, &tb_first, &tb_last);
        if (page_addr + tb_first > w->last || page_addr + tb_last < w->start ||
            tb_range_in_hole(tb, w->start, w->last)) {
            prev = &tb->page_next[n];
            w->passed++;
            continue;
        }
        if (w->start >= tb->page_addr[0] && page_addr + tb_last >= w->last) {
            data_imm_note(w->cpu, tb, (unsigned)(w->start - tb->page_addr[0]),
                          (unsigned)(w->last - tb->page_addr[0]));
        }
        w->hits++;
        w->current_modified |= tb == w->current_tb;
        tb_phys_invalidate__locked(w->cpu, w->pd, page_addr, tb, prev);
        if ((tb->page_addr[0] & PAGE_MASK) == tb->page_addr[1]) {
            /* Both halves are here, and prev may be the dead TB's own other link: start again. */
            prev = list;
        }
    }
}

/*
 * Kill the TBs of one page that have bytes in the written range. The page is given back when no TB is left; a second page that
 * a dead TB leaves empty stays protected until the next write to it.
 */
static void tb_invalidate_phys_page_range__locked(struct page_write *w)
{
    unsigned lists;

    ASSERT(w->start <= w->last && page_index(w->start) == page_index(w->last));
    assert_page_locked(w->pd);
    uintptr_t *list = page_lists(w->pd, w->start & ~PAGE_MASK, w->last & ~PAGE_MASK, &lists);
    for (uintptr_t *end = list + lists; list < end; list++) {
        invalidate_list__locked(w, list);
    }
    page_index_tbs(w->pd, w->passed);
    page_unprotect_if_empty_locked(w->cpu, w->pd, w->start & PAGE_MASK, w->by_store);
}

/* ---- the entries ---- */

bool tb_invalidate_phys_range(struct CPUState *cpu, tb_page_addr_t start, tb_page_addr_t last,
                              uint64_t host_pc)
{
    const struct TranslationBlock *current_tb = host_pc ? tcg_tb_lookup(host_pc) : NULL;
    bool current_modified = false;
    tb_page_addr_t index = page_index(start);
    struct PageDesc *pd;

    ASSERT(start <= last);
    spin_lock(&tb_invalidate_lock);
    for (; (pd = page_find_next(&index, page_index(last))); index++) {
        tb_page_addr_t page_addr = index << PAGE_SHIFT;

        spin_lock(&pd->lock);
        struct page_write w = {.cpu = cpu,
                               .pd = pd,
                               .start = MAX(start, page_addr),
                               .last = MIN(last, page_addr + (PAGE_SIZE - 1)),
                               .current_tb = current_tb};
        tb_invalidate_phys_page_range__locked(&w);
        current_modified |= w.current_modified;
        spin_unlock(&pd->lock);
    }
    spin_unlock(&tb_invalidate_lock);
    return current_modified;
}

/*
 * Can a write to bytes [first, last] of a page with TBs be a hit? Counts slow writes until the byte
 * map pays, then asks the map, which is a superset: false is certain.
 */
static bool page_bitmap_filter(struct PageDesc *pd, unsigned first, unsigned last)
{
    if (!pd->code_bitmap && ++pd->code_write_count >= SMC_BITMAP_USE_THRESHOLD) {
        build_page_bitmap(pd);
    }
    return !pd->code_bitmap || page_bitmap_test(pd->code_bitmap, first, last);
}

bool tb_invalidate_phys_page_fast(struct CPUState *cpu, tb_page_addr_t start, unsigned len,
                                  uint64_t host_pc, bool *hit)
{
    tb_page_addr_t last = start + len - 1;
    struct page_write w = {.cpu = cpu, .start = start, .last = last, .by_store = true};

    *hit = false;
    ASSERT(len >= 1 && page_index(start) == page_index(last));
    struct PageDesc *pd = page_find(page_index(start));
    if (!pd) {
        return false;
    }
    spin_lock(&tb_invalidate_lock);
    spin_lock(&pd->lock);
    if (!pd->nr_tbs) {
        page_unprotect_if_empty_locked(cpu, pd, start & PAGE_MASK, true);
    } else if (page_bitmap_filter(pd, start & ~PAGE_MASK, last & ~PAGE_MASK)) {
        w.pd = pd;
        w.current_tb = host_pc ? tcg_tb_lookup(host_pc) : NULL;
        tb_invalidate_phys_page_range__locked(&w);
        if (!w.hits && pd->code_bitmap) {
            build_page_bitmap(
                pd); /* the map kept bytes of dead TBs; the walk is paid for, make it exact again */
        }
    }
    spin_unlock(&pd->lock);
    spin_unlock(&tb_invalidate_lock);
    *hit = w.hits != 0;
    return w.current_modified;
}

/* ---- flush, iteration ---- */

/* Empty every page's list (QEMU page_flush_tb). The pages stay protected: the next write to one
 * finds no TB. */
static void page_flush_tb(void)
{
    tb_page_addr_t index = 0;
    struct PageDesc *pd;

    for (; (pd = page_find_next(&index, PAGE_INDEX_LAST)); index++) {
        spin_lock(&pd->lock);
        if (pd->nr_tbs) {
            page_lists_clear(pd);
        }
        spin_unlock(&pd->lock);
    }
}

void tb_maint_flush(void)
{
    spin_lock(&tb_invalidate_lock);
    for (unsigned i = 0; i < tb_cpu_count; i++) {
        memset(tb_cpus[i]->tb_jmp_cache, 0, sizeof(tb_cpus[i]->tb_jmp_cache));
    }
    tb_htable_reset();
    page_flush_tb();
    tb_cross_page_reset();
    spin_unlock(&tb_invalidate_lock);
}

void tb_for_each_on_page(tb_page_addr_t addr,
                         void (*fn)(const struct TranslationBlock *tb, void *opaque), void *opaque)
{
    struct PageDesc *pd = page_find(page_index(addr));

    if (!pd) {
        return;
    }
    spin_lock(&pd->lock);
    unsigned lists;
    const uintptr_t *list = page_all_lists(pd, &lists);
    for (const uintptr_t *end = list + lists; list < end; list++) {
        for (uintptr_t link = *list; link; link = *page_next_of_link(link)) {
            const struct TranslationBlock *tb = tb_of_link(link);

            /* A TB with both halves here is reported by the first only. */
            if (n_of_link(link) == 0 || (tb->page_addr[0] & PAGE_MASK) != tb->page_addr[1]) {
                fn(tb, opaque);
            }
        }
    }
    spin_unlock(&pd->lock);
}
