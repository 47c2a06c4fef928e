/* SPDX-License-Identifier: MIT */
/*
 * How stores to a page with translations are noticed, page by page (docs/smc-states.md): by write protection, or, where that
 * faults too often, by translations that compare their own bytes whenever they are entered.
 */
#ifndef DBT_PAGE_STATE_H
#define DBT_PAGE_STATE_H

#include "dbt/tb.h"

/* Keys of notdirty.conf (docs/smc-states.md). Owner: whoever starts the guest, before it runs. */
struct smc_policy {
    bool adaptive;              /* pages may change state; off: all are protected, always */
    bool check;                 /* smc = check: stores are checked inline (store-table.h), and no page is protected for code */
    bool precise;               /* off: a store to the running TB does not end it (debugging aid) */
    uint32_t self_check_faults; /* write faults that hit no TB, until a page's TBs check themselves; 0 = never */
    uint32_t self_check_hits;   /* the same for faults that hit one; 0 = never */
    uint32_t quiet_ticks;       /* host ticks without a write, until the page is protected again */
    uint32_t data_imm_hits;     /* writes to just an immediate, until it is loaded from memory; 0 = never */
    uint32_t bulk_faults;       /* faults at ascending addresses, until the page is given up to them; 0 = never */
    uint32_t disarm_faults;     /* writes that a page met again and again stays protected for without a TB; 0 = given back at once */
};
extern struct smc_policy smc_policy;

/* Called by tb_maint_init(). */
void page_state_init(void);

/*
 * A store from host_pc to [start, start + len), within the page of pd, has faulted, and the TBs that it overlaps are dead; hit:
 * there were any. May change the page's state, and then kills all its TBs. Returns true if the running TB was among them.
 * Context: as tb_invalidate_phys_range().
 */
bool page_state_fault(struct CPUState *cpu, struct PageDesc *pd, tb_page_addr_t start, unsigned len, uint64_t host_pc,
                      bool hit);

/* The page is protected now, and was not. Lock: pd->lock. */
void page_state_armed(struct PageDesc *pd);
/* A store has just killed the page's last TB, or met it without any: does it stay protected nevertheless? Lock: pd->lock. */
bool page_state_lingers(struct PageDesc *pd);

/* tb, whose check has just failed, is out of date: kills it. Its bytes may be equal after all, which means that the guest's
 * page cannot be read where the TB looks; then the page stays protected from now on. */
void self_check_failed(struct CPUState *cpu, struct TranslationBlock *tb);
/* The page can be executed but not read where the TB looks: it stays protected from now on. */
void page_state_pin(struct CPUState *cpu, tb_page_addr_t addr);

/* A host tick. Only counts: callable from interrupt context. */
void page_state_tick(void);
/* After ticks: send quiet pages back to protection. Not from inside the code cache. */
void page_state_poll(struct CPUState *cpu);

/* For the monitor's prompt. */
const char *page_state_name(const struct PageDesc *pd);

#endif
