/* SPDX-License-Identifier: MIT */
/* Rule: a payload is loaded, entered, can use COM1, and ends the run with success. The smallest guest there is. */
#include "tests/payloads/lib/payload.h"

int main(void)
{
    printf("hello from the guest\n");
    return 0;
}
