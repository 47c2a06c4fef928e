/* SPDX-License-Identifier: MIT */
/* The kernel's console: printk and log lines on COM1. Never called from an interrupt; panic uses it
 * without the lock. */
#include "kernel/console.h"

#include "drivers/serial.h"
#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/spinlock.h"

#define LINE_MAX 512

/* Owner: kernel_main(), from the configuration, before the guest starts. */
uint32_t log_mask;

/* Keeps the lines of several CPUs apart. Innermost lock: nothing is taken under it. */
static struct spinlock console_lock;
/* Set once, by the first CPU that panics: from then on the lock is not waited for. */
static bool lock_broken;

void console_break_lock(void)
{
    __atomic_store_n(&lock_broken, true, __ATOMIC_RELAXED);
}

void console_write(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        serial_putc(SERIAL_COM1, s[i]);
    }
}

/* A terminal wants CR before LF. */
static void write_text(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '\n') {
            serial_putc(SERIAL_COM1, '\r');
        }
        serial_putc(SERIAL_COM1, s[i]);
    }
}

void console_flush(void)
{
    serial_flush(SERIAL_COM1);
}

int console_getc(void)
{
    return serial_getc(SERIAL_COM1);
}

static void write_locked(const char *s, int len)
{
    bool locked = !__atomic_load_n(&lock_broken, __ATOMIC_RELAXED);

    if (locked) {
        spin_lock(&console_lock);
    }
    write_text(s, (size_t)MIN(len, LINE_MAX - 1));
    if (locked) {
        spin_unlock(&console_lock);
    }
}

void vprintk(const char *fmt, va_list ap)
{
    char line[LINE_MAX];

    write_locked(line, vsnprintf(line, sizeof(line), fmt, ap));
}

void printk(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vprintk(fmt, ap);
    va_end(ap);
}

void log_line(const char *channel, const char *fmt, ...)
{
    char line[LINE_MAX];
    int n = snprintf(line, sizeof(line), "[%s] ", channel);
    va_list ap;

    va_start(ap, fmt);
    n += vsnprintf(line + n, sizeof(line) - 1 - (size_t)n, fmt,
                   ap); /* leaves room for the newline */
    va_end(ap);
    n = MIN(n, LINE_MAX - 2);
    line[n] = '\n';
    write_locked(line, n + 1);
}
