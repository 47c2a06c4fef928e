/* SPDX-License-Identifier: MIT */
/* The workloads as a Linux program, for the CPU itself and for qemu-x86_64: argument: rounds. Lines as payload bench-work has. */
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>

#include "tests/bench/workloads/work.h"

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 3;
    int small = argc > 2;

    for (const struct work *w = works; w->name; w++) {
        uint64_t first = 0, least = ~0ull, sum = 0;

        if (w->avx && !__builtin_cpu_supports("avx2")) {
            continue;
        }
        for (int i = 0; i < rounds; i++) {
            uint64_t start = __rdtsc();

            sum = w->run(small ? w->small : w->n);
            uint64_t cycles = __rdtsc() - start;

            first = i ? first : cycles;
            least = i && cycles < least ? cycles : least;
        }
        printf("work %s %llu %llu %llx\n", w->name, (unsigned long long)first,
               (unsigned long long)(rounds > 1 ? least : first), (unsigned long long)sum);
    }
    return 0;
}
