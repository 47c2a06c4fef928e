/* SPDX-License-Identifier: MIT */
/*
 * Real-time clock and 128 bytes of CMOS RAM, after Motorola's MC146818A datasheet, with the PC's
 * conventions (century at 0x32, memory sizes, checksum). The registers hold what the guest wrote,
 * in its format, until the next second is counted on them; seconds are counted when somebody looks.
 * There is no daylight saving and no square wave.
 */
#include "drivers/vdev/rtc.h"

#include "kernel/lib/string.h"

enum {
    REG_SEC = 0,
    REG_SEC_ALARM = 1,
    REG_MIN = 2,
    REG_MIN_ALARM = 3,
    REG_HOUR = 4,
    REG_HOUR_ALARM = 5,
    REG_WDAY = 6, /* 1 = Sunday */
    REG_MDAY = 7,
    REG_MONTH = 8,
    REG_YEAR = 9,
    REG_A = 10,
    REG_B = 11,
    REG_C = 12,
    REG_D = 13,
    REG_EQUIPMENT = 0x14,
    REG_BASE_KB = 0x15,
    REG_EXT_KB = 0x17,
    REG_CHECKSUM = 0x2e, /* of 0x10..0x2d, high byte first */
    REG_EXT_KB2 = 0x30,
    REG_CENTURY = 0x32,
    REG_EXT_64KB = 0x34,  /* 64 KiB units above 16 MiB */
    REG_HIGH_64KB = 0x5b, /* 64 KiB units above 4 GiB, three bytes */
};

#define A_UIP           0x80
#define A_DV            0x70
#define A_DV_RUN        0x20 /* 32.768 kHz crystal */
#define A_DV_RESET      0x60 /* both bits set: the divider chain is held in reset */
#define A_RS            0x0f

#define B_SET           0x80
#define B_PIE           0x40
#define B_AIE           0x20
#define B_UIE           0x10
#define B_DM            0x04 /* binary */
#define B_24H           0x02

#define C_IRQF          0x80
#define C_PF            0x40
#define C_AF            0x20
#define C_UF            0x10

#define D_VRT           0x80

#define HOUR_PM         0x80
#define ALARM_DONT_CARE 0xc0

#define UPDATE_NS                                                                                  \
    (244000 + 1984000) /* UIP before and during the update cycle (datasheet, "Update cycle") */
#define CRYSTAL_HZ  32768
#define DAY_SECONDS 86400u
#define NS_PER_SEC  ((int64_t)VDEV_NS_PER_SEC)

/* ---- number formats ---- */

static uint8_t encode(const struct rtc *rtc, unsigned v)
{
    return (rtc->cmos[REG_B] & B_DM) ? v : v / 10 << 4 | v % 10;
}

static unsigned decode(const struct rtc *rtc, uint8_t v)
{
    return (rtc->cmos[REG_B] & B_DM) ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned hour)
{
    if (rtc->cmos[REG_B] & B_24H) {
        return encode(rtc, hour);
    }
    return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct rtc *rtc, uint8_t v)
{
    if (rtc->cmos[REG_B] & B_24H) {
        return decode(rtc, v);
    }
    return decode(rtc, v & ~HOUR_PM) % 12 + ((v & HOUR_PM) ? 12 : 0);
}

/* ---- calendar ---- */

/* Days from 0000-03-01 in the Gregorian calendar; a day beyond its month counts on. */
static uint32_t days_of_date(uint32_t year, uint32_t month, uint32_t day)
{
    uint32_t m = (month + 9) % 12,
             y = year + 400 - (month <= 2); /* years from March; 400 keeps year 0 positive */

    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day;
}

static unsigned month_days(uint32_t year, uint32_t month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return month == 2 && leap ? 29 : days[month - 1];
}

