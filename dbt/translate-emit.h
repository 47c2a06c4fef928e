/* SPDX-License-Identifier: MIT */
/* Shared by the files of translation only: translator.c, translate.c, translate-branch.c, translate-sens.c. */
#ifndef DBT_TRANSLATE_EMIT_H
#define DBT_TRANSLATE_EMIT_H

#include "dbt/host.h"
#include "dbt/translate.h"

/* ---- translator.c ---- */

/* The bytes of instruction i, in the page or in the copy of a crossing one. */
const uint8_t *insn_bytes(const struct DisasContext *s, unsigned i);
/* The same as they are to be emitted; good until the next call. */
const uint8_t *insn_clean_bytes(struct DisasContext *s, unsigned i);
static inline const uint8_t *insn_host_bytes(struct DisasContext *s, unsigned i)
{
    return unlikely(s->insn[i].pfx & PFX_DEAD_REX) ? insn_clean_bytes(s, i) : insn_bytes(s, i);
}
/* cli, sti, pushf, swapgs and mov from CR2 of the guest's kernel work on the vCPU page without leaving the cache. */
bool sens_is_inline(const struct DisasContext *s, const struct insn *insn);
bool ends_block(const struct DisasContext *s, const struct insn *insn);

/* ---- translate.c ---- */

/* Begin a run at this emission point. */
void add_run(struct DisasContext *s, enum run_kind kind, uint8_t arg, uint32_t guest_off, uint16_t spilled);
/* Start or continue a verbatim stretch at this emission point. */
void add_copy_run(struct DisasContext *s, uint32_t guest_off);
uint64_t spill_addr(const struct DisasContext *s, unsigned reg);
void emit_spill(struct DisasContext *s, unsigned reg);
/*
 * In front of a store that may fault. QEMU's TCG computes flags late, from the last operation's operands, and setcc m
 * overwrites those before it stores: if the store faults, which it does more often here than in the guest's own view, the flags are
 * wrong, and so is what is stored when it is redone. A cmovp that moves nothing has the flags computed before.
 */
static inline void emit_settle_flags(struct DisasContext *s, unsigned i)
{
    const struct insn *in = &s->insn[i];

    if (unlikely(in->map == 1 && (in->opcode & 0xf0) == 0x90 && in->enc == ENC_LEGACY && in->is_mem)) {
        add_run(s, RUN_GLUE, RUN_BOUNDARY, s->insn_off[i], 0);
        emit_bytes(&s->e, "\x48\x0f\x4a\xc0", 4); /* cmovp %rax, %rax */
    }
}
/* int3: leave the cache with all registers in place. */
void emit_exit_trap(struct DisasContext *s, enum run_kind kind, uint8_t arg, uint32_t goff);

/* ---- translate-branch.c: one instruction each; next, target: guest addresses ---- */

void emit_jmp_insn(struct DisasContext *s, unsigned i, uint64_t target);
void emit_jcc(struct DisasContext *s, unsigned i, uint64_t next, uint64_t target);
void emit_loop(struct DisasContext *s, unsigned i, uint64_t next, uint64_t target);
void emit_call(struct DisasContext *s, unsigned i, uint64_t next, uint64_t target);
void emit_ret(struct DisasContext *s, unsigned i);
/* jmp r/m, call r/m */
void emit_indirect(struct DisasContext *s, unsigned i, uint64_t next);
/* Last, off the hot path: the exits that conditional jumps lead to, and the stubs that unchained exits lead to. */
void emit_far_exits(struct DisasContext *s);
/* The exit of a block that ends without a branch, at guest offset goff. */
void emit_fall_through(struct DisasContext *s, uint32_t goff);
void reset_exits(struct DisasContext *s);

/* Fill in the rel32 at `at` so that it leads to the present emission point. */
void patch_here(struct DisasContext *s, uint32_t at);
/* The guest target is in rcx, guest rcx is spilled, which the last run says: [push next;] go there. */
void emit_branch_to_rcx(struct DisasContext *s, uint32_t goff, bool call, uint64_t next);
/* mov r/m64, %rcx with the memory operand of jmp, call, push. Guest rcx still holds or is spilled and gone. */
void emit_load_rm_rcx(struct DisasContext *s, unsigned i, uint64_t next);
/* An exit here, to the same instruction, for a block of one instruction that is never chained. */
void emit_exit_again(struct DisasContext *s, uint32_t goff);

/* ---- translate-store.c ---- */

/* In a CF_ALIAS block: instruction i with its store sent to the alias. False, and nothing emitted, if it is none of those. */
bool emit_alias_store(struct DisasContext *s, unsigned i);
/* Push ret through the alias, before any effect of the call; registers in `spilled` are spilled already. */
void emit_push_return_alias(struct DisasContext *s, uint64_t ret, uint32_t goff, uint16_t spilled);
/* The instruction with its ModRM operand at [scratch], no segment. */
void emit_operand_at(struct emit *e, const struct insn *in, const uint8_t *bytes, unsigned scratch);
/* A register that neither the instruction nor `taken` names, fit for emit_operand_at(). R_NONE if there is none. */
unsigned pick_operand_scratch(const struct insn *in, uint32_t taken);

/* The instruction, whose operand has no index, with `index` (low) added to its address. */
void emit_operand_indexed(struct emit *e, const struct insn *in, const uint8_t *bytes, unsigned index);

/* ---- translate-site.c ---- */

/* Instruction i as a hot store site. False, and nothing emitted, if it is none. */
bool emit_site_store(struct DisasContext *s, unsigned i);

/* ---- translate-check-store.c ---- */

/* smc = check: the check that comes before instruction i, if it stores. */
void emit_store_check(struct DisasContext *s, unsigned i);

/* ---- translate-check.c ---- */

/* Can guest code at va be read without a base register? */
bool guest_code_reachable(const struct DisasContext *s, uint64_t va);
/* ModRM and what follows for a register and the memory operand at va, which is reachable; nothing may follow it. */
void emit_guest_code_operand(struct DisasContext *s, unsigned reg, uint64_t va);

/* ---- translate-sens.c ---- */

void emit_sens(struct DisasContext *s, unsigned i);
/* The cheap exit for what happens often: `syscall` after spilling what it clobbers. */
void emit_exit_fast(struct DisasContext *s, enum run_kind kind, uint32_t goff);

#endif
