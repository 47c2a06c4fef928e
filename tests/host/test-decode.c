/* SPDX-License-Identifier: MIT */
/* Unit tests of the decoder: hand-picked encodings, memory accesses with live registers, text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/decode.h"

#define B(r) (1u << (r))

/* One encoding and what must come out. gpr masks and flags are exact. */
struct encoding {
    const char *bytes; /* hex */
    const char *text;  /* insn_format() at pc 0x1000 */
    uint8_t kind, sens, mem, acc;
    uint16_t mem_size;
    uint32_t rd, wr;
    uint8_t fl_r, fl_w;
};

#define SENS(x) INSN_SENS, SENS_##x
#define COPY    INSN_COPY, SENS_NONE

/* clang-format off */
static const struct encoding encodings[] = {
    { "90", "nop", COPY, MEM_NONE, 0, 0, 0, 0, 0, 0 },
    { "f390", "pause", COPY, MEM_NONE, 0, 0, 0, 0, 0, 0 },
    { "4190", "xchg r8d, eax", COPY, MEM_NONE, 0, 0, B(0) | B(8), B(0) | B(8), 0, 0 },
    { "f30f1efa", "endbr64", COPY, MEM_NONE, 0, 0, 0, 0, 0, 0 },
    { "660f1f440000", "nop [rax+rax*1]", COPY, MEM_NONE, 0, 0, B(0), 0, 0, 0 },
    { "4889d8", "mov rax, rbx", COPY, MEM_NONE, 0, 0, B(3), B(0), 0, 0 },
    { "88e5", "mov ch, ah", COPY, MEM_NONE, 0, 0, B(0) | B(1), B(1), 0, 0 },
    { "4088e5", "mov bpl, spl", COPY, MEM_NONE, 0, 0, B(4) | B(5), B(5), 0, 0 },
    { "6689d8", "mov ax, bx", COPY, MEM_NONE, 0, 0, B(0) | B(3), B(0), 0, 0 },
    { "488b0510000000", "mov rax, qword ptr [rip+0x10]", COPY, MEM_MODRM, ACC_R, 8, 0, B(0), 0, 0 },
    { "65488b042528000000", "mov rax, qword ptr gs:[0x28]", COPY, MEM_MODRM, ACC_R, 8, 0, B(0), 0, 0 },
    { "48b88877665544332211", "mov rax, 0x1122334455667788", COPY, MEM_NONE, 0, 0, 0, B(0), 0, 0 },
    { "48c7c0feffffff", "mov rax, 0xfffffffffffffffe", COPY, MEM_NONE, 0, 0, 0, B(0), 0, 0 },
    { "a18877665544332211", "mov eax, dword ptr [0x1122334455667788]", COPY, MEM_MOFFS, ACC_R, 4, 0, B(0), 0, 0 },
    { "67a288776655", "mov byte ptr [0x55667788], al", COPY, MEM_MOFFS, ACC_W, 1, B(0), 0, 0, 0 },
    { "48630cc6", "movsxd rcx, dword ptr [rsi+rax*8]", COPY, MEM_MODRM, ACC_R, 4, B(0) | B(6), B(1), 0, 0 },
    { "0fb6c4", "movzx eax, ah", COPY, MEM_NONE, 0, 0, B(0), B(0), 0, 0 },
    { "488d7c24f0", "lea rdi, [rsp-0x10]", COPY, MEM_NONE, 0, 0, B(4), B(7), 0, 0 },
    { "f048ff00", "lock inc qword ptr [rax]", COPY, MEM_MODRM, ACC_R | ACC_W, 8, B(0), 0, 0, FL_ALL & ~FL_CF },
    { "11d0", "adc eax, edx", COPY, MEM_NONE, 0, 0, B(0) | B(2), B(0), FL_CF, FL_ALL },
    { "4883e0f0", "and rax, 0xfffffffffffffff0", COPY, MEM_NONE, 0, 0, B(0), B(0), 0, FL_ALL },
    { "d3e0", "shl eax, cl", COPY, MEM_NONE, 0, 0, B(0) | B(1), B(0), 0, 0 },
    { "c1e004", "shl eax, 0x4", COPY, MEM_NONE, 0, 0, B(0), B(0), 0, FL_CF | FL_PF | FL_ZF | FL_SF },
    { "c1e020", "shl eax, 0x20", COPY, MEM_NONE, 0, 0, B(0), B(0), 0, 0 },
    { "48c1e020", "shl rax, 0x20", COPY, MEM_NONE, 0, 0, B(0), B(0), 0, FL_CF | FL_PF | FL_ZF | FL_SF },
    { "f6c801", "test al, 0x1", COPY, MEM_NONE, 0, 0, B(0), 0, 0, FL_ALL },
    { "0f44c1", "cmove eax, ecx", COPY, MEM_NONE, 0, 0, B(0) | B(1), B(0), FL_ZF, 0 },
    { "0f9fc0", "setg al", COPY, MEM_NONE, 0, 0, B(0), B(0), FL_ZF | FL_SF | FL_OF, 0 },
    { "480fc70f", "cmpxchg16b xmmword ptr [rdi]", COPY, MEM_MODRM, ACC_R | ACC_W, 16, 0x8f, B(0) | B(2), 0, FL_ZF },
    { "480fa308", "bt qword ptr [rax], rcx", COPY, MEM_BT, ACC_R, 8, B(0) | B(1), 0, 0, FL_CF },
    { "0fbae81f", "bts eax, 0x1f", COPY, MEM_NONE, 0, 0, B(0), B(0), 0, FL_CF },
    { "55", "push rbp", COPY, MEM_PUSH, ACC_W, 8, B(4) | B(5), B(4), 0, 0 },
    { "6655", "push bp", COPY, MEM_PUSH, ACC_W, 2, B(4) | B(5), B(4), 0, 0 },
    { "8f0424", "pop qword ptr [rsp]", COPY, MEM_POP, ACC_R, 8, B(4), B(4), 0, 0 },
    { "c8100002", "enter 0x10, 0x2", COPY, MEM_ENTER, ACC_W, 8, B(4) | B(5), B(4) | B(5), 0, 0 },
    { "f348a5", "rep movsq", COPY, MEM_STRING, ACC_R | ACC_W, 8, 0xc2, 0xc2, 0, 0 },
    { "f3a6", "rep cmpsb", COPY, MEM_STRING, ACC_R, 1, 0xc2, 0xc2, FL_ZF, 0 },
    { "a6", "cmpsb", COPY, MEM_STRING, ACC_R, 1, 0xc0, 0xc0, 0, FL_ALL },
    { "d7", "xlat", COPY, MEM_XLAT, ACC_R, 1, B(0) | B(3), B(0), 0, 0 },
    { "ebfe", "jmp 0x1000", INSN_JMP, 0, MEM_NONE, 0, 0, 0, 0, 0, 0 },
    { "66e9fbffffff", "jmp 0x1001", INSN_JMP, 0, MEM_NONE, 0, 0, 0, 0, 0, 0 },
    { "0f8e00010000", "jle 0x1106", INSN_JCC, 0, MEM_NONE, 0, 0, 0, 0, FL_ZF | FL_SF | FL_OF, 0 },
    { "e0fe", "loopne 0x1000", INSN_LOOP, 0, MEM_NONE, 0, 0, B(1), B(1), FL_ZF, 0 },
    { "e800000000", "call 0x1005", INSN_CALL, 0, MEM_PUSH, ACC_W, 8, B(4), B(4), 0, 0 },
    { "c3", "ret", INSN_RET, 0, MEM_POP, ACC_R, 8, B(4), B(4), 0, 0 },
    { "f3c3", "ret", INSN_RET, 0, MEM_POP, ACC_R, 8, B(4), B(4), 0, 0 },
    { "c20800", "ret 0x8", INSN_RET, 0, MEM_POP, ACC_R, 8, B(4), B(4), 0, 0 },
    { "3effe0", "jmp rax", INSN_JMP_IND, 0, MEM_NONE, 0, 0, B(0), 0, 0, 0 },
    { "ff1425f0000000", "call qword ptr [0xf0]", INSN_CALL_IND, 0, MEM_PUSH, ACC_W, 8, B(4), B(4), 0, 0 },
    { "fa", "cli", SENS(CLI), MEM_NONE, 0, 0, 0, 0, 0, 0 },
    { "9c", "pushf", SENS(PUSHF), MEM_PUSH, ACC_W, 8, B(4), B(4), FL_ALL, 0 },
    { "48cf", "iret", SENS(IRET), MEM_POP, ACC_R, 8, B(4), B(4), FL_ALL, FL_ALL },
    { "0f05", "syscall", SENS(SYSCALL), MEM_NONE, 0, 0, 0, B(1) | B(11), FL_ALL, FL_ALL },
    { "480f07", "sysret", SENS(SYSRET), MEM_NONE, 0, 0, B(1) | B(11), 0, 0, FL_ALL },
    { "0f31", "rdtsc", SENS(RDTSC), MEM_NONE, 0, 0, 0, B(0) | B(2), 0, 0 },
    { "0fa2", "cpuid", SENS(CPUID), MEM_NONE, 0, 0, B(0) | B(1), 0x0f, 0, 0 },
    { "0f01d0", "xgetbv", SENS(XGETBV), MEM_NONE, 0, 0, B(1), B(0) | B(2), 0, 0 },
    { "440f20c0", "mov rax, cr8", SENS(MOV_FROM_CR), MEM_NONE, 0, 0, 0, B(0), 0, 0 },
    { "0f22df", "mov cr3, rdi", SENS(MOV_TO_CR), MEM_NONE, 0, 0, B(7), 0, 0, 0 },
    { "8ed8", "mov ds, ax", SENS(MOV_TO_SREG), MEM_NONE, 0, 0, B(0), 0, 0, 0 },
    { "8c08", "mov word ptr [rax], cs", SENS(MOV_FROM_SREG), MEM_MODRM, ACC_W, 2, B(0), 0, 0, 0 },
    { "0f01f8", "swapgs", SENS(SWAPGS), MEM_NONE, 0, 0, 0, 0, 0, 0 },
    { "0f011f", "lidt [rdi]", SENS(LIDT), MEM_MODRM, ACC_R, 10, B(7), 0, 0, 0 },
    { "0f0138", "invlpg [rax]", SENS(INVLPG), MEM_NONE, 0, 0, B(0), 0, 0, 0 },
    { "ed", "in eax, dx", SENS(IN), MEM_NONE, 0, 0, B(2), B(0), 0, 0 },
    { "e680", "out 0x80, al", SENS(OUT), MEM_NONE, 0, 0, B(0), 0, 0, 0 },
    { "cd80", "int 0x80", SENS(INT_N), MEM_NONE, 0, 0, B(4), B(4), FL_ALL, 0 },
    { "f30faed8", "wrgsbase eax", SENS(WRGSBASE), MEM_NONE, 0, 0, B(0), 0, 0, 0 },
    { "c7f810000000", "xbegin 0x1016", SENS(XBEGIN), MEM_NONE, 0, 0, 0, B(0), 0, 0 },
    { "0f0b", "ud2", INSN_UD, 0, MEM_NONE, 0, 0, 0, 0, 0, 0 },
    { "dd30", "fnsave [rax]", SENS(FNSAVE), MEM_MODRM, ACC_W, 108, B(0), 0, 0, 0 },
    { "66dd30", "fnsave [rax]", SENS(FNSAVE), MEM_MODRM, ACC_W, 94, B(0), 0, 0, 0 },
    { "db28", "fld [rax]", COPY, MEM_MODRM, ACC_R, 10, B(0), 0, 0, 0 },
    { "d9c9", "fxch st(1)", COPY, MEM_NONE, 0, 0, 0, 0, 0, 0 },
    { "d9e0", "fchs", COPY, MEM_NONE, 0, 0, 0, 0, 0, 0 },
    { "dbf1", "fcomi st(1)", COPY, MEM_NONE, 0, 0, 0, 0, 0, FL_ALL },
    { "dfe0", "fnstsw ax", COPY, MEM_NONE, 0, 0, B(0), B(0), 0, 0 },
    { "0fae00", "fxsave [rax]", COPY, MEM_MODRM, ACC_W, 512, B(0), 0, 0, 0 },
    { "480fae27", "xsave [rdi]", COPY, MEM_XSAVE, ACC_R | ACC_W, 576, 0x85, 0, 0, 0 },
    { "0f6f08", "movq mm1, qword ptr [rax]", COPY, MEM_MODRM, ACC_R, 8, B(0), 0, 0, 0 },
    { "660f6f08", "movdqa xmm1, xmmword ptr [rax]", COPY, MEM_MODRM, ACC_R, 16, B(0), 0, 0, 0 },
    { "660ff7ca", "maskmovdqu xmm1, xmm2", COPY, MEM_MASKMOV, ACC_W, 16, B(7), 0, 0, 0 },
    { "f20f2ac8", "cvtsi2sd xmm1, eax", COPY, MEM_NONE, 0, 0, B(0), 0, 0, 0 },
    { "660f2ec1", "ucomisd xmm0, xmm1", COPY, MEM_NONE, 0, 0, 0, 0, 0, FL_ALL },
    { "c5f5fe00", "vpaddd ymm0, ymm1, ymmword ptr [rax]", COPY, MEM_MODRM, ACC_R, 32, B(0), 0, 0, 0 },
    { "c4e2758c00", "vpmaskmovd ymm0, ymm1, ymmword ptr [rax]", COPY, MEM_MASKED, ACC_R, 32, B(0), 0, 0, 0 },
    { "c4e26990040a", "vpgatherdd xmm0, dword ptr [rdx+vec1*1], xmm2", COPY, MEM_VSIB, ACC_R, 4, B(2), 0, 0, 0 },
    { "c4e2fbf6c3", "mulx rax, rax, rbx", COPY, MEM_NONE, 0, 0, B(2) | B(3), B(0), 0, 0 },
    { "62f1fd49ef4001", "vpxorq zmm0, zmm0, zmmword ptr [rax+0x40] {k1}", COPY, MEM_MASKED, ACC_R, 64, B(0), 0, 0, 0 },
    { "62f17d58fe4001", "vpaddd zmm0, zmm0, dword ptr [rax+0x4]", COPY, MEM_MODRM, ACC_R, 4, B(0), 0, 0, 0 },
    { "62f27d498a4001", "vcompressps zmmword ptr [rax+0x4], zmm0 {k1}", COPY, MEM_MASKED, ACC_W, 64, B(0), 0, 0, 0 },
    { "660f38f801", "movdir64b rax, zmmword ptr [rcx]", COPY, MEM_DIR64, ACC_R | ACC_W, 64, B(0) | B(1), 0, 0, 0 },
    { "0f01c1", "vmcall", SENS(VMCALL), MEM_NONE, 0, 0, 0xcf, B(0), 0, 0 },
    { "0f01c2", "vmlaunch", SENS(UNSUPPORTED), MEM_NONE, 0, 0, 0x0f, 0x0f, FL_ALL, 0 },
};
/* clang-format on */

