/* SPDX-License-Identifier: MIT */
/* Devices of one register or none. Nothing that has state beyond a byte belongs here. */
#include "drivers/vdev/misc.h"

#define PORT92_RESET 0x01 /* 0 to 1 resets */
#define PORT92_A20   0x02

void port92_init(struct port92 *p, const struct vdev_reset *reset)
{
    *p = (struct port92){.reset = *reset, .value = PORT92_A20};
}

bool port92_a20_open(const struct port92 *p)
{
    return p->value & PORT92_A20;
}

/* ICH datasheets, "PORT92: fast A20 and init register". */
enum vdev_result port92_access(void *dev, struct vdev_access *acc)
{
    struct port92 *p = dev;
    bool rise;

    if (acc->size != 1) {
        return VDEV_UNHANDLED;
    }
    if (!acc->write) {
        acc->value = p->value;
        return VDEV_HANDLED;
    }
    rise = (acc->value & PORT92_RESET) && !(p->value & PORT92_RESET);
    p->value = acc->value & (PORT92_RESET | PORT92_A20);
    if (rise) {
        vdev_request_reset(&p->reset, "port 0x92");
    }
    return VDEV_HANDLED;
}

/* QEMU's isa-debug-exit, as design.md 5 has it: the caller makes an exit status of the value. */
enum vdev_result debug_exit_access(void *dev, struct vdev_access *acc)
{
    struct debug_exit *d = dev;

    if (!acc->write) {
        acc->value = 0;
    } else if (acc->offset == 0 && d->exit) {
        d->exit(d->opaque, acc->value, acc->size);
    }
    return VDEV_HANDLED;
}

enum vdev_result debugcon_access(void *dev, struct vdev_access *acc)
{
    struct debugcon *d = dev;

    if (acc->size != 1) {
        return VDEV_UNHANDLED;
    }
    if (!acc->write) {
        acc->value = 0xe9;
    } else if (d->out) {
        d->out(d->opaque, acc->value);
    }
    return VDEV_HANDLED;
}

enum vdev_result counter_port_access(void *dev, struct vdev_access *acc)
{
    struct counter_port *c = dev;

    if (acc->write) {
        if (acc->size == 4 && acc->offset == 0) {
            c->index = acc->value;
        }
    } else {
        acc->value = acc->size == 4 && acc->offset == 0 && c->read ? c->read(c->opaque, c->index) : 0xffffffff;
    }
    return VDEV_HANDLED;
}

enum vdev_result vga_absent_access(void *dev, struct vdev_access *acc)
{
    if (!acc->write) {
        acc->value = 0xffffffff;
    }
    return VDEV_HANDLED;
}
