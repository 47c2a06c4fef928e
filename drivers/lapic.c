/* SPDX-License-Identifier: MIT */
/* The host CPU's local APIC. */
#include "drivers/lapic.h"

/* SDM 3A 10.4.1, table 10-1: offsets in the page; x2APIC MSRs are 0x800 + offset / 16 (10.12.1.2)
 */
#define REG_TPR         0x080
#define REG_EOI         0x0b0
#define REG_SPURIOUS    0x0f0
#define REG_LVT_TIMER   0x320
#define REG_LVT_LINT0   0x350
#define REG_LVT_LINT1   0x360
#define REG_LVT_ERROR   0x370
#define REG_INITIAL     0x380
#define REG_CURRENT     0x390
#define REG_DIVIDE      0x3e0
#define X2APIC_MSR      0x800

#define SPURIOUS_ENABLE 0x100
#define LVT_MASKED      0x10000
#define LVT_PERIODIC    0x20000
#define LVT_EXTINT      0x00700
#define LVT_NMI         0x00400
#define DIVIDE_BY_1     0xb

static uint32_t lapic_read(struct lapic *lapic, unsigned reg)
{
    uint32_t lo, hi;

    if (lapic->mmio) {
        return lapic->mmio[reg / 4];
    }
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(X2APIC_MSR + reg / 16));
    return lo;
}

static void lapic_write(struct lapic *lapic, unsigned reg, uint32_t value)
{
    if (lapic->mmio) {
        lapic->mmio[reg / 4] = value;
    } else {
        __asm__ volatile("wrmsr" : : "c"(X2APIC_MSR + reg / 16), "a"(value), "d"(0) : "memory");
    }
}

void lapic_init(struct lapic *lapic, uint8_t spurious_vector)
{
    lapic_write(lapic, REG_SPURIOUS, SPURIOUS_ENABLE | spurious_vector);
    lapic_write(lapic, REG_TPR, 0);
    lapic_write(lapic, REG_LVT_TIMER, LVT_MASKED);
    lapic_write(lapic, REG_LVT_LINT0, LVT_MASKED);
    lapic_write(lapic, REG_LVT_LINT1, LVT_NMI);
    lapic_write(lapic, REG_LVT_ERROR, LVT_MASKED);
    lapic_write(lapic, REG_EOI, 0); /* what the firmware may have left in service */
}

void lapic_timer_measure(struct lapic *lapic)
{
    lapic_write(lapic, REG_LVT_TIMER, LVT_MASKED);
    lapic_write(lapic, REG_DIVIDE, DIVIDE_BY_1);
    lapic_write(lapic, REG_INITIAL, ~0u);
}

uint32_t lapic_timer_elapsed(struct lapic *lapic)
{
    return ~0u - lapic_read(lapic, REG_CURRENT);
}

void lapic_timer_periodic(struct lapic *lapic, uint8_t vector, uint32_t count)
{
    lapic_write(lapic, REG_DIVIDE, DIVIDE_BY_1);
    lapic_write(lapic, REG_LVT_TIMER, LVT_PERIODIC | vector);
    lapic_write(lapic, REG_INITIAL, count);
}

void lapic_timer_stop(struct lapic *lapic)
{
    lapic_write(lapic, REG_LVT_TIMER, LVT_MASKED);
    lapic_write(lapic, REG_INITIAL, 0);
}

void lapic_eoi(struct lapic *lapic)
{
    lapic_write(lapic, REG_EOI, 0);
}

void lapic_pic_to_nmi(struct lapic *lapic, bool on)
{
    lapic_write(lapic, REG_LVT_LINT0, on ? LVT_NMI : LVT_MASKED);
}

void lapic_virtual_wire(struct lapic *lapic)
{
    lapic_timer_stop(lapic);
    lapic_write(lapic, REG_LVT_LINT0, LVT_EXTINT);
    lapic_write(lapic, REG_LVT_LINT1, LVT_NMI);
}
