/* SPDX-License-Identifier: MIT */
/*
 * Random guest programs that patch themselves: small functions that call each other and store into their own and each
 * other's immediates, opcodes, displacements and call targets, with stores of all sizes and forms. Every program ends, by
 * int3. Generates bytes only.
 */
#ifndef TESTS_HOST_SMC_PROGRAM_H
#define TESTS_HOST_SMC_PROGRAM_H

#include "kernel/lib/types.h"

/* Layout in a window, as offsets from its base. The stack is in the first code page if smc_program.stack says so. */
#define SMC_CODE_OFF   0x20000u
#define SMC_CODE_MAX   0x8000u
#define SMC_DATA_OFF   0x100000u
#define SMC_DATA_SIZE  0x1000u
#define SMC_POOL_OFF   0x800u /* in the data: bytes that may be patched in as instructions */
#define SMC_INDEX_OFF  0xd00u /* in the data: vector indices 0, 4, 8, 12 */
#define SMC_STACK_OFF  0x180000u
#define SMC_STACK_SIZE 0x1000u

struct smc_program {
    uint64_t base;  /* of the window */
    uint64_t entry;
    uint64_t stack; /* initial rsp */
    uint8_t code[SMC_CODE_MAX]; /* from base + SMC_CODE_OFF */
    uint8_t data[SMC_DATA_SIZE];
    uint64_t regs[16];
    unsigned patches; /* patching places in it */
};

/* The program of this number, for the window at base; the same for the same arguments. size: 1 = small, 2 = usual. */
void smc_generate(struct smc_program *p, uint64_t base, uint64_t number, unsigned size);

#endif
