/* SPDX-License-Identifier: MIT */
/* Random integer code with defined results, and a way to run it with all registers known. See random-code.c. */
#ifndef PAYLOAD_RANDOM_CODE_H
#define PAYLOAD_RANDOM_CODE_H

#include "tests/payloads/lib/payload.h"

#define RANDOM_INSN_MAX 64 /* bytes that one call of random_insn may emit */

/* Registers of a run, hardware order; [4] is not used. r15 = data buffer (RANDOM_DATA_SIZE bytes), r14 < 32. */
struct random_regs {
    uint64_t gpr[16];
    uint64_t rflags;
};
#define RANDOM_DATA_SIZE 8192

/*
 * Emit one instruction (or a few that belong together) at p; returns the new end. Every register and flag is defined after
 * it, rsp is as before. `data` is the buffer's address for RIP-relative operands.
 */
uint8_t *random_insn(struct rng *rng, uint8_t *p, const uint8_t *data);

/* Random register contents. */
void random_regs_init(struct random_regs *regs, struct rng *rng, const uint8_t *data);
/* Call code, which ends with ret, with these registers; they are replaced by those at its end. */
void random_run(struct random_regs *regs, const void *code);

#endif
