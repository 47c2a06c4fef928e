/* SPDX-License-Identifier: MIT */
/* The small devices: i8042, PCI mechanism 1 and 0xcf9, DMA registers, port 0x61, port 0x92, debug
 * exit, debug console, VGA. */
#include "tests/host/test-vdev.h"

#include <string.h>

#include "drivers/vdev/dma.h"
#include "drivers/vdev/i8042.h"
#include "drivers/vdev/misc.h"
#include "drivers/vdev/pci.h"
#include "drivers/vdev/port61.h"

struct resets {
    unsigned count;
    char last[32];
};

static void on_reset(void *opaque, const char *reason)
{
    struct resets *r = opaque;

    r->count++;
    strncpy(r->last, reason, sizeof(r->last) - 1);
}

/* ---- i8042 ---- */

struct kbc {
    struct test_line line[2];
    struct resets resets;
    struct i8042 dev;
};

static void kbc_start(struct kbc *k)
{
    struct vdev_irq kbd = test_irq(k->line, 0), aux = test_irq(k->line, 1);
    struct vdev_reset reset = {.request = on_reset, .opaque = &k->resets};

    memset(k, 0, sizeof(*k));
    i8042_init(&k->dev, &kbd, &aux, &reset);
}

static uint8_t status(struct kbc *k)
{
    return test_in(i8042_command_access, &k->dev, 0);
}

static void command(struct kbc *k, uint8_t v)
{
    test_out(i8042_command_access, &k->dev, 0, v);
    assert_int_equal(status(k) & 0x0a, 0x08); /* CMD; never IBF */
}

static void data(struct kbc *k, uint8_t v)
{
    test_out(i8042_data_access, &k->dev, 0, v);
    assert_int_equal(status(k) & 0x0a, 0);
}

static uint8_t answer(struct kbc *k)
{
    assert_int_equal(status(k) & 0x01, 0x01);
    return test_in(i8042_data_access, &k->dev, 0);
}

static uint8_t ask(struct kbc *k, uint8_t v)
{
    command(k, v);
    return answer(k);
}

static void test_i8042_idle(void **state)
{
    struct kbc k;

    kbc_start(&k);
    for (unsigned i = 0; i < 100; i++) { /* memtest86+ polls OBF for keys: there are none */
        assert_int_equal(status(&k), 0x14);
        assert_int_equal(test_in(i8042_data_access, &k.dev, 0), 0);
    }
    assert_int_equal(k.line[0].rises, 0);
}

static void test_i8042_tests(void **state)
{
    struct kbc k;

    kbc_start(&k);
    assert_int_equal(ask(&k, 0xaa), 0x55);
    assert_int_equal(ask(&k, 0xab), 0x00);
    assert_int_equal(ask(&k, 0xa9), 0x00);
    assert_int_equal(ask(&k, 0xa4), 0xf1);
    assert_int_equal(ask(&k, 0xc0), 0x80);
    assert_int_equal(ask(&k, 0xe0), 0x00);
    command(&k, 0x00); /* unknown: no answer */
    assert_int_equal(status(&k) & 1, 0);
}

static void test_i8042_command_byte(void **state)
{
    struct kbc k;

    kbc_start(&k);
    assert_int_equal(ask(&k, 0x20), 0x65);
    command(&k, 0x60);
    data(&k, 0x40);
    assert_int_equal(ask(&k, 0x20), 0x40);
    assert_int_equal(status(&k) & 0x04, 0); /* SYS follows the command byte */
    command(&k, 0xad);
    command(&k, 0xa7);
    assert_int_equal(ask(&k, 0x20), 0x70);
    command(&k, 0xae);
    command(&k, 0xa8);
    assert_int_equal(ask(&k, 0x20), 0x40);
    command(&k, 0x75);
    data(&k, 0xa5);
    assert_int_equal(ask(&k, 0x35), 0xa5);
    assert_int_equal(ask(&k, 0xaa), 0x55);
    assert_int_equal(ask(&k, 0x20), 0x44);
}

/* A device that is not there times out at once, with its interrupt, instead of making the driver
 * wait. */
