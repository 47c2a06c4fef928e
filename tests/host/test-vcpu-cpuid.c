/* SPDX-License-Identifier: MIT */
/* The guest's CPUID on a host that has everything, on one without XSAVE, and on the CPU that runs
 * the test. */
#include "tests/host/vcpu-env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void cpuid_leaf(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
    vcpu.env.regs[R_EAX] = 0xdead00000000ull | leaf;
    vcpu.env.regs[R_ECX] = subleaf;
    expect_ok(EXEC("\x0f\xa2"));
    r[0] = (uint32_t)vcpu.env.regs[R_EAX];
    r[1] = (uint32_t)vcpu.env.regs[R_EBX];
    r[2] = (uint32_t)vcpu.env.regs[R_ECX];
    r[3] = (uint32_t)vcpu.env.regs[R_EDX];
    assert_int_equal(vcpu.env.regs[R_EAX] >> 32, 0);
    assert_int_equal(vcpu.env.regs[R_EDX] >> 32, 0);
}

/* A host with every bit set: what the guest sees is exactly the masks, written here a second time
 * by name. */
static void test_cpuid_masks(void **state)
{
    static const uint8_t hidden_l1_ecx[] = {2,  3,  4,  5,  6,  7,  8,  10, 11,
                                            14, 15, 16, 17, 18, 21, 24, 27};
    static const uint8_t hidden_l1_edx[] = {1,  7,  9,  10, 12, 14, 18, 20,
                                            21, 22, 27, 28, 29, 30, 31};
    static const uint8_t hidden_x1_edx[] = {1, 7, 9, 10, 12, 14, 18, 19, 21, 25, 26, 28, 30, 31 /* 3DNow! */};
    uint32_t r[4], hide;

    env_reset();
    cpuid_leaf(0, 0, r);
    assert_int_equal(r[0], 0x16);
    assert_int_equal(r[1], venv.cpuid_vendor);
    cpuid_leaf(1, 0, r);
    hide = 0;
    for (size_t i = 0; i < sizeof(hidden_l1_ecx); i++) {
        hide |= 1u << hidden_l1_ecx[i];
    }
    assert_int_equal(r[2], ~hide);
    hide = 0;
    for (size_t i = 0; i < sizeof(hidden_l1_edx); i++) {
        hide |= 1u << hidden_l1_edx[i];
    }
    assert_int_equal(r[3], ~hide);
    assert_int_equal(r[1], 0x0001ffff);
    vcpu.env.cr[4] |= CR4_OSXSAVE_MASK;
    cpuid_leaf(1, 0, r);
    assert_true(r[2] >> 27 & 1);
    cpuid_leaf(7, 0, r);
    assert_int_equal(r[0], 0);
    assert_int_equal(
        r[1],
        0x218c23e9); /* FSGSBASE BMI1 AVX2 FDP SMEP BMI2 ERMS FCS RDSEED ADX CLFLUSHOPT CLWB SHA */
    assert_int_equal(r[2], 0x1a400700); /* GFNI VAES VPCLMULQDQ RDPID CLDEMOTE MOVDIRI MOVDIR64B */
    assert_int_equal(r[3], 0x00004010); /* FSRM SERIALIZE */
    cpuid_leaf(7, 1, r);
    assert_int_equal(r[0] | r[1] | r[2] | r[3], 0);
    cpuid_leaf(0x80000000, 0, r);
    assert_int_equal(r[0], 0x80000008);
    cpuid_leaf(0x80000001, 0, r);
    assert_int_equal(r[2], 0x000001e1); /* LAHF LZCNT SSE4A misaligned PREFETCHW; no XOP, FMA4, TBM */
    hide = 0;
    for (size_t i = 0; i < sizeof(hidden_x1_edx); i++) {
        hide |= 1u << hidden_x1_edx[i];
    }
    assert_int_equal(r[3], ~hide); /* 1G pages and FFXSR among the hidden */
    cpuid_leaf(0x80000007, 0, r);
    assert_int_equal(r[0] | r[1] | r[2], 0);
    assert_int_equal(r[3], 1u << 8);
    cpuid_leaf(0x80000008, 0, r);
    assert_int_equal(r[0], 0x3028);
    assert_int_equal(r[1] | r[2] | r[3], 0);
}

