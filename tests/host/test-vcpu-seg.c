/* SPDX-License-Identifier: MIT */
/* Segment registers and descriptor tables: every descriptor type, level and selector against the
 * manual's rules. */
#include "tests/host/vcpu-env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void set_ax(uint64_t value)
{
    vcpu.env.regs[R_EAX] = value;
}

/* mov sreg, eax */
static int mov_to(unsigned seg)
{
    char code[2] = {(char)0x8e, (char)(0xc0 | seg << 3)};

    return env_exec(code, 2);
}

/* ---- loads of DS, ES, FS, GS ---- */

static void test_load_data(void **state)
{
    static const unsigned segs[4] = {R_ES, R_DS, R_FS, R_GS};

    for (unsigned n = 0; n < 1u << 14; n++) {
        unsigned type = n & 31, dpl = n >> 5 & 3, rpl = n >> 7 & 3, cpl = n >> 9 & 3,
                 p = n >> 11 & 1;
        unsigned seg = segs[n >> 12 & 3];
        bool code = (type & 0x18) == 0x18, conforming = code && (type & 4),
             readable = !code || (type & 2);
        int r;

        env_reset();
        env_set_cpl(cpl);
        env_set_gdt(SEL_TEST, desc_make(type, dpl, p, 0, 1) | 0x12ull << 56 | 0x3456ull << 16);
        set_ax(0xffff0000u | SEL_TEST | rpl);
        r = mov_to(seg);
        if (!(type & 0x10) || !readable || (!conforming && (rpl > dpl || cpl > dpl))) {
            expect_fault(r, EXCP0D_GPF, SEL_TEST);
        } else if (!p) {
            expect_fault(r, EXCP0B_NOSEG, SEL_TEST);
        } else {
            expect_ok(r);
            assert_int_equal(vcpu.env.eip, ENV_CODE + 2);
            assert_int_equal(vcpu.env.segs[seg].selector, SEL_TEST | rpl);
            assert_int_equal(vcpu_vp.sel[seg], SEL_TEST | rpl);
            assert_int_equal(vcpu.env.segs[seg].base, 0x12003456);
            assert_int_equal(vcpu.env.segs[seg].limit, 0xffffffff);
            assert_int_equal(vcpu.env.segs[seg].flags, (env_get_gdt(SEL_TEST) >> 32) & 0xf0ff00);
            assert_true(env_get_gdt(SEL_TEST) >> 40 & 1);
            assert_int_equal(venv.hw_fs, seg == R_FS ? 0x12003456 : 0);
            assert_int_equal(venv.hw_gs, seg == R_GS ? 0x12003456 : 0);
            continue;
        }
        assert_true(vcpu.env.segs[seg].selector != (SEL_TEST | rpl));
        assert_int_equal(env_get_gdt(SEL_TEST) >> 40 & 1, type & 1);
    }
}

static void test_load_data_null(void **state)
{
    static const unsigned segs[4] = {R_ES, R_DS, R_FS, R_GS};

    for (unsigned n = 0; n < 4 * 4 * 4; n++) {
        unsigned seg = segs[n & 3], sel = n >> 2 & 3, cpl = n >> 4;

        env_reset();
        env_set_cpl(cpl);
        venv.hw_fs = venv.hw_gs = 0x7777;
        set_ax(sel);
        expect_ok(mov_to(seg));
        assert_int_equal(vcpu.env.segs[seg].selector, sel);
        assert_int_equal(vcpu_vp.sel[seg], sel);
        assert_int_equal(vcpu.env.segs[seg].limit | vcpu.env.segs[seg].flags, 0);
        assert_int_equal(venv.hw_fs, seg == R_FS ? 0 : 0x7777);
        assert_int_equal(venv.hw_gs, seg == R_GS ? 0 : 0x7777);
        set_ax(SEL_BEYOND | 3);
        vcpu.env.eip = ENV_CODE;
        expect_fault(mov_to(seg), EXCP0D_GPF, SEL_BEYOND);
    }
}

