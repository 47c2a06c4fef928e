/* SPDX-License-Identifier: MIT */
/* Devices of one register or none: port 0x92, debug exit, debug console, counters, the absent VGA
 * (drivers/vdev/misc.c). */
#ifndef DRIVERS_VDEV_MISC_H
#define DRIVERS_VDEV_MISC_H

#include "drivers/vdev/vdev.h"

#define DEBUG_EXIT_PORTS 4
#define VGA_PORTS        0x20

/* System control port A: A20 and fast reset. */
struct port92 {
    struct vdev_reset reset;
    uint8_t value;
};
void port92_init(struct port92 *p, const struct vdev_reset *reset);
enum vdev_result port92_access(void *dev, struct vdev_access *acc);
bool port92_a20_open(const struct port92 *p);

/* A write to the first port, of any size, ends the run. */
struct debug_exit {
    void (*exit)(void *opaque, uint32_t value, unsigned size); /* may be NULL */
    void *opaque;
};
enum vdev_result debug_exit_access(void *dev, struct vdev_access *acc);

/* Bytes written are console output; 0xe9 read back tells that the port exists (Bochs, QEMU). */
struct debugcon {
    void (*out)(void *opaque, uint8_t byte); /* may be NULL */
    void *opaque;
};
enum vdev_result debugcon_access(void *dev, struct vdev_access *acc);

/*
 * The monitor's counters (docs/payload-abi.md). A dword written selects one, a dword read is its low half. 0 is selected at
 * power-on, so a guest can look for the magic number without having written anything.
 */
#define COUNTER_PORT_BASE 0x4e44
#define COUNTER_PORTS     4
struct counter_port {
    uint32_t (*read)(void *opaque, uint32_t index); /* may be NULL: all read as all-ones */
    void *opaque;
    uint32_t index;
};
enum vdev_result counter_port_access(void *dev, struct vdev_access *acc);

/* No display adapter: reads all-ones. dev is not used. */
enum vdev_result vga_absent_access(void *dev, struct vdev_access *acc);

#endif
