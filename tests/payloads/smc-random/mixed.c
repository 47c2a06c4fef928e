/* SPDX-License-Identifier: MIT */
/*
 * Functions with their data beside them, on pages that are mapped three times. At random: stores of many forms to immediates and
 * to data, through any mapping, from elsewhere and from the functions themselves; bursts of stores to one page, and long times
 * of execution without any, so that a monitor that adapts to pages goes there and back. Every store is made to an image
 * that is never executed as well; the image says what each function must return.
 */
#include "tests/payloads/lib/smc.h"
#include "tests/payloads/smc-random/smc-random.h"

#define PAGES   4
#define SLOT    32
#define SLOTS   (PAGES * PAGE_SIZE / SLOT)
#define IMM     1  /* offsets in a slot */
#define ADDEND  14
#define DATA    16
#define VIEWS   3

static uint8_t image[SLOTS * SLOT] __attribute__((aligned(16)));
static uint8_t *view[VIEWS]; /* the same pages */
static struct rng rng;

/* mov $imm, %eax; add %rdi, data(%rip); add $k, %eax; ret; two qwords of data */
static void put_slot(unsigned i, uint32_t imm, uint8_t k)
{
    uint8_t *p = emit32(EMIT(image + i * SLOT, INSN_MOV_EAX), imm);

    p = emit32(EMIT(p, 0x48, 0x01, 0x3d), DATA - 12);
    EMIT(p, 0x83, 0xc0, k, INSN_RET);
    memcpy(view[rng_below(&rng, VIEWS)] + i * SLOT, image + i * SLOT, DATA);
}

static uint32_t expected(unsigned i)
{
    uint32_t imm;

    memcpy(&imm, image + i * SLOT + IMM, 4);
    return imm + (uint32_t)(int8_t)image[i * SLOT + ADDEND];
}

/* Call it through one of the views; it adds to its own data. */
static void run_slot(unsigned i, uint64_t v)
{
    uint64_t sum;

    CHECK_EQ(call(view[rng_below(&rng, VIEWS)] + i * SLOT, v, 0), expected(i));
    memcpy(&sum, image + i * SLOT + DATA, 8);
    emit64(image + i * SLOT + DATA, sum + v);
}

#define FORMS_4  8  /* of at most 4 bytes: for immediates and data */
#define FORMS_8  18 /* and of 8 */
#define FORMS_16 20 /* and of 16, for aligned data */

/* One store of the given form; returns what it leaves in a register. */
static uint64_t store(unsigned form, uint8_t *p, uint64_t v)
{
    uint64_t n = 8, sp;
    void *d = p;

    switch (form) {
    case 0: __asm__ volatile("movb %b0, (%1)" : : "r"(v), "r"(p) : "memory"); break;
    case 1: __asm__ volatile("movw %w0, 1(%1)" : : "r"(v), "r"(p) : "memory"); break;
    case 2: __asm__ volatile("movl %k0, (%1)" : : "r"(v), "r"(p) : "memory"); break;
    case 3: __asm__ volatile("xchgl %k0, (%1)" : "+r"(v) : "r"(p) : "memory"); break;
    case 4: __asm__ volatile("lock xaddl %k0, (%1)" : "+r"(v) : "r"(p) : "memory", "cc"); break;
    case 5: __asm__ volatile("incb 2(%0)" : : "r"(p) : "memory", "cc"); break;
    case 6: __asm__ volatile("btcl %k0, (%1)" : : "r"(v & 31), "r"(p) : "memory", "cc"); break;
    case 7: __asm__ volatile("movd %k0, %%xmm0; movd %%xmm0, (%1)" : : "r"(v), "r"(p) : "memory"); break;
    case 8: __asm__ volatile("movq %0, (%1)" : : "r"(v), "r"(p) : "memory"); break;
    case 9: __asm__ volatile("lock xaddq %0, (%1)" : "+r"(v) : "r"(p) : "memory", "cc"); break;
    case 10: __asm__ volatile("rolq $7, (%0)" : : "r"(p) : "memory", "cc"); break;
    case 11: __asm__ volatile("negq (%0)" : : "r"(p) : "memory", "cc"); break;
    case 12: __asm__ volatile("movnti %0, (%1)" : : "r"(v), "r"(p) : "memory"); break;
    case 13: __asm__ volatile("stosq" : "+D"(d) : "a"(v) : "memory"); v = (uint64_t)((uint8_t *)d - p); break;
    case 14: __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(v) : "memory"); v = n; break;
    case 15:
        __asm__ volatile("mov %%rsp, %0; lea 8(%1), %%rsp; push %2; mov %0, %%rsp"
                         : "=&r"(sp) : "r"(p), "r"(v) : "memory");
        break;
    case 16: __asm__ volatile("lock btsq %1, -64(%0)" : : "r"(p), "r"((v & 63) + 512) : "memory", "cc"); break;
    case 17: __asm__ volatile("lock cmpxchgq %2, (%1)" : "+a"(v) : "r"(p), "r"(~v) : "memory", "cc"); break;
    case 18: __asm__ volatile("movq %0, %%xmm0; punpcklqdq %%xmm0, %%xmm0; movaps %%xmm0, (%1)" : : "r"(v), "r"(p) : "memory"); break;
    default: __asm__ volatile("movq %0, %%xmm1; movups %%xmm1, (%1)" : : "r"(v), "r"(p) : "memory"); break;
    }
    return v;
}

