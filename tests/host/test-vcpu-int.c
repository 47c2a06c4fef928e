/* SPDX-License-Identifier: MIT */
/* Delivery of exceptions and interrupts: frames byte by byte, gates enumerated, double and triple
 * faults. */
#include "tests/host/vcpu-env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const int faults_rf[] = {0, 5, 6, 7, 9, 10, 11, 12, 13, 14, 16, 17, 19, 20};

static bool in_list(int v, const int *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i] == v) {
            return true;
        }
    }
    return false;
}

static bool pushes_error(int v)
{
    static const int list[] = {8, 10, 11, 12, 13, 14, 17};

    return in_list(v, list, ARRAY_SIZE(list));
}

static void deliver_exception(int vector, uint64_t error)
{
    raise_exception_err(&vcpu, vector, error);
    do_interrupt(&vcpu);
}

static void deliver_soft(int vector)
{
    char code[2] = {(char)0xcd, (char)vector};

    assert_int_equal(env_exec(code, 2), 1);
    assert_true(vcpu.exception_is_int);
    do_interrupt(&vcpu);
}

static void expect_delivered(unsigned vector)
{
    if (vcpu.env.eip != ENV_HANDLER(vector)) {
        fail_msg("expected the handler of vector %u, rip is %#lx (%s)", vector, vcpu.env.eip,
                 vcpu.exit_msg);
    }
    assert_int_equal(vcpu.exception_index, EXCP_NONE);
    assert_int_equal(vcpu.old_exception, EXCP_NONE);
    assert_int_equal(vcpu.exit_request, CPU_RUNNING);
    env_cases++;
}

/* The five words below `top`, with or without error code. */
static void expect_frame(uint64_t top, bool error, uint64_t code, uint64_t rip, uint64_t cs,
                         uint64_t flags, uint64_t rsp, uint64_t ss)
{
    top &= ~15ull;
    assert_int_equal(env_read(top - 8, 8), ss);
    assert_int_equal(env_read(top - 16, 8), rsp);
    assert_int_equal(env_read(top - 24, 8), flags);
    assert_int_equal(env_read(top - 32, 8), cs);
    assert_int_equal(env_read(top - 40, 8), rip);
    if (error) {
        assert_int_equal(env_read(top - 48, 8), code);
    }
    assert_int_equal(vcpu.env.regs[R_ESP], top - (error ? 48 : 40));
}

/* Every vector, from every level, as exception, as software interrupt and as hardware interrupt. */
static void test_frames(void **state)
{
    for (unsigned n = 0; n < 256 * 4 * 3; n++) {
        unsigned vector = n & 255, cpl = n >> 8 & 3, kind = n >> 10;
        bool error, rf;
        uint64_t rsp;

        env_reset();
        env_set_cpl(cpl);
        env_set_gate(vector, vector & 1 ? 15 : 14, 3, true, SEL_KCODE, ENV_HANDLER(vector), 0);
        vcpu.env.regs[R_ESP] -= vector & 0x3f; /* also unaligned */
        rsp = vcpu.env.regs[R_ESP];
        vcpu.env.eflags =
            2 | CC_ALL | DF_MASK | IF_MASK | TF_MASK | NT_MASK | AC_MASK | ID_MASK | IOPL_MASK;
        vcpu.env.inhibit_irq = 1;
        if (kind == 0) {
            deliver_exception((int)vector, 0x12345678);
        } else if (kind == 1) {
            deliver_soft((int)vector);
        } else {
            do_interrupt_hard(&vcpu, (int)vector);
        }
        expect_delivered(vector);
        error = kind == 0 && pushes_error((int)vector);
        rf = kind == 0 && (vector > 20 || in_list((int)vector, faults_rf, ARRAY_SIZE(faults_rf)) ||
                           vector == 15);
        expect_frame(
            cpl ? ENV_RSP(0) : rsp, error, 0x12345678, ENV_CODE + (kind == 1 ? 2 : 0),
            env_code_sel[cpl],
            (2 | CC_ALL | DF_MASK | IF_MASK | TF_MASK | NT_MASK | AC_MASK | ID_MASK | IOPL_MASK) |
                (rf ? RF_MASK : 0),
            rsp, env_data_sel[cpl]);
        assert_int_equal(vcpu.env.eflags, 2 | CC_ALL | DF_MASK | AC_MASK | ID_MASK | IOPL_MASK |
                                              (vector & 1 ? IF_MASK : 0));
        assert_int_equal(vcpu.env.cpl, 0);
        assert_int_equal(vcpu.env.segs[R_CS].selector, SEL_KCODE);
        assert_int_equal(vcpu_vp.sel[R_CS], SEL_KCODE);
        assert_int_equal(vcpu.env.segs[R_SS].selector, cpl ? 0 : SEL_KDATA);
        assert_int_equal(vcpu_vp.sel[R_SS], cpl ? 0 : SEL_KDATA);
        assert_int_equal(vcpu.env.inhibit_irq, 0);
    }
}

