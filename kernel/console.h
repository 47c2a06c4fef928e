/* SPDX-License-Identifier: MIT */
/* What is below printk (kernel/printk.c): raw access to the console for the guest's UART, the
 * monitor and panic. */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

#include <stdarg.h>

#include "kernel/lib/types.h"

void vprintk(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
/* Bytes as they are (printk puts CR before LF, this does not). Takes no lock. */
void console_write(const char *s, size_t len);
int console_getc(void); /* -1 if nothing has been received */
void console_flush(void);
/* From now on nobody waits for the console (panic). */
void console_break_lock(void);

#endif
