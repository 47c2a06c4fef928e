/* SPDX-License-Identifier: MIT */
/* The MC146818: the calendar against the C library's, formats, UIP, the three interrupts, set-up as
 * Linux does it. */
#include "tests/host/test-vdev.h"

#include <string.h>
#include <time.h>

#include "drivers/vdev/rtc.h"

#define SEC 1000000000ull

struct bench {
    struct test_clock clk;
    struct test_line line;
    struct rtc rtc;
};

static uint8_t in(struct bench *b, uint8_t reg)
{
    test_out(rtc_access, &b->rtc, 0, reg);
    return test_in(rtc_access, &b->rtc, 1);
}

static void out(struct bench *b, uint8_t reg, uint8_t v)
{
    test_out(rtc_access, &b->rtc, 0, reg);
    test_out(rtc_access, &b->rtc, 1, v);
}

static void start(struct bench *b, struct rtc_date date, uint64_t ram)
{
    struct vdev_clock clock = test_clock(&b->clk);
    struct vdev_irq irq = test_irq(&b->line, 0);

    memset(b, 0, sizeof(*b));
    b->clk.now = 77;
    rtc_init(&b->rtc, &clock, &irq, &date, ram);
}

static const struct rtc_date some_day = {2024, 2, 28, 23, 59, 58};

static unsigned bcd(unsigned v)
{
    return v / 10 << 4 | v % 10;
}

static void expect_tm(struct bench *b, const struct tm *tm, bool binary)
{
    unsigned year = tm->tm_year + 1900;

    assert_int_equal(in(b, 0), binary ? tm->tm_sec : (int)bcd(tm->tm_sec));
    assert_int_equal(in(b, 2), binary ? tm->tm_min : (int)bcd(tm->tm_min));
    assert_int_equal(in(b, 4), binary ? tm->tm_hour : (int)bcd(tm->tm_hour));
    assert_int_equal(in(b, 6), tm->tm_wday + 1);
    assert_int_equal(in(b, 7), binary ? tm->tm_mday : (int)bcd(tm->tm_mday));
    assert_int_equal(in(b, 8), binary ? tm->tm_mon + 1 : (int)bcd(tm->tm_mon + 1));
    assert_int_equal(in(b, 9), binary ? year % 100 : bcd(year % 100));
    assert_int_equal(in(b, 0x32), binary ? year / 100 : bcd(year / 100));
}

static void test_calendar(void **state)
{
    static struct bench b;
    uint64_t rng = 12345;

    for (unsigned i = 0; i < 300; i++) {
        time_t t = test_random(&rng) % 4102444800u; /* to 2100 */
        struct rtc_date date;
        struct tm tm;

        gmtime_r(&t, &tm);
        date = (struct rtc_date){tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                                 tm.tm_hour,        tm.tm_min,     tm.tm_sec};
        start(&b, date, 1 << 28);
        if (i & 1) {
            uint8_t regs[] = {0, 2, 4, 6, 7, 8, 9, 0x32};

            for (unsigned k = 0; k < sizeof(regs);
                 k++) { /* over to binary by hand: the chip does not convert */
                uint8_t v = in(&b, regs[k]);

                out(&b, regs[k], (v >> 4) * 10 + (v & 15));
            }
            out(&b, 11, 0x06);
        }
        expect_tm(&b, &tm, i & 1);
        for (unsigned k = 0; k < 12; k++) {
            uint64_t r = test_random(&rng) >> 8;
            uint64_t step = k < 6     ? r % 90000
                            : k < 10  ? r % (86400 * 40)
                            : k == 10 ? r % (86400u * 800)
                                      : r % 86400u * 200000;

            t += step;
            if (t >= 253402300800) { /* year 10000 */
                break;
            }
            b.clk.now += step * SEC;
            gmtime_r(&t, &tm);
            expect_tm(&b, &tm, i & 1);
        }
    }
}