static size_t parse(const char *hex, uint8_t *bytes)
{
    size_t n = strlen(hex) / 2;

    for (size_t i = 0; i < n; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};

        bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return n;
}

static struct insn decode(const char *hex)
{
    uint8_t bytes[16] = {0};
    struct insn in;
    size_t n = parse(hex, bytes);

    if (insn_decode(&in, bytes, n) != DECODE_OK) {
        fail_msg("%s: not decoded", hex);
    }
    return in;
}

static void test_encodings(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(encodings); i++) {
        const struct encoding *e = &encodings[i];
        uint8_t bytes[16] = {0};
        size_t n = parse(e->bytes, bytes);
        struct insn in;
        char text[100];

        if (insn_decode(&in, bytes, n) != DECODE_OK || in.len != n || in.kind != e->kind ||
            in.sens != e->sens || in.mem != e->mem || in.acc != e->acc ||
            in.mem_size != e->mem_size || in.gpr_read != e->rd || in.gpr_write != e->wr ||
            in.flags_read != e->fl_r || in.flags_write != e->fl_w) {
            fail_msg("%s %s: len %u kind %u sens %u mem %u acc %u size %u gpr %x %x flags %x %x",
                     e->bytes, e->text, in.len, in.kind, in.sens, in.mem, in.acc, in.mem_size,
                     in.gpr_read, in.gpr_write, in.flags_read, in.flags_write);
        }
        size_t len = (size_t)insn_format(&in, bytes, 0x1000, text, sizeof(text));

        assert_string_equal(text, e->text);
        assert_int_equal(len, strlen(e->text));
        for (size_t part = 0; part < n; part++) {
            assert_int_equal(insn_decode(&in, bytes, part), DECODE_TRUNCATED);
        }
    }
}

