/* SPDX-License-Identifier: MIT */
/*
 * Inline look-up of indirect branch targets: a table of 64 Ki landing-pad addresses, indexed by the low 16 bits of the
 * guest target, one table a view. A landing pad verifies that the target is its own. See docs/translation.md.
 */
#ifndef DBT_JUMP_TABLE_H
#define DBT_JUMP_TABLE_H

#include "dbt/tb.h"

#define JUMP_TABLE_ENTRIES 65536u

/* Point all entries of the kernel view at the miss stub. After code_buffer_init(). */
void jump_table_init(void);
/* Make tb reachable by indirect branches in the present mapping; makes its landing pad on first use. Does nothing if the code
 * buffer is full or tb must not be reached so. */
void jump_table_add(struct TranslationBlock *tb);
/* A landing pad for a TB at pc that is appended to the code buffer next: it falls into it. Returns its address, 0 if the buffer
 * is full. */
uint64_t jump_table_pad_before(uint64_t pc);
/* Guest mappings changed, or all TBs are about to die: forget every entry of the kernel view, or those of TBs on non-global pages.
 * Cost is proportional to the entries in use. */
void jump_table_flush(bool all);
/* I3 for the kernel view: no entry leads to a dead TB. Returns the number of violations, each logged. (The user view's: link-check.c.) */
int jump_table_check(void);

#endif
