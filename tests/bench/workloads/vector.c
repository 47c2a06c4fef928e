/* SPDX-License-Identifier: MIT */
/* Floating point and vectors. Only operations that IEEE 754 defines exactly, so that every engine gives the same bits. */
#include "tests/bench/workloads/work.h"

#include <immintrin.h>

static uint64_t bits_of(double v)
{
    union {
        double d;
        uint64_t u;
    } b = {.d = v};

    return b.u;
}

/* ---- gravity between five bodies; 1/r^3 with sqrtsd ---- */
#define BODIES 5

static double root(double v)
{
    return _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(v)));
}

uint64_t work_nbody(uint64_t n)
{
    double pos[BODIES][3] = {{0, 0, 0}, {4.8, -1.1, -0.1}, {8.3, 4.1, -0.4}, {12.8, -15.1, -0.2}, {15.3, -25.9, 0.1}};
    double vel[BODIES][3] = {{0, 0, 0}, {0.6, 2.8, 0}, {-1, 1.8, 0}, {1, 0.8, 0}, {0.9, 0.5, 0}};
    static const double mass[BODIES] = {39.4, 0.037, 0.011, 0.0017, 0.002};
    uint64_t sum = 1;

    for (uint64_t step = 0; step < n; step++) {
        for (unsigned i = 0; i < BODIES; i++) {
            for (unsigned j = i + 1; j < BODIES; j++) {
                double d[3], r2 = 0;

                for (unsigned k = 0; k < 3; k++) {
                    d[k] = pos[i][k] - pos[j][k];
                    r2 += d[k] * d[k];
                }
                double mag = 0.001 / (r2 * root(r2));

                for (unsigned k = 0; k < 3; k++) {
                    vel[i][k] -= d[k] * mass[j] * mag;
                    vel[j][k] += d[k] * mass[i] * mag;
                }
            }
        }
        for (unsigned i = 0; i < BODIES; i++) {
            for (unsigned k = 0; k < 3; k++) {
                pos[i][k] += 0.001 * vel[i][k];
            }
        }
    }
    for (unsigned i = 0; i < BODIES; i++) {
        sum = work_mix(sum, bits_of(pos[i][0]));
    }
    return sum;
}

uint64_t work_mandel(uint64_t n)
{
    uint64_t sum = 1;

    for (uint64_t y = 0; y < n; y++) {
        for (uint64_t x = 0; x < n; x++) {
            double cr = 3.0 * (double)x / (double)n - 2.2, ci = 2.4 * (double)y / (double)n - 1.2;
            double zr = 0, zi = 0;
            unsigned i = 0;

            for (; i < 400 && zr * zr + zi * zi < 4; i++) {
                double t = zr * zr - zi * zi + cr;

                zi = 2 * zr * zi + ci;
                zr = t;
            }
            sum = work_mix(sum, i);
        }
    }
    return sum;
}

/* ---- packed ---- */
#define LANES 2048

static float fa[LANES] __attribute__((aligned(32))), fb[LANES] __attribute__((aligned(32)));
static int32_t ia[LANES] __attribute__((aligned(32)));

static void fill(void)
{
    uint32_t seed = 31;

    for (unsigned i = 0; i < LANES; i++) {
        fa[i] = (float)(work_random(&seed) & 0xffff) / 65536;
        fb[i] = (float)(work_random(&seed) & 0xffff) / 65536;
        ia[i] = (int32_t)work_random(&seed);
    }
}

static uint64_t digest(void)
{
    uint64_t sum = 1;

    for (unsigned i = 0; i < LANES; i++) {
        sum = work_mix(sum, (uint32_t)ia[i]);
        sum = work_mix(sum, bits_of((double)fa[i]));
    }
    return sum;
}

uint64_t work_sse(uint64_t n)
{
    fill();
    for (uint64_t round = 0; round < n; round++) {
        __m128 k = _mm_set1_ps(0.5f);
        __m128i m = _mm_set1_epi32((int)round);

        for (unsigned i = 0; i < LANES; i += 4) {
            __m128 a = _mm_load_ps(fa + i), b = _mm_load_ps(fb + i);
            __m128i v = _mm_load_si128((const __m128i *)(const void *)(ia + i));

            _mm_store_ps(fa + i, _mm_add_ps(_mm_mul_ps(a, k), b));
            v = _mm_add_epi32(_mm_xor_si128(v, m), _mm_srli_epi32(v, 3));
            _mm_store_si128((__m128i *)(void *)(ia + i), _mm_shuffle_epi32(v, 0x39));
        }
    }
    return digest();
}

__attribute__((target("avx2"))) uint64_t work_avx(uint64_t n)
{
    fill();
    for (uint64_t round = 0; round < n; round++) {
        __m256 k = _mm256_set1_ps(0.5f);
        __m256i m = _mm256_set1_epi32((int)round);

        for (unsigned i = 0; i < LANES; i += 8) {
            __m256 a = _mm256_load_ps(fa + i), b = _mm256_load_ps(fb + i);
            __m256i v = _mm256_load_si256((const __m256i *)(const void *)(ia + i));

            _mm256_store_ps(fa + i, _mm256_add_ps(_mm256_mul_ps(a, k), b));
            v = _mm256_add_epi32(_mm256_xor_si256(v, m), _mm256_srli_epi32(v, 3));
            _mm256_store_si256((__m256i *)(void *)(ia + i), _mm256_shuffle_epi32(v, 0x39));
        }
    }
    return digest();
}