/* Where the pieces are: what a translator needs to re-encode. */
static void test_fields(void **state)
{
    struct insn in = decode("65f048810d78563412efcdab89");

    assert_int_equal(in.pfx, PFX_SEG | PFX_LOCK | PFX_REX);
    assert_int_equal(in.seg, R_GS);
    assert_int_equal(in.rex, 8);
    assert_int_equal(in.opcode_off, 3);
    assert_int_equal(in.modrm_off, 4);
    assert_int_equal(in.disp_off, 5);
    assert_int_equal(in.disp_size, 4);
    assert_int_equal(in.imm_off, 9);
    assert_int_equal(in.imm_size, 4);
    assert_true(in.disp == 0x12345678 && in.imm == (int32_t)0x89abcdef);
    assert_true(in.is_rip_rel && in.is_mem && !in.has_sib && in.base == R_RIP &&
                in.index == R_NONE);

    in = decode("4f8b648d80");
    assert_int_equal(in.reg, R_R12);
    assert_int_equal(in.base, R_R13);
    assert_int_equal(in.index, R_R9);
    assert_int_equal(in.scale, 4);
    assert_true(in.disp == -128);

    in = decode("c8341205");
    assert_true(in.imm == 0x1234 && in.imm2 == 5 && in.imm_off == 1 && in.imm_size == 2 &&
                in.imm2_size == 1);

    in = decode("48b8efcdab8967452301");
    assert_true(in.imm_size == 8 && in.imm_off == 2 && in.imm == 0x0123456789abcdef);

    in = decode("64a1efcdab8967452301");
    assert_true(in.disp_size == 8 && in.disp_off == 2 && in.disp == 0x0123456789abcdef &&
                in.seg == R_FS);

    in = decode("7510");
    assert_true(in.cond == 5 && in.imm == 0x10 && in.imm_is_rel && in.imm_off == 1 &&
                in.imm_size == 1);

    in = decode("c442fbf7d1"); /* shrx r10, r9, rax */
    assert_true(in.enc == ENC_VEX && in.map == 2 && in.reg == R_R10 && in.rm == R_R9 &&
                in.vvvv == R_EAX && in.op_size == 8);

    in = decode("62a1744258cb"); /* vaddps zmm17{k2}, zmm17, zmm19 */
    assert_true(in.enc == ENC_EVEX && in.reg == 17 && in.rm == 19 && in.vvvv == 17 &&
                in.evex_aaa == 2 && in.vl == 64);
}

