/* SPDX-License-Identifier: MIT */
/*
 * Link sets: what is keyed by guest virtual address of user code, kept for each of the address spaces used last, so that a
 * write to CR3 exchanges it instead of undoing it:
 *
 *   table      inline look-up table of indirect targets (jump-table.h)
 *   slots      targets of the jumps between guest pages: exit n of a TB has the same slot in every set
 *   jmp_cache  the loop's look-ups
 *   pages      the guest pages that any of the above leads to, with the page-table entries that map them
 *
 * The host shows translated code of the guest-user view the table and slots of the present set, at addresses that never change. All
 * that is in a set was right when it was put there; whether it still is, is decided when the set is entered, by comparing the
 * page-table entries: as the hardware's TLB is empty after a write to CR3. docs/tb-life.md.
 */
#ifndef DBT_LINK_SET_H
#define DBT_LINK_SET_H

#include "dbt/host.h"

#define LINK_SETS       16u
#define LINK_JMP_CACHE  1024u /* entries, power of two */
#define LINK_PAGES      1024u /* pages in a set at most: one more, and the set begins anew */
#define LINK_UPPER      64u   /* page-table entries above those that map the pages */
#define LINK_TABLE_LOG  8192u
#define LINK_TABLE_ENTRIES 65536u
#define LINK_SPACE_NONE (~(uint64_t)0)

struct link_set {
    uint64_t space;  /* CR3's address bits, or LINK_SPACE_NONE */
    uint64_t stamp;  /* when it was entered last */
    unsigned index;  /* of the set, as the host knows it */
    uint64_t *table;
    uint64_t *slots;
    struct TranslationBlock **dest; /* by slot: where it leads, NULL = to the exit's own stub */
    uint32_t *next;                 /* by slot: the next jump on dest's list */
    uint32_t *log;                  /* slots that were linked; some may not be any more */
    uint32_t logged;
    uint32_t slots_ready;           /* slots [0, slots_ready) have been written */
    uint32_t table_used;            /* > LINK_TABLE_LOG: more than the log holds */
    uint16_t table_log[LINK_TABLE_LOG];
    struct TranslationBlock *jmp_cache[LINK_JMP_CACHE];
    unsigned pages, uppers;
    struct {
        gva_t va;
        tb_page_addr_t ram;
    } page[LINK_PAGES];
    uint16_t page_hash[2 * LINK_PAGES]; /* 1 + index of a page; 0 = empty */
    struct code_path_entry leaf[LINK_PAGES], upper[LINK_UPPER];
};

struct link_stats {
    uint64_t hits, misses;  /* address spaces entered whose set was there and right; which began anew */
    uint64_t changed;       /* of the latter: a page-table entry had changed */
    uint64_t resets, jumps; /* sets emptied; jumps through slots made */
};
extern struct link_stats link_stats; /* owner: the CPU that translates; read by anyone */

/* ---- link-set.c ---- */

/* Set up; the first set becomes the present one. 0 or -ENOMEM. After code_gen_alloc(). */
int link_sets_init(const struct code_gen_region *region, uint64_t miss_stub);
/* The guest has entered the address space, or has flushed what it changed in it (INVLPG): make its set the present one, as far as it
 * is right. */
void link_set_enter(uint64_t space);
/* What the guest may run has changed in a way that entering would not notice: empty all sets. */
void link_sets_forget(void);
/* All TBs are about to vanish. */
void link_sets_flush(void);
/* May links of the present set lead to tb? Then its pages are (now) among the set's. Only for TBs of CPL 3. */
bool link_set_cover(struct CPUState *cpu, const struct TranslationBlock *tb);
/* As above, without making it so. */
bool link_set_covers(struct link_set *set, const struct TranslationBlock *tb);
/* The jump cache's entry for pc: the CPU's for the guest's kernel, the present set's for its programs. */
struct TranslationBlock **tb_jmp_cache_slot(struct CPUState *cpu, uint64_t pc, uint32_t flags, uint32_t cflags);
/* The inline look-up table: let tb's index lead to its pad in the present set; undo that in all sets. */
void link_table_add(struct TranslationBlock *tb);
void link_table_remove(struct TranslationBlock *tb);
void link_jmp_cache_remove(const struct TranslationBlock *tb);
struct link_set *link_set_present(void);
/* Set i, or NULL if it has no memory. */
struct link_set *link_set_get(unsigned i);

/* ---- link-jmp.c: jumps through slots ---- */

int link_jmp_init(uint32_t count);
/* Slots that are still free. */
uint32_t link_slots_left(void);
uint32_t link_first_slot(void);
/* Slots up to `next` are taken. */
void link_slots_commit(uint32_t next);
/* tb's exits that have slots are known to be tb's, and lead to their stubs. */
void link_slots_own(struct TranslationBlock *tb);
/* Write the slots that were taken since the set was the present one. */
void link_slots_ready(struct link_set *set);
/* Let exit n of tb, which has a slot, lead to next in the present set, unless either forbids it or next is not covered. */
void link_jmp_add(struct TranslationBlock *tb, unsigned n, struct TranslationBlock *next);
/* A dying TB's jumps, out and in, in all sets. */
void link_jmp_kill(struct TranslationBlock *tb);
/* Undo all jumps of a set; without touching TBs: they have vanished. */
void link_jmp_forget(struct link_set *set, bool vanished);
void link_slots_reset(void);

/* For the checker: the exit of a slot, tagged; what follows a jump on its list, and where it leads. */
uintptr_t link_slot_owner(uint32_t slot);
uint32_t link_node_next(uint32_t node);
const struct TranslationBlock *link_node_dest(uint32_t node);
/* What unused table entries lead to. Are the tables for nothing but user code? */
uint64_t link_table_miss(void);
bool link_tables_private(void);

/* ---- link-check.c ---- */

/* Compare the sets with each other and with the TBs; returns the number of violations, each logged. */
int link_sets_check(void);

static inline bool exit_is_link(const struct TranslationBlock *tb, unsigned n)
{
    return tb->jmp_slot[n] & JMP_SLOT_LINK;
}

/* Code of the guest-user view, whose links are kept here. */
static inline bool tb_is_user(const struct TranslationBlock *tb)
{
    return (tb->flags & HF_CPL_MASK) == 3;
}

#endif
