/* SPDX-License-Identifier: MIT */
/*
 * 8254 programmable interval timer, after Intel's 8254 datasheet (231164), "Programming the 8254",
 * "Operation" and "Mode definitions". All is computed from the time when somebody looks; nothing
 * ticks. A written count is loaded at the next clock. OUT0 drives IRQ0; its low phases in modes 2
 * to 5 reach the line only just before the next rising edge, so that a late update cannot lose a
 * tick. A count of 1 in modes 2 and 3 is illegal in the datasheet and leaves OUT high here.
 */
#include "drivers/vdev/pit.h"

#include "kernel/lib/string.h"

#define NEVER         INT64_MAX

#define CTL_LATCH     0
#define CTL_READ_BACK 3
#define RB_NOT_COUNT  0x20
#define RB_NOT_STATUS 0x10

#define STATUS_OUT    0x80
#define STATUS_NULL   0x40

/* ---- time ---- */

static int64_t tick_of_ns(uint64_t ns)
{
    uint64_t rest = ns % VDEV_NS_PER_SEC;

    return (ns / VDEV_NS_PER_SEC) * PIT_HZ + rest * PIT_HZ / VDEV_NS_PER_SEC;
}

/* The first nanosecond of a tick. */
static uint64_t ns_of_tick(int64_t tick)
{
    uint64_t t = tick;

    return t / PIT_HZ * VDEV_NS_PER_SEC + (t % PIT_HZ * VDEV_NS_PER_SEC + PIT_HZ - 1) / PIT_HZ;
}

/* ---- one channel at one tick ---- */

/* Modes 2 and 3 run round; the gate restarts them. */
static bool periodic(const struct pit_channel *c)
{
    return c->mode == 2 || c->mode == 3;
}

/* Modes 1 and 5 start by a rising gate and do not care for its level. */
static bool triggered(const struct pit_channel *c)
{
    return c->mode == 1 || c->mode == 5;
}

static bool counting(const struct pit_channel *c)
{
    return c->loaded && (triggered(c) ? c->armed : c->gate);
}

/* Ticks since the counter held n; -1 while the load is still to come. */
static int64_t elapsed_at(const struct pit_channel *c, int64_t t)
{
    if (t < c->origin) {
        return -1;
    }
    return counting(c) ? t - c->origin : c->elapsed;
}

static uint32_t high_half(const struct pit_channel *c)
{
    return (c->n + 1) / 2;
}

/* End of the cycle (mode 2) or half cycle (mode 3) that contains tick t >= origin. */
static int64_t cycle_end(const struct pit_channel *c, int64_t t)
{
    int64_t e = t - c->origin, start = e - e % c->n;

    if (c->mode == 3 && e % c->n < high_half(c)) {
        return c->origin + start + high_half(c);
    }
    return c->origin + start + c->n;
}

/* Let a count that waited for the end of a cycle take effect, if that was at or before tick t. */
static void channel_sync(struct pit_channel *c, int64_t t)
{
    bool low_next;

    if (!c->pending || !periodic(c) || !counting(c) || t < c->switch_at) {
        return;
    }
    low_next = c->mode == 3 && (c->switch_at - c->origin) % c->n != 0;
    c->n = c->cr;
    c->pending = false;
    c->origin = low_next ? c->switch_at - high_half(c) : c->switch_at;
}

static bool channel_out(const struct pit_channel *c, int64_t t)
{
    int64_t e = elapsed_at(c, t);

    if (!c->loaded) {
        return c->mode != 0;
    }
    if ((triggered(c) && !c->armed) || (periodic(c) && !c->gate)) {
        return true;
    }
    if (e < 0) {
        return c->out_hold;
    }
    switch (c->mode) {
    case 0:
    case 1:
        return e >= c->n;
    case 2:
        return c->n == 1 || e % c->n != c->n - 1;
    case 3:
        return e % c->n < high_half(c);
    default:
        return e != c->n;
    }
}

/* The counting element, as the counter's bytes show it. */
static uint16_t channel_count(const struct pit_channel *c, int64_t t)
{
    int64_t e = elapsed_at(c, t);
    uint32_t modulus = c->bcd ? 10000 : 65536;
    uint32_t v, x;

    if (!c->loaded || (triggered(c) && !c->armed) || e < 0) {
        return c->ce_hold;
    }
    if (c->mode == 2) {
        v = c->n - e % c->n;
    } else if (c->mode == 3) {
        x = e % c->n;
        x -= x < high_half(c) ? 0 : high_half(c);
        v = (c->n & ~1u) - 2 * x;
    } else {
        v = (c->n + modulus - e % modulus) % modulus;
    }
    v %= modulus;
    return c->bcd ? v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 << 12 : v;
}

