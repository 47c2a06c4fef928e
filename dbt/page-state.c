/* SPDX-License-Identifier: MIT */
/*
 * The state machine of pages with translations, with its hysteresis. Decides when a page changes state, and kills its TBs
 * then; what the states mean is done elsewhere: protection in tb-maint.c, the check in translate-check.c. Only speed depends
 * on what is decided here.
 *
 *                       misses or hits, many a tick
 *     PAGE_PROTECTED ------------------------------> PAGE_SELF_CHECK
 *          |   ^ ^                                      |
 *          |   | '--------------------------------------'
 *          '---'   no write, or no TB, for quiet_ticks (doubled at every return)
 *      bulk overwrite: all TBs die
 *      no TB left, but such pages were soon protected again: stays so for some writes
 */
#include "dbt/page-state.h"

#include "dbt/data-imm.h"
#include "dbt/host.h"
#include "dbt/tb-internal.h"
#include "kernel/lib/conf.h"
#include "kernel/lib/string.h"

#define RETURNS_MAX 6u /* quiet_ticks is doubled so often at most */
#define REARMS      2u /* protected again so often, each time within a tick: it will be once more */

struct smc_policy smc_policy = {
    .adaptive = true,
    .precise = true,
    .self_check_faults = CONF_SMC_SELF_CHECK_FAULTS,
    .self_check_hits = CONF_SMC_SELF_CHECK_HITS,
    .quiet_ticks = CONF_SMC_QUIET_TICKS,
    .bulk_faults = CONF_SMC_BULK_FAULTS,
    .data_imm_hits = CONF_SMC_DATA_IMM_HITS,
    .disarm_faults = CONF_SMC_DISARM_FAULTS,
};

static uint32_t ticks;                    /* host ticks; written by page_state_tick() alone */
static uint32_t polled;                   /* ticks at the last poll; owner: page_state_poll() */
static struct PageDesc *self_check_pages; /* lock: tb_invalidate_lock */

void page_state_init(void)
{
    self_check_pages = NULL;
    ticks = 0;
    polled = 0;
}

static void list_remove(struct PageDesc *pd)
{
    struct PageDesc **prev = &self_check_pages;

    ASSERT(spin_is_locked(&tb_invalidate_lock));
    while (*prev != pd) {
        ASSERT(*prev);
        prev = &(*prev)->state.next;
    }
    *prev = pd->state.next;
}

/* Kill all TBs of the page, which takes its protection off. True if the one at host_pc was among them. */
static bool kill_all(struct CPUState *cpu, tb_page_addr_t page_addr, uint64_t host_pc)
{
    return tb_invalidate_phys_range(cpu, page_addr, page_addr + PAGE_SIZE - 1, host_pc);
}

/* ---- to self-checks ---- */

static void enter_self_check(struct CPUState *cpu, struct PageDesc *pd, tb_page_addr_t page_addr)
{
    struct page_state *ps = &pd->state;

    spin_lock(&tb_invalidate_lock);
    spin_lock(&pd->lock);
    ps->kind = PAGE_SELF_CHECK;
    ps->addr = page_addr;
    ps->quiet = 0;
    ps->next = self_check_pages;
    self_check_pages = pd;
    spin_unlock(&pd->lock);
    spin_unlock(&tb_invalidate_lock);
    tlb_sample_dirty(page_addr, true);
    CPU_STAT(cpu, page_self_check);
    LOG(SMC, "page %llx checks itself", (unsigned long long)page_addr);
}

/* Old faults count half with every tick that has passed. */
static void age_counts(struct page_state *ps)
{
    uint32_t age = MIN(ticks - ps->tick, 16u);

    ps->misses = (uint16_t)(ps->misses >> age);
    ps->hits = (uint16_t)(ps->hits >> age);
    ps->tick = ticks;
}

static bool bump(uint16_t *count, uint32_t limit)
{
    if (*count < UINT16_MAX) {
        ++*count;
    }
    return limit && *count >= limit;
}

/* Is someone overwriting the page from below, and not a TB of the page itself? */
static bool is_bulk(struct page_state *ps, tb_page_addr_t start, unsigned len, uint64_t host_pc)
{
    const struct TranslationBlock *tb = tcg_tb_lookup(host_pc);
    unsigned off = start & ~PAGE_MASK;

    ps->ascending = off && off == ps->next_off ? (uint8_t)MIN(ps->ascending + 1, UINT8_MAX) : 1;
    ps->next_off = (uint16_t)(off + len);
    return smc_policy.bulk_faults && ps->ascending >= smc_policy.bulk_faults && tb && page_index(tb->page_addr[0]) != page_index(start) &&
           page_index(tb->page_addr[1]) != page_index(start);
}

bool page_state_fault(struct CPUState *cpu, struct PageDesc *pd, tb_page_addr_t start, unsigned len, uint64_t host_pc,
                      bool hit)
{
    tb_page_addr_t page_addr = start & PAGE_MASK;
    struct page_state *ps = &pd->state;

    if (!smc_policy.adaptive || ps->kind == PAGE_SELF_CHECK) {
        return false;
    }
    spin_lock(&pd->lock);
    age_counts(ps);
    bool much = hit ? bump(&ps->hits, smc_policy.self_check_hits) : bump(&ps->misses, smc_policy.self_check_faults);
    bool bulk = is_bulk(ps, start, len, host_pc);
    bool empty = !pd->nr_tbs;
    spin_unlock(&pd->lock);
    if (much && !ps->pinned) {
        enter_self_check(cpu, pd, page_addr);
        return kill_all(cpu, page_addr, host_pc);
    }
    if (bulk && !empty) {
        CPU_STAT(cpu, page_bulk);
        LOG(SMC, "page %llx is overwritten", (unsigned long long)page_addr);
        return kill_all(cpu, page_addr, host_pc);
    }
    return false;
}

