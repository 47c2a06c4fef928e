/* SPDX-License-Identifier: MIT */
/* Port I/O: permission by IOPL and bitmap enumerated, operand forms, restartable strings. */
#include "tests/host/vcpu-env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* in/out with dx, by log2 of the size */
static const char *const in_dx[3] = {"\xec", "\x66\xed", "\xed"};
static const char *const out_dx[3] = {"\xee", "\x66\xef", "\xef"};
static const unsigned dx_len[3] = {1, 2, 1};

static void test_forms(void **state)
{
    static const uint64_t want_in[3] = {0x0102030405060788ull, 0x0102030405067788ull,
                                        0x55667788ull};
    static const uint32_t want_out[3] = {0x08, 0x0708, 0x05060708};

    for (unsigned i = 0; i < 3; i++) {
        for (unsigned imm = 0; imm < 2; imm++) {
            const char *in = imm ? (i == 0   ? "\xe4\x93"
                                    : i == 1 ? "\x66\xe5\x93"
                                             : "\xe5\x93")
                                 : in_dx[i];
            const char *out = imm ? (i == 0   ? "\xe6\x93"
                                     : i == 1 ? "\x66\xe7\x93"
                                              : "\xe7\x93")
                                  : out_dx[i];
            unsigned len = dx_len[i] + imm;

            env_reset();
            vcpu.env.regs[R_EDX] = 0xffffffffffff1234ull;
            vcpu.env.regs[R_EAX] = 0x0102030405060708ull;
            expect_ok(env_exec(out, len));
            assert_int_equal(venv.out_count, 1);
            assert_int_equal(venv.out[0].port, imm ? 0x93 : 0x1234);
            assert_int_equal(venv.out[0].size, 1u << i);
            assert_int_equal(venv.out[0].value, want_out[i]);
            venv.in_value = 0x55667788;
            expect_ok(env_exec(in, len));
            assert_int_equal(venv.in[0].port, imm ? 0x93 : 0x1234);
            assert_int_equal(venv.in[0].size, 1u << i);
            assert_int_equal(vcpu.env.regs[R_EAX], want_in[i]);
            assert_int_equal(vcpu.env.eip, ENV_CODE + 2 * len);
        }
    }
}

/* CPL against IOPL, with every bit of the map set, then clear. */
static void test_iopl(void **state)
{
    for (unsigned n = 0; n < 4 * 4 * 2 * 3; n++) {
        unsigned cpl = n & 3, iopl = n >> 2 & 3, denied = n >> 4 & 1, i = n >> 5;

        env_reset();
        env_set_cpl(cpl);
        vcpu.env.eflags |= iopl << 12;
        vcpu.env.regs[R_EDX] = 0x3f8;
        env_write(ENV_TSS + 0x68 + 0x3f8 / 8, 2, denied ? 0xffff : 0);
        if (cpl > iopl && denied) {
            expect_fault(env_exec(in_dx[i], dx_len[i]), EXCP0D_GPF, 0);
            expect_fault(env_exec(out_dx[i], dx_len[i]), EXCP0D_GPF, 0);
            assert_int_equal(venv.in_count + venv.out_count, 0);
        } else {
            expect_ok(env_exec(in_dx[i], dx_len[i]));
            expect_ok(env_exec(out_dx[i], dx_len[i]));
        }
    }
}

/* One denied port anywhere in or near an access of each size. */
static void test_bitmap(void **state)
{
    for (unsigned n = 0; n < 16 * 16 * 3; n++) {
        unsigned port = 0x100 + (n & 15), denied = 0x100 + (n >> 4 & 15), i = n >> 8,
                 size = 1u << i;

        env_reset();
        env_set_cpl(3);
        vcpu.env.regs[R_EDX] = port;
        env_write(ENV_TSS + 0x68 + denied / 8, 1, 1u << (denied & 7));
        if (denied >= port && denied < port + size) {
            expect_fault(env_exec(in_dx[i], dx_len[i]), EXCP0D_GPF, 0);
        } else {
            expect_ok(env_exec(in_dx[i], dx_len[i]));
        }
    }
}

/* Where the map is: base from the TSS, both bytes within the limit, a TSS that has the field at
 * all. */
static void test_bitmap_limits(void **state)
{
    env_reset();
    env_set_cpl(3);
    vcpu.env.regs[R_EDX] = 0x80;
    vcpu.env.tr.limit = 0x68 + 0x80 / 8 + 1;
    expect_ok(EXEC("\xec"));
    vcpu.env.eip = ENV_CODE;
    vcpu.env.tr.limit--;
    expect_fault(EXEC("\xec"), EXCP0D_GPF, 0);
    env_write(ENV_TSS + 0x66, 2, 0); /* the map may lie over the TSS itself */
    vcpu.env.tr.limit = 0x67;
    expect_ok(EXEC("\xec"));
    vcpu.env.eip = ENV_CODE;
    vcpu.env.tr.limit = 0x66;
    expect_fault(EXEC("\xec"), EXCP0D_GPF, 0);
    env_reset();
    env_set_cpl(3);
    env_write(ENV_TSS + 0x66, 2, 0xffff);
    expect_fault(EXEC("\xec"), EXCP0D_GPF, 0);
    env_reset();
    env_set_cpl(3);
    vcpu.env.tr.flags &= ~DESC_P_MASK;
    expect_fault(EXEC("\xec"), EXCP0D_GPF, 0);
    env_reset(); /* the map is read with supervisor rights, and may fault */
    env_set_cpl(3);
    env_protect(ENV_TSS, 0);
    expect_fault(EXEC("\xec"), EXCP0E_PAGE, 0);
    assert_int_equal(vcpu.env.cr[2], ENV_TSS + 0x66);
}

