/* SPDX-License-Identifier: MIT */
/* Control, debug and model-specific registers, XCR0: every bit of every register written. */
#include "tests/host/vcpu-env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* mov crN, rcx and mov rcx, crN; op 0x22 / 0x20, and 0x23 / 0x21 for debug registers */
static int mov_sys(uint8_t op, unsigned reg)
{
    char code[4] = {(char)(reg & 8 ? 0x44 : 0x40), 0x0f, (char)op, (char)(0xc1 | (reg & 7) << 3)};

    vcpu.env.eip = ENV_CODE;
    return env_exec(code, 4);
}

static int write_cr(unsigned cr, uint64_t value)
{
    vcpu.env.regs[R_ECX] = value;
    return mov_sys(0x22, cr);
}

/* ---- control registers ---- */

/* Toggle each bit of CR0 and CR4 from the entry state. */
static void test_cr_bits(void **state)
{
    const uint64_t cr0_flush = CR0_WP_MASK;
    const uint64_t cr0_kept = CR0_PE_MASK | CR0_MP_MASK | CR0_EM_MASK | CR0_TS_MASK | CR0_ET_MASK |
                              CR0_NE_MASK | CR0_WP_MASK | CR0_AM_MASK | CR0_NW_MASK | CR0_CD_MASK |
                              CR0_PG_MASK;
    const uint64_t cr4_kept = CR4_TSD_MASK | CR4_DE_MASK | CR4_PSE_MASK | CR4_PAE_MASK |
                              CR4_PGE_MASK | CR4_PCE_MASK | CR4_OSFXSR_MASK | CR4_OSXMMEXCPT_MASK |
                              CR4_FSGSBASE_MASK | CR4_OSXSAVE_MASK | CR4_SMEP_MASK;

    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t mask = 1ull << bit, old;
        bool gp;

        env_reset();
        old = vcpu.env.cr[0];
        gp = bit >= 32 || mask == CR0_PE_MASK || mask == CR0_PG_MASK || mask == CR0_NW_MASK;
        if (gp) {
            expect_fault(write_cr(0, old ^ mask), EXCP0D_GPF, 0);
            assert_int_equal(vcpu.env.cr[0], old);
        } else {
            expect_ok(write_cr(0, old ^ mask));
            assert_int_equal(vcpu.env.cr[0], ((old ^ mask) & cr0_kept) | CR0_ET_MASK);
            assert_int_equal(venv.applies, 1);
        }
        assert_int_equal(venv.flush_all, !gp && (mask & cr0_flush) ? 1 : 0);

        env_reset();
        old = vcpu.env.cr[4];
        gp = !(mask & cr4_kept) || mask == CR4_PAE_MASK;
        if (gp) {
            expect_fault(write_cr(4, old ^ mask), EXCP0D_GPF, 0);
            assert_int_equal(vcpu.env.cr[4], old);
        } else {
            expect_ok(write_cr(4, old ^ mask));
            assert_int_equal(vcpu.env.cr[4], old ^ mask);
            assert_int_equal(venv.applies, 1);
        }
        assert_int_equal(venv.flush_all,
                         !gp && (mask & (CR4_PGE_MASK | CR4_PSE_MASK | CR4_SMEP_MASK)) ? 1 : 0);

        env_reset(); /* the fake CPU has 40 address bits */
        if (bit >= 40) {
            expect_fault(write_cr(3, mask), EXCP0D_GPF, 0);
            assert_int_equal(venv.flush_some, 0);
        } else {
            bool pge = bit & 1;

            vcpu.env.cr[4] = pge ? vcpu.env.cr[4] | CR4_PGE_MASK : vcpu.env.cr[4] & ~(uint64_t)CR4_PGE_MASK;
            expect_ok(write_cr(3, mask));
            assert_int_equal(vcpu.env.cr[3], mask);
            assert_int_equal(venv.flush_some, pge);
            assert_int_equal(venv.flush_all, !pge);
        }

        env_reset();
        if (bit >= 4) {
            expect_fault(write_cr(8, mask), EXCP0D_GPF, 0);
        } else {
            expect_ok(write_cr(8, mask));
            assert_int_equal(vcpu.env.cr8, mask);
        }

        env_reset();
        expect_ok(write_cr(2, mask));
        assert_int_equal(vcpu.env.cr[2], mask);
        assert_int_equal(vcpu.vp_view[0]->cr2, mask);
    }
    env_reset();
    expect_ok(write_cr(0, vcpu.env.cr[0] | CR0_NW_MASK | CR0_CD_MASK));
}

