/* SPDX-License-Identifier: MIT */
/*
 * The lists of breakpoints and watchpoints, and what the loop asks of them. A page with a breakpoint is executed one
 * instruction at a time, each through the loop, as in QEMU: TBs with an instruction count are never chained to and are in no
 * look-up table, so nothing runs past the check. Must not know how accesses are made to trap.
 */
#include "dbt/debug.h"

#include "dbt/cpu.h"
#include "dbt/translate-all.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"

#define CF_ONE_INSN (1 | CF_NO_GOTO_TB | CF_NO_GOTO_PTR)

/* Chains and tables may lead into a page that has a breakpoint now: what enters a page from outside must be looked up again.
 * Chains within the page are reached only from TBs that nobody looks up any more. */
static void breakpoints_changed(struct CPUState *cpu)
{
    dbt_tlb_flushed(cpu, TLB_FLUSH_MODES);
}

int cpu_breakpoint_insert(struct CPUState *cpu, gva_t pc, unsigned flags, unsigned id)
{
    struct cpu_debug *d = &cpu->debug;

    if (d->nr_bp == CPU_BREAKPOINT_MAX) {
        return -ENOSPC;
    }
    d->bp[d->nr_bp++] = (struct cpu_breakpoint){.pc = pc, .flags = (uint8_t)flags, .id = (uint8_t)id};
    breakpoints_changed(cpu);
    return 0;
}

unsigned cpu_breakpoint_remove(struct CPUState *cpu, unsigned owner, int id)
{
    struct cpu_debug *d = &cpu->debug;
    unsigned kept = 0, removed;

    for (unsigned i = 0; i < d->nr_bp; i++) {
        if (!(d->bp[i].flags & owner) || (id >= 0 && d->bp[i].id != id)) {
            d->bp[kept++] = d->bp[i];
        }
    }
    removed = d->nr_bp - kept;
    d->nr_bp = kept;
    return removed; /* one-instruction TBs that are left over are right, and not looked up any more */
}

int cpu_watchpoint_insert(struct CPUState *cpu, gva_t va, uint64_t len, unsigned flags, unsigned id)
{
    struct cpu_debug *d = &cpu->debug;

    ASSERT(len && va + len - 1 >= va);
    if (d->nr_wp == CPU_WATCHPOINT_MAX) {
        return -ENOSPC;
    }
    d->wp[d->nr_wp++] =
        (struct cpu_watchpoint){.va = va, .len = len, .flags = (uint8_t)flags, .id = (uint8_t)id};
    return 0;
}

unsigned cpu_watchpoint_remove(struct CPUState *cpu, unsigned owner, int id)
{
    struct cpu_debug *d = &cpu->debug;
    unsigned kept = 0, removed;

    for (unsigned i = 0; i < d->nr_wp; i++) {
        if (!(d->wp[i].flags & owner) || (id >= 0 && d->wp[i].id != id)) {
            d->wp[kept++] = d->wp[i];
        }
    }
    removed = d->nr_wp - kept;
    d->nr_wp = kept;
    return removed;
}

void cpu_single_step(struct CPUState *cpu, uint32_t n)
{
    cpu->debug.step_left = n + 1; /* one boundary before each instruction, and the one to stop at */
    cpu->debug.resume = true;
}

static void debug_stop(struct CPUState *cpu, enum debug_stop why, unsigned id, gva_t pc)
{
    struct cpu_debug *d = &cpu->debug;

    d->stop = (uint8_t)why;
    d->stop_id = (uint8_t)id;
    d->stop_pc = pc;
}

/* ---- data ---- */

static bool wp_overlaps(const struct cpu_watchpoint *wp, gva_t va, uint64_t len)
{
    return va <= wp->va + wp->len - 1 && wp->va <= va + len - 1;
}

void cpu_check_watchpoint(struct CPUState *cpu, gva_t va, uint64_t len, unsigned access)
{
    struct cpu_debug *d = &cpu->debug;

    for (unsigned i = 0; i < d->nr_wp; i++) {
        const struct cpu_watchpoint *wp = &d->wp[i];

        if (!(wp->flags & access) || !wp_overlaps(wp, va, len)) {
            continue;
        }
        d->noted = true;
        if (wp->flags & BP_CPU) {
            d->noted_hits |= BIT(wp->id);
        } else if (!d->noted_stop_id) {
            d->noted_stop_id = wp->id;
        }
        d->stop_pc = cpu->env.eip;
    }
}