/* RF as it is goes into an interrupt's frame, and is clear in the handler. */
static void test_rf(void **state)
{
    env_reset();
    vcpu.env.eflags = 2 | RF_MASK;
    do_interrupt_hard(&vcpu, 77);
    expect_delivered(77);
    expect_frame(ENV_KSTACK, false, 0, ENV_CODE, SEL_KCODE, 2 | RF_MASK, ENV_KSTACK, SEL_KDATA);
    assert_int_equal(vcpu.env.eflags, 2);
}

/* IST 1-7 switch stacks at every level; without IST the stack is TSS.RSPn of the target level. */
static void test_stacks(void **state)
{
    for (unsigned n = 0; n < 4 * 4 * 8; n++) {
        unsigned cpl = n & 3, target = n >> 2 & 3, ist = n >> 4;
        uint64_t old_rsp;

        if (target > cpl) {
            continue;
        }
        env_reset();
        env_set_cpl(cpl);
        old_rsp = vcpu.env.regs[R_ESP];
        env_set_gate(77, 14, 0, true, env_code_sel[target] & ~3u, ENV_HANDLER(77), ist);
        for (unsigned i = 0; i < 3; i++) {
            env_protect(ENV_RSP(i) - 8, PERM_P | PERM_W | (target == 3 ? PERM_U : 0));
        }
        for (unsigned i = 1; i < 8; i++) {
            env_protect(ENV_IST(i) - 8, PERM_P | PERM_W | (target == 3 ? PERM_U : 0));
        }
        do_interrupt_hard(&vcpu, 77);
        expect_delivered(77);
        expect_frame(ist            ? ENV_IST(ist)
                     : target < cpl ? ENV_RSP(target)
                                    : old_rsp,
                     false, 0, ENV_CODE, env_code_sel[cpl], 2, old_rsp, env_data_sel[cpl]);
        assert_int_equal(vcpu.env.cpl, target);
        assert_int_equal(vcpu.env.segs[R_CS].selector, env_code_sel[target]);
        assert_int_equal(vcpu.env.segs[R_SS].selector, target < cpl ? target : env_data_sel[cpl]);
    }
}

/* A conforming handler runs at the interrupted level, on its stack. */
static void test_conforming(void **state)
{
    for (unsigned cpl = 0; cpl < 4; cpl++) {
        env_reset();
        env_set_cpl(cpl);
        env_set_gate(77, 14, 0, true, SEL_CONF0, ENV_HANDLER(77), 0);
        do_interrupt_hard(&vcpu, 77);
        expect_delivered(77);
        assert_int_equal(vcpu.env.cpl, cpl);
        assert_int_equal(vcpu.env.segs[R_CS].selector, SEL_CONF0 | cpl);
        assert_int_equal(vcpu.env.segs[R_SS].selector, env_data_sel[cpl]);
        assert_int_equal(vcpu.env.regs[R_ESP], (cpl == 3 ? ENV_USTACK : ENV_KSTACK) - 40);
    }
}

/*
 * Vector 77 meets a condition that makes its delivery raise; the handler of what is raised must get
 * the frame with this error code. kind: 0 exception-like (hardware interrupt), 1 software
 * interrupt.
 */
static void expect_delivery_fault(unsigned kind, int vector, uint64_t error)
{
    uint64_t rsp = vcpu.env.regs[R_ESP], top = vcpu.env.cpl ? ENV_RSP(0) : rsp;
    uint16_t cs = vcpu.env.segs[R_CS].selector, ss = vcpu.env.segs[R_SS].selector;

    if (kind) {
        deliver_soft(77);
    } else {
        do_interrupt_hard(&vcpu, 77);
    }
    expect_delivered((unsigned)vector);
    expect_frame(top, true, error, ENV_CODE, cs, 2 | RF_MASK, rsp, ss);
}

