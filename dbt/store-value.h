/* SPDX-License-Identifier: MIT */
/* Stores that write what is there already hit nothing (docs/smc-states.md). */
#ifndef DBT_STORE_VALUE_H
#define DBT_STORE_VALUE_H

#include "dbt/cpu.h"
#include "dbt/decode.h"
#include "dbt/tb.h"

/*
 * Are bytes [va, va + len) of one page, which lie at ram, certainly the same after the store of insn, with cpu's exact state
 * before it, to `write`?
 */
bool store_changes_nothing(const struct CPUState *cpu, const struct insn *insn, const struct insn_access *write, gva_t va, uint64_t len,
                           tb_page_addr_t ram);

#endif
