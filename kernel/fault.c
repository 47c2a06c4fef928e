/* SPDX-License-Identifier: MIT */
/*
 * The fault funnel (docs/fault-funnel.md). A synchronous fault from ring 3, with the guest's state exact, is in this order: the
 * guest's own exception, a device access, a missing shadow mapping, a write to a page with code. What is none of these is our bug.
 */
#include "dbt/code-buffer.h"
#include "dbt/host.h"
#include "dbt/notdirty.h"
#include "dbt/page-state.h"
#include "dbt/translate-all.h"
#include "kernel/debug.h"
#include "kernel/guest-memory.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/run.h"
#include "kernel/vcpu/vcpu.h"
#include "mm/dirty-log.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow.h"
#include "mm/track.h"

static enum view cpu_view(const struct CPUState *cpu)
{
    return cpu->env.cpl == 3 ? VIEW_USER : VIEW_KERNEL;
}

/* ---- unassigned device memory: reads as all-ones, writes are dropped ---- */

/* A private frame of 0xff stands in for the device page while the one instruction runs. Owner: this CPU. */
static hpa_t bounce_frame;

int fault_init(void)
{
    bounce_frame = frame_alloc();
    return bounce_frame == HPA_INVALID ? -ENOMEM : 0;
}

static enum fault_result mmio_redo(struct CPUState *cpu, gva_t va, gpa_t gpa)
{
    CPU_STAT(cpu, mmio);
    LOG(IO, "mmio pc=%llx va=%llx gpa=%llx", (unsigned long long)cpu->env.eip, (unsigned long long)va,
        (unsigned long long)gpa);
    if (cpu->nr_mmio_pages < SMC_RANGE_MAX) {
        cpu->mmio_page[cpu->nr_mmio_pages++] = va & PAGE_MASK;
    } else { /* a string instruction walking through device pages */
        cpu->mmio_page[0] = va & PAGE_MASK;
    }
    cpu->cflags_next_tb = 1 | CF_NO_GOTO_TB | CF_NO_GOTO_PTR | CF_NOIRQ;
    return FAULT_REDO;
}

/* ---- windows ---- */

uint64_t store_alias(struct CPUState *cpu, uint64_t va, uint64_t len)
{
    uint64_t off = va & ~PAGE_MASK;

    if (len > 2 * PAGE_SIZE - off || va > va + (len - 1)) {
        return 0;
    }
    return shadow_alias(cpu_view(cpu), va, off + len > PAGE_SIZE);
}

bool store_alias_may_last(tb_page_addr_t ram)
{
    return !(track_reasons(ram & PAGE_MASK) & ~TRACK_CODE);
}

void fault_window_open(struct CPUState *cpu)
{
    unsigned write = WALK_WRITE | (cpu->env.cpl == 3 ? WALK_USER : 0);
    struct walk_result res;

    for (unsigned i = 0; i < cpu->nr_smc_ranges && !cpu->smc_alias; i++) {
        gva_t va = cpu->smc_range[i].va;

        if (shadow_fill(cpu_view(cpu), va, write, &res) == FILL_TRACKED) {
            shadow_window_open(cpu_view(cpu), va);
        }
    }
    for (unsigned i = 0; i < cpu->nr_mmio_pages; i++) {
        memset(phys_to_virt(bounce_frame), 0xff, PAGE_SIZE);
        shadow_window_map(cpu_view(cpu), cpu->mmio_page[i], bounce_frame, true);
    }
    for (unsigned i = 0; i < cpu->nr_watch_pages; i++) {
        ram_addr_t ram = probe_page_addr_data(cpu, cpu->watch_page[i]);

        if (ram != TB_PAGE_ADDR_INVALID) {
            shadow_window_map(cpu_view(cpu), cpu->watch_page[i], ram_to_hpa(ram), cpu->watch_writable[i]);
        }
    }
}

void fault_window_close(struct CPUState *cpu)
{
    shadow_window_close();
}

/* ---- the funnel ---- */