/* Gate type, DPL, P at each CPL, hardware and software. */
static void test_gate_checks(void **state)
{
    for (unsigned n = 0; n < 32 * 4 * 2 * 4 * 2; n++) {
        unsigned type = n & 31, dpl = n >> 5 & 3, present = n >> 7 & 1, cpl = n >> 8 & 3,
                 soft = n >> 10;
        uint64_t err = 77 * 8 + 2 + !soft;

        env_reset();
        env_set_cpl(cpl);
        env_set_gate(77, type, dpl, present, SEL_KCODE, ENV_HANDLER(77), 0);
        if (type != 14 && type != 15) {
            expect_delivery_fault(soft, EXCP0D_GPF, err);
        } else if (soft && dpl < cpl) {
            expect_delivery_fault(soft, EXCP0D_GPF, err);
        } else if (!present) {
            expect_delivery_fault(soft, EXCP0B_NOSEG, err);
        } else if (soft) {
            deliver_soft(77);
            expect_delivered(77);
        } else {
            do_interrupt_hard(&vcpu, 77);
            expect_delivered(77);
        }
    }
}

/* The code segment in the gate: all types, levels, P, L, D. */
static void test_gate_cs(void **state)
{
    for (unsigned n = 0; n < 32 * 4 * 2 * 2 * 2 * 4 * 2; n++) {
        unsigned type = n & 31, dpl = n >> 5 & 3, p = n >> 7 & 1, l = n >> 8 & 1, d = n >> 9 & 1,
                 cpl = n >> 10 & 3;
        unsigned soft = n >> 12, ext = !soft;

        env_reset();
        env_set_cpl(cpl);
        env_set_gate(77, 14, 3, true, SEL_TEST | 2, ENV_HANDLER(77), 1);
        env_set_gdt(SEL_TEST, desc_make(type, dpl, p, l, d));
        if ((type & 0x18) != 0x18 || dpl > cpl) {
            expect_delivery_fault(soft, EXCP0D_GPF, SEL_TEST | ext);
        } else if (!p) {
            expect_delivery_fault(soft, EXCP0B_NOSEG, SEL_TEST | ext);
        } else if (!l || d) {
            expect_delivery_fault(soft, EXCP0D_GPF, SEL_TEST | ext);
        } else {
            env_protect(ENV_IST(1) - 8, PERM_P | PERM_W | PERM_U);
            do_interrupt_hard(&vcpu, 77);
            expect_delivered(77);
            assert_int_equal(vcpu.env.cpl, type & 4 ? cpl : dpl);
            assert_true(env_get_gdt(SEL_TEST) >> 40 & 1); /* accessed */
        }
    }
}

static void test_gate_misc(void **state)
{
    for (unsigned soft = 0; soft < 2; soft++) {
        unsigned ext = !soft;

        env_reset();
        vcpu.env.idt.limit = 77 * 16 + 14;
        expect_delivery_fault(soft, EXCP0D_GPF, 77 * 8 + 2 + ext);
        env_reset();
        vcpu.env.idt.limit = 77 * 16 + 15;
        do_interrupt_hard(&vcpu, 77);
        expect_delivered(77);

        for (uint16_t sel = 0; sel < 4; sel++) {
            env_reset();
            env_set_gate(77, 14, 0, true, sel, ENV_HANDLER(77), 0);
            expect_delivery_fault(soft, EXCP0D_GPF, ext);
        }
        env_reset();
        env_set_gate(77, 14, 0, true, SEL_BEYOND, ENV_HANDLER(77), 0);
        expect_delivery_fault(soft, EXCP0D_GPF, SEL_BEYOND | ext);
        env_reset(); /* in the LDT, which is not loaded */
        env_set_gate(77, 14, 0, true, 0x0c, ENV_HANDLER(77), 0);
        expect_delivery_fault(soft, EXCP0D_GPF, 0x0c | ext);
        env_reset();
        env_set_gate(77, 14, 0, true, SEL_KCODE, 1ull << 47, 0);
        expect_delivery_fault(soft, EXCP0D_GPF, ext);
        env_reset(); /* IST slot beyond the TSS limit */
        env_set_gate(77, 14, 0, true, SEL_KCODE, ENV_HANDLER(77), 7);
        vcpu.env.tr.limit = TSS_IST(7) + 6;
        expect_delivery_fault(soft, EXCP0A_TSS, SEL_TSS | ext);
        env_reset(); /* non-canonical stacks */
        env_set_gate(77, 14, 0, true, SEL_KCODE, ENV_HANDLER(77), 3);
        env_write(ENV_TSS + TSS_IST(3), 8, 1ull << 63);
        expect_delivery_fault(soft, EXCP0C_STACK, ext);
        env_reset(); /* the frame reaches below the canonical half */
        env_set_gate(77, 14, 0, true, SEL_KCODE, ENV_HANDLER(77), 3);
        env_write(ENV_TSS + TSS_IST(3), 8, 0xffff800000000010ull);
        expect_delivery_fault(soft, EXCP0C_STACK, ext);
        env_reset();
        env_set_cpl(3);
        env_set_gate(77, 14, 3, true, SEL_CODE1, ENV_HANDLER(77), 0);
        env_write(ENV_TSS + TSS_RSP(1), 8, 1ull << 47);
        expect_delivery_fault(soft, EXCP0C_STACK, ext);
    }
    env_reset(); /* 64-bit offset and the last limit byte of the RSP slot */
    env_set_cpl(3);
    env_set_gate(77, 14, 3, true, SEL_KCODE, 0xffff8123456789abull, 0);
    vcpu.env.tr.limit = TSS_RSP(0) + 7;
    do_interrupt_hard(&vcpu, 77);
    assert_int_equal(vcpu.env.eip, 0xffff8123456789abull);
    assert_int_equal(vcpu.env.cpl, 0);
    env_cases++;
}

