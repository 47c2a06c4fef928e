/* SPDX-License-Identifier: MIT */
/*
 * A histogram of the monitor's PC. Functions are aligned to 16 bytes, so a bucket of 16 belongs to one. It is filled by NMIs, which
 * come at any instruction: what the handler touches is used by nobody else but to read and clear it.
 */
#include "kernel/nmi-samples.h"

#include "kernel/image.h"
#include "kernel/irq.h"
#include "kernel/kernel-symbols.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"

#define HZ        997u
#define BUCKET    16u
#define TEXT_MAX  (512u << 10)
#define TOP_LINES 20u

static bool on, paused;
static struct {
    uint64_t ring3, monitor;
    uint32_t hits[TEXT_MAX / BUCKET];
} samples;

bool nmi_samples_start(void)
{
    on = on || nmi_timer_start(HZ);
    return on;
}

void nmi_samples_stop(void)
{
    if (on) {
        nmi_timer_stop();
        on = false;
    }
}

void nmi_samples_pause(bool pause)
{
    paused = pause;
}

void nmi_samples_clear(void)
{
    memset(&samples, 0, sizeof(samples));
}

void nmi_sample(uint64_t rip, bool ring3)
{
    uint64_t bucket = (rip - (uintptr_t)text_start) / BUCKET;

    if (!on) {
        return; /* somebody else's */
    }
    nmi_timer_ack();
    if (paused) {
        return;
    }
    if (ring3) {
        samples.ring3++;
    } else {
        samples.monitor++;
        if (bucket < ARRAY_SIZE(samples.hits)) {
            samples.hits[bucket]++;
        }
    }
}

/* ---- by function, most samples first ---- */

struct found {
    const char *name;
    uint64_t start;
    uint64_t count;
};

static bool comes_before(const struct found *a, const struct found *b)
{
    return a->count != b->count ? a->count > b->count : a->start < b->start;
}

/* Walk all functions in the order of addresses; the best that comes after *last (NULL: the best). */
static bool next_function(const struct found *last, struct found *best)
{
    struct found now = {0};

    *best = (struct found){0};
    for (unsigned i = 0; i <= ARRAY_SIZE(samples.hits); i++) {
        uint64_t offset = 0, pc = (uintptr_t)text_start + (uint64_t)i * BUCKET;
        bool end = i == ARRAY_SIZE(samples.hits);
        const char *name = NULL;

        if (!end && !samples.hits[i]) {
            continue;
        }
        if (!end) {
            name = kernel_symbol(pc + BUCKET - 1, &offset);
        }
        if (end || name != now.name) {
            if (now.count && (!last || comes_before(last, &now)) && comes_before(&now, best)) {
                *best = now;
            }
            now = (struct found){.name = name, .start = pc};
        }
        if (!end) {
            now.count += samples.hits[i];
        }
    }
    return best->count != 0;
}

static void print_share(uint64_t n, uint64_t all, const char *before, const char *name)
{
    uint64_t tenths = n * 1000 / all;

    printk("%4lu.%lu %%  %s%s\n", tenths / 10, tenths % 10, before, name);
}

void nmi_samples_print(void)
{
    uint64_t all = samples.monitor + samples.ring3;
    struct found last, best;

    if (!all) {
        return;
    }
    printk("%lu samples of the monitor's PC by NMI\n", all);
    print_share(samples.monitor, all, "in the monitor", "");
    for (unsigned n = 0; n < TOP_LINES && next_function(n ? &last : NULL, &best); n++) {
        print_share(best.count, all, "monitor: ", best.name ? best.name : "?");
        last = best;
    }
}
