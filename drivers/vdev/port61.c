/* SPDX-License-Identifier: MIT */
/*
 * System control port B (port 0x61), after Intel's ICH datasheets, "NMI_SC: NMI status and control
 * register": gate and output of timer 2, and the refresh toggle, on which old software waits. There
 * is no speaker and no NMI source.
 */
#include "drivers/vdev/port61.h"

#define NMI_SC_GATE2   0x01
#define NMI_SC_MASK    0x0e /* speaker enable, SERR# and IOCHK# disable: kept */
#define NMI_SC_REFRESH 0x10
#define NMI_SC_OUT2    0x20

#define REFRESH_NS     15085 /* 18 ticks of the PIT: channel 1's usual programming */

void port61_init(struct port61 *p, struct pit *pit, const struct vdev_clock *clock)
{
    *p = (struct port61){.pit = pit, .clock = *clock};
}

enum vdev_result port61_access(void *dev, struct vdev_access *acc)
{
    struct port61 *p = dev;

    if (acc->size != 1) {
        return VDEV_UNHANDLED;
    }
    if (acc->write) {
        p->control = acc->value & NMI_SC_MASK;
        pit_set_gate2(p->pit, acc->value & NMI_SC_GATE2);
        return VDEV_HANDLED;
    }
    acc->value = p->control | (pit_gate2(p->pit) ? NMI_SC_GATE2 : 0) |
                 (pit_out2(p->pit) ? NMI_SC_OUT2 : 0) |
                 ((vdev_now(&p->clock) / REFRESH_NS & 1) ? NMI_SC_REFRESH : 0);
    return VDEV_HANDLED;
}
