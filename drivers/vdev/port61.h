/* SPDX-License-Identifier: MIT */
/* NMI status and control, port 0x61 (drivers/vdev/port61.c). One port. */
#ifndef DRIVERS_VDEV_PORT61_H
#define DRIVERS_VDEV_PORT61_H

#include "drivers/vdev/pit.h"
#include "drivers/vdev/vdev.h"

struct port61 {
    struct pit *pit; /* whose channel 2 is the speaker's */
    struct vdev_clock clock;
    uint8_t control; /* bits 3..1 as written; bit 0 is the timer's gate */
};

void port61_init(struct port61 *p, struct pit *pit, const struct vdev_clock *clock);
enum vdev_result port61_access(void *dev, struct vdev_access *acc);

#endif