/* NULL COUNT: the count written has not reached the counting element. */
static bool channel_null(const struct pit_channel *c, int64_t t)
{
    return !c->loaded || c->pending || (c->fresh && t < c->origin);
}

/* The first rising edge of OUT after tick `after`, if nobody touches the channel. */
static int64_t channel_next_rise(const struct pit_channel *c, int64_t after)
{
    int64_t first = c->origin + c->n, e;

    if (!counting(c)) {
        return NEVER;
    }
    if (!periodic(c)) {
        first += c->mode >= 4; /* the strobe ends */
        return first > after ? first : NEVER;
    }
    if (c->n == 1 && !c->pending) {
        return NEVER;
    }
    if (c->n > 1) {
        e = MAX(after - c->origin, 0);
        first = c->origin + (e / c->n + 1) * c->n;
    } else {
        first = NEVER;
    }
    if (c->pending && first > c->switch_at) {
        struct pit_channel next = *c;

        channel_sync(&next, c->switch_at);
        return channel_next_rise(&next, MAX(after, c->switch_at));
    }
    return first;
}

/* ---- what the guest does to a channel; t is now, and the channel is in sync with it ---- */

/* Remember what shows until the next load. */
static void hold(struct pit_channel *c, int64_t t)
{
    c->ce_hold = channel_count(c, t);
    c->out_hold = channel_out(c, t);
}

/* CR goes to the counting element at the next clock, because it was written or by a trigger. */
static void load(struct pit_channel *c, bool written, int64_t t)
{
    hold(c, t);
    if (c->mode == 0) {
        c->out_hold = false;
    }
    c->fresh = written || c->pending || (c->fresh && t < c->origin);
    c->loaded = true;
    c->pending = false;
    c->n = c->cr;
    c->origin = t + 1;
    c->elapsed = 0;
}

static void set_count(struct pit_channel *c, uint16_t raw, int64_t t)
{
    uint32_t count = raw;

    if (c->bcd) {
        count = ((raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 + (raw & 15)) %
                10000;
    }
    c->cr = count ? count : c->bcd ? 10000 : 65536;
    if (triggered(c) &&
        !(c->armed && t < c->origin)) { /* a trigger at this very tick takes it yet */
        c->loaded = true;
        c->pending = true;
    } else if (periodic(c) && c->loaded && t >= c->origin) {
        if (!c->pending) {
            c->switch_at = c->gate ? cycle_end(c, t) : NEVER; /* the gate's rise loads it earlier */
            c->pending = true;
        }
    } else {
        load(c, true, t);
    }
}

static void write_count(struct pit_channel *c, uint8_t byte, int64_t t)
{
    if (c->rw == 1) {
        set_count(c, byte, t);
    } else if (c->rw == 2) {
        set_count(c, byte << 8, t);
    } else if (!c->write_msb) {
        c->lsb = byte;
        c->write_msb = true;
        if (c->mode == 0) { /* the first byte stops counting and drops OUT at once */
            c->ce_hold = channel_count(c, t);
            c->loaded = false;
        }
    } else {
        c->write_msb = false;
        set_count(c, c->lsb | byte << 8, t);
    }
}

static uint8_t read_count(struct pit_channel *c, int64_t t)
{
    uint16_t count = c->latch_left ? c->latch : channel_count(c, t);
    bool msb = c->rw == 2 || (c->rw == 3 && c->read_msb);

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    if (c->latch_left) {
        c->latch_left--;
    }
    c->read_msb = c->rw == 3 && !c->read_msb;
    return msb ? count >> 8 : count;
}

static void latch_count(struct pit_channel *c, int64_t t)
{
    if (c->latch_left == 0) { /* a latched count stays until it is read */
        c->latch = channel_count(c, t);
        c->latch_left = c->rw == 3 ? 2 : 1;
    }
}

static void latch_status(struct pit_channel *c, int64_t t)
{
    if (!c->status_latched) {
        c->status = (channel_out(c, t) ? STATUS_OUT : 0) | (channel_null(c, t) ? STATUS_NULL : 0) |
                    c->rw << 4 | c->mode << 1 | c->bcd;
        c->status_latched = true;
    }
}

static void set_mode(struct pit_channel *c, uint8_t control, int64_t t)
{
    unsigned mode = control >> 1 & 7;

    hold(c, t);
    c->mode = mode > 5 ? mode - 4 : mode;
    c->rw = control >> 4 & 3;
    c->bcd = control & 1;
    c->write_msb = false;
    c->read_msb = false;
    c->latch_left = 0;
    c->status_latched = false;
    c->loaded = false;
    c->armed = false;
    c->pending = false;
}

static void channel_gate(struct pit_channel *c, bool level, int64_t t)
{
    if (level == c->gate) {
        return;
    }
    if (triggered(c)) {
        if (level && c->loaded) {
            load(c, false, t);
            c->armed = true;
        }
    } else if (!level) {
        if (counting(c)) {
            c->elapsed = MAX(t - c->origin, 0); /* a load that is due happens without the gate */
        }
    } else if (c->loaded && periodic(c)) {
        load(c, false, t);
    } else if (c->loaded) {
        c->origin = MAX(c->origin, t - c->elapsed);
    }
    c->gate = level;
}

/* ---- the device ---- */

static void sync_all(struct pit *pit, int64_t t)
{
    if (channel_next_rise(&pit->ch[0], pit->seen) <= t) {
        vdev_irq_set(&pit->irq, 0);
        vdev_irq_set(&pit->irq, 1);
    }
    pit->seen = MAX(pit->seen, t);
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        channel_sync(&pit->ch[i], t);
    }
}

