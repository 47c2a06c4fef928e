/* SPDX-License-Identifier: MIT */
/*
 * Immediates and displacements that the guest patches again and again are data: translations load them from guest memory, and a
 * write to them hits nothing (docs/smc-states.md).
 */
#ifndef DBT_DATA_IMM_H
#define DBT_DATA_IMM_H

#include "dbt/translate.h"

void data_imm_init(void);
/* tb dies because bytes [first, last] of it, and nothing else, were written. Lock: tb_invalidate_lock. */
void data_imm_note(struct CPUState *cpu, const struct TranslationBlock *tb, unsigned first, unsigned last);
/* Is [addr, addr + len) an immediate or a displacement that has been patched often enough? */
bool data_imm_is_hot(tb_page_addr_t addr, unsigned len);

/* translate-imm.c. Can the instruction take its immediate (its rel32) from memory, or the displacement of its operand? */
bool imm_can_be_loaded(const struct insn *insn);
bool disp_can_be_loaded(const struct insn *insn);
/* Fill in the TB's holes, from s->insn; before anything is emitted. */
void find_holes(struct DisasContext *s);
/* Emit instruction i with one of the two loaded; false if it is to be translated as usual. */
bool emit_imm_load(struct DisasContext *s, unsigned i);

#endif
