/* SPDX-License-Identifier: MIT */
/*
 * What every payload may use: console, end of the run, named cases with checks, checksums, random numbers, the command
 * line. A payload defines main(); its return value (or exit_run) ends the run, 0 = success.
 *
 *     static void adds(void) { CHECK_EQ(1 + 1, 2); }
 *     static const struct test_case cases[] = {{"adds", adds}};
 *     int main(void) { return run_cases("arith", cases, ARRAY_SIZE(cases)); }
 *
 * prints "PASS adds" and "payload arith: 1 passed, 0 failed".
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "kernel/lib/types.h"
#include "kernel/lib/string.h"
#include "tests/payloads/lib/cpu.h"

int main(void);

/* ---- console (COM1) and end of the run ---- */
void printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void exit_run(unsigned status); /* writes `status` to port 0xf4 */

/* ---- cases ---- */
struct test_case {
    const char *name;
    void (*run)(void);
};

/*
 * Run every case, print PASS, FAIL or SKIP and the closing line; returns 0 iff none failed. The command line can hold
 * `only=a,b` and `skip=a,b`.
 */
int run_cases(const char *payload, const struct test_case *cases, size_t count);
/* The same, with a function called before and one after each case (it may make checks); either may be NULL. */
int run_cases_between(const char *payload, const struct test_case *cases, size_t count, void (*before)(void),
                      void (*after)(void));

/* A failed check prints what was expected and what was found, and the case goes on. */
#define CHECK_EQ(got, expected)                                                                    \
    check_eq(__FILE__, __LINE__, #got, (uint64_t)(got), (uint64_t)(expected))
#define CHECK(cond) check_eq(__FILE__, __LINE__, #cond, (cond) ? 1 : 0, 1)
/* Returns true if equal. Prints the first few failures of a case only. */
bool check_eq(const char *file, int line, const char *what, uint64_t got, uint64_t expected);
/* The case cannot go on and the run ends with status 1. */
_Noreturn void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- command line ---- */
/* The text given to the guest, never NULL. */
const char *cmdline(void);
/* Value of `key=` in the command line as a number (decimal or 0x..), or `dflt`. */
uint64_t cmdline_number(const char *key, uint64_t dflt);
/* True if the comma-separated list after `key=` holds `item`; *present says whether the key is there. */
bool cmdline_lists(const char *key, const char *item, bool *present);

/* ---- checksums: compared between engines by tests/system/run.py ---- */
/* FNV-1a, started with CHECKSUM_INIT. */
#define CHECKSUM_INIT 0xcbf29ce484222325ull
uint64_t checksum_add(uint64_t sum, const void *data, size_t len);
static inline uint64_t checksum_u64(uint64_t sum, uint64_t v)
{
    return checksum_add(sum, &v, sizeof(v));
}
/* "checksum <name> <hex>" */
void checksum_print(const char *name, uint64_t sum);

/* ---- random numbers: the same sequence in every engine ---- */
struct rng {
    uint64_t s;
};
/* xorshift64*, s must not be 0. */
static inline uint64_t rng_next(struct rng *r)
{
    r->s ^= r->s >> 12;
    r->s ^= r->s << 25;
    r->s ^= r->s >> 27;
    return r->s * 0x2545f4914f6cdd1dull;
}
/* Uniform enough in [0, n). */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)((rng_next(r) >> 33) % n);
}

/* ---- machine code as data ---- */
/* Append bytes to code at p; evaluates to the new end. */
#define EMIT(p, ...)                                                                               \
    emit_bytes((p), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
static inline uint8_t *emit_bytes(uint8_t *p, const uint8_t *b, size_t n)
{
    memcpy(p, b, n);
    return p + n;
}
static inline uint8_t *emit32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
    return p + 4;
}
static inline uint8_t *emit64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, 8);
    return p + 8;
}

/* Assembly templates: symbols name_start, name_end round position-independent code that is copied before it is run. */
#define SNIPPET(name) extern const uint8_t name##_start[], name##_end[]
/* Copy to dst; evaluates to the length. */
#define SNIPPET_COPY(name, dst)                                                                    \
    (memcpy((dst), name##_start, (size_t)(name##_end - name##_start)),                             \
     (size_t)(name##_end - name##_start))

/* Let SSE (and AVX, if CPUID has it) be used: CR0, CR4, XCR0. Returns true if AVX may be used. */
bool fpu_enable(void);

/* State at entry, for the payload that checks the contract (crt0.S). */
extern uint64_t entry_rsp, entry_rdi, entry_rflags;
extern uint8_t image_start[], image_end[], stack_top[];

#endif
