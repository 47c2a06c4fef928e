/* SPDX-License-Identifier: MIT */
/*
 * Two cascaded 8259A and the ELCR of the PIIX/ICH south bridges, after Intel's 8259A datasheet
 * (231468), sections "Programming the 8259A" and "Operation control words". An edge request lasts
 * as long as its pin stays high, as the datasheet demands, so that a device that withdraws its
 * request leaves nothing behind. MCS-80/85 mode, buffered mode and a pair wired otherwise than in a
 * PC do not exist here.
 */
#include "drivers/vdev/pic.h"

#include "kernel/lib/string.h"

#define MASTER       0
#define SLAVE        1
#define CASCADE      2 /* the master's input that the slave drives */

#define ICW1_IC4     0x01
#define ICW1_SNGL    0x02
#define ICW1_LTIM    0x08
#define ICW1         0x10 /* tells ICW1 from OCW2 and OCW3 */
#define ICW4_AEOI    0x02
#define ICW4_SFNM    0x10

#define OCW3         0x08 /* tells OCW3 from OCW2 */
#define OCW3_RIS     0x01
#define OCW3_RR      0x02
#define OCW3_POLL    0x04
#define OCW3_SMM     0x20
#define OCW3_ESMM    0x40

#define POLL_PENDING 0x80

static const uint8_t elcr_mask[2] = {0xf8,
                                     0xde}; /* lines 0, 1, 2, 8 and 13 are always edge-triggered */

static bool level_triggered(const struct pic_chip *c, unsigned line)
{
    return (c->icw1 & ICW1_LTIM) || (c->elcr & (1u << line));
}

static void chip_set_pin(struct pic_chip *c, unsigned line, bool level)
{
    uint8_t bit = 1u << line;

    if (!level) {
        c->irr &= ~bit;
        c->pins &= ~bit;
        return;
    }
    if (level_triggered(c, line) || !(c->pins & bit)) {
        c->irr |= bit;
    }
    c->pins |= bit;
}

/* The request that the chip would have served next, by the rotating priority; -1 if none may
 * interrupt now. */
static int chip_pending(const struct pic_chip *c)
{
    uint8_t request = c->irr & ~c->imr;
    uint8_t in_service = c->special_mask ? c->isr & ~c->imr : c->isr;

    if (request == 0 || c->expect_icw != 0) {
        return -1;
    }
    for (unsigned i = 1; i <= 8; i++) {
        unsigned line = (c->lowest + i) & 7;
        uint8_t bit = 1u << line;

        if (in_service & bit) {
            /* Special fully nested: the slave in service may be interrupted by a better request of
             * its own. */
            bool nested = c->master && line == CASCADE && (c->icw4 & ICW4_SFNM) && (request & bit);

            return nested ? (int)line : -1;
        }
        if (request & bit) {
            return line;
        }
    }
    return -1;
}

static void chip_acknowledge(struct pic_chip *c, unsigned line)
{
    uint8_t bit = 1u << line;

    if (!level_triggered(c, line)) {
        c->irr &= ~bit;
    }
    if (!(c->icw4 & ICW4_AEOI)) {
        c->isr |= bit;
    } else if (c->rotate_aeoi) {
        c->lowest = line;
    }
}

static void pic_update(struct pic *pic)
{
    struct pic_chip *master = &pic->chip[MASTER], *slave = &pic->chip[SLAVE];
    bool level;

    slave->int_out = chip_pending(slave) >= 0;
    chip_set_pin(master, CASCADE, slave->int_out);
    level = chip_pending(master) >= 0;
    if (level != master->int_out) {
        master->int_out = level;
        if (pic->out) {
            pic->out(pic->out_opaque, level);
        }
    }
}

/* INTA drops the slave's INT before it may rise again, so that the master sees an edge for each
 * request. */
static void slave_int_drop(struct pic *pic)
{
    pic->chip[SLAVE].int_out = false;
    chip_set_pin(&pic->chip[MASTER], CASCADE, false);
}

void pic_set_irq(void *ctl, unsigned line, int level)
{
    struct pic *pic = ctl;

    if (line >= PIC_LINES || line == CASCADE) {
        return;
    }
    chip_set_pin(&pic->chip[line >> 3], line & 7, level != 0);
    pic_update(pic);
}

bool pic_get_irq(const struct pic *pic)
{
    return pic->chip[MASTER].int_out;
}

int pic_requested(const struct pic *pic)
{
    int line = chip_pending(&pic->chip[MASTER]);

    if (line != CASCADE) {
        return line;
    }
    line = chip_pending(&pic->chip[SLAVE]);
    return line < 0 ? -1 : line + 8;
}

uint8_t pic_ack(struct pic *pic)
{
    struct pic_chip *master = &pic->chip[MASTER], *slave = &pic->chip[SLAVE];
    int line = chip_pending(master);
    uint8_t vector;

    if (line < 0) {
        return master->base | 7; /* spurious: no ISR bit, no EOI due */
    }
    chip_acknowledge(master, line);
    vector = master->base | line;
    if (line == CASCADE) {
        line = chip_pending(slave);
        vector = slave->base |
                 (line < 0 ? 7 : line); /* spurious IRQ 15: the master alone is in service */
        if (line >= 0) {
            chip_acknowledge(slave, line);
        }
        slave_int_drop(pic);
    }
    pic_update(pic);
    return vector;
}

/* The in-service bit that a non-specific EOI ends; -1 if none. Special mask mode spares masked
 * ones. */
