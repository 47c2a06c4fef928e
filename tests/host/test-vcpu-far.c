/* SPDX-License-Identifier: MIT */
/* iret, far ret, far call, far jmp: privileges, selectors and descriptors enumerated. */
#include "tests/host/vcpu-env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TARGET 0x41234u
#define IRETD  "\xcf"
#define IRETQ  "\x48\xcf"
#define IRETW  "\x66\xcf"

/* What a transfer should do: vector -1 = succeed, -2 = run ends as unsupported, -3 = CPL 3 in a segment that is not 64-bit,
 * where the first instruction is #UD. */
struct want {
    int vector;
    uint64_t error;
};
#define WANT_OK    ((struct want){-1, 0})
#define WANT_CS32(cpl) ((struct want){(cpl) == 3 ? -3 : -2, 0})
#define WANT(v, e) ((struct want){v, e})

/* Returns true if the transfer was to succeed (and did). */
static bool check(int result, struct want want)
{
    if (want.vector == -1) {
        expect_ok(result);
        return true;
    }
    if (want.vector == -2) {
        expect_exit(result, CPU_EXIT_UNSUPPORTED);
        assert_non_null(strstr(vcpu.exit_msg, "32-bit code segment not supported"));
        return false;
    }
    if (want.vector == -3) {
        assert_int_equal(vcpu.env.eip, TARGET);
        vcpu.env.eip = ENV_CODE; /* where a fault of the transfer itself would be */
        expect_fault(result, EXCP06_ILLOP, 0);
        vcpu.env.eip = TARGET;
        return true;
    }
    expect_fault(result, want.vector, want.error);
    return false;
}

static void push_frame(unsigned size, unsigned words, const uint64_t *frame)
{
    for (unsigned i = 0; i < words; i++) {
        env_write(vcpu.env.regs[R_ESP] + i * size, size, frame[i]);
    }
}

static void push_iret(uint64_t rip, uint64_t cs, uint64_t flags, uint64_t rsp, uint64_t ss)
{
    uint64_t frame[5] = {rip, cs, flags, rsp, ss};

    push_frame(8, 5, frame);
}

/* ---- the return's code segment ---- */

struct cs_case {
    unsigned type, dpl, rpl, cpl;
    bool p, l, d;
};

static struct want want_return_cs(const struct cs_case *c)
{
    bool conforming = (c->type & 0x1c) == 0x1c;

    if ((c->type & 0x18) != 0x18 || c->rpl < c->cpl ||
        (conforming ? c->dpl > c->rpl : c->dpl != c->rpl)) {
        return WANT(EXCP0D_GPF, SEL_TEST);
    }
    if (!c->p) {
        return WANT(EXCP0B_NOSEG, SEL_TEST);
    }
    if (!c->l) {
        return WANT_CS32(c->rpl);
    }
    return c->d ? WANT(EXCP0D_GPF, SEL_TEST) : WANT_OK;
}

/* All types, DPL, RPL, CPL, P, L, D; for iretq and lretq. */
static void test_return_cs(void **state)
{
    for (unsigned n = 0; n < 1u << 15; n++) {
        struct cs_case c = {
            n & 31, n >> 5 & 3, n >> 7 & 3, n >> 9 & 3, n >> 11 & 1, n >> 12 & 1, n >> 13 & 1,
        };
        bool iret = n >> 14;
        uint64_t retf[4] = {TARGET, SEL_TEST | c.rpl, 0x12340, env_data_sel[c.rpl]};

        env_reset();
        env_set_cpl(c.cpl);
        env_set_gdt(SEL_TEST, desc_make(c.type, c.dpl, c.p, c.l, c.d));
        if (iret) {
            push_iret(TARGET, SEL_TEST | c.rpl, 2, 0x12340, env_data_sel[c.rpl]);
        } else {
            push_frame(8, 4, retf);
        }
        if (check(iret ? EXEC(IRETQ) : EXEC("\x48\xcb"), want_return_cs(&c))) {
            uint64_t same = (c.cpl == 3 ? ENV_USTACK : ENV_KSTACK) + 16;

            assert_int_equal(vcpu.env.eip, TARGET);
            assert_int_equal(vcpu.env.cpl, c.rpl);
            assert_int_equal(vcpu.env.segs[R_CS].selector, SEL_TEST | c.rpl);
            assert_int_equal(vcpu_vp.sel[R_CS], SEL_TEST | c.rpl);
            assert_int_equal(!(vcpu.env.segs[R_CS].flags & DESC_L_MASK), !c.l);
            assert_true(env_get_gdt(SEL_TEST) >> 40 & 1);
            assert_int_equal(vcpu.env.segs[R_SS].selector, env_data_sel[c.rpl]);
            assert_int_equal(vcpu.env.regs[R_ESP], iret || c.rpl > c.cpl ? 0x12340 : same);
        }
    }
}

