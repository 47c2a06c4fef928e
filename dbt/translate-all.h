/* SPDX-License-Identifier: MIT */
/* Making TBs, throwing them all away, and finding guest state from a host PC (QEMU accel/tcg/translate-all.c). */
#ifndef DBT_TRANSLATE_ALL_H
#define DBT_TRANSLATE_ALL_H

#include "dbt/tb.h"
#include "dbt/translate.h"

/* Set up code buffer, page index, hash table and inline look-up. 0 or -ENOMEM. Once, after the seam is ready. */
int dbt_init(struct CPUState *cpu);

/*
 * Translate at pc. Returns the linked TB; NULL with cpu->exception_index set if the fetch faults. May flush all TBs: any
 * TB pointer held across the call is dead if tb_flush_count() changed.
 */
struct TranslationBlock *tb_gen_code(struct CPUState *cpu, uint64_t pc, uint32_t flags, uint32_t cflags);
/* Throw away all translations. Not from inside the code cache. */
void tb_flush(struct CPUState *cpu);
uint64_t tb_flush_count(void);

/* Guest mappings changed (CR3, CR0, CR4, EFER): forget what is keyed by guest virtual address and may not be right any more. */
void dbt_tlb_flushed(struct CPUState *cpu, enum tlb_flush kind);
/* All that the guest's kernel code has linked across pages and cached by address. */
void dbt_forget_kernel_links(struct CPUState *cpu);
/* One page's mapping changed (INVLPG). */
void dbt_tlb_page_flushed(struct CPUState *cpu, gva_t va);

/*
 * What the guest state is at host_pc. GUEST_PC_EXACT: the start of a guest instruction, everything in place.
 * GUEST_PC_INSIDE: within one, before its effects (faults restore to it). GUEST_PC_TAIL: after its effects; only
 * rolling forward helps. GUEST_PC_NONE: no TB (a landing pad, a common stub): roll forward.
 */
enum guest_pc_state { GUEST_PC_NONE, GUEST_PC_EXACT, GUEST_PC_INSIDE, GUEST_PC_TAIL };
enum guest_pc_state tb_guest_pc(const struct TranslationBlock *tb, uint64_t host_pc, uint64_t *pc, uint16_t *spilled);

/*
 * One host instruction, in tb and at `from` if that is in it, has led to host_pc. Was it no more than what is put in front of a guest instruction
 * (emit_settle_flags(), emit_block_end_of_qemu()), so that this one is still to come?
 */
bool tb_insn_to_come(const struct TranslationBlock *tb, uint64_t from, uint64_t host_pc);
/* Was host_pc reading the guest's code, so that a page fault there is one of instruction fetch? */
bool tb_fault_is_fetch(const struct TranslationBlock *tb, uint64_t host_pc);

/* Make env exact for the guest instruction at host_pc (not in a tail): eip, and registers from their spill slots.
 * False if host_pc is in no TB. */
bool cpu_restore_state(struct CPUState *cpu, uint64_t host_pc);
/* The same if host_pc's TB and run are known. */
void cpu_restore_state_from(struct CPUState *cpu, const struct TranslationBlock *tb, const struct tb_run *run, uint64_t host_pc);

/* Fetch and decode the guest instruction at pc; *bytes points to its bytes, perhaps in copy[INSN_MAX_LEN]. False with
 * cpu->exception_index set if the fetch faults. */
bool cpu_fetch_insn(struct CPUState *cpu, uint64_t pc, struct insn *insn, uint8_t *copy, const uint8_t **bytes);

#endif
