/* SPDX-License-Identifier: MIT */
/*
 * Rule: none by itself; a guest that the monitor asks, by writing `request`, to patch and call code and to write data beside it. A
 * dirty log or snapshot armed on that page loses no write, and the code is never stale (SMC case 64). Every round also moves
 * sums in memory and in vector registers on, so that a guest taken back to an earlier state shows whether all of it was.
 */
#include "tests/payloads/lib/payload.h"

static uint8_t page[4096] __attribute__((aligned(4096)));      /* function at 0, data at 2048 */
static uint8_t untouched[4096] __attribute__((aligned(4096))) = {1};
static struct {
    volatile uint32_t request, done;
    uint64_t sum;
    uint32_t bad;
} vars __attribute__((aligned(4096)));

/* The sum in xmm7: no memory holds it. */
__attribute__((target("sse2"))) static void vector_add(uint64_t v)
{
    __asm__ volatile("movq %0, %%xmm6; paddq %%xmm6, %%xmm7" : : "r"(v) : "memory");
}

static uint64_t vector_get(void)
{
    uint64_t v;
    __asm__ volatile("movq %%xmm7, %0" : "=r"(v));
    return v;
}

static uint32_t call_patched(uint32_t value)
{
    uint32_t got;

    memcpy(page + 1, &value, 4);
    __asm__ volatile("call *%1" : "=a"(got) : "r"(page) : "memory", "cc");
    return got;
}

static void one_round(uint32_t n)
{
    for (uint32_t i = 0; i < 40; i++) {
        uint32_t value = n * 0x9e3779b9u + i;

        vars.bad += call_patched(value) != value;
        ++*(volatile uint32_t *)(page + 2048);
        vars.sum = vars.sum * 31 + value;
        vector_add(value);
    }
    printf("round %u sum %lx vector %lx data %u bad %u\n", n, vars.sum, vector_get(), *(uint32_t *)(page + 2048),
           vars.bad);
}

int main(void)
{
    fpu_enable();
    __asm__ volatile("pxor %%xmm7, %%xmm7" : : : "memory");
    page[0] = 0xb8; /* mov $imm32, %eax; ret */
    page[5] = 0xc3;
    printf("request=%#lx page=%#lx untouched=%#lx\n", (uint64_t)&vars.request, (uint64_t)page, (uint64_t)untouched);
    while (vars.request != 0xff) {
        if (vars.request != vars.done) {
            vars.done = vars.request;
            one_round(vars.request);
        }
    }
    return vars.bad != 0;
}
