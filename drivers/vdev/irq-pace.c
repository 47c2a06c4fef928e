/* SPDX-License-Identifier: MIT */
/* The pace of timer interrupts (irq-pace.h). It must not know what timers there are, nor the time. */
#include "drivers/vdev/irq-pace.h"

/* Let through what waits, and all that comes. */
static void release(struct irq_pace *p)
{
    p->handling = false;
    p->owed = 0;
    p->held = 0;
    for (unsigned i = 0; i < p->lines; i++) {
        struct irq_pace_line *l = &p->line[i];

        if (l->waiting) {
            l->waiting = false;
            vdev_irq_set(&l->out, 1);
        }
    }
}

/* vdev_irq.set. A falling edge passes at once, and takes back the rising one that has not been passed on. */
static void set_line(void *ctl, unsigned line, int level)
{
    struct irq_pace_line *l = ctl;

    if (level && (l->pace->handling || l->pace->owed)) {
        l->waiting = true;
        return;
    }
    l->waiting = false;
    vdev_irq_set(&l->out, level);
}

struct vdev_irq irq_pace_input(struct irq_pace_line *l, const struct irq_pace *pace, const struct vdev_irq *out)
{
    l->pace = pace;
    l->out = *out;
    return (struct vdev_irq){.set = set_line, .ctl = l, .line = out->line};
}

void irq_pace_init(struct irq_pace *p, struct irq_pace_line *line, unsigned lines)
{
    *p = (struct irq_pace){.line = line, .lines = lines};
    for (unsigned i = 0; i < lines; i++) {
        line[i].waiting = false;
    }
}

void irq_pace_taken(struct irq_pace *p)
{
    p->handling = true;
}

void irq_pace_open(struct irq_pace *p)
{
    if (p->handling) {
        p->handling = false;
        if (!p->owed) {
            release(p);
        }
    }
}

static bool any_waiting(const struct irq_pace *p)
{
    for (unsigned i = 0; i < p->lines; i++) {
        if (p->line[i].waiting) {
            return true;
        }
    }
    return false;
}

void irq_pace_tick(struct irq_pace *p, bool open)
{
    if (!p->handling && !p->owed) {
        return;
    }
    if (p->handling && !open) {
        p->owed += p->owed < IRQ_PACE_MAX;
        p->held += any_waiting(p);
    } else {
        p->handling = false;
        p->held = 0;
        p->owed -= p->owed > 0;
    }
    if ((!p->handling && !p->owed) || p->held >= IRQ_PACE_MAX) {
        release(p);
    }
}

void irq_pace_idle(struct irq_pace *p)
{
    if (p->handling || p->owed) {
        release(p);
    }
}
