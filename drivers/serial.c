/* SPDX-License-Identifier: MIT */
/* The host's 16550, polled. No state: the line to use is the caller's argument. */
#include "drivers/serial.h"

#include "drivers/io.h"

/* Registers and bits: National Semiconductor PC16550D data sheet, table II */
#define REG_DATA         0
#define REG_IER          1
#define REG_FCR          2
#define REG_LCR          3
#define REG_MCR          4
#define REG_LSR          5
#define REG_SCRATCH      7
#define REG_DLL          0 /* with LCR.DLAB */
#define REG_DLM          1

#define FCR_ENABLE_CLEAR 0x07
#define LCR_8N1          0x03
#define LCR_DLAB         0x80
#define MCR_DTR_RTS      0x03
#define LSR_DATA_READY   0x01
#define LSR_THR_EMPTY    0x20
#define LSR_ALL_SENT     0x40

#define DIVISOR_115200   1
/* A UART that never empties is not there any more: give up after this many polls (about 0.1 s). */
#define POLL_MAX 100000

static void wait_lsr(uint16_t base, uint8_t bit)
{
    for (unsigned i = 0; i < POLL_MAX && !(inb(base + REG_LSR) & bit); i++) {
        __builtin_ia32_pause();
    }
}

bool serial_init(uint16_t base)
{
    outb(base + REG_SCRATCH, 0x5a);
    if (inb(base + REG_SCRATCH) != 0x5a) {
        return false;
    }
    wait_lsr(base, LSR_ALL_SENT); /* what the firmware still had to say */
    outb(base + REG_IER, 0);
    outb(base + REG_LCR, LCR_DLAB);
    outb(base + REG_DLL, DIVISOR_115200);
    outb(base + REG_DLM, 0);
    outb(base + REG_LCR, LCR_8N1);
    outb(base + REG_FCR, FCR_ENABLE_CLEAR);
    outb(base + REG_MCR, MCR_DTR_RTS);
    return true;
}

void serial_putc(uint16_t base, char c)
{
    wait_lsr(base, LSR_THR_EMPTY);
    outb(base + REG_DATA, (uint8_t)c);
}

int serial_getc(uint16_t base)
{
    uint8_t lsr = inb(base + REG_LSR);

    if (lsr == 0xff || !(lsr & LSR_DATA_READY)) {
        return -1;
    }
    return inb(base + REG_DATA);
}

void serial_flush(uint16_t base)
{
    wait_lsr(base, LSR_ALL_SENT);
}
