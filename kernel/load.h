/* SPDX-License-Identifier: MIT */
/*
 * Loads the guest (ELF64 payload or bzImage, told apart by content) into guest RAM and says in
 * which CPU state it starts. The same for both modes: translate hands guest_start to the virtual
 * CPU; native moves what was loaded to the same physical addresses of the host and jumps
 * (kernel/native.c).
 *
 * Guest physical memory below 1 MiB, as the loader fills it (docs/payload-abi.md):
 *
 *   0x01000  GDT            0x08000  payload: struct payload_info; Linux: struct boot_params
 *   0x02000  PML4           0x09000  command line (4 KiB)
 *   0x03000  PDPT           0x10000  stack, 64 KiB
 *   0x04000  4 PDs: 4 GiB identity, 2 MiB pages
 */
#ifndef KERNEL_LOAD_H
#define KERNEL_LOAD_H

#include "boot/boot-info.h"
#include "kernel/lib/conf.h"
#include "kernel/lib/types.h"

/* The CPU at the guest's first instruction: long mode, CPL 0. Not listed: IDT limit 0, LDT and TR
 * null, debug registers as after reset, FS and GS base 0, FCW 0x37f, MXCSR 0x1f80. */
struct guest_start {
    uint64_t gpr[16]; /* as env->regs */
    uint64_t rip, rflags;
    uint64_t cr0, cr3, cr4, efer;
    uint64_t gdt_base;
    uint16_t gdt_limit;
    uint16_t cs; /* flat 64-bit code */
    uint16_t ds; /* flat data, also for ss, es, fs, gs */
};

/* One range of the memory map that the guest is shown. */
struct load_mem {
    gpa_t base;
    uint64_t len;
    uint32_t type; /* enum boot_mem_type, as in e820 */
};
#define LOAD_MEM_MAX 64

/* A range of guest memory that the loader has filled (data or zeroes). */
struct load_range {
    gpa_t base;
    uint64_t len;
};
#define LOAD_RANGE_MAX 80

struct load {
    const struct boot_info *bi;
    const struct conf *conf;
    struct load_mem mem[LOAD_MEM_MAX]; /* ascending */
    unsigned mem_count;
    struct load_range range[LOAD_RANGE_MAX]; /* ascending, disjoint; in whole pages */
    unsigned range_count;
    struct boot_framebuffer fb; /* that the guest is told of; addr = 0: none */
    struct guest_start start;
};

/*
 * Fill in *ld and guest RAM, which guest_ram_init() has created with conf->memory bytes. 0, or a
 * negative errno after one line on the console that says what is wrong and what to do.
 */
int load_guest(struct load *ld, const struct boot_info *bi, const struct conf *conf);

#endif
