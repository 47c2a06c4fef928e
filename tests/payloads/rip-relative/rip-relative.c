/* SPDX-License-Identifier: MIT */
/*
 * Rule: a RIP-relative operand is the address of the next instruction plus the displacement, wherever the code lies and
 * whatever the instruction, its registers, its immediate and its prefixes. Each form runs at several addresses with its
 * data near and a gigabyte away, and once more with a base register instead: registers, flags and data must agree.
 */
#include "tests/payloads/lib/page.h"
#include "tests/payloads/lib/random-code.h"

struct form {
    const char *name;
    uint8_t prefix; /* legacy or mandatory prefix, 0 = none */
    bool w;         /* REX.W */
    uint8_t map;    /* 0, 0x0f, 0x38, 0x3a */
    uint8_t opcode;
    int8_t reg;     /* ModRM.reg, -1 = every register */
    uint8_t imm;    /* bytes of immediate */
    uint8_t before, after; /* one-byte instructions round it, 0 = none */
};

static const struct form forms[] = {
    {"mov r8, m", 0, 0, 0, 0x8a, -1, 0, 0, 0},       {"mov m, r8", 0, 0, 0, 0x88, -1, 0, 0, 0},
    {"mov r16, m", 0x66, 0, 0, 0x8b, -1, 0, 0, 0},   {"mov m, r16", 0x66, 0, 0, 0x89, -1, 0, 0, 0},
    {"mov r32, m", 0, 0, 0, 0x8b, -1, 0, 0, 0},      {"mov m, r32", 0, 0, 0, 0x89, -1, 0, 0, 0},
    {"mov r64, m", 0, 1, 0, 0x8b, -1, 0, 0, 0},      {"mov m, r64", 0, 1, 0, 0x89, -1, 0, 0, 0},
    {"mov m, imm8", 0, 0, 0, 0xc6, 0, 1, 0, 0},      {"mov m, imm16", 0x66, 0, 0, 0xc7, 0, 2, 0, 0},
    {"mov m, imm32", 0, 0, 0, 0xc7, 0, 4, 0, 0},     {"mov m64, imm32", 0, 1, 0, 0xc7, 0, 4, 0, 0},
    {"add r, m", 0, 1, 0, 0x03, -1, 0, 0, 0},        {"add m, r", 0, 1, 0, 0x01, -1, 0, 0, 0},
    {"adc m, imm8", 0, 1, 0, 0x83, 2, 1, 0, 0},      {"sbb m, imm32", 0, 0, 0, 0x81, 3, 4, 0, 0},
    {"cmp m, imm8", 0, 0, 0, 0x80, 7, 1, 0, 0},      {"cmp m16, imm16", 0x66, 0, 0, 0x81, 7, 2, 0, 0},
    {"cmp m, r", 0, 0, 0, 0x39, -1, 0, 0, 0},        {"test m, r", 0, 1, 0, 0x85, -1, 0, 0, 0},
    {"test m, imm32", 0, 1, 0, 0xf7, 0, 4, 0, 0},    {"test m8, imm8", 0, 0, 0, 0xf6, 0, 1, 0, 0},
    {"not m", 0, 1, 0, 0xf7, 2, 0, 0, 0},            {"neg m", 0, 0, 0, 0xf7, 3, 0, 0, 0},
    {"mul m", 0, 1, 0, 0xf7, 4, 0, 0, 0},            {"imul m", 0, 0, 0, 0xf7, 5, 0, 0, 0},
    {"mul m8", 0, 0, 0, 0xf6, 4, 0, 0, 0},           {"imul r, m", 0, 1, 0x0f, 0xaf, -1, 0, 0, 0},
    {"imul r, m, imm8", 0, 1, 0, 0x6b, -1, 1, 0, 0}, {"imul r, m, imm32", 0, 0, 0, 0x69, -1, 4, 0, 0},
    {"inc m", 0, 1, 0, 0xff, 0, 0, 0, 0},            {"dec m8", 0, 0, 0, 0xfe, 1, 0, 0, 0},
    {"lock inc m", 0xf0, 1, 0, 0xff, 0, 0, 0, 0},    {"lock add m, r", 0xf0, 1, 0, 0x01, -1, 0, 0, 0},
    {"lock xadd", 0xf0, 1, 0x0f, 0xc1, -1, 0, 0, 0}, {"xadd8", 0, 0, 0x0f, 0xc0, -1, 0, 0, 0},
    {"xchg", 0, 1, 0, 0x87, -1, 0, 0, 0},            {"xchg8", 0, 0, 0, 0x86, -1, 0, 0, 0},
    {"lock cmpxchg", 0xf0, 1, 0x0f, 0xb1, -1, 0, 0, 0}, {"cmpxchg8", 0, 0, 0x0f, 0xb0, -1, 0, 0, 0},
    {"cmpxchg8b", 0xf0, 0, 0x0f, 0xc7, 1, 0, 0, 0},  {"cmpxchg16b", 0, 1, 0x0f, 0xc7, 1, 0, 0, 0},
    {"shl m, 1", 0, 1, 0, 0xd1, 4, 0, 0, 0},         {"ror m, imm8", 0, 0, 0, 0xc1, 1, 1, 0, 0},
    {"rcl m, cl", 0, 1, 0, 0xd3, 2, 0, 0, 0},        {"sar m8, cl", 0, 0, 0, 0xd2, 7, 0, 0, 0},
    {"shrd m, r, cl", 0, 1, 0x0f, 0xad, -1, 0, 0, 0},
    {"bt m, imm", 0, 1, 0x0f, 0xba, 4, 1, 0, 0},     {"lock bts m, imm", 0xf0, 1, 0x0f, 0xba, 5, 1, 0, 0},
    {"movzx r, m8", 0, 0, 0x0f, 0xb6, -1, 0, 0, 0},  {"movzx r, m16", 0, 1, 0x0f, 0xb7, -1, 0, 0, 0},
    {"movsx r, m8", 0, 1, 0x0f, 0xbe, -1, 0, 0, 0},  {"movsxd r, m", 0, 1, 0, 0x63, -1, 0, 0, 0},
    {"cmovc r, m", 0, 1, 0x0f, 0x42, -1, 0, 0, 0},   {"cmovz r32, m", 0, 0, 0x0f, 0x44, -1, 0, 0, 0},
    {"setc m", 0, 0, 0x0f, 0x92, 0, 0, 0, 0},        {"setz m", 0, 0, 0x0f, 0x94, 0, 0, 0, 0},
    {"popcnt", 0xf3, 1, 0x0f, 0xb8, -1, 0, 0, 0},    {"movbe", 0, 1, 0x38, 0xf0, -1, 0, 0, 0},
    {"crc32", 0xf2, 0, 0x38, 0xf1, -1, 0, 0, 0},     {"push m; pop rax", 0, 0, 0, 0xff, 6, 0, 0, 0x58},
    {"push rcx; pop m", 0, 0, 0, 0x8f, 0, 0, 0x51, 0}, {"movnti", 0, 1, 0x0f, 0xc3, -1, 0, 0, 0},
    {"movups x, m", 0, 0, 0x0f, 0x10, -1, 0, 0, 0},  {"movups m, x", 0, 0, 0x0f, 0x11, -1, 0, 0, 0},
    {"movdqa x, m", 0x66, 0, 0x0f, 0x6f, -1, 0, 0, 0}, {"movss x, m", 0xf3, 0, 0x0f, 0x10, -1, 0, 0, 0},
    {"movq x, m", 0xf3, 0, 0x0f, 0x7e, -1, 0, 0, 0}, {"movq m, x", 0x66, 0, 0x0f, 0xd6, -1, 0, 0, 0},
    {"pshufd x, m, imm", 0x66, 0, 0x0f, 0x70, -1, 1, 0, 0}, {"cvtsi2sd", 0xf2, 1, 0x0f, 0x2a, -1, 0, 0, 0},
    {"cvttsd2si", 0xf2, 1, 0x0f, 0x2c, -1, 0, 0, 0}, {"roundsd", 0x66, 0, 0x3a, 0x0b, -1, 1, 0, 0},
    {"pextrd m, x, imm", 0x66, 0, 0x3a, 0x16, -1, 1, 0, 0}, {"prefetch", 0, 0, 0x0f, 0x18, 1, 0, 0, 0},
    {"stmxcsr", 0, 0, 0x0f, 0xae, 3, 0, 0, 0}, {"fld", 0, 0, 0, 0xdd, 0, 0, 0, 0},
    {"nop m", 0, 0, 0x0f, 0x1f, 0, 0, 0, 0},         {"clflush", 0, 0, 0x0f, 0xae, 7, 0, 0, 0},
};