static int highest_in_service(const struct pic_chip *c)
{
    uint8_t in_service = c->special_mask ? c->isr & ~c->imr : c->isr;

    for (unsigned i = 1; i <= 8; i++) {
        unsigned line = (c->lowest + i) & 7;

        if (in_service & (1u << line)) {
            return line;
        }
    }
    return -1;
}

static void write_icw1(struct pic_chip *c, uint8_t value)
{
    c->icw1 = value;
    c->icw4 = 0;
    c->imr = 0;
    c->isr = 0;
    c->lowest = 7;
    c->read_isr = false;
    c->poll = false;
    c->special_mask = false;
    c->rotate_aeoi = false;
    c->expect_icw = 2;
    /* The edge detectors are reset: a pin that is high must fall and rise to be seen. */
    c->irr = (value & ICW1_LTIM) ? c->pins : c->pins & c->elcr;
}

static void write_ocw2(struct pic_chip *c, uint8_t value)
{
    unsigned line = value & 7;
    int served = highest_in_service(c);

    switch (value >> 5) {
    case 0: /* rotate in AEOI mode: clear */
        c->rotate_aeoi = false;
        break;
    case 4: /* rotate in AEOI mode: set */
        c->rotate_aeoi = true;
        break;
    case 1: /* non-specific EOI */
    case 5: /* and rotate */
        if (served >= 0) {
            c->isr &= ~(1u << served);
            if (value & 0x80) {
                c->lowest = served;
            }
        }
        break;
    case 3: /* specific EOI */
        c->isr &= ~(1u << line);
        break;
    case 7: /* and rotate */
        c->isr &= ~(1u << line);
        c->lowest = line;
        break;
    case 6: /* set priority */
        c->lowest = line;
        break;
    default: /* no operation */
        break;
    }
}

static void write_ocw3(struct pic_chip *c, uint8_t value)
{
    if (value & OCW3_ESMM) {
        c->special_mask = value & OCW3_SMM;
    }
    if (value & OCW3_POLL) {
        c->poll = true;
    } else if (value & OCW3_RR) {
        c->read_isr = value & OCW3_RIS;
    }
}

static void write_odd(struct pic_chip *c, uint8_t value)
{
    switch (c->expect_icw) {
    case 2:
        c->base = value & 0xf8;
        c->expect_icw = !(c->icw1 & ICW1_SNGL) ? 3 : (c->icw1 & ICW1_IC4) ? 4 : 0;
        break;
    case 3:
        c->icw3 = value; /* the wiring is fixed: kept, not used */
        c->expect_icw = (c->icw1 & ICW1_IC4) ? 4 : 0;
        break;
    case 4:
        c->icw4 = value;
        c->expect_icw = 0;
        break;
    default:
        c->imr = value;
        break;
    }
}

static void chip_write(struct pic_chip *c, unsigned offset, uint8_t value)
{
    if (offset == 1) {
        write_odd(c, value);
    } else if (value & ICW1) {
        write_icw1(c, value);
    } else if (value & OCW3) {
        write_ocw3(c, value);
    } else {
        write_ocw2(c, value);
    }
}

/* The read after a poll command is an interrupt acknowledge to this chip alone. */
static uint8_t chip_poll(struct pic *pic, struct pic_chip *c)
{
    int line = chip_pending(c);

    c->poll = false;
    if (line < 0) {
        return 0;
    }
    chip_acknowledge(c, line);
    if (!c->master) {
        slave_int_drop(pic);
    }
    return POLL_PENDING | line;
}

static enum vdev_result chip_access(struct pic *pic, struct pic_chip *c, struct vdev_access *acc)
{
    if (acc->size != 1) {
        return VDEV_UNHANDLED;
    }
    if (acc->write) {
        chip_write(c, acc->offset, acc->value);
    } else if (c->poll) {
        acc->value = chip_poll(pic, c);
    } else if (acc->offset == 1) {
        acc->value = c->imr;
    } else {
        acc->value = c->read_isr ? c->isr : c->irr;
    }
    pic_update(pic);
    return VDEV_HANDLED;
}

enum vdev_result pic_master_access(void *dev, struct vdev_access *acc)
{
    struct pic *pic = dev;

    return chip_access(pic, &pic->chip[MASTER], acc);
}

enum vdev_result pic_slave_access(void *dev, struct vdev_access *acc)
{
    struct pic *pic = dev;

    return chip_access(pic, &pic->chip[SLAVE], acc);
}

enum vdev_result pic_elcr_access(void *dev, struct vdev_access *acc)
{
    struct pic *pic = dev;
    struct pic_chip *c;

    if (acc->size != 1) {
        return VDEV_UNHANDLED;
    }
    c = &pic->chip[acc->offset];
    if (!acc->write) {
        acc->value = c->elcr;
        return VDEV_HANDLED;
    }
    c->elcr = acc->value & elcr_mask[acc->offset];
    c->irr = (c->irr & ~c->elcr) | (c->pins & c->elcr);
    pic_update(pic);
    return VDEV_HANDLED;
}

void pic_init(struct pic *pic, void (*out)(void *opaque, int level), void *out_opaque)
{
    memset(pic, 0, sizeof(*pic));
    pic->out = out;
    pic->out_opaque = out_opaque;
    for (unsigned i = 0; i < 2; i++) {
        struct pic_chip *c = &pic->chip[i];

        c->master = i == MASTER;
        c->lowest = 7;
        c->imr = 0xff;
        c->base = i == MASTER ? 0x08 : 0x70;
        c->icw1 = ICW1 | ICW1_IC4;
        c->icw3 = i == MASTER ? 1u << CASCADE : CASCADE;
        c->icw4 = 1;
    }
}
