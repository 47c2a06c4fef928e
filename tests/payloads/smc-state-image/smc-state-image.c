/* SPDX-License-Identifier: MIT */
/*
 * Rule: an instruction that stores a whole image of the FPU over code on two pages stores all of it, and all of it is executed
 * as it is now, also when the instruction's own block goes on inside the image (SMC case 21).
 *
 * The image lies at page 2 - 192, so that the XMM area (offset 160) begins 32 bytes before the boundary. Each XMM register
 * holds code; x87 registers hold code in their mantissas.
 */
#include "tests/payloads/lib/smc.h"

#define IMAGE_BEFORE 192
#define XMM_OFFSET   160
#define IMAGE_MAX    (XMM_OFFSET + 16 * 16 + 512) /* with the upper halves of YMM, compacted or not: at 576 */
#define ST_OFFSET    28 /* in fnsave's image: 8 times 10 bytes */

struct form {
    const char *name;
    uint8_t code[5]; /* the instruction, on (%rsi) */
    uint8_t len;
    uint8_t feature; /* bit of CPUID 0xd, 1 : eax; 8 = none; 9 = XSAVE itself */
};

static const struct form forms[] = {
    {"fxsave", {0x0f, 0xae, 0x06}, 3, 8},           {"fxsave64", {0x48, 0x0f, 0xae, 0x06}, 4, 8},
    {"xsave", {0x0f, 0xae, 0x26}, 3, 9},            {"xsave64", {0x48, 0x0f, 0xae, 0x26}, 4, 9},
    {"xsaveopt64", {0x48, 0x0f, 0xae, 0x36}, 4, 0}, {"xsavec64", {0x48, 0x0f, 0xc7, 0x26}, 4, 1},
    {"xsaves64", {0x48, 0x0f, 0xc7, 0x2e}, 4, 3},   {"fnsave", {0xdd, 0x36}, 2, 8},
    {"fnstenv", {0xd9, 0x36}, 2, 8},
};
enum { FXSAVE, FXSAVE64, XSAVE, XSAVE64, XSAVEOPT64, XSAVEC64, XSAVES64, FNSAVE, FNSTENV };

static bool have_xsave; /* main() */

static bool available(const struct form *f)
{
    uint32_t r[4] = {0};

    if (f->feature == 8) {
        return true;
    }
    if (have_xsave) {
        cpuid(0xd, 1, r);
    }
    if (have_xsave && (f->feature == 9 || r[0] >> f->feature & 1)) {
        return true;
    }
    printf("  %s: this CPU has no such instruction\n", f->name);
    return false;
}

/* mov $v, %eax; ret; nop ...: what XMM register i holds. */
static void xmm_code(uint8_t *p, unsigned i, uint32_t seed)
{
    memset(p, INSN_NOP, 16);
    emit_return(p, seed * 1000 + i);
}

/* xmm0-15 := code. */
static void load_xmm(uint32_t seed)
{
    static uint8_t v[16][16] __attribute__((aligned(16)));

    for (unsigned i = 0; i < 16; i++) {
        xmm_code(v[i], i, seed);
    }
    __asm__ volatile("movaps (%0), %%xmm0; movaps 16(%0), %%xmm1; movaps 32(%0), %%xmm2; movaps 48(%0), %%xmm3;"
                     "movaps 64(%0), %%xmm4; movaps 80(%0), %%xmm5; movaps 96(%0), %%xmm6; movaps 112(%0), %%xmm7;"
                     "movaps 128(%0), %%xmm8; movaps 144(%0), %%xmm9; movaps 160(%0), %%xmm10; movaps 176(%0), %%xmm11;"
                     "movaps 192(%0), %%xmm12; movaps 208(%0), %%xmm13; movaps 224(%0), %%xmm14; movaps 240(%0), %%xmm15"
                     :
                     : "r"(v)
                     : "memory");
}

static struct form const *form;

/* eax, edx = -1 = all components; rsi = image. The code at c runs the instruction, then what comes behind it. */
static uint64_t save(const void *code, void *image)
{
    uint64_t rax = UINT32_MAX, rdx = UINT32_MAX;

    __asm__ volatile("call *%[code]"
                     : "+a"(rax), "+d"(rdx)
                     : [code] "r"(code), "S"(image)
                     : "rcx", "rdi", "r8", "memory", "cc");
    return rax;
}

/* Old code in all of the image, and after it; functions of 8 bytes. */
static void put_old(uint8_t *image, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        emit_return(image + i, (uint32_t)i);
    }
}

static void execute_old(uint8_t *image, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        CHECK_EQ(call(image + i, 0, 0), i);
    }
}

/* The saver on a page of its own; the whole image must be the same as one stored where there is no code. */
static void over_blocks(void)
{
    uint8_t *elsewhere = pages_alloc(2);
    uint8_t *saver = page_alloc();

    EMIT(emit_bytes(saver, form->code, form->len), INSN_RET);
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        uint8_t *pages = pages_alloc(3);
        uint8_t *image = pages + PAGE_SIZE - IMAGE_BEFORE;

        put_old(image, IMAGE_MAX);
        smc_guard(image - SMC_GUARD_SIZE);
        smc_guard(image + 1024);
        for (uint32_t seed = 1; seed < 6; seed++) {
            if (heat != COLD) {
                execute_old(image, IMAGE_MAX);
            }
            /* xsave keeps header bytes that it does not write: the same ones before. */
            memset(image, 0, IMAGE_MAX);
            memset(elsewhere, 0, IMAGE_MAX);
            put_old(image, 512);
            put_old(elsewhere, 512);
            if (heat == HOT) {
                execute_old(image, 512);
            }
            load_xmm(seed);
            save(saver, elsewhere);
            save(saver, image);
            CHECK_EQ(memcmp(image, elsewhere, IMAGE_MAX), 0);
            for (unsigned i = 0; i < 16; i++) {
                CHECK_EQ(call(image + XMM_OFFSET + i * 16, 0, 0), seed * 1000 + i);
            }
            put_old(image, IMAGE_MAX);
            smc_stores(2 * (2 + 3 * 64 + 3 * IMAGE_MAX / 8 + 2));
        }
        smc_check_guards();
    }
}