/* ---- SS ---- */

static void test_load_ss(void **state)
{
    for (unsigned n = 0; n < 1u << 13; n++) {
        unsigned type = n & 31, dpl = n >> 5 & 3, rpl = n >> 7 & 3, cpl = n >> 9 & 3,
                 p = n >> 11 & 1;
        bool lss = n >> 12;
        int r;

        env_reset();
        env_set_cpl(cpl);
        env_set_gdt(SEL_TEST, desc_make(type, dpl, p, 0, 1));
        if (lss) { /* lss rdx, [rbx] */
            vcpu.env.regs[R_EBX] = ENV_DATA;
            env_write(ENV_DATA, 8, 0x123456789abcdefull);
            env_write(ENV_DATA + 8, 2, SEL_TEST | rpl);
            r = EXEC("\x48\x0f\xb2\x13");
        } else {
            set_ax(SEL_TEST | rpl);
            r = mov_to(R_SS);
        }
        if ((type & 0x1a) != 0x12 || rpl != cpl || dpl != cpl) {
            expect_fault(r, EXCP0D_GPF, SEL_TEST);
            assert_int_equal(vcpu.env.regs[R_EDX], 0x2222222222222222ull);
        } else if (!p) {
            expect_fault(r, EXCP0C_STACK, SEL_TEST);
        } else {
            expect_ok(r);
            assert_int_equal(vcpu.env.segs[R_SS].selector, SEL_TEST | rpl);
            assert_int_equal(vcpu_vp.sel[R_SS], SEL_TEST | rpl);
            assert_int_equal(vcpu.env.inhibit_irq, lss ? 0 : INHIBIT_SS);
            assert_int_equal(vcpu.env.regs[R_EDX],
                             lss ? 0x123456789abcdefull : 0x2222222222222222ull);
        }
    }
}

static void test_load_ss_null(void **state)
{
    for (unsigned n = 0; n < 16; n++) {
        unsigned sel = n & 3, cpl = n >> 2;

        env_reset();
        env_set_cpl(cpl);
        set_ax(sel);
        if (cpl == 3 || sel != cpl) {
            expect_fault(mov_to(R_SS), EXCP0D_GPF, 0);
        } else {
            expect_ok(mov_to(R_SS));
            assert_int_equal(vcpu.env.segs[R_SS].selector, sel);
        }
    }
    env_reset();
    set_ax(SEL_BEYOND);
    expect_fault(mov_to(R_SS), EXCP0D_GPF, SEL_BEYOND);
}

/* Reads of selectors: 16 bits to memory, the operand size to registers. */
static void test_mov_from(void **state)
{
    for (unsigned seg = R_ES; seg <= R_GS; seg++) {
        char reg32[2] = {(char)0x8c, (char)(0xc1 | seg << 3)}; /* mov ecx, sreg */
        char reg16[3] = {0x66, (char)0x8c, (char)(0xc1 | seg << 3)};
        char reg64[3] = {0x49, (char)0x8c, (char)(0xc0 | seg << 3)}; /* mov r8, sreg */
        char mem[2] = {(char)0x8c, (char)(0x03 | seg << 3)};         /* mov [rbx], sreg */

        env_reset();
        vcpu.env.segs[seg].selector = 0xabc8;
        expect_ok(env_exec(reg32, 2));
        assert_int_equal(vcpu.env.regs[R_ECX], 0xabc8);
        vcpu.env.regs[R_ECX] = ~0ull;
        expect_ok(env_exec(reg16, 3));
        assert_int_equal(vcpu.env.regs[R_ECX], 0xffffffffffffabc8ull);
        expect_ok(env_exec(reg64, 3));
        assert_int_equal(vcpu.env.regs[R_R8], 0xabc8);
        vcpu.env.regs[R_EBX] = ENV_DATA;
        env_write(ENV_DATA, 8, ~0ull);
        expect_ok(env_exec(mem, 2));
        assert_int_equal(env_read(ENV_DATA, 8), 0xffffffffffffabc8ull);
    }
}

