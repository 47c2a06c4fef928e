/* SPDX-License-Identifier: MIT */
/* Loading and comparing the programs of smc-program.h in the hosted build. */
#ifndef TESTS_HOST_SMC_RUN_H
#define TESTS_HOST_SMC_RUN_H

#include "tests/host/diff.h"
#include "tests/host/smc-program.h"

#define SMC_PIECES 3
/* What a program can change, besides registers. */
void smc_pieces(const struct smc_program *p, struct diff_mem mem[SMC_PIECES]);
/* Put program and initial state in place. Translations of the code must have been forgotten, or the windows be native. */
void smc_load(const struct smc_program *p);
void smc_forget(const struct smc_program *p);
/* Disassemble to stderr; linear, so what follows data or patched bytes is a guess. */
void smc_print(const struct smc_program *p);

/* How the translated run is disturbed. */
struct smc_storm {
    unsigned us;    /* an interrupt so often, 0 = none */
    unsigned every; /* an interrupt after so many host instructions, 0 = none */
};
/*
 * Generate `count` programs from number `first` on, run each natively and translated, compare, check the TB invariants.
 * Returns the number of programs that went wrong; each is printed.
 */
unsigned smc_compare(uint64_t first, unsigned count, unsigned size, struct smc_storm storm);

#endif
