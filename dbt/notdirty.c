/* SPDX-License-Identifier: MIT */
/*
 * What happens when a guest store meets a page that holds translated code. A #PF tells one address and no size, so the
 * extent of the store is computed from the instruction and the registers. The rule (smc.md 2.10):
 *
 *   invalidate the TBs that overlap the bytes about to be written;
 *   if no TB is left on the page and the running one was not hit: repeat the store, the page is writable again;
 *   else leave the TB with the state at the store, and execute the store alone, as a TB of one instruction that no
 *   interrupt precedes, with a write window open on the page; then invalidate once more, for the redo TB may have
 *   overwritten itself. One fault a store, whatever it hits: no livelock.
 *
 * Must not complete a store by itself: the guest's own instruction does, so every form of it is right.
 */
#include "dbt/notdirty.h"

#include "dbt/host.h"
#include "dbt/translate-all.h"
#include "kernel/lib/log.h"

/* The bytes of one write access that lie on one page. */
static void add_range(struct CPUState *cpu, gva_t va, uint64_t len)
{
    for (unsigned i = 0; i < cpu->nr_smc_ranges; i++) {
        if (!((cpu->smc_range[i].va ^ va) & PAGE_MASK)) { /* same page: one range over both */
            gva_t start = MIN(cpu->smc_range[i].va, va);
            gva_t last = MAX(cpu->smc_range[i].va + cpu->smc_range[i].len, va + len) - 1;

            cpu->smc_range[i].va = start;
            cpu->smc_range[i].len = last - start + 1;
            return;
        }
    }
    if (cpu->nr_smc_ranges < SMC_RANGE_MAX) {
        cpu->smc_range[cpu->nr_smc_ranges].va = va;
        cpu->smc_range[cpu->nr_smc_ranges++].len = len;
    }
}

/* A write access: all its pages; of a rep string, which restarts at every element, only the page that faulted. */
static void add_access(struct CPUState *cpu, const struct insn_access *acc, gva_t fault_va)
{
    gva_t va = acc->addr;
    uint64_t left = acc->len;

    if (acc->elem < acc->len) {
        gva_t page = fault_va & PAGE_MASK;
        uint64_t skip = va < page ? page - va : 0;
        uint64_t page_left = PAGE_SIZE - ((va + skip) & ~PAGE_MASK);

        if (skip >= left || va + skip - page >= PAGE_SIZE) {
            return;
        }
        add_range(cpu, va + skip, MIN(left - skip, page_left));
        return;
    }
    while (left) {
        uint64_t n = MIN(left, PAGE_SIZE - (va & ~PAGE_MASK));

        add_range(cpu, va, n);
        va += n;
        left -= n;
    }
}

/* Fill cpu->smc_range[] with what the instruction at env.eip is about to write. */
static void find_ranges(struct CPUState *cpu, gva_t fault_va)
{
    const struct CPUX86State *env = &cpu->env;
    uint64_t seg_base[6];
    struct insn_access acc[INSN_MAX_ACCESS];
    struct insn_regs regs = {.gpr = env->regs, .seg_base = seg_base, .rflags = env->eflags, .xcr0 = env->xcr0};
    uint8_t copy[INSN_MAX_LEN];
    const uint8_t *bytes;
    struct insn insn;
    bool exact = false;
    int n = 0;

    for (int i = 0; i < 6; i++) {
        seg_base[i] = env->segs[i].base;
    }
    if (cpu_fetch_insn(cpu, env->eip, &insn, copy, &bytes)) {
        n = insn_accesses(&insn, &regs, env->eip + insn.len, acc, &exact);
    }
    for (int i = 0; i < n; i++) {
        if (acc[i].acc & ACC_W) {
            add_access(cpu, &acc[i], fault_va);
        }
    }
    for (unsigned i = 0; exact && i < cpu->nr_smc_ranges; i++) {
        if (!((cpu->smc_range[i].va ^ fault_va) & PAGE_MASK)) {
            return;
        }
    }
    /* Scattered by vector registers: anything on the faulting page may be written. */
    add_range(cpu, fault_va & PAGE_MASK, PAGE_SIZE);
}

enum page_unprotect_result page_unprotect(struct CPUState *cpu, gva_t fault_va, uint64_t host_pc)
{
    bool current = false;
    bool any_hit = false;
    bool still_code = false;
    bool ours = false;
    unsigned had = cpu->nr_smc_ranges; /* not 0: the redo TB itself faulted on a page that was not known before */

    find_ranges(cpu, fault_va);
    for (unsigned i = 0; i < cpu->nr_smc_ranges; i++) {
        gva_t va = cpu->smc_range[i].va;
        tb_page_addr_t addr = probe_page_addr_data(cpu, va);
        const struct PageDesc *pd;
        bool hit = false;

        cpu->smc_range[i].ram = addr;
        if (addr == TB_PAGE_ADDR_INVALID) {
            continue;
        }
        pd = page_find(addr >> PAGE_SHIFT);
        if (!pd || !pd->is_protected) {
            continue;
        }
        ours = true;
        current |= tb_invalidate_phys_page_fast(cpu, addr, cpu->smc_range[i].len, host_pc, &hit);
        any_hit |= hit;
        still_code |= tb_page_has_code(addr);
        LOG(SMC, "write pc=%llx va=%llx len=%llu hit=%d current=%d", (unsigned long long)cpu->env.eip,
            (unsigned long long)va, (unsigned long long)cpu->smc_range[i].len, hit, current);
    }
    if (!ours) {
        cpu->nr_smc_ranges = had;
        return UNPROTECT_NOT_OURS;
    }
    CPU_STAT(cpu, smc_fault);
    cpu->stat[STAT_smc_fault_miss] += !any_hit;
    if (!current && !still_code) {
        cpu->nr_smc_ranges = had;
        return UNPROTECT_RETRY;
    }
    CPU_STAT(cpu, redo_tb);
    cpu->cflags_next_tb = 1 | CF_NO_GOTO_TB | CF_NO_GOTO_PTR | CF_NOIRQ;
    return UNPROTECT_LEAVE;
}

static bool ranges_overlap(tb_page_addr_t a, uint64_t a_len, tb_page_addr_t b, uint64_t b_len)
{
    return a < b + b_len && b < a + a_len;
}

/* Does the TB contain bytes that the noted stores write? A crossing TB's second part begins its page. */
static bool redo_wrote_itself(const struct CPUState *cpu, const struct TranslationBlock *tb)
{
    uint64_t first = MIN((uint64_t)tb->size, PAGE_SIZE - (tb->page_addr[0] & ~PAGE_MASK));

    for (unsigned i = 0; i < cpu->nr_smc_ranges; i++) {
        tb_page_addr_t ram = cpu->smc_range[i].ram;
        uint64_t len = cpu->smc_range[i].len;

        if (ram != TB_PAGE_ADDR_INVALID &&
            (ranges_overlap(ram, len, tb->page_addr[0], first) ||
             (tb->page_addr[1] != TB_PAGE_ADDR_INVALID && ranges_overlap(ram, len, tb->page_addr[1], tb->size - first)))) {
            return true;
        }
    }
    return false;
}

void notdirty_done(struct CPUState *cpu, struct TranslationBlock *tb)
{
    if (tb && redo_wrote_itself(cpu, tb)) {
        tb_phys_invalidate(tb, TB_PAGE_ADDR_INVALID);
    }
}