static enum fault_result guest_page_fault(struct CPUState *cpu, gva_t va, uint32_t error_code)
{
    CPU_STAT(cpu, guest_fault);
    LOG(MMU, "guest #PF pc=%llx va=%llx error=%x", (unsigned long long)cpu->env.eip, (unsigned long long)va, error_code);
    cpu->env.cr[2] = va;
    guest_tlb_drop(va);
    raise_exception_err(cpu, EXCP0E_PAGE, error_code);
    return FAULT_EXCEPTION;
}

/* The guest has mapped an address range that the monitor occupies in every root. */
static enum fault_result reserved_range(struct CPUState *cpu, gva_t va)
{
    snprintf(cpu->exit_msg, sizeof(cpu->exit_msg),
             "guest maps and uses %llx at pc %llx, where the monitor lives (docs/memory-map.md)", (unsigned long long)va,
             (unsigned long long)cpu->env.eip);
    cpu->exit_request = CPU_EXIT_ERROR;
    cpu->exception_index = EXCP_EXIT;
    return FAULT_EXCEPTION;
}

/* A redo writes where no fault will tell: what it is about to write is dirty. */
static void log_redo_writes(const struct CPUState *cpu)
{
    for (unsigned i = 0; i < cpu->nr_smc_ranges; i++) {
        if (cpu->smc_range[i].ram != TB_PAGE_ADDR_INVALID) {
            dirty_log_written(cpu->smc_range[i].ram, cpu->smc_range[i].len);
        }
    }
}

/*
 * The store at env.eip meets a tracked page: each client of the page gets what it wants. Watched bytes: the store is made
 * alone, so that what it hits is known to have happened, and noted before it can be cut into iterations.
 */
static enum fault_result tracked_write(struct CPUState *cpu, const struct host_event *ev, const struct TranslationBlock *tb,
                                       const struct walk_result *res)
{
    ram_addr_t ram;
    bool is_ram = gpa_to_ram(res->gpa, &ram), watched;

    ASSERT(is_ram); /* only RAM is tracked */
    watched = track_reasons(ram & PAGE_MASK) & TRACK_WATCH;
    if (watched) {
        debug_remember(cpu);
        cpu_check_watchpoint_insn(cpu, ev->fault_addr);
    }
    dirty_log_written(ram, 1);
    switch (page_unprotect(cpu, ev->fault_addr, ram, tb, ev->host_pc)) {
    case UNPROTECT_LEAVE:
        log_redo_writes(cpu);
        return FAULT_REDO;
    case UNPROTECT_RETRY: { /* writable now: save the retry another fault */
        struct walk_result again;

        shadow_fill(cpu_view(cpu), ev->fault_addr, WALK_WRITE | (cpu->env.cpl == 3 ? WALK_USER : 0), &again);
        return FAULT_RETRY;
    }
    case UNPROTECT_NOT_OURS:
        break;
    }
    if (watched) {
        notdirty_redo(cpu, ev->fault_addr);
        log_redo_writes(cpu);
        return FAULT_REDO;
    }
    if (track_reasons(ram & PAGE_MASK)) {
        panic("write to %llx (physical %llx) trapped, and nobody tracks it", (unsigned long long)ev->fault_addr,
              (unsigned long long)res->gpa);
    }
    return FAULT_RETRY;
}

/* Note that the redo needs the page that is not mapped because it is watched. */
static void add_watch_page(struct CPUState *cpu, gva_t page, bool writable)
{
    for (unsigned i = 0; i < cpu->nr_watch_pages; i++) {
        if (cpu->watch_page[i] == page) {
            cpu->watch_writable[i] |= writable;
            return;
        }
    }
    if (cpu->nr_watch_pages < SMC_RANGE_MAX) {
        cpu->watch_page[cpu->nr_watch_pages] = page;
        cpu->watch_writable[cpu->nr_watch_pages++] = writable;
    }
}

/*
 * An access to a page that is watched for reads: made alone, at its own address, with the page mapped for just that long.
 * TBs that a store hits die, as on any other page.
 */
