/* SPDX-License-Identifier: MIT */
/*
 * The hosted build: dbt/ as a Linux process on the real CPU. Guest memory is two windows of this process at fixed
 * addresses (guest virtual = host virtual), never executable; the guest runs at CPL 3 from the code cache. Signals carry what
 * exceptions carry on bare metal.
 */
#ifndef TESTS_HOST_HOSTED_H
#define TESTS_HOST_HOSTED_H

#include "dbt/cpu.h"

/* Low window: addresses fit 32 bits. Far window: they fit nothing. */
#define HOSTED_LOW_BASE  0x30000000ull
#define HOSTED_FAR_BASE  0x200000000000ull
#define HOSTED_WINDOW_SIZE 0x1000000ull /* 16 MiB each */
#define FAR_RAM_BASE (1ull << 32) /* ram address of the far window; the low one begins at 0 */
#define HOSTED_CODE_SIZE 0x400000ull    /* code cache */
extern size_t hosted_code_size;         /* HOSTED_CODE_SIZE unless changed before hosted_init() */

extern bool hosted_patch_code;          /* code_gen_region.patch_code, true unless changed before hosted_init() */

/* x87, SSE, AVX, AVX-512 state of the guest in XSAVE standard format. */
#define HOSTED_XSAVE_SIZE 16384
extern uint8_t hosted_guest_fp[HOSTED_XSAVE_SIZE];

/* What ended a run of the guest. */
struct hosted_result {
    int vector;         /* exception the guest would have been given; -1: reached the stop address, -2: instruction budget */
    uint64_t error_code;
    uint64_t cr2;
};

/* Map the windows, install signal handlers, set up dbt. Once. */
void hosted_init(void);
struct CPUState *hosted_cpu(void);
/* Run from cpu->env until an exception: `int3` or, slower, `hlt` (#GP at CPL 3) is how guest code stops. */
void hosted_run(struct hosted_result *res);
/* The same, executed by the CPU itself: the oracle. Code and data must lie in the windows. */
void hosted_run_native(struct hosted_result *res);
/* The same in pieces, for many runs: the windows are executable between hosted_native(true) and hosted_native(false), and only
 * then. Runs from cpu->env, with `step` for one instruction (one iteration of a string instruction): returns true if that
 * was completed, else *res tells the exception. */
void hosted_native(bool on);
bool hosted_native_run(bool step, struct hosted_result *res);
/* Forget translations of [va, va + len), so that the memory may be rewritten from outside. */
void hosted_forget(uint64_t va, uint64_t len);
/* hosted-sample.c: let a write to a sampled page through; false if it was not trapped for that. All at once: the windows are
 * about to become writable as a whole. */
bool hosted_sample_written(uint64_t va);
void hosted_samples_written(void);
/* Ask for SIGALRM-driven interruptions of the run every `us` microseconds (0 = off): tests roll-forward. */
void hosted_interrupts(unsigned us);
/* Interrupt translated runs after every n host instructions (0 = off), wherever that is: the exhaustive form of the above.
 * Later each time that the same guest instruction is met again, so all of its host instructions come under it. */
void hosted_interrupt_every(unsigned n);
/* Pretend an external interrupt is pending, so that every interruption must find an instruction boundary; each is checked
 * by the callback with exact state in cpu->env. */
extern void (*hosted_on_interrupt)(struct CPUState *cpu);
/* Where interruptions hit, by enum guest_pc_state: outside of any TB, on a boundary, inside an instruction, in its tail. */
extern uint64_t hosted_interrupted[4];
/* Number of SIGSEGV write faults taken on protected pages. */
extern uint64_t hosted_faults;

#endif
