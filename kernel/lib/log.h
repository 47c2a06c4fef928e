/* SPDX-License-Identifier: MIT */
/*
 * printk, log channels, ASSERT and panic, as every folder may use them. The bare kernel implements them on the serial
 * console (kernel/printk.c, kernel/panic.c), host tests and the hosted build on stdio (tests/host/log.c).
 */
#ifndef KERNEL_LIB_LOG_H
#define KERNEL_LIB_LOG_H

#include "kernel/lib/types.h"

/* One bit per channel; the names are what `log =` in notdirty.conf takes, comma-separated, or `all`. */
enum log_channel {
    LOG_TB = 1 << 0,     /* translation, linking, flush */
    LOG_SMC = 1 << 1,    /* write faults on code pages, invalidation */
    LOG_EXEC = 1 << 2,   /* every exit from the code cache */
    LOG_INT = 1 << 3,    /* guest exceptions and interrupts delivered */
    LOG_MMU = 1 << 4,    /* shadow fills, flushes, guest faults */
    LOG_IO = 1 << 5,     /* port and MMIO access */
    LOG_CPU = 1 << 6,    /* control registers, MSRs, cpuid, mode changes */
    LOG_BOOT = 1 << 7,   /* start-up and loading */
    LOG_ASM = 1 << 8,    /* guest and host bytes of each TB */
};

extern uint32_t log_mask; /* owner: whoever parsed the configuration; written before the guest starts */

#define LOG(channel, ...)                                                                          \
    do {                                                                                           \
        if (unlikely(log_mask & LOG_##channel)) {                                                  \
            log_line(#channel, __VA_ARGS__);                                                       \
        }                                                                                          \
    } while (0)

/* One event, one line: "[channel] text\n"; the newline is added. May be called from any context that may printk. */
void log_line(const char *channel, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Print to the console; the caller supplies newlines. Formats: see kernel/lib/printf.h. */
void printk(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Parse "smc,tb" or "all" or "" into *mask. Returns 0, or -EINVAL at an unknown name. */
int log_parse(const char *names, uint32_t *mask);

/* Our bug: say what was expected and what was found, and stop. Allocates nothing. */
_Noreturn void panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (unlikely(!(cond))) {                                                                   \
            panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #cond);                       \
        }                                                                                          \
    } while (0)

#endif