static void test_i8042_no_devices(void **state)
{
    struct kbc k;

    kbc_start(&k);
    data(&k, 0xf2);
    assert_int_equal(status(&k), 0x55);
    assert_int_equal(k.line[0].level, 1);
    assert_int_equal(answer(&k), 0xfe);
    assert_int_equal(k.line[0].level, 0);
    command(&k, 0x60);
    data(&k, 0x47);
    command(&k, 0xd4);
    data(&k, 0xf2);
    assert_int_equal(status(&k), 0x75);
    assert_int_equal(k.line[0].level, 0);
    assert_int_equal(k.line[1].level, 1);
    assert_int_equal(ask(&k, 0xd0), 0xfe);     /* the answer to the older question comes first */
    assert_int_equal(status(&k) & 0x21, 0x01); /* now the output port */
    assert_int_equal(answer(&k) & 0x30, 0x20);
    for (unsigned i = 0; i < 20; i++) { /* unread answers do not pile up */
        data(&k, 0xed);
    }
    for (unsigned i = 0; i < I8042_QUEUE; i++) {
        assert_int_equal(answer(&k), 0xfe);
    }
    assert_int_equal(status(&k) & 1, 0);
}

static void test_i8042_loops_and_interrupts(void **state)
{
    struct kbc k;

    kbc_start(&k);
    command(&k, 0xd3); /* Linux: is there an AUX port? */
    data(&k, 0x5a);
    assert_int_equal(status(&k) & 0x21, 0x21);
    assert_int_equal(k.line[1].level, 0); /* AUX interrupt not enabled */
    assert_int_equal(answer(&k), 0x5a);
    command(&k, 0x60);
    data(&k, 0x47);
    command(&k, 0xd3);
    data(&k, 0xa5);
    assert_int_equal(k.line[1].level, 1);
    assert_int_equal(answer(&k), 0xa5);
    assert_int_equal(k.line[1].level, 0);
    command(&k, 0xd2);
    data(&k, 0x1c);
    command(&k, 0xd2);
    data(&k, 0x9c);
    assert_int_equal(k.line[0].rises, 1);
    assert_int_equal(answer(&k), 0x1c);
    assert_int_equal(k.line[0].rises, 2); /* the next byte makes an edge */
    assert_int_equal(answer(&k), 0x9c);
    assert_int_equal(k.line[0].level, 0);
}

static void test_i8042_reset_and_a20(void **state)
{
    struct kbc k;

    kbc_start(&k);
    command(&k, 0xff);
    assert_int_equal(k.resets.count, 0);
    command(&k, 0xfe);
    assert_int_equal(k.resets.count, 1);
    assert_string_equal(k.resets.last, "i8042 pulse");
    command(&k, 0xf0);
    assert_int_equal(k.resets.count, 2);
    assert_int_equal(ask(&k, 0xd0) & 0x03, 0x03);
    assert_true(i8042_a20_open(&k.dev));
    command(&k, 0xdd);
    assert_false(i8042_a20_open(&k.dev));
    assert_int_equal(ask(&k, 0xd0) & 0x03, 0x01);
    command(&k, 0xdf);
    assert_true(i8042_a20_open(&k.dev));
    assert_int_equal(ask(&k, 0xd0) & 0x03, 0x03);
    command(&k, 0xd1);
    data(&k, 0x01);
    assert_int_equal(ask(&k, 0xd0) & 0x03, 0x01);
    assert_int_equal(k.resets.count, 2);
    command(&k, 0xd1);
    data(&k, 0x02);
    assert_int_equal(k.resets.count, 3);
    assert_string_equal(k.resets.last, "i8042 output port");
}

/* ---- PCI ---- */

static enum vdev_result pci(struct pci *p, uint32_t offset, unsigned size, bool write,
                            uint32_t *value)
{
    struct vdev_access acc = {.offset = offset, .size = size, .write = write, .value = *value};
    enum vdev_result res = pci_access(p, &acc);

    *value = acc.value;
    return res;
}