/* Which registers exist, and CPL. */
static void test_cr_access(void **state)
{
    for (unsigned n = 0; n < 16 * 4 * 2; n++) {
        unsigned cr = n & 15, cpl = n >> 4 & 3, read = n >> 6;
        bool exists = cr == 0 || cr == 2 || cr == 3 || cr == 4 || cr == 8;
        int r;

        env_reset();
        env_set_cpl(cpl);
        vcpu.env.cr[2] = 0x2222;
        vcpu.env.cr[3] = 0x3333;
        vcpu.env.cr8 = 0x8;
        vcpu.env.regs[R_ECX] = cr == 0 ? 0x80000011 : cr == 4 ? CR4_PAE_MASK : 0;
        r = mov_sys(read ? 0x20 : 0x22, cr);
        if (!exists) {
            expect_fault(r, EXCP06_ILLOP, 0);
        } else if (cpl) {
            expect_fault(r, EXCP0D_GPF, 0);
        } else {
            expect_ok(r);
            if (read) {
                assert_int_equal(vcpu.env.regs[R_ECX], cr == 8 ? 8 : vcpu.env.cr[cr]);
            }
        }
    }
}

/* CR4 bits follow what the host has. */
static void test_cr4_features(void **state)
{
    static const struct {
        uint64_t cr4;
        unsigned l7_ebx_bit;
    } feature[] = {{CR4_FSGSBASE_MASK, 0}, {CR4_SMEP_MASK, 7}};

    for (size_t i = 0; i < ARRAY_SIZE(feature); i++) {
        env_reset();
        venv.cpuid_l7_ebx &= ~(1u << feature[i].l7_ebx_bit);
        cpuid_init();
        expect_fault(write_cr(4, CR4_PAE_MASK | feature[i].cr4), EXCP0D_GPF, 0);
    }
    env_reset(); /* a host with none of them */
    venv.cpuid_l1_ecx = venv.cpuid_l7_ebx = 0;
    cpuid_init();
    for (unsigned bit = 0; bit < 64; bit++) {
        if (0x7bcull >> bit & 1) { /* TSD DE PSE PAE, PGE PCE OSFXSR OSXMMEXCPT */
            expect_ok(write_cr(4, CR4_PAE_MASK | 1ull << bit));
        } else {
            expect_fault(write_cr(4, CR4_PAE_MASK | 1ull << bit), EXCP0D_GPF, 0);
        }
    }
    env_reset(); /* no NX: EFER.NXE is reserved, and not set at entry */
    venv.cpuid_x1_edx &= ~(1u << 20);
    cpuid_init();
    cpu_reset(&vcpu);
    assert_int_equal(vcpu.env.efer, 0x500);
    env_reset();
    venv.cpuid_l1_ecx &= ~(1u << 27); /* the monitor did not enable XSAVE */
    cpuid_init();
    expect_fault(write_cr(4, CR4_PAE_MASK | CR4_OSXSAVE_MASK), EXCP0D_GPF, 0);
    env_reset();
}

static void test_lmsw_clts(void **state)
{
    for (unsigned n = 0; n < 16 * 16; n++) {
        uint64_t old = 0x80010021 | (n >> 4), msw = 0xfff0 | (n & 15);

        env_reset();
        vcpu.env.cr[0] = (old | CR0_PE_MASK);
        vcpu.env.regs[R_EAX] = msw;
        expect_ok(EXEC("\x0f\x01\xf0"));
        assert_int_equal(vcpu.env.cr[0], 0x80010031 | (msw & 14));
    }
    env_reset();
    vcpu.env.cr[0] |= CR0_TS_MASK;
    expect_ok(EXEC("\x0f\x06"));
    assert_int_equal(vcpu.env.cr[0] & CR0_TS_MASK, 0);
    assert_int_equal(venv.applies, 1);
    for (unsigned cpl = 1; cpl < 4; cpl++) {
        env_reset();
        env_set_cpl(cpl);
        expect_fault(EXEC("\x0f\x06"), EXCP0D_GPF, 0);
        expect_fault(EXEC("\x0f\x01\xf0"), EXCP0D_GPF, 0);
    }
}

