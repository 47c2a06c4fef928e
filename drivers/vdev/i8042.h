/* SPDX-License-Identifier: MIT */
/* 8042 keyboard controller, ports 0x60 and 0x64 (drivers/vdev/i8042.c). Two ranges of one port. */
#ifndef DRIVERS_VDEV_I8042_H
#define DRIVERS_VDEV_I8042_H

#include "drivers/vdev/vdev.h"

#define I8042_QUEUE 4

struct i8042 {
    struct vdev_irq kbd_irq, aux_irq;
    struct vdev_reset reset;

    /* [0] is the output buffer; the rest is what the controller still has to say. */
    struct {
        uint8_t byte, status; /* the status bits that go with the byte: AUX, TIMEOUT */
    } queue[I8042_QUEUE];
    uint8_t queued;
    uint8_t last;    /* what port 0x60 reads with the output buffer empty */
    uint8_t ram[32]; /* [0] is the command byte */
    uint8_t outport;
    uint8_t command; /* waits for its data byte; 0: data is the keyboard's */
    bool status_cmd, status_sys;
};

/* As firmware hands over: self-test passed, keyboard interface on, auxiliary interface off. */
void i8042_init(struct i8042 *kbc, const struct vdev_irq *kbd_irq, const struct vdev_irq *aux_irq,
                const struct vdev_reset *reset);

/* Does the controller's output port hold A20 open? */
bool i8042_a20_open(const struct i8042 *kbc);

/* struct vdev_range.access */
enum vdev_result i8042_data_access(void *dev, struct vdev_access *acc);
enum vdev_result i8042_command_access(void *dev, struct vdev_access *acc);

#endif