static enum fault_result watched_access(struct CPUState *cpu, const struct host_event *ev, const struct TranslationBlock *tb,
                                        unsigned access)
{
    debug_remember(cpu);
    cpu_check_watchpoint_insn(cpu, ev->fault_addr);
    add_watch_page(cpu, ev->fault_addr & PAGE_MASK, access & WALK_WRITE);
    if (access & WALK_WRITE) {
        if (page_unprotect(cpu, ev->fault_addr, TB_PAGE_ADDR_INVALID, tb, ev->host_pc) != UNPROTECT_LEAVE) {
            notdirty_redo(cpu, ev->fault_addr);
        }
        log_redo_writes(cpu);
    } else {
        cpu->nr_smc_ranges = 0; /* a store of this instruction that was planned begins again */
        cpu->smc_alias = false;
        cpu->cflags_next_tb = CF_REDO;
    }
    return FAULT_REDO;
}

/*
 * Glue stores through an alias that went after its memo was looked at (an interrupt came between): execute the instruction as it
 * is. Guest code that touches the window itself does so in a copy, never in glue.
 */
static bool alias_is_stale(const struct host_event *ev, const struct TranslationBlock *tb)
{
    return ev->fault_addr - STORE_ALIAS_ADDR < STORE_ALIAS_PAGES * PAGE_SIZE && tb &&
           tb_find_run(tb, ev->host_pc)->kind == RUN_GLUE;
}

static enum fault_result page_fault(struct CPUState *cpu, const struct host_event *ev, const struct TranslationBlock *tb)
{
    unsigned access = (ev->error_code & PG_ERROR_W_MASK ? WALK_WRITE : 0) | (cpu->env.cpl == 3 ? WALK_USER : 0);
    unsigned mapped = ev->error_code & PG_ERROR_P_MASK ? FILL_MAPPED : 0;
    struct walk_result res;

    switch (shadow_fill(cpu_view(cpu), ev->fault_addr, access | mapped, &res)) {
    case FILL_OK:
        CPU_STAT(cpu, shadow_fill);
        return FAULT_RETRY;
    case FILL_GUEST_FAULT:
        return guest_page_fault(cpu, ev->fault_addr, res.error_code);
    case FILL_MMIO:
        return mmio_redo(cpu, ev->fault_addr, res.gpa);
    case FILL_TRACKED:
        return tracked_write(cpu, ev, tb, &res);
    case FILL_WATCHED:
        return watched_access(cpu, ev, tb, access);
    case FILL_RESERVED:
        return reserved_range(cpu, ev->fault_addr);
    }
    panic("shadow_fill returned nonsense");
}

/*
 * Translated code could not read the guest's code (a self-check). Either the instruction cannot be fetched any more; or only
 * the mapping was missing; or it can be fetched and not be read, then the page is protected instead.
 */
static enum fault_result fetch_fault(struct CPUState *cpu, const struct host_event *ev)
{
    bool first_page = !((ev->fault_addr ^ cpu->env.eip) & PAGE_MASK);
    struct walk_result res;
    const uint8_t *code;

    if (shadow_fill(cpu_view(cpu), ev->fault_addr, cpu->env.cpl == 3 ? WALK_USER : 0, &res) == FILL_OK) {
        CPU_STAT(cpu, shadow_fill);
        return FAULT_RETRY;
    }
    tb_page_addr_t addr = get_page_addr_code(cpu, first_page ? cpu->env.eip : ev->fault_addr & PAGE_MASK, &code);
    if (addr == TB_PAGE_ADDR_INVALID) {
        return FAULT_EXCEPTION;
    }
    page_state_pin(cpu, addr);
    return FAULT_REDO;
}

enum fault_result handle_fault(struct CPUState *cpu, const struct host_event *ev, struct TranslationBlock *tb)
{
    cpu_sync_fsgs_base(cpu);
    if (ev->vector == EXCP0E_PAGE && tb_fault_is_fetch(tb, ev->host_pc)) {
        return fetch_fault(cpu, ev);
    }
    if (ev->vector == EXCP0E_PAGE && alias_is_stale(ev, tb)) {
        cpu->cflags_next_tb = CF_REDO;
        cpu->nr_smc_ranges = 0;
        return FAULT_REDO;
    }
    if (ev->vector == EXCP0E_PAGE) {
        return page_fault(cpu, ev, tb);
    }
    LOG(INT, "fault %u error %x at pc %llx", ev->vector, ev->error_code, (unsigned long long)cpu->env.eip);
    raise_exception_err(cpu, ev->vector, ev->error_code);
    return FAULT_EXCEPTION;
}
