/* SPDX-License-Identifier: MIT */
/* The host's MC146818 clock, read once to set the guest's. */
#ifndef DRIVERS_CMOS_CLOCK_H
#define DRIVERS_CMOS_CLOCK_H

#include "drivers/vdev/rtc.h"

/* The date as the clock shows it (UTC or local time: it does not say). False if it shows none. May take a second. */
bool cmos_clock_read(struct rtc_date *date);

#endif
