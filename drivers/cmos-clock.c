/* SPDX-License-Identifier: MIT */
/* Reads the host's clock (Motorola MC146818A, "Update cycle"). Sets nothing. */
#include "drivers/cmos-clock.h"

#include "drivers/io.h"

#define PORT_INDEX   0x70
#define PORT_DATA    0x71

#define REG_A        0x0a
#define REG_B        0x0b
#define REG_CENTURY  0x32 /* where IBM's PC/AT and its heirs have it */
#define A_UIP        0x80
#define B_24H        0x02
#define B_BINARY     0x04
#define HOUR_PM      0x80

#define READS        10
#define UIP_POLLS    100000 /* an update takes 2 ms, a poll a microsecond or less */

static const uint8_t registers[] = {0x00, 0x02, 0x04, 0x07, 0x08, 0x09, REG_CENTURY, REG_B};
enum { SECOND, MINUTE, HOUR, DAY, MONTH, YEAR, CENTURY, MODE, COUNT };
_Static_assert(sizeof(registers) == COUNT, "one register a field");

static uint8_t read_register(uint8_t index)
{
    outb(PORT_INDEX, index);
    return inb(PORT_DATA);
}

static bool wait_for_update(void)
{
    for (unsigned i = 0; i < UIP_POLLS; i++) {
        if (!(read_register(REG_A) & A_UIP)) {
            return true;
        }
    }
    return false;
}

static uint8_t number(const uint8_t *raw, unsigned field)
{
    uint8_t v = raw[field];

    return raw[MODE] & B_BINARY ? v : (uint8_t)((v >> 4) * 10 + (v & 15));
}

/* In 12-hour mode the hour's highest bit is not part of the number. */
static bool decode(const uint8_t *raw, struct rtc_date *date)
{
    uint8_t hours[COUNT];
    unsigned century = number(raw, CENTURY);

    for (unsigned i = 0; i < COUNT; i++) {
        hours[i] = raw[i];
    }
    hours[HOUR] &= (uint8_t)~HOUR_PM;
    date->hour = number(hours, HOUR);
    if (!(raw[MODE] & B_24H)) {
        date->hour = (uint8_t)(date->hour % 12 + (raw[HOUR] & HOUR_PM ? 12 : 0));
    }
    date->second = number(raw, SECOND);
    date->minute = number(raw, MINUTE);
    date->day = number(raw, DAY);
    date->month = number(raw, MONTH);
    date->year = (uint16_t)((century >= 19 && century <= 21 ? century : 20) * 100 + number(raw, YEAR));
    return date->second < 60 && date->minute < 60 && date->hour < 24 && date->day >= 1 && date->day <= 31 &&
           date->month >= 1 && date->month <= 12 && number(raw, YEAR) < 100;
}

/* Two readings that agree, so that no update came between. */
bool cmos_clock_read(struct rtc_date *date)
{
    uint8_t raw[COUNT], last[COUNT] = {0};

    for (unsigned n = 0; n < READS; n++) {
        bool same = n > 0;

        if (!wait_for_update()) {
            return false;
        }
        for (unsigned i = 0; i < COUNT; i++) {
            raw[i] = read_register(registers[i]);
            same = same && raw[i] == last[i];
            last[i] = raw[i];
        }
        if (same) {
            return decode(raw, date);
        }
    }
    return false;
}
