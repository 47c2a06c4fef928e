/* SPDX-License-Identifier: MIT */
/*
 * The vCPU loop: find or make the TB for the guest's state, run, and act on what ended the run. Interrupts are taken only
 * between guest instructions: an interrupted run is resumed, single-stepped by host instruction, to the next boundary.
 * Must not know how guest memory is mapped or what devices there are.
 */
#include "dbt/cpu-exec.h"

#include "dbt/code-buffer.h"
#include "dbt/host.h"
#include "dbt/jump-table.h"
#include "dbt/kernel-links.h"
#include "dbt/link-set.h"
#include "dbt/notdirty.h"
#include "dbt/page-state.h"
#include "dbt/sens-site.h"
#include "dbt/store-site.h"
#include "dbt/translate-all.h"
#include "kernel/lib/log.h"

/* What a run in the code cache came to. */
struct tb_exit {
    struct TranslationBlock *last_tb; /* chain its exit n to the next TB, if not NULL */
    int n;
    bool lookup;     /* an indirect branch missed: make the next TB reachable inline */
    bool plain;      /* the run is a plain one: what follows a sensitive instruction may be run at once (next_known()) */
    bool retired;    /* at least one guest instruction was completed (single-step) */
};

#define ROLL_FORWARD_MAX 256 /* host instructions; the longest glue is a tenth of this */

static uint32_t cpu_tb_flags(const struct CPUState *cpu)
{
    return cpu->env.cpl | HF_CS64_MASK;
}

/* Is all of tb, whose first page has just been looked up, on pages that are mapped global? */
static bool is_global(struct CPUState *cpu, const struct TranslationBlock *tb)
{
    const uint8_t *unused;

    return cpu->code_page_global &&
           (tb->page_addr[1] == TB_PAGE_ADDR_INVALID ||
            (get_page_addr_code(cpu, (tb->pc & PAGE_MASK) + PAGE_SIZE, &unused) == tb->page_addr[1] && cpu->code_page_global));
}

/* A block that is to be linked as lasting rests on the entries that map it, from now on; links may have to begin anew for that. */
static bool lasting(struct CPUState *cpu, const struct TranslationBlock *tb)
{
    if (likely(kernel_links_cover(cpu, tb))) {
        return true;
    }
    dbt_forget_kernel_links(cpu);
    return kernel_links_cover(cpu, tb);
}

/* It is not where it is looked for first. Out of line: few look-ups come to that. */
static __attribute__((noinline)) struct TranslationBlock *tb_find(struct CPUState *cpu, struct TranslationBlock **slot, uint64_t pc,
                                                                  uint32_t flags, uint32_t cflags)
{
    const uint8_t *unused;
    tb_page_addr_t phys_pc = get_page_addr_code(cpu, pc, &unused);
    if (phys_pc == TB_PAGE_ADDR_INVALID) {
        return NULL;
    }
    struct TranslationBlock *tb = tb_htable_lookup(cpu, pc, phys_pc, flags, cflags);
    if (!tb) {
        tb = tb_gen_code(cpu, pc, flags, cflags);
    } else if (tb->global && !is_global(cpu, tb)) {
        /* Was global when it was made; what is cached of it by address must not outlive the present mapping. */
        jump_table_remove(tb); /* it is in the log of global ones */
        tb->global = false;
    }
    if (tb && tb->global && !tb_is_user(tb) && unlikely(!lasting(cpu, tb))) {
        jump_table_remove(tb);
        tb->global = false;
    }
    if (tb && tb_is_user(tb)) {
        if (link_set_cover(cpu, tb)) {
            *slot = tb;
        }
    } else if (tb) {
        *slot = tb;
        if (!tb->global && cpu->jmp_cache_logged <= JMP_CACHE_LOG) {
            if (cpu->jmp_cache_logged < JMP_CACHE_LOG) {
                cpu->jmp_cache_log[cpu->jmp_cache_logged] = (uint16_t)(slot - cpu->tb_jmp_cache);
            }
            cpu->jmp_cache_logged++;
        }
    }
    return tb;
}

static inline struct TranslationBlock *tb_lookup(struct CPUState *cpu, uint64_t pc, uint32_t flags, uint32_t cflags)
{
    struct TranslationBlock **slot = tb_jmp_cache_slot(cpu, pc, flags, cflags);
    struct TranslationBlock *tb = *slot;

    if (likely(tb && tb->pc == pc && tb->flags == flags && tb_cflags(tb) == cflags)) {
        return tb;
    }
    return tb_find(cpu, slot, pc, flags, cflags);
}

