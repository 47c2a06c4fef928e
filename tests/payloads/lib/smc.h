/* SPDX-License-Identifier: MIT */
/* Shared by the smc-* payloads: code made at run time, run cold, warm and hot. */
#ifndef PAYLOAD_SMC_H
#define PAYLOAD_SMC_H

#include "tests/payloads/lib/payload.h"
#include "tests/payloads/lib/page.h"

/* Code made at run time follows the System V convention. */
typedef uint64_t code_fn(uint64_t a, uint64_t b, uint64_t c, uint64_t d);

static inline uint64_t call(const void *code, uint64_t a, uint64_t b)
{
    return ((code_fn *)(uint64_t)code)(a, b, 0, 0);
}

/*
 * Run check(code, value) on code that was never executed (cold), executed once (warm), executed often enough to be linked
 * to other blocks (hot). `make` returns a fresh copy each time; `check` makes the code store `value` and verifies it.
 */
static inline void each_heat(uint8_t *(*make)(void), void (*check)(uint8_t *code, uint64_t value))
{
    static const unsigned runs_before[] = {0, 1, 200};

    for (size_t h = 0; h < ARRAY_SIZE(runs_before); h++) {
        uint8_t *code = make();

        for (unsigned i = 0; i < runs_before[h]; i++) {
            check(code, 0x11);
        }
        check(code, 0x22);
        check(code, 0x22);
        check(code, 0x33);
        check(code, 0x11);
    }
}

#define INSN_RET      0xc3
#define INSN_NOP      0x90
#define INSN_MOV_EAX  0xb8 /* + imm32 */

#endif
