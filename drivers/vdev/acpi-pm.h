/* SPDX-License-Identifier: MIT */
/* ACPI fixed hardware: PM1a event and control blocks, power management timer
 * (drivers/vdev/acpi-pm.c). */
#ifndef DRIVERS_VDEV_ACPI_PM_H
#define DRIVERS_VDEV_ACPI_PM_H

#include "drivers/vdev/vdev.h"

/* Where the FADT says that it is, relative to the range's base. */
#define ACPI_PM1_EVENT    0 /* status, then enable: 2 bytes each */
#define ACPI_PM1_CONTROL  4
#define ACPI_PM_TIMER     8
#define ACPI_PM_PORTS     12

#define ACPI_SLEEP_S5     5 /* SLP_TYP of the DSDT's \_S5 */
#define ACPI_PM_TIMER_HZ  3579545u

struct acpi_pm {
    struct vdev_clock clock;
    struct vdev_irq sci;
    void (*power_off)(void *opaque); /* may be NULL; returns, the caller sees to the end */
    void *opaque;
    uint64_t seen_ticks; /* of the timer, at the last update */
    uint16_t status, enable, control;
};

void acpi_pm_init(struct acpi_pm *pm, const struct vdev_clock *clock, const struct vdev_irq *sci,
                  void (*power_off)(void *opaque), void *opaque);
enum vdev_result acpi_pm_access(void *dev, struct vdev_access *acc);
void acpi_pm_update(struct acpi_pm *pm, uint64_t now_ns);
uint64_t acpi_pm_next_event_ns(const struct acpi_pm *pm);

#endif