static struct want want_return_ss(unsigned type, unsigned dpl, unsigned ss_rpl, bool p,
                                  unsigned rpl)
{
    if (ss_rpl != rpl || (type & 0x1a) != 0x12 || dpl != rpl) {
        return WANT(EXCP0D_GPF, SEL_TEST);
    }
    return p ? WANT_OK : WANT(EXCP0C_STACK, SEL_TEST);
}

/* The stack segment of a return to each level from each level. */
static void test_return_ss(void **state)
{
    for (unsigned n = 0; n < 1u << 15; n++) {
        unsigned type = n & 31, dpl = n >> 5 & 3, ss_rpl = n >> 7 & 3, p = n >> 9 & 1,
                 rpl = n >> 10 & 3;
        unsigned cpl = n >> 12 & 3;
        bool iret = n >> 14;
        uint64_t retf[4] = {TARGET, env_code_sel[rpl], 0x12340, SEL_TEST | ss_rpl};

        if (rpl < cpl || (!iret && rpl == cpl)) {
            continue;
        }
        env_reset();
        env_set_cpl(cpl);
        env_set_gdt(SEL_TEST, desc_make(type, dpl, p, 0, 1));
        if (iret) {
            push_iret(TARGET, env_code_sel[rpl], 2, 0x12340, SEL_TEST | ss_rpl);
        } else {
            push_frame(8, 4, retf);
        }
        if (check(iret ? EXEC(IRETQ) : EXEC("\x48\xcb"),
                  want_return_ss(type, dpl, ss_rpl, p, rpl))) {
            assert_int_equal(vcpu.env.segs[R_SS].selector, SEL_TEST | ss_rpl);
            assert_int_equal(DESC_DPL(vcpu.env.segs[R_SS].flags), rpl);
            assert_true(env_get_gdt(SEL_TEST) >> 40 & 1);
        }
    }
}

/* Null SS: only for CPL < 3, with RPL = the new CPL. */
static void test_return_null_ss(void **state)
{
    for (unsigned n = 0; n < 64; n++) {
        unsigned ss = n & 3, rpl = n >> 2 & 3, cpl = n >> 4;

        if (rpl < cpl) {
            continue;
        }
        env_reset();
        env_set_cpl(cpl);
        push_iret(TARGET, env_code_sel[rpl], 2, 0x12340, ss);
        if (check(EXEC(IRETQ), rpl == 3 || ss != rpl ? WANT(EXCP0D_GPF, 0) : WANT_OK)) {
            assert_int_equal(vcpu.env.segs[R_SS].selector, ss);
            assert_int_equal(vcpu_vp.sel[R_SS], ss);
        }
    }
}

/* Flags that iret loads, by CPL, IOPL and operand size: every image bit against an all-0 and an
 * all-1 state. */
