/* SPDX-License-Identifier: MIT */
/* The virtual machine's counters, as a payload sees them (docs/payload-abi.md). Natively there are none. */
#ifndef PAYLOAD_COUNTERS_H
#define PAYLOAD_COUNTERS_H

#include "kernel/payload-abi.h"
#include "tests/payloads/lib/cpu.h"

static inline uint32_t counter_port_read(void)
{
    uint32_t v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"((uint16_t)PAYLOAD_COUNTER_PORT));
    return v;
}

/* The present value of PAYLOAD_COUNTER_<name>. Only if counters_present(). */
static inline uint32_t counter_read(uint32_t index)
{
    __asm__ volatile("outl %0, %1" : : "a"(index), "Nd"((uint16_t)PAYLOAD_COUNTER_PORT));
    return counter_port_read();
}

/* Is there a monitor to ask? Call before the first counter_read(): it writes nothing, so it is harmless anywhere. */
static inline bool counters_present(void)
{
    static bool asked, present;

    if (!asked) {
        asked = true;
        present = counter_port_read() == PAYLOAD_COUNTER_MAGIC;
    }
    return present;
}

#endif
