/* SPDX-License-Identifier: MIT */
/* Flags, the syscall family, FS and GS bases, TLB maintenance, hidden instructions, dispatch, entry
 * state. */
#include "tests/host/vcpu-env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- cli, sti, pushf, popf ---- */

static void test_cli_sti(void **state)
{
    for (unsigned n = 0; n < 4 * 4 * 2; n++) {
        unsigned cpl = n & 3, iopl = n >> 2 & 3, was = n >> 4;

        env_reset();
        env_set_cpl(cpl);
        vcpu.env.eflags |= iopl << 12 | (was ? IF_MASK : 0);
        if (cpl > iopl) {
            expect_fault(EXEC("\xfa"), EXCP0D_GPF, 0);
            expect_fault(EXEC("\xfb"), EXCP0D_GPF, 0);
            assert_int_equal(!!(vcpu.env.eflags & IF_MASK), was);
            continue;
        }
        expect_ok(EXEC("\xfb"));
        assert_true(vcpu.env.eflags & IF_MASK);
        assert_int_equal(vcpu.env.inhibit_irq, !was);
        expect_ok(EXEC("\xfb")); /* a second sti is in the shadow and makes none */
        assert_int_equal(vcpu.env.inhibit_irq, 0);
        expect_ok(EXEC("\xfa"));
        assert_false(vcpu.env.eflags & IF_MASK);
    }
    env_reset(); /* the instruction in the shadow ends it: sti; hlt wakes up */
    expect_ok(EXEC("\xfb"));
    assert_int_equal(EXEC("\xf4"), 1);
    assert_int_equal(vcpu.exception_index, EXCP_HALTED);
    assert_int_equal(vcpu.env.inhibit_irq, 0);
}

static void test_pushf(void **state)
{
    for (unsigned bit = 0; bit < 22; bit++) {
        uint64_t flags = 1ull << bit | 2;

        if (bit == 3 || bit == 5 || bit == 15 || bit == 19 || bit == 20) {
            continue; /* reserved, or without VME always 0 */
        }
        env_reset();
        env_set_cpl(3);
        vcpu.env.eflags = flags;
        env_write(ENV_USTACK - 16, 8, ~0ull);
        expect_ok(EXEC("\x9c"));
        assert_int_equal(env_read(ENV_USTACK - 8, 8), flags & ~(uint64_t)(RF_MASK | VM_MASK));
        assert_int_equal(vcpu.env.regs[R_ESP], ENV_USTACK - 8);
        expect_ok(EXEC("\x66\x9c"));
        assert_int_equal(env_read(ENV_USTACK - 10, 2), flags & 0xffff);
        assert_int_equal(env_read(ENV_USTACK - 16, 6), 0xffffffffffffull);
    }
    env_reset();
    vcpu.env.regs[R_ESP] = 1ull << 47 | 4;
    expect_fault(EXEC("\x9c"), EXCP0C_STACK, 0);
    vcpu.env.regs[R_ESP] = 4; /* would wrap */
    expect_fault(EXEC("\x9c"), EXCP0C_STACK, 0);
    env_reset();
    env_protect(ENV_KSTACK - 8, PERM_P);
    expect_fault(EXEC("\x9c"), EXCP0E_PAGE, 3);
    assert_int_equal(vcpu.env.regs[R_ESP], ENV_KSTACK);
}

static void test_popf(void **state)
{
    for (unsigned n = 0; n < 4 * 4 * 2 * 2; n++) {
        unsigned cpl = n & 3, iopl = n >> 2 & 3, small = n >> 4 & 1;
        bool ones = n >> 5;
        uint64_t mask = CC_ALL | DF_MASK | TF_MASK | NT_MASK, old, sp;

        mask |= small ? 0 : AC_MASK | ID_MASK;
        mask |= cpl <= iopl ? IF_MASK : 0;
        mask |= cpl == 0 ? IOPL_MASK : 0;
        env_reset();
        env_set_cpl(cpl);
        vcpu.env.eflags =
            2 | iopl << 12 |
            (ones ? CC_ALL | DF_MASK | TF_MASK | NT_MASK | AC_MASK | ID_MASK | IF_MASK : 0);
        old = vcpu.env.eflags;
        vcpu.env.eflags |= RF_MASK;
        sp = vcpu.env.regs[R_ESP];
        env_write(sp, 8, ones ? 0 : ~0ull);
        expect_ok(small ? EXEC("\x66\x9d") : EXEC("\x9d"));
        assert_int_equal(vcpu.env.eflags, (old & ~mask) | (ones ? 0 : mask));
        assert_int_equal(vcpu.env.regs[R_ESP], sp + (small ? 2 : 8));
    }
    env_reset();
    vcpu.env.regs[R_ESP] = 0x800000000000ull - 7;
    expect_fault(EXEC("\x9d"), EXCP0C_STACK, 0);
    env_reset();
    env_set_cpl(3);
    vcpu.env.regs[R_ESP] = ENV_KSTACK;
    expect_fault(EXEC("\x9d"), EXCP0E_PAGE, 5);
}

