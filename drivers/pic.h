/* SPDX-License-Identifier: MIT */
/* The host's 8259 pair. */
#ifndef DRIVERS_PIC_H
#define DRIVERS_PIC_H

#include "kernel/lib/types.h"

/* Move the 16 lines to vectors first .. first + 15 (a multiple of 8) and mask them all. */
void i8259_init(uint8_t first);
void i8259_unmask(unsigned line);
void i8259_mask_all(void);
/* Acknowledge line; spurious interrupts (lines 7 and 15 not in service) are recognised. True if it
 * was real. */
bool i8259_ack(unsigned line);

/* For a CPU that learns of the master's output by other means than an interrupt acknowledge cycle: acknowledge what is pending
 * there (the poll command), so that the output falls. False if nothing was. */
bool i8259_poll(void);

#endif
