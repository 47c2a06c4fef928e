/* SPDX-License-Identifier: MIT */
/*
 * The extents that dbt/access.c computes against what the CPU writes: strings in both directions, bit strings with offsets of both
 * signs, masked stores, scatters. Every instruction runs natively on memory of zeros and on memory of ones, so a byte that it
 * writes has changed at least once.
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

static void observe(const char *bytes, size_t len, const uint64_t regs[16], uint64_t flags, const uint8_t *mask)
{
    static const uint8_t data[16] = {0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a};
    uint64_t seg_base[6] = {0};
    struct insn_regs r = {.gpr = regs, .seg_base = seg_base, .rflags = flags, .xcr0 = 7};
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

static int init(void **state)
{
    hosted_init();
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_strings), cmocka_unit_test(test_bits), cmocka_unit_test(test_masked),
                                              cmocka_unit_test(test_scatter)};

    return cmocka_run_group_tests(tests, init, NULL);
}
