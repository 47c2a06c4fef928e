/* SPDX-License-Identifier: MIT */
/*
 * The extents that dbt/access.c computes against what the CPU writes: strings in both directions, bit strings with offsets of both
 * signs, masked stores, scatters, what goes on the stack, state images, compare-and-exchange. Every instruction runs natively on
 * memory of zeros and on memory of ones, so a byte that it writes has changed at least once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/decode.h"
#include "tests/host/hosted.h"

#define CODE   (HOSTED_LOW_BASE + 0x1000)
#define SOURCE (HOSTED_LOW_BASE + 0x10000)
#define AREA   (HOSTED_LOW_BASE + 0x20000)
#define SIZE   0x8000u
#define MIDDLE (AREA + SIZE / 2)

static uint8_t changed[SIZE];
static struct insn insn;
static struct insn_access acc[INSN_MAX_ACCESS];
static int nr_acc;
static bool exact;

static void set_state(const uint64_t regs[16], uint64_t flags)
{
    struct CPUX86State *env = &hosted_cpu()->env;

    memcpy(env->regs, regs, sizeof(env->regs));
    env->eflags = 2 | flags;
    env->eip = CODE;
    env->cpl = 3;
    memset(hosted_guest_fp, 0, sizeof(hosted_guest_fp));
}

/* The low halves of the vector registers 1 and 2; XMM is component 1, its registers are at 160. */
static void set_vectors(const uint8_t xmm1[16], const uint8_t xmm2[16])
{
    memcpy(hosted_guest_fp + 160 + 16, xmm1, 16);
    memcpy(hosted_guest_fp + 160 + 32, xmm2, 16);
    *(uint64_t *)(hosted_guest_fp + 512) = 2;
    *(uint32_t *)(hosted_guest_fp + 24) = 0x1f80;
}

/* AVX-512's mask register 1 is component 5's second. */
static void set_k1(uint64_t mask)
{
    uint32_t eax = 0xd, ebx, ecx = 5, edx;

    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    *(uint64_t *)(hosted_guest_fp + ebx + 8) = mask;
    *(uint64_t *)(hosted_guest_fp + 512) |= 1u << 5;
}
static uint64_t k1;

static void observe(const char *bytes, size_t len, const uint64_t regs[16], uint64_t flags, const uint8_t *mask)
{
    static const uint8_t data[16] = {0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a};
    uint64_t seg_base[6] = {0};
    struct insn_regs r = {.gpr = regs, .seg_base = seg_base, .rflags = flags, .xcr0 = hosted_cpu()->env.xcr0};
    struct hosted_result res;

    memcpy((void *)CODE, bytes, len);
    ((uint8_t *)CODE)[len] = 0xcc;
    memset((void *)SOURCE, 0x5a, SIZE);
    memset(changed, 0, sizeof(changed));
    assert_int_equal(insn_decode(&insn, (const uint8_t *)bytes, len), DECODE_OK);
    nr_acc = insn_accesses(&insn, &r, CODE + len, acc, &exact);
    for (unsigned fill = 0; fill <= 0xff; fill += 0xff) {
        memset((void *)AREA, (int)fill, SIZE);
        set_state(regs, flags);
        if (mask) {
            set_vectors(data, mask);
        }
        if (k1) {
            set_k1(k1);
        }
        hosted_run_native(&res);
        assert_int_equal(res.vector, EXCP03_INT3);
        for (unsigned i = 0; i < SIZE; i++) {
            changed[i] |= ((uint8_t *)AREA)[i] != fill;
        }
    }
}
#define OBSERVE(s, ...) observe(s, sizeof(s) - 1, __VA_ARGS__)

static bool in_extent(uint64_t va)
{
    for (int i = 0; i < nr_acc; i++) {
        if (acc[i].acc & ACC_W && va - acc[i].addr < acc[i].len) {
            return true;
        }
    }
    return false;
}

/* Nothing outside of the extent was written; all of it was, if tight. Returns the bytes written. */
static unsigned check_extent(bool tight)
{
    unsigned n = 0;

    assert_true(exact);
    for (unsigned i = 0; i < SIZE; i++) {
        n += changed[i];
        if (changed[i] != in_extent(AREA + i) && (changed[i] || tight)) {
            fail_msg("%s: byte %+d from the middle is %swritten", insn_name(&insn), (int)i - (int)SIZE / 2, changed[i] ? "" : "not ");
        }
    }
    return n;
}