/* A code page with two data pages behind it, mapped together at every base; the data once more at base + FAR. */
#define FAR 0x40000000ull
static const uint64_t bases[] = {0x0000000070000000, 0x0000000090000000, 0x00007f0000000000,
                                 0x00005555deadb000, 0xffffffff81000000, 0xffffffffa0000000,
                                 0xffff888012345000};
static uint8_t *pages; /* code, data, data */

static void map_everywhere(void)
{
    pages = pages_alloc(3);
    for (size_t b = 0; b < ARRAY_SIZE(bases); b++) {
        for (uint64_t i = 0; i < 3; i++) {
            page_map(bases[b] + i * 4096, (uint64_t)pages + i * 4096, PTE_P | PTE_W);
        }
        for (uint64_t i = 1; i < 3; i++) { /* the top gigabyte has no room above */
            uint64_t far = bases[b] + (bases[b] >> 63 ? -FAR : FAR) + i * 4096;

            page_map(far, (uint64_t)pages + i * 4096, PTE_P | PTE_W);
        }
    }
}

/* Emit form f with register r: RIP-relative to `target` for code that runs at `at`, or (at = 0) with r15 as its base. */
static size_t emit_form(uint8_t *out, const struct form *f, unsigned r, uint64_t at, uint64_t target,
                        const uint8_t *imm)
{
    uint8_t *p = out;
    uint8_t rex = (uint8_t)(0x40 | (f->w ? 8 : 0) | (r >> 3) << 2 | (at ? 0 : 1));

    if (f->before) {
        *p++ = f->before;
    }
    if (f->prefix) {
        *p++ = f->prefix;
    }
    *p++ = rex;
    if (f->map) {
        *p++ = 0x0f;
        if (f->map != 0x0f) {
            *p++ = f->map;
        }
    }
    *p++ = f->opcode;
    if (at) {
        *p++ = (uint8_t)((r & 7) << 3 | 5);
        p = emit32(p, (uint32_t)(target - (at + (uint64_t)(p - out) + 4 + f->imm)));
    } else {
        *p++ = (uint8_t)(0x87 | (r & 7) << 3);
        p = emit32(p, 0);
    }
    p = emit_bytes(p, imm, f->imm);
    if (f->after) {
        *p++ = f->after;
    }
    *p++ = 0xc3;
    return (size_t)(p - out);
}

