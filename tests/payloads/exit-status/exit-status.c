/* SPDX-License-Identifier: MIT */
/* Rule: the value written to port 0xf4 ends the run at once and reaches the outside; `status=` and `width=` choose it. */
#include "tests/payloads/lib/payload.h"

int main(void)
{
    uint32_t status = (uint32_t)cmdline_number("status=", 0);

    printf("ending with status %u\n", status);
    if (cmdline_number("width=", 8) == 32) {
        __asm__ volatile("outl %0, %1" : : "a"(status), "d"((uint16_t)0xf4));
    }
    exit_run(status);
}
