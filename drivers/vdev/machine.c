/* SPDX-License-Identifier: MIT */
/*
 * Composes the devices into one machine: who sits at which port, drives which interrupt line, sees
 * which clock. No device behaviour here; anything outside comes through the configuration's
 * callbacks.
 */
#include "drivers/vdev/machine.h"

#include "kernel/lib/log.h"
#include "kernel/lib/string.h"

#define COM1_BASE 0x3f8

#define IRQ_PIT   0
#define IRQ_KBD   1
#define IRQ_COM1  4
#define IRQ_RTC   8
#define IRQ_AUX   12

/* The configuration's clock, never going back. */
static uint64_t machine_now(void *opaque)
{
    struct vmachine *m = opaque;

    m->last_ns = MAX(m->last_ns, m->cfg.now_ns(m->cfg.opaque));
    return m->last_ns;
}

static struct vdev_irq irq_line(struct vmachine *m, unsigned line)
{
    return (struct vdev_irq){.set = pic_set_irq, .ctl = &m->pic, .line = line};
}

/* As irq_line(), for timer n: with its pace kept. */
static struct vdev_irq timer_line(struct vmachine *m, unsigned n, unsigned line)
{
    struct vdev_irq out = irq_line(m, line);

    return irq_pace_input(&m->timer[n], &m->pace, &out);
}

static void init_devices(struct vmachine *m)
{
    const struct vmachine_config *cfg = &m->cfg;
    struct vdev_clock clock = {.now_ns = machine_now, .opaque = m};
    struct vdev_reset reset = {.request = cfg->reset, .opaque = cfg->opaque};
    struct vdev_irq pit = timer_line(m, 0, IRQ_PIT), com1 = irq_line(m, IRQ_COM1),
                    rtc = timer_line(m, 1, IRQ_RTC);
    struct vdev_irq kbd = irq_line(m, IRQ_KBD), aux = irq_line(m, IRQ_AUX),
                    sci = irq_line(m, VMACHINE_IRQ_SCI);

    irq_pace_init(&m->pace, m->timer, VMACHINE_TIMERS);
    pic_init(&m->pic, cfg->irq_changed, cfg->opaque);
    pit_init(&m->pit, &clock, &pit);
    port61_init(&m->port61, &m->pit, &clock);
    rtc_init(&m->rtc, &clock, &rtc, &cfg->date, cfg->ram_size);
    uart_init(&m->uart, &clock, &com1, cfg->serial_out, cfg->opaque);
    i8042_init(&m->i8042, &kbd, &aux, &reset);
    pci_init(&m->pci, &reset);
    dma_init(&m->dma);
    port92_init(&m->port92, &reset);
    acpi_pm_init(&m->acpi_pm, &clock, &sci, cfg->power_off, cfg->opaque);
    m->debug_exit = (struct debug_exit){.exit = cfg->debug_exit, .opaque = cfg->opaque};
    m->counters = (struct counter_port){.read = cfg->counter, .opaque = cfg->opaque};
    m->debugcon = (struct debugcon){.out = cfg->debugcon_out, .opaque = cfg->opaque};
}