/* Count whole days on the date registers. What is no date counts from the nearest month. */
static void advance_days(struct rtc *rtc, uint64_t days)
{
    uint8_t *r = rtc->cmos;
    uint32_t year = decode(rtc, r[REG_CENTURY]) % 100 * 100 + decode(rtc, r[REG_YEAR]) % 100;
    uint32_t month = MIN(MAX(decode(rtc, r[REG_MONTH]), 1u), 12u);
    uint64_t day = decode(rtc, r[REG_MDAY]) +
                   days % (400 * 365 + 97); /* the calendar repeats after 400 years */

    year = (year + days / (400 * 365 + 97) % 25 * 400) % 10000;
    while (day > month_days(year, month)) {
        day -= month_days(year, month);
        month = month % 12 + 1;
        year = (year + (month == 1)) % 10000;
    }
    r[REG_WDAY] = encode(rtc, (decode(rtc, r[REG_WDAY]) + 6 + days) % 7 + 1);
    r[REG_MDAY] = encode(rtc, MAX(day, 1u));
    r[REG_MONTH] = encode(rtc, month);
    r[REG_YEAR] = encode(rtc, year % 100);
    r[REG_CENTURY] = encode(rtc, year / 100);
}

static uint32_t second_of_day(const struct rtc *rtc)
{
    const uint8_t *r = rtc->cmos;

    return decode_hour(rtc, r[REG_HOUR]) * 3600 + decode(rtc, r[REG_MIN]) * 60 +
           decode(rtc, r[REG_SEC]);
}

static bool alarm_byte_matches(uint8_t alarm, uint8_t now)
{
    return (alarm & ALARM_DONT_CARE) == ALARM_DONT_CARE || alarm == now;
}

/* Does the alarm match at a second of the day that lies within the count seconds after `from`? */
static bool alarm_within(const struct rtc *rtc, uint64_t from, uint64_t count)
{
    const uint8_t *r = rtc->cmos;

    for (uint64_t i = 1; i <= MIN(count, DAY_SECONDS); i++) {
        unsigned s = (from + i) % DAY_SECONDS;

        if (alarm_byte_matches(r[REG_SEC_ALARM], encode(rtc, s % 60)) &&
            alarm_byte_matches(r[REG_MIN_ALARM], encode(rtc, s / 60 % 60)) &&
            alarm_byte_matches(r[REG_HOUR_ALARM], encode_hour(rtc, s / 3600))) {
            return true;
        }
    }
    return false;
}

static void advance_seconds(struct rtc *rtc, uint64_t count)
{
    uint8_t *r = rtc->cmos;
    uint64_t s = second_of_day(rtc);

    if (!(r[REG_C] & C_AF) && alarm_within(rtc, s, count)) {
        r[REG_C] |= C_AF;
    }
    r[REG_C] |= C_UF;
    s += count;
    if (s >= DAY_SECONDS) {
        advance_days(rtc, s / DAY_SECONDS);
        s %= DAY_SECONDS;
    }
    r[REG_SEC] = encode(rtc, s % 60);
    r[REG_MIN] = encode(rtc, s / 60 % 60);
    r[REG_HOUR] = encode_hour(rtc, s / 3600);
}

/* ---- the divider chain ---- */

static bool divider_runs(const struct rtc *rtc)
{
    return (rtc->cmos[REG_A] & A_DV) == A_DV_RUN;
}

static uint64_t since_origin(const struct rtc *rtc)
{
    return rtc->synced_ns - rtc->origin_ns;
}

/* Crystal ticks in one period of the periodic interrupt: 0 if off (datasheet, "Periodic interrupt
 * rate"). */
static unsigned period_ticks(const struct rtc *rtc)
{
    unsigned rs = rtc->cmos[REG_A] & A_RS;

    if (rs == 0) {
        return 0;
    }
    return rs <= 2 ? 1u << (rs + 6) : 1u << (rs - 1);
}

static uint64_t crystal_ticks(uint64_t ns)
{
    return ns / VDEV_NS_PER_SEC * CRYSTAL_HZ + ns % VDEV_NS_PER_SEC * CRYSTAL_HZ / VDEV_NS_PER_SEC;
}