static void test_strings(void **state)
{
    static const struct {
        const char *bytes;
        unsigned len, size;
    } forms[] = {{"\xaa", 1, 1},         {"\x66\xab", 2, 2},     {"\xab", 1, 4},         {"\x48\xab", 2, 8},
                 {"\xa4", 1, 1},         {"\x66\xa5", 2, 2},     {"\xa5", 1, 4},         {"\x48\xa5", 2, 8},
                 {"\xf3\xaa", 2, 1},     {"\xf3\x66\xab", 3, 2}, {"\xf3\xab", 2, 4},     {"\xf3\x48\xab", 3, 8},
                 {"\xf3\xa4", 2, 1},     {"\xf3\x66\xa5", 3, 2}, {"\xf3\xa5", 2, 4},     {"\xf3\x48\xa5", 3, 8}};
    static const unsigned counts[] = {0, 1, 2, 3, 17, 500, 1000};

    for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
        for (unsigned c = 0; c < ARRAY_SIZE(counts) * 2 * 4; c++) {
            bool down = c & 1, rep = (uint8_t)forms[f].bytes[0] == 0xf3;
            unsigned count = counts[c / 2 % ARRAY_SIZE(counts)];
            uint64_t regs[16] = {[R_EAX] = 0x5a5a5a5a5a5a5a5a, [R_ECX] = count, [R_ESI] = SOURCE + SIZE / 2,
                                 [R_EDI] = MIDDLE + c / 2 / ARRAY_SIZE(counts), [R_ESP] = SOURCE};

            observe(forms[f].bytes, forms[f].len, regs, down ? DF_MASK : 0, NULL);
            assert_int_equal(check_extent(true), (rep ? count : 1) * forms[f].size);
        }
    }
}

/* bts, btr, btc with a register offset: the operand is somewhere round the address, on either side. */
static void test_bits(void **state)
{
    static const int64_t offsets[] = {0, 1, 7, 8, 15, 16, 31, 32, 63, 64, 65, 1000, 32767, -1, -8, -9, -16, -17, -32, -33, -64, -65, -1000, -32768};
    static const char *const ops[3] = {"\x0f\xab\x06", "\x0f\xb3\x06", "\x0f\xbb\x06"}; /* r %eax, (%rsi) */
    static const char *const prefix[3] = {"\x66", "", "\x48"};

    for (unsigned n = 0; n < ARRAY_SIZE(offsets) * 9; n++) {
        int64_t bit = offsets[n / 9];
        unsigned size = 2u << n % 3;
        char bytes[8];
        uint64_t regs[16] = {[R_EAX] = (uint64_t)bit, [R_ESI] = MIDDLE, [R_ESP] = SOURCE};

        snprintf(bytes, sizeof(bytes), "%s%s", prefix[n % 3], ops[n / 3 % 3]);
        observe(bytes, strlen(bytes), regs, 0, NULL);
        assert_int_equal(check_extent(false), 1);
        assert_int_equal(acc[0].len, size); /* the operand, no more: the CPU may write all of it */
        assert_true(in_extent(MIDDLE + (uint64_t)(bit >> 3)) && changed[SIZE / 2 + (bit >> 3)]);
    }
}

static void test_masked(void **state)
{
    static const char *const forms[] = {"\x66\x0f\xf7\xca", "\xc4\xe2\x69\x2e\x0f", "\xc4\xe2\x69\x2f\x0f"};
    /* maskmovdqu %xmm2, %xmm1; vmaskmovps %xmm1, %xmm2, (%rdi); vmaskmovpd */
    static const unsigned lane[] = {1, 4, 8};

    for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
        for (unsigned pattern = 0; pattern < 1u << 16 / lane[f]; pattern += lane[f] == 1 ? 251 : 1) {
            uint64_t regs[16] = {[R_EDI] = MIDDLE + 5, [R_ESP] = SOURCE};
            uint8_t mask[16];

            for (unsigned i = 0; i < 16; i++) {
                mask[i] = pattern >> i / lane[f] & 1 ? 0x80 : 0;
            }
            observe(forms[f], f ? 5 : 4, regs, 0, mask);
            assert_int_equal(check_extent(false), (unsigned)__builtin_popcount(pattern) * lane[f]);
            assert_int_equal(acc[0].len, 16);
        }
        uint64_t regs[16] = {[R_EDI] = MIDDLE + 5, [R_ESP] = SOURCE};
        uint8_t all[16];

        memset(all, 0x80, sizeof(all));
        observe(forms[f], f ? 5 : 4, regs, 0, all);
        assert_int_equal(check_extent(true), 16);
    }
}

