/* SPDX-License-Identifier: MIT */
/*
 * Rule: what is drawn into the framebuffer of the boot information appears on the screen, in that shape. Draws a picture, says
 * so, waits for a byte on COM1, draws one more rectangle, waits again. The picture is computed by the test too: pixel (x, y) is
 * red x, green y, blue x ^ y, each modulo 256. Between the two it executes code in the framebuffer, patches it there and draws
 * the picture over it (SMC case 43): what runs is what is there, and what is on the screen, too.
 */
#include "tests/payloads/lib/payload.h"

#include "kernel/payload-abi.h"
#include "tests/payloads/lib/smc.h"

#define COM1_DATA 0x3f8
#define COM1_LSR  0x3fd
#define LSR_DR    1

static void wait_for_byte(void)
{
    while (!(inb(COM1_LSR) & LSR_DR)) {
    }
    inb(COM1_DATA);
}

static uint32_t pixel(const struct payload_info *info, uint32_t red, uint32_t green, uint32_t blue)
{
    uint32_t r = red & 255, g = green & 255, b = blue & 255;

    return info->fb_format ? b << 16 | g << 8 | r : r << 16 | g << 8 | b;
}

static volatile uint32_t *line(const struct payload_info *info, uint32_t y)
{
    return (volatile uint32_t *)(info->fb_addr + (uint64_t)y * info->fb_pitch);
}

static void draw_picture(const struct payload_info *info)
{
    for (uint32_t y = 0; y < info->fb_height; y++) {
        for (uint32_t x = 0; x < info->fb_width; x++) {
            line(info, y)[x] = pixel(info, x, y, x ^ y);
        }
    }
}

/* 100 x 20 pixels of red at (200, 300). */
static void draw_rectangle(const struct payload_info *info)
{
    for (uint32_t y = 300; y < 320; y++) {
        for (uint32_t x = 200; x < 300; x++) {
            line(info, y)[x] = pixel(info, 255, 0, 0);
        }
    }
}

static void draw_again(const struct payload_info *info, uint32_t y, uint32_t pixels)
{
    for (uint32_t x = 0; x < pixels; x++) {
        line(info, y)[x] = pixel(info, x, y, x ^ y);
    }
}

/* Two functions on one page: one is patched and then drawn over, the other keeps the page one with code meanwhile. */
static void execute_pixels(const struct payload_info *info)
{
    uint8_t *stays = (uint8_t *)line(info, 50), *patched = stays + 64;

    emit_return(stays, 0x77);
    for (uint32_t i = 0; i < 100; i++) {
        emit_return(patched, i * 0x01010101);
        if (call(patched, 0, 0) != i * 0x01010101 || call(stays, 0, 0) != 0x77) {
            fatal("code in the framebuffer, patched %u times, does something else", i);
        }
    }
    draw_again(info, 50, 32);
    printf("pixels executed\n");
}

int main(void)
{
    const struct payload_info *info = (const void *)entry_rdi;

    if (!info->fb_addr) {
        printf("no framebuffer\n");
        return 0;
    }
    for (uint32_t i = 0; i < info->mem_count; i++) {
        const struct payload_mem *m = &info->mem[i];

        if (m->type == PAYLOAD_MEM_RAM && info->fb_addr < m->base + m->len && m->base < info->fb_addr + 4096) {
            fatal("the framebuffer at %#lx lies in RAM that is free", info->fb_addr);
        }
    }
    printf("framebuffer %ux%u pitch %u\n", info->fb_width, info->fb_height, info->fb_pitch);
    draw_picture(info);
    printf("picture drawn\n");
    wait_for_byte();
    execute_pixels(info);
    draw_rectangle(info);
    printf("rectangle drawn\n");
    wait_for_byte();
    return 0;
}
