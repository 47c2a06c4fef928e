/* SPDX-License-Identifier: MIT */
/*
 * Guest memory by guest virtual address, as the monitor accesses it for the guest: exception frames, descriptors, operands.
 * The accesses themselves are declared in kernel/vcpu/vcpu.h (cpu_ldub, cpu_stub), guest_ram_written() in kernel/run.h.
 */
#ifndef KERNEL_GUEST_MEMORY_H
#define KERNEL_GUEST_MEMORY_H

#include "kernel/lib/types.h"

/*
 * The monitor's TLB for them ends where the CPU's does: at writes to control registers, and for one page (of 2 MiB, too) at INVLPG
 * and when a page fault there is given to the guest.
 */
void guest_tlb_flush(void);
void guest_tlb_drop(gva_t va);

#endif