/* Prefixes that count, and those that do not. */
static void test_prefixes(void **state)
{
    struct insn in = decode("642e8b00");

    assert_int_equal(in.seg, R_FS); /* cs after fs is ignored */
    in = decode("488b00");
    assert_int_equal(in.op_size, 8);
    in = decode("48668b00"); /* REX not last: no REX */
    assert_true(in.op_size == 2 && !(in.pfx & PFX_REX) && in.rex == 0);
    in = decode("66488b00"); /* W over 66 */
    assert_int_equal(in.op_size, 8);
    in = decode("f3f2a4"); /* the last of f2 and f3 */
    assert_int_equal(in.pfx, PFX_REPNE);
    in = decode("678b00");
    assert_int_equal(in.addr_size, 4);
    in = decode("66f20f38f1c0"); /* mandatory F2 with 66 as operand size */
    assert_string_equal(insn_name(&in), "crc32");
    assert_int_equal(in.op_size, 2);
}

static void test_invalid(void **state)
{
    static const char *const invalid[] = {
        /* not in 64-bit mode */
        "06",
        "07",
        "0e",
        "16",
        "17",
        "1e",
        "1f",
        "27",
        "2f",
        "37",
        "3f",
        "60",
        "61",
        "8200c0",
        "9a000000000000",
        "ce",
        "d40a",
        "d50a",
        "d6",
        "ea000000000000",
        /* undefined slots of groups */
        "fed0",
        "fff8",
        "8fc8",
        "c6c801",
        "0fbac001",
        "0f00f0",
        "0fc7c8",
        /* lock without a memory destination, or on what cannot be locked */
        "f001c0",
        "f00300",
        "f03900",
        "f0a4",
        "f090",
        /* prefixes before VEX and EVEX */
        "66c5f877",
        "f3c5f877",
        "48c5f877",
        "f0c5f877",
        /* VEX: vvvv must be 1111, L must be 0, no such map */
        "c5f028c0",
        "c4e27cf200",
        "c4e47810c0",
        /* EVEX: L'L = 3, mask where there is none, zeroing without mask, broadcast where there is
           none */
        "62f17c681000",
        "62f17d096ec0",
        "62f17c885800",
        "62f17c181000",
        /* gather with the same register twice; registers that do not exist */
        "c4e27990040a",
        "8ec8",
        "8ef0",
        "0f20c8",
        "440f21c0",
        "c4e10441c0",
        /* XOP and 3DNow! */
        "8fe978c000",
        "0f0fc00d",
    };
    uint8_t bytes[16];
    struct insn in;

    for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
        size_t n = parse(invalid[i], bytes);

        if (insn_decode(&in, bytes, n) != DECODE_INVALID || in.kind != INSN_UD || in.len == 0 ||
            in.len > n) {
            fail_msg("%s is not reported invalid (%s)", invalid[i], insn_name(&in));
        }
    }
}

