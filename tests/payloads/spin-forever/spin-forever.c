/* SPDX-License-Identifier: MIT */
/* Rule: a block that jumps to itself never ends, and must not keep the monitor from its time-out and its console. */
#include "tests/payloads/lib/payload.h"

int main(void)
{
    printf("spinning\n");
    for (;;) {
        __asm__ volatile("jmp .");
    }
}
