/* SPDX-License-Identifier: MIT */
/*
 * The tracking client TRACK_VGA: pages of the guest's framebuffer that were written since the last frame are copied to the
 * real one, at the same offset, since both have the same shape. Pages that the guest leaves alone cost nothing, those it draws on
 * one fault a frame.
 */
#include "kernel/framebuffer.h"

#include "kernel/lib/log.h"
#include "kernel/memory.h"
#include "kernel/stat.h"
#include "mm/dirty-log.h"
#include "mm/ram.h"
#include "mm/track.h"

/* Owner: the CPU that runs the guest. screen = NULL: none. */
static struct {
    volatile uint64_t *screen;
    ram_addr_t ram;
    uint64_t frames, pages; /* copied so far */
} fb;

static void copy_page(uint64_t offset)
{
    const uint64_t *from = ram_to_virt(fb.ram + offset);
    volatile uint64_t *to = fb.screen + offset / sizeof(*to);

    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*to); i++) {
        to[i] = from[i];
    }
    fb.pages++;
}

void framebuffer_start(const struct boot_framebuffer *host, gpa_t guest)
{
    uint64_t len = framebuffer_bytes(host);

    if (!len || !gpa_range_is_ram(guest, len) || !gpa_to_ram(guest, &fb.ram)) {
        return;
    }
    fb.screen = map_device(host->addr, len);
    stat_register("fb_frames", &fb.frames);
    stat_register("fb_pages", &fb.pages);
    dirty_log_start(TRACK_VGA, fb.ram, len);
    for (uint64_t offset = 0; offset < len; offset += PAGE_SIZE) {
        copy_page(offset); /* what the firmware left goes */
    }
    fb.pages = 0;
    LOG(BOOT, "framebuffer: %ux%u at %#lx, shown at %#lx", host->width, host->height, guest, host->addr);
}

bool framebuffer_dirty(void)
{
    return fb.screen && dirty_log_count(TRACK_VGA);
}

void framebuffer_update(void)
{
    ram_addr_t page = fb.ram;

    if (!framebuffer_dirty()) {
        return;
    }
    /* Tracked again before it is copied: what is written meanwhile is in the next frame. */
    while (dirty_log_next(TRACK_VGA, &page)) {
        copy_page(page - fb.ram);
    }
    fb.frames++;
}