static void test_length_limit(void **state)
{
    uint8_t bytes[20];
    struct insn in;

    memset(bytes, 0x66, sizeof(bytes));
    bytes[14] = 0x90;
    assert_int_equal(insn_decode(&in, bytes, sizeof(bytes)), DECODE_OK);
    assert_int_equal(in.len, 15);
    assert_int_equal(insn_decode(&in, bytes, 14), DECODE_TRUNCATED);
    bytes[14] = 0x66;
    bytes[15] = 0x90;
    assert_int_equal(insn_decode(&in, bytes, sizeof(bytes)), DECODE_INVALID);
    assert_int_equal(in.len, 15);
    assert_int_equal(in.kind, INSN_UD);
    /* 15 bytes up to ModRM, the immediate would be the sixteenth */
    bytes[13] = 0x80;
    bytes[14] = 0xc0;
    assert_int_equal(insn_decode(&in, bytes, sizeof(bytes)), DECODE_INVALID);
    assert_int_equal(insn_decode(&in, bytes, 0), DECODE_TRUNCATED);
}

/* --- accesses --- */

static uint64_t gpr[16], seg_base[6];
static struct insn_regs regs;
static struct insn_access acc[INSN_MAX_ACCESS];
static bool exact;
#define NEXT 0xffffffff81000000ull

