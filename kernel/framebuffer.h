/* SPDX-License-Identifier: MIT */
/* The guest's framebuffer: a piece of its RAM, of the screen's own shape, whose written pages are copied to the screen. */
#ifndef KERNEL_FRAMEBUFFER_H
#define KERNEL_FRAMEBUFFER_H

#include "boot/boot-info.h"
#include "kernel/lib/types.h"

/* Bytes that a framebuffer takes, in whole pages; 0 if there is none, or none that can be used. */
static inline uint64_t framebuffer_bytes(const struct boot_framebuffer *fb)
{
    uint64_t len = (uint64_t)fb->pitch * fb->height;

    return fb->addr && !(fb->addr & ~PAGE_MASK) && fb->pitch >= (uint64_t)fb->width * 4
               ? ALIGN_UP(len, (uint64_t)PAGE_SIZE)
               : 0;
}

/* Begin to show guest RAM at gpa `guest` on the screen `host`. Once, when shadow tables and dirty log are there. */
void framebuffer_start(const struct boot_framebuffer *host, gpa_t guest);
/* Is there anything to copy? Safe in the tick. */
bool framebuffer_dirty(void);
/* One frame: copy the pages that were written since the last. Not in the tick. */
void framebuffer_update(void);

#endif