static void test_cpuid_leaves(void **state)
{
    static const uint32_t zero[] = {
        3,          5,          6,          8,          9,          0xa,       0xb,  0xe,
        0xf,        0x10,       0x12,       0x14,       0x17,       0x1f,      0x20, 0x7fffffff,
        0x40000001, 0x80000009, 0x8000001d, 0x8000001e, 0x8000001f, 0xffffffff};
    uint32_t r[4];

    env_reset();
    for (size_t i = 0; i < ARRAY_SIZE(zero); i++) {
        cpuid_leaf(zero[i], 0, r);
        assert_int_equal(r[0] | r[1] | r[2] | r[3], 0);
    }
    cpuid_leaf(0x40000000, 0, r);
    assert_int_equal(r[0], 0x40000000);
    assert_memory_equal(&r[1], "notdirtyVMM\0", 12);
    cpuid_leaf(4, 0, r);
    assert_int_equal(r[0], 0x3fff);
    for (unsigned leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
        cpuid_leaf(leaf, 0, r);
        assert_int_equal(r[0], 0xffffffff);
    }
}

/* Leaf 0xd agrees with XCR0 as it is, and with what xsetbv allows. */
static void test_cpuid_xsave(void **state)
{
    uint32_t r[4];

    for (unsigned avx = 0; avx < 2; avx++) {
        env_reset();
        venv.cpuid_xcr0 = avx ? 0x2ff : 3;
        cpuid_init();
        cpuid_leaf(0xd, 0, r);
        assert_int_equal(r[0], avx ? 7 : 3);
        assert_int_equal(r[1], 576);
        assert_int_equal(r[2], avx ? 832 : 576);
        assert_int_equal(r[3], 0);
        vcpu.env.xcr0 = avx ? 7 : 3;
        cpuid_leaf(0xd, 0, r);
        assert_int_equal(r[1], avx ? 832 : 576);
        cpuid_leaf(0xd, 1, r);
        assert_int_equal(r[0], 1); /* XSAVEOPT only */
        assert_int_equal(r[1] | r[2] | r[3], 0);
        cpuid_leaf(0xd, 2, r);
        assert_int_equal(r[0], avx ? 256 : 0);
        assert_int_equal(r[1], avx ? 576 : 0);
        cpuid_leaf(0xd, 9, r);
        assert_int_equal(r[0] | r[1] | r[2] | r[3], 0);
        cpuid_leaf(1, 0, r);
        assert_int_equal(r[2] & (1u << 12 | 1u << 28 | 1u << 29),
                         avx ? 1u << 12 | 1u << 28 | 1u << 29 : 0);
        cpuid_leaf(7, 0, r);
        assert_int_equal(r[1] >> 5 & 1, avx);
        assert_int_equal(r[2] >> 9 & 3, avx ? 3 : 0);
    }
    env_reset();
    venv.cpuid_l1_ecx &= ~(1u << 27);
    cpuid_init();
    cpuid_leaf(1, 0, r);
    assert_int_equal(r[2] & (1u << 26 | 1u << 27 | 1u << 28), 0);
    cpuid_leaf(0xd, 0, r);
    assert_int_equal(r[0] | r[1] | r[2] | r[3], 0);
}

/* On the CPU that runs this test: what Linux requires is there, if the CPU has it. */
static void test_cpuid_host(void **state)
{
    uint32_t r[4];

    env_reset();
    venv.cpuid_host = true;
    cpuid_init();
    cpuid_leaf(1, 0, r);
    assert_int_equal(r[3] & 0x07008171, 0x07008171); /* FPU TSC MSR PAE CX8 CMOV FXSR SSE SSE2 */
    assert_true(r[2] >> 31);
    cpuid_leaf(0x80000001, 0, r);
    assert_int_equal(r[3] & (1u << 29 | 1u << 20 | 1u << 11), 1u << 29 | 1u << 20 | 1u << 11);
    cpuid_leaf(0x80000008, 0, r);
    assert_int_equal(r[0] >> 8, 48);
    assert_in_range(r[0] & 0xff, 36, 52);
    cpuid_leaf(0xd, 0, r);
    assert_int_equal(r[0] & ~7u, 0);
    env_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpuid_masks),
        cmocka_unit_test(test_cpuid_leaves),
        cmocka_unit_test(test_cpuid_xsave),
        cmocka_unit_test(test_cpuid_host),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    printf("test-vcpu-cpuid: %u cases\n", env_cases);
    return failed;
}