static void test_iret_flags(void **state)
{
    const uint64_t base = CC_ALL | TF_MASK | DF_MASK | NT_MASK;

    for (unsigned n = 0; n < 4 * 4 * 3 * 2; n++) {
        unsigned cpl = n & 3, iopl = n >> 2 & 3, size = 2u << (n >> 4) % 3;
        bool ones = n >= 48;
        uint64_t old = (uint64_t)iopl << 12 | 2, image = ~0ull, mask = base;
        uint64_t frame[5] = {TARGET, env_code_sel[cpl], 0, 0x3210, env_data_sel[cpl]};
        uint64_t all =
            CC_ALL | DF_MASK | TF_MASK | IF_MASK | AC_MASK | ID_MASK; /* not NT: it would fault */

        env_reset();
        env_set_cpl(cpl);
        vcpu.env.eflags = old | (ones ? all : 0);
        old = vcpu.env.eflags;
        image = ones ? 0 : ~0ull;
        frame[2] = image;
        mask |= size > 2 ? AC_MASK | ID_MASK : 0;
        mask |= cpl <= iopl ? IF_MASK : 0;
        mask |= cpl == 0 ? IOPL_MASK : 0;
        env_protect(0x1000 * (TARGET >> 12), PERM_P | PERM_W | PERM_U);
        if (size == 2) {
            frame[0] = 0x1234;
        }
        push_frame(size, 5, frame);
        expect_ok(size == 8 ? EXEC(IRETQ) : size == 4 ? EXEC(IRETD) : EXEC(IRETW));
        assert_int_equal(vcpu.env.eflags, (old & ~mask) | (image & mask));
        assert_int_equal(vcpu.env.regs[R_ESP], 0x3210);
        assert_int_equal(vcpu.env.eip, frame[0]);
    }
}

/* To a code segment that is not 64-bit: rip loses its upper half and must lie within the limit. */
static void test_return_cs32_rip(void **state)
{
    for (unsigned iret = 0; iret < 2; iret++) {
        for (unsigned big = 0; big < 2; big++) {
            uint64_t descriptor = desc_make(0x1b, 3, 1, 0, 1);
            uint64_t rip = 0xfedc000000000000ull + (big ? 0x50001 : 0x4ffff);
            uint64_t retf[4] = {rip, SEL_TEST | 3, 0x12340, SEL_UDATA | 3};

            env_reset();
            descriptor = (descriptor & ~0x008f00000000ffffull) | 0x0004000000000000ull | 0xffff; /* limit 4ffff */
            env_set_gdt(SEL_TEST, descriptor);
            if (iret) {
                push_iret(rip, SEL_TEST | 3, 2, 0x12340, SEL_UDATA | 3);
            } else {
                push_frame(8, 4, retf);
            }
            if (big) {
                expect_fault(iret ? EXEC(IRETQ) : EXEC("\x48\xcb"), EXCP0D_GPF, 0);
                assert_int_equal(vcpu.env.cpl, 0);
            } else {
                assert_int_equal(iret ? EXEC(IRETQ) : EXEC("\x48\xcb"), 1);
                assert_int_equal(vcpu.exception_index, EXCP06_ILLOP);
                assert_int_equal(vcpu.env.eip, 0x4ffff);
                assert_int_equal(vcpu.env.cpl, 3);
            }
        }
    }
}

static void test_iret_conditions(void **state)
{
    env_reset();
    vcpu.env.eflags |= NT_MASK;
    expect_fault(EXEC(IRETQ), EXCP0D_GPF, 0);
    for (unsigned cs = 0; cs < 4; cs++) {
        env_reset();
        push_iret(TARGET, cs, 2, 0x12340, SEL_KDATA);
        expect_fault(EXEC(IRETQ), EXCP0D_GPF, 0);
    }
    env_reset();
    push_iret(TARGET, SEL_BEYOND | 3, 2, 0x12340, SEL_UDATA | 3);
    expect_fault(EXEC(IRETQ), EXCP0D_GPF, SEL_BEYOND);
    env_reset();
    push_iret(TARGET, SEL_UCODE | 3, 2, 0x12340, SEL_BEYOND | 3);
    expect_fault(EXEC(IRETQ), EXCP0D_GPF, SEL_BEYOND);
    env_reset();
    push_iret(1ull << 47, SEL_KCODE, 2, 0x12340, SEL_KDATA);
    expect_fault(EXEC(IRETQ), EXCP0D_GPF, 0);
    assert_int_equal(vcpu.env.regs[R_ESP], ENV_KSTACK);
    env_reset(); /* rsp itself may be anything */
    push_iret(TARGET, SEL_KCODE, 2, 0xdead000000000000ull, SEL_KDATA);
    expect_ok(EXEC(IRETQ));
    assert_int_equal(vcpu.env.regs[R_ESP], 0xdead000000000000ull);
    env_reset(); /* a frame that is not canonical, or whose last byte is not */
    vcpu.env.regs[R_ESP] = 1ull << 60;
    expect_fault(EXEC(IRETQ), EXCP0C_STACK, 0);
    env_reset();
    vcpu.env.regs[R_ESP] = 0x800000000000ull - 39;
    expect_fault(EXEC(IRETQ), EXCP0C_STACK, 0);
    env_reset(); /* #PF on the frame's second page, with user rights */
    env_set_cpl(3);
    vcpu.env.regs[R_ESP] = 0x38fe8;
    env_protect(0x39000, 0);
    expect_fault(EXEC(IRETQ), EXCP0E_PAGE, 4);
    assert_int_equal(vcpu.env.cr[2], 0x39000);
}