static void check_access(struct CPUState *cpu, const struct insn_access *acc)
{
    bool string = acc->elem < acc->len;
    unsigned access = (acc->acc & ACC_R ? BP_MEM_READ : 0) | (acc->acc & ACC_W ? BP_MEM_WRITE : 0);

    cpu->debug.one_iteration |= string;
    if (acc->len) {
        cpu_check_watchpoint(cpu, string ? acc->first : acc->addr, string ? acc->elem : acc->len, access);
    }
}

void cpu_check_watchpoint_insn(struct CPUState *cpu, gva_t fault_va)
{
    const struct CPUX86State *env = &cpu->env;
    struct cpu_debug *d = &cpu->debug;
    uint64_t seg_base[6];
    struct insn_access acc[INSN_MAX_ACCESS];
    struct insn_regs regs = {.gpr = env->regs, .seg_base = seg_base, .rflags = env->eflags, .xcr0 = env->xcr0};
    uint8_t copy[INSN_MAX_LEN];
    const uint8_t *bytes;
    struct insn insn;
    bool exact;
    int n;

    d->noted = true;
    d->noted_hits = 0;
    d->noted_stop_id = 0;
    d->one_iteration = false;
    if (!cpu_fetch_insn(cpu, env->eip, &insn, copy, &bytes)) {
        return;
    }
    for (int i = 0; i < 6; i++) {
        seg_base[i] = env->segs[i].base;
    }
    n = insn_accesses(&insn, &regs, env->eip + insn.len, acc, &exact);
    for (int i = 0; i < n; i++) {
        check_access(cpu, &acc[i]);
    }
    if (!exact) { /* gather, scatter: the hardware names the element */
        cpu_check_watchpoint(cpu, fault_va, insn.mem_size, insn.acc & ACC_W ? BP_MEM_WRITE : BP_MEM_READ);
    }
}

void watchpoints_commit(struct CPUState *cpu, bool retired)
{
    struct cpu_debug *d = &cpu->debug;

    if (retired) {
        d->hits |= d->noted_hits;
        if (d->noted_stop_id && !d->stop) {
            debug_stop(cpu, DEBUG_WATCH, d->noted_stop_id, d->stop_pc);
        }
    }
    d->noted = d->one_iteration = false;
    d->noted_hits = d->noted_stop_id = 0;
}

/* ---- execution ---- */

static bool bp_at(const struct cpu_debug *d, gva_t pc, unsigned owner, const struct cpu_breakpoint **bp)
{
    for (unsigned i = 0; i < d->nr_bp; i++) {
        if (d->bp[i].pc == pc && d->bp[i].flags & owner) {
            *bp = &d->bp[i];
            return true;
        }
    }
    return false;
}

/* SDM 3B 17.3.1.1: a fault, before the instruction, unless RF is set or MOV SS is just behind. */
static bool guest_breakpoint(struct CPUState *cpu)
{
    const struct cpu_debug *d = &cpu->debug;
    uint64_t hits = 0;

    if (cpu->env.eflags & RF_MASK || cpu->env.inhibit_irq == INHIBIT_SS) {
        return false;
    }
    for (unsigned i = 0; i < d->nr_bp; i++) {
        if (d->bp[i].pc == cpu->env.eip && d->bp[i].flags & BP_CPU) {
            hits |= BIT(d->bp[i].id);
        }
    }
    if (!hits) {
        return false;
    }
    cpu->env.dr[6] |= hits;
    raise_exception(cpu, EXCP01_DB);
    return true;
}

bool check_for_breakpoints(struct CPUState *cpu, uint32_t *cflags)
{
    struct cpu_debug *d = &cpu->debug;
    gva_t pc = cpu->env.eip;
    const struct cpu_breakpoint *bp;
    bool alone = d->step_left || cpu->env.eflags & RF_MASK;

    if (!d->resume && bp_at(d, pc, BP_MONITOR, &bp)) {
        d->step_left = 0;
        debug_stop(cpu, DEBUG_BREAK, bp->id, pc);
        return false;
    }
    if (d->step_left && --d->step_left == 0) {
        debug_stop(cpu, DEBUG_STEP, 0, pc);
        return false;
    }
    if (guest_breakpoint(cpu)) {
        return false;
    }
    for (unsigned i = 0; i < d->nr_bp; i++) {
        alone = alone || !((d->bp[i].pc ^ pc) & PAGE_MASK);
    }
    if (alone) {
        *cflags |= CF_ONE_INSN;
    }
    return true;
}