/* ---- syscall, sysret, sysenter, sysexit ---- */

static void expect_flat(unsigned seg, uint16_t selector, uint32_t flags)
{
    assert_int_equal(vcpu.env.segs[seg].selector, selector);
    assert_int_equal(vcpu_vp.sel[seg], selector);
    assert_int_equal(vcpu.env.segs[seg].base, 0);
    assert_int_equal(vcpu.env.segs[seg].limit, 0xffffffff);
    assert_int_equal(vcpu.env.segs[seg].flags, flags);
}

static void test_syscall(void **state)
{
    for (unsigned n = 0; n < 4 * 4; n++) {
        unsigned cpl = n & 3, rpl = n >> 2;

        env_reset();
        env_set_cpl(cpl);
        vcpu.env.efer |= MSR_EFER_SCE;
        vcpu.env.star = 0x0023001000000000ull | (uint64_t)rpl << 32;
        vcpu.env.lstar = 0xffffffff81000000ull;
        vcpu.env.fmask = 0x47700;
        vcpu.env.eflags =
            2 | CC_ALL | IF_MASK | TF_MASK | DF_MASK | IOPL_MASK | NT_MASK | AC_MASK | ID_MASK;
        expect_ok(EXEC("\x0f\x05"));
        assert_int_equal(vcpu.env.eip, 0xffffffff81000000ull);
        assert_int_equal(vcpu.env.regs[R_ECX], ENV_CODE + 2);
        assert_int_equal(vcpu.env.regs[R_R11], 2 | CC_ALL | IF_MASK | TF_MASK | DF_MASK |
                                                   IOPL_MASK | NT_MASK | AC_MASK | ID_MASK);
        assert_int_equal(vcpu.env.eflags, (2 | CC_ALL | ID_MASK));
        assert_int_equal(vcpu.env.cpl, 0);
        expect_flat(R_CS, 0x10, 0xa09b00);
        expect_flat(R_SS, 0x18, 0xc09300);
        assert_int_equal(vcpu.env.regs[R_ESP], cpl == 3 ? ENV_USTACK : ENV_KSTACK);
    }
    env_reset();
    vcpu.env.efer |= MSR_EFER_SCE;
    vcpu.env.fmask = 0xffffffff;
    expect_ok(EXEC("\x0f\x05"));
    assert_int_equal(vcpu.env.eflags, 2);
    env_reset();
    expect_fault(EXEC("\x0f\x05"), EXCP06_ILLOP, 0);
}

/* In a 32-bit code segment at CPL 3, before its first instruction, which is #UD. */
static void expect_refused32(uint64_t rip)
{
    assert_int_equal(vcpu.exception_index, EXCP06_ILLOP);
    assert_int_equal(vcpu.env.eip, rip);
    assert_int_equal(vcpu.env.cpl, 3);
}

