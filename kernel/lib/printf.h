/* SPDX-License-Identifier: MIT */
/* Formatted output: %d %i %u %x %X %c %s %p %% with flags 0 - + space #, width, precision (also *), and hh h l ll z. */
#ifndef KERNEL_LIB_PRINTF_H
#define KERNEL_LIB_PRINTF_H

#include <stdarg.h>
#include <stddef.h>

/* As C99: at most size bytes with the NUL; returns the length that the whole would have had. */
int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
int snprintf(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
