/* SPDX-License-Identifier: MIT */
/* COM1 by polling, and the end of the run. Works with no set-up: firmware or loader left the UART usable, or it is reset. */
#include "tests/payloads/lib/payload.h"

#include <stdarg.h>

#include "kernel/lib/printf.h"

#define COM1 0x3f8
#define LSR_THRE 0x20
#define EXIT_PORT 0xf4

static void put_byte(char c)
{
    for (unsigned spins = 0; !(inb(COM1 + 5) & LSR_THRE) && spins < 1000000; spins++) {
    }
    outb(COM1, (uint8_t)c);
}

void printf(const char *fmt, ...)
{
    char line[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    for (const char *s = line; *s; s++) {
        if (*s == '\n') {
            put_byte('\r');
        }
        put_byte(*s);
    }
}

void exit_run(unsigned status)
{
    outb(EXIT_PORT, (uint8_t)status);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}