/* ---- disarming late ---- */

void page_state_armed(struct PageDesc *pd)
{
    struct page_state *ps = &pd->state;
    bool soon = ps->given_back && ticks + 1 - ps->given_back <= 1;

    ps->rearms = soon ? (uint8_t)MIN(ps->rearms + 1, UINT8_MAX) : 0;
    ps->lingers = 0;
}

bool page_state_lingers(struct PageDesc *pd)
{
    struct page_state *ps = &pd->state;

    if (smc_policy.adaptive && ps->rearms >= REARMS && ps->lingers < smc_policy.disarm_faults) {
        ps->lingers++;
        return true;
    }
    if (ps->lingers) {
        ps->rearms = 0; /* the wait was in vain: data now */
    }
    ps->lingers = 0;
    ps->given_back = ticks + 1;
    return false;
}

/* ---- and back ---- */

static void leave_self_check(struct CPUState *cpu, struct PageDesc *pd)
{
    struct page_state *ps = &pd->state;

    spin_lock(&tb_invalidate_lock);
    list_remove(pd);
    spin_lock(&pd->lock);
    ps->kind = PAGE_PROTECTED;
    ps->returns = (uint8_t)MIN(ps->returns + 1, UINT8_MAX);
    ps->misses = 0;
    ps->hits = 0;
    spin_unlock(&pd->lock);
    spin_unlock(&tb_invalidate_lock);
    tlb_sample_dirty(ps->addr, false);
    kill_all(cpu, ps->addr, 0);
    LOG(SMC, "page %llx no longer checks itself", (unsigned long long)ps->addr);
}

void page_state_tick(void)
{
    __atomic_store_n(&ticks, ticks + 1, __ATOMIC_RELAXED);
}

void page_state_poll(struct CPUState *cpu)
{
    uint32_t now = __atomic_load_n(&ticks, __ATOMIC_RELAXED);
    uint32_t passed = now - polled;
    struct PageDesc *next;

    if (likely(passed < MAX(smc_policy.quiet_ticks / 8, 1u))) {
        return;
    }
    polled = now;
    for (struct PageDesc *pd = self_check_pages; pd; pd = next) {
        struct page_state *ps = &pd->state;
        bool written = tlb_test_and_clear_dirty(ps->addr);

        next = ps->next;
        if (written && pd->nr_tbs) {
            ps->quiet = 0;
            continue;
        }
        ps->quiet = (uint16_t)MIN(ps->quiet + passed, UINT16_MAX);
        if (ps->quiet >= smc_policy.quiet_ticks << MIN(ps->returns, RETURNS_MAX)) {
            CPU_STAT(cpu, page_reprotect);
            leave_self_check(cpu, pd);
        }
    }
}

void page_state_pin(struct CPUState *cpu, tb_page_addr_t addr)
{
    struct PageDesc *pd = page_find(page_index(addr));

    if (!pd) {
        return;
    }
    pd->state.pinned = true;
    if (pd->state.kind == PAGE_SELF_CHECK) {
        leave_self_check(cpu, pd);
    }
    kill_all(cpu, addr & PAGE_MASK, 0); /* those that load immediates, too */
}

/* ---- checks that fail ---- */

/* Does half n of tb lie where it did? */
static bool half_is_there(struct CPUState *cpu, const struct TranslationBlock *tb, unsigned n)
{
    unsigned first, last;

    tb_page_extent(tb, n, &first, &last);
    return probe_page_addr_code(cpu, n ? (tb->pc & PAGE_MASK) + PAGE_SIZE : tb->pc) == (tb->page_addr[n] & PAGE_MASK) + first;
}

void self_check_failed(struct CPUState *cpu, struct TranslationBlock *tb)
{
    bool differs = false;

    CPU_STAT(cpu, self_check_fail);
    for (unsigned n = 0; n < 2 && tb->page_addr[n] != TB_PAGE_ADDR_INVALID; n++) {
        unsigned last, first = tb_find_change(tb, n, &last);

        differs |= first != tb->size || !half_is_there(cpu, tb, n);
        if (first != tb->size) {
            spin_lock(&tb_invalidate_lock);
            data_imm_note(cpu, tb, first, last);
            spin_unlock(&tb_invalidate_lock);
        }
    }
    tb_phys_invalidate(tb, TB_PAGE_ADDR_INVALID);
    for (unsigned n = 0; n < 2 && !differs; n++) {
        if (tb->self_check & BIT(n)) {
            page_state_pin(cpu, tb->page_addr[n]);
        }
    }
}

const char *page_state_name(const struct PageDesc *pd)
{
    if (pd->state.kind == PAGE_SELF_CHECK) {
        return "self-checking";
    }
    return !pd->is_protected ? "not protected" : smc_policy.check ? "checked" : pd->nr_tbs ? "protected" : "still protected";
}
