/* SPDX-License-Identifier: MIT */
/* The 16550A: registers, interrupt priorities, FIFO, time-out, overrun, and the tests that Linux's
 * 8250 driver makes. */
#include "tests/host/test-vdev.h"

#include <string.h>

#include "drivers/vdev/uart.h"

#define CHAR_NS (10 * 1000000000ull / 115200) /* 8N1 */

struct bench {
    struct test_clock clk;
    struct test_line line;
    struct uart uart;
    uint8_t sent[64];
    unsigned count;
};

static void sink(void *opaque, uint8_t byte)
{
    struct bench *b = opaque;

    assert_true(b->count < sizeof(b->sent));
    b->sent[b->count++] = byte;
}

static void start(struct bench *b)
{
    struct vdev_clock clock = test_clock(&b->clk);
    struct vdev_irq irq = test_irq(&b->line, 0);

    memset(b, 0, sizeof(*b));
    b->clk.now = 1000000;
    uart_init(&b->uart, &clock, &irq, sink, b);
}

static uint8_t in(struct bench *b, unsigned reg)
{
    return test_in(uart_access, &b->uart, reg);
}

static void out(struct bench *b, unsigned reg, uint8_t v)
{
    test_out(uart_access, &b->uart, reg, v);
}

static void test_registers(void **state)
{
    struct bench b;

    start(&b);
    assert_int_equal(in(&b, 5), 0x60);
    assert_int_equal(in(&b, 2), 0x01);
    assert_int_equal(in(&b, 6), 0xb0);
    assert_int_equal(in(&b, 4), 0x08);
    for (unsigned v = 0; v < 256; v++) {
        out(&b, 7, v);
        assert_int_equal(in(&b, 7), v);
        out(&b, 3, v | 0x80);
        assert_int_equal(in(&b, 3), v | 0x80);
        out(&b, 0, v);
        out(&b, 1, ~v);
        out(&b, 3, v & 0x7f);
        out(&b, 1, v);
        assert_int_equal(in(&b, 1), v & 0x0f);
        out(&b, 4, v & ~0x10);
        assert_int_equal(in(&b, 4), v & 0x0f);
        out(&b, 3, 0x83);
        assert_int_equal(in(&b, 0), v);
        assert_int_equal(in(&b, 1), ~v & 0xff);
        out(&b, 3, 0x03);
    }
    assert_int_equal(b.count, 0);
    out(&b, 0, 'x');
    assert_int_equal(b.count, 1);
    assert_int_equal(b.sent[0], 'x');
    out(&b, 3, 0x00); /* five data bits */
    out(&b, 0, 0xff);
    assert_int_equal(b.sent[1], 0x1f);
    out(&b, 5, 0xff); /* LSR and MSR do not take writes */
    out(&b, 6, 0xff);
    assert_int_equal(in(&b, 5), 0x60);
    assert_int_equal(in(&b, 6), 0xb0);
}

/* drivers/tty/serial/8250: autoconfig() and autoconfig_16550a() must say "16550A", nothing better,
 * nothing worse. */
static void test_linux_autoconfig(void **state)
{
    struct bench b;
    uint8_t status1, status2;

    start(&b);
    out(&b, 1, 0);
    assert_int_equal(in(&b, 1) & 0x0f, 0);
    out(&b, 1, 0x0f);
    assert_int_equal(in(&b, 1) & 0x0f, 0x0f);
    out(&b, 1, 0);
    out(&b, 4, 0x10 | 0x0a); /* loop-back: OUT2 to DCD, RTS to CTS */
    assert_int_equal(in(&b, 6) & 0xf0, 0x90);
    out(&b, 4, 0);
    out(&b, 3, 0xbf); /* no enhanced features register */
    out(&b, 2, 0);
    out(&b, 3, 0);
    out(&b, 2, 0x01);
    assert_int_equal(in(&b, 2) >> 6, 3);
    out(&b, 3, 0x80);
    assert_int_not_equal(in(&b, 2), 0);
    out(&b, 3, 0);
    out(&b, 2, 0x01);
    status1 = in(&b, 2) >> 5;
    out(&b, 3, 0x80);
    out(&b, 2, 0x21); /* a 16750 would show 64-byte FIFOs */
    status2 = in(&b, 2) >> 5;
    out(&b, 3, 0);
    assert_int_equal(status1, 6);
    assert_int_equal(status2, 6);
    out(&b, 1, 0x40); /* an XScale has a unit enable bit */
    assert_int_equal(in(&b, 1) & 0x40, 0);
}

/* serial8250_do_startup(): THRE must interrupt again when it is enabled again, and with TEMT set.
 */