static void test_push_pop(void **state)
{
    env_reset();
    vcpu.env.segs[R_FS].selector = SEL_UDATA | 3;
    expect_ok(EXEC("\x0f\xa0")); /* push fs */
    assert_int_equal(vcpu.env.regs[R_ESP], ENV_KSTACK - 8);
    assert_int_equal(env_read(ENV_KSTACK - 8, 8), SEL_UDATA | 3);
    expect_ok(EXEC("\x0f\xa9")); /* pop gs */
    assert_int_equal(vcpu.env.regs[R_ESP], ENV_KSTACK);
    assert_int_equal(vcpu.env.segs[R_GS].selector, SEL_UDATA | 3);
    expect_ok(EXEC("\x66\x0f\xa8")); /* push gs, 16 bits */
    assert_int_equal(vcpu.env.regs[R_ESP], ENV_KSTACK - 2);
    env_write(ENV_KSTACK - 2, 2, 0);
    expect_ok(EXEC("\x66\x0f\xa1")); /* pop fs, 16 bits */
    assert_int_equal(vcpu.env.regs[R_ESP], ENV_KSTACK);
    assert_int_equal(vcpu.env.segs[R_FS].selector, 0);

    env_reset();
    env_write(ENV_KSTACK, 8, SEL_BEYOND);
    expect_fault(EXEC("\x0f\xa1"), EXCP0D_GPF, SEL_BEYOND);
    assert_int_equal(vcpu.env.regs[R_ESP], ENV_KSTACK);
    vcpu.env.regs[R_ESP] = 1ull << 47;
    expect_fault(EXEC("\x0f\xa1"), EXCP0C_STACK, 0);
    vcpu.env.regs[R_ESP] = 0;
    env_reset();
    vcpu.env.regs[R_ESP] = 0xffff800000000004ull;
    expect_fault(EXEC("\x0f\xa0"), EXCP0C_STACK, 0);
}

/* lfs, lgs with each operand size; a fault leaves register and segment alone. */
static void test_lfs_lgs(void **state)
{
    for (unsigned n = 0; n < 6; n++) {
        unsigned size = 2u << n % 3, seg = n < 3 ? R_FS : R_GS;
        char code[4] = {size == 8 ? 0x48 : 0x66, 0x0f, (char)(seg == R_FS ? 0xb4 : 0xb5),
                        0x0b}; /* rcx, [rbx] */
        const char *start = size == 4 ? code + 1 : code;
        unsigned len = size == 4 ? 3 : 4;
        uint64_t old = 0x1111111111111111ull;

        env_reset();
        vcpu.env.regs[R_EBX] = ENV_DATA;
        env_write(ENV_DATA, 8, 0x8877665544332211ull);
        env_write(ENV_DATA + size, 2, SEL_UDATA);
        expect_ok(env_exec(start, len));
        assert_int_equal(vcpu.env.segs[seg].selector, SEL_UDATA);
        assert_int_equal(vcpu.env.regs[R_ECX], size == 8   ? 0x8877665544332211ull
                                               : size == 4 ? 0x44332211ull
                                                           : ((old & ~0xffffull) | 0x2211));
        env_reset();
        vcpu.env.regs[R_EBX] = ENV_DATA;
        env_write(ENV_DATA + size, 2, SEL_BEYOND);
        expect_fault(env_exec(start, len), EXCP0D_GPF, SEL_BEYOND);
        assert_int_equal(vcpu.env.regs[R_ECX], old);
    }
}

