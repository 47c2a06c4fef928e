/* SPDX-License-Identifier: MIT */
/*
 * A world without translation for the tests of TB maintenance: a pool of TBs with invented code
 * addresses, exits that only remember where they lead, pages that only remember whether they are
 * protected.
 */
#ifndef TESTS_HOST_TB_FAKE_H
#define TESTS_HOST_TB_FAKE_H

#include "dbt/tb-internal.h"

#define FAKE_TBS      5000u
#define FAKE_PAGES    64u /* physical and virtual ones */
#define FAKE_UNMAPPED (~0u)
#define FAKE_SPACES   24u /* more than there are link sets */
#define FAKE_LINKS    512u

struct fake {
    struct TranslationBlock pool[FAKE_TBS];
    size_t tbs;
    size_t pool_size;                   /* at most FAKE_TBS */
    uint64_t jmp[FAKE_TBS][TB_MAX_JMP]; /* where the exit leads */
    bool is_protected[FAKE_PAGES];
    unsigned protects, unprotects, probes; /* calls */
    int allocs_left;                       /* dbt_zalloc() calls that succeed; < 0: all */
    unsigned va_to_page[FAKE_PAGES];
    bool va_global[FAKE_PAGES]; /* the mapping survives a change of address space */
    /* The address space that is entered: entries that map its pages, for link sets, and what translated code is shown. */
    uint64_t upper[FAKE_SPACES], middle[2], leaf[FAKE_SPACES][FAKE_PAGES];
    unsigned space, set_shown;
    bool is_sampled[FAKE_PAGES], is_dirty[FAKE_PAGES];
    uint8_t memory[FAKE_PAGES][PAGE_SIZE]; /* all zero: so are the bytes of every TB */
};
extern struct fake fake;
extern struct CPUState fake_cpu[2];

/* Everything empty, virtual page i on physical page i, both CPUs registered. */
void fake_reset(void);
/* A TB as the translator hands it to tb_link_page(); both exits exist. */
struct TranslationBlock *fake_tb(uint64_t pc, unsigned size, uint32_t flags, uint32_t cflags);
/* Prepare the pages through the present mapping, make a TB and link it. A duplicate's memory is
 * taken back. */
struct TranslationBlock *fake_gen(uint64_t pc, unsigned size, uint32_t flags, uint32_t cflags);
/* As above, a block of user code whose exits go through slots of the link sets. */
struct TranslationBlock *fake_gen_user(uint64_t pc, unsigned size);
/* As the executor does it: forget all TBs, and their memory. */
void fake_flush(void);

static inline size_t fake_index(const struct TranslationBlock *tb)
{
    return tb - fake.pool;
}

static inline bool fake_live(const struct TranslationBlock *tb)
{
    return tb->hashed && !(tb_cflags(tb) & CF_INVALID);
}

/* The address that exit n leads to while it is not chained. */
static inline uint64_t fake_stub(const struct TranslationBlock *tb, unsigned n)
{
    return tb->tc.ptr + 0x40 + 0x10 * n;
}

/* ---- shorthands of the unit tests ---- */

#define P(n) ((uint64_t)(n) << PAGE_SHIFT)

static inline struct TranslationBlock *gen(uint64_t pc, unsigned size)
{
    return fake_gen(pc, size, 0, 0);
}

static inline bool write_hits(tb_page_addr_t addr, unsigned len)
{
    bool hit;

    tb_invalidate_phys_page_fast(&fake_cpu[0], addr, len, 0, &hit);
    return hit;
}

static inline struct PageDesc *pd_of(tb_page_addr_t addr)
{
    return page_find(page_index(addr));
}

#endif
