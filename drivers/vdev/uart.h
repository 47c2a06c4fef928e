/* SPDX-License-Identifier: MIT */
/* 16550A UART (drivers/vdev/uart.c). Eight ports. */
#ifndef DRIVERS_VDEV_UART_H
#define DRIVERS_VDEV_UART_H

#include "drivers/vdev/vdev.h"

#define UART_PORTS     8
#define UART_FIFO_SIZE 16

struct uart {
    struct vdev_clock clock;
    struct vdev_irq irq;
    void (*tx)(void *opaque, uint8_t byte); /* may be NULL */
    void *tx_opaque;

    uint8_t rx[UART_FIFO_SIZE]; /* ring: rx_count bytes from rx_head; one byte deep with the FIFOs
                                   off */
    uint8_t rx_head, rx_count;
    uint8_t rbr; /* what an empty receiver reads as: the last byte taken */
    uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
    uint8_t msr_delta;    /* MSR bits 3..0 */
    bool overrun;         /* LSR.OE, until LSR is read */
    bool thre_pending;    /* the THRE interrupt, until IIR reports it or THR is written */
    bool timeout_pending; /* the character time-out, until RBR is read */
    uint64_t rx_ns;       /* last byte received or read: the time-out counts from here */
};

void uart_init(struct uart *u, const struct vdev_clock *clock, const struct vdev_irq *irq,
               void (*tx)(void *opaque, uint8_t byte), void *tx_opaque);

/* struct vdev_range.access */
enum vdev_result uart_access(void *dev, struct vdev_access *acc);

/* A byte from the outside. False if there is no room now (FIFO full, or loop-back): nothing is
 * lost, offer it again. */
bool uart_receive(struct uart *u, uint8_t byte);

/* The character time-out is the only thing that time does: call at or after uart_next_event_ns()
 * (VDEV_NEVER: none). */
void uart_update(struct uart *u, uint64_t now_ns);
uint64_t uart_next_event_ns(const struct uart *u);

#endif
