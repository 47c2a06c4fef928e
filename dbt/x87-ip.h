/* SPDX-License-Identifier: MIT */
/*
 * The x87's last instruction pointer (FIP) and the images that show it. The hardware's FIP is an address in the code cache; guests
 * that ask by fnstenv and fnsave are told the guest address that it stands for. Does not touch the FPU.
 */
#ifndef DBT_X87_IP_H
#define DBT_X87_IP_H

#include "dbt/cpu.h"
#include "dbt/decode.h"

/* What `fnsave` stores in 64-bit mode; its first X87_ENV_SIZE bytes are what `fnstenv` stores (SDM 1 8.1.10, figure 8-9). */
#define X87_STATE_SIZE 108u
#define X87_ENV_SIZE   28u
#define X87_FIP_OFFSET 12u

/* The low half of a guest address for the low half of FIP as the FPU has it: fip itself where that is no translated x87 instruction. */
uint32_t x87_ip_to_guest(uint32_t fip);
/* The code cache is about to be emptied: remember what the FIP of now stands for. */
void x87_ip_before_flush(struct CPUState *cpu);

/* Turn an image into the one that insn, fnstenv or fnsave, stores: `out` has X87_STATE_SIZE bytes, of which the result are used. */
unsigned x87_image_format(const struct insn *insn, const uint8_t *image, uint8_t *out);

#endif
