/* SPDX-License-Identifier: MIT */
/* Run a few bytes of machine code at CPL 0 or 3 with known registers, for the payloads about traps. Needs paging_init, trap_init. */
#ifndef PAYLOAD_SNIPPET_H
#define PAYLOAD_SNIPPET_H

#include "tests/payloads/lib/page.h"
#include "tests/payloads/lib/payload.h"
#include "tests/payloads/lib/trap.h"

/* User-accessible pages that snippet_init maps: code, and a stack with an unmapped page on either side. */
#define SNIPPET_CODE  0x0000600000000000ull
#define SNIPPET_STACK 0x0000600000101000ull /* lowest address; 2 pages */
#define SNIPPET_STACK_TOP (SNIPPET_STACK + 2 * PAGE_SIZE)
#define SNIPPET_DATA  0x0000600000200000ull /* nothing is mapped here */

#define NON_CANONICAL 0x8000000000000000ull
#define FLAGS_CHECKED (~FLAG_RF) /* RF in a saved image depends on the kind of event, and QEMU 7.2 never sets it */

/* Map the pages, mask all interrupt lines. */
void snippet_init(void);
/* Put code at SNIPPET_CODE + offset; returns its address. */
uint64_t snippet_put(uint64_t offset, const uint8_t *code, size_t len);
/* A state that runs at SNIPPET_CODE: every register has a value of its own, rcx = 0, all arithmetic flags set. */
void snippet_state(struct cpu_state *s, bool user);
/* Check that general registers and flags are those of `before`. */
void check_unchanged(const char *what, const struct cpu_state *before, const struct cpu_state *after);

#define PUT(offset, ...)                                                                           \
    snippet_put((offset), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

#endif