static void test_linux_thre(void **state)
{
    struct bench b;

    start(&b);
    for (unsigned i = 0; i < 2; i++) {
        out(&b, 1, 0x02);
        assert_int_equal(in(&b, 2) & 0x0f, 0x02);
        assert_int_equal(in(&b, 2) & 0x0f, 0x01); /* reading IIR took it away */
        out(&b, 1, 0);
        assert_int_equal(in(&b, 2) & 0x0f, 0x01);
    }
    /* Size of the FIFO by loop-back: size_fifo(). */
    out(&b, 2, 0x07);
    out(&b, 4, 0x10);
    out(&b, 3, 0x83);
    out(&b, 0, 1);
    out(&b, 1, 0);
    out(&b, 3, 0x03);
    for (unsigned i = 0; i < 256; i++) {
        out(&b, 0, i);
    }
    for (unsigned i = 0; i < 16; i++) {
        assert_true(in(&b, 5) & 1);
        assert_int_equal(in(&b, 0), i);
    }
    assert_false(in(&b, 5) & 1);
    assert_int_equal(b.count, 0);
}

static void test_thre_line(void **state)
{
    struct bench b;

    start(&b);
    out(&b, 4, 0x08);
    assert_int_equal(b.line.level, 0);
    out(&b, 1, 0x02);
    assert_int_equal(b.line.rises, 1);
    out(&b, 0, 'a'); /* writing THR drops it; the byte leaves and it rises anew */
    assert_int_equal(b.line.rises, 2);
    assert_int_equal(b.line.level, 1);
    assert_int_equal(in(&b, 2), 0x02);
    assert_int_equal(b.line.level, 0);
    out(&b, 1, 0x02); /* no change: no interrupt */
    assert_int_equal(b.line.level, 0);
    out(&b, 1, 0x00);
    out(&b, 1, 0x02);
    assert_int_equal(b.line.level, 1);
    out(&b, 4, 0x00); /* OUT2 is the gate */
    assert_int_equal(b.line.level, 0);
    out(&b, 4, 0x18); /* also closed in loop-back */
    assert_int_equal(b.line.level, 0);
    assert_int_equal(in(&b, 2), 0x02); /* but the UART itself has it */
}

static void test_receive_no_fifo(void **state)
{
    struct bench b;

    start(&b);
    out(&b, 4, 0x08);
    out(&b, 1, 0x01);
    assert_true(uart_receive(&b.uart, 'a'));
    assert_int_equal(b.line.level, 1);
    assert_false(uart_receive(&b.uart, 'b'));
    assert_int_equal(in(&b, 5), 0x61);
    assert_int_equal(in(&b, 2), 0x04);
    assert_int_equal(in(&b, 0), 'a');
    assert_int_equal(b.line.level, 0);
    assert_int_equal(in(&b, 5), 0x60);
    assert_int_equal(in(&b, 0), 'a'); /* an empty RBR keeps its byte */
    assert_true(uart_receive(&b.uart, 'b'));
    assert_int_equal(uart_next_event_ns(&b.uart), VDEV_NEVER); /* no time-out without FIFO */
}

static void test_fifo_trigger_and_timeout(void **state)
{
    static const uint8_t trigger[4] = {1, 4, 8, 14};
    struct bench b;

    for (unsigned t = 0; t < 4; t++) {
        start(&b);
        out(&b, 4, 0x08);
        out(&b, 2, 0x01 | t << 6);
        out(&b, 1, 0x01);
        for (unsigned i = 0; i < 16; i++) {
            assert_true(uart_receive(&b.uart, i));
            assert_int_equal(b.line.level, i + 1 >= trigger[t]);
        }
        assert_false(uart_receive(&b.uart, 16));
        assert_int_equal(in(&b, 2), 0xc4);
        assert_int_equal(in(&b, 5) & 0x02, 0); /* the sender waits: no overrun */
        for (unsigned i = 0; i < 16; i++) {
            assert_int_equal(in(&b, 0), i);
            assert_int_equal(b.line.level, 15 - i >= trigger[t]);
        }
        assert_int_equal(in(&b, 2), 0xc1);
    }
    /* Below the trigger: after four characters of silence. */
    assert_true(uart_receive(&b.uart, 'a'));
    b.clk.now += 3 * CHAR_NS;
    assert_true(uart_receive(&b.uart, 'b'));
    assert_in_range(uart_next_event_ns(&b.uart), b.clk.now + 4 * CHAR_NS,
                    b.clk.now + 4 * CHAR_NS + 10);
    b.clk.now += 4 * CHAR_NS - 10;
    uart_update(&b.uart, b.clk.now);
    assert_int_equal(b.line.level, 0);
    b.clk.now = uart_next_event_ns(&b.uart);
    uart_update(&b.uart, b.clk.now);
    assert_int_equal(b.line.level, 1);
    assert_int_equal(uart_next_event_ns(&b.uart), VDEV_NEVER);
    assert_true(uart_receive(&b.uart, 'c')); /* a new byte does not take it back */
    assert_int_equal(in(&b, 2), 0xcc);
    assert_int_equal(in(&b, 2), 0xcc);
    assert_int_equal(in(&b, 0), 'a');
    assert_int_equal(in(&b, 2), 0xc1); /* reading does, and starts the wait again */
    b.clk.now += 5 * CHAR_NS;
    assert_int_equal(in(&b, 2), 0xcc); /* also without anybody's update */
    out(&b, 2, 0xc3);                  /* resetting the FIFO takes data and time-out */
    assert_int_equal(in(&b, 2), 0xc1);
    assert_int_equal(in(&b, 5), 0x60);
}

