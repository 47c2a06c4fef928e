/* SPDX-License-Identifier: MIT */
/* What the files of payload paging share: an address that nothing else uses, functions on pages of their own. */
#ifndef TESTS_PAYLOADS_PAGING_PAGING_H
#define TESTS_PAYLOADS_PAGING_PAGING_H

#include "tests/payloads/lib/snippet.h"

#define VA 0x0000123456789000ull

/* A new page that begins with a function which returns v. */
static inline uint8_t *make_function(uint32_t v)
{
    uint8_t *code = page_alloc();
    uint8_t *p = EMIT(code, 0xb8);

    p = emit32(p, v);
    *p = 0xc3;
    return code;
}

static inline uint64_t run_at(uint64_t va)
{
    return ((uint64_t(*)(void))va)();
}

/* global.c: the cases of global pages. */
void global_pages(void);
void global_cleared(void);
void global_code(void);

#endif
