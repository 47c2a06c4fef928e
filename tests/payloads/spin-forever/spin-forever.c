/* SPDX-License-Identifier: MIT */
/* Rule: a block that jumps to itself never ends, and must not keep the monitor from its time-out and its console. */
#include "tests/payloads/lib/payload.h"

int main(void)
{
    bool exits = cmdline_number("exits=", 0) != 0;

    printf("spinning\n");
    while (exits) { /* every turn keeps the monitor busy */
        uint32_t a = 0, b, c = 0, d;

        __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    }
    for (;;) {
        __asm__ volatile("jmp .");
    }
}
