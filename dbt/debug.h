/* SPDX-License-Identifier: MIT */
/*
 * Breakpoints, watchpoints and steps of the virtual CPU (QEMU's CPUBreakpoint, CPUWatchpoint). Two owners: the monitor's
 * prompt, for which cpu_exec() returns with CPU_EXIT_DEBUG, and the guest's DR0-DR3, for which the guest gets a #DB.
 */
#ifndef DBT_DEBUG_H
#define DBT_DEBUG_H

#include "kernel/lib/types.h"

/* flags of both */
#define BP_MEM_READ   0x01
#define BP_MEM_WRITE  0x02
#define BP_MEM_ACCESS (BP_MEM_READ | BP_MEM_WRITE)
#define BP_MONITOR    0x10 /* stop for the prompt */
#define BP_CPU        0x20 /* the guest's debug register `id` */

#define CPU_BREAKPOINT_MAX 32
#define CPU_WATCHPOINT_MAX 16

struct cpu_breakpoint {
    gva_t pc;
    uint8_t flags;
    uint8_t id; /* the owner's number: 0..3 of a debug register */
};

struct cpu_watchpoint {
    gva_t va;
    uint64_t len; /* bytes, at least 1; va + len - 1 does not wrap */
    uint8_t flags;
    uint8_t id;
};

enum debug_stop { DEBUG_NONE, DEBUG_BREAK, DEBUG_WATCH, DEBUG_STEP };

/* Part of struct CPUState; owner: the CPU's thread, which is also the monitor's. */
struct cpu_debug {
    struct cpu_breakpoint bp[CPU_BREAKPOINT_MAX];
    struct cpu_watchpoint wp[CPU_WATCHPOINT_MAX];
    unsigned nr_bp, nr_wp;
    uint32_t step_left;   /* boundaries until DEBUG_STEP; 0 = not stepping */
    bool resume;          /* the instruction at env.eip runs whatever breakpoint of the monitor is on it */
    bool noted;           /* accesses of the instruction at hand were checked; what they hit waits for its end: */
    uint8_t noted_hits, noted_stop_id; /* as hits and stop_id below; stop_id 0 = none */
    bool one_iteration;   /* the redo executes one iteration of a string instruction */
    uint8_t hits;         /* bit n: data breakpoint DRn was hit by what has just retired; #DB is due */
    uint8_t stop;         /* enum debug_stop: cpu_exec() has returned, or will at the next boundary */
    uint8_t stop_id;      /* of the breakpoint or watchpoint, from 1 on */
    gva_t stop_pc;        /* DEBUG_WATCH: the instruction that made the access */
};

struct CPUState;

/* 0, or -ENOSPC. Takes effect before the next instruction. Not from inside the code cache. */
int cpu_breakpoint_insert(struct CPUState *cpu, gva_t pc, unsigned flags, unsigned id);
/* Remove those of an owner (BP_MONITOR or BP_CPU) with the id; id < 0: all of them. Returns how many. */
unsigned cpu_breakpoint_remove(struct CPUState *cpu, unsigned owner, int id);
/* The same for watchpoints. Seeing to it that accesses trap, or are reported below, is the caller's affair. */
int cpu_watchpoint_insert(struct CPUState *cpu, gva_t va, uint64_t len, unsigned flags, unsigned id);
unsigned cpu_watchpoint_remove(struct CPUState *cpu, unsigned owner, int id);

/* Execute n > 0 instructions, then stop. External interrupts wait meanwhile. */
void cpu_single_step(struct CPUState *cpu, uint32_t n);

/*
 * The instruction at env.eip accesses [va, va + len), len > 0: note which watchpoints it hits. access: BP_MEM_*. It counts when
 * the instruction has retired.
 */
void cpu_check_watchpoint(struct CPUState *cpu, gva_t va, uint64_t len, unsigned access);
/*
 * The same for all accesses of the instruction at env.eip, which faulted at fault_va because something on that page is watched;
 * of a string instruction those of one iteration, and only one will be executed.
 */
void cpu_check_watchpoint_insn(struct CPUState *cpu, gva_t fault_va);

/* ---- for the loop (cpu-exec.c) ---- */

/*
 * Before the instruction at env.eip, unless it is being redone. Returns false if it must not be executed now: a stop is
 * noted, or #DB raised. Otherwise adds to *cflags what keeps a TB from running past a breakpoint.
 */
bool check_for_breakpoints(struct CPUState *cpu, uint32_t *cflags);

/* What was noted has happened (retired), or not. */
void watchpoints_commit(struct CPUState *cpu, bool retired);

static inline bool cpu_debug_active(const struct cpu_debug *d)
{
    return d->nr_bp || d->step_left;
}

/* Has the loop anything to do for debugging between two instructions? */
static inline bool cpu_debug_attends(const struct cpu_debug *d)
{
    return cpu_debug_active(d) || d->resume || d->noted || d->one_iteration || d->hits || d->stop;
}

/* External interrupts wait: the user looks at single instructions. */
static inline bool cpu_debug_holds_irq(const struct cpu_debug *d)
{
    return d->step_left || d->resume;
}

#endif
