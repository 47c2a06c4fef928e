/* SPDX-License-Identifier: MIT */
/*
 * Rule: x87, SSE and AVX state belongs to the guest: random sequences of vector and floating-point instructions give the
 * same registers, MXCSR and status words in every engine. A set that CPUID does not offer prints no checksum.
 */
#include "tests/payloads/lib/page.h"
#include "tests/payloads/lib/payload.h"

#define VALUES 64 /* 32-byte values of memory operands */
#define INSNS 30

static uint8_t *data;
static bool have_avx;

/* Opcodes of the form op xmm, xmm/m128 by mandatory prefix; `three` = 0f 38. */
static const uint8_t ops_66[] = {
    0x14, 0x15, 0x51, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x61,
    0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x74, 0x75, 0x76, 0xd1, 0xd2,
    0xd3, 0xd4, 0xd5, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5,
    0xe6, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf8, 0xf9,
    0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0x6f, 0x28};
static const uint8_t ops_np[] = {0x14, 0x15, 0x51, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
                                 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x28};
static const uint8_t ops_scalar[] = {0x51, 0x58, 0x59, 0x5a, 0x5c, 0x5d, 0x5e, 0x5f};
static const uint8_t ops_38[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
                                 0x1c, 0x1d, 0x1e, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x28, 0x29, 0x2b,
                                 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c,
                                 0x3d, 0x3e, 0x3f, 0x40};
/* VEX.66.0F operations that take two sources in either vector length (AVX2 integer and AVX floating point). */
static const uint8_t ops_vex[] = {0x14, 0x15, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f,
                                  0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b,
                                  0x6c, 0x6d, 0x74, 0x75, 0x76, 0xd4, 0xd5, 0xd8, 0xd9, 0xda, 0xdb, 0xdc,
                                  0xdd, 0xde, 0xdf, 0xe0, 0xe3, 0xe4, 0xe5, 0xe8, 0xe9, 0xea, 0xeb, 0xec,
                                  0xed, 0xee, 0xef, 0xf4, 0xf5, 0xf6, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd};

#define PICK(rng, table) (table)[rng_below((rng), ARRAY_SIZE(table))]

/* ModRM for register `reg` and: another register, a value at [rdi + disp32], or one RIP-relative. */
static uint8_t *emit_operand(struct rng *rng, uint8_t *p, unsigned reg, unsigned imm)
{
    uint32_t off = rng_below(rng, VALUES) * 32;

    reg = (reg & 7) << 3;
    switch (rng_below(rng, 3)) {
    case 0:
        return EMIT(p, (uint8_t)(0xc0 | reg | rng_below(rng, 8)));
    case 1:
        p = EMIT(p, (uint8_t)(0x87 | reg));
        return emit32(p, off);
    default:
        p = EMIT(p, (uint8_t)(0x05 | reg));
        return emit32(p, (uint32_t)(data + off - (p + 4 + imm)));
    }
}

static uint8_t *emit_sse(struct rng *rng, uint8_t *p)
{
    unsigned reg = rng_below(rng, 16);
    uint8_t rex = reg >= 8 ? 0x44 : 0x40;
    unsigned imm = 0;

    switch (rng_below(rng, 6)) {
    case 0:
        p = EMIT(p, rex, 0x0f, PICK(rng, ops_np));
        break;
    case 1:
        p = EMIT(p, rng_below(rng, 2) ? 0xf3 : 0xf2, rex, 0x0f, PICK(rng, ops_scalar));
        break;
    case 2:
        p = EMIT(p, 0x66, rex, 0x0f, 0x38, PICK(rng, ops_38));
        break;
    case 3:
        p = EMIT(p, 0x66, rex, 0x0f, 0x70); /* pshufd */
        imm = 1;
        break;
    default:
        p = EMIT(p, 0x66, rex, 0x0f, PICK(rng, ops_66));
    }
    p = emit_operand(rng, p, reg, imm);
    if (imm) {
        *p++ = (uint8_t)rng_next(rng);
    }
    return p;
}

static uint8_t *emit_avx(struct rng *rng, uint8_t *p)
{
    unsigned reg = rng_below(rng, 16), src = rng_below(rng, 16);
    uint8_t vex = (uint8_t)((reg < 8 ? 0x80 : 0) | (~src & 15) << 3 | rng_below(rng, 2) << 2 | 1);

    p = EMIT(p, 0xc5, vex, PICK(rng, ops_vex));
    return emit_operand(rng, p, reg, 0);
}

/* fld m64; one or two operations; fstp m64, stack empty again */
static uint8_t *emit_x87(struct rng *rng, uint8_t *p)
{
    static const uint8_t ops[][2] = {{0xd8, 0xc1}, {0xd8, 0xc9}, {0xd8, 0xe1}, {0xd8, 0xe9}, {0xd8, 0xf1},
                                     {0xd8, 0xf9}, {0xd9, 0xe0}, {0xd9, 0xe1}, {0xd9, 0xfa}, {0xd9, 0xfc},
                                     {0xd9, 0xc9}, {0xd9, 0xe5}, {0xdf, 0xe9}, {0xd9, 0xd0}};
    static const uint8_t loads[][2] = {{0xdd, 0x87}, {0xd9, 0x87}, {0xdb, 0x87}, {0xdf, 0xaf}};

    for (int i = 0; i < 2; i++) {
        unsigned l = rng_below(rng, ARRAY_SIZE(loads));

        p = EMIT(p, loads[l][0], loads[l][1]);
        p = emit32(p, rng_below(rng, VALUES) * 32);
    }
    unsigned n = rng_below(rng, ARRAY_SIZE(ops));

    if (ops[n][0] == 0xdf) {
        p = EMIT(p, 0xdb, 0xf1, 0xd9, 0xc0); /* fcomi; fld st(0), then one more pop below */
        p = EMIT(p, 0xdd, 0xd8);
    } else {
        p = EMIT(p, ops[n][0], ops[n][1]);
    }
    for (int i = 0; i < 2; i++) {
        p = EMIT(p, 0xdd, 0x9f); /* fstpl disp32(%rdi) */
        p = emit32(p, rng_below(rng, VALUES) * 32);
    }
    return p;
}

