/* SPDX-License-Identifier: MIT */
/*
 * The invariant checker: walks every structure of TB maintenance and compares each with the others.
 * Changes nothing, and expects that no CPU is linking or chaining meanwhile. Every violation is
 * logged, whatever the log mask.
 */
#include "dbt/jump-table.h"
#include "dbt/link-set.h"
#include "dbt/page-state.h"
#include "dbt/store-site.h"
#include "dbt/store-table.h"
#include "dbt/tb-internal.h"

#define VIOLATION(...) (log_line("tb", "violated: " __VA_ARGS__), 1)

static unsigned long long pc_of(const struct TranslationBlock *tb)
{
    return (unsigned long long)tb->pc;
}

static bool tb_is_dead(const struct TranslationBlock *tb)
{
    return tb_cflags(tb) & CF_INVALID;
}

/* ---- pages ---- */

/* I8, for one half on a protected page: memory holds what was translated. */
static int check_bytes(const struct TranslationBlock *tb, unsigned n)
{
    unsigned last;

    if (tb->self_check & BIT(n) || tb_find_change(tb, n, &last) == tb->size) {
        return 0;
    }
    return VIOLATION("I8: half %u of TB pc=%#llx is not what memory holds", n, pc_of(tb));
}

/* Is [first, last], of half n, in the byte map, holes apart? */
static int check_bitmap(const struct PageDesc *pd, tb_page_addr_t page_addr, const struct TranslationBlock *tb, unsigned first,
                        unsigned last)
{
    for (unsigned i = first; pd->code_bitmap && i <= last; i++) {
        if (!page_bitmap_test(pd->code_bitmap, i, i) && !tb_range_in_hole(tb, page_addr + i, page_addr + i)) {
            return VIOLATION("byte map of page %#llx lacks TB pc=%#llx", (unsigned long long)page_addr, pc_of(tb));
        }
    }
    return 0;
}

/* One node of a page: a live TB with the right tag, flag set (I2), every byte in the byte map and found by the index. */
static int check_node(const struct PageDesc *pd, tb_page_addr_t page_addr, unsigned list, uintptr_t link)
{
    const struct TranslationBlock *tb = tb_of_link(link);
    unsigned n = n_of_link(link);
    unsigned first, last;
    int errors = 0;

    if (!tb->hashed || tb_is_dead(tb) || (tb->page_addr[n] & PAGE_MASK) != page_addr) {
        return VIOLATION("I1: page %#llx lists half %u of dead or foreign TB pc=%#llx", (unsigned long long)page_addr, n, pc_of(tb));
    }
    if (!pd->is_protected && !(tb->self_check & BIT(n))) {
        errors += VIOLATION("I2: half %u of TB pc=%#llx is neither protected nor checked", n, pc_of(tb));
    }
    tb_page_extent(tb, n, &first, &last);
    if (pd->tb_index && (first >> TB_INDEX_SHIFT != list || (last >> TB_INDEX_SHIFT) - list > pd->tb_reach)) {
        errors += VIOLATION("the index of page %#llx does not find half %u of TB pc=%#llx", (unsigned long long)page_addr, n, pc_of(tb));
    }
    return errors + check_bytes(tb, n) + check_bitmap(pd, page_addr, tb, first, last);
}

/* The lists of one page: sound, together as long as the page says. */
static int check_page_lists(struct PageDesc *pd, tb_page_addr_t page_addr)
{
    size_t limit = 2 * tb_count();
    size_t steps = 0;
    unsigned lists;
    int errors = 0;
    const uintptr_t *list = page_all_lists(pd, &lists);

    for (unsigned i = 0; i < lists; i++) {
        for (uintptr_t link = list[i]; link; link = *page_next_of_link(link)) {
            if (++steps > limit) {
                return errors + VIOLATION("list of page %#llx has a cycle", (unsigned long long)page_addr);
            }
            errors += check_node(pd, page_addr, i, link);
        }
    }
    if (steps != pd->nr_tbs || (pd->tb_index && pd->first_tb)) {
        errors += VIOLATION("page %#llx lists %u TBs, not %u", (unsigned long long)page_addr, (unsigned)steps, pd->nr_tbs);
    }
    return errors;
}

static int check_pages(void)
{
    tb_page_addr_t index = 0;
    struct PageDesc *pd;
    int errors = 0;

    for (; (pd = page_find_next(&index, PAGE_INDEX_LAST)); index++) {
        tb_page_addr_t page_addr = index << PAGE_SHIFT;

        if (pd->nr_tbs && !pd->is_protected && pd->state.kind != PAGE_SELF_CHECK) {
            errors += VIOLATION("I2: page %#llx has TBs and is not protected",
                                (unsigned long long)page_addr);
        }
        if (!pd->nr_tbs && pd->code_bitmap &&
            page_bitmap_test(pd->code_bitmap, 0, PAGE_SIZE - 1)) {
            errors += VIOLATION("empty page %#llx has bits in its byte map",
                                (unsigned long long)page_addr);
        }
        if (spin_is_locked(&pd->lock)) {
            errors += VIOLATION("I6: page %#llx was left locked", (unsigned long long)page_addr);
        }
        errors += check_page_lists(pd, page_addr);
    }
    return errors;
}

/* I1 for one live TB: half n is on its page's list (at most once: a second time would be a cycle).
 */
