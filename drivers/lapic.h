/* SPDX-License-Identifier: MIT */
/* The host CPU's local APIC: xAPIC registers in memory, or x2APIC if the firmware has switched to
 * it. */
#ifndef DRIVERS_LAPIC_H
#define DRIVERS_LAPIC_H

#include "kernel/lib/types.h"

/* How to reach the registers: their 4 KiB page, mapped uncached; NULL = by MSR (x2APIC). */
struct lapic {
    volatile uint32_t *mmio;
};

/* Enable it by software with this spurious vector, mask all local sources but NMI. */
void lapic_init(struct lapic *lapic, uint8_t spurious_vector);
/* Count down from 2^32 - 1 without interrupts; what has been counted since. For calibration. */
void lapic_timer_measure(struct lapic *lapic);
uint32_t lapic_timer_elapsed(struct lapic *lapic);
/* Interrupt every `count` counts. */
void lapic_timer_periodic(struct lapic *lapic, uint8_t vector, uint32_t count);
void lapic_timer_stop(struct lapic *lapic);
void lapic_eoi(struct lapic *lapic);
/* The 8259 pair's output raises NMIs, or nothing. */
void lapic_pic_to_nmi(struct lapic *lapic, bool on);
/* Leave it as a PC's firmware does: virtual wire mode, the 8259 pair on LINT0 (Intel MultiProcessor
 * Specification 3.6.2.2). */
void lapic_virtual_wire(struct lapic *lapic);

#endif
