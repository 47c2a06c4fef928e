/* SPDX-License-Identifier: MIT */
/*
 * The 8254 against a model of the chip that really ticks (written from the datasheet's mode
 * definitions, one clock at a time), under random programming; then the sequences that software
 * depends on.
 */
#include "tests/host/test-vdev.h"

#include <string.h>

#include "drivers/vdev/pit.h"

/* ---- one counter, clock by clock ---- */

struct ref {
    unsigned mode, rw;
    bool bcd, gate, out, null;
    bool have_count, load, trigger, running, stopped, write_msb;
    uint8_t lsb;
    uint32_t cr, ce, start; /* 1..modulus when loaded, then modulo; start: the count in use */
    unsigned raw; /* the counter's bits until the first load: changing BCD does not change them */
    bool fired;   /* modes 0, 1, 4, 5: this count has expired once */
};

static uint32_t ref_modulus(const struct ref *r)
{
    return r->bcd ? 10000 : 65536;
}

static unsigned ref_shown(const struct ref *r)
{
    unsigned v = r->ce % ref_modulus(r);

    if (!r->running) {
        return r->raw;
    }
    return r->bcd ? v % 10 | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 | (v / 1000) << 12 : v;
}

static void ref_control(struct ref *r, unsigned mode, unsigned rw, bool bcd)
{
    r->raw = ref_shown(r);
    r->mode = mode > 5 ? mode - 4 : mode;
    r->rw = rw;
    r->bcd = bcd;
    r->out = r->mode != 0;
    r->null = true;
    r->have_count = r->load = r->trigger = r->running = r->stopped = r->write_msb = false;
}