void pit_update(struct pit *pit, uint64_t now_ns)
{
    sync_all(pit, tick_of_ns(now_ns));
}

uint64_t pit_next_event_ns(const struct pit *pit)
{
    int64_t tick = channel_next_rise(&pit->ch[0], pit->seen);

    return tick == NEVER ? VDEV_NEVER : ns_of_tick(tick);
}

static void write_control(struct pit *pit, uint8_t value, int64_t t)
{
    unsigned select = value >> 6;

    if (select == CTL_READ_BACK) {
        for (unsigned i = 0; i < PIT_CHANNELS; i++) {
            if (!(value & (2u << i))) {
                continue;
            }
            if (!(value & RB_NOT_COUNT)) {
                latch_count(&pit->ch[i], t);
            }
            if (!(value & RB_NOT_STATUS)) {
                latch_status(&pit->ch[i], t);
            }
        }
    } else if ((value >> 4 & 3) == CTL_LATCH) {
        latch_count(&pit->ch[select], t);
    } else {
        set_mode(&pit->ch[select], value, t);
    }
}

enum vdev_result pit_access(void *dev, struct vdev_access *acc)
{
    struct pit *pit = dev;
    const struct pit_channel *ch0 = &pit->ch[0];
    int64_t t = tick_of_ns(vdev_now(&pit->clock));

    if (acc->size != 1) {
        return VDEV_UNHANDLED;
    }
    sync_all(pit, t);
    if (!acc->write) {
        acc->value = acc->offset == 3 ? 0xff : read_count(&pit->ch[acc->offset], t);
        return VDEV_HANDLED;
    }
    if (acc->offset == 3) {
        write_control(pit, acc->value, t);
    } else {
        write_count(&pit->ch[acc->offset], acc->value, t);
    }
    if (!ch0->loaded || ch0->mode == 0) { /* OUT0 moved by the write itself */
        vdev_irq_set(&pit->irq, channel_out(ch0, t));
    }
    return VDEV_HANDLED;
}

void pit_set_gate2(struct pit *pit, bool level)
{
    int64_t t = tick_of_ns(vdev_now(&pit->clock));

    sync_all(pit, t);
    channel_gate(&pit->ch[2], level, t);
}

bool pit_gate2(const struct pit *pit)
{
    return pit->ch[2].gate;
}

bool pit_out2(struct pit *pit)
{
    int64_t t = tick_of_ns(vdev_now(&pit->clock));

    sync_all(pit, t);
    return channel_out(&pit->ch[2], t);
}

void pit_init(struct pit *pit, const struct vdev_clock *clock, const struct vdev_irq *irq)
{
    static const uint16_t count[PIT_CHANNELS] = {0, 18, 0};
    static const uint8_t control[PIT_CHANNELS] = {0x36, 0x54, 0xb6};
    int64_t t;

    memset(pit, 0, sizeof(*pit));
    pit->clock = *clock;
    pit->irq = *irq;
    t = tick_of_ns(vdev_now(clock));
    pit->seen = t;
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        struct pit_channel *c = &pit->ch[i];

        c->n = 1;
        c->gate = i != 2;
        set_mode(c, control[i], t);
        set_count(c, count[i], t);
    }
}
