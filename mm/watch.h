/* SPDX-License-Identifier: MIT */
/*
 * Watched guest virtual addresses: the client TRACK_WATCH. Whatever frame a watched page is mapped to when it is filled is
 * tracked, so writes trap in every address space; a page watched for reads is not mapped at all. The exact range test is the
 * caller's.
 */
#ifndef MM_WATCH_H
#define MM_WATCH_H

#include "kernel/lib/types.h"

#define WATCH_MAX 16

/* Watch writes, or with `reads` all accesses, to the pages of [va, va + len), len > 0, not wrapping. Drops all guest mappings.
 * 0 or -ENOSPC. */
int watch_add(gva_t va, uint64_t len, bool reads);
/* Undo one watch_add() with the same arguments. */
void watch_remove(gva_t va, uint64_t len, bool reads);
/* A watched page is mapped to this frame: from now on its writes trap. */
void watch_mark(ram_addr_t page);
/* Is anything watched? */
bool watch_any(void);
/* Does [va, va + len) touch a page watched at all, or with `reads` one watched for reads? */
bool watch_in(gva_t va, uint64_t len, bool reads);

#endif