/* To CPL 3: segments that CPL 3 may not hold become null; null ones and conforming code stay. */
static void test_outer_return_nulls(void **state)
{
    static const unsigned segs[4] = {R_ES, R_DS, R_FS, R_GS};

    for (unsigned n = 0; n < 4 * 4; n++) {
        unsigned seg = segs[n & 3], kind = n >> 2;
        uint16_t sel = kind == 0   ? SEL_KDATA
                       : kind == 1 ? SEL_UDATA | 3
                       : kind == 2 ? SEL_CONF0
                                   : 0;
        uint32_t flags = kind == 0   ? FLAT_DATA(0)
                         : kind == 1 ? FLAT_DATA(3)
                                     : FLAT_CODE64(0) | DESC_C_MASK;

        env_reset();
        cpu_x86_load_seg_cache(&vcpu, seg, sel, 0x1234, 0xffffffff, kind == 3 ? 0 : flags);
        push_iret(TARGET, SEL_UCODE | 3, 2, ENV_USTACK, SEL_UDATA | 3);
        expect_ok(EXEC(IRETQ));
        assert_int_equal(vcpu.env.segs[seg].selector, kind == 0 ? 0 : sel);
        assert_int_equal(vcpu.env.segs[seg].base, kind == 0 ? 0 : 0x1234);
        assert_int_equal(vcpu_vp.sel[seg], kind == 0 ? 0 : sel);
    }
}

/* ret far imm16 releases bytes on both stacks; sizes 2, 4, 8. */
static void test_retf_sizes(void **state)
{
    for (unsigned n = 0; n < 3 * 2 * 2; n++) {
        unsigned size = 2u << n % 3, release = n / 3 & 1 ? 0x20 : 0;
        bool outer = n / 6;
        uint64_t frame[2] = {0x1234, outer ? SEL_UCODE | 3 : SEL_KCODE},
                 stack[2] = {0x3210, SEL_UDATA | 3};
        int r;

        env_reset();
        push_frame(size, 2, frame);
        vcpu.env.regs[R_ESP] += 2 * size + release;
        push_frame(size, 2, stack);
        vcpu.env.regs[R_ESP] = ENV_KSTACK;
        if (release) {
            r = size == 8   ? EXEC("\x48\xca\x20\x00")
                : size == 4 ? EXEC("\xca\x20\x00")
                            : EXEC("\x66\xca\x20\x00");
        } else {
            r = size == 8 ? EXEC("\x48\xcb") : size == 4 ? EXEC("\xcb") : EXEC("\x66\xcb");
        }
        expect_ok(r);
        assert_int_equal(vcpu.env.eip, 0x1234);
        assert_int_equal(vcpu.env.cpl, outer ? 3 : 0);
        assert_int_equal(vcpu.env.regs[R_ESP], (outer ? 0x3210 : ENV_KSTACK + 2 * size) + release);
    }
    env_reset();
    vcpu.env.regs[R_ESP] = 0x800000000000ull - 15;
    expect_fault(EXEC("\x48\xcb"), EXCP0C_STACK, 0);
    env_reset();
    push_frame(8, 2, (const uint64_t[2]){1ull << 63, SEL_KCODE});
    expect_fault(EXEC("\x48\xcb"), EXCP0D_GPF, 0);
    env_reset();
    push_frame(8, 2, (const uint64_t[2]){TARGET, 3});
    expect_fault(EXEC("\x48\xcb"), EXCP0D_GPF, 0);
}