static uint64_t ns_of_crystal_tick(uint64_t tick)
{
    return tick / CRYSTAL_HZ * VDEV_NS_PER_SEC +
           (tick % CRYSTAL_HZ * VDEV_NS_PER_SEC + CRYSTAL_HZ - 1) / CRYSTAL_HZ;
}

static uint64_t periods_now(const struct rtc *rtc)
{
    unsigned ticks = period_ticks(rtc);

    return ticks ? crystal_ticks(since_origin(rtc)) / ticks : 0;
}

static bool update_in_progress(const struct rtc *rtc)
{
    if (!divider_runs(rtc) || (rtc->cmos[REG_B] & B_SET)) {
        return false;
    }
    return since_origin(rtc) % VDEV_NS_PER_SEC >= VDEV_NS_PER_SEC - UPDATE_NS;
}

/* IRQF is the OR of the enabled flags; it is also the line. */
static void drive_irq(struct rtc *rtc)
{
    uint8_t *c = &rtc->cmos[REG_C];
    bool active =
        *c & rtc->cmos[REG_B] & (C_PF | C_AF | C_UF); /* the enables have the flags' places */

    *c = (*c & ~C_IRQF) | (active ? C_IRQF : 0);
    vdev_irq_set(&rtc->irq, active);
}

void rtc_update(struct rtc *rtc, uint64_t now_ns)
{
    uint64_t seconds, periods;

    rtc->synced_ns = MAX(rtc->synced_ns, now_ns);
    if (!divider_runs(rtc)) {
        return;
    }
    seconds = since_origin(rtc) / VDEV_NS_PER_SEC;
    periods = periods_now(rtc);
    if (seconds != rtc->seconds && !(rtc->cmos[REG_B] & B_SET)) {
        advance_seconds(rtc, seconds - rtc->seconds);
    }
    if (periods != rtc->periods) {
        rtc->cmos[REG_C] |= C_PF;
    }
    rtc->seconds = seconds;
    rtc->periods = periods;
    drive_irq(rtc);
}

uint64_t rtc_next_event_ns(const struct rtc *rtc)
{
    uint8_t b = rtc->cmos[REG_B], c = rtc->cmos[REG_C];
    unsigned ticks = period_ticks(rtc);
    uint64_t next = VDEV_NEVER;

    if (!divider_runs(rtc) || (c & C_IRQF)) {
        return VDEV_NEVER; /* the line is up already, or nothing moves */
    }
    if ((b & (B_AIE | B_UIE)) && !(b & B_SET)) {
        next = rtc->origin_ns + (rtc->seconds + 1) * VDEV_NS_PER_SEC;
    }
    if ((b & B_PIE) && ticks) {
        next = MIN(next, rtc->origin_ns + ns_of_crystal_tick((rtc->periods + 1) * ticks));
    }
    return next;
}

/* ---- registers ---- */

static void write_a(struct rtc *rtc, uint8_t value)
{
    bool ran = divider_runs(rtc), was_reset = (rtc->cmos[REG_A] & A_DV_RESET) == A_DV_RESET;

    rtc->cmos[REG_A] = value & ~A_UIP;
    if (!ran && divider_runs(rtc)) {
        /* Out of reset, the first update comes after half a second. */
        rtc->origin_ns = (int64_t)rtc->synced_ns - (was_reset ? NS_PER_SEC / 2 : 0);
        rtc->seconds = 0;
    }
    rtc->periods = periods_now(rtc);
}

static void write_b(struct rtc *rtc, uint8_t value)
{
    rtc->cmos[REG_B] = (value & B_SET) ? value & ~B_UIE : value;
}

static void rtc_write(struct rtc *rtc, unsigned reg, uint8_t value)
{
    switch (reg) {
    case REG_A:
        write_a(rtc, value);
        break;
    case REG_B:
        write_b(rtc, value);
        break;
    case REG_C:
    case REG_D:
        break;
    default:
        rtc->cmos[reg] = value;
        break;
    }
}

