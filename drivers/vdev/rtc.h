/* SPDX-License-Identifier: MIT */
/* MC146818 real-time clock and CMOS RAM (drivers/vdev/rtc.c). Two ports. */
#ifndef DRIVERS_VDEV_RTC_H
#define DRIVERS_VDEV_RTC_H

#include "drivers/vdev/vdev.h"

#define RTC_PORTS     2
#define RTC_CMOS_SIZE 128

/* A calendar date and time of day, as the host's clock has it: month 1..12, day 1..31. */
struct rtc_date {
    uint16_t year;
    uint8_t month, day, hour, minute, second;
};

struct rtc {
    struct vdev_clock clock;
    struct vdev_irq irq;
    uint8_t index;
    uint8_t cmos[RTC_CMOS_SIZE]; /* bytes 0..13 and the century are the clock's registers, in the
                                    guest's format */
    int64_t origin_ns;           /* when the divider chain stood at the start of a second */
    uint64_t seconds;            /* seconds since origin_ns that have been counted */
    uint64_t periods; /* ticks of the periodic rate since origin_ns that have been counted */
    uint64_t synced_ns;
};

/* ram_size: bytes of guest RAM, for the memory size bytes. */
void rtc_init(struct rtc *rtc, const struct vdev_clock *clock, const struct vdev_irq *irq,
              const struct rtc_date *date, uint64_t ram_size);

/* struct vdev_range.access */
enum vdev_result rtc_access(void *dev, struct vdev_access *acc);

/* Count seconds, compare the alarm, raise IRQ 8. */
void rtc_update(struct rtc *rtc, uint64_t now_ns);
/* When an enabled interrupt may become due; VDEV_NEVER if none can. */
uint64_t rtc_next_event_ns(const struct rtc *rtc);

#endif