/* cflags for the next TB: what a redo asked for, or single instructions under TF and in an interrupt shadow. */
static uint32_t next_cflags(struct CPUState *cpu)
{
    uint32_t cflags = cpu->cflags_next_tb;

    cpu->cflags_next_tb = -1u;
    if (cflags == -1u) {
        cflags = 0;
        if (cpu->env.eflags & TF_MASK || cpu->env.inhibit_irq) {
            cflags = 1 | CF_NO_GOTO_TB | CF_NO_GOTO_PTR;
        }
        if (cpu->env.inhibit_irq) {
            cflags |= CF_NOIRQ;
        }
    }
    return cflags;
}

/* No instruction at env.eip. */
static void raise_undefined(struct CPUState *cpu)
{
    const uint8_t *bytes;
    struct insn insn;
    uint8_t copy[INSN_MAX_LEN];

    if (!cpu_fetch_insn(cpu, cpu->env.eip, &insn, copy, &bytes)) {
        return;
    }
    if (insn.too_long) {
        raise_exception_err(cpu, EXCP0D_GPF, 0);
    } else {
        raise_exception(cpu, EXCP06_ILLOP);
    }
}

/* An exit stub was reached: put state right and say how to go on. True: the run goes on at host_pc, with the state that it had. */
static bool handle_exit(struct CPUState *cpu, uint64_t host_pc, struct tb_exit *out)
{
    struct CPUX86State *env = &cpu->env;

    out->retired = true;
    if (host_pc == code_buffer_miss_exit()) {
        env->regs[R_ECX] = cpu->vp->spill[R_ECX];
        if (code_buffer_region()->exit_by_syscall) {
            env->regs[R_R11] = cpu->vp->spill[R_R11];
        }
        env->eip = cpu->vp->target;
        out->lookup = true;
        CPU_STAT(cpu, exit_lookup);
        return false;
    }
    const struct sens_site *site = sens_site_find(host_pc);
    if (likely(site)) { /* most exits */
        sens_site_restore(cpu, site, host_pc);
        out->retired = sens_site_run(cpu, site);
        return false;
    }
    struct TranslationBlock *tb = tcg_tb_lookup(host_pc - 1);
    if (!tb) {
        panic("exit from host pc %llx, which is no translation", (unsigned long long)host_pc);
    }
    const struct tb_run *run = tb_find_run(tb, host_pc - 1);
    cpu_restore_state_from(cpu, tb, run, host_pc - 1);
    switch (run->kind) {
    case RUN_EXIT_JMP:
        env->eip = tb->jmp_target_pc[run->arg];
        out->last_tb = tb;
        out->n = run->arg;
        CPU_STAT(cpu, exit_chain);
        break;
    case RUN_EXIT_SENS:
        out->retired = sens_site_run(cpu, sens_site_make(cpu, tb, run, host_pc));
        break;
    case RUN_EXIT_IRQ: /* after sti: env.eip is the next instruction, which comes before the interrupt */
        env->inhibit_irq = INHIBIT_STI;
        break;
    case RUN_EXIT_STALE: /* nothing of the TB has been executed: again, on what is in memory now */
        out->retired = false;
        self_check_failed(cpu, tb);
        if (tb_cflags(tb) & CF_COUNT_MASK) {
            cpu->cflags_next_tb = tb_cflags(tb) & ~CF_INVALID;
        }
        break;
    case RUN_EXIT_UD:
        out->retired = false;
        raise_undefined(cpu);
        break;
    case RUN_EXIT_CHECK: /* before a store (smc = check) */
        out->retired = false;
        return check_store(cpu, tb, host_pc - 1) == UNPROTECT_RETRY;
    default:
        panic("exit at host pc %llx in a run of kind %u", (unsigned long long)host_pc, run->kind);
    }
    return false;
}

/* After a host interrupt at host_pc: may the run simply go on? */
static bool may_resume(struct CPUState *cpu, const struct TranslationBlock *tb)
{
    if (cpu->exit_request != CPU_RUNNING) {
        return false;
    }
    if (tb && tb_cflags(tb) & CF_NOIRQ) {
        return true; /* a redo completes its instruction, even a rep that has overwritten itself */
    }
    return !(tb && tb_cflags(tb) & CF_INVALID) && !cpu_has_work(cpu);
}

