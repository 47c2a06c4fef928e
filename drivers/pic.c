/* SPDX-License-Identifier: MIT */
/* The host's 8259 pair; the masks live in the chips. */
#include "drivers/pic.h"

#include "drivers/io.h"

/* Intel 8259A data sheet, initialization and operation command words */
#define MASTER_COMMAND 0x20
#define MASTER_DATA    0x21
#define SLAVE_COMMAND  0xa0
#define SLAVE_DATA     0xa1
#define ICW1_INIT_ICW4 0x11
#define ICW4_8086      0x01
#define OCW2_EOI       0x20
#define OCW3_READ_ISR  0x0b
#define OCW3_POLL      0x0c
#define CASCADE_LINE   2

void i8259_mask_all(void)
{
    outb(SLAVE_DATA, 0xff);
    outb(MASTER_DATA, 0xff);
}

void i8259_init(uint8_t first)
{
    outb(MASTER_COMMAND, ICW1_INIT_ICW4);
    outb(SLAVE_COMMAND, ICW1_INIT_ICW4);
    outb(MASTER_DATA, first);
    outb(SLAVE_DATA, first + 8);
    outb(MASTER_DATA, 1 << CASCADE_LINE);
    outb(SLAVE_DATA, CASCADE_LINE);
    outb(MASTER_DATA, ICW4_8086);
    outb(SLAVE_DATA, ICW4_8086);
    i8259_mask_all();
}

void i8259_unmask(unsigned line)
{
    uint16_t data = line < 8 ? MASTER_DATA : SLAVE_DATA;

    outb(data, inb(data) & (uint8_t) ~(1 << (line & 7)));
    if (line >= 8) {
        i8259_unmask(CASCADE_LINE);
    }
}

bool i8259_ack(unsigned line)
{
    uint16_t command = line < 8 ? MASTER_COMMAND : SLAVE_COMMAND;
    bool real = true;

    if ((line & 7) == 7) {
        outb(command, OCW3_READ_ISR);
        real = inb(command) & 0x80;
    }
    if (real) {
        outb(command, OCW2_EOI);
    }
    if (line >= 8) {
        outb(MASTER_COMMAND, OCW2_EOI); /* the cascade was in service in either case */
    }
    return real;
}

bool i8259_poll(void)
{
    outb(MASTER_COMMAND, OCW3_POLL);
    if (!(inb(MASTER_COMMAND) & 0x80)) {
        return false;
    }
    outb(MASTER_COMMAND, OCW2_EOI);
    return true;
}