/* ---- far call and jmp ---- */

#define CALL_FAR "\x48\xff\x1b" /* [rbx], m16:64 */
#define JMP_FAR  "\x48\xff\x2b"

static void far_pointer(uint64_t offset, uint16_t selector)
{
    vcpu.env.regs[R_EBX] = ENV_DATA;
    env_write(ENV_DATA, 8, offset);
    env_write(ENV_DATA + 8, 2, selector);
}

static struct want want_direct(const struct cs_case *c)
{
    bool conforming = (c->type & 0x1c) == 0x1c;

    if ((c->type & 0x18) != 0x18) {
        return WANT(EXCP0D_GPF, SEL_TEST); /* data, or a system type: gates are tested apart */
    }
    if (conforming ? c->dpl > c->cpl : c->rpl > c->cpl || c->dpl != c->cpl) {
        return WANT(EXCP0D_GPF, SEL_TEST);
    }
    if (!c->p) {
        return WANT(EXCP0B_NOSEG, SEL_TEST);
    }
    if (!c->l) {
        return WANT_CS32(c->cpl);
    }
    return c->d ? WANT(EXCP0D_GPF, SEL_TEST) : WANT_OK;
}

static void test_far_direct(void **state)
{
    for (unsigned n = 0; n < 1u << 15; n++) {
        struct cs_case c = {
            n & 31, n >> 5 & 3, n >> 7 & 3, n >> 9 & 3, n >> 11 & 1, n >> 12 & 1, n >> 13 & 1,
        };
        bool call = n >> 14;
        uint64_t rsp;

        if (c.type == SYS_CALL_GATE) {
            continue;
        }
        env_reset();
        env_set_cpl(c.cpl);
        rsp = vcpu.env.regs[R_ESP];
        env_set_gdt(SEL_TEST, desc_make(c.type, c.dpl, c.p, c.l, c.d));
        far_pointer(TARGET, (uint16_t)(SEL_TEST | c.rpl));
        if (check(call ? EXEC(CALL_FAR) : EXEC(JMP_FAR), want_direct(&c))) {
            assert_int_equal(vcpu.env.eip, TARGET);
            assert_int_equal(vcpu.env.cpl, c.cpl);
            assert_int_equal(vcpu.env.segs[R_CS].selector, SEL_TEST | c.cpl);
            assert_int_equal(vcpu_vp.sel[R_CS], SEL_TEST | c.cpl);
            assert_int_equal(vcpu.env.regs[R_ESP], call ? rsp - 16 : rsp);
            if (call) {
                assert_int_equal(env_read(rsp - 8, 8), env_code_sel[c.cpl]);
                assert_int_equal(env_read(rsp - 16, 8), ENV_CODE + 3);
            }
        } else {
            assert_int_equal(vcpu.env.regs[R_ESP], rsp);
        }
    }
}

static void test_far_conditions(void **state)
{
    for (unsigned call = 0; call < 2; call++) {
        env_reset();
        far_pointer(TARGET, 3);
        expect_fault(call ? EXEC(CALL_FAR) : EXEC(JMP_FAR), EXCP0D_GPF, 0);
        env_reset();
        far_pointer(TARGET, SEL_BEYOND);
        expect_fault(call ? EXEC(CALL_FAR) : EXEC(JMP_FAR), EXCP0D_GPF, SEL_BEYOND);
        env_reset();
        far_pointer(1ull << 47, SEL_KCODE);
        expect_fault(call ? EXEC(CALL_FAR) : EXEC(JMP_FAR), EXCP0D_GPF, 0);
        env_reset();
        vcpu.env.regs[R_EBX] = 0x800000000000ull - 9;
        expect_fault(call ? EXEC(CALL_FAR) : EXEC(JMP_FAR), EXCP0D_GPF, 0);
        env_reset(); /* the operand on the stack: #SS */
        vcpu.env.regs[R_EBP] = 1ull << 50;
        expect_fault(call ? EXEC("\x48\xff\x5d\x00") : EXEC("\x48\xff\x6d\x00"), EXCP0C_STACK, 0);
        env_reset(); /* m16:32 */
        far_pointer(0, 0);
        env_write(ENV_DATA, 8, (uint64_t)SEL_KCODE << 32 | TARGET);
        expect_ok(call ? EXEC("\xff\x1b") : EXEC("\xff\x2b"));
        assert_int_equal(vcpu.env.eip, TARGET);
        assert_int_equal(vcpu.env.regs[R_ESP], ENV_KSTACK - (call ? 8 : 0));
        if (call) {
            assert_int_equal(env_read(ENV_KSTACK - 8, 8),
                             (uint64_t)SEL_KCODE << 32 | (ENV_CODE + 2));
        }
    }
    env_reset();
    far_pointer(TARGET, SEL_KCODE);
    vcpu.env.regs[R_ESP] = (1ull << 63) + 16;
    expect_fault(EXEC(CALL_FAR), EXCP0C_STACK, 0);
    env_reset();
    far_pointer(TARGET, SEL_KCODE);
    env_protect(ENV_KSTACK - 16, PERM_P);
    expect_fault(EXEC(CALL_FAR), EXCP0E_PAGE, 3);
    assert_int_equal(vcpu.env.regs[R_ESP], ENV_KSTACK);
}

