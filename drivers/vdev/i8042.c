/* SPDX-License-Identifier: MIT */
/*
 * 8042 keyboard controller with both connectors empty, after IBM's PS/2 Hardware Interface
 * Technical Reference, "Keyboard and Auxiliary Device Controller". It answers at once (IBF is never
 * set), and to a byte for a device it answers as the real one does when nobody clocks it in: 0xfe
 * with the time-out bit, so that a driver gives up without waiting.
 */
#include "drivers/vdev/i8042.h"

#include "kernel/lib/string.h"

#define STATUS_OBF      0x01
#define STATUS_SYS      0x04
#define STATUS_CMD      0x08 /* the last write was to port 0x64 */
#define STATUS_UNLOCK   0x10
#define STATUS_AUX      0x20
#define STATUS_TIMEOUT  0x40

#define CTR_KBD_INT     0x01
#define CTR_AUX_INT     0x02
#define CTR_SYS         0x04
#define CTR_KBD_DISABLE 0x10
#define CTR_AUX_DISABLE 0x20
#define CTR_TRANSLATE   0x40

#define OUT_NOT_RESET   0x01
#define OUT_A20         0x02
#define OUT_KBD_OBF     0x10
#define OUT_AUX_OBF     0x20
#define OUT_LINES       0xc0

#define CMD_READ_RAM    0x20 /* ..0x3f */
#define CMD_WRITE_RAM   0x60 /* ..0x7f */
#define CMD_TEST_PASSWD 0xa4
#define CMD_AUX_OFF     0xa7
#define CMD_AUX_ON      0xa8
#define CMD_AUX_TEST    0xa9
#define CMD_SELF_TEST   0xaa
#define CMD_KBD_TEST    0xab
#define CMD_KBD_OFF     0xad
#define CMD_KBD_ON      0xae
#define CMD_READ_INPUT  0xc0
#define CMD_READ_OUT    0xd0
#define CMD_WRITE_OUT   0xd1
#define CMD_KBD_LOOP    0xd2
#define CMD_AUX_LOOP    0xd3
#define CMD_AUX_WRITE   0xd4
#define CMD_A20_OFF     0xdd
#define CMD_A20_ON      0xdf
#define CMD_TEST_PINS   0xe0
#define CMD_PULSE       0xf0 /* ..0xff */

#define NO_PASSWORD     0xf1
#define SELF_TEST_OK    0x55
#define INPUT_UNLOCKED  0x80
#define DEVICE_TIMEOUT  0xfe

static void drive_irqs(struct i8042 *kbc)
{
    bool full = kbc->queued > 0, aux = full && (kbc->queue[0].status & STATUS_AUX);

    vdev_irq_set(&kbc->kbd_irq, full && !aux && (kbc->ram[0] & CTR_KBD_INT));
    vdev_irq_set(&kbc->aux_irq, aux && (kbc->ram[0] & CTR_AUX_INT));
}

/* A byte for the host. The queue is deeper than any sequence of answers that waits for no command;
 * more is lost. */
static void answer(struct i8042 *kbc, uint8_t byte, uint8_t status)
{
    if (kbc->queued < I8042_QUEUE) {
        kbc->queue[kbc->queued].byte = byte;
        kbc->queue[kbc->queued].status = status;
        kbc->queued++;
    }
}

static void write_outport(struct i8042 *kbc, uint8_t value)
{
    kbc->outport = value & (OUT_NOT_RESET | OUT_A20);
    if (!(value & OUT_NOT_RESET)) {
        kbc->outport |= OUT_NOT_RESET; /* the reset lifts the line again */
        vdev_request_reset(&kbc->reset, "i8042 output port");
    }
}

static uint8_t read_outport(const struct i8042 *kbc)
{
    uint8_t value = kbc->outport | OUT_LINES;

    if (kbc->queued > 0) {
        value |= (kbc->queue[0].status & STATUS_AUX) ? OUT_AUX_OBF : OUT_KBD_OBF;
    }
    return value;
}

static void write_ctr(struct i8042 *kbc, uint8_t value)
{
    kbc->ram[0] = value;
    kbc->status_sys = value & CTR_SYS;
}

static void self_test(struct i8042 *kbc)
{
    kbc->queued = 0;
    kbc->status_sys = true;
    kbc->ram[0] |= CTR_SYS;
    answer(kbc, SELF_TEST_OK, 0);
}

