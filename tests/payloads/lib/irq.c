/* SPDX-License-Identifier: MIT */
/* 8259A pair and 8254 channel 0, programmed as PC firmware does. */
#include "tests/payloads/lib/irq.h"

#include "tests/payloads/lib/payload.h"

#define PIC1 0x20
#define PIC2 0xa0
#define PIT_HZ 1193182u

void pic_init(void)
{
    outb(PIC1, 0x11); /* ICW1: edge, cascade, ICW4 follows */
    outb(PIC2, 0x11);
    outb(PIC1 + 1, IRQ_BASE);
    outb(PIC2 + 1, IRQ_BASE + 8);
    outb(PIC1 + 1, 1 << 2);
    outb(PIC2 + 1, 2);
    outb(PIC1 + 1, 1); /* ICW4: 8086 mode, normal EOI */
    outb(PIC2 + 1, 1);
    outb(PIC1 + 1, 0xff);
    outb(PIC2 + 1, 0xff);
}

static uint16_t mask_port(unsigned irq)
{
    return irq < 8 ? PIC1 + 1 : PIC2 + 1;
}

void pic_unmask(unsigned irq)
{
    outb(mask_port(irq), (uint8_t)(inb(mask_port(irq)) & ~(1u << (irq & 7))));
}

void pic_mask(unsigned irq)
{
    outb(mask_port(irq), (uint8_t)(inb(mask_port(irq)) | 1u << (irq & 7)));
}

void pic_eoi(unsigned irq)
{
    if (irq >= 8) {
        outb(PIC2, 0x20);
    }
    outb(PIC1, 0x20);
}

static void pit_program(uint8_t control, unsigned count)
{
    outb(0x43, control);
    outb(0x40, (uint8_t)count);
    outb(0x40, (uint8_t)(count >> 8));
}

void pit_start(unsigned hz)
{
    pit_program(0x34, PIT_HZ / hz); /* channel 0, low then high byte, mode 2 */
}

void pit_one_shot(unsigned us)
{
    pit_program(0x30, (unsigned)((uint64_t)us * PIT_HZ / 1000000)); /* mode 0 */
}