static void test_exit_on_port(void **state)
{
    env_reset();
    venv.exit_on_out = true;
    expect_exit(EXEC("\xe6\xf4"), CPU_EXIT_PORT);
    assert_int_equal(vcpu.env.eip, ENV_CODE + 2);
}

/* ---- strings ---- */

static const char *const ins_op[3] = {"\x6c", "\x66\x6d", "\x6d"};
static const char *const outs_op[3] = {"\x6e", "\x66\x6f", "\x6f"};
static const char *const rep_ins[3] = {"\xf3\x6c", "\xf3\x66\x6d", "\xf3\x6d"};
static const char *const rep_outs[3] = {"\xf3\x6e", "\xf3\x66\x6f", "\xf3\x6f"};

static void string_regs(uint64_t count)
{
    env_reset();
    vcpu.env.regs[R_EDI] = vcpu.env.regs[R_ESI] = ENV_DATA + 0x800;
    vcpu.env.regs[R_ECX] = count;
    vcpu.env.regs[R_EDX] = 0x1f0;
    venv.in_value = 0x41;
}

/* ins/outs, single and repeated, each size and direction. */
static void test_strings(void **state)
{
    for (unsigned n = 0; n < 3 * 2 * 2 * 2; n++) {
        unsigned i = n % 3, size = 1u << i, count;
        bool rep = n / 3 & 1, down = n / 6 & 1, outs = n / 12;
        const char *const *op = rep ? (outs ? rep_outs : rep_ins) : outs ? outs_op : ins_op;
        int64_t step = down ? -(int64_t)size : (int64_t)size;

        string_regs(5);
        count = rep ? 5 : 1;
        vcpu.env.eflags |= down ? DF_MASK : 0;
        for (unsigned k = 0; k < 5; k++) {
            env_write(ENV_DATA + 0x800 + (uint64_t)step * k, size, outs ? 0x90 + k : 0);
        }
        expect_ok(env_exec(op[i], dx_len[i] + rep));
        assert_int_equal(vcpu.env.eip, ENV_CODE + dx_len[i] + rep);
        assert_int_equal(vcpu.env.regs[outs ? R_ESI : R_EDI],
                         ENV_DATA + 0x800 + (uint64_t)(step * (int)count));
        assert_int_equal(vcpu.env.regs[R_ECX], rep ? 0 : 5);
        assert_int_equal(outs ? venv.out_count : venv.in_count, count);
        for (unsigned k = 0; k < count; k++) {
            if (outs) {
                assert_int_equal(venv.out[k].value, 0x90 + k);
                assert_int_equal(venv.out[k].size, size);
            } else {
                assert_int_equal(env_read(ENV_DATA + 0x800 + (uint64_t)step * k, size), 0x41 + k);
            }
        }
    }
    string_regs(0);
    expect_ok(EXEC("\xf3\x6c"));
    assert_int_equal(venv.in_count, 0);
    assert_int_equal(vcpu.env.eip, ENV_CODE + 2);
}

/* #PF in the middle: registers are those of the element that faulted, no port was read for it; then
 * it resumes. */
static void test_string_restart(void **state)
{
    for (unsigned outs = 0; outs < 2; outs++) {
        string_regs(8);
        vcpu.env.regs[R_EDI] = vcpu.env.regs[R_ESI] = ENV_DATA + 0x1000 - 5;
        env_protect(ENV_DATA + 0x1000, outs ? 0 : PERM_P | PERM_U);
        expect_fault(outs ? EXEC("\xf3\x6e") : EXEC("\xf3\x6c"), EXCP0E_PAGE, outs ? 0 : 3);
        assert_int_equal(vcpu.env.cr[2], ENV_DATA + 0x1000);
        assert_int_equal(vcpu.env.regs[R_ECX], 3);
        assert_int_equal(vcpu.env.regs[outs ? R_ESI : R_EDI], ENV_DATA + 0x1000);
        assert_int_equal(outs ? venv.out_count : venv.in_count, 5);
        env_protect(ENV_DATA + 0x1000, PERM_P | PERM_W | PERM_U);
        expect_ok(outs ? EXEC("\xf3\x6e") : EXEC("\xf3\x6c"));
        assert_int_equal(vcpu.env.regs[R_ECX], 0);
        assert_int_equal(vcpu.env.eip, ENV_CODE + 2);
        assert_int_equal(outs ? venv.out_count : venv.in_count, 8);
    }
    for (unsigned i = 0; i < 8; i++) { /* nothing lost or doubled */
        string_regs(8);
        vcpu.env.regs[R_EDI] = ENV_DATA + 0x1000 - i;
        env_protect(ENV_DATA + 0x1000, PERM_P | PERM_U);
        expect_fault(EXEC("\xf3\x6c"), EXCP0E_PAGE, 3);
        env_protect(ENV_DATA + 0x1000, PERM_P | PERM_W | PERM_U);
        expect_ok(EXEC("\xf3\x6c"));
        for (unsigned k = 0; k < 8; k++) {
            assert_int_equal(env_read(ENV_DATA + 0x1000 - i + k, 1), 0x41 + k);
        }
    }
}

