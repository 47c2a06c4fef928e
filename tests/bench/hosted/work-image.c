/* SPDX-License-Identifier: MIT */
/* The flat image's only function: run workload number `index`. */
#include "tests/bench/workloads/work.h"

uint64_t work_by_index(uint64_t index, uint64_t n);

uint64_t work_by_index(uint64_t index, uint64_t n)
{
    return works[index].run(n);
}
