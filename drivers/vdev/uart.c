/* SPDX-License-Identifier: MIT */
/*
 * 16550A UART with 16-byte FIFOs, after National Semiconductor's PC16550D datasheet, "Registers"
 * and "FIFO interrupt mode operation". The line is a queue: bytes leave at once, parity, framing
 * and break never occur, and bytes from outside wait at the sender while the FIFO is full, so only
 * loop-back overruns. As in the PC/AT, MCR.OUT2 gates the interrupt. This file must not know where
 * bytes come from or go to.
 */
#include "drivers/vdev/uart.h"

#include "kernel/lib/string.h"

enum {
    R_RBR = 0, /* THR, DLL */
    R_IER = 1, /* DLM */
    R_IIR = 2, /* FCR */
    R_LCR = 3,
    R_MCR = 4,
    R_LSR = 5,
    R_MSR = 6,
    R_SCR = 7,
};

#define IER_RDI       0x01
#define IER_THRI      0x02
#define IER_RLSI      0x04
#define IER_MSI       0x08
#define IER_MASK      0x0f

#define IIR_MSI       0x00
#define IIR_NONE      0x01
#define IIR_THRI      0x02
#define IIR_RDI       0x04
#define IIR_RLSI      0x06
#define IIR_TIMEOUT   0x0c
#define IIR_FIFO      0xc0

#define FCR_ENABLE    0x01
#define FCR_RESET_RX  0x02
#define FCR_TRIGGER   0xc0

#define LCR_WLS       0x03
#define LCR_STOP      0x04
#define LCR_PARITY    0x08
#define LCR_DLAB      0x80

#define MCR_DTR       0x01
#define MCR_RTS       0x02
#define MCR_OUT1      0x04
#define MCR_OUT2      0x08
#define MCR_LOOP      0x10
#define MCR_MASK      0x1f

#define LSR_DR        0x01
#define LSR_OE        0x02
#define LSR_THRE      0x20
#define LSR_TEMT      0x40

#define MSR_DCTS      0x01
#define MSR_DDSR      0x02
#define MSR_TERI      0x04
#define MSR_DDCD      0x08
#define MSR_CTS       0x10
#define MSR_DSR       0x20
#define MSR_RI        0x40
#define MSR_DCD       0x80

#define UART_CLOCK_HZ 1843200u

static bool fifo_on(const struct uart *u)
{
    return u->fcr & FCR_ENABLE;
}

static bool loopback(const struct uart *u)
{
    return u->mcr & MCR_LOOP;
}

static unsigned rx_trigger(const struct uart *u)
{
    static const uint8_t level[4] = {1, 4, 8, 14};

    return fifo_on(u) ? level[u->fcr >> 6] : 1;
}

static uint8_t word_mask(const struct uart *u)
{
    return 0xff >> (3 - (u->lcr & LCR_WLS));
}

/* Four characters with start, parity and stop bits at the programmed rate; a divisor of 0 counts
 * as 1. */
static uint64_t timeout_ns(const struct uart *u)
{
    unsigned divisor = u->dll | u->dlm << 8;
    unsigned half_bits = 2 * (1 + 5 + (u->lcr & LCR_WLS) + !!(u->lcr & LCR_PARITY)) + 2;

    if (u->lcr & LCR_STOP) {
        half_bits += (u->lcr & LCR_WLS) ? 2 : 1;
    }
    return (uint64_t)half_bits * MAX(divisor, 1u) * (4 * 8) * VDEV_NS_PER_SEC / UART_CLOCK_HZ;
}

static uint8_t modem_lines(const struct uart *u)
{
    if (!loopback(u)) {
        return MSR_CTS | MSR_DSR | MSR_DCD; /* somebody is always listening */
    }
    return ((u->mcr & MCR_RTS) ? MSR_CTS : 0) | ((u->mcr & MCR_DTR) ? MSR_DSR : 0) |
           ((u->mcr & MCR_OUT1) ? MSR_RI : 0) | ((u->mcr & MCR_OUT2) ? MSR_DCD : 0);
}

/* IIR bits 3..0: the enabled cause of highest priority (datasheet, "Interrupt control functions").
 */
