/* SPDX-License-Identifier: MIT */
/* The kernel image as linker.ld lays it out: segment bounds, and offsets from its first byte. */
#ifndef KERNEL_IMAGE_H
#define KERNEL_IMAGE_H

#include "kernel/lib/types.h"
#include "mm/layout.h"

extern const char text_start[], text_end[], rodata_start[], rodata_end[], data_start[],
    kernel_end[];

/* Where p, a pointer into the image, lies from KERNEL_VMA; add the physical base for a physical
 * address. */
static inline uint64_t image_offset(const void *p)
{
    return (uintptr_t)p - KERNEL_VMA;
}

static inline uint64_t image_size(void)
{
    return image_offset(kernel_end);
}

#endif
