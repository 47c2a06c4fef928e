/* SPDX-License-Identifier: MIT */
/*
 * What happens when a guest store meets a page that holds translated code. A #PF tells one address and no size, so the
 * extent of the store is computed from the instruction and the registers. The rule (smc.md 2.10):
 *
 *   invalidate the TBs that overlap the bytes about to be written;
 *   if no TB is left on the page and the running one was not hit: repeat the store, the page is writable again;
 *   else leave the TB with the state at the store, and execute the store alone, as a TB of one instruction that no
 *   interrupt precedes, which writes to an alias of the page (or, where that cannot be, with a write window open on it);
 *   then invalidate once more, for the redo TB may have overwritten itself. One fault a store, whatever it hits: no
 *   livelock.
 *
 * Must not complete a store by itself: the guest's own instruction does, so every form of it is right.
 */
#include "dbt/notdirty.h"

#include "dbt/host.h"
#include "dbt/page-state.h"
#include "dbt/store-form.h"
#include "dbt/store-site.h"
#include "dbt/store-table.h"
#include "dbt/store-value.h"
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

/* The instruction at env.eip and the one write access that an instruction in translated code makes. */
struct store {
    struct insn insn;
    struct insn_access write, read; /* len 0: none */
    uint64_t count; /* elements that a string instruction would write; else 1 */
    int64_t bt_displacement;
    bool exact;     /* write tells every byte that may be written */
};

/* Fill in the rest from st->insn and the registers. */
static void evaluate_store(const struct CPUState *cpu, struct store *st)
{
    const struct CPUX86State *env = &cpu->env;
    uint64_t seg_base[6];
    struct insn_access acc[INSN_MAX_ACCESS];
    struct insn_regs regs = {.gpr = env->regs, .seg_base = seg_base, .rflags = env->eflags, .xcr0 = env->xcr0};
    int n;

    st->write.len = st->read.len = 0;
    for (int i = 0; i < 6; i++) {
        seg_base[i] = env->segs[i].base;
    }
    n = insn_accesses(&st->insn, &regs, env->eip + st->insn.len, acc, &st->exact);
    for (int i = 0; i < n; i++) {
        *(acc[i].acc & ACC_W ? &st->write : &st->read) = acc[i];
    }
    st->bt_displacement = insn_bt_displacement(&st->insn, &regs);
    st->count = st->insn.mem == MEM_STRING && st->insn.pfx & (PFX_REP | PFX_REPNE) ? env->regs[R_ECX] : 1;
}

/* tb: whose instruction it is, if known: it is executing what it was made from. */
static void decode_store(struct CPUState *cpu, const struct TranslationBlock *tb, struct store *st)
{
    uint64_t off = tb ? cpu->env.eip - tb->pc : 0;
    uint8_t copy[INSN_MAX_LEN];
    const uint8_t *bytes;
    bool known;

    st->write.len = st->read.len = 0;
    st->exact = false;
    if (tb && off < tb->size) {
        known = insn_decode(&st->insn, tb_guest_bytes(tb) + off, tb->size - off) == DECODE_OK;
    } else {
        known = cpu_fetch_insn(cpu, cpu->env.eip, &st->insn, copy, &bytes);
    }
    if (known) {
        evaluate_store(cpu, st);
    }
}

/* ---- completion through an alias ---- */

/* Cut a string operand down to k elements from the next one on. */
static void cut_access(struct insn_access *acc, uint64_t k, bool down)
{
    acc->addr = down ? acc->first - (k - 1) * acc->elem : acc->first;
    acc->len = k * acc->elem;
}

/* Do the bytes of two accesses, of at most a page each, share any byte of RAM? */
static bool share_ram(struct CPUState *cpu, const struct insn_access *a, const struct insn_access *b)
{
    for (uint64_t i = 0, n; i < a->len; i += n) {
        tb_page_addr_t at = probe_page_addr_data(cpu, a->addr + i);

        n = MIN(a->len - i, PAGE_SIZE - ((a->addr + i) & ~PAGE_MASK));
        for (uint64_t j = 0, m; j < b->len; j += m) {
            tb_page_addr_t with = probe_page_addr_data(cpu, b->addr + j);

            m = MIN(b->len - j, PAGE_SIZE - ((b->addr + j) & ~PAGE_MASK));
            if (at != TB_PAGE_ADDR_INVALID && with != TB_PAGE_ADDR_INVALID && at < with + m && with < at + n) {
                return true;
            }
        }
    }
    return false;
}

