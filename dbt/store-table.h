/* SPDX-License-Identifier: MIT */
/*
 * smc = check: how translated stores know that they meet no code, as QEMU's softmmu knows it from its TLB. A table for each view,
 * direct-mapped by bits 8 to 23 of the guest's address, has an entry for each granule of 256 bytes. If nothing in the granule is translated
 * (QEMU: the page's TLB entry without TLB_NOTDIRTY): 64 KiB less the address at which code, or the next page, may begin. So a
 * store that begins in the granule meets no code if its last byte and the entry add up to less than 64 KiB; no other address with
 * the same index comes so near. Else: a value that gives no small number with any address. Translated code looks
 * (translate-check-store.c), the funnel fills (notdirty.c), linking a TB takes away.
 */
#ifndef DBT_STORE_TABLE_H
#define DBT_STORE_TABLE_H

#include "dbt/tb.h"

#define STORE_GRANULE       256u
#define STORE_TABLE_SPAN    65536u
#define STORE_TABLE_ENTRIES 65536u
#define STORE_TABLE_SIZE    (STORE_TABLE_ENTRIES * 8u)

/* All entries unknown. Before the guest runs, and only if smc_policy.check. */
void store_table_init(void);
/* A store to the page of va, which lies at ram in the present view, has left its TB to ask: make its clean granules known. The caller knows
 * that the guest may write there. */
void store_table_fill(struct CPUState *cpu, gva_t va, tb_page_addr_t ram);
/* [first, last] of a page has come to hold code, or (the whole page) may do so: no store may pass there unseen. */
void store_table_linked(struct PageDesc *pd, tb_page_addr_t first, tb_page_addr_t last);
/* A guest mapping has changed. */
void store_table_flush(void);
/* Does every entry tell the truth? The number of those that do not, each logged. */
int store_table_check(void);

#endif
