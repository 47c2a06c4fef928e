/* SPDX-License-Identifier: MIT */
/*
 * Internal to the generator of self-modifying programs: smc-program.c plans and lays out, smc-stores.c has the stores. Random
 * numbers, sites (what can be patched), fixups (addresses that are filled in at the end), and a small assembler.
 */
#ifndef TESTS_HOST_SMC_INTERNAL_H
#define TESTS_HOST_SMC_INTERNAL_H

#include <stdlib.h>
#include <string.h>

#include "dbt/decode.h"
#include "tests/host/smc-program.h"

#define MAX_FUNCTIONS 6
#define MAX_ITEMS     256
#define MAX_SITES     256
#define MAX_FIXUPS    1024

enum site_kind {
    SITE_ANY,   /* any bytes */
    SITE_BLOCK, /* bytes of the alphabet */
    SITE_BYTE,  /* one byte: first + step * (0..count-1) */
    SITE_CALL,  /* rel32 of a call of functions first.. */
};

struct site {
    uint8_t kind, len;
    uint8_t first, step, count;
    uint32_t off;
};

enum fixup_kind {
    FIX_REL32,  /* rel32 to the target; `next` is where it counts from */
    FIX_ABS64,
    FIX_BIT64,  /* bit offset of the target from the data */
    FIX_CALL32, /* what must be stored in site `next` to call the target */
};

struct fixup {
    uint8_t kind;
    bool function; /* target is a function, not a site */
    uint16_t target;
    int16_t addend;
    uint32_t at, next;
};

struct item {
    uint8_t kind, function;
    uint16_t site, second; /* sites of its own */
    uint32_t random;
};

/* Work in progress on one program. */
struct gen {
    struct smc_program *p;
    uint64_t rng;
    uint32_t at;
    uint32_t function_off[MAX_FUNCTIONS];
    unsigned functions, items, sites, fixups;
    struct item item[MAX_ITEMS];
    struct site site[MAX_SITES];
    struct fixup fixup[MAX_FIXUPS];
};

static inline uint64_t rnd(struct gen *g)
{
    g->rng ^= g->rng << 13;
    g->rng ^= g->rng >> 7;
    g->rng ^= g->rng << 17;
    return g->rng * 0x2545f4914f6cdd1dull >> 7;
}

static inline unsigned below(struct gen *g, unsigned n)
{
    return (unsigned)(rnd(g) % n);
}

/* An instruction of one byte. */
static inline uint8_t one_byte_insn(struct gen *g)
{
    static const uint8_t insns[] = {0x90, 0xf8, 0xf9, 0xf5, 0x98, 0x99, 0x9e, 0x9f,
                                    0x91, 0x92, 0x93, 0x95, 0xfc, 0xf5, 0x98, 0x92};

    return insns[below(g, ARRAY_SIZE(insns))];
}

/* One byte of code: such an instruction, or now and then a prefix, which changes where instructions begin. */
static inline uint8_t alphabet(struct gen *g)
{
    static const uint8_t prefixes[] = {0x66, 0x48, 0xf3, 0x66};

    return below(g, 8) ? one_byte_insn(g) : prefixes[below(g, ARRAY_SIZE(prefixes))];
}

static inline uint64_t alphabet8(struct gen *g)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8; i++) {
        v = v << 8 | alphabet(g);
    }
    return v;
}

static inline void put(struct gen *g, unsigned n, uint64_t v)
{
    memcpy(g->p->code + g->at, &v, n);
    g->at += n;
}

/* Up to 16 bytes of code as a string. */
#define PUT(g, bytes) put_bytes(g, bytes, sizeof(bytes) - 1)
static inline void put_bytes(struct gen *g, const char *bytes, size_t n)
{
    memcpy(g->p->code + g->at, bytes, n);
    g->at += (uint32_t)n;
}

static inline void fix(struct gen *g, enum fixup_kind kind, bool function, unsigned target, int addend, uint32_t next)
{
    if (g->fixups == MAX_FIXUPS) {
        abort();
    }
    g->fixup[g->fixups++] = (struct fixup){.kind = (uint8_t)kind, .function = function, .target = (uint16_t)target,
                                           .addend = (int16_t)addend, .at = g->at, .next = next};
    put(g, kind == FIX_ABS64 || kind == FIX_BIT64 ? 8 : 4, 0);
}

/* lea target+addend(%rip), %reg */
static inline void put_lea(struct gen *g, unsigned reg, bool function, unsigned target, int addend)
{
    put(g, 1, 0x48 | (reg >= 8 ? 4 : 0));
    put(g, 1, 0x8d);
    put(g, 1, 5 | (reg & 7) << 3);
    fix(g, FIX_REL32, function, target, addend, g->at + 4);
}

/* movabs $v, %reg */
static inline void put_const(struct gen *g, unsigned reg, uint64_t v)
{
    put(g, 1, 0x48 | (reg >= 8 ? 1 : 0));
    put(g, 1, 0xb8 + (reg & 7));
    put(g, 8, v);
}

/* A store into some site, with what has to come before it. */
void smc_put_patch(struct gen *g);

#endif
