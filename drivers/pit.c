/* SPDX-License-Identifier: MIT */
/* The host's 8254. */
#include "drivers/pit.h"

#include "drivers/io.h"

/* Intel 8254 data sheet, control word format; port 0x61 as in the PC AT */
#define PORT_CHANNEL0    0x40
#define PORT_CHANNEL2    0x42
#define PORT_CONTROL     0x43
#define PORT_GATE        0x61
#define GATE2            0x01
#define SPEAKER          0x02
#define OUT2             0x20

#define CHANNEL0_RATE    0x34 /* both bytes, mode 2, binary */
#define CHANNEL2_ONESHOT 0xb0 /* both bytes, mode 0, binary */

void pit_stopwatch_start(uint16_t count)
{
    uint8_t gate = inb(PORT_GATE) & (uint8_t) ~(GATE2 | SPEAKER);

    outb(PORT_GATE, gate);
    outb(PORT_CONTROL, CHANNEL2_ONESHOT);
    outb(PORT_CHANNEL2, (uint8_t)count);
    outb(PORT_CHANNEL2, (uint8_t)(count >> 8));
    outb(PORT_GATE, gate | GATE2); /* it counts from here on */
}

bool pit_stopwatch_expired(void)
{
    return inb(PORT_GATE) & OUT2;
}

void pit_periodic(unsigned hz)
{
    uint32_t count = PIT_HZ / hz;

    outb(PORT_CONTROL, CHANNEL0_RATE);
    outb(PORT_CHANNEL0, (uint8_t)count);
    outb(PORT_CHANNEL0, (uint8_t)(count >> 8));
}