static void test_sysret(void **state)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        const uint64_t kept =
            CC_ALL | TF_MASK | IF_MASK | DF_MASK | IOPL_MASK | NT_MASK | AC_MASK | ID_MASK;

        env_reset();
        vcpu.env.efer |= MSR_EFER_SCE;
        vcpu.env.star = 0x0020ull << 48;
        vcpu.env.regs[R_ECX] = 0x7fffffffffffull;
        vcpu.env.regs[R_R11] = 1ull << bit;
        expect_ok(EXEC("\x48\x0f\x07"));
        assert_int_equal(vcpu.env.eip, 0x7fffffffffffull);
        assert_int_equal(vcpu.env.eflags, 2 | (kept & 1ull << bit));
        assert_int_equal(vcpu.env.cpl, 3);
        expect_flat(R_CS, 0x33, 0xa0fb00);
        expect_flat(R_SS, 0x2b, 0xc0f300);
    }
    env_reset();
    expect_fault(EXEC("\x48\x0f\x07"), EXCP06_ILLOP, 0);
    vcpu.env.efer |= MSR_EFER_SCE;
    vcpu.env.regs[R_ECX] = 1ull << 47;
    expect_fault(EXEC("\x48\x0f\x07"), EXCP0D_GPF, 0);
    assert_int_equal(vcpu.env.cpl, 0);
    vcpu.env.star = 0x0020ull << 48;
    vcpu.env.regs[R_ECX] = 0xfffffff812345678ull;
    assert_int_equal(EXEC("\x0f\x07"), 1);
    expect_refused32(0x12345678);
    expect_flat(R_CS, 0x23, 0xc0fb00);
    expect_flat(R_SS, 0x2b, 0xc0f300);
    for (unsigned cpl = 1; cpl < 4; cpl++) {
        env_reset();
        env_set_cpl(cpl);
        vcpu.env.efer |= MSR_EFER_SCE;
        expect_fault(EXEC("\x48\x0f\x07"), EXCP0D_GPF, 0);
    }
}

static void test_sysenter(void **state)
{
    env_reset();
    env_set_cpl(3);
    vcpu.env.sysenter_cs = 0x13;
    vcpu.env.sysenter_esp = 0xffff888000001000ull;
    vcpu.env.sysenter_eip = 0xffffffff82000000ull;
    vcpu.env.eflags |= IF_MASK | TF_MASK;
    expect_ok(EXEC("\x0f\x34"));
    assert_int_equal(vcpu.env.cpl, 0);
    assert_int_equal(vcpu.env.eip, 0xffffffff82000000ull);
    assert_int_equal(vcpu.env.regs[R_ESP], 0xffff888000001000ull);
    assert_int_equal(vcpu.env.eflags, 2 | TF_MASK);
    expect_flat(R_CS, 0x10, 0xa09b00);
    expect_flat(R_SS, 0x18, 0xc09300);
    vcpu.env.regs[R_ECX] = 0x1111000;
    vcpu.env.regs[R_EDX] = 0x2222000;
    expect_ok(EXEC("\x48\x0f\x35"));
    assert_int_equal(vcpu.env.cpl, 3);
    assert_int_equal(vcpu.env.eip, 0x2222000);
    assert_int_equal(vcpu.env.regs[R_ESP], 0x1111000);
    expect_flat(R_CS, 0x33, 0xa0fb00);
    expect_flat(R_SS, 0x3b, 0xc0f300);

    for (unsigned cs = 0; cs < 4; cs++) {
        env_reset();
        vcpu.env.sysenter_cs = cs;
        expect_fault(EXEC("\x0f\x34"), EXCP0D_GPF, 0);
        expect_fault(EXEC("\x48\x0f\x35"), EXCP0D_GPF, 0);
    }
    for (unsigned cpl = 1; cpl < 4; cpl++) {
        env_reset();
        env_set_cpl(cpl);
        vcpu.env.sysenter_cs = 0x10;
        expect_fault(EXEC("\x48\x0f\x35"), EXCP0D_GPF, 0);
    }
    for (unsigned reg = R_ECX; reg <= R_EDX; reg++) {
        env_reset();
        vcpu.env.sysenter_cs = 0x10;
        vcpu.env.regs[R_ECX] = vcpu.env.regs[R_EDX] = 0;
        vcpu.env.regs[reg] = 1ull << 47;
        expect_fault(EXEC("\x48\x0f\x35"), EXCP0D_GPF, 0);
    }
    env_reset();
    vcpu.env.sysenter_cs = 0x10;
    vcpu.env.regs[R_ECX] = 0xfedc00012340ull;
    vcpu.env.regs[R_EDX] = 0xfedc00054321ull;
    assert_int_equal(EXEC("\x0f\x35"), 1);
    expect_refused32(0x54321);
    assert_int_equal(vcpu.env.regs[R_ESP], 0x12340);
    expect_flat(R_CS, 0x23, 0xc0fb00);
    expect_flat(R_SS, 0x2b, 0xc0f300);
    env_reset(); /* only REX.W makes it 64-bit */
    vcpu.env.sysenter_cs = 0x10;
    assert_int_equal(EXEC("\x47\x0f\x35"), 1);
    expect_refused32((uint32_t)vcpu.env.regs[R_EDX]);
}