/*
 * How many elements one redo writes: those that lie wholly on the page of the next one, or a single one that crosses; a
 * single one under TF, which traps after each, and where data is watched.
 */
static uint64_t string_elements(const struct CPUState *cpu, const struct store *st)
{
    bool down = cpu->env.eflags & DF_MASK;
    uint64_t off = st->write.first & ~PAGE_MASK, elem = st->write.elem;
    uint64_t k = off + elem > PAGE_SIZE ? 1 : down ? off / elem + 1 : (PAGE_SIZE - off) / elem;

    return cpu->env.eflags & TF_MASK || cpu->debug.one_iteration ? 1 : MIN(k, st->count);
}

/* The same; cuts st->write. A source that overlaps what is written must be read and written at the guest's own addresses, by which the
 * CPU decides how it copies: 0, no alias. */
static uint64_t string_part(struct CPUState *cpu, struct store *st)
{
    bool down = cpu->env.eflags & DF_MASK;
    uint64_t k = string_elements(cpu, st);
    struct insn_access write = st->write, read = st->read;

    cut_access(&write, k, down);
    if (read.len && k > 1) {
        cut_access(&read, k, down);
        if (share_ram(cpu, &read, &write)) {
            return 0;
        }
    }
    write.elem = (uint32_t)write.len;
    st->write = write;
    return k;
}

/*
 * Can the store be sent to an alias? Then the vCPU page tells the redo TB where, and st->write is what it will write. What keeps
 * a store from it: its form (store-form.c), or a byte that the guest may not write, so that the store will fault or,
 * masked, will not. Then it is repeated at its own address, with windows open.
 */
static bool plan_alias(struct CPUState *cpu, struct store *st)
{
    enum store_form form = store_form(&st->insn);
    struct vcpu_page *vp = cpu->vp;
    uint64_t part = 1, alias;

    if (!st->write.len || !st->exact || form == STORE_NONE || form == STORE_NO_ALIAS) {
        return false;
    }
    if (form == STORE_STRING && !(part = string_part(cpu, st))) {
        return false;
    }
    alias = store_alias(cpu, st->write.addr, st->write.len);
    if (!alias) {
        return false;
    }
    vp->alias = alias - (uint64_t)st->bt_displacement;
    if (form == STORE_STRING) {
        vp->alias += st->write.first - st->write.addr;
        vp->alias_count = part;
        vp->alias_rest = st->count - part;
        vp->alias_back = st->write.first - vp->alias;
    }
    return true;
}

/* Fill in cpu->smc_range[] with what the instruction is about to write. */
static void find_ranges(struct CPUState *cpu, const struct store *st, gva_t fault_va)
{
    if (st->write.len) {
        add_access(cpu, &st->write, fault_va);
    }
    for (unsigned i = 0; st->exact && i < cpu->nr_smc_ranges; i++) {
        if (!((cpu->smc_range[i].va ^ fault_va) & PAGE_MASK)) {
            return;
        }
    }
    /* Scattered by vector registers: anything on the faulting page may be written. */
    add_range(cpu, fault_va & PAGE_MASK, PAGE_SIZE);
}

/* Leave the TB; the store is executed alone. */
static void order_redo(struct CPUState *cpu, bool alias)
{
    CPU_STAT(cpu, redo_tb);
    cpu->stat[STAT_redo_window] += !alias;
    cpu->smc_alias = alias;
    cpu->cflags_next_tb = CF_REDO | (alias ? CF_ALIAS : smc_policy.check ? CF_CHECKED : 0);
}

/* What page_unprotect() and notdirty_redo() begin with: the extent, and how the redo will be done. */
static bool begin_store(struct CPUState *cpu, const struct TranslationBlock *tb, struct store *st, gva_t fault_va)
{
    bool alias;

    decode_store(cpu, tb, st);
    /* A redo at the store's own address that meets another page goes on so: it needs the windows it has. */
    alias = cpu->nr_smc_ranges == 0 && plan_alias(cpu, st);
    find_ranges(cpu, st, fault_va);
    return alias;
}

