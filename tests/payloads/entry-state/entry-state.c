/* SPDX-License-Identifier: MIT */
/* Rule: a payload is entered in the state that docs/payload-abi.md promises, whoever loaded it. */
#include "tests/payloads/lib/payload.h"

static void flags_clear(void)
{
    CHECK_EQ(entry_rflags & (FLAG_IF | FLAG_DF | FLAG_TF), 0);
    CHECK_EQ(entry_rsp & 15, 8);
    CHECK_EQ(*(uint64_t *)entry_rsp, 0);
}

static void long_mode(void)
{
    CHECK_EQ(rdmsr(MSR_EFER) >> 10 & 1, 1); /* LMA */
    CHECK_EQ(read_cr0() & 0x80010033, 0x80010033); /* PG WP NE ET MP PE */
    CHECK_EQ(read_cr0() & (CR0_EM | CR0_TS), 0);
    CHECK_EQ(read_cr4() & 0x620, 0x620); /* OSXMMEXCPT OSFXSR PAE */
}

static void cpl_zero(void)
{
    uint16_t cs, ss;

    __asm__ volatile("mov %%cs, %0; mov %%ss, %1" : "=r"(cs), "=r"(ss));
    CHECK_EQ(cs & 3, 0);
    CHECK_EQ(ss & 3, 0);
}

/* x87 and SSE can be used at once. */
static void fpu_ready(void)
{
    uint32_t mxcsr;
    uint16_t fcw;

    __asm__ volatile("stmxcsr %0; fnstcw %1; pxor %%xmm0, %%xmm0" : "=m"(mxcsr), "=m"(fcw) : : "memory");
    CHECK_EQ(mxcsr, 0x1f80);
    CHECK_EQ(fcw, 0x37f);
}

static void stack_usable(void)
{
    volatile uint8_t *top = (volatile uint8_t *)entry_rsp;

    for (unsigned off = 8; off < 65536 - 64; off += 512) {
        uint8_t old = top[-(int)off];

        top[-(int)off] = (uint8_t)~old;
        CHECK_EQ(top[-(int)off], (uint8_t)~old);
        top[-(int)off] = old;
    }
}

/* Follow the tables by hand: every 2 MiB of the low 4 GiB maps to itself, writable. */
static void identity_map(void)
{
    uint64_t *pml4 = (uint64_t *)(read_cr3() & 0xffffffffff000);
    uint64_t *pdpt = (uint64_t *)(pml4[0] & 0xffffffffff000);

    for (uint64_t pa = 0; pa < 4ull << 30; pa += 2 << 20) {
        uint64_t e = pdpt[pa >> 30];

        if (!(e & 0x80)) {
            e = ((uint64_t *)(e & 0xffffffffff000))[pa >> 21 & 511];
            CHECK_EQ(e & 0xfffffffe00000, pa);
        }
        CHECK_EQ(e & 0x83, 0x83);
    }
}

static void image_zeroed(void)
{
    static uint8_t bss[65536];
    uint64_t sum = 0;

    for (size_t i = 0; i < sizeof(bss); i++) {
        sum += ((volatile uint8_t *)bss)[i];
    }
    CHECK_EQ(sum, 0);
}

static void flat_segments(void)
{
    CHECK_EQ(rdmsr(0xc0000100), 0); /* FS base */
    CHECK_EQ(rdmsr(0xc0000101), 0);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"flags-clear", flags_clear},   {"long-mode", long_mode},       {"cpl-zero", cpl_zero},
        {"stack-usable", stack_usable}, {"identity-map", identity_map}, {"image-zeroed", image_zeroed},
        {"flat-segments", flat_segments}, {"fpu-ready", fpu_ready},
    };
    return run_cases("entry-state", cases, ARRAY_SIZE(cases));
}