static uint8_t rtc_read(struct rtc *rtc, unsigned reg)
{
    uint8_t value = rtc->cmos[reg];

    if (reg == REG_A && update_in_progress(rtc)) {
        value |= A_UIP;
    } else if (reg == REG_C) {
        rtc->cmos[REG_C] = 0;
    }
    return value;
}

enum vdev_result rtc_access(void *dev, struct vdev_access *acc)
{
    struct rtc *rtc = dev;

    if (acc->size != 1) {
        return VDEV_UNHANDLED;
    }
    rtc_update(rtc, vdev_now(&rtc->clock));
    if (acc->offset == 0) {
        if (acc->write) {
            rtc->index =
                acc->value & (RTC_CMOS_SIZE - 1); /* bit 7 masks NMI, of which there is none */
        } else {
            acc->value = 0xff; /* the index is write-only */
        }
        return VDEV_HANDLED;
    }
    if (acc->write) {
        rtc_write(rtc, rtc->index, acc->value);
    } else {
        acc->value = rtc_read(rtc, rtc->index);
    }
    drive_irq(rtc);
    return VDEV_HANDLED;
}

/* ---- power-on ---- */

static void put16(struct rtc *rtc, unsigned reg, uint64_t value)
{
    value = MIN(value, 0xffffu);
    rtc->cmos[reg] = value;
    rtc->cmos[reg + 1] = value >> 8;
}

/* As PC firmware fills them in; RAM beyond 3 GiB is taken to continue at 4 GiB, as the monitor lays
 * it out. */
static void init_memory_size(struct rtc *rtc, uint64_t ram_size)
{
    const uint64_t mib = 1 << 20, gib = 1 << 30;
    uint64_t low = MIN(ram_size, 3 * gib), high = MIN((ram_size - low) >> 16, 0xffffffu);
    unsigned sum = 0;

    put16(rtc, REG_BASE_KB, 640);
    put16(rtc, REG_EXT_KB, low > mib ? (low - mib) >> 10 : 0);
    put16(rtc, REG_EXT_KB2, low > mib ? (low - mib) >> 10 : 0);
    put16(rtc, REG_EXT_64KB, low > 16 * mib ? (low - 16 * mib) >> 16 : 0);
    put16(rtc, REG_HIGH_64KB, high & 0xffff);
    rtc->cmos[REG_HIGH_64KB + 2] = high >> 16;
    rtc->cmos[REG_EQUIPMENT] = 0x02; /* an FPU; no diskette, no display */
    for (unsigned i = 0x10; i < REG_CHECKSUM; i++) {
        sum += rtc->cmos[i];
    }
    rtc->cmos[REG_CHECKSUM] = sum >> 8;
    rtc->cmos[REG_CHECKSUM + 1] = sum;
}

void rtc_init(struct rtc *rtc, const struct vdev_clock *clock, const struct vdev_irq *irq,
              const struct rtc_date *date, uint64_t ram_size)
{
    uint8_t *r = rtc->cmos;

    memset(rtc, 0, sizeof(*rtc));
    rtc->clock = *clock;
    rtc->irq = *irq;
    rtc->synced_ns = vdev_now(clock);
    rtc->origin_ns = rtc->synced_ns;
    r[REG_A] = A_DV_RUN | 6; /* 1024 Hz */
    r[REG_B] = B_24H;
    r[REG_D] = D_VRT;
    r[REG_SEC] = encode(rtc, date->second);
    r[REG_MIN] = encode(rtc, date->minute);
    r[REG_HOUR] = encode_hour(rtc, date->hour);
    r[REG_MDAY] = encode(rtc, date->day);
    r[REG_MONTH] = encode(rtc, date->month);
    r[REG_YEAR] = encode(rtc, date->year % 100);
    r[REG_CENTURY] = encode(rtc, date->year / 100);
    r[REG_WDAY] = encode(rtc, (days_of_date(date->year, date->month, date->day) + 2) % 7 + 1);
    init_memory_size(rtc, ram_size);
}
