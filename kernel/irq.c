/* SPDX-License-Identifier: MIT */
/*
 * The host's tick and its clock: the local APIC's timer, or the PIT through the 8259 where there is
 * no local APIC. Both are calibrated against PIT channel 2; CPUID replaces it where it fails.
 */
#include "kernel/irq.h"

#include "drivers/lapic.h"
#include "drivers/pic.h"
#include "drivers/pit.h"
#include "kernel/calibrate.h"
#include "kernel/lib/log.h"
#include "kernel/memory.h"
#include "kernel/x86.h"

#define APIC_BASE_ENABLE  (1ull << 11) /* SDM 3A 10.4.4 */
#define APIC_BASE_X2APIC  (1ull << 10)
#define APIC_BASE_ADDR    0x000ffffffffff000ull
#define CPUID_1_EDX_APIC  (1u << 9)

#define CALIBRATION_MS    10
#define CALIBRATION_COUNT (PIT_HZ * CALIBRATION_MS / 1000)
/* A PIT that does not count (gated off in some laptops) is given up after this many polls, each
 * some 100 ns at least. */
#define CALIBRATION_POLLS 2000000u
#define TSC_KHZ_UNKNOWN   1000000

/* All written by irq_init() and timer_start(), constant afterwards. */
uint64_t tsc_khz;
static bool have_lapic;
static struct lapic lapic;
static uint32_t lapic_khz;
static void (*tick_function)(void);

static bool find_lapic(void)
{
    uint32_t r[4];
    uint64_t base;

    cpuid(1, 0, r);
    if (!(r[3] & CPUID_1_EDX_APIC)) {
        return false;
    }
    base = rdmsr(MSR_APIC_BASE);
    if (!(base & APIC_BASE_ENABLE)) {
        return false;
    }
    lapic.mmio = base & APIC_BASE_X2APIC ? NULL : map_device(base & APIC_BASE_ADDR, PAGE_SIZE);
    return true;
}

enum window_result { WINDOW_SEEN, WINDOW_MISSED, WINDOW_ENDLESS };

/* One window of CALIBRATION_MS of the PIT. Missed: it had ended when it was first looked at, because the machine stood still for so long, or
 * because the PIT's output is stuck. */
static enum window_result measure_window(struct calibration_window *w)
{
    unsigned polls = 0;
    bool expired;

    w->before = rdtsc();
    pit_stopwatch_start(CALIBRATION_COUNT);
    if (have_lapic) {
        lapic_timer_measure(&lapic);
    }
    w->now = w->after = rdtsc();
    do {
        w->last = w->now;
        expired = pit_stopwatch_expired();
        if (expired && have_lapic) {
            w->other = lapic_timer_elapsed(&lapic);
        }
        w->now = rdtsc();
    } while (!expired && ++polls < CALIBRATION_POLLS);
    return !expired ? WINDOW_ENDLESS : polls ? WINDOW_SEEN : WINDOW_MISSED;
}

/* False if the PIT does not count. */
static bool calibrate_by_pit(void)
{
    struct calibration c;
    unsigned missed = 0;

    calibration_init(&c);
    while (!calibration_done(&c)) {
        struct calibration_window w = {0};
        enum window_result result = measure_window(&w);

        if (result == WINDOW_SEEN) {
            calibration_add(&c, &w);
        } else if (result == WINDOW_ENDLESS || ++missed == CALIBRATION_MAX_RUNS) {
            return false;
        }
    }
    tsc_khz = calibration_tsc(&c) / CALIBRATION_MS;
    lapic_khz = c.best.other / CALIBRATION_MS;
    return true;
}

/* SDM 3B 18.7.3: leaf 15h gives crystal and ratio, leaf 16h the base frequency. */
static void calibrate_by_cpuid(void)
{
    uint32_t max[4], r[4];
    uint64_t start;

    cpuid(0, 0, max);
    tsc_khz = TSC_KHZ_UNKNOWN;
    if (max[0] >= 0x16) {
        cpuid(0x16, 0, r);
        tsc_khz = r[0] ? r[0] * 1000ull : tsc_khz;
    }
    if (max[0] >= 0x15) {
        cpuid(0x15, 0, r);
        if (r[0] && r[1] && r[2]) {
            tsc_khz = (uint64_t)r[2] * r[1] / r[0] / 1000;
        }
    }
    if (have_lapic) {
        lapic_timer_measure(&lapic);
        start = rdtsc();
        while (rdtsc() - start < tsc_khz * CALIBRATION_MS) {
            __builtin_ia32_pause();
        }
        lapic_khz = lapic_timer_elapsed(&lapic) / CALIBRATION_MS;
    }
}

static const char *tick_source(void)
{
    if (!have_lapic) {
        return "PIT";
    }
    return lapic.mmio ? "local APIC" : "x2APIC";
}

void irq_init(void)
{
    bool by_pit;

    i8259_init(IRQ_PIC_FIRST);
    have_lapic = find_lapic();
    if (have_lapic) {
        lapic_init(&lapic, IRQ_SPURIOUS);
    }
    by_pit = calibrate_by_pit();
    if (!by_pit) {
        calibrate_by_cpuid();
    }
    if (have_lapic) {
        lapic_timer_stop(&lapic);
    }
    printk("clock: TSC %lu.%03lu MHz by %s; tick by %s\n", tsc_khz / 1000, tsc_khz % 1000,
           by_pit ? "PIT" : "CPUID", tick_source());
}

void timer_start(unsigned hz, void (*tick)(void))
{
    tick_function = tick;
    if (have_lapic) {
        lapic_timer_periodic(&lapic, IRQ_TIMER_VECTOR, MAX(lapic_khz * 1000ull / hz, 1));
    } else {
        pit_periodic(hz);
        i8259_unmask(0);
    }
}

bool nmi_timer_start(unsigned hz)
{
    if (!have_lapic) {
        return false; /* the PIT is the tick */
    }
    pit_periodic(hz);
    lapic_pic_to_nmi(&lapic, true);
    i8259_unmask(0);
    return true;
}

void nmi_timer_stop(void)
{
    i8259_mask_all();
    lapic_pic_to_nmi(&lapic, false);
}

void nmi_timer_ack(void)
{
    i8259_poll();
}

void irq_shutdown(void)
{
    interrupts_off();
    i8259_mask_all();
    if (have_lapic) {
        lapic_virtual_wire(&lapic);
    }
}

void host_irq(unsigned vector)
{
    if (vector == IRQ_TIMER_VECTOR) {
        lapic_eoi(&lapic);
        tick_function();
    } else if (vector >= IRQ_PIC_FIRST && vector < IRQ_PIC_FIRST + 16) {
        if (i8259_ack(vector - IRQ_PIC_FIRST) && vector == IRQ_PIC_FIRST && tick_function) {
            tick_function();
        }
    } else if (vector != IRQ_SPURIOUS) { /* a spurious interrupt is not in service: no EOI */
        panic("interrupt %#x from nowhere: only the tick is unmasked", vector);
    }
}

void cpu_idle(void)
{
    wait_for_interrupt();
}