static void test_leap_day_and_century(void **state)
{
    static struct bench b;

    start(&b, some_day, 1 << 28);
    b.clk.now += 2 * SEC;
    assert_int_equal(in(&b, 7), 0x29);
    assert_int_equal(in(&b, 8), 0x02);
    b.clk.now += 86400 * SEC;
    assert_int_equal(in(&b, 7), 0x01);
    assert_int_equal(in(&b, 8), 0x03);
    start(&b, (struct rtc_date){1999, 12, 31, 23, 59, 59}, 1 << 28);
    assert_int_equal(in(&b, 6), 6); /* a Friday */
    b.clk.now += SEC;
    assert_int_equal(in(&b, 9), 0x00);
    assert_int_equal(in(&b, 0x32), 0x20);
    assert_int_equal(in(&b, 6), 7);
}

static void test_twelve_hours(void **state)
{
    static const uint8_t shown[24] = {0x12, 1,    2,    3,    4,    5,    6,    7,
                                      8,    9,    0x10, 0x11, 0x92, 0x81, 0x82, 0x83,
                                      0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x90, 0x91};
    static struct bench b;

    start(&b, (struct rtc_date){2024, 5, 5, 0, 0, 0}, 1 << 28);
    out(&b, 11, 0x00);
    out(&b, 4, 0x12);
    for (unsigned h = 0; h < 24; h++) {
        assert_int_equal(in(&b, 4), shown[h]);
        b.clk.now += 3600 * SEC;
    }
    assert_int_equal(in(&b, 4), 0x12);
    assert_int_equal(in(&b, 7), 0x06);
}

static void test_raw_registers_persist(void **state)
{
    static struct bench b;

    start(&b, (struct rtc_date){2024, 1, 31, 10, 20, 30}, 1 << 28);
    out(&b, 8, 0x02); /* the 31st of February, for a moment */
    assert_int_equal(in(&b, 7), 0x31);
    out(&b, 7, 0x15);
    assert_int_equal(in(&b, 8), 0x02);
    b.clk.now += 10 * SEC;
    assert_int_equal(in(&b, 7), 0x15);
    assert_int_equal(in(&b, 0), 0x40);
    for (unsigned reg = 0; reg < 10; reg++) { /* nonsense everywhere, and years of it */
        out(&b, reg, 0xff - reg);
        assert_int_equal(in(&b, reg), 0xff - reg);
    }
    b.clk.now += 1000000000 * SEC;
    assert_in_range(in(&b, 8), 1, 0x12);
    assert_in_range(in(&b, 7), 1, 0x31);
}

static void test_uip(void **state)
{
    static struct bench b;
    uint64_t base;

    start(&b, some_day, 1 << 28);
    base = b.clk.now;
    assert_int_equal(in(&b, 10), 0x26);
    b.clk.now = base + SEC - 2228000 - 1;
    assert_int_equal(in(&b, 10) & 0x80, 0);
    b.clk.now = base + SEC - 2228000;
    assert_int_equal(in(&b, 10) & 0x80, 0x80);
    out(&b, 10, 0xa6); /* UIP does not take writes */
    b.clk.now = base + SEC - 1;
    assert_int_equal(in(&b, 10), 0xa6);
    assert_int_equal(in(&b, 0), 0x58);
    assert_int_equal(in(&b, 12), 0x40);
    b.clk.now = base + SEC;
    assert_int_equal(in(&b, 10), 0x26);
    assert_int_equal(in(&b, 0), 0x59);
    assert_int_equal(in(&b, 12), 0x50); /* UF, and PF at 1024 Hz; neither enabled */
    assert_int_equal(in(&b, 12), 0);
    out(&b, 11, 0x82);
    b.clk.now = base + 2 * SEC - 1000;
    assert_int_equal(in(&b, 10) & 0x80, 0); /* SET: no updates, no UIP */
    b.clk.now = base + 5 * SEC;
    assert_int_equal(in(&b, 0), 0x59);
    assert_int_equal(in(&b, 12) & 0x10, 0);
    out(&b, 11, 0x02);
    b.clk.now = base + 6 * SEC;
    assert_int_equal(in(&b, 0), 0x00);
}

/* mc146818_set_time(): SET, divider reset, write, release; the next second begins half a second
 * later. */