/* The virtual IF and what goes with it live in the vCPU page while kernel code runs, in env.eflags otherwise. */
static void vif_store(struct CPUState *cpu)
{
    struct CPUX86State *env = &cpu->env;

    cpu->vp = cpu->vp_view[env->cpl == 3];
    cpu->vp->vif = (env->eflags & IF_MASK) != 0;
    cpu->vp->irq_pending = cpu->interrupt_request != 0;
    cpu->vp->flags_special = (env->eflags & EFLAGS_SPECIAL_MASK) != 0;
    if (unlikely(smc_policy.check)) {
        cpu->vp->seg_base[0] = env->segs[R_FS].base;
        cpu->vp->seg_base[1] = env->segs[R_GS].base;
    }
}

static void vif_load(struct CPUState *cpu)
{
    struct CPUX86State *env = &cpu->env;

    if (env->cpl == 0) { /* translations for other levels have no inline cli and sti */
        env->eflags = (env->eflags & ~(uint64_t)IF_MASK) | (cpu->vp->vif & 1 ? IF_MASK : 0);
    }
}

/* host_run(), with the redo TB's windows open for just that long. */
static void enter_cache(struct CPUState *cpu, uint64_t host_pc, bool step, struct host_event *ev)
{
    bool pages = cpu->nr_mmio_pages || cpu->nr_watch_pages;
    bool redo = cpu->nr_smc_ranges || pages;
    bool windows = redo && !(cpu->smc_alias && !pages);

    if (unlikely(windows)) {
        fault_window_open(cpu);
    }
    vif_store(cpu);
    host_run(cpu, host_pc, step, ev);
    vif_load(cpu);
    CPU_STAT(cpu, exit_total);
    if (unlikely(windows)) {
        fault_window_close(cpu);
    }
    if (unlikely(redo)) {
        notdirty_done(cpu, tcg_tb_lookup(host_pc));
    }
}

/* Does the guest instruction that is restored for host_pc, in run, begin in the shadow of an sti of the same TB? */
static bool in_sti_shadow(const struct TranslationBlock *tb, const struct tb_run *run, uint64_t host_pc)
{
    return (run->kind == RUN_GLUE || (run->kind == RUN_COPY && host_pc == tb->tc.ptr + run->host_off)) &&
           run->arg & RUN_SHADOW;
}

/*
 * A host interrupt or step ended the run at host_pc. If that is a guest instruction boundary, or inside an instruction
 * before its effects, make env exact; returns false if only rolling forward helps.
 */
static bool reach_boundary(struct CPUState *cpu, const struct TranslationBlock *tb, const struct host_event *ev)
{
    uint16_t spilled;

    switch (tb_guest_pc(tb, ev->host_pc, &cpu->env.eip, &spilled)) {
    case GUEST_PC_EXACT:
        break;
    case GUEST_PC_INSIDE:
        if (ev->kind == HOST_EV_STEP) {
            return false;
        }
        cpu_restore_state(cpu, ev->host_pc);
        break;
    default:
        return false;
    }
    if (in_sti_shadow(tb, tb_find_run(tb, ev->host_pc), ev->host_pc)) {
        cpu->env.inhibit_irq = INHIBIT_STI;
    }
    return true;
}

/*
 * After an exit in a plain run: the block that comes next, if the loop (cpu_exec()) would find nothing else to do than to run it: most
 * of what sensitive instructions need. NULL: go through the loop, be it because the fetch raised an exception.
 */
static struct TranslationBlock *next_known(struct CPUState *cpu, const struct tb_exit *out)
{
    const struct CPUX86State *env = &cpu->env;

    if (!out->plain || out->last_tb || out->lookup || cpu->exception_index != EXCP_NONE || cpu->exit_request != CPU_RUNNING ||
        cpu->cflags_next_tb != -1u || env->eflags & (TF_MASK | RF_MASK) || env->inhibit_irq || cpu->nr_smc_ranges || cpu->nr_mmio_pages ||
        cpu->nr_watch_pages || cpu_debug_attends(&cpu->debug) || cpu_irq_attends(cpu)) {
        return NULL;
    }
    cpu->want_pad = false;
    return tb_lookup(cpu, env->eip, cpu_tb_flags(cpu), 0);
}

/*
 * One stay in the code cache, from host_pc until the guest state is exact and the loop must decide. `step` is on while
 * rolling forward to an instruction boundary, and from the start under the guest's TF: then a string instruction stops after each
 * iteration.
 */
