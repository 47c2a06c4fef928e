/* SPDX-License-Identifier: MIT */
/* The 8259A pair of a PC with its edge/level registers (drivers/vdev/pic.c). */
#ifndef DRIVERS_VDEV_PIC_H
#define DRIVERS_VDEV_PIC_H

#include "drivers/vdev/vdev.h"

#define PIC_PORTS  2
#define ELCR_PORTS 2
#define PIC_LINES  16

struct pic_chip {
    uint8_t pins; /* levels of IR7..0 */
    uint8_t irr, isr, imr;
    uint8_t elcr;   /* 1 = level-triggered */
    uint8_t lowest; /* the line of lowest priority: 7 unless rotated */
    uint8_t base;   /* ICW2: vector of IR0 */
    uint8_t icw1, icw3, icw4;
    uint8_t expect_icw; /* 2, 3, 4: the next write to the odd port; 0: initialized */
    bool read_isr, poll, special_mask, rotate_aeoi;
    bool master;
    bool int_out; /* the INT pin */
};

struct pic {
    struct pic_chip chip[2];              /* master, slave */
    void (*out)(void *opaque, int level); /* the master's INT pin, on changes; may be NULL */
    void *out_opaque;
};

/* As firmware hands over: initialized at vectors 0x08 and 0x70, everything masked. */
void pic_init(struct pic *pic, void (*out)(void *opaque, int level), void *out_opaque);

/* struct vdev_range.access; dev is struct pic */
enum vdev_result pic_master_access(void *dev, struct vdev_access *acc);
enum vdev_result pic_slave_access(void *dev, struct vdev_access *acc);
enum vdev_result pic_elcr_access(void *dev, struct vdev_access *acc);

/* struct vdev_irq.set; ctl is struct pic, line 0..15 (2 is the cascade and has no pin). */
void pic_set_irq(void *ctl, unsigned line, int level);

/* Is the INT pin of the pair active? */
bool pic_get_irq(const struct pic *pic);
/* The line that pic_ack() would serve now; -1 if none. */
int pic_requested(const struct pic *pic);
/* The CPU's interrupt acknowledge: the vector; that of a spurious IRQ 7 or 15 if the request has
 * gone. */
uint8_t pic_ack(struct pic *pic);

#endif
