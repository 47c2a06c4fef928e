/* SPDX-License-Identifier: MIT */
/* mm/host.h for host tests: physical memory is one anonymous mapping; TLB invalidations and A/D
 * writes go to hooks. */
#ifndef TESTS_HOST_MM_HOST_H
#define TESTS_HOST_MM_HOST_H

#include "kernel/lib/types.h"

/* Physical memory [base, base + size), all zero. Once per process; does not call frames_add(). */
void mm_host_init(hpa_t base, uint64_t size);

struct mm_host_hooks {
    void (*invlpg)(gva_t va);
    void (*tlb_flush)(void);
    void (*drop_root)(hpa_t root);
    void (*guest_written)(ram_addr_t ram, unsigned len);
};
/* Owner: the test. A NULL hook ignores the event. */
extern struct mm_host_hooks mm_host_hooks;

#endif