/* ---- debug registers ---- */

static void test_dr(void **state)
{
    for (unsigned n = 0; n < 16 * 4 * 2 * 2 * 2; n++) {
        unsigned dr = n & 15, cpl = n >> 4 & 3, de = n >> 6 & 1, gd = n >> 7 & 1, read = n >> 8;
        int r;

        env_reset();
        env_set_cpl(cpl);
        vcpu.env.cr[4] |= de ? CR4_DE_MASK : 0;
        vcpu.env.dr[7] |= gd ? DR7_GD : 0;
        vcpu.env.dr[0] = 0x1234;
        vcpu.env.regs[R_ECX] = 0xffffffff;
        r = mov_sys(read ? 0x21 : 0x23, dr);
        if (dr > 7 || (de && (dr == 4 || dr == 5))) {
            expect_fault(r, EXCP06_ILLOP, 0);
        } else if (cpl) {
            expect_fault(r, EXCP0D_GPF, 0);
        } else if (gd) {
            expect_fault(r, EXCP01_DB, 0);
            assert_int_equal(vcpu.env.dr[6], 0xffff2ff0);
        } else if (read) {
            expect_ok(r);
            assert_int_equal(vcpu.env.regs[R_ECX], dr == 0              ? 0x1234u
                                                   : dr == 6 || dr == 4 ? 0xffff0ff0u
                                                   : dr == 7 || dr == 5 ? 0x400u
                                                                        : 0);
        } else {
            expect_ok(r);
            assert_int_equal(vcpu.env.dr[dr == 4 || dr == 5 ? dr + 2 : dr],
                             dr == 6 || dr == 4   ? 0xffffeffful
                             : dr == 7 || dr == 5 ? 0xffff27fful
                                                  : 0xfffffffful);
            assert_int_equal(venv.debug_changes, dr == 4 || dr == 6 ? 0 : 1);
        }
    }
    for (unsigned bit = 32; bit < 64; bit++) {
        env_reset();
        vcpu.env.regs[R_ECX] = 1ull << bit;
        expect_fault(mov_sys(0x23, 6), EXCP0D_GPF, 0);
        expect_fault(mov_sys(0x23, 7), EXCP0D_GPF, 0);
        expect_ok(mov_sys(0x23, 3));
        assert_int_equal(vcpu.env.dr[3], 1ull << bit);
    }
}

/* ---- MSRs ---- */

static int rdmsr(uint32_t index, uint64_t *value)
{
    int r;

    vcpu.env.eip = ENV_CODE;
    vcpu.env.regs[R_ECX] = 0xdead00000000ull | index;
    r = EXEC("\x0f\x32");
    *value = vcpu.env.regs[R_EDX] << 32 | vcpu.env.regs[R_EAX];
    return r;
}

static int wrmsr(uint32_t index, uint64_t value)
{
    vcpu.env.eip = ENV_CODE;
    vcpu.env.regs[R_ECX] = index;
    vcpu.env.regs[R_EAX] = 0xbeef00000000ull | (uint32_t)value;
    vcpu.env.regs[R_EDX] = 0xbeef00000000ull | value >> 32;
    return EXEC("\x0f\x30");
}

/* Registers that keep a value, with the bits that they refuse. */
static void test_msr_bits(void **state)
{
    static const struct {
        uint32_t index;
        uint64_t base, refused;
    } msr[] = {
        {0x174, 0, 0xffffffff00000000ull},
        {0x175, 0, 0xffff800000000000ull}, /* a single one of these bits makes it non-canonical */
        {0x176, 0, 0xffff800000000000ull},
        {0x1a0, 0, 0},
        {0x1b, 0xfee00000, 0xffffff00000006ffull},
        {0xc0000081, 0, 0},
        {0xc0000082, 0, 0xffff800000000000ull},
        {0xc0000083, 0, 0xffff800000000000ull},
        {0xc0000084, 0, 0xffffffff00000000ull},
        {0xc0000100, 0, 0xffff800000000000ull},
        {0xc0000101, 0, 0xffff800000000000ull},
        {0xc0000102, 0, 0xffff800000000000ull},
        {0xc0000103, 0, 0xffffffff00000000ull},
    };

    for (size_t i = 0; i < ARRAY_SIZE(msr); i++) {
        for (unsigned bit = 0; bit < 64; bit++) {
            uint64_t value = msr[i].base ^ 1ull << bit, got, before;

            env_reset();
            expect_ok(rdmsr(msr[i].index, &before));
            if (msr[i].refused >> bit & 1) {
                expect_fault(wrmsr(msr[i].index, value), EXCP0D_GPF, 0);
                value = before;
            } else {
                expect_ok(wrmsr(msr[i].index, value));
            }
            expect_ok(rdmsr(msr[i].index, &got));
            assert_int_equal(got, value);
        }
    }
    env_reset();
    expect_ok(wrmsr(0xc0000100, 0xffff800000001000ull));
    assert_int_equal(venv.hw_fs, 0xffff800000001000ull);
    expect_ok(wrmsr(0xc0000101, 0xffff800000002000ull));
    assert_int_equal(venv.hw_fs, 0xffff800000001000ull);
    assert_int_equal(venv.hw_gs, 0xffff800000002000ull);
}