/* AMD's CPUs and Hygon's have no sysenter in long mode. */
static void test_sysenter_amd(void **state)
{
    static const uint32_t vendors[] = {0x68747541, 0x6f677948}; /* "Auth", "Hygo" */

    for (size_t i = 0; i < ARRAY_SIZE(vendors); i++) {
        env_reset();
        venv.cpuid_vendor = vendors[i];
        cpuid_init();
        vcpu.env.sysenter_cs = 0x10;
        expect_fault(EXEC("\x0f\x34"), EXCP06_ILLOP, 0);
        expect_fault(EXEC("\x0f\x35"), EXCP06_ILLOP, 0);
        expect_fault(EXEC("\x48\x0f\x35"), EXCP06_ILLOP, 0);
    }
}

/* ---- FS and GS bases ---- */

static void test_swapgs(void **state)
{
    env_reset();
    venv.hw_gs = 0x1000; /* what the guest set with wrgsbase in translated code */
    venv.hw_fs = 0x3000;
    vcpu.env.kernelgsbase = 0x5000;
    vcpu.vp_view[0]->kernelgsbase = 0xffff888000002000ull; /* what an inline swapgs has left there */
    expect_ok(EXEC("\x0f\x01\xf8"));
    assert_int_equal(venv.hw_gs, 0xffff888000002000ull);
    assert_int_equal(vcpu.env.segs[R_GS].base, 0xffff888000002000ull);
    assert_int_equal(vcpu.env.kernelgsbase, 0x1000);
    assert_int_equal(vcpu.vp_view[0]->kernelgsbase, 0x1000);
    assert_int_equal(venv.hw_fs, 0x3000);
    expect_ok(EXEC("\x0f\x01\xf8"));
    assert_int_equal(venv.hw_gs, 0x1000);
    vcpu.vp_view[0]->kernelgsbase = 0x0000888000002000ull; /* the guest has written there itself, no address */
    expect_ok(EXEC("\x0f\x01\xf8"));
    assert_int_equal(venv.hw_gs, 0xffff888000002000ull);
    for (unsigned cpl = 1; cpl < 4; cpl++) {
        env_reset();
        env_set_cpl(cpl);
        expect_fault(EXEC("\x0f\x01\xf8"), EXCP0D_GPF, 0);
    }
}

static void test_fsgsbase(void **state)
{
    for (unsigned gs = 0; gs < 2; gs++) {
        for (unsigned wide = 0; wide < 2; wide++) {
            char rd[5] = {(char)0xf3, (char)(wide ? 0x49 : 0x41), 0x0f, (char)0xae,
                          (char)(gs ? 0xc8 : 0xc0)}; /* r8 */
            char wr[5] = {(char)0xf3, (char)(wide ? 0x49 : 0x41), 0x0f, (char)0xae,
                          (char)(gs ? 0xd8 : 0xd0)};
            uint64_t *hw = gs ? &venv.hw_gs : &venv.hw_fs, *other = gs ? &venv.hw_fs : &venv.hw_gs;

            env_reset();
            expect_fault(env_exec(rd, 5), EXCP06_ILLOP, 0);
            expect_fault(env_exec(wr, 5), EXCP06_ILLOP, 0);
            vcpu.env.cr[4] |= CR4_FSGSBASE_MASK;
            env_set_cpl(3);
            *hw = 0xffff812345678000ull;
            *other = 0x99;
            expect_ok(env_exec(rd, 5));
            assert_int_equal(vcpu.env.regs[R_R8], wide ? 0xffff812345678000ull : 0x45678000);
            vcpu.env.regs[R_R8] = 0x00007fff89abcdefull;
            expect_ok(env_exec(wr, 5));
            assert_int_equal(*hw, wide ? 0x00007fff89abcdefull : 0x89abcdef);
            assert_int_equal(*other, 0x99);
            vcpu.env.regs[R_R8] = 1ull << 47 | 5;
            vcpu.env.eip = ENV_CODE;
            if (wide) {
                expect_fault(env_exec(wr, 5), EXCP0D_GPF, 0);
            } else {
                expect_ok(env_exec(wr, 5));
                assert_int_equal(*hw, 5);
            }
        }
    }
}

/* ---- maintenance ---- */