static void run_cache(struct CPUState *cpu, uint64_t host_pc, bool step, struct tb_exit *out)
{
    struct host_event ev;
    unsigned steps = 0;
    uint64_t saved[16];
    uint64_t start_pc = cpu->env.eip;
    uint64_t entry = host_pc;

    for (uint64_t from = host_pc;; from = host_pc) {
        enter_cache(cpu, host_pc, step, &ev);
        struct TranslationBlock *tb;
        const struct tb_run *run;

        switch (ev.kind) {
        case HOST_EV_EXIT:
            if (!handle_exit(cpu, ev.host_pc, out)) {
                tb = next_known(cpu, out);
                if (!tb) {
                    return;
                }
                *out = (struct tb_exit){.plain = true};
                start_pc = cpu->env.eip;
                host_pc = entry = tb->tc.ptr;
                step = false; /* what was rolled forward to its end is through */
                steps = 0;
                break;
            }
            host_pc = ev.host_pc;
            tb = tcg_tb_lookup(host_pc);
            if (tb && tb->tc.ptr == entry && host_pc == entry + tb->body_off) {
                entry = 0; /* here comes the guest's instruction */
            }
            break;
        case HOST_EV_FAULT:
            CPU_STAT(cpu, exit_fault);
            memcpy(saved, cpu->env.regs, sizeof(saved));
            tb = tcg_tb_lookup(ev.host_pc);
            if (!tb) {
                panic("fault %u at host pc %llx, which is no translation (address %llx, error %x)", ev.vector,
                      (unsigned long long)ev.host_pc, (unsigned long long)ev.fault_addr, ev.error_code);
            }
            run = tb_find_run(tb, ev.host_pc);
            cpu_restore_state_from(cpu, tb, run, ev.host_pc);
            if (handle_fault(cpu, &ev, tb) != FAULT_RETRY) {
                if (in_sti_shadow(tb, run, ev.host_pc) && cpu->exception_index == EXCP_NONE) {
                    cpu->env.inhibit_irq = INHIBIT_STI; /* once more */
                }
                return;
            }
            if (tb_cflags(tb) & CF_ALIAS) { /* what made the retry possible may have moved the alias: begin again */
                cpu->cflags_next_tb = CF_REDO;
                cpu->nr_smc_ranges = 0;
                return;
            }
            memcpy(cpu->env.regs, saved, sizeof(saved));
            host_pc = ev.host_pc;
            break;
        case HOST_EV_INTERRUPT:
        case HOST_EV_STEP:
            host_pc = ev.host_pc;
            tb = tcg_tb_lookup(host_pc);
            if (ev.kind == HOST_EV_INTERRUPT) {
                CPU_STAT(cpu, exit_irq);
                page_state_poll(cpu);
                store_sites_tick(cpu);
                if (tb) { /* found by the tick: likely hot */
                    cpu->stat[STAT_jmp_settled] += tb_settle_jumps(tb);
                }
                if (!step && may_resume(cpu, tb)) {
                    break;
                }
            } else {
                CPU_STAT(cpu, exit_step);
                if (tb && (tb_insn_to_come(tb, from, host_pc) ||
                           (tb->body_off && tb->tc.ptr == entry && host_pc == entry + tb->body_off))) {
                    entry = 0; /* through what is in front of it; the guest's instruction comes now */
                    break;
                }
            }
            if (reach_boundary(cpu, tb, &ev)) {
                out->retired = ev.kind == HOST_EV_STEP || cpu->env.eip != start_pc;
                return;
            }
            step = true;
            if (++steps > ROLL_FORWARD_MAX) {
                panic("no instruction boundary within %u host instructions before %llx", ROLL_FORWARD_MAX,
                      (unsigned long long)host_pc);
            }
            break;
        }
    }
}

/*
 * The instruction at pc has retired. One #DB, a trap, for all that it has caused: single step (SDM vol. 3 17.3.1.4: DR6.BS) and
 * data breakpoints (17.3.1.2). Behind MOV SS it waits for one more instruction (6.8.3), and a single step is not reported.
 */
static void debug_traps(struct CPUState *cpu, bool single_step)
{
    uint64_t dr6 = cpu->debug.hits | (single_step ? DR6_BS : 0);

    if (dr6 && cpu->env.inhibit_irq != INHIBIT_SS) {
        cpu->debug.hits = 0;
        cpu->env.dr[6] |= dr6;
        raise_exception(cpu, EXCP01_DB);
    }
}

