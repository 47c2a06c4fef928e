/* SPDX-License-Identifier: MIT */
/*
 * Own GDT, TSS and IDT, and the two ways to deal with a trap: a handler that returns to the interrupted code, or
 * cpu_run(), which runs code with exact registers at CPL 0 or 3 until it traps and reports the exact state at the trap.
 */
#ifndef PAYLOAD_TRAP_H
#define PAYLOAD_TRAP_H

#include "kernel/lib/types.h"

/* Selectors. The order is what SYSCALL/SYSRET want (SDM 3A 5.8.8). */
#define SEL_KCODE 0x08
#define SEL_KDATA 0x10
#define SEL_UCODE32 0x1b
#define SEL_UDATA 0x23
#define SEL_UCODE 0x2b
#define SEL_TSS   0x30

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, GPR_COUNT };

/* As trap-entry.S pushes it. gpr[RSP] is a copy of rsp; a handler that changes rsp changes `rsp`. */
struct trap_frame {
    uint64_t gpr[GPR_COUNT];
    uint64_t vector;
    uint64_t error; /* 0 if the vector has none */
    uint64_t rip, cs, rflags, rsp, ss;
};

/* Registers to run with; and after cpu_run, registers at the trap that ended it. */
struct cpu_state {
    uint64_t gpr[GPR_COUNT];
    uint64_t rip, cs, rflags, ss;
    uint64_t vector, error, cr2; /* results only */
};

/* Load GDT, TSS and an IDT whose gates all point into trap-entry.S: DPL 0, vector 3 and 0x80 DPL 3, no IST. */
void trap_init(void);

typedef void trap_fn(struct trap_frame *f);
/* `fn` is called at the vector and may change the frame; NULL: the trap ends cpu_run, or the payload. */
void trap_handler(unsigned vector, trap_fn *fn);
/* Deliver the vector on stack `ist` (1..2), or on the current stack (0). */
void trap_set_ist(unsigned vector, unsigned ist);
void trap_set_dpl(unsigned vector, unsigned dpl);
/* Whether addr lies in the stack that interrupts from CPL 3 are delivered on (ist 0), or in an IST stack. */
bool trap_on_stack(unsigned ist, uint64_t addr);
/* Stack pointer at the C handler's entry of the last trap, for trap_on_stack. */
uint64_t trap_last_sp(void);

/* A state at CPL 0 or 3: flat segments, IF=0, stack pointer given, other registers 0. */
void cpu_state_init(struct cpu_state *s, const void *code, uint64_t rsp, bool user);
/* Run until a trap that no handler takes. Not re-entrant. */
void cpu_run(struct cpu_state *s);

/* SYSCALL enabled, entering at `entry` with RFLAGS bits `fmask` cleared. */
void syscall_enable(void (*entry)(void), uint64_t fmask);

#endif
