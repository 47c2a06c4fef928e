/* SPDX-License-Identifier: MIT */
/*
 * The pace of timer interrupts: stands between the timers' outputs and the interrupt controller, and
 * sees to it that a guest goes on whose handler takes longer than the timer's period (a busy host, cold
 * code, a fast timer). Real hardware does not: there such a guest stands still.
 *
 * The unit is the host's tick that the guest's CPU saw. A request that comes while the handler of the
 * last one has not let interrupts in again, or while the guest has not been given as many ticks outside
 * of it as the handler took, waits; never longer than IRQ_PACE_MAX ticks in each case, so that a guest that
 * polls for it with interrupts off finds it. Where handlers take less than a tick nothing ever waits.
 */
#ifndef DRIVERS_VDEV_IRQ_PACE_H
#define DRIVERS_VDEV_IRQ_PACE_H

#include "drivers/vdev/vdev.h"

#define IRQ_PACE_MAX 8u /* ticks */

/* One timer's line. */
struct irq_pace_line {
    struct vdev_irq out;
    const struct irq_pace *pace;
    bool waiting; /* a rising edge that has not been passed on */
};

struct irq_pace {
    struct irq_pace_line *line;
    unsigned lines;
    bool handling; /* a timer interrupt was taken, and interrupts have been off since */
    unsigned owed; /* ticks that the handler took and the guest has not had yet */
    unsigned held; /* ticks in the handler for which a request has waited */
};

void irq_pace_init(struct irq_pace *p, struct irq_pace_line *line, unsigned lines);
/* The line to give to a timer; *l is one of those of irq_pace_init(). */
struct vdev_irq irq_pace_input(struct irq_pace_line *l, const struct irq_pace *pace, const struct vdev_irq *out);

/* The CPU has taken an interrupt of one of the lines. */
void irq_pace_taken(struct irq_pace *p);
/* The CPU is about to execute an instruction with interrupts on. */
void irq_pace_open(struct irq_pace *p);
/* A tick of the host, and whether it found the guest's interrupts on. */
void irq_pace_tick(struct irq_pace *p, bool open);
/* The guest has nothing to do but wait for interrupts. */
void irq_pace_idle(struct irq_pace *p);

#endif
