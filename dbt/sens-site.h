/* SPDX-License-Identifier: MIT */
/*
 * Sensitive instructions, decoded, and where they are, by the host address of their exit: most exits are for one that was met before.
 * A valid TB's guest bytes cannot have changed, so neither has what they decode to. Owner: the CPU that translates.
 */
#ifndef DBT_SENS_SITE_H
#define DBT_SENS_SITE_H

#include "dbt/host.h"
#include "dbt/tb.h"
#include "dbt/translate-all.h"

struct sens_site {
    uint64_t host_pc;
    uint64_t flushes; /* tb_flush_count() when filled */
    uint64_t guest_pc;
    bool fast_exit;   /* emit_exit_fast(): rcx and r11 are spilled, nothing else */
    const struct TranslationBlock *tb;
    const struct tb_run *run;
    struct insn insn;
    uint8_t bytes[INSN_MAX_LEN];
};
#define SENS_SITES 512u /* power of two; direct-mapped */
extern struct sens_site sens_sites[SENS_SITES];

static inline struct sens_site *sens_site_slot(uint64_t host_pc)
{
    return &sens_sites[(host_pc ^ (host_pc >> 9)) & (SENS_SITES - 1)];
}

/* NULL: not known (any more). */
static inline const struct sens_site *sens_site_find(uint64_t host_pc)
{
    const struct sens_site *site = sens_site_slot(host_pc);

    return site->host_pc == host_pc && site->flushes == tb_flush_count() && !(tb_cflags(site->tb) & CF_INVALID) ? site : NULL;
}

/* The sensitive instruction at env.eip, whose exit in run of tb is host_pc. NULL if there is none (any more): bytes changed under a
 * stale TB may decode to anything, then the loop simply looks again; or the fetch raised an exception. */
const struct sens_site *sens_site_make(struct CPUState *cpu, const struct TranslationBlock *tb, const struct tb_run *run,
                                       uint64_t host_pc);
/* cpu_restore_state_from() for a site that was found. */
void sens_site_restore(struct CPUState *cpu, const struct sens_site *site, uint64_t host_pc);
/* Execute it, unless site is NULL. Returns whether it has retired: an instruction that raised an exception has not. */
bool sens_site_run(struct CPUState *cpu, const struct sens_site *site);

#endif