static uint8_t interrupt_id(const struct uart *u)
{
    if ((u->ier & IER_RLSI) && u->overrun) {
        return IIR_RLSI;
    }
    if ((u->ier & IER_RDI) && u->rx_count >= rx_trigger(u)) {
        return IIR_RDI;
    }
    if ((u->ier & IER_RDI) && u->timeout_pending) {
        return IIR_TIMEOUT;
    }
    if ((u->ier & IER_THRI) && u->thre_pending) {
        return IIR_THRI;
    }
    if ((u->ier & IER_MSI) && u->msr_delta) {
        return IIR_MSI;
    }
    return IIR_NONE;
}

static void drive_irq(struct uart *u)
{
    bool gate = (u->mcr & MCR_OUT2) && !loopback(u); /* loop-back forces the OUT2 pin inactive */

    vdev_irq_set(&u->irq, gate && interrupt_id(u) != IIR_NONE);
}

static void latch_timeout(struct uart *u, uint64_t now_ns)
{
    if (fifo_on(u) && u->rx_count > 0 && now_ns >= u->rx_ns && now_ns - u->rx_ns >= timeout_ns(u)) {
        u->timeout_pending = true;
    }
}

void uart_update(struct uart *u, uint64_t now_ns)
{
    latch_timeout(u, now_ns);
    drive_irq(u);
}

uint64_t uart_next_event_ns(const struct uart *u)
{
    if (!fifo_on(u) || u->rx_count == 0 || u->timeout_pending || !(u->ier & IER_RDI)) {
        return VDEV_NEVER;
    }
    return u->rx_ns + timeout_ns(u);
}

static bool rx_full(const struct uart *u)
{
    return u->rx_count >= (fifo_on(u) ? UART_FIFO_SIZE : 1);
}

static void rx_clear(struct uart *u)
{
    u->rx_head = 0;
    u->rx_count = 0;
    u->timeout_pending = false;
}

static void rx_append(struct uart *u, uint8_t byte, uint64_t now_ns)
{
    u->rx[(u->rx_head + u->rx_count) % UART_FIFO_SIZE] = byte;
    u->rx_count++;
    u->rx_ns = now_ns;
}

/* A looped-back byte cannot wait: a full FIFO keeps its contents, a full RBR is overwritten
 * (datasheet, "Line status register"). */
static void rx_loop(struct uart *u, uint8_t byte, uint64_t now_ns)
{
    if (rx_full(u)) {
        u->overrun = true;
        if (fifo_on(u)) {
            return;
        }
        rx_clear(u);
    }
    rx_append(u, byte, now_ns);
}

bool uart_receive(struct uart *u, uint8_t byte)
{
    uint64_t now = vdev_now(&u->clock);

    if (loopback(u) || rx_full(u)) {
        return false;
    }
    latch_timeout(u, now);
    rx_append(u, byte & word_mask(u), now);
    drive_irq(u);
    return true;
}

static uint8_t read_rbr(struct uart *u, uint64_t now_ns)
{
    if (u->rx_count > 0) {
        u->rbr = u->rx[u->rx_head];
        u->rx_head = (u->rx_head + 1) % UART_FIFO_SIZE;
        u->rx_count--;
        u->rx_ns = now_ns;
        u->timeout_pending = false;
    }
    return u->rbr;
}

