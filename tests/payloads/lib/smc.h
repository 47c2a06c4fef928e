/* SPDX-License-Identifier: MIT */
/*
 * Shared by the smc-* payloads: code made at run time, run cold, warm and hot; and what must hold in every case besides its
 * result, checked with the machine's counters where it has some (smc.c): bounded faults, consistent structures, and
 * blocks beside the patched one that survive.
 */
#ifndef PAYLOAD_SMC_H
#define PAYLOAD_SMC_H

#include "tests/payloads/lib/counters.h"
#include "tests/payloads/lib/page.h"
#include "tests/payloads/lib/payload.h"

/* Code made at run time follows the System V convention. */
typedef uint64_t code_fn(uint64_t a, uint64_t b, uint64_t c, uint64_t d);

static inline uint64_t call(const void *code, uint64_t a, uint64_t b)
{
    return ((code_fn *)(uint64_t)code)(a, b, 0, 0);
}

/*
 * run_cases() for payloads about self-modifying code. Says "counters: present" or "counters: none", and after each case
 * checks that
 *   - it took at most two faults for each store that it declared by smc_stores();
 *   - the monitor's consistency checkers find no violation;
 *   - the markers of every smc_guard() are still translated.
 */
int run_smc_cases(const char *payload, const struct test_case *cases, size_t count);

/* The case makes n (more) stores to pages with code: instructions, a repeated one counted once for each page. */
void smc_stores(uint64_t n);
/* This case's number of faults has no such bound; why is said where it is called. */
void smc_unbounded(void);

#define SMC_GUARD_SIZE 32
/*
 * Put some small functions at p (SMC_GUARD_SIZE bytes that the case never writes) and execute them. At the end of the case
 * they must not have been translated again: only blocks whose bytes are stored to may die. Not checked if meanwhile the
 * monitor changed its treatment of some page, or emptied its code cache.
 */
void smc_guard(uint8_t *p);
/* Check the guards now, and forget them. */
void smc_check_guards(void);

enum heat {
    COLD, /* never executed */
    WARM, /* executed once */
    HOT,  /* reached by linked jumps, from another page and from its own */
};
#define HEATS 3

/* One subject of a test: code that returns to its caller. */
struct smc_code {
    uint8_t *code;     /* where make() put it */
    const void *entry; /* what to call: the code itself, or a chain of jumps to it */
    enum heat heat;
    bool guarded;      /* a guard is on its page */
};

static inline uint64_t run_code(const struct smc_code *c, uint64_t a, uint64_t b)
{
    return call(c->entry, a, b);
}

/*
 * For each heat, make() code in a fresh zeroed page (a second one follows) and check() several values. make() returns the
 * start of the code; the rest of the page, from offset SMC_FREE on, takes a guard and the last jump of a chain, if make()
 * left it zero. check() makes the code store `value`, verifies it, and returns how many stores to pages with code that took.
 */
#define SMC_FREE 0xfc0
void each_heat(uint8_t *(*make)(uint8_t *page), unsigned (*check)(const struct smc_code *c, uint64_t value));
/* The same for code that destroys itself: it is as new before each check(). */
void each_heat_restored(uint8_t *(*make)(uint8_t *page), unsigned (*check)(const struct smc_code *c, uint64_t value));

#define INSN_RET      0xc3
#define INSN_NOP      0x90
#define INSN_MOV_EAX  0xb8 /* + imm32 */
#define INSN_JMP      0xe9 /* + rel32 */

/* jmp to `to`; returns the end. */
static inline uint8_t *emit_jmp(uint8_t *p, const void *to)
{
    p = EMIT(p, INSN_JMP);
    return emit32(p, (uint32_t)((const uint8_t *)to - (p + 4)));
}

/* mov $v, %eax; ret */
static inline uint8_t *emit_return(uint8_t *p, uint32_t v)
{
    p = EMIT(p, INSN_MOV_EAX);
    p = emit32(p, v);
    return EMIT(p, INSN_RET);
}

#endif
