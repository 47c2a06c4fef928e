/* SPDX-License-Identifier: MIT */
/*
 * Where the monitor lives (mm/layout.h, repeated here because a payload must not depend on the kernel's headers for what it
 * attacks). On a machine without a monitor these are ordinary, unmapped addresses. Under the monitor the code cache and the
 * tables are readable and the vCPU page also writable (docs/memory-map.md): the guest harms itself only.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "tests/payloads/lib/payload.h"

#define MONITOR_FIRST 0xffff800000000000ull /* PML4[256..271] */
#define MONITOR_LAST  0xffff87ffffffffffull
#define CACHE_FIRST   0xffffffff40000000ull
#define CACHE_LAST    0xffffffff7fffffffull
#define WINDOW_FIRST  0xffffffffffe00000ull
#define WINDOW_LAST   0xffffffffffffffffull
#define VCPU_PAGE     0xffffffffffe80000ull

/* What may happen at an address besides a guest #PF. Jumping there never works. */
enum { ALLOW_NOTHING = 0, ALLOW_READ = 1, ALLOW_WRITE = 2 };

/* Read, write and jump to va at CPL 0 or 3, and check that each is a guest #PF or allowed. */
void probe(uint64_t va, bool user, unsigned allowed);
void probe_init(void);
void sanity(const char *name); /* an ordinary computation still gives its result */

extern const struct test_case address_cases[], table_cases[], stale_cases[];
extern const unsigned address_case_count, table_case_count, stale_case_count;

#endif
