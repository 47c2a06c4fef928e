/* SPDX-License-Identifier: MIT */
/* The seam of mm/ on bare metal, except mm_guest_written(), which is the fault code's. One CPU: no
 * shoot-downs. */
#include "mm/host.h"

#include "kernel/lib/log.h"
#include "kernel/x86.h"
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

void host_invlpg(gva_t va)
{
    invlpg(va);
}

void host_tlb_flush(void)
{
    write_cr3(read_cr3()); /* all but the kernel's global pages */
}
