/* SPDX-License-Identifier: MIT */
/* mm/frame.c against an array of booleans: ranges as bad as firmware gives them, random allocation
 * to exhaustion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernel/lib/string.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "tests/host/mm-host.h"

#define ARENA_FRAMES 8192 /* 32 MiB from physical 0 */
#define RUN_MAX      128

struct range {
    uint64_t base, len;
};

/* Unsorted, touching, overlapping, unaligned, empty, too small for a bitmap of their own; with page
 * 0. */
static const struct range ranges[] = {
    {0x1000000, 0x800000},
    {0x0, 0x9fc00},
    {0x100000, 0x200000},
    {0x300800, 0x5000},
    {0x2fe000, 0x3000},
    {0x1800000, 0x700000},
    {0x500000, 0},
    {0x600010, 0xff0},
    {0x700fff, 0x1001},
    {0x900000, 0x2fffff},
    {0x900000, 0x1000},
    {0xbffffff, 0},
    {0xffffffffffff0000ull, 0x20000},
};

/* What the model knows of each frame. */
static enum { NOT_RAM, FREE, USED } state[ARENA_FRAMES];
static bool usable[ARENA_FRAMES];

static bool frame_filled_with(hpa_t hpa, uint8_t byte)
{
    const uint8_t *p = phys_to_virt(hpa);

    return p[0] == byte && !memcmp(p, p + 1, PAGE_SIZE - 1);
}

/* Frames that one of the ranges holds whole. */
static void model_ranges(void)
{
    uint64_t f;
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(ranges); i++) {
        for (f = 1; f < ARENA_FRAMES; f++) {
            uint64_t offset = (f << PAGE_SHIFT) - ranges[i].base;

            if ((f << PAGE_SHIFT) >= ranges[i].base && offset + PAGE_SIZE <= ranges[i].len) {
                usable[f] = true;
            }
        }
    }
}

static void test_ranges(void **ctx)
{
    uint64_t n = 0, f;
    hpa_t hpa;
    unsigned i;

    model_ranges();
    for (i = 0; i < ARRAY_SIZE(ranges); i++) {
        frames_add(ranges[i].base, ranges[i].len);
    }
    for (f = 0; f < ARENA_FRAMES; f++) {
        n += usable[f];
    }
    assert_int_equal(frames_total(), n); /* before sealing: nothing taken for bitmaps */
    hpa = frame_alloc();
    assert_int_not_equal(hpa, HPA_INVALID);
    assert_true(frames_total() < n && frames_total() >= n - 16);
    assert_int_equal(frames_free(), frames_total() - 1);
    frame_free(hpa);
    assert_int_equal(frames_free(), frames_total());
}

/* Take all there is: learns which frames exist, each exactly once, zeroed, and inside the ranges.
 */
static void test_exhaust(void **ctx)
{
    static hpa_t got[ARENA_FRAMES];
    uint64_t n = 0, total = frames_total(), i;

    while ((got[n] = frame_alloc()) != HPA_INVALID) {
        uint64_t f = got[n] >> PAGE_SHIFT;

        assert_int_equal(got[n] & ~PAGE_MASK, 0);
        assert_true(f > 0 && f < ARENA_FRAMES && usable[f]);
        assert_int_equal(state[f], NOT_RAM);
        assert_true(frame_filled_with(got[n], 0));
        state[f] = USED;
        n++;
    }
    assert_int_equal(n, total);
    assert_int_equal(frames_free(), 0);
    assert_int_equal(frame_alloc_contig(2, PAGE_SIZE), HPA_INVALID);
    for (i = 0; i < n; i++) {
        frame_free(got[i]);
        assert_true(frame_filled_with(got[i], 0xdf));
        state[got[i] >> PAGE_SHIFT] = FREE;
    }
    assert_int_equal(frames_free(), total);
}

/* The naive answer to "is there such a run?". */
static bool model_has_run(uint64_t count, uint64_t align_frames)
{
    uint64_t f, i;

    for (f = 0; f + count <= ARENA_FRAMES; f += align_frames) {
        for (i = 0; i < count && state[f + i] == FREE; i++) {
        }
        if (i == count) {
            return true;
        }
    }
    return false;
}

static void mark(hpa_t hpa, uint64_t count, int from, int to)
{
    uint64_t f = hpa >> PAGE_SHIFT, i;

    for (i = 0; i < count; i++) {
        assert_int_equal(state[f + i], from);
        state[f + i] = to;
    }
}

static void test_random(void **ctx)
{
    static struct {
        hpa_t hpa;
        uint64_t count;
    } runs[4096];
    uint64_t nr = 0, used = 0, refused = 0;
    unsigned step, k;

    srand(1);
    for (step = 0; step < 20000; step++) {
        /* Waves of filling up and of emptying. */
        bool alloc =
            (unsigned)rand() % 100 < ((step / 2000) % 2 ? 35u : 75u) && nr < ARRAY_SIZE(runs);

        if (alloc) {
            uint64_t count = rand() % 4 ? 1 : 1 + (unsigned)rand() % (rand() % 8 ? RUN_MAX : 1500);
            uint64_t align = PAGE_SIZE << (rand() % 3 ? 0 : (unsigned)rand() % 10);
            hpa_t hpa =
                count == 1 && align == PAGE_SIZE ? frame_alloc() : frame_alloc_contig(count, align);

            if (hpa == HPA_INVALID) {
                assert_false(model_has_run(count, align >> PAGE_SHIFT));
                refused++;
                continue;
            }
            assert_int_equal(hpa & (align - 1), 0);
            assert_true(frame_filled_with(hpa, 0) &&
                        frame_filled_with(hpa + (count - 1) * PAGE_SIZE, 0));
            mark(hpa, count, FREE, USED);
            runs[nr].hpa = hpa;
            runs[nr++].count = count;
            used += count;
        } else if (nr) {
            k = (unsigned)rand() % nr;
            frame_free_contig(runs[k].hpa, runs[k].count);
            mark(runs[k].hpa, runs[k].count, USED, FREE);
            used -= runs[k].count;
            runs[k] = runs[--nr];
        }
        assert_int_equal(frames_free(), frames_total() - used);
    }
    assert_true(refused > 50); /* the test did reach exhaustion */
    while (nr) {
        frame_free_contig(runs[nr - 1].hpa, runs[nr - 1].count);
        nr--;
    }
    assert_int_equal(frames_free(), frames_total());
    assert_int_equal(frame_alloc_contig(0, PAGE_SIZE), HPA_INVALID);
    assert_int_equal(frame_alloc_contig(1ull << 40, PAGE_SIZE), HPA_INVALID);
    assert_int_not_equal(frame_alloc_contig(512, 0x200000), HPA_INVALID);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_exhaust),
        cmocka_unit_test(test_random),
    };

    mm_host_init(0, ARENA_FRAMES * PAGE_SIZE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
