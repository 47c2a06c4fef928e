/* SPDX-License-Identifier: MIT */
/*
 * The port bus: finds the range, hands over the access with a relative offset, and splits what no
 * single range takes whole. It knows nothing of any device and does not log (drivers/vdev/machine.c
 * does, once an access).
 */
#include "drivers/vdev/vdev.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"

#define PORT_COUNT 0x10000u

static uint32_t all_ones(unsigned size)
{
    return size == 4 ? 0xffffffffu : (1u << (8 * size)) - 1;
}

/* The range that holds the port, or NULL. */
static const struct vdev_range *range_at(const struct vbus *bus, uint32_t port)
{
    for (unsigned i = 0; i < bus->count; i++) {
        const struct vdev_range *r = &bus->range[i];

        if (port >= r->base && port - r->base < r->len) {
            return r;
        }
    }
    return NULL;
}

int vbus_add(struct vbus *bus, const struct vdev_range *range)
{
    ASSERT(range->len > 0 && range->base + (uint32_t)range->len <= PORT_COUNT && range->access);
    for (unsigned i = 0; i < bus->count; i++) {
        const struct vdev_range *r = &bus->range[i];

        if (range->base < r->base + (uint32_t)r->len &&
            r->base < range->base + (uint32_t)range->len) {
            return -EEXIST;
        }
    }
    if (bus->count == VBUS_MAX) {
        return -ENOSPC;
    }
    bus->range[bus->count++] = *range;
    return 0;
}

/* One access, whole or not at all: UNHANDLED if no range holds all of it or the range declines this
 * size. */
static enum vdev_result access_whole(struct vbus *bus, uint32_t port, struct vdev_access *acc)
{
    const struct vdev_range *r = range_at(bus, port);
    uint32_t written = acc->value;
    enum vdev_result res = VDEV_UNHANDLED;

    if (!acc->write) {
        acc->value = all_ones(acc->size);
    }
    if (r && port - r->base + acc->size <= r->len) {
        acc->offset = port - r->base;
        res = r->access(r->dev, acc);
    }
    if (acc->write) {
        acc->value = written;
    } else if (res == VDEV_HANDLED) {
        acc->value &= all_ones(acc->size);
    } else {
        acc->value = all_ones(acc->size);
    }
    return res;
}

/* Byte by byte, low port first. ERROR if any byte is in error, UNHANDLED only if nobody took any
 * byte. */
static enum vdev_result access_split(struct vbus *bus, uint32_t port, struct vdev_access *acc)
{
    enum vdev_result res = VDEV_UNHANDLED;
    uint32_t value = 0;

    for (unsigned i = 0; i < acc->size; i++) {
        struct vdev_access byte = {
            .size = 1, .write = acc->write, .value = (acc->value >> (8 * i)) & 0xff};
        enum vdev_result one = access_whole(bus, port + i, &byte);

        value |= byte.value << (8 * i);
        if (one == VDEV_ERROR || res == VDEV_ERROR) {
            res = VDEV_ERROR;
        } else if (one == VDEV_HANDLED) {
            res = VDEV_HANDLED;
        }
    }
    if (!acc->write) {
        acc->value = value;
    }
    return res;
}

enum vdev_result vbus_access(struct vbus *bus, uint16_t port, struct vdev_access *acc)
{
    enum vdev_result res;

    ASSERT(acc->size == 1 || acc->size == 2 || acc->size == 4);
    res = access_whole(bus, port, acc);
    if (res == VDEV_UNHANDLED && acc->size > 1) {
        res = access_split(bus, port, acc);
    }
    return res;
}