/* vmovdqu8 %xmm1, (%rdi){%k1}; vpcompressd %xmm1, (%rdi){%k1}: within 16 bytes, whatever the mask. */
static void test_opmask(void **state)
{
    static const uint8_t any[16];
    uint64_t regs[16] = {[R_EDI] = MIDDLE + 5, [R_ESP] = SOURCE};

    if (!__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512bw") || !(hosted_cpu()->env.xcr0 & 0x20)) {
        skip();
    }
    for (k1 = 1; k1 < 0x10000; k1 = k1 * 3 + 1) {
        OBSERVE("\x62\xf1\x7f\x09\x7f\x0f", regs, 0, any);
        assert_int_equal(check_extent(false), __builtin_popcountll(k1 & 0xffff));
        OBSERVE("\x62\xf2\x7d\x09\x8b\x0f", regs, 0, any);
        assert_int_equal(check_extent(false), 4 * __builtin_popcountll(k1 & 0xf));
    }
    k1 = 0;
}

/* Where a scatter writes is in vector registers: it must not claim to be known. */
static void test_scatter(void **state)
{
    static const uint8_t vpscatterdd[] = {0x62, 0xf2, 0x7d, 0x49, 0xa0, 0x0c, 0x17}; /* zmm1 -> (%rdi,%zmm2){%k1} */
    uint64_t regs[16] = {0}, seg_base[6] = {0};
    struct insn_regs r = {.gpr = regs, .seg_base = seg_base, .xcr0 = 7};

    assert_int_equal(insn_decode(&insn, vpscatterdd, sizeof(vpscatterdd)), DECODE_OK);
    assert_int_equal(insn_accesses(&insn, &r, CODE, acc, &exact), 0);
    assert_false(exact);
}

#define POINTER (CODE + 0x100) /* of calls, beside the code */

/* Pushes of all kinds, with the frames of near and far calls; rsp is in the middle. */
static void test_stack(void **state)
{
    static const struct {
        const char *bytes;
        unsigned len, written;
    } forms[] = {
        {"\x50", 1, 8},                         /* push %rax */
        {"\x66\x50", 2, 2},                     /* push %ax */
        {"\x54", 1, 8},                         /* push %rsp */
        {"\x6a\x5a", 2, 8},                     /* push $0x5a */
        {"\x66\x6a\x5a", 3, 2},                 /* pushw $0x5a */
        {"\x68\x5a\x5a\x5a\x5a", 5, 8},         /* push $imm32 */
        {"\xff\x36", 2, 8},                     /* push (%rsi) */
        {"\x66\xff\x36", 3, 2},                 /* pushw (%rsi) */
        {"\x9c", 1, 8},                         /* pushf */
        {"\x66\x9c", 2, 2},                     /* pushfw */
        {"\x0f\xa0", 2, 8},                     /* push %fs */
        {"\xe8\0\0\0\0", 5, 8},                /* call */
        {"\xff\xd0", 2, 8},                     /* call *%rax */
        {"\xff\x17", 2, 8},                     /* call *(%rdi) */
        {"\xff\x5f\x10", 3, 8},                 /* lcall *16(%rdi), m16:32 */
        {"\x48\xff\x5f\x20", 4, 16},            /* lcall *32(%rdi), m16:64 */
    };
    uint16_t cs;

    __asm__("mov %%cs, %0" : "=r"(cs));
    for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
        uint64_t next = CODE + forms[f].len;
        uint64_t regs[16] = {[R_EAX] = next, [R_ESI] = SOURCE, [R_EDI] = POINTER, [R_ESP] = MIDDLE + 1};

        memcpy((void *)POINTER, &next, 8);
        memcpy((void *)(POINTER + 16), &next, 4);
        memcpy((void *)(POINTER + 20), &cs, 2);
        memcpy((void *)(POINTER + 32), &next, 8);
        memcpy((void *)(POINTER + 40), &cs, 2);
        observe(forms[f].bytes, forms[f].len, regs, 0, NULL);
        assert_int_equal(check_extent(true), forms[f].written);
    }
}

/* enter at every level: the old frame pointer, those of the outer frames, the new one. */
static void test_enter(void **state)
{
    for (unsigned level = 0; level < 64; level++) {
        char bytes[] = {'\xc8', 0x20, 0, (char)level};
        uint64_t regs[16] = {[R_EBP] = SOURCE + SIZE / 2, [R_ESP] = MIDDLE + 3};

        observe(bytes, sizeof(bytes), regs, 0, NULL);
        assert_int_equal(check_extent(true), 8 * (level % 32 + 1));
    }
}

