/* SPDX-License-Identifier: MIT */
/*
 * What memory, x87 and vector registers hold when an instruction is tried: random, but such that arithmetic, masks and indices
 * mean something. From diff_rng(), so the same in every run. Must not execute anything.
 */
#include "tests/host/operand-images.h"

#include <cpuid.h>
#include <string.h>

#include "tests/host/diff.h"

/* A vector element of 32 bits: any bits, a small integer, or a float of ordinary size. */
static uint32_t vector_element(void)
{
    uint64_t r = diff_rng();

    switch (r & 3) {
    case 0:
        return (uint32_t)(r >> 32);
    case 1:
        return (uint32_t)(r >> 32) & 63;
    default:
        return 0x3f800000u + ((uint32_t)(r >> 32) & 0x81ffffff);
    }
}

void make_fp_image(uint8_t *p, unsigned n)
{
    bool small = n == NR_FP_IMAGES;
    uint64_t components = hosted_cpu()->env.xcr0 & 0xe7;
    uint16_t word;

    memset(p, 0, HOSTED_XSAVE_SIZE);
    word = 0x37f;
    memcpy(p, &word, 2);
    if (n & 1) {
        word = 4 << 11; /* four registers in use, TOP = 4 */
        memcpy(p + 2, &word, 2);
        p[4] = 0xf0;
    }
    for (unsigned i = 0; i < 4 && (n & 1); i++) {
        uint64_t mantissa = diff_rng() | 1ull << 63;
        word = (uint16_t)(0x3ffc + (diff_rng() & 0x8007));
        memcpy(p + 32 + i * 16, &mantissa, 8);
        memcpy(p + 40 + i * 16, &word, 2);
    }
    uint32_t mxcsr = n == 2 ? 0x1f80 & ~0x0680u : 0x1f80; /* one image raises #XM: invalid, zero divide, overflow */
    memcpy(p + 24, &mxcsr, 4);
    memcpy(p + 512, &components, 8);
    for (unsigned c = 1; c < 8; c++) {
        unsigned size = 256, at = 160, unused;

        if (!(components & BIT(c))) {
            continue;
        }
        if (c > 1) {
            __cpuid_count(0xd, c, size, at, unused, unused);
        }
        for (unsigned i = 0; i < size; i += 4) {
            uint32_t v = !small ? vector_element() : i & 4 ? 0 : (uint32_t)diff_rng() & 31;
            /* register 2, vvvv of a VEX gather, is the mask: signs decide */
            v |= small && (c == 1 || c == 2) && i / 16 == 2 ? (uint32_t)diff_rng() & 0x80000000u : 0;
            memcpy(p + at + i, &v, 4);
        }
    }
}

void make_data_image(uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i += 4) {
        uint32_t v = vector_element();
        memcpy(p + i, &v, 4);
    }
}