/* The commands that stand alone. Unknown ones are ignored, as by the controller's firmware. */
static void simple_command(struct i8042 *kbc, uint8_t command)
{
    switch (command) {
    case CMD_TEST_PASSWD:
        answer(kbc, NO_PASSWORD, 0);
        break;
    case CMD_AUX_OFF:
        kbc->ram[0] |= CTR_AUX_DISABLE;
        break;
    case CMD_AUX_ON:
        kbc->ram[0] &= ~CTR_AUX_DISABLE;
        break;
    case CMD_KBD_OFF:
        kbc->ram[0] |= CTR_KBD_DISABLE;
        break;
    case CMD_KBD_ON:
        kbc->ram[0] &= ~CTR_KBD_DISABLE;
        break;
    case CMD_SELF_TEST:
        self_test(kbc);
        break;
    case CMD_AUX_TEST:
    case CMD_KBD_TEST:
    case CMD_TEST_PINS:
        answer(kbc, 0, 0); /* no line is stuck */
        break;
    case CMD_READ_INPUT:
        answer(kbc, INPUT_UNLOCKED, 0);
        break;
    case CMD_READ_OUT:
        answer(kbc, read_outport(kbc), 0);
        break;
    case CMD_A20_OFF:
        kbc->outport &= ~OUT_A20;
        break;
    case CMD_A20_ON:
        kbc->outport |= OUT_A20;
        break;
    default:
        break;
    }
}

bool i8042_a20_open(const struct i8042 *kbc)
{
    return kbc->outport & OUT_A20;
}

static void write_command(struct i8042 *kbc, uint8_t command)
{
    kbc->status_cmd = true;
    kbc->command = 0;
    if (command >= CMD_PULSE) {
        if (!(command & OUT_NOT_RESET)) { /* a 0 in bits 3..0 pulses that line low */
            vdev_request_reset(&kbc->reset, "i8042 pulse");
        }
    } else if ((command & 0xe0) == CMD_READ_RAM) {
        answer(kbc, kbc->ram[command & 0x1f], 0);
    } else if ((command & 0xe0) == CMD_WRITE_RAM ||
               (command >= CMD_WRITE_OUT && command <= CMD_AUX_WRITE)) {
        kbc->command = command;
    } else {
        simple_command(kbc, command);
    }
}

static void write_data(struct i8042 *kbc, uint8_t value)
{
    uint8_t command = kbc->command;

    kbc->status_cmd = false;
    kbc->command = 0;
    switch (command) {
    case 0:
        kbc->ram[0] &= ~CTR_KBD_DISABLE; /* sending opens the interface */
        answer(kbc, DEVICE_TIMEOUT, STATUS_TIMEOUT);
        break;
    case CMD_AUX_WRITE:
        kbc->ram[0] &= ~CTR_AUX_DISABLE;
        answer(kbc, DEVICE_TIMEOUT, STATUS_TIMEOUT | STATUS_AUX);
        break;
    case CMD_WRITE_OUT:
        write_outport(kbc, value);
        break;
    case CMD_KBD_LOOP:
        answer(kbc, value, 0);
        break;
    case CMD_AUX_LOOP:
        answer(kbc, value, STATUS_AUX);
        break;
    case CMD_WRITE_RAM:
        write_ctr(kbc, value);
        break;
    default:
        kbc->ram[command & 0x1f] = value;
        break;
    }
}

static uint8_t read_data(struct i8042 *kbc)
{
    if (kbc->queued > 0) {
        kbc->last = kbc->queue[0].byte;
        kbc->queued--;
        memmove(&kbc->queue[0], &kbc->queue[1], kbc->queued * sizeof(kbc->queue[0]));
        /* Reading drops the line, so that a byte that follows makes an edge of its own. */
        vdev_irq_set(&kbc->kbd_irq, 0);
        vdev_irq_set(&kbc->aux_irq, 0);
    }
    return kbc->last;
}

static uint8_t read_status(const struct i8042 *kbc)
{
    return (kbc->queued > 0 ? STATUS_OBF | kbc->queue[0].status : 0) |
           (kbc->status_sys ? STATUS_SYS : 0) | (kbc->status_cmd ? STATUS_CMD : 0) | STATUS_UNLOCK;
}

enum vdev_result i8042_data_access(void *dev, struct vdev_access *acc)
{
    struct i8042 *kbc = dev;

    if (acc->size != 1) {
        return VDEV_UNHANDLED;
    }
    if (acc->write) {
        write_data(kbc, acc->value);
    } else {
        acc->value = read_data(kbc);
    }
    drive_irqs(kbc);
    return VDEV_HANDLED;
}

enum vdev_result i8042_command_access(void *dev, struct vdev_access *acc)
{
    struct i8042 *kbc = dev;

    if (acc->size != 1) {
        return VDEV_UNHANDLED;
    }
    if (acc->write) {
        write_command(kbc, acc->value);
        drive_irqs(kbc);
    } else {
        acc->value = read_status(kbc);
    }
    return VDEV_HANDLED;
}

void i8042_init(struct i8042 *kbc, const struct vdev_irq *kbd_irq, const struct vdev_irq *aux_irq,
                const struct vdev_reset *reset)
{
    memset(kbc, 0, sizeof(*kbc));
    kbc->kbd_irq = *kbd_irq;
    kbc->aux_irq = *aux_irq;
    kbc->reset = *reset;
    kbc->outport = OUT_NOT_RESET | OUT_A20;
    write_ctr(kbc, CTR_KBD_INT | CTR_SYS | CTR_AUX_DISABLE | CTR_TRANSLATE);
}
