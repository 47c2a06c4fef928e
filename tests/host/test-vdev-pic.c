/* SPDX-License-Identifier: MIT */
/* The 8259A pair: initialization, nesting, every kind of EOI and rotation, masks, polling, edges,
 * levels, spurious requests. */
#include "tests/host/test-vdev.h"

#include <string.h>

#include "drivers/vdev/pic.h"

struct bench {
    struct pic pic;
    int intr;
    unsigned changes;
};

static void intr(void *opaque, int level)
{
    struct bench *b = opaque;

    assert_int_not_equal(b->intr, level); /* only changes are told */
    b->intr = level;
    b->changes++;
}

static void out(struct bench *b, unsigned port, uint8_t v)
{
    bool slave = port >= 0xa0;

    test_out(slave ? pic_slave_access : pic_master_access, &b->pic, port & 1, v);
    assert_int_equal(b->intr, pic_get_irq(&b->pic));
}

static uint8_t in(struct bench *b, unsigned port)
{
    bool slave = port >= 0xa0;

    return test_in(slave ? pic_slave_access : pic_master_access, &b->pic, port & 1);
}

static uint8_t isr(struct bench *b, unsigned port)
{
    out(b, port, 0x0b);
    return in(b, port);
}

static uint8_t irr(struct bench *b, unsigned port)
{
    out(b, port, 0x0a);
    return in(b, port);
}

static void irq(struct bench *b, unsigned line, int level)
{
    pic_set_irq(&b->pic, line, level);
    assert_int_equal(b->intr, pic_get_irq(&b->pic));
}

static void pulse(struct bench *b, unsigned line)
{
    irq(b, line, 0);
    irq(b, line, 1);
}

/* As Linux: vectors 0x30 and 0x38. */
static void start(struct bench *b, uint8_t icw4)
{
    memset(b, 0, sizeof(*b));
    pic_init(&b->pic, intr, b);
    out(b, 0x20, 0x11);
    out(b, 0x21, 0x30);
    out(b, 0x21, 0x04);
    out(b, 0x21, icw4);
    out(b, 0xa0, 0x11);
    out(b, 0xa1, 0x38);
    out(b, 0xa1, 0x02);
    out(b, 0xa1, icw4 & ~0x10);
}

static void test_power_on(void **state)
{
    struct bench b;

    memset(&b, 0, sizeof(b));
    pic_init(&b.pic, intr, &b);
    for (unsigned line = 0; line < 16; line++) {
        irq(&b, line, 1);
    }
    assert_int_equal(b.changes, 0);
    assert_int_equal(in(&b, 0x21), 0xff);
    assert_int_equal(in(&b, 0xa1), 0xff);
    out(&b, 0x21, 0xfe);
    assert_int_equal(b.intr, 1);
    assert_int_equal(pic_ack(&b.pic), 0x08);
}

/* probe_8259A(): write 0xfb to the mask, read it back. */
static void test_linux_probe(void **state)
{
    struct bench b;

    start(&b, 0x01);
    out(&b, 0xa1, 0xff);
    out(&b, 0x21, 0xfb);
    assert_int_equal(in(&b, 0x21), 0xfb);
    assert_int_equal(in(&b, 0xa1), 0xff);
    for (unsigned v = 0; v < 256; v++) {
        out(&b, 0x21, v);
        out(&b, 0xa1, 255 - v);
        assert_int_equal(in(&b, 0x21), v);
        assert_int_equal(in(&b, 0xa1), 255 - v);
    }
}

