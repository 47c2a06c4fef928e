/* SPDX-License-Identifier: MIT */
/* The write-fault side of SMC: QEMU's notdirty_write (accel/tcg/cputlb.c) and page_unprotect, carried by a #PF. */
#ifndef DBT_NOTDIRTY_H
#define DBT_NOTDIRTY_H

#include "dbt/tb.h"

enum page_unprotect_result {
    UNPROTECT_NOT_OURS, /* no page with code among those that the instruction writes */
    UNPROTECT_RETRY,    /* nothing is left on the page: the store may be repeated as it is */
    UNPROTECT_LEAVE,    /* leave the TB: the store is redone alone, cflags_next_tb and smc_range[] are set */
};

/*
 * A store of the guest instruction at env.eip (state exact) faulted at fault_va, in a page that holds or held
 * translated code. Invalidates exactly the TBs that overlap the bytes it is about to write: the extent comes from
 * decoding the instruction, never from the fault address. ram: where fault_va lies, if known (or TB_PAGE_ADDR_INVALID); tb, host_pc: where in the code cache it was.
 */
enum page_unprotect_result page_unprotect(struct CPUState *cpu, gva_t fault_va, tb_page_addr_t ram,
                                          const struct TranslationBlock *tb, uint64_t host_pc);

/*
 * smc = check: the store at env.eip (state exact), an instruction of tb whose check is at host_pc, is about to be made, and may meet code.
 * Invalidates exactly the TBs that overlap what it writes, and makes known what else the pages hold. UNPROTECT_RETRY: it may go
 * on, since nothing traps; UNPROTECT_LEAVE: tb is among the dead, or the store has to be cut; then as above.
 */
enum page_unprotect_result check_store(struct CPUState *cpu, const struct TranslationBlock *tb, uint64_t host_pc);

/*
 * Complete the store at env.eip, which faulted at fault_va on a page that is tracked for whatever reason, while the page stays
 * tracked: cflags_next_tb and smc_range[] are set, and the caller leaves the TB (FAULT_REDO). Kills no TB: where the page may
 * hold code, page_unprotect() comes first, and this follows only if that did not return UNPROTECT_LEAVE.
 */
void notdirty_redo(struct CPUState *cpu, gva_t fault_va);

/*
 * The redo TB has run, at least in part. Everything else that its store hits died in page_unprotect(), and nothing but the
 * redo TB has been translated since: if it has overwritten itself, it is stale. smc_range[] stays until the instruction is
 * done, so that a redo that faults on a second page ends up with windows on both.
 */
void notdirty_done(struct CPUState *cpu, struct TranslationBlock *tb);

#endif