static int check_on_page_list(const struct TranslationBlock *tb, unsigned n)
{
    struct PageDesc *pd = page_find(page_index(tb->page_addr[n]));
    size_t limit = 2 * tb_count();
    unsigned lists = 0, first, last;

    tb_page_extent(tb, n, &first, &last);
    const uintptr_t *list = pd ? page_lists(pd, first, first, &lists) : NULL;
    for (const uintptr_t *end = list + lists; list < end; list++) {
        for (uintptr_t link = *list; link && limit; link = *page_next_of_link(link), limit--) {
            if (link == tb_link(tb, n)) {
                return 0;
            }
        }
    }
    return VIOLATION("I1: half %u of TB pc=%#llx is not on the list of page %#llx", n, pc_of(tb),
                     (unsigned long long)(tb->page_addr[n] & PAGE_MASK));
}

/* ---- jumps ---- */

/* How often (tb, n) is on dest's incoming list; stops at limit. */
static size_t count_incoming(const struct TranslationBlock *dest, const struct TranslationBlock *tb,
                             unsigned n)
{
    size_t limit = TB_MAX_JMP * tb_count();
    size_t found = 0;

    for (uintptr_t link = dest->jmp_list_head; link && limit; limit--) {
        found += link == tb_link(tb, n);
        link = tb_of_link(link)->jmp_list_next[n_of_link(link)];
    }
    return found;
}

static int check_outgoing(const struct TranslationBlock *tb, unsigned n)
{
    const struct TranslationBlock *dest = tb_of_link(tb->jmp_dest[n]);

    if (tb->jmp_dest[n] & 1) {
        return VIOLATION("live TB pc=%#llx may not chain exit %u", pc_of(tb), n);
    }
    if (!dest) {
        return 0;
    }
    if (tb_is_dead(dest) || !dest->hashed) {
        return VIOLATION("I3: TB pc=%#llx jumps to dead TB pc=%#llx", pc_of(tb), pc_of(dest));
    }
    if (count_incoming(dest, tb, n) != 1) {
        return VIOLATION("jump pc=%#llx exit %u is not once on the list of pc=%#llx", pc_of(tb), n,
                         pc_of(dest));
    }
    if (tb_jmp_is_cross_page(tb, dest) && !tb_jmp_is_logged(tb, n)) {
        return VIOLATION("jump pc=%#llx exit %u to another page is not logged", pc_of(tb), n);
    }
    return 0;
}

static int check_incoming(const struct TranslationBlock *dest)
{
    size_t limit = TB_MAX_JMP * tb_count();
    uintptr_t link = dest->jmp_list_head;

    while (link) {
        const struct TranslationBlock *tb = tb_of_link(link);
        unsigned n = n_of_link(link);

        if (tb->jmp_dest[n] != (uintptr_t)dest) {
            return VIOLATION("list of pc=%#llx names pc=%#llx exit %u, which does not jump there",
                             pc_of(dest), pc_of(tb), n);
        }
        if (limit-- == 0) {
            return VIOLATION("incoming list of pc=%#llx has a cycle", pc_of(dest));
        }
        link = tb->jmp_list_next[n];
    }
    return 0;
}

/* ---- TBs ---- */

static int check_live_tb(const struct TranslationBlock *tb)
{
    int errors = 0;

    for (unsigned n = 0; n < 2 && tb->page_addr[n] != TB_PAGE_ADDR_INVALID; n++) {
        errors += check_on_page_list(tb, n);
    }
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        errors += check_outgoing(tb, n);
    }
    if (spin_is_locked(&tb->jmp_lock)) {
        errors += VIOLATION("I6: TB pc=%#llx was left locked", pc_of(tb));
    }
    return errors + check_incoming(tb);
}

/* I3. That a dead TB is on no page list is seen from the pages. */
static int check_dead_tb(const struct TranslationBlock *tb)
{
    int errors = 0;

    if (tb->hashed || tb->jmp_list_head) {
        errors += VIOLATION("I3: dead TB pc=%#llx is %s", pc_of(tb),
                            tb->hashed ? "in the table" : "a jump target");
    }
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        /* 0: it was never linked */
        if (tb->jmp_dest[n] > 1) {
            errors += VIOLATION("I3: dead TB pc=%#llx has jump %u", pc_of(tb), n);
        }
    }
    return errors;
}

static int check_jmp_cache(const struct CPUState *cpu)
{
    int errors = 0;

    for (unsigned i = 0; i < TB_JMP_CACHE_SIZE; i++) {
        const struct TranslationBlock *tb = cpu->tb_jmp_cache[i];

        if (tb && (!tb->hashed || tb_is_dead(tb) || tb_jmp_cache_hash_func(tb->pc, tb_cflags(tb)) != i)) {
            errors +=
                VIOLATION("I3: jump cache slot %u holds dead or foreign TB pc=%#llx", i, pc_of(tb));
        }
    }
    return errors;
}

int tb_maint_check(struct CPUState *cpu)
{
    int errors = 0;
    size_t live = 0, entries;

    spin_lock(&tb_invalidate_lock);
    errors += check_pages();
    for (size_t i = 0; i < tb_count(); i++) {
        const struct TranslationBlock *tb = tb_at(i);

        if (tb->hashed && !tb_is_dead(tb)) {
            live++;
            errors += check_live_tb(tb);
        } else {
            errors += check_dead_tb(tb);
        }
    }
    errors += tb_htable_check(&entries);
    if (entries != live) {
        errors += VIOLATION("hash table has %llu entries, %llu TBs live",
                            (unsigned long long)entries, (unsigned long long)live);
    }
    if (cpu && !tb_cpu_is_registered(cpu)) {
        errors += VIOLATION("the CPU is not registered: dead TBs stay in its jump cache");
    }
    for (unsigned i = 0; i < tb_cpu_count; i++) {
        errors += check_jmp_cache(tb_cpus[i]);
    }
    errors += link_sets_check() + jump_table_check() + store_sites_check();
    if (smc_policy.check) {
        errors += store_table_check();
    }
    spin_unlock(&tb_invalidate_lock);
    return errors;
}