/* The frame may end at the top of the lower canonical half, and cross pages; CR2 is that of the
 * first push. */
static void test_frame_edges(void **state)
{
    env_reset();
    vcpu.env.regs[R_ESP] = 0x800000000000ull;
    do_interrupt_hard(&vcpu, 77);
    expect_delivered(77);
    assert_int_equal(env_read(0x800000000000ull - 8, 8), SEL_KDATA);

    for (unsigned bad = 0; bad < 3; bad++) { /* upper, lower, both pages missing */
        env_reset();
        env_set_gate(77, 14, 0, true, SEL_KCODE, ENV_HANDLER(77), 1);
        env_set_gate(EXCP0E_PAGE, 14, 0, true, SEL_KCODE, ENV_HANDLER(14), 5);
        env_write(ENV_TSS + TSS_IST(1), 8, 0x22010);
        if (bad != 1) {
            env_protect(0x22000, 0);
        }
        if (bad != 0) {
            env_protect(0x21000, 0);
        }
        do_interrupt_hard(&vcpu, 77);
        expect_delivered(14);
        assert_int_equal(vcpu.env.cr[2], bad == 1 ? 0x22000 - 8 : 0x22010 - 8);
        assert_int_equal(vcpu.vp_view[0]->cr2, vcpu.env.cr[2]);
        expect_frame(ENV_IST(5), true, 2, ENV_CODE, SEL_KCODE, 2 | RF_MASK, ENV_KSTACK, SEL_KDATA);
    }
    env_reset(); /* a handler at CPL 3 gets its frame with user rights */
    env_set_cpl(3);
    env_set_gate(77, 14, 3, true, SEL_UCODE, ENV_HANDLER(77), 1);
    do_interrupt_hard(&vcpu, 77);
    expect_delivered(14);
    expect_frame(ENV_RSP(0), true, 7, ENV_CODE, SEL_UCODE | 3, 2 | RF_MASK, ENV_USTACK,
                 SEL_UDATA | 3);
}

/* ---- double and triple faults, SDM vol. 3 table 6-5 ---- */

/* Make the delivery of `vector` raise `second` (TS, NP, SS, GP or PF). False if that vector cannot
 * be made to. */
static bool sabotage(int vector, int second)
{
    unsigned v = (unsigned)vector;

    switch (second) {
    case EXCP0A_TSS: /* by a TSS without room for IST 7 */
        env_set_gate(v, 14, 0, true, SEL_KCODE, ENV_HANDLER(v), 7);
        vcpu.env.tr.limit = TSS_IST(7) + 6;
        return true;
    case EXCP0B_NOSEG:
        env_set_gate(v, 14, 0, false, SEL_KCODE, ENV_HANDLER(v), 0);
        return true;
    case EXCP0C_STACK:
        env_set_gate(v, 14, 0, true, SEL_KCODE, ENV_HANDLER(v), 6);
        env_write(ENV_TSS + TSS_IST(6), 8, 1ull << 48);
        return true;
    case EXCP0D_GPF:
        env_set_gate(v, 5, 0, true, SEL_KCODE, ENV_HANDLER(v), 0);
        return true;
    case EXCP0E_PAGE:
        env_set_gate(v, 14, 0, true, SEL_KCODE, ENV_HANDLER(v), 5);
        env_write(ENV_TSS + TSS_IST(5), 8, 0x1000);
        env_protect(0, 0);
        return true;
    default:
        return false;
    }
}

