/* SPDX-License-Identifier: MIT */
/*
 * Simulated hardware for tests of the shadow tables: the MMU in ring 3 on a shadow root, with a TLB
 * and a cache of page-table pointers that forget only what host_invlpg() and host_tlb_flush() tell
 * them to. Entries of all roots live side by side (as with PCIDs), which is stricter than one
 * root at a time.
 */
#ifndef TESTS_HOST_SHADOW_SIM_H
#define TESTS_HOST_SHADOW_SIM_H

#include "mm/shadow.h"
#include "tests/host/mmu-model.h"

/* What one ring 3 access at va finds. */
struct sim_result {
    bool ok;
    bool present;  /* mapped for reading at least */
    bool writable; /* as mapped */
    bool nx;
    hpa_t hpa;
};

/* Installs the hooks of mm-host. */
void sim_init(void);
struct sim_result sim_access(enum view view, gva_t va, bool write);
/* As the tables are now, past all caches; fills none. */
struct sim_result sim_walk(enum view view, gva_t va);
/* The leaf entry that the hardware would use now, NULL if none: for planting errors. */
uint64_t *sim_leaf(enum view view, gva_t va);
/* Does any cached translation of any root allow writes to [hpa, hpa + 4 KiB)? */
bool sim_tlb_can_write(hpa_t hpa);
/* Is anything cached that reaches the frame? */
bool sim_tlb_reaches(hpa_t hpa);
unsigned sim_invlpg_count(void), sim_flush_count(void);

/* A digest of all that ring 3 can reach through the view: address, frame and rights of every page.
 */
uint64_t sim_digest(enum view view);

/* ---- the guest's side ---- */

/* The present guest paging, as handed to shadow_set_paging(). */
extern struct guest_paging sim_paging;
/* What the guest's own MMU would say at this moment, without side effects. */
struct mmu_result sim_guest(enum view view, gva_t va, bool write);
uint64_t *sim_guest_word(gpa_t gpa); /* must be RAM */

#endif
