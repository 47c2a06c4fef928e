/* SPDX-License-Identifier: MIT */
/* The legacy PIC and PIT of the machine: IRQ n arrives at vector IRQ_BASE + n. */
#ifndef PAYLOAD_IRQ_H
#define PAYLOAD_IRQ_H

#include "kernel/lib/types.h"

#define IRQ_BASE 0x20

/* Initialise both PICs, all lines masked. */
void pic_init(void);
void pic_unmask(unsigned irq);
void pic_mask(unsigned irq);
/* Non-specific end of interrupt. */
void pic_eoi(unsigned irq);
/* Channel 0, mode 2, at about `hz` interrupts a second (19..100000). */
void pit_start(unsigned hz);
/* Channel 0, mode 0: one interrupt after `us` microseconds (at most 54000). */
void pit_one_shot(unsigned us);

#endif