static void set_regs(void)
{
    for (int i = 0; i < 16; i++) {
        gpr[i] = 0x10000000ull * (i + 1);
    }
    memset(seg_base, 0, sizeof(seg_base));
    seg_base[R_FS] = 0x7f0000000000;
    seg_base[R_GS] = 0xffff888000000000;
    regs = (struct insn_regs){.gpr = gpr, .seg_base = seg_base, .rflags = 2, .xcr0 = 0xe7};
}

static int accesses(const char *hex)
{
    struct insn in = decode(hex);

    memset(acc, 0, sizeof(acc));
    return insn_accesses(&in, &regs, NEXT, acc, &exact);
}

static void check(int i, uint64_t addr, uint64_t len, uint8_t a)
{
    if (acc[i].addr != addr || acc[i].len != len || acc[i].acc != a) {
        fail_msg("access %d: %#lx + %lu, acc %u", i, (unsigned long)acc[i].addr,
                 (unsigned long)acc[i].len, acc[i].acc);
    }
}

static void test_access_modrm(void **state)
{
    set_regs();
    assert_int_equal(accesses("89d8"), 0);
    assert_int_equal(accesses("8d00"), 0);
    assert_int_equal(accesses("488b448b10"), 1);
    check(0, gpr[R_EBX] + gpr[R_ECX] * 4 + 0x10, 8, ACC_R);
    assert_int_equal(accesses("0105fcffffff"), 1);
    check(0, NEXT - 4, 4, ACC_R | ACC_W);
    assert_int_equal(accesses("6567c600aa"), 1); /* truncated before the base is added */
    gpr[R_EAX] = 0x1234567800000010;
    assert_int_equal(accesses("6567c600aa"), 1);
    check(0, 0xffff888000000010, 1, ACC_W);
    assert_int_equal(accesses("64488b042500000000"), 1);
    check(0, 0x7f0000000000, 8, ACC_R);
    assert_int_equal(accesses("36488b00"), 1); /* ss has no base */
    check(0, 0x1234567800000010, 8, ACC_R);
    gpr[R_EAX] = 0x80;
    assert_int_equal(accesses("d7"), 1);
    check(0, gpr[R_EBX] + 0x80, 1, ACC_R);
    assert_int_equal(accesses("64a28877665544332211"), 1);
    check(0, 0x1122334455667788 + 0x7f0000000000, 1, ACC_W);
    assert_int_equal(accesses("660ff7ca"), 1);
    check(0, gpr[R_EDI], 16, ACC_W);
    assert_int_equal(accesses("660f38f801"), 2);
    check(0, gpr[R_ECX], 64, ACC_R);
    check(1, 0x80, 64, ACC_W);
    gpr[R_EAX] = 0x1055;
    assert_int_equal(accesses("0f01fc"), 1);
    check(0, 0x1040, 64, ACC_W);
    assert_true(exact);
    assert_int_equal(accesses("c4e26990040a"), 0);
    assert_false(exact);
}

