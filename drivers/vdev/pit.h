/* SPDX-License-Identifier: MIT */
/* 8254 interval timer (drivers/vdev/pit.c). Four ports. */
#ifndef DRIVERS_VDEV_PIT_H
#define DRIVERS_VDEV_PIT_H

#include "drivers/vdev/vdev.h"

#define PIT_PORTS    4
#define PIT_HZ       1193182u
#define PIT_CHANNELS 3

/*
 * Times are in ticks of the 1.193182 MHz clock. The counting element is never stepped: with the
 * gate open, `elapsed` = now - origin ticks have been counted since it held n; with the gate
 * closed, `elapsed` stands still.
 */
struct pit_channel {
    uint8_t mode, rw; /* mode 0..5; rw 1 LSB, 2 MSB, 3 both */
    bool bcd, gate;
    bool write_msb, read_msb; /* rw 3: the next byte is the MSB */
    uint8_t lsb;              /* rw 3: first byte written */

    bool loaded;  /* a count has been written since the control word */
    bool armed;   /* modes 1, 5: triggered */
    bool pending; /* cr waits for the end of the cycle (modes 2, 3: switch_at) or for a trigger (1,
                     5) */
    bool fresh;   /* the load at origin brings a count that was not in use before */
    uint32_t cr, n; /* count written, count in use: 1..65536, in BCD 1..10000 */
    int64_t origin, elapsed, switch_at;
    uint16_t ce_hold; /* what the counter shows until the next load */
    bool out_hold;    /* OUT until the next load */

    uint16_t latch;
    uint8_t latch_left; /* bytes of the latched count still to be read */
    uint8_t status;
    bool status_latched;
};

struct pit {
    struct pit_channel ch[PIT_CHANNELS];
    struct vdev_clock clock;
    struct vdev_irq irq; /* OUT of channel 0 */
    int64_t seen;        /* rising edges of OUT0 up to this tick have been passed on */
};

/* As PC firmware leaves it: channel 0 square wave at 18.2 Hz, channel 1 refresh, channel 2 gated
 * off. */
void pit_init(struct pit *pit, const struct vdev_clock *clock, const struct vdev_irq *irq);

/* struct vdev_range.access */
enum vdev_result pit_access(void *dev, struct vdev_access *acc);

/* Pass on the edges of OUT0 up to now. Several in one step are one: an 8259A would have lost the
 * others too. */
void pit_update(struct pit *pit, uint64_t now_ns);
/* When OUT0 rises next, after the last update; VDEV_NEVER if it does not. */
uint64_t pit_next_event_ns(const struct pit *pit);

/* Channel 2's gate and output, for port 0x61. */
void pit_set_gate2(struct pit *pit, bool level);
bool pit_gate2(const struct pit *pit);
bool pit_out2(struct pit *pit);

#endif
