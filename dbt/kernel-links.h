/* SPDX-License-Identifier: MIT */
/*
 * What lasting links of the guest's kernel rest on: jumps, look-up entries and cached look-ups that lead to blocks on global pages are not
 * undone by a write to CR3, and need not be by what ends global translations too (CR4.PGE, INVLPG) as long as the page-table entries that map
 * these pages say what they said. docs/tb-life.md. Owner of everything here: the CPU that translates.
 */
#ifndef DBT_KERNEL_LINKS_H
#define DBT_KERNEL_LINKS_H

#include <stdbool.h>
#include <stdint.h>

struct CPUState;
struct TranslationBlock;

#define KERNEL_LINK_PAGES   4096u /* one more, and all begin anew */
#define KERNEL_LINK_ENTRIES 4096u
#define KERNEL_LINK_ROOTS   4u    /* entries of the top-level table */

struct kernel_link_stats {
    uint64_t kept, lost; /* times that they were compared and still right; that they were not, or could not be compared */
    uint64_t pages;      /* pages whose mapping had changed: their blocks died, the other links were kept */
};
extern struct kernel_link_stats kernel_link_stats; /* read by anyone */

/* May lasting links lead to tb, whose pages are mapped global now? Then they are among the pages noted. False: not until all are
 * forgotten. Only for TBs of the guest's kernel, at its privilege. */
bool kernel_links_cover(struct CPUState *cpu, const struct TranslationBlock *tb);
/* Is what was noted still so in the present address space? The blocks of single pages that are mapped otherwise now die. False: the caller
 * must undo all lasting links and call kernel_links_forget(). */
bool kernel_links_same(struct CPUState *cpu);
void kernel_links_forget(void);

#endif
