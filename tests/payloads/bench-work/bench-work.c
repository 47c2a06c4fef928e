/* SPDX-License-Identifier: MIT */
/*
 * The workloads of tests/bench/workloads/ on a bare machine: rdtsc cycles of each, one line
 *
 *     work <name> <cycles of the first run> <least cycles of the others> <checksum>
 *
 * Command line: rounds=, scale=1 for the long version, only=a,b. Under -icount the cycles are executed instructions.
 */
#include "tests/payloads/lib/payload.h"

#include "tests/bench/mark.h"
#include "tests/bench/workloads/work.h"

static void run_work(const struct work *w, bool full, uint64_t rounds)
{
    uint64_t first = 0, least = ~0ull, sum = 0;

    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t start = rdtsc();

        mark_begin();
        sum = w->run(full ? w->n : w->small);
        mark_end();
        uint64_t cycles = rdtsc() - start;

        first = i ? first : cycles;
        least = i && cycles < least ? cycles : least;
    }
    printf("work %s %lu %lu %lx\n", w->name, first, rounds > 1 ? least : first, sum);
}

int main(void)
{
    uint64_t rounds = cmdline_number("rounds=", 3);
    bool full = cmdline_number("scale=", 0);
    bool avx = fpu_enable();

    for (const struct work *w = works; w->name; w++) {
        bool only, wanted = cmdline_lists("only=", w->name, &only);

        if ((wanted || !only) && (avx || !w->avx)) {
            run_work(w, full, rounds);
        }
    }
    return 0;
}