static void test_linux_set_time(void **state)
{
    static struct bench b;

    start(&b, some_day, 1 << 28);
    b.clk.now += 123456789;
    out(&b, 11, in(&b, 11) | 0x80);
    out(&b, 10, in(&b, 10) | 0x70);
    out(&b, 9, 0x30);
    out(&b, 8, 0x12);
    out(&b, 7, 0x31);
    out(&b, 4, 0x23);
    out(&b, 2, 0x59);
    out(&b, 0, 0x58);
    b.clk.now += 10 * SEC;
    out(&b, 11, in(&b, 11) & 0x7f);
    assert_int_equal(in(&b, 0), 0x58); /* the divider is still held */
    b.clk.now += 10 * SEC;
    out(&b, 10, 0x26);
    b.clk.now += SEC / 2 - 1;
    assert_int_equal(in(&b, 0), 0x58);
    b.clk.now += 1;
    assert_int_equal(in(&b, 0), 0x59);
    b.clk.now += SEC;
    assert_int_equal(in(&b, 0), 0x00);
    assert_int_equal(in(&b, 7), 0x01);
    assert_int_equal(in(&b, 9), 0x31);
}

static void test_periodic(void **state)
{
    static const unsigned hz[16] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                    256, 128, 64,  32,   16,   8,    4,    2};
    static struct bench b;

    for (unsigned rs = 1; rs < 16; rs++) {
        uint64_t base;

        start(&b, some_day, 1 << 28);
        base = b.clk.now;
        assert_int_equal(rtc_next_event_ns(&b.rtc), VDEV_NEVER);
        out(&b, 10, 0x20 | rs);
        out(&b, 11, 0x42);
        for (unsigned i = 1; i <= 3 * hz[rs]; i++) {
            uint64_t due = base + (i * SEC + hz[rs] - 1) / hz[rs];

            assert_int_equal(rtc_next_event_ns(&b.rtc), due);
            rtc_update(&b.rtc, due - 1);
            assert_int_equal(b.line.level, 0);
            b.clk.now = due;
            rtc_update(&b.rtc, due);
            assert_int_equal(b.line.level, 1);
            assert_int_equal(rtc_next_event_ns(&b.rtc), VDEV_NEVER);
            assert_int_equal(in(&b, 12) & 0xc0, 0xc0);
            assert_int_equal(b.line.level, 0);
            assert_int_equal(b.line.rises, i);
        }
    }
    out(&b, 10, 0x20);
    assert_int_equal(rtc_next_event_ns(&b.rtc), VDEV_NEVER);
}

static void test_update_interrupt(void **state)
{
    static struct bench b;

    start(&b, some_day, 1 << 28);
    out(&b, 11, 0x12);
    for (unsigned i = 1; i < 5; i++) {
        assert_int_equal(rtc_next_event_ns(&b.rtc), 77 + i * SEC);
        b.clk.now = 77 + i * SEC;
        rtc_update(&b.rtc, b.clk.now);
        assert_int_equal(b.line.rises, i);
        assert_int_equal(in(&b, 12) & 0x90, 0x90);
        assert_int_equal(b.line.level, 0);
    }
    out(&b, 11, 0x92); /* SET clears UIE */
    assert_int_equal(in(&b, 11), 0x82);
    /* A flag that is up interrupts when it is enabled. */
    out(&b, 11, 0x02);
    b.clk.now += SEC;
    rtc_update(&b.rtc, b.clk.now);
    assert_int_equal(b.line.level, 0);
    out(&b, 11, 0x12);
    assert_int_equal(b.line.level, 1);
    out(&b, 11, 0x02);
    assert_int_equal(b.line.level, 0);
}

