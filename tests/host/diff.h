/* SPDX-License-Identifier: MIT */
/* Run the same bytes on the CPU and through dbt/, and compare everything that can differ. */
#ifndef TESTS_HOST_DIFF_H
#define TESTS_HOST_DIFF_H

#include "tests/host/hosted.h"

/* Layout in a window, as offsets from its base. */
#define DIFF_CODE_OFF   0x2f40u /* not page-aligned: longer snippets cross a page */
#define DIFF_DATA_OFF   0x100000u
#define DIFF_DATA_SIZE  0x10000u
#define DIFF_STACK_OFF  0x180000u
#define DIFF_STACK_SIZE 0x4000u

/* Deterministic pseudo-random numbers. */
extern uint64_t diff_rng_state;
uint64_t diff_rng(void);

/* A piece of guest memory that is compared. */
struct diff_mem {
    uint64_t addr;
    size_t len;
};

/* All that a run left behind. */
struct diff_outcome {
    uint64_t regs[16], eflags, eip;
    struct hosted_result res;
    uint8_t *fp;  /* diff_fp_size() bytes */
    uint8_t *mem; /* the pieces, one after the other */
};

/* Bytes of XSAVE state that this CPU has, at most HOSTED_XSAVE_SIZE. */
size_t diff_fp_size(void);
/* Room for an outcome with these pieces of memory; never freed. */
void diff_outcome_init(struct diff_outcome *o, const struct diff_mem *mem, unsigned count);
/* Take everything but o->res, which the run has filled in. */
void diff_collect(struct diff_outcome *o, const struct diff_mem *mem, unsigned count);
/* The number of differences between native and translated, each printed with `name` before it. */
int diff_compare(const char *name, const struct diff_outcome *n, const struct diff_outcome *t, const struct diff_mem *mem,
                 unsigned count);

/* Put code and the initial state derived from seed in place, as diff_run() does. */
void diff_prepare(const uint8_t *code, size_t len, uint64_t base, unsigned seed, size_t patch_end);

/* CPL of the translated run: 3, or 0 to have pushf translated inline as for a guest's kernel. */
extern uint8_t diff_cpl;

/*
 * Run code[0..len) at base + DIFF_CODE_OFF natively and translated from the same state, derived from seed: random registers,
 * rsi = 64 KiB of random data, rsp = a stack. interrupts: storm the translated run. patch_end: if not 0, the 8 bytes there
 * receive the absolute address of the last byte. Returns the number of differences, each printed.
 */
int diff_run(const char *name, const uint8_t *code, size_t len, uint64_t base, unsigned seed, bool interrupts,
             size_t patch_end);

#endif
