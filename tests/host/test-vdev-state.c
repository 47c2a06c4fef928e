/* SPDX-License-Identifier: MIT */
/* Saving and loading the devices: what a machine does after a load is what it did after the save, for random port accesses;
 * a state that no device can be in is refused and changes nothing. */
#include "tests/host/test-vdev.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/vdev/state.h"
#include "kernel/lib/errno.h"

static uint64_t now;

static uint64_t now_ns(void *opaque)
{
    now += 7919;
    return now;
}

static struct vmachine machine;

static void power_on(void)
{
    struct vmachine_config cfg = {.now_ns = now_ns, .date = {.year = 2026, .month = 1, .day = 1}, .ram_size = 64u << 20};

    now = 0;
    vmachine_init(&machine, &cfg);
}

/* n random accesses to the devices' ports; returns a sum over all that was read. */
static uint64_t poke(unsigned seed, unsigned n)
{
    static const uint16_t ports[] = {0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3ff, 0x40, 0x42, 0x43, 0x20,
                                     0x21,  0xa0,  0xa1,  0x61,  0x87,  0x60,  0x64,  0x70, 0x71, 0xcf8, 0x4d0};
    uint64_t sum = 0;

    srand(seed);
    for (unsigned i = 0; i < n; i++) {
        uint16_t port = ports[(unsigned)rand() % ARRAY_SIZE(ports)];

        if (rand() & 1) {
            vmachine_outport(&machine, port, 1, (unsigned)rand() & 0xff);
        } else {
            sum = sum * 31 + vmachine_inport(&machine, port, 1);
        }
        if (rand() % 5 == 0) {
            sum = sum * 31 + vmachine_serial_in(&machine, (uint8_t)rand());
        }
        sum = sum * 31 + vmachine_irq_pending(&machine);
    }
    return sum;
}

static void test_same_again(void **ctx)
{
    for (unsigned seed = 0; seed < 200; seed++) {
        struct vmachine_state saved, again;
        uint64_t first, saved_now;

        power_on();
        poke(seed, 400);
        vmachine_save(&machine, &saved);
        saved_now = now;
        first = poke(1000 + seed, 400);
        assert_int_equal(vmachine_load(&machine, &saved), 0);
        now = saved_now;
        vmachine_save(&machine, &again);
        assert_memory_equal(&saved, &again, sizeof(saved));
        assert_int_equal(poke(1000 + seed, 400), first);
    }
}

static void test_no_pointers(void **ctx)
{
    struct vmachine_state saved;

    power_on();
    poke(1, 400);
    vmachine_save(&machine, &saved);
    assert_null(saved.uart.clock.now_ns);
    assert_null(saved.uart.irq.set);
    assert_null(saved.pic.out);
    assert_null(saved.pit.irq.ctl);
    assert_null(saved.port61.pit);
    assert_null(saved.rtc.clock.opaque);
    assert_null(saved.i8042.reset.request);
    assert_null(saved.acpi_pm.power_off);
}

static void test_refused(void **ctx)
{
    struct vmachine_state good, before, after;

    power_on();
    poke(2, 400);
    vmachine_save(&machine, &good);
    poke(3, 10);
    vmachine_save(&machine, &before);
#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        struct vmachine_state bad = good;                                                          \
        bad.field = (value);                                                                       \
        assert_int_equal(vmachine_load(&machine, &bad), -EINVAL);                                  \
    } while (0)
    REFUSED(version, 0);
    REFUSED(size, sizeof(good) - 1);
    REFUSED(uart.rx_head, UART_FIFO_SIZE);
    REFUSED(uart.rx_count, UART_FIFO_SIZE + 1);
    REFUSED(i8042.queued, I8042_QUEUE + 1);
    REFUSED(rtc.index, RTC_CMOS_SIZE);
    REFUSED(pit.ch[2].mode, 6);
    REFUSED(pit.ch[0].rw, 0);
    REFUSED(pit.ch[1].n, 0);
    REFUSED(pic.chip[1].lowest, 8);
#undef REFUSED
    vmachine_save(&machine, &after);
    assert_memory_equal(&before, &after, sizeof(before));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_again),
        cmocka_unit_test(test_no_pointers),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