static void test_efer_pat(void **state)
{
    uint64_t got;

    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t mask = 1ull << bit, want = 0xd00 ^ mask;

        env_reset();
        if (mask != MSR_EFER_SCE && mask != MSR_EFER_NXE && mask != MSR_EFER_LMA) {
            expect_fault(wrmsr(0xc0000080, want), EXCP0D_GPF, 0);
            want = 0xd00;
        } else {
            expect_ok(wrmsr(0xc0000080, want));
            want |= MSR_EFER_LMA;
        }
        expect_ok(rdmsr(0xc0000080, &got));
        assert_int_equal(got, want);
        assert_int_equal(venv.flush_all, mask == MSR_EFER_NXE);
    }
    for (unsigned n = 0; n < 8 * 256; n++) {
        unsigned type = n & 255, shift = n >> 8 << 3;
        uint64_t value = (0x0606060606060606ull & ~(0xffull << shift)) | (uint64_t)type << shift;

        env_reset();
        if (type > 7 || type == 2 || type == 3) {
            expect_fault(wrmsr(0x277, value), EXCP0D_GPF, 0);
            assert_int_equal(vcpu.env.pat, 0x0007040600070406ull);
        } else {
            expect_ok(wrmsr(0x277, value));
            assert_int_equal(vcpu.env.pat, value);
        }
    }
}

static void test_msr_others(void **state)
{
    static const uint32_t absent[] = {0x48,  0xfe,       0x200,      0x250,      0x2ff,
                                      0x480, 0x6e0,      0x802,      0x10a,      0x3b,
                                      0xda0, 0xc0000104, 0xc0010117, 0x40000000, 0xffffffff};
    static const struct {
        uint32_t index;
        uint64_t value;
        bool ignored;
    } constant[] = {
        {0x17, 0, false}, {0x179, 0, false}, {0x8b, 1ull << 32, true}, {0x17a, 0, true}};
    uint64_t got;

    for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
        env_reset();
        expect_fault(rdmsr(absent[i], &got), EXCP0D_GPF, 0);
        expect_fault(wrmsr(absent[i], 0), EXCP0D_GPF, 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(constant); i++) {
        env_reset();
        if (constant[i].ignored) {
            expect_ok(wrmsr(constant[i].index, 0x55));
        } else {
            expect_fault(wrmsr(constant[i].index, 0x55), EXCP0D_GPF, 0);
        }
        expect_ok(rdmsr(constant[i].index, &got));
        assert_int_equal(got, constant[i].value);
    }
    for (unsigned cpl = 1; cpl < 4; cpl++) {
        env_reset();
        env_set_cpl(cpl);
        expect_fault(rdmsr(0xc0000080, &got), EXCP0D_GPF, 0);
        expect_fault(wrmsr(0xc0000081, 0), EXCP0D_GPF, 0);
    }
}

/* ---- time ---- */

