/* SPDX-License-Identifier: MIT */
/* The seam of mm/: what it needs from its environment (kernel/mm-host.c on bare metal, tests/host/mm-host.c in tests). */
#ifndef MM_HOST_H
#define MM_HOST_H

#include "kernel/lib/types.h"

/* The monitor's mapping of physical memory. */
void *phys_to_virt(hpa_t hpa);
hpa_t virt_to_phys(const void *p); /* only for pointers from phys_to_virt() */

/* Drop TLB entries for user addresses on every CPU that may hold them; returns after they are gone. */
void host_invlpg(gva_t va);
void host_tlb_flush(void);

/* The root is about to be freed: no CPU uses it on return, not even to run the monitor. */
void host_drop_root(hpa_t root);

/* Guest RAM [ram, ram + len) has been written by the monitor on behalf of the guest (A/D bits): same funnel as a store. */
void mm_guest_written(ram_addr_t ram, unsigned len);

/* Some guest address may lead elsewhere now, or nowhere: whoever remembers where one led forgets it, before guest code runs again. */
void mm_mapping_changed(void);

/* Aliases of guest pages have been dropped: whoever remembers one forgets it, before guest code runs again. */
void mm_alias_dropped(void);

#endif