/* The accessed bit in a read-only descriptor page: #PF, nothing loaded. */
static void test_accessed_fault(void **state)
{
    env_reset();
    env_set_gdt(SEL_TEST, desc_make(0x12, 3, true, 0, 1));
    env_protect(ENV_GDT, PERM_P);
    set_ax(SEL_TEST);
    expect_fault(mov_to(R_DS), EXCP0E_PAGE, 3);
    assert_int_equal(vcpu.env.cr[2], ENV_GDT + SEL_TEST + 5);
    assert_int_equal(vcpu.env.segs[R_DS].selector, SEL_KDATA);
    env_set_gdt(SEL_TEST, desc_make(0x13, 3, true, 0, 1));
    expect_ok(mov_to(R_DS)); /* already accessed: no write */
}

/* A table that runs over the edge of the canonical range: #GP(selector), for lar too. */
static void test_table_edge(void **state)
{
    env_reset();
    vcpu.env.gdt.base = 0x800000000000ull - SEL_UDATA;
    set_ax(SEL_UDATA | 3);
    expect_fault(mov_to(R_DS), EXCP0D_GPF, SEL_UDATA);
    expect_fault(EXEC("\x0f\x02\xd0"), EXCP0D_GPF, SEL_UDATA);
}

/* ---- lar, lsl, verr, verw ---- */

static bool visible(unsigned type, unsigned dpl, unsigned rpl, unsigned cpl)
{
    return (type & 0x1c) == 0x1c || (dpl >= cpl && dpl >= rpl);
}

static void test_lar_family(void **state)
{
    for (unsigned n = 0; n < 1u << 14; n++) {
        unsigned type = n & 31, dpl = n >> 5 & 3, rpl = n >> 7 & 3, cpl = n >> 9 & 3,
                 p = n >> 11 & 1, op = n >> 12;
        bool sys = !(type & 0x10), code = (type & 0x18) == 0x18, zf = visible(type, dpl, rpl, cpl);
        uint64_t d = desc_make(type, dpl, p, 0, 1), want = 0x2222222222222222ull;
        int r;

        env_reset();
        env_set_cpl(cpl);
        env_set_gdt(SEL_TEST, d);
        set_ax(SEL_TEST | rpl);
        vcpu.env.eflags |= n & 1 ? CC_Z : CC_C;
        switch (op) {
        case 0:
            r = EXEC("\x0f\x02\xd0"); /* lar edx, eax */
            zf = zf && (!sys || type == 2 || type == 9 || type == 11 || type == 12);
            want = zf ? (d >> 32) & 0xf0ff00 : want;
            break;
        case 1:
            r = EXEC("\x0f\x03\xd0"); /* lsl edx, eax */
            zf = zf && (!sys || type == 2 || type == 9 || type == 11);
            want = zf ? 0xffffffff : want;
            break;
        case 2:
            r = EXEC("\x0f\x00\xe0"); /* verr ax */
            zf = zf && !sys && (!code || (type & 2));
            break;
        default:
            r = EXEC("\x0f\x00\xe8"); /* verw ax */
            zf = zf && !sys && !code && (type & 2);
            break;
        }
        expect_ok(r);
        assert_int_equal(vcpu.env.eflags, 2 | (n & 1 ? 0 : CC_C) | (zf ? CC_Z : 0));
        assert_int_equal(vcpu.env.regs[R_EDX], want);
    }
}

static void test_lar_conditions(void **state)
{
    static const uint16_t bad[] = {0, 1, 2, 3, SEL_BEYOND, 0x0c};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        env_reset();
        vcpu.env.eflags |= CC_Z;
        vcpu.env.regs[R_EBX] = ENV_DATA;
        env_write(ENV_DATA, 2, bad[i]);
        expect_ok(EXEC("\x0f\x02\x13")); /* lar edx, [rbx] */
        assert_int_equal(vcpu.env.eflags, 2);
    }
    env_reset(); /* byte-granular limit, 16-bit and 64-bit destinations */
    env_set_gdt(SEL_TEST, 0x0004930000001234ull);
    set_ax(SEL_TEST);
    expect_ok(EXEC("\x66\x0f\x03\xd0"));
    assert_int_equal(vcpu.env.regs[R_EDX], 0x2222222222221234ull);
    expect_ok(EXEC("\x48\x0f\x03\xd0"));
    assert_int_equal(vcpu.env.regs[R_EDX], 0x41234);
    expect_ok(EXEC("\x66\x0f\x02\xd0"));
    assert_int_equal(vcpu.env.regs[R_EDX], 0x49300); /* merged */
    env_reset(); /* #PF on the descriptor table is a fault, not ZF = 0 */
    env_protect(ENV_GDT, 0);
    set_ax(SEL_KCODE);
    expect_fault(EXEC("\x0f\x00\xe0"), EXCP0E_PAGE, 0);
}

