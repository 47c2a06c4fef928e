/* SPDX-License-Identifier: MIT */
/* The table of counters. It owns none of them. */
#include "kernel/stat.h"

#include "kernel/irq.h"
#include "kernel/lib/log.h"
#include "kernel/x86.h"

#define STAT_MAX      96
#define STAT_PER_LINE 6

/* Appended to at start-up, read afterwards. */
static struct {
    const char *name;
    const uint64_t *value;
} counters[STAT_MAX];
static unsigned counter_count;

void stat_register(const char *name, const uint64_t *value)
{
    ASSERT(counter_count < STAT_MAX);
    counters[counter_count].name = name;
    counters[counter_count].value = value;
    counter_count++;
}

void stat_print(void)
{
    for (unsigned i = 0; i < counter_count; i++) {
        printk("%s%s=%lu%s", i % STAT_PER_LINE == 0 ? "nd-stat " : "", counters[i].name,
               *counters[i].value,
               i % STAT_PER_LINE == STAT_PER_LINE - 1 || i == counter_count - 1 ? "\n" : " ");
    }
    printk("nd-stat tsc=%lu tsc_khz=%lu\n", rdtsc(), tsc_khz);
}