static void test_invlpg(void **state)
{
    env_reset();
    vcpu.env.regs[R_EBX] = 0xffff888000123456ull;
    expect_ok(EXEC("\x0f\x01\x3b"));
    assert_int_equal(venv.flush_page, 1);
    assert_int_equal(venv.flushed_page, 0xffff888000123456ull);
    vcpu.env.regs[R_EBX] = 1ull << 47; /* non-canonical: nothing happens */
    expect_ok(EXEC("\x0f\x01\x3b"));
    assert_int_equal(venv.flush_page, 1);
    expect_ok(EXEC("\x0f\x08"));
    expect_ok(EXEC("\x0f\x09"));
    for (unsigned cpl = 1; cpl < 4; cpl++) {
        env_reset();
        env_set_cpl(cpl);
        expect_fault(EXEC("\x0f\x01\x3b"), EXCP0D_GPF, 0);
        expect_fault(EXEC("\x0f\x08"), EXCP0D_GPF, 0);
        expect_fault(EXEC("\x0f\x09"), EXCP0D_GPF, 0);
        expect_fault(EXEC("\x0f\x33"), EXCP0D_GPF, 0);
    }
    env_reset();
    expect_fault(EXEC("\x0f\x33"), EXCP0D_GPF, 0); /* rdpmc: no counter */
}

/* ---- dispatch ---- */

static int run_sens(enum insn_sens sens)
{
    struct insn insn = {
        .len = 3, .kind = INSN_SENS, .sens = (uint8_t)sens, .base = R_NONE, .index = R_NONE};

    vcpu.exception_index = EXCP_NONE;
    return helper_sensitive(&vcpu, &insn, (const uint8_t *)"\x0f\x01\xd0");
}

/* Features hidden by CPUID are #UD at every level. */
static void test_hidden(void **state)
{
    static const enum insn_sens hidden[] = {
        SENS_INVPCID, SENS_CLAC,    SENS_STAC,   SENS_MONITOR, SENS_MWAIT,  SENS_RSM,
        SENS_XSAVES,  SENS_XRSTORS, SENS_RDPKRU, SENS_WRPKRU,  SENS_VMCALL, SENS_VMMCALL,
        SENS_XBEGIN,  SENS_XEND,    SENS_XABORT, SENS_XTEST,
    };

    for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
        for (unsigned cpl = 0; cpl < 4; cpl++) {
            env_reset();
            env_set_cpl(cpl);
            expect_fault(run_sens(hidden[i]), EXCP06_ILLOP, 0);
        }
    }
    env_reset(); /* rdtscp and rdpid on a host without them; TSC_AUX then does not exist */
    vcpu.env.regs[R_ECX] = 0xc0000103;
    venv.cpuid_x1_edx &= ~(1u << 27);
    cpuid_init();
    expect_fault(run_sens(SENS_RDTSCP), EXCP06_ILLOP, 0);
    expect_ok(run_sens(SENS_RDMSR));
    vcpu.env.eip = ENV_CODE;
    vcpu.env.regs[R_ECX] = 0xc0000103;
    venv.cpuid_l7_ecx &= ~(1u << 22);
    cpuid_init();
    expect_fault(run_sens(SENS_RDPID), EXCP06_ILLOP, 0);
    expect_fault(run_sens(SENS_RDMSR), EXCP0D_GPF, 0);
    expect_fault(run_sens(SENS_WRMSR), EXCP0D_GPF, 0);
}

/* ---- fnstenv, fnsave ---- */

static void test_x87_store(void **state)
{
    static const struct {
        const char *bytes;
        unsigned len, stored;
    } forms[] = {{"\xd9\x30", 2, 28}, {"\x66\xd9\x30", 3, 14}, {"\xdd\x30", 2, 108}, {"\x66\xdd\x30", 3, 94}};

    for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
        unsigned env = i & 1 ? 14 : 28, step = 28 / env;
        bool all = i >= 2;

        env_reset();
        vcpu.env.regs[R_EAX] = ENV_DATA;
        env_write(ENV_DATA + forms[i].stored, 1, 0xee);
        expect_ok(env_exec(forms[i].bytes, forms[i].len));
        for (unsigned at = 0; at < forms[i].stored; at++) {
            unsigned from = at >= env ? at - env + 28 : step == 1 ? at : at / 2 * 4 + at % 2;

            assert_int_equal(env_read(ENV_DATA + at, 1), from + 1);
        }
        assert_int_equal(env_read(ENV_DATA + forms[i].stored, 1), 0xee);
        assert_int_equal(venv.x87_stored[all], 1);
        assert_int_equal(venv.x87_stored[!all], 0);
        for (unsigned bit = 0; bit < 2; bit++) {
            env_reset();
            vcpu.env.cr[0] |= bit ? CR0_EM_MASK : CR0_TS_MASK;
            vcpu.env.regs[R_EAX] = 0x7000000; /* #NM comes before #PF */
            expect_fault(env_exec(forms[i].bytes, forms[i].len), EXCP07_PREX, 0);
        }
        env_reset();
        vcpu.env.regs[R_EAX] = 0x7000000;
        expect_fault(env_exec(forms[i].bytes, forms[i].len), EXCP0E_PAGE, PG_ERROR_W_MASK);
        assert_int_equal(venv.x87_stored[0] + venv.x87_stored[1], 0); /* the FPU is as it was */
    }
}

