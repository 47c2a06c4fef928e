/* SPDX-License-Identifier: MIT */
/*
 * What each host CPU has for itself, found through GS in ring 0: segments, task state, and the
 * words that the ring-3 entry code needs. Owned by that CPU; no lock.
 */
#ifndef KERNEL_PERCPU_H
#define KERNEL_PERCPU_H

#include "kernel/lib/types.h"

/* Selectors, in the order that syscall and sysret demand (SDM 2B, SYSCALL and SYSRET): kernel CS,
 * SS; user SS, CS. */
#define SEL_KERNEL_CS   0x08
#define SEL_KERNEL_SS   0x10
#define SEL_SYSRET_BASE (0x18 | 3)
#define SEL_USER_SS     (0x20 | 3) /* SEL_SYSRET_BASE + 8 */
#define SEL_USER_CS     (0x28 | 3) /* SEL_SYSRET_BASE + 16 */
#define SEL_TSS         0x30       /* two entries */
#define GDT_ENTRIES     8

/* SDM 3A 7.7, figure 7-11 */
struct tss {
    uint32_t reserved0;
    uint64_t rsp0; /* written by cpu_enter() */
    uint64_t rsp1, rsp2;
    uint64_t reserved1;
    uint64_t ist[7]; /* IST n is ist[n - 1] */
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t iomap_base;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "SDM 3A 7.7");

#define IST_NMI 1
#define IST_DF  2
#define IST_MC  3

struct percpu {
    struct percpu *self;
    uint64_t scratch; /* enter.S: user rsp while the stack is switched */
    unsigned index;
    struct tss tss;
    uint64_t gdt[GDT_ENTRIES] __attribute__((aligned(8)));
};
_Static_assert(offsetof(struct percpu, tss.rsp0) % 8 == 0, "written by every cpu_enter()");

/* Ring 0 only, and not on the trap path of NMI and #MC. */
static inline struct percpu *this_cpu(void)
{
    struct percpu *p;

    __asm__("mov %%gs:%c1, %0" : "=r"(p) : "i"(offsetof(struct percpu, self)));
    return p;
}

#endif