/* pop to memory addressed by rsp: as it is after the pop. */
static void test_pop(void **state)
{
    uint64_t regs[16] = {[R_ESI] = MIDDLE, [R_ESP] = SOURCE};

    OBSERVE("\x8f\x06", regs, 0, NULL);
    assert_int_equal(check_extent(true), 8);
    OBSERVE("\x66\x8f\x06", regs, 0, NULL);
    assert_int_equal(check_extent(true), 2);
    regs[R_ESP] = AREA - 8;
    *(uint64_t *)(AREA - 8) = 0x5a5a5a5a5a5a5a5a;
    OBSERVE("\x8f\x04\x24", regs, 0, NULL);
    assert_int_equal(check_extent(true), 8);
    assert_true(changed[0]);
}

/* lock cmpxchg, cmpxchg8b, cmpxchg16b: memory of zeros compares equal and is written, memory of ones does not. */
static void test_cmpxchg(void **state)
{
    uint64_t regs[16] = {[R_EBX] = 0x5a5a5a5a5a5a5a5a, [R_ECX] = 0x5a5a5a5a5a5a5a5a, [R_EDI] = MIDDLE, [R_ESP] = SOURCE};

    OBSERVE("\xf0\x0f\xb0\x0f", regs, 0, NULL);
    assert_int_equal(check_extent(true), 1);
    OBSERVE("\xf0\x48\x0f\xb1\x0f", regs, 0, NULL);
    assert_int_equal(check_extent(true), 8);
    OBSERVE("\xf0\x0f\xc7\x0f", regs, 0, NULL);
    assert_int_equal(check_extent(true), 8);
    OBSERVE("\xf0\x48\x0f\xc7\x0f", regs, 0, NULL);
    assert_int_equal(check_extent(true), 16);
}

static unsigned last_changed(void)
{
    unsigned i = SIZE;

    while (i && !changed[i - 1]) {
        i--;
    }
    return i;
}

/* Images of the FPU. What the CPU leaves alone inside of one is its own business; that it writes to the last byte shows that the
 * extent is not too large. */
static void test_images(void **state)
{
    static const struct {
        const char *bytes;
        unsigned len, size;
    } fixed[] = {{"\x0f\xae\x06", 3, 512}, {"\x48\x0f\xae\x06", 4, 512}, {"\xdd\x36", 2, 108}, {"\xd9\x36", 2, 28},
                 {"\x66\xd9\x36", 3, 14},  {"\x66\xdd\x36", 3, 94},       {"\xdb\x3e", 2, 10},  {"\x0f\xae\x1e", 3, 4},
                 {"\xd9\x3e", 2, 2},       {"\xdd\x3e", 2, 2},            {"\xdf\x36", 2, 10}};
    static const char *const xsaves[] = {"\x0f\xae\x26", "\x48\x0f\xae\x26", "\x48\x0f\xae\x36", "\x48\x0f\xc7\x26"};
    uint32_t eax = 0xd, ebx, ecx = 1, edx;

    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    for (unsigned f = 0; f < ARRAY_SIZE(fixed); f++) {
        uint64_t regs[16] = {[R_ESI] = MIDDLE, [R_ESP] = SOURCE};

        observe(fixed[f].bytes, fixed[f].len, regs, 0, NULL);
        assert_true(check_extent(false) > 0);
        assert_int_equal(acc[0].len, fixed[f].size);
    }
    for (unsigned f = 0; f < ARRAY_SIZE(xsaves); f++) {
        bool have = f < 2 || (f == 2 ? eax & 1 : eax & 2);

        for (uint64_t components = 0; have && components < 0x100; components += components < 8 ? 1 : 31) {
            uint64_t regs[16] = {[R_EAX] = components, [R_ESI] = MIDDLE, [R_ESP] = SOURCE};

            observe(xsaves[f], f ? 4 : 3, regs, 0, NULL);
            check_extent(false);
            if (f < 2 && (components & 0xfc) == 4) { /* AVX, at 576, is the last that is saved */
                assert_int_equal(last_changed(), SIZE / 2 + 576 + 256);
                assert_int_equal(acc[0].len, 576 + 256);
            }
        }
    }
}

static int init(void **state)
{
    hosted_init();
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_strings), cmocka_unit_test(test_bits), cmocka_unit_test(test_masked),
                                              cmocka_unit_test(test_opmask),  cmocka_unit_test(test_scatter),
                                              cmocka_unit_test(test_stack),   cmocka_unit_test(test_enter), cmocka_unit_test(test_pop),
                                              cmocka_unit_test(test_cmpxchg), cmocka_unit_test(test_images)};

    return cmocka_run_group_tests(tests, init, NULL);
}
