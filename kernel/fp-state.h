/* SPDX-License-Identifier: MIT */
/* The guest's x87, SSE and AVX state, which lives in the hardware, to and from memory. */
#ifndef KERNEL_FP_STATE_H
#define KERNEL_FP_STATE_H

#include "dbt/cpu.h"

#define FP_STATE_SIZE 1024 /* XSAVE standard format up to AVX: 832 bytes */

struct fp_state {
    uint8_t area[FP_STATE_SIZE];
} __attribute__((aligned(64)));

/* All of it, whatever the guest's XCR0 and CR0.TS say. */
void fp_state_save(struct CPUState *cpu, struct fp_state *fp);
/* 0, or -EINVAL, and nothing changed, if the hardware would refuse the image. */
int fp_state_load(struct CPUState *cpu, const struct fp_state *fp);

/* What `fnsave` would store, X87_STATE_SIZE bytes; changes nothing. FIP is the hardware's. */
void fp_x87_image(struct CPUState *cpu, uint8_t *image);
/* What fnstenv (mask all exceptions) or fnsave (initialize) does besides storing. */
void fp_x87_stored(struct CPUState *cpu, bool fnsave);

#endif