static void ref_count(struct ref *r, unsigned raw)
{
    unsigned v = raw;

    if (r->bcd) {
        v = ((raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 + (raw & 15)) %
            10000;
    }
    r->cr = v ? v : ref_modulus(r);
    r->null = true;
    r->stopped = false;
    if (r->mode == 0) {
        r->out = false;
    }
    if (r->mode == 0 || r->mode == 4 || !r->have_count) {
        r->load = r->mode != 1 && r->mode != 5;
    }
    r->have_count = true;
}

static void ref_byte(struct ref *r, uint8_t b)
{
    if (r->rw == 1) {
        ref_count(r, b);
    } else if (r->rw == 2) {
        ref_count(r, b << 8);
    } else if (!r->write_msb) {
        r->lsb = b;
        r->write_msb = true;
        if (r->mode == 0) {
            r->out = false;
            r->stopped = true;
            r->load = false;
            r->null = true;
        }
    } else {
        r->write_msb = false;
        ref_count(r, r->lsb | b << 8);
    }
}

static void ref_gate(struct ref *r, bool level)
{
    bool rise = level && !r->gate;

    r->gate = level;
    if (rise && r->have_count && r->mode != 0 && r->mode != 4) {
        r->trigger = true;
    }
    if (!level && (r->mode == 2 || r->mode == 3)) {
        r->out = true;
    }
}

static void ref_reload(struct ref *r)
{
    r->start = r->cr;
    r->ce = r->mode == 3 ? r->cr & ~1u : r->cr;
    r->null = false;
    r->fired = false;
    r->load = false;
    r->trigger = false;
    r->running = true;
}

static void ref_clock_square(struct ref *r)
{
    if (r->start == 1) {
        ref_reload(r);
        r->out = true;
        return;
    }
    if ((r->start & 1) && r->out) {
        if (r->ce != 0) {
            r->ce -= 2;
            return;
        }
    } else {
        r->ce -= 2;
        if (r->ce != 0) {
            return;
        }
    }
    r->out = !r->out;
    ref_reload(r);
    if (r->start == 1) {
        r->out = true;
    }
}

static void ref_clock(struct ref *r)
{
    if (r->load || r->trigger) {
        ref_reload(r);
        r->out = r->mode >= 2;
        return;
    }
    if (!r->have_count || !r->running || r->stopped || (!r->gate && r->mode != 1 && r->mode != 5)) {
        return;
    }
    if (r->mode == 3) {
        ref_clock_square(r);
        return;
    }
    if (r->mode == 2) {
        if (r->ce == 1) {
            ref_reload(r);
            r->out = true;
        } else {
            r->ce--;
            r->out = r->ce != 1;
        }
        return;
    }
    if (r->mode >= 4) {
        r->out = true;
    }
    r->ce = (r->ce + ref_modulus(r) - 1) % ref_modulus(r);
    if (r->ce == 0 && !r->fired) {
        r->fired = true;
        r->out = r->mode < 2;
    }
}

/* ---- the device beside it ---- */

struct bench {
    struct test_clock clk;
    struct test_line line;
    struct pit pit;
    struct ref ref;
    unsigned channel;
    int64_t tick;
};

static uint64_t ns_of(int64_t tick)
{
    return ((unsigned __int128)tick * 1000000000 + PIT_HZ - 1) / PIT_HZ;
}

static void bench_at(struct bench *b, int64_t tick)
{
    b->tick = tick;
    b->clk.now = ns_of(tick);
}

static uint8_t in(struct bench *b, unsigned offset)
{
    return test_in(pit_access, &b->pit, offset);
}

static void out(struct bench *b, unsigned offset, uint8_t v)
{
    test_out(pit_access, &b->pit, offset, v);
}

static unsigned in16(struct bench *b, unsigned offset)
{
    unsigned low = in(b, offset);

    return low | in(b, offset) << 8;
}

static void bench_init(struct bench *b)
{
    struct vdev_clock clock;
    struct vdev_irq irq;

    memset(b, 0, sizeof(*b));
    clock = test_clock(&b->clk);
    irq = test_irq(&b->line, 0);
    bench_at(b, 1000);
    pit_init(&b->pit, &clock, &irq);
}

/* Read back status and count of the channel under test, without touching its counting. */
static void peek(struct bench *b, uint8_t *status, unsigned *count)
{
    out(b, 3, 0xc0 | 2u << b->channel);
    *status = in(b, b->channel);
    *count = in(b, b->channel);
    if (b->ref.rw == 3) {
        *count |= in(b, b->channel) << 8;
    }
}

static void compare(struct bench *b)
{
    unsigned count, shown = ref_shown(&b->ref);
    uint8_t status;

    peek(b, &status, &count);
    shown = b->ref.rw == 1 ? shown & 0xff : b->ref.rw == 2 ? shown >> 8 : shown;
    assert_int_equal(count, shown);
    assert_int_equal(status >> 7, b->ref.out);
    assert_int_equal(status >> 6 & 1, b->ref.null);
    assert_int_equal(status & 0x3f, b->ref.rw << 4 | b->ref.mode << 1 | b->ref.bcd);
    if (b->channel == 2) {
        assert_int_equal(pit_out2(&b->pit), b->ref.out);
    }
}

static void program(struct bench *b, unsigned mode, unsigned rw, bool bcd)
{
    out(b, 3, b->channel << 6 | rw << 4 | mode << 1 | bcd);
    ref_control(&b->ref, mode, rw, bcd);
}

static void write_byte(struct bench *b, uint8_t byte)
{
    out(b, b->channel, byte);
    ref_byte(&b->ref, byte);
}

static void advance(struct bench *b, unsigned ticks)
{
    for (unsigned i = 0; i < ticks; i++) {
        ref_clock(&b->ref);
    }
    bench_at(b, b->tick + ticks);
}

static uint8_t random_byte(uint64_t *rng)
{
    uint64_t r = test_random(rng) >> 32;

    return r % 3 == 0   ? r >> 8
           : r % 3 == 1 ? r >> 8 & 7
                        : 0; /* small counts are where the corners are */
}

static void random_step(struct bench *b, uint64_t *rng)
{
    uint64_t r = test_random(rng) >> 20;

    switch (r % 16) {
    case 0:
        program(b, r >> 8 & 7, 1 + (r >> 16) % 3, (r >> 24) % 4 == 0);
        break;
    case 1:
    case 2:
    case 3:
        write_byte(b, random_byte(rng));
        break;
    case 4:
    case 5:
        if (b->channel == 2) {
            pit_set_gate2(&b->pit, r >> 8 & 1);
            ref_gate(&b->ref, r >> 8 & 1);
        }
        break;
    case 6:
        advance(b, (r >> 8) % 1500);
        break;
    case 7:
        advance(b, (r >> 8) % 64 == 0 ? (r >> 16) % 150000 : 3);
        break;
    default:
        advance(b, (r >> 8) % 9);
        break;
    }
}

static void test_random_channel2(void **state)
{
    static struct bench b;
    uint64_t rng = 0x9e3779b97f4a7c15;

    bench_init(&b);
    b.channel = 2;
    b.ref.gate = false;
    program(&b, 3, 3, false);
    write_byte(&b, 100);
    write_byte(&b, 0);
    advance(&b, 1);
    for (unsigned i = 0; i < 200000; i++) {
        random_step(&b, &rng);
        compare(&b);
    }
}

/* Channel 0: every rising edge that the ticking model makes is announced in advance and raises the
 * line once. */
static void test_random_irq0(void **state)
{
    static struct bench b;
    uint64_t rng = 0xfeedface12345678;
    unsigned edges = 0;

    bench_init(&b);
    b.ref.gate = true;
    program(&b, 2, 3, false);
    for (unsigned i = 0; i < 100000; i++) {
        bool was = b.ref.out;
        struct ref ahead;
        uint64_t next;
        unsigned n = 0;

        random_step(&b, &rng);
        compare(&b);
        pit_update(&b.pit, b.clk.now);
        next = pit_next_event_ns(&b.pit);
        ahead = b.ref;
        do {
            was = ahead.out;
            ref_clock(&ahead);
            n++;
        } while (n < 300 && !(ahead.out && !was));
        if (ahead.out && !was) {
            unsigned rises = b.line.rises;

            assert_int_equal(next, ns_of(b.tick + n));
            pit_update(&b.pit, ns_of(b.tick + n) - 1);
            assert_int_equal(b.line.rises, rises);
            advance(&b, n);
            pit_update(&b.pit, b.clk.now);
            assert_int_equal(b.line.level, 1);
            assert_int_equal(b.line.rises, rises + 1);
            edges++;
        } else {
            assert_true(next > ns_of(b.tick + n));
        }
    }
    assert_in_range(edges, 5000, 100000);
}

/* ---- by hand ---- */

static void test_rate_generator_period(void **state)
{
    static struct bench b;
    int64_t start;

    bench_init(&b);
    out(&b, 3, 0x34); /* channel 0, both bytes, mode 2: Linux at HZ=250 */
    out(&b, 0, 4773 & 0xff);
    out(&b, 0, 4773 >> 8);
    start = b.tick + 1;
    assert_int_equal(b.line.level, 1);
    for (unsigned i = 1; i <= 1000; i++) {
        uint64_t next = pit_next_event_ns(&b.pit);

        assert_int_equal(next, ns_of(start + (int64_t)i * 4773)); /* no drift */
        b.clk.now = next;
        pit_update(&b.pit, next);
        assert_int_equal(b.line.rises, 1 + i);
    }
    /* A monitor that looks away for ten periods sees one tick. */
    b.clk.now = ns_of(start + 1010 * 4773);
    pit_update(&b.pit, b.clk.now);
    assert_int_equal(b.line.rises, 1002);
}

static void test_oneshot_mode4(void **state)
{
    static struct bench b;

    bench_init(&b);
    out(&b, 3, 0x38); /* channel 0, both bytes, mode 4: Linux one-shot */
    out(&b, 0, 100);
    out(&b, 0, 0);
    assert_int_equal(b.line.rises, 1); /* the control word lifted OUT */
    assert_int_equal(pit_next_event_ns(&b.pit), ns_of(b.tick + 1 + 100 + 1));
    bench_at(&b, b.tick + 102);
    pit_update(&b.pit, b.clk.now);
    assert_int_equal(b.line.rises, 2);
    assert_int_equal(pit_next_event_ns(&b.pit), VDEV_NEVER);
}

static void test_shutdown_mode0(void **state)
{
    static struct bench b;

    bench_init(&b);
    out(&b, 3, 0x34);
    out(&b, 0, 10);
    out(&b, 0, 0);
    out(&b, 3, 0x30); /* pit_shutdown() */
    assert_int_equal(b.line.level, 0);
    assert_int_equal(pit_next_event_ns(&b.pit), VDEV_NEVER);
    out(&b, 0, 0);
    assert_int_equal(pit_next_event_ns(&b.pit), VDEV_NEVER);
    out(&b, 0, 0);
    assert_int_equal(pit_next_event_ns(&b.pit), ns_of(b.tick + 1 + 65536));
    assert_int_equal(b.line.level, 0);
}

static void test_latches(void **state)
{
    static struct bench b;
    unsigned latched;

    bench_init(&b);
    out(&b, 3, 0xb4); /* channel 2, mode 2 */
    out(&b, 2, 0x00);
    out(&b, 2, 0x80);
    pit_set_gate2(&b.pit, true);
    bench_at(&b, b.tick + 0x101);
    out(&b, 3, 0x80); /* latch */
    bench_at(&b, b.tick + 0x300);
    out(&b, 3, 0x80); /* a second latch is ignored */
    latched = in(&b, 2);
    bench_at(&b, b.tick + 0x300);
    latched |= in(&b, 2) << 8;
    assert_int_equal(latched, 0x8000 - 0x100);
    assert_int_equal(in16(&b, 2), 0x8000 - 0x700); /* live again */
    /* Both latched: status first, whichever came first. */
    out(&b, 3, 0xd8); /* read back count of channel 2 */
    out(&b, 3, 0xe8); /* then status */
    assert_int_equal(in(&b, 2), 0x80 | 0x34);
    assert_int_equal(in16(&b, 2), 0x8000 - 0x700);
    /* Reprogramming drops a latched count. */
    out(&b, 3, 0x80);
    out(&b, 3, 0x90); /* LSB only, mode 0 */
    out(&b, 2, 5);
    bench_at(&b, b.tick + 1);
    assert_int_equal(in(&b, 2), 5);
    assert_int_equal(in(&b, 3), 0xff);
}

static void test_power_on(void **state)
{
    static struct bench b;

    bench_init(&b);
    assert_int_equal(pit_next_event_ns(&b.pit), ns_of(b.tick + 1 + 65536)); /* 18.2 Hz */
    assert_int_equal(b.line.rises, 0);
    assert_false(pit_gate2(&b.pit));
    bench_at(&b, b.tick + 1 + 65536);
    pit_update(&b.pit, b.clk.now);
    assert_int_equal(b.line.rises, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_channel2),
        cmocka_unit_test(test_random_irq0),
        cmocka_unit_test(test_rate_generator_period),
        cmocka_unit_test(test_oneshot_mode4),
        cmocka_unit_test(test_shutdown_mode0),
        cmocka_unit_test(test_latches),
        cmocka_unit_test(test_power_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
