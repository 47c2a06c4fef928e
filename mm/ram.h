/* SPDX-License-Identifier: MIT */
/*
 * Guest RAM: one RAMBlock, contiguous in host physical memory, 2 MiB aligned. ram_addr_t is the offset in it. Guest
 * physical layout: [0, min(size, 3 GiB)) and, if larger, the rest at 4 GiB. All of the first MiB is RAM (the legacy VGA
 * and ROM windows behave as shadow RAM); what the guest's memory map says of it is the loader's affair.
 */
#ifndef MM_RAM_H
#define MM_RAM_H

#include "kernel/lib/types.h"

#define GUEST_RAM_LOW_MAX 0xc0000000ull

/* 0, -ENOMEM (not enough contiguous memory), -EINVAL (size not a multiple of 2 MiB, or 0). */
int guest_ram_init(uint64_t size);
uint64_t guest_ram_size(void);
bool gpa_to_ram(gpa_t gpa, ram_addr_t *ram); /* false: not RAM. Heeds the A20 gate. */
/* The A20 gate, open from the start: while it is closed, bit 20 of every guest physical address of RAM counts as 0, so each page has
 * two addresses. Whoever changes it drops all that is derived from guest page tables. */
void guest_ram_set_a20(bool open);
bool guest_ram_a20_open(void);
gpa_t ram_to_gpa(ram_addr_t ram);
hpa_t ram_to_hpa(ram_addr_t ram);
void *ram_to_virt(ram_addr_t ram);
bool hpa_to_ram(hpa_t hpa, ram_addr_t *ram); /* false: not a frame of guest RAM */
/* Is [gpa, gpa + len) all RAM and contiguous in the RAMBlock? */
bool gpa_range_is_ram(gpa_t gpa, uint64_t len);

#endif