struct vectors {
    uint8_t ymm[16][32];
    uint32_t mxcsr;
    uint16_t status, control;
} __attribute__((aligned(32)));

#define EACH_XMM(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define STR1(x) #x
#define STR(x) STR1(x)

/* Load the registers, call code, store them; AVX=1: all 32 bytes. */
static void run_vectors(struct vectors *v, const uint8_t *code, bool avx)
{
    uint64_t target = (uint64_t)code;

    v->mxcsr = 0x1f80;
    if (avx) {
#define LOAD(n) "vmovdqu 32*" STR(n) "(%0), %%ymm" STR(n) "\n\t"
#define SAVE(n) "vmovdqu %%ymm" STR(n) ", 32*" STR(n) "(%0)\n\t"
        __asm__ volatile("fninit\n\tldmxcsr 512(%0)\n\t" EACH_XMM(LOAD) "call *%1\n\t" EACH_XMM(SAVE)
                         "stmxcsr 512(%0)\n\tvzeroupper"
                         : : "b"(v), "r"(target), "D"(data) : "memory", "cc");
#undef LOAD
#undef SAVE
    } else {
#define LOAD(n) "movdqu 32*" STR(n) "(%0), %%xmm" STR(n) "\n\t"
#define SAVE(n) "movdqu %%xmm" STR(n) ", 32*" STR(n) "(%0)\n\t"
        __asm__ volatile("fninit\n\tldmxcsr 512(%0)\n\t" EACH_XMM(LOAD) "call *%1\n\t" EACH_XMM(SAVE)
                         "stmxcsr 512(%0)"
                         : : "b"(v), "r"(target), "D"(data) : "memory", "cc");
#undef LOAD
#undef SAVE
    }
    __asm__ volatile("fnstsw %0; fnstcw %1" : "=m"(v->status), "=m"(v->control));
}

typedef uint8_t *emit_fn(struct rng *rng, uint8_t *p);

static void random_values(struct rng *rng, void *mem, size_t len)
{
    static const uint64_t special[] = {0, 0x3ff0000000000000, 0x4009000000000000, 0x7ff0000000000000,
                                       0x8000000000000000, 0x3f800000bf800000, 1, 0x7ff8000000000001};

    for (size_t i = 0; i < len / 8; i++) {
        ((uint64_t *)mem)[i] = rng_below(rng, 3) ? rng_next(rng) : PICK(rng, special);
    }
}

static void run_set(const char *name, emit_fn *emit, bool avx)
{
    struct rng rng = {cmdline_number("seed=", 1) * 2 + 1};
    unsigned blocks = (unsigned)cmdline_number("blocks=", 100);
    uint64_t sum = CHECKSUM_INIT;
    static uint8_t code[4][4096];

    for (unsigned b = 0; b < blocks; b++) {
        uint8_t *p = code[b % 4];
        static struct vectors v;

        random_values(&rng, data, VALUES * 32);
        memset(&v, 0, sizeof(v));
        random_values(&rng, &v, 16 * 32);
        for (unsigned i = 0; i < INSNS; i++) {
            p = emit(&rng, p);
        }
        *p = 0xc3;
        for (unsigned run = 0; run < 3; run++) {
            run_vectors(&v, code[b % 4], avx);
            sum = checksum_add(sum, &v, sizeof(v));
        }
    }
    checksum_print(name, checksum_add(sum, data, VALUES * 32));
}

static void sse(void)
{
    run_set("sse", emit_sse, false);
}

static void avx(void)
{
    if (have_avx) {
        run_set("avx", emit_avx, true);
    }
}

static void x87(void)
{
    run_set("x87", emit_x87, false);
}

/* fxsave and fxrstor carry the whole state over other code that destroys it. */
static void fxsave_restore(void)
{
    static uint8_t image[2][512] __attribute__((aligned(16)));

    __asm__ volatile("fninit; fldpi; fld1; movq %1, %%xmm3; fxsave %0"
                     : "=m"(image[0])
                     : "r"(0x1234567890abcdefull)
                     : "memory");
    __asm__ volatile("fninit; pxor %%xmm3, %%xmm3; fldz; fxrstor %1; fxsave %0"
                     : "=m"(image[1])
                     : "m"(image[0])
                     : "memory");
    CHECK_EQ(memcmp(image[0] + 24, image[1] + 24, 512 - 24 - 96), 0);
    CHECK_EQ(image[1][2] | image[1][3] << 8, image[0][2] | image[0][3] << 8);
    __asm__ volatile("fninit");
}

int main(void)
{
    static const struct test_case cases[] = {
        {"sse", sse}, {"x87", x87}, {"avx", avx}, {"fxsave-restore", fxsave_restore},
    };
    uint32_t r[4] = {0};

    data = page_alloc();
    have_avx = fpu_enable();
    cpuid(7, 0, r);
    have_avx = have_avx && (r[1] >> 5 & 1); /* AVX2 */
    return run_cases("fpu-checksum", cases, ARRAY_SIZE(cases));
}
