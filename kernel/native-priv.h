/* SPDX-License-Identifier: MIT */
/* What native.c prepares in low memory for the trampoline of native-jump.S. */
#ifndef KERNEL_NATIVE_PRIV_H
#define KERNEL_NATIVE_PRIV_H

#include "kernel/load.h"

/* Host-physical, like everything here; outside of what the loader uses, inside what
 * docs/payload-abi.md announces. */
#define NATIVE_CODE   0x80000
#define NATIVE_ARGS   0x81000
#define NATIVE_PML4   0x82000
#define NATIVE_PDPT   0x83000
#define NATIVE_PD     0x84000 /* one page for each GiB of guest RAM */
#define NATIVE_PD_MAX 27
/* Guest RAM as loaded, at this virtual address in the trampoline's page tables; the low 4 GiB are
 * mapped to themselves. */
#define NATIVE_WINDOW 0x100000000

struct table_register {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct native_args {
    struct guest_start start;
    struct table_register gdtr, idtr;
    uint64_t range_count;
    struct load_range range[LOAD_RANGE_MAX]; /* ascending, all at 1 MiB and above */
};
_Static_assert(sizeof(struct native_args) <= NATIVE_PML4 - NATIVE_ARGS, "one page");

extern const char native_trampoline[], native_trampoline_end[];
/* Load root into CR3 and jump to `code` with `args` in RBX. Both must be mapped there, and so must
 * the kernel's text. */
_Noreturn void native_jump(hpa_t root, hpa_t code, hpa_t args);

#endif