static void test_nesting(void **state)
{
    struct bench b;

    start(&b, 0x01);
    irq(&b, 4, 1);
    assert_int_equal(b.intr, 1);
    assert_int_equal(pic_ack(&b.pic), 0x34);
    assert_int_equal(b.intr, 0);
    assert_int_equal(isr(&b, 0x20), 0x10);
    irq(&b, 5, 1); /* lower: waits */
    assert_int_equal(b.intr, 0);
    assert_int_equal(irr(&b, 0x20), 0x20);
    pulse(&b, 4); /* itself: waits */
    assert_int_equal(b.intr, 0);
    irq(&b, 0, 1); /* higher: nests */
    assert_int_equal(pic_ack(&b.pic), 0x30);
    assert_int_equal(isr(&b, 0x20), 0x11);
    out(&b, 0x20, 0x20); /* ends 0 */
    assert_int_equal(isr(&b, 0x20), 0x10);
    out(&b, 0x20, 0x64); /* ends 4 */
    assert_int_equal(pic_ack(&b.pic), 0x34);
    out(&b, 0x20, 0x20);
    assert_int_equal(pic_ack(&b.pic), 0x35);
    out(&b, 0x20, 0x65);
    assert_int_equal(b.intr, 0);
    assert_int_equal(isr(&b, 0x20), 0);
}

static void test_edge(void **state)
{
    struct bench b;

    start(&b, 0x01);
    irq(&b, 3, 1);
    assert_int_equal(pic_ack(&b.pic), 0x33);
    out(&b, 0x20, 0x20);
    irq(&b, 3, 1); /* still high: no new edge */
    assert_int_equal(b.intr, 0);
    pulse(&b, 3);
    assert_int_equal(b.intr, 1);
    irq(&b, 3, 0); /* withdrawn before the acknowledge */
    assert_int_equal(b.intr, 0);
    assert_int_equal(irr(&b, 0x20), 0);
    assert_int_equal(pic_ack(&b.pic), 0x37); /* a CPU that had seen INTR gets the spurious vector */
    assert_int_equal(isr(&b, 0x20), 0);      /* which is not in service */
    irq(&b, 3, 1);
    out(&b, 0x20, 0x11); /* ICW1 forgets the edge; nothing is delivered while it waits for ICWs */
    assert_int_equal(b.intr, 0);
    out(&b, 0x21, 0x30);
    out(&b, 0x21, 0x04);
    pulse(&b, 3);
    assert_int_equal(b.intr, 0);
    out(&b, 0x21, 0x01);
    assert_int_equal(b.intr, 1);
    assert_int_equal(pic_ack(&b.pic), 0x33);
    out(&b, 0x20, 0x20);
    out(&b, 0x20, 0x11);
    out(&b, 0x21, 0x30);
    out(&b, 0x21, 0x04);
    out(&b, 0x21, 0x01);
    assert_int_equal(b.intr, 0);
}

static void test_cascade(void **state)
{
    struct bench b;

    start(&b, 0x01);
    irq(&b, 2, 1); /* has no pin */
    assert_int_equal(b.intr, 0);
    irq(&b, 14, 1);
    assert_int_equal(pic_ack(&b.pic), 0x3e);
    assert_int_equal(isr(&b, 0x20), 0x04);
    assert_int_equal(isr(&b, 0xa0), 0x40);
    irq(&b, 8, 1); /* better, but the master holds IR2 in service */
    assert_int_equal(b.intr, 0);
    irq(&b, 1, 1);
    assert_int_equal(pic_ack(&b.pic), 0x31);
    out(&b, 0x20, 0x20);
    out(&b, 0xa0, 0x66); /* Linux: specific EOI to the slave, then 2 to the master */
    assert_int_equal(b.intr, 0);
    out(&b, 0x20, 0x62);
    assert_int_equal(b.intr, 1);
    assert_int_equal(pic_ack(&b.pic), 0x38);
    irq(&b, 15, 1);
    out(&b, 0x20, 0x62); /* the wrong order: master first */
    assert_int_equal(b.intr, 0);
    out(&b, 0xa0, 0x60);
    assert_int_equal(b.intr, 1);
    assert_int_equal(pic_ack(&b.pic), 0x3f);
    out(&b, 0xa0, 0x20);
    out(&b, 0x20, 0x20);
    /* Masking the line at the slave withdraws it at the master. */
    pulse(&b, 9);
    assert_int_equal(b.intr, 1);
    out(&b, 0xa1, 0x02);
    assert_int_equal(b.intr, 0);
    assert_int_equal(irr(&b, 0x20) & 0x04, 0);
    out(&b, 0xa1, 0x00);
    assert_int_equal(pic_ack(&b.pic), 0x39);
}

