/* SPDX-License-Identifier: MIT */
/* A small guest for tests of the shadow tables: page tables built by hand, accesses through the simulated MMU. */
#ifndef TESTS_HOST_SHADOW_GUEST_H
#define TESTS_HOST_SHADOW_GUEST_H

#include "mm/shadow.h"
#include "tests/host/shadow-sim.h"

#define ARENA_BASE 0x100000ull
#define ARENA_SIZE 0x20000000ull
#define GUEST_RAM  0x2000000ull /* 32 MiB */
#define LARGE      0x200000ull
#define PT_AREA    LARGE /* guest tables live below, data above */

#define P          0x1ull
#define W          0x2ull
#define U          0x4ull
#define A          0x20ull
#define D          0x40ull
#define PS         0x80ull
#define G          0x100ull
#define WU         (W | U)

extern struct walk_result res; /* of the last touch() */

gpa_t table_new(void);
void guest_store(gpa_t gpa, uint64_t value);
/* The entry of `level` for va, tables above created with all rights: to be read, or written while the guest runs. */
uint64_t *guest_entry(gpa_t cr3, gva_t va, unsigned level);
void guest_set(gpa_t cr3, gva_t va, unsigned level, uint64_t value);
void guest_map(gva_t va, unsigned level, gpa_t gpa, uint64_t flags);
void fresh_guest(unsigned max_frames);
enum shadow_fill_result touch(enum view view, gva_t va, bool write, struct sim_result *r);
void assert_reads(gva_t va, gpa_t gpa);
void assert_writes(gva_t va);
int shadow_guest_setup(void **ctx); /* once: memory, shadow tables */

#endif