static void test_access_stack(void **state)
{
    const uint64_t sp = 0x50000000, bp = 0x60000000;

    set_regs();
    assert_int_equal(accesses("50"), 1);
    check(0, sp - 8, 8, ACC_W);
    assert_int_equal(accesses("ff30"), 2);
    check(0, gpr[R_EAX], 8, ACC_R);
    check(1, sp - 8, 8, ACC_W);
    assert_int_equal(accesses("ff7424f8"), 2); /* rsp before the push */
    check(0, sp - 8, 8, ACC_R);
    assert_int_equal(accesses("8f4424f8"), 2); /* rsp after the pop */
    check(0, sp, 8, ACC_R);
    check(1, sp, 8, ACC_W);
    assert_int_equal(accesses("668f00"), 2);
    check(0, sp, 2, ACC_R);
    check(1, gpr[R_EAX], 2, ACC_W);
    assert_int_equal(accesses("e800000000"), 1);
    check(0, sp - 8, 8, ACC_W);
    assert_int_equal(accesses("ff5508"), 2);
    check(0, bp + 8, 8, ACC_R);
    check(1, sp - 8, 8, ACC_W);
    assert_int_equal(accesses("c3"), 1);
    check(0, sp, 8, ACC_R);
    assert_int_equal(accesses("c9"), 1);
    check(0, bp, 8, ACC_R);
    assert_int_equal(accesses("c8000000"), 1);
    check(0, sp - 8, 8, ACC_W);
    assert_int_equal(accesses("c8000001"), 1);
    check(0, sp - 16, 16, ACC_W);
    assert_int_equal(accesses("c8000003"), 2);
    check(0, sp - 32, 32, ACC_W);
    check(1, bp - 16, 16, ACC_R);
    assert_int_equal(accesses("48cf"), 1);
    check(0, sp, 40, ACC_R);
}

static void test_access_string(void **state)
{
    const uint64_t si = 0x70000000, di = 0x80000000;

    set_regs();
    gpr[R_ECX] = 10;
    assert_int_equal(accesses("48a5"), 2);
    check(0, si, 8, ACC_R);
    check(1, di, 8, ACC_W);
    assert_int_equal(accesses("f3a5"), 2);
    check(0, si, 40, ACC_R);
    check(1, di, 40, ACC_W);
    assert_true(acc[1].first == di && acc[1].elem == 4);
    assert_int_equal(accesses("65f3a4"), 2); /* the override is for the source */
    check(0, si + seg_base[R_GS], 10, ACC_R);
    check(1, di, 10, ACC_W);
    regs.rflags |= 0x400;
    assert_int_equal(accesses("f366ab"), 1);
    check(0, di - 18, 20, ACC_W);
    assert_true(acc[0].first == di && acc[0].elem == 2);
    regs.rflags &= ~0x400ull;
    assert_int_equal(accesses("f2ae"), 1);
    check(0, di, 10, ACC_R);
    assert_int_equal(accesses("f3a6"), 2);
    check(0, si, 10, ACC_R);
    check(1, di, 10, ACC_R);
    gpr[R_ECX] = 0;
    assert_int_equal(accesses("f3a4"), 0);
    gpr[R_ECX] = 0x500000000; /* ecx = 0 */
    assert_int_equal(accesses("67f3a4"), 0);
    gpr[R_ECX] = UINT64_MAX;
    assert_int_equal(accesses("f3aa"), 1);
    assert_true(acc[0].addr == di && acc[0].len >= UINT64_MAX - di);
    gpr[R_EDI] = 0xfffffff0;
    gpr[R_ECX] = 0x20; /* wraps at 4 GiB */
    assert_int_equal(accesses("67f3aa"), 1);
    assert_true(acc[0].addr == 0 && acc[0].len > UINT32_MAX && acc[0].first == 0xfffffff0);
}

