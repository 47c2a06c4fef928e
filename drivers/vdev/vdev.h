/* SPDX-License-Identifier: MIT */
/*
 * What the guest's devices look like to the rest: a range of ports (or, later, of MMIO) with one handler. One file, one
 * struct and no globals a device; offsets are relative to the range, so each runs unchanged on the host under a fuzzer.
 */
#ifndef DRIVERS_VDEV_VDEV_H
#define DRIVERS_VDEV_VDEV_H

#include "kernel/lib/types.h"

enum vdev_result { VDEV_HANDLED, VDEV_UNHANDLED, VDEV_ERROR };

struct vdev_access {
    uint32_t offset; /* from the range's base */
    uint8_t size;    /* bytes 1, 2, 4 */
    bool write;
    uint32_t value;  /* in: written value; out: read value (upper bytes ignored) */
};

struct vdev_range {
    uint16_t base, len; /* ports */
    enum vdev_result (*access)(void *dev, struct vdev_access *acc);
    void *dev;
    const char *name;
};

/* An interrupt line: level 0/1; edge semantics are the controller's. */
struct vdev_irq {
    void (*set)(void *ctl, unsigned line, int level);
    void *ctl;
    unsigned line;
};
static inline void vdev_irq_set(const struct vdev_irq *irq, int level)
{
    if (irq->set) {
        irq->set(irq->ctl, irq->line, level);
    }
}

/* Time as the guest's devices see it: nanoseconds since some fixed moment, never going backwards. */
struct vdev_clock {
    uint64_t (*now_ns)(void *opaque);
    void *opaque;
};
static inline uint64_t vdev_now(const struct vdev_clock *clock)
{
    return clock->now_ns(clock->opaque);
}
#define VDEV_NS_PER_SEC 1000000000ull
#define VDEV_NEVER      UINT64_MAX /* "next event" of a device that waits for nothing */

/* The guest asked for a reset of the machine; reason is a constant, for the log. */
struct vdev_reset {
    void (*request)(void *opaque, const char *reason);
    void *opaque;
};
static inline void vdev_request_reset(const struct vdev_reset *reset, const char *reason)
{
    if (reset->request) {
        reset->request(reset->opaque, reason);
    }
}

/* Port bus: dispatches to ranges; nothing there reads as all-ones and drops writes (VDEV_UNHANDLED is still returned, for
 * the log). 2- and 4-byte accesses to a range that answers VDEV_UNHANDLED for that size are split into bytes. */
#define VBUS_MAX 24
struct vbus {
    struct vdev_range range[VBUS_MAX];
    unsigned count;
};
/* 0, -ENOSPC, or -EEXIST if it overlaps. */
int vbus_add(struct vbus *bus, const struct vdev_range *range);
enum vdev_result vbus_access(struct vbus *bus, uint16_t port, struct vdev_access *acc);

#endif
