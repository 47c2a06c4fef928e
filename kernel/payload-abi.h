/* SPDX-License-Identifier: MIT */
/*
 * What a bare payload (ELF64) finds at the address in RDI at its entry; docs/payload-abi.md has the
 * rest of the contract. Self-contained, append-only; a change of meaning raises PAYLOAD_VERSION.
 * Filled by kernel/load-elf.c in both modes. All addresses are guest-physical, which is also where
 * the initial page tables map them, if below 4 GiB; lengths in bytes.
 */
#ifndef KERNEL_PAYLOAD_ABI_H
#define KERNEL_PAYLOAD_ABI_H

#include <stdint.h>

#define PAYLOAD_MAGIC   0x4950444eu /* "NDPI" */
#define PAYLOAD_VERSION 1

/* Types of memory are those of e820 and of PVH. */
#define PAYLOAD_MEM_RAM      1
#define PAYLOAD_MEM_RESERVED 2
#define PAYLOAD_MEM_ACPI     3
#define PAYLOAD_MEM_NVS      4
#define PAYLOAD_MEM_BAD      5

/*
 * The counter port, mode = translate only: write an index, read a dword. Natively nothing answers there (all-ones), and
 * 0 is selected at the start, so a payload looks for PAYLOAD_COUNTER_MAGIC before it writes. Counters count up from some
 * value and wrap. Append-only: an index never changes its meaning.
 */
#define PAYLOAD_COUNTER_PORT  0x4e44
#define PAYLOAD_COUNTER_MAGIC 0x4e54444eu /* "NDTN" */
#define PAYLOAD_COUNTERS(X)                                                                         \
    X(SMC_FAULT, 16)      /* stores that met a page with translated code */                        \
    X(SMC_FAULT_MISS, 17) /* those that changed no byte of it */                                   \
    X(TB_GEN, 18)         /* translation blocks made */                                            \
    X(TB_INVALIDATED, 19) /* killed by a store */                                                  \
    X(TB_FLUSH, 20)       /* times that all were dropped */                                        \
    X(REDO_TB, 21)        /* stores executed alone, after their block was left */                  \
    X(PAGE_PROTECT, 22)                                                                            \
    X(PAGE_UNPROTECT, 23)                                                                          \
    X(EXIT_IRQ, 24)       /* interrupts of the host that ended a stay in the code cache */         \
    X(PAGE_STATE, 25)     /* pages whose treatment was changed because of how they are used */     \
    X(MMIO, 26)           /* accesses to memory of devices */
enum {
    PAYLOAD_COUNTER_PROBE = 0, /* PAYLOAD_COUNTER_MAGIC */
    PAYLOAD_COUNTER_CHECK = 1, /* runs the consistency checkers; the number of violations, each also printed */
#define X(name, index) PAYLOAD_COUNTER_##name = (index),
    PAYLOAD_COUNTERS(X)
#undef X
};

struct payload_mem {
    uint64_t base;
    uint64_t len;
    uint32_t type; /* PAYLOAD_MEM_* */
    uint32_t pad;
};
#define PAYLOAD_MEM_MAX 64

struct payload_info {
    uint32_t magic;
    uint32_t version;
    uint32_t size; /* sizeof(struct payload_info) of the filler */
    uint32_t mem_count;
    uint64_t cmdline; /* NUL-terminated text, never 0 */
    uint64_t initrd;  /* 0 = none */
    uint64_t initrd_len;
    uint64_t rsdp;                           /* ACPI root pointer, 0 = none */
    uint64_t tsc_khz;                        /* frequency of rdtsc */
    uint64_t fb_addr;                        /* linear framebuffer, 0 = none */
    uint32_t fb_width, fb_height;            /* pixels */
    uint32_t fb_pitch;                       /* bytes a line */
    uint32_t fb_format;                      /* 0 = BGRX 8:8:8:8, 1 = RGBX 8:8:8:8 */
    struct payload_mem mem[PAYLOAD_MEM_MAX]; /* ascending, not overlapping */
};

#endif
