/* SPDX-License-Identifier: MIT */
/* Rule: HLT with interrupts off can never wake; the monitor says so instead of hanging. */
#include "tests/payloads/lib/payload.h"

int main(void)
{
    printf("halting\n");
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}