static void test_spurious_slave(void **state)
{
    struct bench b;

    start(&b, 0x01);
    irq(&b, 10, 1);
    b.pic.chip[1].irr = 0; /* withdrawn between the two INTA pulses, which no call of ours can be */
    assert_int_equal(pic_ack(&b.pic), 0x3f);
    assert_int_equal(isr(&b, 0xa0), 0);
    assert_int_equal(isr(&b, 0x20), 0x04); /* the master awaits its EOI: Linux handles just this */
    out(&b, 0x20, 0x62);
    pulse(&b, 10);
    assert_int_equal(pic_ack(&b.pic), 0x3a);
}

/* With special fully nested mode in the master, a better request of the same slave nests; others
 * below do not. */
static void test_special_fully_nested(void **state)
{
    struct bench b;

    start(&b, 0x11);
    irq(&b, 12, 1);
    assert_int_equal(pic_ack(&b.pic), 0x3c);
    irq(&b, 3, 1);
    assert_int_equal(b.intr, 0);
    irq(&b, 13, 1);
    assert_int_equal(b.intr, 0);
    irq(&b, 9, 1);
    assert_int_equal(b.intr, 1);
    assert_int_equal(pic_ack(&b.pic), 0x39);
    assert_int_equal(isr(&b, 0xa0), 0x12);
}

static void test_auto_eoi(void **state)
{
    struct bench b;

    start(&b, 0x03);
    irq(&b, 6, 1);
    irq(&b, 8, 1);
    irq(&b, 15, 1);
    assert_int_equal(pic_ack(&b.pic), 0x38);
    assert_int_equal(isr(&b, 0xa0), 0);
    assert_int_equal(b.intr, 1); /* the slave's next request makes its own edge at the master */
    assert_int_equal(pic_ack(&b.pic), 0x3f);
    assert_int_equal(pic_ack(&b.pic), 0x36);
    assert_int_equal(b.intr, 0);
    /* Rotating: who was served becomes last. */
    out(&b, 0x20, 0x80);
    pulse(&b, 1);
    assert_int_equal(pic_ack(&b.pic), 0x31);
    pulse(&b, 1);
    pulse(&b, 6);
    assert_int_equal(pic_ack(&b.pic), 0x36);
    assert_int_equal(pic_ack(&b.pic), 0x31);
    out(&b, 0x20, 0x00);
    pulse(&b, 3);
    assert_int_equal(pic_ack(&b.pic), 0x33);
    pulse(&b, 1);
    pulse(&b, 3);
    assert_int_equal(pic_ack(&b.pic), 0x33); /* 1 is still last */
}

static void test_rotation(void **state)
{
    struct bench b;

    start(&b, 0x01);
    out(&b, 0x20, 0xc4); /* 4 is last, 5 first */
    irq(&b, 4, 1);
    irq(&b, 5, 1);
    irq(&b, 0, 1);
    assert_int_equal(pic_ack(&b.pic), 0x35);
    out(&b, 0x20, 0xa0); /* rotate on non-specific EOI: now 5 is last */
    assert_int_equal(pic_ack(&b.pic), 0x30);
    pulse(&b, 5);
    out(&b, 0x20, 0xe0); /* rotate on specific EOI: now 0 is last */
    assert_int_equal(pic_ack(&b.pic), 0x34);
    pulse(&b, 0);
    assert_int_equal(b.intr, 0);
    out(&b, 0x20, 0x40); /* no operation */
    assert_int_equal(isr(&b, 0x20), 0x10);
    out(&b, 0x20, 0x64);
    assert_int_equal(pic_ack(&b.pic), 0x35);
    out(&b, 0x20, 0x20);
    assert_int_equal(pic_ack(&b.pic), 0x30);
}