/* Every name in SENS_LIST has a handler; SENS_UNSUPPORTED is #UD. Nothing ends the run. */
static void test_dispatch(void **state)
{
    for (unsigned sens = SENS_NONE + 1; sens < SENS_COUNT; sens++) {
        env_reset();
        run_sens((enum insn_sens)sens);
        assert_true(vcpu.exit_request != CPU_EXIT_UNSUPPORTED);
        env_cases++;
    }
    env_reset();
    expect_fault(run_sens(SENS_UNSUPPORTED), EXCP06_ILLOP, 0);
}

/* ---- entry state ---- */

static void test_reset(void **state)
{
    struct CPUX86State *env = &vcpu.env;

    env_reset();
    memset(env, 0xa5, sizeof(*env));
    memset(&vcpu_vp, 0xa5, sizeof(vcpu_vp));
    vcpu.exit_request = CPU_EXIT_TIMEOUT;
    venv.applies = 0;
    cpu_reset(&vcpu);
    assert_int_equal(env->cpl, 0);
    assert_int_equal(env->eflags, 2);
    assert_int_equal(env->cr[0], 0x80010033);
    assert_int_equal(env->cr[4], 0x620);
    assert_int_equal(env->efer, 0xd00);
    assert_int_equal(env->xcr0, 1);
    assert_int_equal(env->dr[6], 0xffff0ff0);
    assert_int_equal(env->dr[7], 0x400);
    assert_int_equal(env->idt.limit, 0);
    assert_int_equal(env->ldt.limit, 0);
    expect_flat(R_CS, 0x10, 0xa09b00);
    expect_flat(R_SS, 0x18, 0xc09300);
    expect_flat(R_DS, 0x18, 0xc09300);
    expect_flat(R_ES, 0x18, 0xc09300);
    assert_int_equal(vcpu_vp.sel[R_FS] | vcpu_vp.sel[R_GS], 0);
    assert_int_equal(venv.hw_fs | venv.hw_gs, 0);
    assert_int_equal(venv.applies, 1);
    assert_int_equal(vcpu.exit_request, CPU_RUNNING);
    assert_int_equal(vcpu.exception_index, EXCP_NONE);
    assert_int_equal(vcpu.cflags_next_tb, (uint32_t)-1);
    for (unsigned seg = R_FS; seg <= R_GS; seg++) {
        assert_int_equal(env->segs[seg].base | env->segs[seg].limit | env->segs[seg].flags, 0);
    }
    assert_int_equal(env->pat, 0x0007040600070406ull);
    assert_int_equal(env->apicbase, 0xfee00100);
    assert_int_equal(env->tr.limit, 0xffff);
    assert_int_equal(env->tr.flags, 0x8b00);
    venv.cpuid_x1_edx = 0; /* CPUID is the host's at the first reset; later CR4 is the guest's */
    cpu_reset(&vcpu);
    assert_int_equal(env->efer, 0xd00);
    vcpu.vp = NULL; /* unit tests and early boot have no vCPU page */
    cpu_reset(&vcpu);
    vcpu.vp = &vcpu_vp;
    env_cases += 2;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_sti),  cmocka_unit_test(test_pushf),
        cmocka_unit_test(test_popf),     cmocka_unit_test(test_syscall),
        cmocka_unit_test(test_sysret),   cmocka_unit_test(test_sysenter),
        cmocka_unit_test(test_sysenter_amd),
        cmocka_unit_test(test_swapgs),   cmocka_unit_test(test_fsgsbase),
        cmocka_unit_test(test_invlpg),   cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_x87_store),
        cmocka_unit_test(test_dispatch), cmocka_unit_test(test_reset),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    printf("test-vcpu-misc: %u cases\n", env_cases);
    return failed;
}