/* ---- descriptor table registers ---- */

static void test_lgdt_sgdt(void **state)
{
    static const struct {
        const char *store, *load;
    } op[2] = {{"\x0f\x01\x03", "\x0f\x01\x13"}, {"\x0f\x01\x0b", "\x0f\x01\x1b"}}; /* [rbx] */

    for (unsigned i = 0; i < 2; i++) {
        struct segment_cache *dt = i ? &vcpu.env.idt : &vcpu.env.gdt;

        env_reset();
        vcpu.env.regs[R_EBX] = ENV_DATA;
        env_write(ENV_DATA, 2, 0xabcd);
        env_write(ENV_DATA + 2, 8, 0xffff912345678123ull);
        expect_ok(env_exec(op[i].load, 3));
        assert_int_equal(dt->base, 0xffff912345678123ull);
        assert_int_equal(dt->limit, 0xabcd);
        env_write(ENV_DATA, 8, 0);
        env_write(ENV_DATA + 8, 8, ~0ull);
        for (unsigned cpl = 0; cpl < 4; cpl++) {
            env_set_cpl(cpl);
            expect_ok(env_exec(op[i].store, 3));
            assert_int_equal(env_read(ENV_DATA, 2), 0xabcd);
            assert_int_equal(env_read(ENV_DATA + 2, 8), 0xffff912345678123ull);
            assert_int_equal(env_read(ENV_DATA + 10, 6), 0xffffffffffffull);
        }
        for (unsigned cpl = 1; cpl < 4; cpl++) {
            env_set_cpl(cpl);
            vcpu.env.eip = ENV_CODE;
            vcpu.env.cr[4] &= ~(uint64_t)CR4_UMIP_MASK;
            expect_fault(env_exec(op[i].load, 3), EXCP0D_GPF, 0);
            vcpu.env.cr[4] |= CR4_UMIP_MASK;
            expect_fault(env_exec(op[i].store, 3), EXCP0D_GPF, 0);
        }
        env_reset();
        vcpu.env.regs[R_EBX] = ENV_DATA;
        env_write(ENV_DATA + 2, 8, 1ull << 47);
        expect_fault(env_exec(op[i].load, 3), EXCP0D_GPF, 0);
        vcpu.env.regs[R_EBX] = 0x800000000000ull - 9;
        expect_fault(env_exec(op[i].load, 3), EXCP0D_GPF, 0);
        expect_fault(env_exec(op[i].store, 3), EXCP0D_GPF, 0);
    }
    env_reset(); /* rip-relative and fs-relative operands */
    env_write(ENV_CODE + 7 + 0x100, 2, 0x77);
    expect_ok(EXEC("\x0f\x01\x15\x00\x01\x00\x00"));
    assert_int_equal(vcpu.env.gdt.limit, 0x77);
    env_reset();
    venv.hw_fs = ENV_DATA - 0x20;
    env_write(ENV_DATA, 2, 0x78);
    expect_ok(EXEC("\x64\x0f\x01\x14\x25\x20\x00\x00\x00"));
    assert_int_equal(vcpu.env.gdt.limit, 0x78);
    env_reset(); /* [ebx + ecx*4 - 4] wraps at 32 bits */
    vcpu.env.regs[R_EBX] = 0x7700000000000000ull | ENV_DATA;
    vcpu.env.regs[R_ECX] = 0xffffffff40000001ull;
    env_write(ENV_DATA, 2, 0x79);
    expect_ok(EXEC("\x67\x0f\x01\x54\x8b\xfc"));
    assert_int_equal(vcpu.env.gdt.limit, 0x79);
}