static uint8_t read_iir(struct uart *u)
{
    uint8_t id = interrupt_id(u);

    if (id == IIR_THRI) {
        u->thre_pending = false;
    }
    return id | (fifo_on(u) ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct uart *u)
{
    uint8_t lsr = LSR_THRE | LSR_TEMT | (u->rx_count > 0 ? LSR_DR : 0) | (u->overrun ? LSR_OE : 0);

    u->overrun = false;
    return lsr;
}

static uint8_t read_msr(struct uart *u)
{
    uint8_t msr = modem_lines(u) | u->msr_delta;

    u->msr_delta = 0;
    return msr;
}

static void write_thr(struct uart *u, uint8_t byte, uint64_t now_ns)
{
    byte &= word_mask(u);
    if (loopback(u)) {
        rx_loop(u, byte, now_ns);
    } else if (u->tx) {
        u->tx(u->tx_opaque, byte);
    }
    /* The write drops the interrupt, and the byte has left before the guest's next instruction. */
    u->thre_pending = false;
    drive_irq(u);
    u->thre_pending = true;
}

static void write_ier(struct uart *u, uint8_t value)
{
    value &= IER_MASK;
    if ((value ^ u->ier) & IER_THRI) {
        u->thre_pending =
            value &
            IER_THRI; /* enabled while THR is empty, which it always is: interrupts at once */
    }
    u->ier = value;
}

static void write_fcr(struct uart *u, uint8_t value)
{
    if ((value ^ u->fcr) & FCR_ENABLE) {
        rx_clear(u); /* changing the mode empties both FIFOs */
    }
    if (!(value & FCR_ENABLE)) {
        u->fcr = 0; /* the other bits are programmed only together with bit 0 */
        return;
    }
    if (value & FCR_RESET_RX) {
        rx_clear(u);
    }
    u->fcr = value & (FCR_ENABLE | FCR_TRIGGER);
}

static void write_mcr(struct uart *u, uint8_t value)
{
    uint8_t before = modem_lines(u), after, changed;

    u->mcr = value & MCR_MASK;
    after = modem_lines(u);
    changed = before ^ after;
    u->msr_delta |= ((changed & MSR_CTS) ? MSR_DCTS : 0) | ((changed & MSR_DSR) ? MSR_DDSR : 0) |
                    ((changed & MSR_DCD) ? MSR_DDCD : 0) |
                    ((before & ~after & MSR_RI) ? MSR_TERI : 0);
}

static uint8_t uart_read(struct uart *u, unsigned reg, uint64_t now_ns)
{
    bool dlab = u->lcr & LCR_DLAB;

    switch (reg) {
    case R_RBR:
        return dlab ? u->dll : read_rbr(u, now_ns);
    case R_IER:
        return dlab ? u->dlm : u->ier;
    case R_IIR:
        return read_iir(u);
    case R_LCR:
        return u->lcr;
    case R_MCR:
        return u->mcr;
    case R_LSR:
        return read_lsr(u);
    case R_MSR:
        return read_msr(u);
    default:
        return u->scr;
    }
}

static void uart_write(struct uart *u, unsigned reg, uint8_t value, uint64_t now_ns)
{
    bool dlab = u->lcr & LCR_DLAB;

    switch (reg) {
    case R_RBR:
        if (dlab) {
            u->dll = value;
        } else {
            write_thr(u, value, now_ns);
        }
        break;
    case R_IER:
        if (dlab) {
            u->dlm = value;
        } else {
            write_ier(u, value);
        }
        break;
    case R_IIR:
        write_fcr(u, value);
        break;
    case R_LCR:
        u->lcr = value;
        break;
    case R_MCR:
        write_mcr(u, value);
        break;
    case R_LSR: /* read-only but for factory tests */
    case R_MSR:
        break;
    default:
        u->scr = value;
        break;
    }
}

enum vdev_result uart_access(void *dev, struct vdev_access *acc)
{
    struct uart *u = dev;
    uint64_t now = vdev_now(&u->clock);

    if (acc->size != 1) {
        return VDEV_UNHANDLED;
    }
    latch_timeout(u, now);
    if (acc->write) {
        uart_write(u, acc->offset, acc->value, now);
    } else {
        acc->value = uart_read(u, acc->offset, now);
    }
    drive_irq(u);
    return VDEV_HANDLED;
}

void uart_init(struct uart *u, const struct vdev_clock *clock, const struct vdev_irq *irq,
               void (*tx)(void *opaque, uint8_t byte), void *tx_opaque)
{
    memset(u, 0, sizeof(*u));
    u->clock = *clock;
    u->irq = *irq;
    u->tx = tx;
    u->tx_opaque = tx_opaque;
    /* As firmware leaves it: 115200 8N1, the interrupt gate open. */
    u->dll = 1;
    u->lcr = 3;
    u->mcr = MCR_OUT2;
}
