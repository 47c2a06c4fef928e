/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware, after the ACPI specification 6.4, section 4.8.3: a machine that is always in
 * ACPI mode (SCI_EN reads 1, there is no SMI command port), without buttons, wake-up events or
 * sleep states other than S5. This file must not know what a guest's tables say: kernel/acpi.c does.
 */
#include "drivers/vdev/acpi-pm.h"

#define TIMER_BITS     24
#define TIMER_HALF     (1u << (TIMER_BITS - 1)) /* TMR_STS is set whenever the highest bit changes */

#define STS_TIMER      0x0001
#define EN_MASK        0x0721 /* timer, global, power button, sleep button, RTC */

#define CNT_SCI_EN     0x0001
#define CNT_SLP_TYP(c) ((c) >> 10 & 7)
#define CNT_SLP_EN     0x2000
#define CNT_KEPT       0x1c02 /* SLP_TYP and BM_RLD; GBL_RLS and SLP_EN are write-only */

/* Timer ticks since the clock's zero, rounded down; ns_at() is the first moment that shows them. */
static uint64_t ticks_at(uint64_t now_ns)
{
    return now_ns / VDEV_NS_PER_SEC * ACPI_PM_TIMER_HZ +
           now_ns % VDEV_NS_PER_SEC * ACPI_PM_TIMER_HZ / VDEV_NS_PER_SEC;
}

static uint64_t ns_at(uint64_t ticks)
{
    return ticks / ACPI_PM_TIMER_HZ * VDEV_NS_PER_SEC +
           (ticks % ACPI_PM_TIMER_HZ * VDEV_NS_PER_SEC + ACPI_PM_TIMER_HZ - 1) / ACPI_PM_TIMER_HZ;
}

static void drive_sci(struct acpi_pm *pm)
{
    vdev_irq_set(&pm->sci, (pm->status & pm->enable) != 0);
}

static void see_time(struct acpi_pm *pm, uint64_t now_ns)
{
    uint64_t ticks = ticks_at(now_ns);

    if (ticks / TIMER_HALF != pm->seen_ticks / TIMER_HALF) {
        pm->status |= STS_TIMER;
    }
    pm->seen_ticks = ticks;
}

/* Comes with every tick and port access: nothing to do while nobody can notice. */
void acpi_pm_update(struct acpi_pm *pm, uint64_t now_ns)
{
    if (pm->enable & STS_TIMER) {
        see_time(pm, now_ns);
        drive_sci(pm);
    }
}

uint64_t acpi_pm_next_event_ns(const struct acpi_pm *pm)
{
    if (!(pm->enable & STS_TIMER) || (pm->status & STS_TIMER)) {
        return VDEV_NEVER;
    }
    return ns_at((pm->seen_ticks / TIMER_HALF + 1) * TIMER_HALF);
}

static uint8_t byte_of(uint32_t value, uint32_t offset)
{
    return (uint8_t)(value >> (8 * offset));
}

static uint8_t read_byte(const struct acpi_pm *pm, uint32_t offset)
{
    if (offset >= ACPI_PM_TIMER) {
        return byte_of((uint32_t)pm->seen_ticks & (2 * TIMER_HALF - 1), offset - ACPI_PM_TIMER);
    }
    if (offset >= ACPI_PM1_CONTROL) {
        return offset < ACPI_PM1_CONTROL + 2
                   ? byte_of(pm->control | CNT_SCI_EN, offset - ACPI_PM1_CONTROL)
                   : 0;
    }
    return byte_of(pm->status | (uint32_t)pm->enable << 16, offset);
}

static void put_byte(uint16_t *reg, uint32_t offset, uint8_t value)
{
    *reg = (uint16_t)((*reg & ~(0xffu << (8 * offset))) | (unsigned)value << (8 * offset));
}

static void write_control(struct acpi_pm *pm, uint32_t offset, uint8_t value)
{
    uint16_t written = pm->control;

    put_byte(&written, offset, value);
    pm->control = written & CNT_KEPT;
    if ((written & CNT_SLP_EN) && CNT_SLP_TYP(written) == ACPI_SLEEP_S5 && pm->power_off) {
        pm->power_off(pm->opaque);
    }
}

static void write_byte(struct acpi_pm *pm, uint32_t offset, uint8_t value)
{
    if (offset < 2) { /* status: ones clear */
        pm->status &= (uint16_t)~((unsigned)value << (8 * offset));
    } else if (offset < ACPI_PM1_CONTROL) {
        put_byte(&pm->enable, offset - 2, value);
        pm->enable &= EN_MASK;
    } else if (offset < ACPI_PM1_CONTROL + 2) {
        write_control(pm, offset - ACPI_PM1_CONTROL, value);
    }
}

/* A wide read of the timer must be of one moment, so wide accesses are taken whole. */
enum vdev_result acpi_pm_access(void *dev, struct vdev_access *acc)
{
    struct acpi_pm *pm = dev;

    if (acc->offset + acc->size > ACPI_PM_PORTS) {
        return VDEV_UNHANDLED;
    }
    see_time(pm, vdev_now(&pm->clock));
    if (!acc->write) {
        acc->value = 0;
    }
    for (uint32_t i = 0; i < acc->size; i++) {
        if (acc->write) {
            write_byte(pm, acc->offset + i, byte_of(acc->value, i));
        } else {
            acc->value |= (uint32_t)read_byte(pm, acc->offset + i) << (8 * i);
        }
    }
    drive_sci(pm);
    return VDEV_HANDLED;
}

void acpi_pm_init(struct acpi_pm *pm, const struct vdev_clock *clock, const struct vdev_irq *sci,
                  void (*power_off)(void *opaque), void *opaque)
{
    *pm = (struct acpi_pm){.clock = *clock, .sci = *sci, .power_off = power_off, .opaque = opaque};
}