/* The same store to the image and, through one of the views, to the page. */
static void store_both(unsigned form, unsigned offset, uint64_t v)
{
    uint64_t there = store(form, view[rng_below(&rng, VIEWS)] + offset, v);

    CHECK_EQ(there, store(form, image + offset, v));
    smc_stores(1);
}

static void store_data(unsigned i)
{
    unsigned form = rng_below(&rng, FORMS_16);
    /* A word, one that is not aligned, or both. */
    unsigned offset = form < FORMS_8 ? (form == 16 || form == 14 ? 8 : rng_below(&rng, 9)) : 0;

    store_both(form, i * SLOT + DATA + offset, rng_next(&rng));
}

static void step(unsigned first)
{
    unsigned i = first + rng_below(&rng, 24); /* few slots, so that most were executed before */

    switch (rng_below(&rng, 8)) {
    case 0:
        put_slot(i, (uint32_t)rng_next(&rng), (uint8_t)rng_next(&rng));
        smc_stores(1);
        break;
    case 1:
    case 2:
        store_both(rng_below(&rng, FORMS_4), i * SLOT + IMM, rng_next(&rng));
        break;
    case 3:
        store_both(0, i * SLOT + ADDEND, rng_next(&rng));
        break;
    case 4:
    case 5:
        store_data(i);
        break;
    default:
        break;
    }
    run_slot(i, rng_next(&rng));
    run_slot(first + rng_below(&rng, 24), rng_next(&rng));
    smc_stores(2);
}

/* Many stores of one form to data of one page; then nobody stores for a while. */
static void burst(unsigned first)
{
    unsigned n = 20 + rng_below(&rng, 200);
    unsigned offset = (first + rng_below(&rng, 24)) * SLOT + DATA, form = rng_below(&rng, FORMS_8);

    for (unsigned i = 0; i < n; i++) {
        store_both(form, offset, i);
    }
    run_slot(first + rng_below(&rng, 24), n);
    smc_stores(1);
}

static void map_views(void)
{
    static const uint64_t alias[VIEWS - 1] = {0x0000650000000000ull, 0xffffffff82000000ull};

    view[0] = pages_alloc(PAGES);
    for (unsigned v = 1; v < VIEWS; v++) {
        view[v] = (uint8_t *)alias[v - 1];
        for (unsigned i = 0; i < PAGES; i++) {
            page_map(alias[v - 1] + i * PAGE_SIZE, (uint64_t)view[0] + i * PAGE_SIZE, PTE_P | PTE_W);
        }
    }
}

void mixed(void)
{
    unsigned steps = (unsigned)cmdline_number("steps=", 6000) / 2;

    rng.s = cmdline_number("seed=", 1) * 2 + 0x5eed;
    map_views();
    for (unsigned i = 0; i < SLOTS; i++) {
        put_slot(i, (uint32_t)rng_next(&rng), (uint8_t)rng_next(&rng));
    }
    smc_stores(SLOTS);
    for (unsigned s = 0; s < steps; s++) {
        unsigned first = rng_below(&rng, PAGES) * (PAGE_SIZE / SLOT) + rng_below(&rng, 2) * 100;

        step(first);
        if (rng_below(&rng, 100) == 0) {
            burst(first);
        }
    }
    CHECK_EQ(memcmp(view[0], image, sizeof(image)), 0);
    for (unsigned i = 0; i < SLOTS; i++) {
        run_slot(i, 1);
    }
    smc_stores(SLOTS);
    checksum_print("smc-random-mixed", checksum_add(CHECKSUM_INIT, image, sizeof(image)));
}