/* The port map; what is touched most comes first. */
static void init_bus(struct vmachine *m)
{
    const struct vdev_range map[] = {
        {COM1_BASE, UART_PORTS, uart_access, &m->uart, "uart"},
        {0x0040, PIT_PORTS, pit_access, &m->pit, "pit"},
        {0x0020, PIC_PORTS, pic_master_access, &m->pic, "pic"},
        {0x00a0, PIC_PORTS, pic_slave_access, &m->pic, "pic2"},
        {0x0061, 1, port61_access, &m->port61, "port61"},
        {0x0080, DMA_PAGE_PORTS, dma_page_access, &m->dma, "dma-page"},
        {0x0060, 1, i8042_data_access, &m->i8042, "i8042"},
        {0x0064, 1, i8042_command_access, &m->i8042, "i8042"},
        {0x0070, RTC_PORTS, rtc_access, &m->rtc, "rtc"},
        {0x0cf8, PCI_PORTS, pci_access, &m->pci, "pci"},
        {0x0000, DMA_LOW_PORTS, dma_low_access, &m->dma, "dma"},
        {0x00c0, DMA_HIGH_PORTS, dma_high_access, &m->dma, "dma2"},
        {0x0092, 1, port92_access, &m->port92, "port92"},
        {VMACHINE_ACPI_PM, ACPI_PM_PORTS, acpi_pm_access, &m->acpi_pm, "acpi-pm"},
        {0x00e9, 1, debugcon_access, &m->debugcon, "debugcon"},
        {0x00f4, DEBUG_EXIT_PORTS, debug_exit_access, &m->debug_exit, "debug-exit"},
        {COUNTER_PORT_BASE, COUNTER_PORTS, counter_port_access, &m->counters, "counters"},
        {0x03c0, VGA_PORTS, vga_absent_access, NULL, "vga"},
        {0x04d0, ELCR_PORTS, pic_elcr_access, &m->pic, "elcr"},
    };

    _Static_assert(ARRAY_SIZE(map) <= VBUS_MAX, "the port map fits the bus");
    m->bus.count = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(map); i++) {
        int ret = vbus_add(&m->bus, &map[i]);

        ASSERT(ret == 0);
    }
}

void vmachine_init(struct vmachine *m, const struct vmachine_config *cfg)
{
    memset(m, 0, sizeof(*m));
    m->cfg = *cfg;
    ASSERT(cfg->now_ns);
    init_devices(m);
    init_bus(m);
}

/* Time first, so that what became due before the access is seen by it. */
static enum vdev_result machine_access(struct vmachine *m, uint16_t port, struct vdev_access *acc)
{
    static const char *const outcome[] = {
        [VDEV_HANDLED] = "", [VDEV_UNHANDLED] = " unhandled", [VDEV_ERROR] = " error"};
    enum vdev_result res;

    vmachine_tick(m, machine_now(m));
    res = vbus_access(&m->bus, port, acc);
    LOG(IO, "%s %04x/%u %0*x%s", acc->write ? "out" : "in ", port, acc->size, 2 * acc->size,
        acc->value, outcome[res]);
    return res;
}

uint32_t vmachine_inport(struct vmachine *m, uint16_t port, unsigned size)
{
    struct vdev_access acc = {.size = size};

    machine_access(m, port, &acc);
    return acc.value;
}

void vmachine_outport(struct vmachine *m, uint16_t port, unsigned size, uint32_t value)
{
    struct vdev_access acc = {.size = size, .write = true, .value = value};

    machine_access(m, port, &acc);
}

bool vmachine_a20_open(const struct vmachine *m)
{
    return i8042_a20_open(&m->i8042) || port92_a20_open(&m->port92);
}

void vmachine_tick(struct vmachine *m, uint64_t now_ns)
{
    m->last_ns = MAX(m->last_ns, now_ns);
    pit_update(&m->pit, m->last_ns);
    rtc_update(&m->rtc, m->last_ns);
    uart_update(&m->uart, m->last_ns);
    acpi_pm_update(&m->acpi_pm, m->last_ns);
}

uint64_t vmachine_next_event_ns(const struct vmachine *m)
{
    uint64_t next = MIN(pit_next_event_ns(&m->pit), rtc_next_event_ns(&m->rtc));

    next = MIN(next, uart_next_event_ns(&m->uart));
    return MIN(next, acpi_pm_next_event_ns(&m->acpi_pm));
}

bool vmachine_serial_in(struct vmachine *m, uint8_t byte)
{
    return uart_receive(&m->uart, byte);
}

bool vmachine_irq_pending(const struct vmachine *m)
{
    return pic_get_irq(&m->pic);
}

uint8_t vmachine_irq_ack(struct vmachine *m)
{
    unsigned line = (unsigned)pic_requested(&m->pic);

    if (line == IRQ_PIT || line == IRQ_RTC) {
        irq_pace_taken(&m->pace);
    }
    return pic_ack(&m->pic);
}

void vmachine_irq_open(struct vmachine *m)
{
    irq_pace_open(&m->pace);
}

void vmachine_host_tick(struct vmachine *m, bool open)
{
    irq_pace_tick(&m->pace, open);
}

void vmachine_idle(struct vmachine *m)
{
    irq_pace_idle(&m->pace);
}