static void test_special_mask(void **state)
{
    struct bench b;

    start(&b, 0x01);
    irq(&b, 1, 1);
    assert_int_equal(pic_ack(&b.pic), 0x31);
    irq(&b, 5, 1);
    assert_int_equal(b.intr, 0);
    out(&b, 0x20, 0x68);
    out(&b, 0x21, 0x02); /* in service but masked: no obstacle */
    assert_int_equal(b.intr, 1);
    assert_int_equal(pic_ack(&b.pic), 0x35);
    out(&b, 0x20, 0x20); /* ends 5: 1 is spared */
    assert_int_equal(isr(&b, 0x20), 0x02);
    out(&b, 0x20, 0x48);
    pulse(&b, 5);
    assert_int_equal(b.intr, 0);
    out(&b, 0x20, 0x20);
    assert_int_equal(isr(&b, 0x20), 0);
    assert_int_equal(b.intr, 1);
}

static void test_poll(void **state)
{
    struct bench b;

    start(&b, 0x01);
    out(&b, 0x20, 0x0c);
    assert_int_equal(in(&b, 0x20) & 0x80, 0);
    irq(&b, 4, 1);
    out(&b, 0x20, 0x0c);
    assert_int_equal(in(&b, 0x20), 0x84);
    assert_int_equal(b.intr, 0);
    assert_int_equal(isr(&b, 0x20), 0x10);
    out(&b, 0x20, 0x20);
    irq(&b, 11, 1);
    out(&b, 0xa0, 0x0c);
    assert_int_equal(in(&b, 0xa1), 0x83); /* the odd port will do, once */
    assert_int_equal(in(&b, 0xa1), 0x00);
    assert_int_equal(b.intr, 0);
    assert_int_equal(isr(&b, 0xa0), 0x08);
}

static void test_level(void **state)
{
    struct bench b;

    start(&b, 0x01);
    test_out(pic_elcr_access, &b.pic, 0, 0xff);
    test_out(pic_elcr_access, &b.pic, 1, 0xff);
    assert_int_equal(test_in(pic_elcr_access, &b.pic, 0), 0xf8);
    assert_int_equal(test_in(pic_elcr_access, &b.pic, 1), 0xde);
    irq(&b, 11, 1);
    assert_int_equal(pic_ack(&b.pic), 0x3b);
    out(&b, 0xa0, 0x20);
    out(&b, 0x20, 0x20);
    assert_int_equal(b.intr, 1); /* still high: again */
    assert_int_equal(pic_ack(&b.pic), 0x3b);
    irq(&b, 11, 0);
    out(&b, 0xa0, 0x20);
    out(&b, 0x20, 0x20);
    assert_int_equal(b.intr, 0);
    irq(&b, 0, 1); /* the timer stays edge-triggered */
    assert_int_equal(pic_ack(&b.pic), 0x30);
    out(&b, 0x20, 0x20);
    assert_int_equal(b.intr, 0);
    test_out(pic_elcr_access, &b.pic, 0, 0);
    irq(&b, 5, 1);
    assert_int_equal(pic_ack(&b.pic), 0x35);
    out(&b, 0x20, 0x20);
    test_out(pic_elcr_access, &b.pic, 0, 0x20); /* a line that is high becomes level-triggered */
    assert_int_equal(b.intr, 1);
    /* LTIM makes all lines level-triggered. */
    out(&b, 0x20, 0x1b);
    out(&b, 0x21, 0x50);
    out(&b, 0x21, 0x01); /* SNGL: no ICW3, this is ICW4 */
    assert_int_equal(b.intr, 1);
    assert_int_equal(pic_ack(&b.pic), 0x50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_on),
        cmocka_unit_test(test_linux_probe),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_edge),
        cmocka_unit_test(test_cascade),
        cmocka_unit_test(test_spurious_slave),
        cmocka_unit_test(test_special_fully_nested),
        cmocka_unit_test(test_auto_eoi),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_special_mask),
        cmocka_unit_test(test_poll),
        cmocka_unit_test(test_level),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
