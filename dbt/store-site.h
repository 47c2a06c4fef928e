/* SPDX-License-Identifier: MIT */
/*
 * Hot store sites: instructions that keep storing to pages with code and hit none of it. Their translations compare the
 * address with a memo, "a piece of a page known to be free of code, and its alias", and store there without a fault.
 */
#ifndef DBT_STORE_SITE_H
#define DBT_STORE_SITE_H

#include "dbt/tb.h"

#define STORE_SITES 256u /* power of two */
#define STORE_SITE_SLOTS (2 * STORE_SITES) /* data slots from 1 on: two for each */

/* How a site's translation looks (translate-site.c). */
enum site_kind {
    SITE_NONE,  /* its store cannot be checked inline */
    SITE_CONST, /* constant address: slot 0 = where to store: the alias, or the address itself */
    SITE_BASE,  /* [base + disp], rcx free: slot 0 = -lo, slot 1 = alias of lo - lo */
    SITE_ANY,   /* any address: slot 0 = -lo, slot 1 = alias of lo */
};

struct store_site {
    tb_page_addr_t ram;   /* of the instruction */
    bool used, user;      /* user: translated for CPL 3 */
    bool hot;             /* translated with a memo */
    bool armed;           /* the memo is valid */
    uint8_t kind;         /* enum site_kind */
    uint16_t span;        /* bytes from lo in which a store may begin: 1, 32, 256 or 2048 */
    uint8_t moves;        /* memos that replaced a valid one, since the span was chosen */
    uint8_t changes;      /* of the span */
    uint16_t armed_at;    /* armed: its place among those that are */
    uint16_t size;        /* bytes that a store writes */
    uint32_t misses;      /* since it is known */
    uint32_t idle;        /* ticks without being armed */
    uint64_t va;          /* SITE_CONST: its address; else of the last miss */
    tb_page_addr_t first, last; /* armed: what it may write, in RAM */
};

/* Misses until a site becomes hot; 0: never. Set before the guest runs. */
extern unsigned store_site_threshold;

enum site_kind store_site_kind(const struct insn *insn);
/* How many sites are hot. Written by store-site.c only. */
extern unsigned store_sites_hot;
/* May there be a hot site on ram's page? Another page may have the same hash. */
bool store_site_page_hot(tb_page_addr_t ram);
/* For the translator: the site at ram, if it is hot and insn is what made it so; else NULL. */
const struct store_site *store_site_find_hot(tb_page_addr_t ram, bool user, const struct insn *insn);
/* Its first slot. */
uint32_t store_site_slot(const struct store_site *site);

/*
 * The store `insn` at env.eip, in the TB that contains host_pc, is about to write [va, va + len) and hits no TB. Counts, and
 * perhaps makes the site hot (killing its translations) or renews its memo.
 */
void store_site_miss(struct CPUState *cpu, uint64_t host_pc, const struct insn *insn, gva_t va, uint64_t len);
/* Time passes: called at host interrupts. Memos are forgotten now and then, and what is not renewed becomes plain again. */
void store_sites_tick(struct CPUState *cpu);
/* Aliases have gone, or all translations: every memo is invalid. */
void store_sites_disarm(void);
/* No memo covers code, and none that is not armed leads anywhere. Returns the number of violations, each logged. */
int store_sites_check(void);
/* Call fn for each site whose instruction, or whose memo, lies on the page of addr. */
void store_site_for_each(tb_page_addr_t addr, void (*fn)(const struct store_site *site));

#endif
