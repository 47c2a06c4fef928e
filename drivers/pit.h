/* SPDX-License-Identifier: MIT */
/* The host's 8254 timer: channel 2 as a stopwatch, channel 0 as a periodic interrupt (IRQ 0). */
#ifndef DRIVERS_PIT_H
#define DRIVERS_PIT_H

#include "kernel/lib/types.h"

#define PIT_HZ 1193182u

/* Start a one-shot of `count` clocks (1 to 65535) on channel 2, speaker off. */
void pit_stopwatch_start(uint16_t count);
/* Has it run out? */
bool pit_stopwatch_expired(void);

/* Channel 0: hz interrupts a second (19 and more). */
void pit_periodic(unsigned hz);

#endif