static void test_pci(void **state)
{
    struct resets r = {0};
    struct vdev_reset reset = {.request = on_reset, .opaque = &r};
    struct pci p;
    uint32_t v = 0x80000000;

    pci_init(&p, &reset);
    assert_int_equal(pci(&p, 0, 4, true, &v), VDEV_HANDLED); /* pci_check_type1() */
    v = 1;
    assert_int_equal(pci(&p, 3, 1, true, &v), VDEV_UNHANDLED);
    assert_int_equal(pci(&p, 0, 4, false, &v), VDEV_HANDLED);
    assert_int_equal(v, 0x80000000);
    v = 0xffffffff;
    pci(&p, 0, 4, true, &v);
    pci(&p, 0, 4, false, &v);
    assert_int_equal(v, 0x80fffffc);
    v = 0;
    pci(&p, 4, 4, true, &v);
    assert_int_equal(pci(&p, 4, 4, false, &v), VDEV_HANDLED);
    assert_int_equal(v, 0xffffffff);
    assert_int_equal(pci(&p, 6, 2, false, &v), VDEV_HANDLED);
    assert_int_equal(v & 0xffff, 0xffff);
    assert_int_equal(pci(&p, 0, 1, false, &v), VDEV_UNHANDLED); /* no mechanism 2 */
    assert_int_equal(pci(&p, 0, 2, false, &v), VDEV_UNHANDLED);

    assert_int_equal(test_in(pci_access, &p, 1), 0);
    test_out(pci_access, &p, 1, 0x02); /* Linux: hard reset chosen, then pulled */
    assert_int_equal(r.count, 0);
    assert_int_equal(test_in(pci_access, &p, 1), 0x02);
    test_out(pci_access, &p, 1, 0x06);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.last, "port 0xcf9");
    test_out(pci_access, &p, 1, 0x06); /* an edge, not a level */
    assert_int_equal(r.count, 1);
    pci(&p, 0, 4, false, &v);
    assert_int_equal(v, 0x80fffffc); /* the address register is not touched by it */
}

/* ---- the rest ---- */

static void test_dma(void **state)
{
    struct dma d;

    memset(&d, 0xff, sizeof(d));
    dma_init(&d);
    assert_int_equal(test_in(dma_page_access, &d, 7),
                     0); /* Linux: all-ones would mean no controller */
    for (unsigned i = 0; i < 0x20; i++) {
        test_out(dma_low_access, &d, i, i + 1);
        test_out(dma_high_access, &d, i, i + 0x41);
        if (i < 0x10) {
            test_out(dma_page_access, &d, i, i + 0x81);
        }
    }
    for (unsigned i = 0; i < 0x20; i++) {
        assert_int_equal(test_in(dma_low_access, &d, i), i + 1);
        assert_int_equal(test_in(dma_high_access, &d, i), i + 0x41);
        if (i < 0x10) {
            assert_int_equal(test_in(dma_page_access, &d, i), i + 0x81);
        }
    }
}

static void test_port61(void **state)
{
    struct test_clock clk = {.now = 0};
    struct vdev_clock clock = test_clock(&clk);
    struct vdev_irq none = {0};
    struct pit pit;
    struct port61 p;
    unsigned toggles = 0;
    uint8_t last;

    pit_init(&pit, &clock, &none);
    port61_init(&p, &pit, &clock);
    test_out(port61_access, &p, 0, 0xff);
    assert_int_equal(test_in(port61_access, &p, 0) & 0xcf, 0x0f);
    assert_true(pit_gate2(&pit));
    test_out(port61_access, &p, 0, 0x00);
    assert_int_equal(test_in(port61_access, &p, 0) & 0xcf, 0x00);
    assert_false(pit_gate2(&pit));
    last = test_in(port61_access, &p, 0);
    for (unsigned i = 0; i < 10000; i++) { /* refresh: a toggle each 15.085 us */
        uint8_t v;

        clk.now += 1000;
        v = test_in(port61_access, &p, 0);
        toggles += (v ^ last) >> 4 & 1;
        last = v;
    }
    assert_in_range(toggles, 10000000 / 15085 - 1, 10000000 / 15085 + 1);
    /* OUT2: mode 0 goes low with the control word, high 50 ms after a count of 59659. */
    test_out(port61_access, &p, 0, 0x01);
    test_out(pit_access, &pit, 3, 0xb0);
    test_out(pit_access, &pit, 2, 59659 & 0xff);
    test_out(pit_access, &pit, 2, 59659 >> 8);
    assert_int_equal(test_in(port61_access, &p, 0) & 0x20, 0);
    clk.now += 49990000;
    assert_int_equal(test_in(port61_access, &p, 0) & 0x20, 0);
    clk.now += 20000;
    assert_int_equal(test_in(port61_access, &p, 0) & 0x20, 0x20);
}

