/* SPDX-License-Identifier: MIT */
/* Host interrupts: the periodic tick, and idling until something happens. Interrupts are on only in
 * ring 3 and here. */
#ifndef KERNEL_IRQ_H
#define KERNEL_IRQ_H

#include "kernel/lib/types.h"

#define IRQ_PIC_FIRST    0x20 /* 16 vectors of the 8259 pair, masked unless the PIT is the tick */
#define IRQ_TIMER_VECTOR 0xf0
#define IRQ_SPURIOUS     0xff /* the local APIC's */

/* TSC frequency, found by irq_init(). Constant afterwards. */
extern uint64_t tsc_khz;

/*
 * Find the interrupt hardware, silence it, measure the TSC and the local APIC's timer. Prints one
 * line. The page tables must be the kernel's own (devices get mapped).
 */
void irq_init(void);
/* Call tick() hz times a second from now on: in interrupt context (interrupts off, no lock may be
 * taken). */
void timer_start(unsigned hz, void (*tick)(void));
/* Raise hz NMIs a second, from the PIT through the 8259 pair and the local APIC. False if there is no local APIC. */
bool nmi_timer_start(unsigned hz);
void nmi_timer_stop(void);
/* In the NMI's handler: let the next one come. */
void nmi_timer_ack(void);
/* Mask everything: the machine is about to be given away. */
void irq_shutdown(void);

/* Handle and acknowledge a host interrupt that cpu_enter() returned (or that woke cpu_idle()). */
void host_irq(unsigned vector);
/* Sleep until the next interrupt has been handled. */
void cpu_idle(void);

#endif
