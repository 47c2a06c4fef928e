/* SPDX-License-Identifier: MIT */
/* Rule: an exception that cannot be delivered, nor #DF after it, shuts the CPU down (SDM 3A 6.15). */
#include "tests/payloads/lib/payload.h"

int main(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } idtr = {0, 0};

    printf("shutting down\n");
    __asm__ volatile("lidt %0; ud2" : : "m"(idtr));
    return 1;
}
