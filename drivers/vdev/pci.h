/* SPDX-License-Identifier: MIT */
/* PCI configuration mechanism 1 and the reset control register, ports 0xcf8..0xcff
 * (drivers/vdev/pci.c). */
#ifndef DRIVERS_VDEV_PCI_H
#define DRIVERS_VDEV_PCI_H

#include "drivers/vdev/vdev.h"

#define PCI_PORTS 8

struct pci {
    struct vdev_reset reset;
    uint32_t address;      /* CONFIG_ADDRESS */
    uint8_t reset_control; /* port 0xcf9 */
};

void pci_init(struct pci *pci, const struct vdev_reset *reset);
enum vdev_result pci_access(void *dev, struct vdev_access *acc);

#endif
