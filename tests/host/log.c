/* SPDX-License-Identifier: MIT */
/* kernel/lib/log.h for host programs: the console is stderr, panic() aborts. log_parse() is
 * kernel/lib/log.c. */
#include "kernel/lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Owner: the test's main(); single-threaded tests write it at any time. */
uint32_t log_mask;

void printk(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}

void log_line(const char *channel, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "[%s] ", channel);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

void panic(const char *fmt, ...)
{
    va_list ap;

    fputs("panic: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    fflush(NULL);
    abort();
}