/* Where the ranges lie. */
static void note_ram(struct CPUState *cpu)
{
    for (unsigned i = 0; i < cpu->nr_smc_ranges; i++) {
        cpu->smc_range[i].ram = probe_page_addr_data(cpu, cpu->smc_range[i].va);
    }
}

void notdirty_redo(struct CPUState *cpu, gva_t fault_va)
{
    struct store st;

    order_redo(cpu, begin_store(cpu, NULL, &st, fault_va));
    note_ram(cpu);
}

/* precise = off: the store completes by the page being writable, for which no TB may be left on it. */
static void give_up_pages(struct CPUState *cpu)
{
    for (unsigned i = 0; i < cpu->nr_smc_ranges; i++) {
        tb_page_addr_t page = cpu->smc_range[i].ram & PAGE_MASK;

        if (cpu->smc_range[i].ram != TB_PAGE_ADDR_INVALID) {
            tb_invalidate_phys_range(cpu, page, page + PAGE_SIZE - 1, 0);
        }
    }
}

enum page_unprotect_result page_unprotect(struct CPUState *cpu, gva_t fault_va, tb_page_addr_t ram,
                                          const struct TranslationBlock *tb, uint64_t host_pc)
{
    bool current = false;
    bool any_hit = false;
    bool still_code = false;
    bool ours = false;
    unsigned had = cpu->nr_smc_ranges; /* not 0: the redo TB itself faulted on a page that was not known before */
    struct store st;
    bool alias;

    if (smc_policy.check) {
        return UNPROTECT_NOT_OURS; /* check_store() has been here */
    }
    alias = begin_store(cpu, tb, &st, fault_va);
    for (unsigned i = 0; i < cpu->nr_smc_ranges; i++) {
        gva_t va = cpu->smc_range[i].va;
        bool here = ram != TB_PAGE_ADDR_INVALID && !((va ^ fault_va) & PAGE_MASK);
        tb_page_addr_t addr = here ? (ram & PAGE_MASK) | (va & ~PAGE_MASK) : probe_page_addr_data(cpu, va);
        struct PageDesc *pd;
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
        /* The redo is the next that runs, and whatever writes there before it kills by itself what it hits. */
        if (pd->nr_tbs && store_changes_nothing(cpu, &st.insn, &st.write, va, cpu->smc_range[i].len, addr)) {
            CPU_STAT(cpu, smc_same_value);
        } else {
            current |= tb_invalidate_phys_page_fast(cpu, addr, cpu->smc_range[i].len, host_pc, &hit);
        }
        any_hit |= hit;
        current |= page_state_fault(cpu, pd, addr, cpu->smc_range[i].len, host_pc, hit);
        still_code |= tb_page_stays_protected(addr);
        LOG(SMC, "write pc=%llx va=%llx len=%llu hit=%d current=%d", (unsigned long long)cpu->env.eip,
            (unsigned long long)va, (unsigned long long)cpu->smc_range[i].len, hit, current);
    }
    if (!ours) {
        cpu->nr_smc_ranges = had;
        return UNPROTECT_NOT_OURS;
    }
    if (!smc_policy.precise && current) {
        give_up_pages(cpu);
        current = still_code = false; /* the running TB is dead, and goes on to its end */
    }
    CPU_STAT(cpu, smc_fault);
    cpu->stat[STAT_smc_fault_miss] += !any_hit;
    if (!current && !still_code) {
        cpu->nr_smc_ranges = had;
        return UNPROTECT_RETRY;
    }
    order_redo(cpu, alias);
    if (!any_hit && alias) {
        store_site_miss(cpu, host_pc, &st.insn, st.write.addr, st.write.len);
    }
    return UNPROTECT_LEAVE;
}

/* ---- smc = check ---- */

#define CHECK_PAGES_MAX 16 /* of a string instruction that goes on as a whole */

/* What a store that is about to be made meets. */
struct met {
    bool code;    /* a page with code */
    bool hit;     /* of which it changes some */
    bool current; /* of the running TB */
};