static void test_priorities(void **state)
{
    struct bench b;

    start(&b);
    out(&b, 1, 0x0f);
    out(&b, 4, 0x10);
    out(&b, 4, 0x12); /* RTS to CTS: a modem change */
    out(&b, 0, 1);
    out(&b, 0, 2); /* overrun: the first byte is gone */
    assert_int_equal(in(&b, 2), 0x06);
    assert_int_equal(in(&b, 2), 0x06);
    assert_int_equal(in(&b, 5), 0x63);
    assert_int_equal(in(&b, 5), 0x61); /* OE lasts one read */
    assert_int_equal(in(&b, 2), 0x04);
    assert_int_equal(in(&b, 0), 2);
    assert_int_equal(in(&b, 2), 0x02);
    assert_int_equal(in(&b, 2), 0x00);
    assert_int_equal(in(&b, 6) & 0x01, 0x01);
    assert_int_equal(in(&b, 2), 0x01);
    assert_int_equal(in(&b, 6) & 0x0f, 0);
}

static void test_overrun_with_fifo(void **state)
{
    struct bench b;

    start(&b);
    out(&b, 2, 0x01);
    out(&b, 4, 0x10);
    for (unsigned i = 0; i < 17; i++) {
        assert_int_equal(in(&b, 5) & 0x02, 0);
        out(&b, 0, i);
    }
    assert_int_equal(in(&b, 5), 0x63);
    assert_int_equal(in(&b, 5), 0x61);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(in(&b, 0), i); /* the FIFO kept what it had */
    }
    assert_int_equal(in(&b, 5), 0x60);
    assert_false(uart_receive(&b.uart, 'x')); /* the line is disconnected */
    out(&b, 4, 0);
    assert_true(uart_receive(&b.uart, 'x'));
    out(&b, 2, 0x00); /* FIFO off: emptied */
    assert_int_equal(in(&b, 5), 0x60);
    assert_int_equal(in(&b, 2), 0x01);
}

static void test_modem_deltas(void **state)
{
    struct bench b;

    start(&b);
    out(&b, 4, 0x10); /* into loop-back: CTS, DSR and DCD fall */
    assert_int_equal(in(&b, 6), 0x0b);
    out(&b, 4, 0x14); /* RI rises: no delta */
    assert_int_equal(in(&b, 6), 0x40);
    out(&b, 4, 0x10); /* RI falls: TERI */
    assert_int_equal(in(&b, 6), 0x04);
    out(&b, 4, 0x1f);
    assert_int_equal(in(&b, 6), 0xfb);
    assert_int_equal(in(&b, 6), 0xf0);
}

static void test_slow_line(void **state)
{
    struct bench b;

    start(&b);
    out(&b, 3, 0x9f); /* 8E2: 12 bits */
    out(&b, 0, 0x80);
    out(&b, 1, 0x01); /* divisor 384: 300 baud */
    out(&b, 3, 0x1f);
    out(&b, 2, 0xc1);
    out(&b, 1, 0x01);
    assert_true(uart_receive(&b.uart, 'a'));
    assert_int_equal(uart_next_event_ns(&b.uart), b.clk.now + 4 * 12 * 1000000000ull / 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),       cmocka_unit_test(test_linux_autoconfig),
        cmocka_unit_test(test_linux_thre),      cmocka_unit_test(test_thre_line),
        cmocka_unit_test(test_receive_no_fifo), cmocka_unit_test(test_fifo_trigger_and_timeout),
        cmocka_unit_test(test_priorities),      cmocka_unit_test(test_overrun_with_fifo),
        cmocka_unit_test(test_modem_deltas),    cmocka_unit_test(test_slow_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