/* The gate itself: type, DPL, RPL, CPL, P. */
static void test_call_gate(void **state)
{
    for (unsigned n = 0; n < 1u << 13; n++) {
        unsigned type = n & 31, dpl = n >> 5 & 3, rpl = n >> 7 & 3, cpl = n >> 9 & 3,
                 p = n >> 11 & 1;
        bool call = n >> 12;
        struct want want = WANT_OK;
        uint64_t rsp, top;

        if (type & 0x10) {
            continue; /* not a system descriptor */
        }
        env_reset();
        env_set_cpl(cpl);
        rsp = vcpu.env.regs[R_ESP];
        env_set_call_gate(SEL_TEST, type, dpl, p, call ? SEL_KCODE : SEL_CONF0,
                          TARGET | 0xffff800000000000ull);
        far_pointer(0xdead, (uint16_t)(SEL_TEST | rpl));
        if (type != SYS_CALL_GATE || dpl < cpl || dpl < rpl) {
            want = WANT(EXCP0D_GPF, SEL_TEST);
        } else if (!p) {
            want = WANT(EXCP0B_NOSEG, SEL_TEST);
        }
        if (!check(call ? EXEC(CALL_FAR) : EXEC(JMP_FAR), want)) {
            continue;
        }
        assert_int_equal(vcpu.env.eip, TARGET | 0xffff800000000000ull);
        assert_int_equal(vcpu.env.cpl, call ? 0 : cpl);
        if (!call) {
            assert_int_equal(vcpu.env.regs[R_ESP], rsp);
            continue;
        }
        top = cpl ? ENV_RSP(0) : rsp;
        assert_int_equal(vcpu.env.regs[R_ESP], top - (cpl ? 32 : 16));
        assert_int_equal(env_read(vcpu.env.regs[R_ESP], 8), ENV_CODE + 3);
        assert_int_equal(env_read(vcpu.env.regs[R_ESP] + 8, 8), env_code_sel[cpl]);
        if (cpl) {
            assert_int_equal(env_read(top - 16, 8), rsp);
            assert_int_equal(env_read(top - 8, 8), env_data_sel[cpl]);
        }
        assert_int_equal(vcpu.env.segs[R_SS].selector, cpl ? 0 : SEL_KDATA);
    }
}