/* What may not be written will fault by itself; what is no RAM holds no code. */
static void check_write(struct CPUState *cpu, const struct store *st, uint64_t host_pc, struct met *met)
{
    const struct insn_access *write = &st->write;

    for (uint64_t i = 0, n; i < write->len; i += n) {
        gva_t va = write->addr + i;
        tb_page_addr_t addr = probe_page_addr_store(cpu, va);
        struct PageDesc *pd = addr == TB_PAGE_ADDR_INVALID ? NULL : page_find(addr >> PAGE_SHIFT);
        bool hit = false;

        n = MIN(write->len - i, PAGE_SIZE - (va & ~PAGE_MASK));
        if (pd && pd->is_protected) {
            met->code = true;
            if (store_changes_nothing(cpu, &st->insn, write, va, n, addr)) {
                CPU_STAT(cpu, smc_same_value);
            } else {
                met->current |= tb_invalidate_phys_page_fast(cpu, addr, (unsigned)n, host_pc, &hit);
            }
            met->hit |= hit;
        }
        if (addr != TB_PAGE_ADDR_INVALID) {
            store_table_fill(cpu, va, addr);
        }
    }
}

/* Scattered by vector registers, or beyond all measure: nothing that was translated is certain, the redo TB included. */
static enum page_unprotect_result check_anything(struct CPUState *cpu)
{
    CPU_STAT(cpu, smc_check);
    tb_invalidate_phys_range(cpu, 0, BIT(52) - 1, 0);
    add_range(cpu, cpu->env.eip & PAGE_MASK, PAGE_SIZE);
    add_range(cpu, (cpu->env.eip + INSN_MAX_LEN - 1) & PAGE_MASK, PAGE_SIZE);
    return UNPROTECT_LEAVE;
}

/*
 * Make a repeated string instruction write the elements on its first page, at their own addresses; the rest follows as the same
 * instruction again. That is what CF_ALIAS does, if the alias is the address itself.
 */
static void cut_string(struct CPUState *cpu, struct store *st)
{
    struct vcpu_page *vp = cpu->vp;
    uint64_t k = string_elements(cpu, st);

    cut_access(&st->write, k, cpu->env.eflags & DF_MASK);
    st->write.elem = (uint32_t)st->write.len;
    vp->alias = st->write.first;
    vp->alias_count = k;
    vp->alias_rest = st->count - k;
    vp->alias_back = 0;
}

static enum page_unprotect_result check_known(struct CPUState *cpu, struct store *st, uint64_t host_pc, bool *cut)
{
    bool rep = store_form(&st->insn) == STORE_STRING && st->insn.pfx & (PFX_REP | PFX_REPNE);
    bool large = (st->write.addr & ~PAGE_MASK) + st->write.len > CHECK_PAGES_MAX * PAGE_SIZE;
    struct met met = {0};

    if (large && !rep) {
        return check_anything(cpu);
    }
    if (large) {
        cut_string(cpu, st);
    }
    check_write(cpu, st, host_pc, &met);
    if (met.code) {
        CPU_STAT(cpu, smc_check);
        cpu->stat[STAT_smc_check_miss] += !met.hit;
    } else {
        CPU_STAT(cpu, smc_check_vain);
    }
    LOG(SMC, "check pc=%llx va=%llx len=%llu hit=%d current=%d", (unsigned long long)cpu->env.eip,
        (unsigned long long)st->write.addr, (unsigned long long)st->write.len, met.hit, met.current);
    if (!large && !(met.current && smc_policy.precise)) {
        return UNPROTECT_RETRY;
    }
    if (rep && !large) {
        cut_string(cpu, st);
    }
    *cut = rep;
    add_access(cpu, &st->write, st->write.addr);
    return UNPROTECT_LEAVE;
}

enum page_unprotect_result check_store(struct CPUState *cpu, const struct TranslationBlock *tb, uint64_t host_pc)
{
    enum page_unprotect_result result;
    uint32_t off = (uint32_t)(cpu->env.eip - tb->pc);
    struct store st;
    bool cut = false;

    cpu->nr_smc_ranges = 0; /* a store of this instruction that was planned begins again */
    cpu_sync_fsgs_base(cpu);
    insn_decode(&st.insn, tb_guest_bytes(tb) + off, tb->size - off);
    evaluate_store(cpu, &st);
    result = st.exact ? check_known(cpu, &st, host_pc, &cut) : check_anything(cpu);
    if (result == UNPROTECT_LEAVE) {
        CPU_STAT(cpu, redo_tb);
        cpu->smc_alias = true; /* no windows: nothing traps */
        cpu->cflags_next_tb = CF_REDO | (cut ? CF_ALIAS : CF_CHECKED);
        note_ram(cpu);
    }
    return result;
}

/* ---- the redo TB ---- */

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
