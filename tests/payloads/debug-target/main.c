/* SPDX-License-Identifier: MIT */
/* Rule: none; something for the monitor's debugger to look at. Says where its variables and its function are, then goes round
 * until `stop` becomes non-zero, which the monitor writes. Every round writes `noise`, in the page of `counter`. */
#include "tests/payloads/lib/payload.h"

static struct {
    volatile uint64_t noise_before, counter, noise_behind;
    volatile uint32_t stop;
} vars __attribute__((aligned(4096)));

__attribute__((noinline)) static void add_one(void)
{
    vars.counter++;
}

static void round(void)
{
    vars.noise_before += 3;
    add_one();
    vars.noise_behind += 5;
}

int main(void)
{
    uint64_t n = 0;

    printf("counter=%#lx add_one=%#lx stop=%#lx\n", (uint64_t)&vars.counter, (uint64_t)add_one, (uint64_t)&vars.stop);
    while (!vars.stop) {
        round();
        n++;
    }
    printf("rounds %s\n", vars.counter == n && vars.noise_before == 3 * n && vars.noise_behind == 5 * n ? "agree" : "differ");
    return vars.counter != n;
}
