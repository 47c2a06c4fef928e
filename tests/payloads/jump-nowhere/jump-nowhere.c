/* SPDX-License-Identifier: MIT */
/* Rule: code can only be where memory is; a jump to a mapped address without any ends the run in one line that says where. */
#include "tests/payloads/lib/payload.h"

#define NOWHERE 0xd0000000ul /* above RAM, inside the 4 GiB that are mapped to themselves */

int main(void)
{
    printf("jumping\n");
    ((void (*)(void))NOWHERE)();
    return 1;
}
