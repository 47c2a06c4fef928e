/* SPDX-License-Identifier: MIT */
/* The state of all devices of a machine as one value: what a snapshot keeps (drivers/vdev/state.c). */
#ifndef DRIVERS_VDEV_STATE_H
#define DRIVERS_VDEV_STATE_H

#include "drivers/vdev/machine.h"

#define VMACHINE_STATE_VERSION 1 /* raised with every change of a device's structure */

/* Copies of the devices, with all connections (clocks, lines, callbacks) zero. */
struct vmachine_state {
    uint32_t version;
    uint32_t size; /* of this structure */
    uint64_t last_ns;
    struct uart uart;
    struct pic pic;
    struct pit pit;
    struct port61 port61;
    struct rtc rtc;
    struct i8042 i8042;
    struct pci pci;
    struct dma dma;
    struct port92 port92;
    struct acpi_pm acpi_pm;
};

void vmachine_save(const struct vmachine *m, struct vmachine_state *s);
/* Make the devices what they were; connections stay. 0, or -EINVAL, and nothing changed, if a device could not be in such a
 * state or the version is another. The INTR pin's callback is not called: the caller looks at vmachine_irq_pending(). */
int vmachine_load(struct vmachine *m, const struct vmachine_state *s);

#endif