static void test_tsc(void **state)
{
    uint64_t got;

    env_reset();
    venv.tsc = 0x123456789abull;
    expect_ok(EXEC("\x0f\x31"));
    assert_int_equal(vcpu.env.regs[R_EAX], 0x456789ab);
    assert_int_equal(vcpu.env.regs[R_EDX], 0x123);
    venv.tsc_offset_changes = 0;
    expect_ok(wrmsr(0x10, venv.tsc)); /* no offset as before: rdtsc stays the host's */
    assert_int_equal(venv.tsc_offset_changes, 0);
    expect_ok(wrmsr(0x10, 2000));
    expect_ok(wrmsr(0x10, 1000));
    assert_int_equal(venv.tsc_offset_changes, 1);
    venv.tsc += 7;
    expect_ok(rdmsr(0x10, &got));
    assert_int_equal(got, 1007);
    expect_ok(wrmsr(0xc0000103, 0x77));
    expect_ok(EXEC("\x0f\x01\xf9"));
    assert_int_equal(vcpu.env.regs[R_EAX], 1007);
    assert_int_equal(vcpu.env.regs[R_ECX], 0x77);
    expect_ok(EXEC("\xf3\x49\x0f\xc7\xf8")); /* rdpid r8 */
    assert_int_equal(vcpu.env.regs[R_R8], 0x77);
    for (unsigned n = 0; n < 8; n++) {
        unsigned cpl = n & 3, tsd = n >> 2;

        env_reset();
        env_set_cpl(cpl);
        vcpu.env.cr[4] |= tsd ? CR4_TSD_MASK : 0;
        if (cpl && tsd) {
            expect_fault(EXEC("\x0f\x31"), EXCP0D_GPF, 0);
            expect_fault(EXEC("\x0f\x01\xf9"), EXCP0D_GPF, 0);
        } else {
            expect_ok(EXEC("\x0f\x31"));
            expect_ok(EXEC("\x0f\x01\xf9"));
        }
    }
}

/* ---- XCR0 ---- */

static void test_xcr0(void **state)
{
    for (unsigned n = 0; n < 256 * 2; n++) {
        uint64_t value = n & 255;
        bool avx = n >> 8, ok = (value & 1) && !(value & ~(avx ? 7ull : 3ull)) && (value & 6) != 4;

        env_reset();
        venv.cpuid_xcr0 = avx ? 0xffffffff : 3;
        cpuid_init();
        vcpu.env.cr[4] |= CR4_OSXSAVE_MASK;
        vcpu.env.regs[R_ECX] = 0;
        vcpu.env.regs[R_EAX] = value;
        vcpu.env.regs[R_EDX] = 0;
        if (ok) {
            expect_ok(EXEC("\x0f\x01\xd1"));
            assert_int_equal(vcpu.env.xcr0, value);
            assert_int_equal(venv.applies, 1);
            expect_ok(EXEC("\x0f\x01\xd0"));
            assert_int_equal(vcpu.env.regs[R_EAX], value);
            assert_int_equal(vcpu.env.regs[R_EDX], 0);
        } else {
            expect_fault(EXEC("\x0f\x01\xd1"), EXCP0D_GPF, 0);
        }
    }
    env_reset();
    vcpu.env.regs[R_ECX] = 0;
    vcpu.env.regs[R_EAX] = 1;
    vcpu.env.regs[R_EDX] = 0;
    expect_fault(EXEC("\x0f\x01\xd1"), EXCP06_ILLOP, 0);
    expect_fault(EXEC("\x0f\x01\xd0"), EXCP06_ILLOP, 0);
    vcpu.env.cr[4] |= CR4_OSXSAVE_MASK;
    vcpu.env.regs[R_EDX] = 1;
    expect_fault(EXEC("\x0f\x01\xd1"), EXCP0D_GPF, 0);
    vcpu.env.regs[R_EDX] = 0;
    vcpu.env.regs[R_ECX] = 1;
    expect_fault(EXEC("\x0f\x01\xd1"), EXCP0D_GPF, 0);
    expect_fault(EXEC("\x0f\x01\xd0"), EXCP0D_GPF, 0);
    vcpu.env.regs[R_ECX] = 0;
    env_set_cpl(3);
    expect_fault(EXEC("\x0f\x01\xd1"), EXCP0D_GPF, 0);
    expect_ok(EXEC("\x0f\x01\xd0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cr_bits),      cmocka_unit_test(test_cr_access),
        cmocka_unit_test(test_cr4_features), cmocka_unit_test(test_lmsw_clts),
        cmocka_unit_test(test_dr),           cmocka_unit_test(test_msr_bits),
        cmocka_unit_test(test_efer_pat),     cmocka_unit_test(test_msr_others),
        cmocka_unit_test(test_tsc),          cmocka_unit_test(test_xcr0),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    printf("test-vcpu-sys: %u cases\n", env_cases);
    return failed;
}