/* An exception or interrupt has been delivered: its frame may have been pushed onto watched bytes. */
static void debug_after_delivery(struct CPUState *cpu)
{
    if (unlikely(cpu->debug.noted)) {
        watchpoints_commit(cpu, true);
        debug_traps(cpu, false);
    }
}

/* Exceptions, halts and interrupts due before the next instruction. Returns false if the loop must start over. */
static bool cpu_handle_pending(struct CPUState *cpu)
{
    if (cpu->exception_index == EXCP_HALTED) {
        cpu->exception_index = EXCP_NONE;
        cpu_halt_wait(cpu);
        return false;
    }
    if (cpu->exception_index != EXCP_NONE) {
        if (unlikely(cpu->debug.hits) && cpu->exception_index == EXCP01_DB) {
            /* ICEBP behind a MOV SS that has hit: one #DB, not a second one on the same stack (IST). */
            cpu->env.dr[6] |= cpu->debug.hits;
            cpu->debug.hits = 0;
        }
        do_interrupt(cpu);
        debug_after_delivery(cpu);
        return false;
    }
    if (cpu->cflags_next_tb == -1u && !cpu->env.inhibit_irq && cpu_exec_interrupt(cpu)) {
        CPU_STAT(cpu, irq);
        debug_after_delivery(cpu);
        return false;
    }
    return true;
}

/* Whatever was to be executed is done, or has raised an exception, which supersedes what it hit. */
static void debug_after_run(struct CPUState *cpu, const struct tb_exit *last, bool trap_flag)
{
    struct cpu_debug *d = &cpu->debug;
    bool retired = last->retired && cpu->exception_index == EXCP_NONE;

    if (unlikely(d->noted)) {
        watchpoints_commit(cpu, retired);
    }
    d->resume = d->resume && !retired && cpu->exception_index == EXCP_NONE;
    if (cpu->exception_index == EXCP_NONE) {
        debug_traps(cpu, trap_flag && retired);
    }
}

void cpu_exec(struct CPUState *cpu)
{
    struct tb_exit last = {0};

    while (cpu->exit_request == CPU_RUNNING && !cpu->debug.stop) {
        if (!cpu_handle_pending(cpu)) {
            last.last_tb = NULL;
            last.lookup = false;
            continue;
        }
        bool trap_flag = cpu->env.eflags & TF_MASK;
        bool redo = cpu->cflags_next_tb != -1u;
        uint32_t cflags = next_cflags(cpu);

        if (unlikely(cpu_debug_active(&cpu->debug)) && !redo && !check_for_breakpoints(cpu, &cflags)) {
            last = (struct tb_exit){0};
            continue;
        }
        uint64_t flushes = tb_flush_count();

        cpu->want_pad = last.lookup;
        struct TranslationBlock *tb = tb_lookup(cpu, cpu->env.eip, cpu_tb_flags(cpu), cflags);

        if (!tb) {
            continue; /* the fetch raised an exception */
        }
        if (cflags == 0 && flushes == tb_flush_count()) {
            if (last.last_tb) {
                tb_add_jump(last.last_tb, last.n, tb);
            }
        }
        if (cflags == 0 && last.lookup) {
            jump_table_add(tb);
        }
        last = (struct tb_exit){.plain = cflags == 0 && !trap_flag && !(cpu->env.eflags & RF_MASK)};
        const uint64_t rf = cpu->env.eflags & RF_MASK;
        const uint8_t shadow = cpu->env.inhibit_irq;

        cpu->env.inhibit_irq = 0;
        cpu->env.eflags &= ~(uint64_t)RF_MASK;
        run_cache(cpu, tb->tc.ptr, trap_flag || cpu->debug.one_iteration, &last);
        bool done = cpu->cflags_next_tb == -1u; /* no redo (again): the instruction is done, or raised an exception */

        if (unlikely(shadow && !last.retired && cpu->exception_index == EXCP_NONE)) {
            cpu->env.inhibit_irq = shadow; /* its instruction is still to come */
        }
        if (unlikely(rf && cpu->exception_index == EXCP_NONE && !(done && last.retired))) {
            cpu->env.eflags |= RF_MASK;
        }
        if (done) {
            cpu->nr_smc_ranges = 0;
            cpu->nr_mmio_pages = 0;
            cpu->nr_watch_pages = 0;
            debug_after_run(cpu, &last, trap_flag);
        }
    }
    if (cpu->debug.stop && cpu->exit_request == CPU_RUNNING) {
        cpu->exit_request = CPU_EXIT_DEBUG;
    }
}
