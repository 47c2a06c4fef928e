/* SPDX-License-Identifier: MIT */
/* Permission to use SSE and AVX: control bits only, no state is saved anywhere. */
#include "tests/payloads/lib/payload.h"

#define CPUID1_ECX_XSAVE (1u << 26)
#define CPUID1_ECX_AVX   (1u << 28)
#define XCR0_X87_SSE_AVX 7

bool fpu_enable(void)
{
    uint32_t r[4];

    write_cr0((read_cr0() & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    __asm__ volatile("fninit");
    cpuid(1, 0, r);
    if (!(r[2] & CPUID1_ECX_XSAVE) || !(r[2] & CPUID1_ECX_AVX)) {
        return false;
    }
    write_cr4(read_cr4() | CR4_OSXSAVE);
    __asm__ volatile("xsetbv" : : "c"(0), "a"(XCR0_X87_SSE_AVX), "d"(0));
    return true;
}