static void test_access_bt(void **state)
{
    set_regs();
    gpr[R_ECX] = 64;
    assert_int_equal(accesses("480fab08"), 1);
    check(0, gpr[R_EAX] + 8, 8, ACC_R | ACC_W);
    gpr[R_ECX] = UINT64_MAX; /* bit -1 */
    assert_int_equal(accesses("480fa308"), 1);
    check(0, gpr[R_EAX] - 8, 8, ACC_R);
    gpr[R_ECX] = 0xffffffff; /* as a dword: bit -1 */
    assert_int_equal(accesses("0fb308"), 1);
    check(0, gpr[R_EAX] - 4, 4, ACC_R | ACC_W);
    gpr[R_ECX] = 0x1234ffe0; /* as a word: bit -32 */
    assert_int_equal(accesses("660fbb08"), 1);
    check(0, gpr[R_EAX] - 4, 2, ACC_R | ACC_W);
    gpr[R_ECX] = 31;
    assert_int_equal(accesses("0fa308"), 1);
    check(0, gpr[R_EAX], 4, ACC_R);
    assert_int_equal(accesses("0fba207f"), 1); /* an immediate stays inside */
    check(0, gpr[R_EAX], 4, ACC_R);
}

static void test_access_xsave(void **state)
{
    set_regs();
    gpr[R_EAX] = 3;
    gpr[R_EDX] = 0;
    assert_int_equal(accesses("480fae27"), 1);
    check(0, gpr[R_EDI], 576, ACC_R | ACC_W);
    gpr[R_EAX] = 0xffffffff;
    regs.xcr0 = 7;
    assert_int_equal(accesses("480fae2f"), 1);
    check(0, gpr[R_EDI], 832, ACC_R);
    regs.xcr0 = 0xe7;
    assert_int_equal(accesses("0fc727"), 1);
    check(0, gpr[R_EDI], 2688, ACC_W);
    regs.xcr0 = 0x2e7;
    assert_int_equal(accesses("0fae37"), 1);
    check(0, gpr[R_EDI], 2696, ACC_R | ACC_W);
}

/* Text never overflows its buffer and reports the whole length. */
static void test_format_bounds(void **state)
{
    uint8_t bytes[16];
    char text[8];
    struct insn in;
    size_t n = parse("488b0510000000", bytes);

    assert_int_equal(insn_decode(&in, bytes, n), DECODE_OK);
    memset(text, 'x', sizeof(text));
    assert_int_equal(insn_format(&in, bytes, 0, text, 7), strlen("mov rax, qword ptr [rip+0x10]"));
    assert_string_equal(text, "mov ra");
    assert_int_equal(text[7], 'x');
    assert_int_equal(insn_format(&in, bytes, 0, NULL, 0), strlen("mov rax, qword ptr [rip+0x10]"));
    n = parse("06", bytes);
    assert_int_equal(insn_decode(&in, bytes, n), DECODE_INVALID);
    assert_string_equal(insn_name(&in), "(bad)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encodings),     cmocka_unit_test(test_fields),
        cmocka_unit_test(test_prefixes),      cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_length_limit),  cmocka_unit_test(test_access_modrm),
        cmocka_unit_test(test_access_stack),  cmocka_unit_test(test_access_string),
        cmocka_unit_test(test_access_bt),     cmocka_unit_test(test_access_xsave),
        cmocka_unit_test(test_format_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