struct outcome {
    struct random_regs regs;
    uint8_t data[64], xmm[16][16];
};

#define EACH_XMM(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define STR1(x) #x
#define STR(x) STR1(x)
#define LOAD(n) "movdqu 16*" STR(n) "(%0), %%xmm" STR(n) "\n\t"
#define SAVE(n) "movdqu %%xmm" STR(n) ", 16*" STR(n) "(%0)\n\t"

static void run(struct outcome *o, uint64_t code, uint8_t *data, uint64_t base_reg, uint64_t seed)
{
    struct rng rng = {seed};

    random_regs_init(&o->regs, &rng, (void *)base_reg);
    o->regs.gpr[3] &= 0xff;
    for (unsigned i = 0; i < 8; i++) {
        ((uint64_t *)data)[i] = rng_next(&rng);
    }
    for (unsigned i = 0; i < 32; i++) {
        ((uint64_t *)o->xmm)[i] = rng_next(&rng);
    }
    __asm__ volatile("fninit\n\t" EACH_XMM(LOAD) : : "r"(o->xmm) : "memory");
    random_run(&o->regs, (void *)code);
    __asm__ volatile(EACH_XMM(SAVE) "fninit" : : "r"(o->xmm) : "memory");
    memcpy(o->data, data, 64);
    o->regs.rflags &= FLAGS_ARITH;
}

static void compare(const struct form *f, unsigned r, uint64_t at, uint64_t target, uint64_t seed)
{
    static struct outcome rip, based;
    uint8_t imm[4] = {0x95, 0x37, 0x11, 0x26};
    uint8_t *data = pages + 4096 + 256;

    emit_form(pages, f, r, at, target, imm);
    run(&rip, at, data, (uint64_t)data, seed);
    emit_form(pages + 2048, f, r, 0, 0, imm);
    run(&based, (uint64_t)pages + 2048, data, (uint64_t)data, seed);
    check_eq(f->name, (int)r, "registers", (uint64_t)memcmp(&rip.regs, &based.regs, sizeof(rip.regs)), 0);
    check_eq(f->name, (int)r, "memory", (uint64_t)memcmp(rip.data, based.data, 64), 0);
    check_eq(f->name, (int)r, "xmm", (uint64_t)memcmp(rip.xmm, based.xmm, sizeof(rip.xmm)), 0);
}

static void all_forms(bool far)
{
    for (size_t b = 0; b < ARRAY_SIZE(bases); b++) {
        uint64_t off = far ? (bases[b] >> 63 ? -FAR : FAR) : 0;

        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
            for (unsigned r = 0; r < 16; r++) {
                if (forms[i].reg >= 0 && r != (unsigned)forms[i].reg) {
                    continue;
                }
                if (r == 4 || r == 15) { /* the stack pointer, and the base of the other variant */
                    continue;
                }
                compare(&forms[i], r, bases[b], bases[b] + off + 4096 + 256, b * 1000 + i * 17 + r + 1);
            }
        }
    }
}

