/* SPDX-License-Identifier: MIT */
/*
 * Random port accesses, time steps, serial input and interrupt acknowledges on the whole machine,
 * under the sanitizers. What must hold whatever the guest does is checked all along. Arguments:
 * accesses (default 3000000), seed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/host/test-vdev.h"

#include "drivers/vdev/machine.h"

struct fuzz {
    struct vmachine m;
    uint64_t rng, now;
    int intr;
    uint64_t accesses, ticks, acks, sent, received, resets, exits, edges, power_offs;
};

static struct fuzz f; /* owner: main(); static so that a report shows it whole */
static uint64_t accesses = 3000000, seed = 0x6e6f746469727479;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "seed %" PRIu64 ", access %" PRIu64 "\n", seed, f.accesses);           \
            fail_msg("%s", #cond);                                                                 \
        }                                                                                          \
    } while (0)

static uint64_t now_ns(void *opaque)
{
    return f.now;
}

static void serial_out(void *opaque, uint8_t byte)
{
    f.sent++;
}

static void debug_exit(void *opaque, uint32_t value, unsigned size)
{
    f.exits++;
    CHECK(size == 1 || size == 2 || size == 4);
    CHECK(size == 4 || value >> (8 * size) == 0);
}

static void reset(void *opaque, const char *reason)
{
    f.resets++;
    CHECK(reason && *reason);
}

static void power_off(void *opaque)
{
    f.power_offs++;
}

static void irq_changed(void *opaque, int level)
{
    CHECK(level == !f.intr);
    CHECK(vmachine_irq_pending(&f.m) == level);
    f.intr = level;
    f.edges += level;
}

static uint32_t rnd(uint32_t below)
{
    return (test_random(&f.rng) >> 33) % below;
}

static uint16_t random_port(void)
{
    if (rnd(64) == 0) {
        return rnd(0x10000);
    } else {
        const struct vdev_range *r = &f.m.bus.range[rnd(f.m.bus.count)];

        return r->base + rnd(r->len) - (rnd(16) == 0);
    }
}

static void random_access(void)
{
    static const uint8_t sizes[8] = {1, 1, 1, 1, 1, 1, 2, 4};
    unsigned size = sizes[rnd(8)];
    uint16_t port = random_port();
    uint32_t value = rnd(4) ? rnd(256) : test_random(&f.rng) >> 16;

    f.accesses++;
    if (rnd(2)) {
        vmachine_outport(&f.m, port, size, size == 4 ? value : value & ((1u << 8 * size) - 1));
    } else {
        value = vmachine_inport(&f.m, port, size);
        CHECK(size == 4 || value >> (8 * size) == 0);
    }
}

/* Mostly microseconds, sometimes to the next event, rarely much, very rarely back. */
static void random_time(void)
{
    uint64_t next = vmachine_next_event_ns(&f.m);

    switch (rnd(64)) {
    case 0:
        f.now += (uint64_t)rnd(1000) * 1000000;
        break;
    case 1:
        f.now += rnd(200) == 0 ? (uint64_t)rnd(100000000) * 1000000000 : 0;
        break;
    case 2:
        f.now -= rnd(1000000000) < f.now ? rnd(1000) : 0;
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        f.now = next == VDEV_NEVER ? f.now : MAX(f.now, next);
        break;
    default:
        f.now += rnd(20000);
        break;
    }
    if (f.now > UINT64_MAX / 4) {
        f.now = UINT64_MAX / 4; /* 146 years */
    }
    if (rnd(4) == 0) {
        vmachine_tick(&f.m, f.now);
        f.ticks++;
        vmachine_host_tick(&f.m, rnd(2));
        CHECK(vmachine_next_event_ns(&f.m) > f.m.last_ns);
    }
}

static void acknowledge(void)
{
    const struct pic_chip *c = f.m.pic.chip;
    uint8_t vector = vmachine_irq_ack(&f.m);

    f.acks++;
    CHECK((vector & 0xf8) == c[0].base || (vector & 0xf8) == c[1].base);
    if (rnd(8)) { /* a guest that behaves, most of the time */
        vmachine_outport(&f.m, 0xa0, 1, 0x20);
        vmachine_outport(&f.m, 0x20, 1, 0x20);
        vmachine_irq_open(&f.m);
    }
}

static bool is_byte(uint16_t port, uint8_t mask, uint8_t expected)
{
    return (vmachine_inport(&f.m, port, 1) & mask) == expected;
}