/* The code segment behind a gate, from CPL 1, 2, 3. */
static void test_call_gate_cs(void **state)
{
    const uint16_t cs = SEL_LDT; /* its two slots serve as the code descriptor here */

    for (unsigned n = 0; n < 1u << 13; n++) {
        unsigned type = n & 31, dpl = n >> 5 & 3, p = n >> 7 & 1, l = n >> 8 & 1, d = n >> 9 & 1,
                 cpl = n >> 10 & 3;
        bool call = n >> 12, conforming = (type & 0x1c) == 0x1c;
        struct want want = WANT_OK;

        env_reset();
        env_set_cpl(cpl);
        env_set_call_gate(SEL_TEST, SYS_CALL_GATE, 3, true, cs | 2, TARGET);
        env_set_gdt(cs, desc_make(type, dpl, p, l, d));
        far_pointer(0, SEL_TEST);
        if ((type & 0x18) != 0x18 || dpl > cpl || (!call && !conforming && dpl != cpl) || !l || d) {
            want = WANT(EXCP0D_GPF, cs);
        } else if (!p) {
            want = WANT(EXCP0B_NOSEG, cs);
        }
        if (check(call ? EXEC(CALL_FAR) : EXEC(JMP_FAR), want)) {
            assert_int_equal(vcpu.env.cpl, conforming ? cpl : dpl);
            assert_int_equal(vcpu.env.segs[R_CS].selector, cs | vcpu.env.cpl);
            if (call && vcpu.env.cpl < cpl) {
                assert_int_equal(vcpu.env.regs[R_ESP], ENV_RSP(vcpu.env.cpl) - 32);
                assert_int_equal(vcpu.env.segs[R_SS].selector, vcpu.env.cpl);
            }
        }
    }
}

static void gate_from_user(uint16_t selector, uint64_t offset)
{
    env_reset();
    env_set_cpl(3);
    env_set_call_gate(SEL_TEST, SYS_CALL_GATE, 3, true, selector, offset);
    far_pointer(0, SEL_TEST);
}

static void test_call_gate_conditions(void **state)
{
    gate_from_user(2, TARGET);
    expect_fault(EXEC(CALL_FAR), EXCP0D_GPF, 0);
    gate_from_user(SEL_BEYOND, TARGET);
    expect_fault(EXEC(CALL_FAR), EXCP0D_GPF, SEL_BEYOND);
    gate_from_user(SEL_KCODE, 1ull << 47);
    expect_fault(EXEC(CALL_FAR), EXCP0D_GPF, 0);
    gate_from_user(SEL_KCODE, TARGET); /* upper half has a type */
    env_write(ENV_GDT + SEL_TEST + 13, 1, 1);
    expect_fault(EXEC(CALL_FAR), EXCP0D_GPF, SEL_TEST);
    gate_from_user(SEL_KCODE, TARGET); /* upper half beyond the limit */
    vcpu.env.gdt.limit = SEL_TEST + 14;
    expect_fault(EXEC(CALL_FAR), EXCP0D_GPF, SEL_TEST);
    gate_from_user(SEL_KCODE, TARGET);
    vcpu.env.tr.limit = TSS_RSP(0) + 6;
    expect_fault(EXEC(CALL_FAR), EXCP0A_TSS, SEL_TSS);
    gate_from_user(SEL_KCODE, TARGET);
    env_write(ENV_TSS + TSS_RSP(0), 8, 1ull << 47);
    expect_fault(EXEC(CALL_FAR), EXCP0C_STACK, 0);
    gate_from_user(SEL_KCODE, TARGET); /* the frame reaches below the canonical half */
    env_write(ENV_TSS + TSS_RSP(0), 8, 0xffff800000000010ull);
    expect_fault(EXEC(CALL_FAR), EXCP0C_STACK, 0);
    gate_from_user(SEL_KCODE, TARGET);
    env_protect(ENV_RSP(0) - 8, PERM_P);
    expect_fault(EXEC(CALL_FAR), EXCP0E_PAGE, 3);
    assert_int_equal(vcpu.env.cpl, 3);
    assert_int_equal(vcpu.env.segs[R_SS].selector, SEL_UDATA | 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_return_cs),       cmocka_unit_test(test_return_ss),
        cmocka_unit_test(test_return_null_ss),  cmocka_unit_test(test_iret_flags),
        cmocka_unit_test(test_iret_conditions), cmocka_unit_test(test_return_cs32_rip), cmocka_unit_test(test_outer_return_nulls),
        cmocka_unit_test(test_retf_sizes),      cmocka_unit_test(test_far_direct),
        cmocka_unit_test(test_far_conditions),  cmocka_unit_test(test_call_gate),
        cmocka_unit_test(test_call_gate_cs),    cmocka_unit_test(test_call_gate_conditions),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    printf("test-vcpu-far: %u cases\n", env_cases);
    return failed;
}
