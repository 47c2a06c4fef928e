/* SPDX-License-Identifier: MIT */
/* Where translations live: the code cache, its data slots, the TB structures and their search data. Filled in order,
 * emptied all at once by tb_flush(). */
#ifndef DBT_CODE_BUFFER_H
#define DBT_CODE_BUFFER_H

#include "dbt/host.h"
#include "dbt/translate.h"

#define CODE_ALIGN 8u /* of every piece of code */

/* 0 or -ENOMEM. */
int code_buffer_init(void);
const struct code_gen_region *code_buffer_region(void);
/* A TB with all fields zero and tc.ptr set to where its code will go; NULL if anything is used up: tb_flush() and retry. */
struct TranslationBlock *tcg_tb_alloc(void);
/* Copy the emitted code and runs into place and make the TB findable by host PC. */
void code_buffer_commit(struct TranslationBlock *tb, struct DisasContext *s);
/* Append a piece of code that is no TB (a landing pad). Returns its address, 0 if the buffer is full. */
uint64_t code_buffer_append(const struct emit *e);
uint64_t code_buffer_next(void);
/* What comes next begins a page. tcg_tb_alloc() has seen to it that there is room. */
void code_buffer_next_page(void);
/* The next free data slot. */
uint32_t code_buffer_first_slot(void);
/* Forget all TBs and code. */
void code_buffer_reset(void);
/* Address of the common tail of missed look-ups, and the address after its exit instruction. */
uint64_t code_buffer_miss_stub(void);
uint64_t code_buffer_miss_exit(void);
uint64_t code_buffer_used(void);

/* The run that covers host_pc in tb (tcg_tb_lookup(host_pc) == tb). */
const struct tb_run *tb_find_run(const struct TranslationBlock *tb, uint64_t host_pc);

#endif
