/* SPDX-License-Identifier: MIT */
/* From the boot stage's page tables to the kernel's own. */
#ifndef KERNEL_MEMORY_H
#define KERNEL_MEMORY_H

#include "boot/boot-info.h"
#include "kernel/lib/types.h"

/*
 * Give free RAM to the frame allocator, build the kernel's page tables (image by permission,
 * physmap, nothing below KERNEL_VMA) and switch to them. The boot stack keeps working. Panics if it
 * cannot.
 */
void memory_init(const struct boot_info *bi);

/* Map a device's registers, uncached; page-aligned. Never unmapped. */
volatile void *map_device(hpa_t hpa, uint64_t len);

#endif