/* The instruction ends right where the image's xmm0 begins: its own block goes on there. */
static void into_image(void)
{
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        uint8_t *pages = pages_alloc(3);
        uint8_t *elsewhere = pages_alloc(2);
        uint8_t *far = page_alloc();
        uint8_t *image = pages + PAGE_SIZE - IMAGE_BEFORE;
        uint8_t *code = image + XMM_OFFSET - form->len;

        emit_jmp(far, code);
        for (uint32_t seed = 1; seed < 6; seed++) {
            memset(image, 0, 1024);
            emit_bytes(code, form->code, form->len);
            emit_return(image + XMM_OFFSET, 0x11);
            for (unsigned i = 0; i < (heat == COLD ? 0 : heat == WARM ? 1 : 20); i++) {
                CHECK_EQ(save(heat == HOT ? far : code, elsewhere), 0x11);
            }
            load_xmm(seed);
            CHECK_EQ(save(far, image), seed * 1000);
            smc_stores(2 + 1 + 3 + 2);
        }
    }
}

static void both(unsigned which)
{
    form = &forms[which];
    smc_stores(0);
    if (available(form)) {
        over_blocks();
        into_image();
    }
}

#define X(name, id)                                                                                \
    static void name(void)                                                                         \
    {                                                                                              \
        both(id);                                                                                  \
    }
X(fxsave, FXSAVE)
X(fxsave64, FXSAVE64)
X(xsave, XSAVE)
X(xsave64, XSAVE64)
X(xsaveopt64, XSAVEOPT64)
X(xsavec64, XSAVEC64)
X(xsaves64, XSAVES64)
#undef X

/* Eight x87 registers: mantissa = mov $v, %eax; ret; nop; nop, exponent = nops. */
static void load_x87(uint32_t seed)
{
    for (uint32_t i = 8; i-- > 0;) {
        uint8_t v[10];

        memset(v, INSN_NOP, sizeof(v));
        emit_return(v, seed * 1000 + i);
        __asm__ volatile("fldt %0" : : "m"(v));
    }
}

/* The x87 registers of fnsave's image are executed: ST(0) first, some of them across the page boundary. */
static void fnsave(void)
{
    uint8_t *saver = page_alloc();

    form = &forms[FNSAVE];
    EMIT(emit_bytes(saver, form->code, form->len), INSN_RET);
    for (unsigned before = 0; before <= 108; before += 6) {
        uint8_t *pages = pages_alloc(2);
        uint8_t *image = pages + PAGE_SIZE - before;

        smc_guard(pages + 1024);
        smc_guard(pages + PAGE_SIZE + 1024);
        for (uint32_t seed = 1; seed < 4; seed++) {
            for (unsigned i = 0; i < 8; i++) {
                emit_return(image + ST_OFFSET + 10 * i, i);
                CHECK_EQ(call(image + ST_OFFSET + 10 * i, 0, 0), i);
            }
            load_x87(seed);
            save(saver, image);
            for (unsigned i = 0; i < 8; i++) {
                CHECK_EQ(call(image + ST_OFFSET + 10 * i, 0, 0), seed * 1000 + i);
            }
            CHECK_EQ(image[0], 0x7f); /* FCW */
            CHECK_EQ(image[8] | image[9] << 8, 0);
            smc_stores(8 * 3 + 2);
        }
        smc_check_guards();
    }
}

/* fnstenv's 28 bytes over a block; its last two are undefined, so the code is put there again before it is run. */
static void fnstenv(void)
{
    uint8_t *saver = page_alloc();

    form = &forms[FNSTENV];
    EMIT(emit_bytes(saver, form->code, form->len), INSN_RET);
    for (unsigned before = 0; before <= 28; before += 2) {
        uint8_t *pages = pages_alloc(2);
        uint8_t *image = pages + PAGE_SIZE - before;

        EMIT(image - 2, 0xeb, 26); /* jmp over 26 bytes */
        emit_return(EMIT(image + 26, 0xf3, INSN_NOP), 0x11);
        CHECK_EQ(call(image - 2, 0, 0), 0x11);
        __asm__ volatile("fninit; fld1; fldz");
        save(saver, image);
        CHECK_EQ(image[0] | image[1] << 8, 0x37f);
        CHECK_EQ(image[4] | image[5] << 8, 6 << 11); /* TOP = 6 */
        CHECK_EQ(image[8] | image[9] << 8, 0x1fff);  /* two are valid and zero */
        EMIT(image + 26, 0xf3, INSN_NOP);
        CHECK_EQ(call(image - 2, 0, 0), 0x11);
        __asm__ volatile("fninit");
        smc_stores(4 + 2);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"fxsave", fxsave},     {"fxsave64", fxsave64}, {"xsave", xsave},
        {"xsave64", xsave64},   {"xsaveopt64", xsaveopt64}, {"xsavec64", xsavec64},
        {"xsaves64", xsaves64}, {"fnsave", fnsave},     {"fnstenv", fnstenv},
    };
    fpu_enable();
    have_xsave = read_cr4() & CR4_OSXSAVE;
    return run_smc_cases("smc-state-image", cases, ARRAY_SIZE(cases));
}