static bool is_contributory(int v)
{
    return v == 0 || (v >= 10 && v <= 13);
}

static uint64_t sabotage_error(int vector, int second)
{
    switch (second) {
    case EXCP0A_TSS:
        return SEL_TSS | 1;
    case EXCP0B_NOSEG:
    case EXCP0D_GPF:
        return (unsigned)vector * 8 + 3;
    case EXCP0C_STACK:
        return 1;
    default:
        return 2; /* #PF: write, supervisor */
    }
}

/* Pairs: each of 32 vectors as an exception, each raisable second. */
static void test_double_fault_pairs(void **state)
{
    static const int seconds[] = {10, 11, 12, 13, 14};

    for (int first = 0; first < 32; first++) {
        for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
            int second = seconds[i];
            bool df = (is_contributory(first) && is_contributory(second)) || first == EXCP0E_PAGE;

            env_reset();
            assert_true(sabotage(first, second));
            deliver_exception(first, 0x77);
            if (first == EXCP08_DBLE) {
                assert_int_equal(vcpu.exit_request, CPU_EXIT_TRIPLE_FAULT);
                assert_int_equal(vcpu.exception_index, EXCP_EXIT);
                assert_non_null(strstr(vcpu.exit_msg, "while delivering #DF"));
                assert_non_null(strstr(vcpu.exit_msg, exception_name(second)));
                env_cases++;
                continue;
            }
            expect_delivered(df ? 8 : (unsigned)second);
            expect_frame(ENV_KSTACK, true, df ? 0 : sabotage_error(first, second), ENV_CODE,
                         SEL_KCODE, 2 | (df ? 0 : RF_MASK), ENV_KSTACK, SEL_KDATA);
        }
    }
}

/* Interrupts are benign whatever their vector: int 13 and an external 14 do not make a double
 * fault. */
static void test_interrupts_benign(void **state)
{
    for (int vector = 0; vector < 256; vector++) {
        for (unsigned soft = 0; soft < 2; soft++) {
            if (vector == EXCP0B_NOSEG) {
                continue;
            }
            env_reset();
            env_set_gate((unsigned)vector, 14, 3, false, SEL_KCODE, ENV_HANDLER(vector), 0);
            if (soft) {
                deliver_soft(vector);
            } else {
                do_interrupt_hard(&vcpu, vector);
            }
            expect_delivered(EXCP0B_NOSEG);
            expect_frame(ENV_KSTACK, true, (unsigned)vector * 8 + 2 + !soft, ENV_CODE, SEL_KCODE,
                         2 | RF_MASK, ENV_KSTACK, SEL_KDATA);
        }
    }
}

/* The table itself, all pairs. */
static void test_check_exception(void **state)
{
    for (int first = -1; first < 256; first++) {
        for (int second = 0; second < 256; second++) {
            bool c2 = is_contributory(second), p2 = second == 14;
            int want = second;

            if (first == 8 && (c2 || p2)) {
                want = -1;
            } else if ((is_contributory(first) && c2) || (first == 14 && (c2 || p2))) {
                want = 8;
            }
            assert_int_equal(check_exception(first, second), want);
            env_cases++;
        }
    }
}

static void test_names(void **state)
{
    static const char *const name[] = {"int", "#DE", "#DB", "NMI", "#BP", "#OF", "#BR",
                                       "#UD", "#NM", "#DF", "int", "#TS", "#NP", "#SS",
                                       "#GP", "#PF", "int", "#MF", "#AC", "#MC", "#XM"};

    for (int v = -1; v < 256; v++) {
        assert_string_equal(exception_name(v), v < 20 ? name[v + 1] : "int");
        env_cases++;
    }
}

/* #GP -> #PF -> #GP -> #DF: the longest chain ends; with a broken #DF gate it is a triple fault; no
 * IDT: at once. */
