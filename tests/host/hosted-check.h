/* SPDX-License-Identifier: MIT */
/* The hosted build under smc = check. */
#ifndef TESTS_HOST_HOSTED_CHECK_H
#define TESTS_HOST_HOSTED_CHECK_H

#include "dbt/store-table.h"

#define HOSTED_STORE_TABLE 0x10200000ull /* where translated code sees the table of stores */

/* Our own mapping of it. Set by hosted_init(). */
extern uint64_t *hosted_store_table;

/* Do stores to the page fault because it has code? pd may be NULL. */
bool hosted_page_traps(const struct PageDesc *pd);

/* The GS base of guest code. */
void hosted_set_gs_base(uint64_t base);

/* From now on code changes are found by checks in front of stores, or by mprotect again. Forgets all translations. */
void hosted_check_stores(bool on);

#endif
