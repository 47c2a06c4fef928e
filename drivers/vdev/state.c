/* SPDX-License-Identifier: MIT */
/*
 * Saving and loading the devices. A device's state is its structure without its connections; the functions `*_connect` name
 * those, once, for both directions. Loading checks what a device relies on to stay within its own arrays.
 */
#include "drivers/vdev/state.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"

/* Take the connections of *to from *from. */
static void uart_connect(struct uart *to, const struct uart *from)
{
    to->clock = from->clock;
    to->irq = from->irq;
    to->tx = from->tx;
    to->tx_opaque = from->tx_opaque;
}

static void pic_connect(struct pic *to, const struct pic *from)
{
    to->out = from->out;
    to->out_opaque = from->out_opaque;
}

static void pit_connect(struct pit *to, const struct pit *from)
{
    to->clock = from->clock;
    to->irq = from->irq;
}

static void port61_connect(struct port61 *to, const struct port61 *from)
{
    to->pit = from->pit;
    to->clock = from->clock;
}

static void rtc_connect(struct rtc *to, const struct rtc *from)
{
    to->clock = from->clock;
    to->irq = from->irq;
}

static void i8042_connect(struct i8042 *to, const struct i8042 *from)
{
    to->kbd_irq = from->kbd_irq;
    to->aux_irq = from->aux_irq;
    to->reset = from->reset;
}

static void acpi_pm_connect(struct acpi_pm *to, const struct acpi_pm *from)
{
    to->clock = from->clock;
    to->sci = from->sci;
    to->power_off = from->power_off;
    to->opaque = from->opaque;
}

/* Copy all devices between a machine and a state; connections come from `wires`. A and B have members of the same names. */
#define COPY_DEVICES(to, from, wires)                                                              \
    do {                                                                                           \
        (to)->uart = (from)->uart;                                                                 \
        uart_connect(&(to)->uart, &(wires)->uart);                                                 \
        (to)->pic = (from)->pic;                                                                   \
        pic_connect(&(to)->pic, &(wires)->pic);                                                    \
        (to)->pit = (from)->pit;                                                                   \
        pit_connect(&(to)->pit, &(wires)->pit);                                                    \
        (to)->port61 = (from)->port61;                                                             \
        port61_connect(&(to)->port61, &(wires)->port61);                                           \
        (to)->rtc = (from)->rtc;                                                                   \
        rtc_connect(&(to)->rtc, &(wires)->rtc);                                                    \
        (to)->i8042 = (from)->i8042;                                                               \
        i8042_connect(&(to)->i8042, &(wires)->i8042);                                              \
        (to)->pci = (from)->pci;                                                                   \
        (to)->pci.reset = (wires)->pci.reset;                                                      \
        (to)->dma = (from)->dma;                                                                   \
        (to)->port92 = (from)->port92;                                                             \
        (to)->port92.reset = (wires)->port92.reset;                                                \
        (to)->acpi_pm = (from)->acpi_pm;                                                           \
        acpi_pm_connect(&(to)->acpi_pm, &(wires)->acpi_pm);                                        \
    } while (0)

static const struct vmachine_state unconnected;

void vmachine_save(const struct vmachine *m, struct vmachine_state *s)
{
    memset(s, 0, sizeof(*s));
    s->version = VMACHINE_STATE_VERSION;
    s->size = sizeof(*s);
    s->last_ns = m->last_ns;
    COPY_DEVICES(s, m, &unconnected);
}

static bool pit_valid(const struct pit *pit)
{
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        const struct pit_channel *ch = &pit->ch[i];

        if (ch->mode > 5 || ch->rw < 1 || ch->rw > 3 || ch->latch_left > 2 || ch->n < 1 || ch->n > 65536 ||
            ch->cr > 65536) {
            return false;
        }
    }
    return true;
}

static bool pic_valid(const struct pic *pic)
{
    for (unsigned i = 0; i < 2; i++) {
        if (pic->chip[i].lowest > 7 || pic->chip[i].expect_icw > 4) {
            return false;
        }
    }
    return true;
}

int vmachine_load(struct vmachine *m, const struct vmachine_state *s)
{
    struct vmachine_state wires;

    if (s->version != VMACHINE_STATE_VERSION || s->size != sizeof(*s) || s->uart.rx_head >= UART_FIFO_SIZE ||
        s->uart.rx_count > UART_FIFO_SIZE || s->i8042.queued > I8042_QUEUE || s->rtc.index >= RTC_CMOS_SIZE ||
        !pit_valid(&s->pit) || !pic_valid(&s->pic)) {
        return -EINVAL;
    }
    memset(&wires, 0, sizeof(wires));
    COPY_DEVICES(&wires, m, m);
    COPY_DEVICES(m, s, &wires);
    m->last_ns = s->last_ns;
    return 0;
}

#undef COPY_DEVICES