static void check_invariants(void)
{
    const struct pic_chip *c = f.m.pic.chip;

    CHECK(vmachine_irq_pending(&f.m) == f.intr);
    for (unsigned i = 0; i < 2; i++) {
        CHECK((c[i].irr & ~c[i].pins) == 0); /* no request outlives its pin */
        CHECK(c[i].lowest < 8);
        CHECK(!c[i].int_out || (c[i].irr & ~c[i].imr));
    }
    CHECK(c[1].int_out == !!(c[0].pins & 4));
    CHECK(f.m.uart.rx_count <= UART_FIFO_SIZE && f.m.uart.rx_head < UART_FIFO_SIZE);
    CHECK(f.m.uart.rx_count <= 1 || (f.m.uart.fcr & 1));
    CHECK(f.m.i8042.queued <= I8042_QUEUE);
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        const struct pit_channel *ch = &f.m.pit.ch[i];

        CHECK(ch->mode <= 5 && ch->rw >= 1 && ch->rw <= 3);
        CHECK(ch->n >= 1 && ch->n <= (ch->bcd && ch->loaded && !ch->pending ? 10000 : 65536));
    }
    CHECK((f.m.rtc.cmos[12] & 0x0f) == 0);
    CHECK(!!(f.m.rtc.cmos[12] & 0x80) == !!(f.m.rtc.cmos[11] & f.m.rtc.cmos[12] & 0x70));
    CHECK(!!(c[1].pins & 2) == !!(f.m.acpi_pm.status & f.m.acpi_pm.enable)); /* IRQ 9 is the SCI */
    CHECK((c[1].pins & 1 || f.m.timer[1].waiting) == !!(f.m.rtc.cmos[12] & 0x80)); /* IRQ 8 is IRQF, unless it waits */
    CHECK(!f.m.timer[0].waiting || f.m.pace.handling || f.m.pace.owed);
}

/* What the guest can rely on at any time, seen through its own ports. */
static void check_by_ports(void)
{
    CHECK(is_byte(0x3fd, 0xfc, 0x60));
    CHECK(is_byte(0x64, 0x12, 0x10));
    CHECK(is_byte(0x61, 0xc0, 0x00));
    CHECK(is_byte(0x43, 0xff, 0xff));
    CHECK(is_byte(0xe9, 0xff, 0xe9));
    CHECK(is_byte(0x3fc, 0xe0, 0x00));
    CHECK(is_byte(0x4d0, 0x07, 0x00));
    CHECK(is_byte(VMACHINE_ACPI_PM + ACPI_PM1_CONTROL, 0x01, 0x01));
    vmachine_outport(&f.m, 0x3ff, 1, 0x5a);
    CHECK(is_byte(0x3ff, 0xff, 0x5a));
    vmachine_outport(&f.m, 0xcf8, 4, 0x80001234);
    CHECK(vmachine_inport(&f.m, 0xcf8, 4) == 0x80001234);
    CHECK(vmachine_inport(&f.m, 0xcfc, 4) == 0xffffffff);
}

static void test_fuzz(void **state)
{
    struct vmachine_config cfg = {
        .now_ns = now_ns,
        .serial_out = serial_out,
        .debugcon_out = serial_out,
        .debug_exit = debug_exit,
        .reset = reset,
        .power_off = power_off,
        .irq_changed = irq_changed,
        .date = {2026, 2, 28, 23, 59, 50},
        .ram_size = 1 << 30,
    };

    f.rng = seed;
    vmachine_init(&f.m, &cfg);
    while (f.accesses < accesses) {
        random_access();
        random_time();
        if (rnd(8) == 0) {
            f.received += vmachine_serial_in(&f.m, rnd(256));
        }
        if (f.intr && rnd(4)) {
            acknowledge();
        }
        check_invariants();
        if (rnd(256) == 0) {
            check_by_ports();
        }
    }
    printf("%" PRIu64 " accesses, %" PRIu64 " ticks, %" PRIu64 " interrupts (%" PRIu64
           " acknowledged), %" PRIu64 " bytes out, %" PRIu64 " in, %" PRIu64 " resets, %" PRIu64
           " exits\n",
           f.accesses, f.ticks, f.edges, f.acks, f.sent, f.received, f.resets, f.exits);
    /* A fuzzer that reaches nothing proves nothing. */
    CHECK(f.acks > accesses / 1000 && f.sent > accesses / 1000 && f.received > accesses / 1000);
    CHECK(f.power_offs > accesses / 100000);
    CHECK(f.resets > accesses / 10000 && f.exits > accesses / 1000 && f.ticks > accesses / 10);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fuzz)};

    accesses = argc > 1 ? strtoull(argv[1], NULL, 0) : accesses;
    seed = argc > 2 ? strtoull(argv[2], NULL, 0) : seed;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