/* lldt and ltr: type, P, CPL, and the selector itself. */
static void test_lldt_ltr(void **state)
{
    for (unsigned n = 0; n < 1u << 10; n++) {
        unsigned type = n & 31, p = n >> 5 & 1, cpl = n >> 6 & 3, rpl = n >> 8 & 1;
        bool ltr = n >> 9;
        int r;

        env_reset();
        env_set_cpl(cpl);
        env_set_system(SEL_TEST, type, 0, p, 0xffff912345678000ull, 0x1fff);
        set_ax(SEL_TEST | rpl);
        r = ltr ? EXEC("\x0f\x00\xd8") : EXEC("\x0f\x00\xd0");
        if (cpl) {
            expect_fault(r, EXCP0D_GPF, 0);
        } else if (type != (ltr ? 9u : 2u)) {
            expect_fault(r, EXCP0D_GPF, SEL_TEST);
        } else if (!p) {
            expect_fault(r, EXCP0B_NOSEG, SEL_TEST);
        } else {
            struct segment_cache *sc = ltr ? &vcpu.env.tr : &vcpu.env.ldt;

            expect_ok(r);
            assert_int_equal(sc->base, 0xffff912345678000ull);
            assert_int_equal(sc->limit, 0x1fff);
            assert_int_equal(sc->selector, SEL_TEST | rpl);
            assert_int_equal(env_get_gdt(SEL_TEST) >> 40 & 31, ltr ? 11 : 2);
            assert_int_equal(DESC_TYPE(sc->flags), ltr ? 11 : 2);
        }
    }
}

static void test_lldt_ltr_conditions(void **state)
{
    for (unsigned ltr = 0; ltr < 2; ltr++) {
        unsigned type = ltr ? 9 : 2;

#define RUN() (ltr ? EXEC("\x0f\x00\xd8") : EXEC("\x0f\x00\xd0"))
        env_reset();
        set_ax(SEL_BEYOND);
        expect_fault(RUN(), EXCP0D_GPF, SEL_BEYOND);
        set_ax(SEL_TEST | 4);
        expect_fault(RUN(), EXCP0D_GPF, SEL_TEST | 4);
        env_reset();
        env_set_system(SEL_TEST, type, 0, true, 1ull << 47, 0xff);
        set_ax(SEL_TEST);
        expect_fault(RUN(), EXCP0D_GPF, SEL_TEST);
        env_reset();
        env_set_system(SEL_TEST, type, 0, true, 0, 0xff);
        env_write(ENV_GDT + SEL_TEST + 13, 1, 2);
        set_ax(SEL_TEST);
        expect_fault(RUN(), EXCP0D_GPF, SEL_TEST);
        env_reset();
        env_set_system(SEL_TEST, type, 0, true, 0, 0xff);
        vcpu.env.gdt.limit = SEL_TEST + 14;
        set_ax(SEL_TEST);
        expect_fault(RUN(), EXCP0D_GPF, SEL_TEST);
#undef RUN
    }
    env_reset();
    set_ax(3);
    expect_fault(EXEC("\x0f\x00\xd8"), EXCP0D_GPF, 0);
    expect_ok(EXEC("\x0f\x00\xd0"));
    assert_int_equal(vcpu.env.ldt.selector, 3);
    env_reset(); /* ltr of a busy TSS, and of one in a read-only page */
    set_ax(SEL_TSS);
    expect_ok(EXEC("\x0f\x00\xd8"));
    vcpu.env.eip = ENV_CODE;
    expect_fault(EXEC("\x0f\x00\xd8"), EXCP0D_GPF, SEL_TSS);
    env_reset();
    env_protect(ENV_GDT, PERM_P);
    vcpu.env.tr.selector = 0;
    set_ax(SEL_TSS);
    expect_fault(EXEC("\x0f\x00\xd8"), EXCP0E_PAGE, 3);
    assert_int_equal(vcpu.env.tr.selector, 0);
}

