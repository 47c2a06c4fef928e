/* SPDX-License-Identifier: MIT */
/*
 * Stores beside code: loops that store to a page with 0, 1, 50 and 200 executed functions, one line for each store form and number
 * of functions:
 *
 *     bench <form>-<functions> <first> <later>
 *
 * rdtsc cycles per store, in the first STORES stores and in as many later ones; 0 functions is data apart. Under -icount the
 * cycles are executed instructions. Run by tests/bench/smc.py, native and translated. With `patterns=N` on the command line it runs the
 * patterns of patterns.c instead, N times as often.
 */
#include "tests/payloads/bench-smc/patterns.h"

#include "tests/payloads/lib/smc.h"

#define STORES    20000ul
#define FUNCTIONS 200

static uint8_t *make_page(uint32_t functions)
{
    uint8_t *page = page_alloc();

    for (uint32_t i = 0; i < functions; i++) {
        emit_return(page + i * 8, i);
    }
    for (uint32_t i = 0; i < functions; i++) {
        CHECK_EQ(call(page + i * 8, 0, 0), i);
    }
    return page;
}

/* Each loop: rdi = how often, rsi = where. Its code, on a page of its own, is `body` and a `dec %rdi; jnz`; from `constant` on
 * the absolute address of the data, if not 0. */
struct form {
    const char *name;
    uint8_t body[24];
    uint8_t len, constant;
};

static const struct form forms[] = {
    {"mov-base", {0x48, 0x89, 0x3e}, 3, 0},                            /* mov %rdi, (%rsi) */
    {"mov-base-work", {0x48, 0x89, 0x3e, 0x48, 0x01, 0xf8, 0x48, 0x31, 0xf8, 0x48, 0xff, 0xc0, 0x48, 0x01, 0xc2, 0x48, 0xff, 0xca,
                       0x48, 0x01, 0xd0}, 21, 0},                      /* the same with six instructions of other work */
    {"mov-const", {0x48, 0x89, 0x3c, 0x25, 0, 0, 0, 0}, 8, 4},         /* mov %rdi, abs */
    {"mov-index", {0x48, 0x89, 0x3c, 0xce}, 4, 0},                     /* mov %rdi, (%rsi,%rcx,8): rcx = 0 */
    {"add-base", {0x48, 0x01, 0x3e}, 3, 0},                            /* add %rdi, (%rsi) */
    {"lock-xadd", {0xf0, 0x48, 0x0f, 0xc1, 0x06}, 5, 0},               /* lock xadd %rax, (%rsi) */
    {"walk-2k", {0x89, 0xf9, 0x81, 0xe1, 0xf8, 0x07, 0x00, 0x00, 0x48, 0x89, 0x3c, 0x0e}, 12, 0},
    /* mov %edi, %ecx; and $0x7f8, %ecx; mov %rdi, (%rsi,%rcx): all over 2 KB */
};

static uint8_t *make_loop(const struct form *f, uint8_t *data)
{
    uint8_t *code = page_alloc();
    uint8_t *p = code;

    p = EMIT(p, 0x31, 0xc9); /* xor %ecx, %ecx */
    memcpy(p, f->body, f->len);
    if (f->constant) {
        emit32(p + f->constant, (uint32_t)(uint64_t)data);
    }
    p += f->len;
    p = EMIT(p, 0x48, 0xff, 0xcf, 0x75, (uint8_t)-(f->len + 5));
    *p = INSN_RET;
    return code;
}

static void measure(const struct form *f, uint32_t functions)
{
    uint8_t *data = make_page(functions) + 2048;
    uint8_t *code = make_loop(f, data);
    uint64_t start = rdtsc(), middle, end;

    call(code, STORES, (uint64_t)data);
    middle = rdtsc();
    call(code, STORES, (uint64_t)data);
    end = rdtsc();
    printf("bench %s-%u %lu.%02lu %lu.%02lu\n", f->name, functions, (middle - start) / STORES,
           (middle - start) * 100 / STORES % 100, (end - middle) / STORES, (end - middle) * 100 / STORES % 100);
}

int main(void)
{
    static const uint32_t counts[] = {0, 1, 50, FUNCTIONS};
    uint32_t scale = (uint32_t)cmdline_number("patterns=", 0);

    if (scale) {
        run_patterns(scale);
        return 0;
    }
    for (size_t f = 0; f < ARRAY_SIZE(forms); f++) {
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
            measure(&forms[f], counts[i]);
        }
    }
    return 0;
}
