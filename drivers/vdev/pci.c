/* SPDX-License-Identifier: MIT */
/*
 * PCI configuration mechanism 1 on a bus without devices, after the PCI Local Bus
 * Specification 3.0, section 3.2.2.3.2: the address register reads back (software finds mechanism
 * 1), and data is all-ones (software finds nobody). Port 0xcf9, which lies among these ports, is
 * the reset control register of Intel's ICH datasheets ("RST_CNT").
 */
#include "drivers/vdev/pci.h"

#define CONFIG_ADDRESS      0
#define RESET_CONTROL       1
#define CONFIG_DATA         4
#define CONFIG_ADDRESS_MASK 0x80fffffcu /* reserved bits read as 0 */

#define RST_CPU             0x04 /* 0 to 1 resets */
#define RST_MASK            0x0e

static void write_reset_control(struct pci *pci, uint8_t value)
{
    bool rise = (value & RST_CPU) && !(pci->reset_control & RST_CPU);

    pci->reset_control = value & RST_MASK;
    if (rise) {
        vdev_request_reset(&pci->reset, "port 0xcf9");
    }
}

enum vdev_result pci_access(void *dev, struct vdev_access *acc)
{
    struct pci *pci = dev;

    if (acc->offset >= CONFIG_DATA) {
        if (!acc->write) {
            acc->value = 0xffffffff;
        }
        return VDEV_HANDLED;
    }
    if (acc->offset == CONFIG_ADDRESS && acc->size == 4) {
        if (acc->write) {
            pci->address = acc->value & CONFIG_ADDRESS_MASK;
        } else {
            acc->value = pci->address;
        }
        return VDEV_HANDLED;
    }
    if (acc->offset == RESET_CONTROL && acc->size == 1) {
        if (acc->write) {
            write_reset_control(pci, acc->value);
        } else {
            acc->value = pci->reset_control;
        }
        return VDEV_HANDLED;
    }
    return VDEV_UNHANDLED; /* only whole dwords are configuration cycles; the rest is nobody's */
}

void pci_init(struct pci *pci, const struct vdev_reset *reset)
{
    *pci = (struct pci){.reset = *reset};
}
