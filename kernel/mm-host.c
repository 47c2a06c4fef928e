/* SPDX-License-Identifier: MIT */
/* The seam of mm/ on bare metal, except mm_guest_written(), which is the fault code's. One CPU: no
 * shoot-downs. */
#include "mm/host.h"

#include "kernel/lib/log.h"
#include "kernel/x86.h"
#include "kernel/run.h"
#include "mm/frame.h"
#include "mm/kmap.h"
#include "mm/layout.h"

void *phys_to_virt(hpa_t hpa)
{
    ASSERT(hpa < PHYSMAP_SIZE);
    return (void *)(PHYSMAP_BASE + hpa);
}

hpa_t virt_to_phys(const void *p)
{
    ASSERT((uintptr_t)p - PHYSMAP_BASE < PHYSMAP_SIZE);
    return (uintptr_t)p - PHYSMAP_BASE;
}

/*
 * User addresses are accessed in ring 3 only, and without PCIDs only the entries of the root in CR3 are in the TLB: a flush
 * may wait until the next entry into ring 3, and is done there by the load of another root. Owner: this CPU.
 */
static hpa_t loaded_root = HPA_INVALID;
static bool tlb_stale;

void host_invlpg(gva_t va)
{
    if (!tlb_stale) {
        invlpg(va);
    }
}

void host_tlb_flush(void)
{
    tlb_stale = true;
}

void host_load_root(hpa_t root)
{
    if (root != loaded_root || tlb_stale) {
        loaded_root = root;
        tlb_stale = false;
        write_cr3(root);
    }
}

void host_drop_root(hpa_t root)
{
    if (root == loaded_root) {
        host_load_root(kmap_root());
    }
}
