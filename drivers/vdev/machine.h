/* SPDX-License-Identifier: MIT */
/*
 * The guest's machine as its I/O ports show it: a PC/AT with one serial line and no PCI devices.
 * One owner calls all of this, never concurrently; the callbacks run inside the calls and must not
 * call back in, except where said.
 */
#ifndef DRIVERS_VDEV_MACHINE_H
#define DRIVERS_VDEV_MACHINE_H

#include "drivers/vdev/acpi-pm.h"
#include "drivers/vdev/dma.h"
#include "drivers/vdev/i8042.h"
#include "drivers/vdev/irq-pace.h"
#include "drivers/vdev/misc.h"
#include "drivers/vdev/pci.h"
#include "drivers/vdev/pic.h"
#include "drivers/vdev/pit.h"
#include "drivers/vdev/port61.h"
#include "drivers/vdev/rtc.h"
#include "drivers/vdev/uart.h"
#include "drivers/vdev/vdev.h"

/* Every callback but the clock may be NULL; all get `opaque`. */
struct vmachine_config {
    void *opaque;
    /* Nanoseconds; a step back is taken as standing still. */
    uint64_t (*now_ns)(void *opaque);
    /* COM1 and port 0xe9. */
    void (*serial_out)(void *opaque, uint8_t byte);
    void (*debugcon_out)(void *opaque, uint8_t byte);
    /* Port 0xf4: the guest ends the run. Returns; vmachine_outport()'s caller sees to the end. */
    void (*debug_exit)(void *opaque, uint32_t value, unsigned size);
    /* The counter port: the value of counter `index`, all-ones if there is none. */
    uint32_t (*counter)(void *opaque, uint32_t index);
    /* The guest asks for a reset; as above. reason is a constant, for the log. */
    void (*reset)(void *opaque, const char *reason);
    /* The guest switches the machine off; as above. */
    void (*power_off)(void *opaque);
    /* The CPU's INTR pin changed. May call vmachine_irq_pending(). */
    void (*irq_changed)(void *opaque, int level);
    struct rtc_date date; /* the RTC at vmachine_init() */
    uint64_t ram_size;    /* bytes */
};

#define VMACHINE_ACPI_PM 0x0600 /* what the FADT points to */
#define VMACHINE_IRQ_SCI 9
#define VMACHINE_TIMERS  2 /* the PIT's channel 0, the RTC */

struct vmachine {
    struct vmachine_config cfg;
    struct vbus bus;
    uint64_t last_ns; /* the clock never shows less than this */
    struct uart uart;
    struct pic pic;
    struct pit pit;
    struct port61 port61;
    struct rtc rtc;
    struct i8042 i8042;
    struct pci pci;
    struct dma dma;
    struct port92 port92;
    struct acpi_pm acpi_pm;
    struct debug_exit debug_exit;
    struct debugcon debugcon;
    struct counter_port counters;
    struct irq_pace pace; /* of the timers' interrupts: the host's troubles, no state of the guest's */
    struct irq_pace_line timer[VMACHINE_TIMERS];
};

/* Power-on, and power-on again. *m must stay where it is. */
void vmachine_init(struct vmachine *m, const struct vmachine_config *cfg);

/* Guest port access. size 1, 2 or 4; the caller has checked I/O privilege and unrolls string
 * instructions. */
uint32_t vmachine_inport(struct vmachine *m, uint16_t port, unsigned size);
void vmachine_outport(struct vmachine *m, uint16_t port, unsigned size, uint32_t value);

/* Is address bit 20 let through? By either of its two gates, the keyboard controller's and port 0x92's (ICH datasheets, A20M#). */
bool vmachine_a20_open(const struct vmachine *m);

/* Let the devices see the time: raises the interrupts that are due. Call when
 * vmachine_next_event_ns() is reached; port accesses do it by themselves. */
void vmachine_tick(struct vmachine *m, uint64_t now_ns);
/* The next moment at which vmachine_tick() may raise an interrupt, VDEV_NEVER if none. Changes with
 * every port access. */
uint64_t vmachine_next_event_ns(const struct vmachine *m);

/* A byte typed at COM1. False: not taken, offer it again after the guest has read. */
bool vmachine_serial_in(struct vmachine *m, uint8_t byte);

bool vmachine_irq_pending(const struct vmachine *m);
/* Interrupt acknowledge: the vector to deliver. */
uint8_t vmachine_irq_ack(struct vmachine *m);

/* What the pace of timer interrupts depends on (irq-pace.h): the CPU is about to go on with interrupts on; a tick of the host found
 * them on or off; the guest waits in HLT. May raise the INTR pin. */
void vmachine_irq_open(struct vmachine *m);
void vmachine_host_tick(struct vmachine *m, bool open);
void vmachine_idle(struct vmachine *m);

#endif
