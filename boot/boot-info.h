/* SPDX-License-Identifier: MIT */
/*
 * What the boot stage hands to the kernel. Filled by boot/ (UEFI loader) or kernel/pvh.c (QEMU -kernel); read-only
 * afterwards. Append-only; a change of meaning raises BOOT_INFO_VERSION. All addresses are host physical, lengths in bytes.
 *
 * State at kernel entry (`_start`, RDI = physical address of struct boot_info): long mode, interrupts off, page tables of
 * the boot stage with: the kernel image at its link address (2 MiB pages, all rwx), all RAM and the low 4 GiB both
 * identity-mapped and at PHYSMAP_BASE (mm/layout.h).
 */
#ifndef BOOT_BOOT_INFO_H
#define BOOT_BOOT_INFO_H

#include <stdint.h>

#define BOOT_INFO_MAGIC   0x4944444eu /* "NDDI" */
#define BOOT_INFO_VERSION 1

enum boot_mem_type {
    BOOT_MEM_USABLE = 1,   /* free RAM (UEFI conventional, boot services, loader code/data not listed otherwise) */
    BOOT_MEM_RESERVED = 2, /* firmware, MMIO, unknown */
    BOOT_MEM_ACPI_RECLAIM = 3,
    BOOT_MEM_ACPI_NVS = 4,
    BOOT_MEM_BAD = 5,
    BOOT_MEM_RUNTIME = 6,  /* UEFI runtime code and data */
    BOOT_MEM_LOADER = 7,   /* in use: kernel image, boot_info, modules, boot page tables */
};

struct boot_mem_range {
    uint64_t base;
    uint64_t len;
    uint32_t type; /* enum boot_mem_type */
    uint32_t pad;
};
#define BOOT_MEM_MAX 256

struct boot_module {
    uint64_t addr; /* 0 = absent */
    uint64_t len;
    char name[64]; /* file name as configured, NUL-terminated */
};

struct boot_framebuffer {
    uint64_t addr; /* 0 = none */
    uint32_t width, height; /* pixels */
    uint32_t pitch;         /* bytes per line */
    uint32_t format;        /* 0 = BGRX 8:8:8:8, 1 = RGBX 8:8:8:8 */
};

struct boot_info {
    uint32_t magic;
    uint32_t version;
    uint32_t size;        /* sizeof(struct boot_info) of the filler */
    uint32_t source;      /* 1 = UEFI, 2 = PVH */
    uint64_t tsc_entry;   /* rdtsc when our first instruction ran */
    uint64_t kernel_base; /* where the image lies, contiguous */
    uint64_t kernel_len;
    uint64_t rsdp;        /* 0 = none */
    struct boot_framebuffer fb;
    struct boot_module kernel; /* the kernel's ELF file as read, for symbols; addr 0 under PVH */
    struct boot_module config; /* text of notdirty.conf */
    struct boot_module guest;
    struct boot_module initrd;
    char cmdline[512];    /* PVH: QEMU -append, "key=value key=value", overrides the config file */
    uint32_t mem_count;
    uint32_t pad;
    struct boot_mem_range mem[BOOT_MEM_MAX]; /* ascending, not overlapping */
    struct boot_module symbols;              /* of the guest */
};

#endif