static void test_port92(void **state)
{
    struct resets r = {0};
    struct vdev_reset reset = {.request = on_reset, .opaque = &r};
    struct port92 p;

    port92_init(&p, &reset);
    assert_int_equal(test_in(port92_access, &p, 0), 0x02);
    assert_true(port92_a20_open(&p));
    test_out(port92_access, &p, 0, 0xfc);
    assert_int_equal(test_in(port92_access, &p, 0), 0x00);
    assert_false(port92_a20_open(&p));
    test_out(port92_access, &p, 0, 0x03);
    assert_int_equal(r.count, 1);
    test_out(port92_access, &p, 0, 0x03);
    assert_int_equal(r.count, 1);
    assert_int_equal(test_in(port92_access, &p, 0), 0x03);
}

struct outputs {
    unsigned count, size;
    uint32_t value;
};

static void on_exit_port(void *opaque, uint32_t value, unsigned size)
{
    struct outputs *o = opaque;

    *o = (struct outputs){.count = o->count + 1, .size = size, .value = value};
}

static void on_byte(void *opaque, uint8_t byte)
{
    on_exit_port(opaque, byte, 1);
}

static void test_debug_ports(void **state)
{
    struct outputs o = {0};
    struct debug_exit e = {.exit = on_exit_port, .opaque = &o};
    struct debugcon c = {.out = on_byte, .opaque = &o};
    struct vdev_access acc = {.size = 4, .write = true, .value = 0x12345};

    assert_int_equal(debug_exit_access(&e, &acc), VDEV_HANDLED);
    assert_int_equal(o.count, 1);
    assert_int_equal(o.size, 4);
    assert_int_equal(o.value, 0x12345);
    test_out(debug_exit_access, &e, 0, 0);
    assert_int_equal(o.count, 2);
    assert_int_equal(o.size, 1);
    assert_int_equal(o.value, 0);
    test_out(debug_exit_access, &e, 1, 7);
    assert_int_equal(o.count, 2);
    assert_int_equal(test_in(debug_exit_access, &e, 0), 0);
    test_out(debugcon_access, &c, 0, 'q');
    assert_int_equal(o.count, 3);
    assert_int_equal(o.value, 'q');
    assert_int_equal(test_in(debugcon_access, &c, 0), 0xe9);
    acc = (struct vdev_access){.offset = 0x1a, .size = 2};
    assert_int_equal(vga_absent_access(NULL, &acc), VDEV_HANDLED);
    assert_int_equal(acc.value & 0xffff, 0xffff);
}

static uint32_t on_counter(void *opaque, uint32_t index)
{
    return *(uint32_t *)opaque + index;
}

static void test_counter_port(void **state)
{
    uint32_t base = 0x1000;
    struct counter_port c = {.read = on_counter, .opaque = &base};
    struct vdev_access acc = {.size = 4};

    assert_int_equal(counter_port_access(&c, &acc), VDEV_HANDLED);
    assert_int_equal(acc.value, 0x1000); /* 0 is selected before anything is written */
    acc = (struct vdev_access){.size = 4, .write = true, .value = 0x20};
    assert_int_equal(counter_port_access(&c, &acc), VDEV_HANDLED);
    test_out(counter_port_access, &c, 0, 7); /* a byte selects nothing and is answered with nothing */
    test_out(counter_port_access, &c, 2, 9);
    assert_int_equal(test_in(counter_port_access, &c, 0), 0xff);
    acc = (struct vdev_access){.size = 4};
    counter_port_access(&c, &acc);
    assert_int_equal(acc.value, 0x1020);
    c.read = NULL;
    counter_port_access(&c, &acc);
    assert_int_equal(acc.value, 0xffffffff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_i8042_idle),
        cmocka_unit_test(test_i8042_tests),
        cmocka_unit_test(test_i8042_command_byte),
        cmocka_unit_test(test_i8042_no_devices),
        cmocka_unit_test(test_i8042_loops_and_interrupts),
        cmocka_unit_test(test_i8042_reset_and_a20),
        cmocka_unit_test(test_pci),
        cmocka_unit_test(test_dma),
        cmocka_unit_test(test_port61),
        cmocka_unit_test(test_port92),
        cmocka_unit_test(test_debug_ports),
        cmocka_unit_test(test_counter_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