/* Steps of one second and one large jump must agree on whether the alarm was met. */
static void test_alarm(void **state)
{
    static const struct {
        uint8_t hour, minute, second;
        unsigned after; /* seconds from 23:59:58; 0: not within a day */
    } alarms[] = {
        {0x23, 0x59, 0x59, 1},     {0x00, 0x00, 0x00, 2},  {0xff, 0xff, 0xff, 1},
        {0xff, 0xff, 0x10, 12},    {0xc0, 0x01, 0x05, 67}, {0x23, 0x59, 0x58, 86400},
        {0x05, 0x30, 0xff, 19802}, {0x24, 0x00, 0x00, 0},  {0x10, 0x70, 0x00, 0},
    };
    static struct bench b;

    for (unsigned i = 0; i < ARRAY_SIZE(alarms); i++) {
        for (unsigned jump = 0; jump < 2; jump++) {
            unsigned last = alarms[i].after ? alarms[i].after : 86400;

            start(&b, some_day, 1 << 28);
            out(&b, 1, alarms[i].second);
            out(&b, 3, alarms[i].minute);
            out(&b, 5, alarms[i].hour);
            out(&b, 11, 0x22);
            for (unsigned s = jump ? last - 1 : 0; s < last; s++) {
                b.clk.now = 77 + s * SEC;
                rtc_update(&b.rtc, b.clk.now);
                assert_int_equal(b.line.level, 0);
            }
            b.clk.now = 77 + last * SEC;
            rtc_update(&b.rtc, b.clk.now);
            assert_int_equal(b.line.level, alarms[i].after != 0);
            assert_int_equal(in(&b, 12) & 0xa0, alarms[i].after ? 0xa0 : 0);
            /* Jumped over entirely. */
            start(&b, some_day, 1 << 28);
            out(&b, 1, alarms[i].second);
            out(&b, 3, alarms[i].minute);
            out(&b, 5, alarms[i].hour);
            out(&b, 11, 0x22);
            b.clk.now += 100000 * SEC;
            rtc_update(&b.rtc, b.clk.now);
            assert_int_equal(b.line.level, alarms[i].after != 0);
        }
    }
}

static unsigned in16(struct bench *b, uint8_t reg)
{
    unsigned low = in(b, reg);

    return low | in(b, reg + 1) << 8;
}

static void test_cmos(void **state)
{
    static struct bench b;
    unsigned sum = 0;

    start(&b, some_day, 256 << 20);
    assert_int_equal(in16(&b, 0x15), 640);
    assert_int_equal(in16(&b, 0x17), 0xffff);
    assert_int_equal(in16(&b, 0x34), (256 - 16) * 16);
    assert_int_equal(in16(&b, 0x5b), 0);
    for (unsigned i = 0x10; i < 0x2e; i++) {
        sum += in(&b, i);
    }
    assert_int_equal(in(&b, 0x2e) << 8 | in(&b, 0x2f), sum);
    assert_int_equal(in(&b, 13), 0x80);
    out(&b, 13, 0);
    out(&b, 12, 0xff);
    assert_int_equal(in(&b, 13), 0x80);
    assert_int_equal(in(&b, 12), 0);
    for (unsigned i = 14; i < 128; i++) {
        if (i != 0x32) {
            out(&b, i | 0x80, i ^ 0x5a); /* bit 7 is the NMI mask, not an address */
            assert_int_equal(in(&b, i), i ^ 0x5a);
        }
    }
    assert_int_equal(test_in(rtc_access, &b.rtc, 0), 0xff);
    start(&b, some_day, 5ull << 30);
    assert_int_equal(in16(&b, 0x30), 0xffff);
    assert_int_equal(in16(&b, 0x34), (3072 - 16) * 16);
    assert_int_equal(in16(&b, 0x5b), 2048 * 16);
    start(&b, some_day, 8 << 20);
    assert_int_equal(in16(&b, 0x17), 7168);
    assert_int_equal(in16(&b, 0x34), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calendar),     cmocka_unit_test(test_leap_day_and_century),
        cmocka_unit_test(test_twelve_hours), cmocka_unit_test(test_raw_registers_persist),
        cmocka_unit_test(test_uip),          cmocka_unit_test(test_linux_set_time),
        cmocka_unit_test(test_periodic),     cmocka_unit_test(test_update_interrupt),
        cmocka_unit_test(test_alarm),        cmocka_unit_test(test_cmos),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