static void test_chains(void **state)
{
    env_reset();
    sabotage(13, 14);
    env_set_gate(14, 14, 0, false, SEL_KCODE, ENV_HANDLER(14), 0);
    deliver_exception(13, 0);
    expect_delivered(8);

    env_reset();
    sabotage(13, 14);
    env_set_gate(14, 14, 0, false, SEL_KCODE, ENV_HANDLER(14), 0);
    env_set_gate(8, 0, 0, true, SEL_KCODE, ENV_HANDLER(8), 0);
    deliver_exception(13, 0x1230);
    assert_int_equal(vcpu.exit_request, CPU_EXIT_TRIPLE_FAULT);
    assert_non_null(strstr(vcpu.exit_msg, "#GP (vector 13, error 0x1230)"));
    assert_int_equal(vcpu.env.eip, ENV_CODE);
    assert_int_equal(vcpu.env.regs[R_ESP], ENV_KSTACK);
    env_cases++;

    for (int v = 0; v < 256; v++) {
        env_reset();
        vcpu.env.idt.limit = 0;
        do_interrupt_hard(&vcpu, v);
        assert_int_equal(vcpu.exit_request, CPU_EXIT_TRIPLE_FAULT);
        env_cases++;
    }
}

/* ---- instructions of int.c ---- */

static void test_int_instructions(void **state)
{
    env_reset(); /* int3: gate DPL matters, rip behind it */
    env_set_cpl(3);
    env_set_gate(3, 14, 3, true, SEL_KCODE, ENV_HANDLER(3), 0);
    assert_int_equal(EXEC("\xcc"), 1);
    do_interrupt(&vcpu);
    expect_delivered(3);
    expect_frame(ENV_RSP(0), false, 0, ENV_CODE + 1, SEL_UCODE | 3, 2, ENV_USTACK, SEL_UDATA | 3);

    env_reset();
    env_set_cpl(3);
    assert_int_equal(EXEC("\xcc"), 1);
    do_interrupt(&vcpu);
    expect_delivered(13);
    expect_frame(ENV_RSP(0), true, 3 * 8 + 2, ENV_CODE, SEL_UCODE | 3, 2 | RF_MASK, ENV_USTACK,
                 SEL_UDATA | 3);

    env_reset(); /* int1: no DPL check; its faults carry EXT; DR7.GD goes */
    env_set_cpl(3);
    vcpu.env.dr[7] |= DR7_GD;
    assert_int_equal(EXEC("\xf1"), 1);
    do_interrupt(&vcpu);
    expect_delivered(1);
    expect_frame(ENV_RSP(0), false, 0, ENV_CODE + 1, SEL_UCODE | 3, 2, ENV_USTACK, SEL_UDATA | 3);
    assert_int_equal(vcpu.env.dr[7], DR7_FIXED_1);
    env_reset();
    env_set_gate(1, 14, 0, false, SEL_KCODE, ENV_HANDLER(1), 0);
    assert_int_equal(EXEC("\xf1"), 1);
    do_interrupt(&vcpu);
    expect_delivered(11);
    expect_frame(ENV_KSTACK, true, 1 * 8 + 3, ENV_CODE, SEL_KCODE, 2 | RF_MASK, ENV_KSTACK,
                 SEL_KDATA);

    env_reset(); /* `int 1` is an ordinary software interrupt */
    env_set_cpl(3);
    vcpu.env.dr[7] |= DR7_GD;
    deliver_soft(1);
    expect_delivered(13);
    assert_true(vcpu.env.dr[7] & DR7_GD);
}

static void test_hlt(void **state)
{
    env_reset();
    vcpu.env.eflags |= IF_MASK;
    assert_int_equal(EXEC("\xf4"), 1);
    assert_int_equal(vcpu.exception_index, EXCP_HALTED);
    assert_int_equal(vcpu.env.eip, ENV_CODE + 1);
    do_interrupt(&vcpu); /* nothing to deliver */
    assert_int_equal(vcpu.env.eip, ENV_CODE + 1);
    env_reset();
    expect_exit(EXEC("\xf4"), CPU_EXIT_HALTED);
    assert_non_null(strstr(vcpu.exit_msg, "hlt with interrupts off"));
    for (unsigned cpl = 1; cpl < 4; cpl++) {
        env_reset();
        env_set_cpl(cpl);
        vcpu.env.eflags |= IOPL_MASK | IF_MASK;
        expect_fault(EXEC("\xf4"), EXCP0D_GPF, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_rf),
        cmocka_unit_test(test_stacks),
        cmocka_unit_test(test_conforming),
        cmocka_unit_test(test_gate_checks),
        cmocka_unit_test(test_gate_cs),
        cmocka_unit_test(test_gate_misc),
        cmocka_unit_test(test_frame_edges),
        cmocka_unit_test(test_double_fault_pairs),
        cmocka_unit_test(test_interrupts_benign),
        cmocka_unit_test(test_check_exception),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_int_instructions),
        cmocka_unit_test(test_hlt),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    printf("test-vcpu-int: %u cases\n", env_cases);
    return failed;
}