/* A loaded LDT: its descriptors are used through TI = 1, up to its limit. */
static void test_ldt(void **state)
{
    env_reset();
    set_ax(SEL_LDT);
    expect_ok(EXEC("\x0f\x00\xd0"));
    env_write(ENV_LDT + 0x78, 8, desc_make(0x13, 0, true, 0, 1));
    set_ax(0x7c);
    expect_ok(mov_to(R_DS));
    assert_int_equal(vcpu.env.segs[R_DS].selector, 0x7c);
    assert_true(env_read(ENV_LDT + 0x7d, 1) & 1);
    set_ax(0x84);
    vcpu.env.eip = ENV_CODE;
    expect_fault(mov_to(R_DS), EXCP0D_GPF, 0x84);
}

/* sldt, str, smsw to registers and memory, with UMIP. */
static void test_sldt_str_smsw(void **state)
{
    static const struct {
        const char *reg32, *reg16, *reg64, *mem;
        unsigned len;
    } op[3] = {
        {"\x0f\x00\xc1", "\x66\x0f\x00\xc1", "\x48\x0f\x00\xc1", "\x0f\x00\x03", 3},
        {"\x0f\x00\xc9", "\x66\x0f\x00\xc9", "\x48\x0f\x00\xc9", "\x0f\x00\x0b", 3},
        {"\x0f\x01\xe1", "\x66\x0f\x01\xe1", "\x48\x0f\x01\xe1", "\x0f\x01\x23", 3},
    };

    for (unsigned i = 0; i < 3; i++) {
        uint64_t value = i == 0 ? 0xa5a8 : i == 1 ? SEL_TSS : 0x80010033;

        env_reset();
        vcpu.env.ldt.selector = 0xa5a8;
        vcpu.env.regs[R_EBX] = ENV_DATA;
        expect_ok(env_exec(op[i].reg32, 3));
        assert_int_equal(vcpu.env.regs[R_ECX], value);
        vcpu.env.regs[R_ECX] = ~0ull;
        expect_ok(env_exec(op[i].reg16, 4));
        assert_int_equal(vcpu.env.regs[R_ECX], ~0xffffull | (value & 0xffff));
        expect_ok(env_exec(op[i].reg64, 4));
        assert_int_equal(vcpu.env.regs[R_ECX], value);
        env_write(ENV_DATA, 8, ~0ull);
        expect_ok(env_exec(op[i].mem, 3));
        assert_int_equal(env_read(ENV_DATA, 8), ~0xffffull | (value & 0xffff));
        env_set_cpl(3);
        expect_ok(env_exec(op[i].reg32, 3));
        vcpu.env.cr[4] |= CR4_UMIP_MASK;
        vcpu.env.eip = ENV_CODE;
        expect_fault(env_exec(op[i].reg32, 3), EXCP0D_GPF, 0);
        env_set_cpl(0);
        expect_ok(env_exec(op[i].reg32, 3));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_data),
        cmocka_unit_test(test_load_data_null),
        cmocka_unit_test(test_load_ss),
        cmocka_unit_test(test_load_ss_null),
        cmocka_unit_test(test_mov_from),
        cmocka_unit_test(test_push_pop),
        cmocka_unit_test(test_lfs_lgs),
        cmocka_unit_test(test_accessed_fault),
        cmocka_unit_test(test_table_edge),
        cmocka_unit_test(test_lar_family),
        cmocka_unit_test(test_lar_conditions),
        cmocka_unit_test(test_lgdt_sgdt),
        cmocka_unit_test(test_lldt_ltr),
        cmocka_unit_test(test_lldt_ltr_conditions),
        cmocka_unit_test(test_ldt),
        cmocka_unit_test(test_sldt_str_smsw),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    printf("test-vcpu-seg: %u cases\n", env_cases);
    return failed;
}
