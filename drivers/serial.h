/* SPDX-License-Identifier: MIT */
/* Host 16550 at an I/O port base, polled. */
#ifndef DRIVERS_SERIAL_H
#define DRIVERS_SERIAL_H

#include "kernel/lib/types.h"

#define SERIAL_COM1 0x3f8
#define SERIAL_COM2 0x2f8

/* 115200 8N1, FIFO on, interrupts off. False if no UART answers (scratch register test). */
bool serial_init(uint16_t base);
void serial_putc(uint16_t base, char c);
int serial_getc(uint16_t base); /* -1 if nothing has been received */
void serial_flush(uint16_t base); /* returns when the last bit has left */

#endif