static void near_data(void)
{
    all_forms(false);
}

static void far_data(void)
{
    all_forms(true);
}

/* QEMU 7.2's TCG forgets the immediate's length: its result is one byte off. */
static void double_shift_imm(void)
{
    static const struct form form = {"shld m, r, imm", 0, 1, 0x0f, 0xa4, -1, 1, 0, 0};

    for (size_t b = 0; b < ARRAY_SIZE(bases); b++) {
        compare(&form, 1, bases[b], bases[b] + 4096 + 256, b + 1);
    }
}

/* lea: 64, 32, 16 bits, and with 67h; mov through 67h where the address fits. */
static void addresses(void)
{
    for (size_t b = 0; b < ARRAY_SIZE(bases); b++) {
        static const uint8_t prefixes[][2] = {{0x48, 0}, {0x40, 0}, {0x66, 0x40}, {0x67, 0x48}, {0x67, 0x40}};

        for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
            uint8_t *p = EMIT(pages, prefixes[i][0]);
            uint64_t rax = 0x1111111111111111, expected = bases[b] + 0x1234;

            if (prefixes[i][1]) {
                *p++ = prefixes[i][1];
            }
            p = EMIT(p, 0x8d, 0x05);
            p = emit32(p, (uint32_t)(0x1234 - (p + 4 - pages)));
            *p = 0xc3;
            if (i == 2) {
                expected = (rax & ~0xffffull) | (expected & 0xffff);
            } else if (i) {
                expected = (uint32_t)expected;
            }
            __asm__ volatile("call *%1" : "+a"(rax) : "r"(bases[b]) : "memory");
            CHECK_EQ(rax, expected);
        }
        if (bases[b] >> 32 == 0) {
            uint8_t *p = EMIT(pages, 0x67, 0x48, 0x8b, 0x05);
            uint64_t rax = 0;

            p = emit32(p, (uint32_t)(4096 - (p + 4 - pages)));
            *p = 0xc3;
            *(uint64_t *)(pages + 4096) = 0xfeedfacecafebeef + b;
            __asm__ volatile("call *%1" : "+a"(rax) : "r"(bases[b]) : "memory");
            CHECK_EQ(rax, 0xfeedfacecafebeef + b);
        }
    }
}

/* call and jmp through RIP-relative memory */
static void branches(void)
{
    for (size_t b = 0; b < ARRAY_SIZE(bases); b++) {
        for (unsigned n = 0; n < 20; n++) {
            uint64_t rax = 0;
            /* call *A; jmp *B; (hlt); at 64: inc %eax; ret; at 128: add $2, %eax; ret */
            uint8_t *p = EMIT(pages, 0xff, 0x15);

            p = emit32(p, 4096 - 6);
            p = EMIT(p, 0xff, 0x25);
            p = emit32(p, 4096 + 8 - 12);
            EMIT(p, 0xf4);
            EMIT(pages + 64, 0xff, 0xc0, 0xc3);
            EMIT(pages + 128, 0x83, 0xc0, 2, 0xc3);
            ((uint64_t *)(pages + 4096))[0] = bases[b] + (n & 1 ? 64 : 128);
            ((uint64_t *)(pages + 4096))[1] = bases[b] + (n & 2 ? 64 : 128);
            __asm__ volatile("call *%1" : "+a"(rax) : "r"(bases[b]) : "memory", "cc");
            CHECK_EQ(rax, (n & 1 ? 1 : 2) + (n & 2 ? 1 : 2));
        }
    }
}

/* A segment override adds its base to the RIP-relative address. */
static void segment_base(void)
{
    for (size_t b = 0; b < ARRAY_SIZE(bases); b++) {
        for (unsigned seg = 0; seg < 2; seg++) {
            uint8_t *p = EMIT(pages, seg ? 0x65 : 0x64, 0x48, 0x8b, 0x05);
            uint64_t rax = 0;

            p = emit32(p, (uint32_t)(4096 - (p + 4 - pages)));
            *p = 0xc3;
            *(uint64_t *)(pages + 4096 + 0x40) = 0x1122334455667788 + b;
            wrmsr(0xc0000100 + seg, 0x40);
            __asm__ volatile("call *%1" : "+a"(rax) : "r"(bases[b]) : "memory");
            wrmsr(0xc0000100 + seg, 0);
            CHECK_EQ(rax, 0x1122334455667788 + b);
        }
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"near", near_data},     {"far", far_data},          {"addresses", addresses},
        {"branches", branches},  {"segment-base", segment_base},
        {"double-shift-imm", double_shift_imm},
    };
    paging_init();
    fpu_enable();
    map_everywhere();
    return run_cases("rip-relative", cases, ARRAY_SIZE(cases));
}