/* An interrupt or a long count leaves with rip unchanged and exact registers. */
static void test_string_interrupt(void **state)
{
    unsigned rounds = 0;

    string_regs(10);
    vcpu.env.eflags |= IF_MASK;
    venv.irq_at_out = 4;
    expect_ok(EXEC("\xf3\x6e"));
    assert_int_equal(vcpu.env.eip, ENV_CODE);
    assert_int_equal(vcpu.env.regs[R_ECX], 6);
    expect_ok(EXEC("\xf3\x6e")); /* still pending: one element per call */
    assert_int_equal(vcpu.env.regs[R_ECX], 5);
    vcpu.env.eflags = 2; /* with IF = 0 it does not matter */
    expect_ok(EXEC("\xf3\x6e"));
    assert_int_equal(vcpu.env.regs[R_ECX], 0);
    assert_int_equal(vcpu.env.eip, ENV_CODE + 2);

    string_regs(3); /* single step: a trap after each element */
    vcpu.env.eflags |= TF_MASK;
    expect_ok(EXEC("\xf3\x6e"));
    assert_int_equal(vcpu.env.regs[R_ECX], 2);
    assert_int_equal(vcpu.env.eip, ENV_CODE);

    string_regs(1000);
    do {
        expect_ok(EXEC("\xf3\x6e"));
        rounds++;
    } while (vcpu.env.eip == ENV_CODE);
    assert_true(rounds > 1);
    assert_int_equal(venv.out_count, 1000);
    assert_int_equal(vcpu.env.regs[R_ECX], 0);

    string_regs(10); /* a port that ends the run stops the string */
    venv.exit_on_out = true;
    expect_exit(EXEC("\xf3\x6e"), CPU_EXIT_PORT);
    assert_int_equal(venv.out_count, 1);
    assert_int_equal(vcpu.env.regs[R_ECX], 9);
}

static void test_string_addressing(void **state)
{
    string_regs(2); /* 32-bit address size: registers are zero-extended, only ecx counts */
    vcpu.env.regs[R_ECX] = 0x7700000002ull;
    vcpu.env.regs[R_ESI] = 0xabc00000000ull | ENV_DATA;
    env_write(ENV_DATA, 2, 0x2211);
    expect_ok(EXEC("\xf3\x67\x6e"));
    assert_int_equal(vcpu.env.regs[R_ESI], ENV_DATA + 2);
    assert_int_equal(vcpu.env.regs[R_ECX], 0);
    assert_int_equal(venv.out[1].value, 0x22);

    string_regs(1); /* outs takes an FS override, ins does not */
    venv.hw_fs = 0x1000;
    env_write(ENV_DATA + 0x1800, 1, 0x5a);
    expect_ok(EXEC("\x64\x6e"));
    assert_int_equal(venv.out[0].value, 0x5a);
    expect_ok(EXEC("\x64\x6c"));
    assert_int_equal(env_read(ENV_DATA + 0x800, 1), 0x41);
    assert_int_equal(env_read(ENV_DATA + 0x1800, 1), 0x5a);

    string_regs(1);
    vcpu.env.regs[R_EDI] = 1ull << 47;
    expect_fault(EXEC("\x6c"), EXCP0D_GPF, 0);
    vcpu.env.regs[R_ESI] = 0x800000000000ull - 3;
    expect_fault(EXEC("\x6f"), EXCP0D_GPF, 0);
    string_regs(1); /* permission comes before memory */
    env_set_cpl(3);
    env_write(ENV_TSS + 0x68 + 0x1f0 / 8, 2, 0xffff);
    vcpu.env.regs[R_EDI] = 0;
    expect_fault(EXEC("\x6c"), EXCP0D_GPF, 0);
    string_regs(1); /* user rights */
    env_set_cpl(3);
    vcpu.env.regs[R_EDI] = ENV_GDT;
    expect_fault(EXEC("\x6c"), EXCP0E_PAGE, 7);
    assert_int_equal(venv.in_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_iopl),
        cmocka_unit_test(test_bitmap),
        cmocka_unit_test(test_bitmap_limits),
        cmocka_unit_test(test_exit_on_port),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_string_restart),
        cmocka_unit_test(test_string_interrupt),
        cmocka_unit_test(test_string_addressing),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    printf("test-vcpu-io: %u cases\n", env_cases);
    return failed;
}
