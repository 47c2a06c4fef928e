/* SPDX-License-Identifier: MIT */
/*
 * The loader's memory map: order, merging, our own allocations, overflow; and random maps against a
 * page-by-page model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "boot/memory-map.h"
#include "kernel/lib/types.h"

static struct boot_info info;

static void assert_range(unsigned i, uint64_t base, uint64_t len, uint32_t type)
{
    assert_true(i < info.mem_count);
    assert_int_equal(info.mem[i].base, base);
    assert_int_equal(info.mem[i].len, len);
    assert_int_equal(info.mem[i].type, type);
}

static void test_sorts_and_merges(void **state)
{
    struct mem_span spans[] = {
        {0x100000, 0x100000, BOOT_MEM_USABLE}, {0, 0x9f000, BOOT_MEM_USABLE},
        {0x300000, 0x1000, BOOT_MEM_RESERVED}, {0x200000, 0x100000, BOOT_MEM_USABLE},
        {0x9f000, 0, BOOT_MEM_RESERVED},       {0x301000, 0x1000, BOOT_MEM_RUNTIME},
    };

    memory_map_build(&info, spans, ARRAY_SIZE(spans), NULL, 0);
    assert_int_equal(info.mem_count, 4);
    assert_range(0, 0, 0x9f000, BOOT_MEM_USABLE);
    assert_range(1, 0x100000, 0x200000, BOOT_MEM_USABLE);
    assert_range(2, 0x300000, 0x1000, BOOT_MEM_RESERVED);
    assert_range(3, 0x301000, 0x1000, BOOT_MEM_RUNTIME);
}

static void test_own_allocations(void **state)
{
    struct mem_span spans[] = {{0x1000, 0x8000, BOOT_MEM_USABLE},
                               {0x9000, 0x1000, BOOT_MEM_RESERVED}};
    static const struct mem_span own[] = {{0x5000, 0x1000, BOOT_MEM_LOADER},
                                          {0x1000, 0x1000, BOOT_MEM_LOADER},
                                          {0x6000, 0x3000, BOOT_MEM_LOADER}};

    memory_map_build(&info, spans, ARRAY_SIZE(spans), own, ARRAY_SIZE(own));
    assert_int_equal(info.mem_count, 4);
    assert_range(0, 0x1000, 0x1000, BOOT_MEM_LOADER);
    assert_range(1, 0x2000, 0x3000, BOOT_MEM_USABLE);
    assert_range(2, 0x5000, 0x4000, BOOT_MEM_LOADER);
    assert_range(3, 0x9000, 0x1000, BOOT_MEM_RESERVED);
}

static void test_top_of_address_space(void **state)
{
    struct mem_span spans[] = {{0xfffffffffffff000, 0x1000, BOOT_MEM_RESERVED},
                               {0, 0x1000, BOOT_MEM_USABLE}};

    memory_map_build(&info, spans, ARRAY_SIZE(spans), NULL, 0);
    assert_int_equal(info.mem_count, 2);
    assert_range(1, 0xfffffffffffff000, 0x1000, BOOT_MEM_RESERVED);
}

static void test_too_many_ranges(void **state)
{
    struct mem_span spans[BOOT_MEM_MAX + 10];
    const unsigned count = ARRAY_SIZE(spans);

    for (unsigned i = 0; i < count; i++) {
        spans[i] = (struct mem_span){i * 0x2000ull, 0x1000, BOOT_MEM_USABLE};
    }
    memory_map_build(&info, spans, count, NULL, 0);
    assert_int_equal(info.mem_count, BOOT_MEM_MAX);
    assert_range(BOOT_MEM_MAX - 2, (BOOT_MEM_MAX - 2) * 0x2000ull, 0x1000, BOOT_MEM_USABLE);
    assert_range(BOOT_MEM_MAX - 1, (BOOT_MEM_MAX - 1) * 0x2000ull, 10 * 0x2000ull + 0x1000,
                 BOOT_MEM_RESERVED);
}

#define MODEL_PAGES 64

/*
 * Page by page: the type that the first span by address gives, LOADER where ours and usable; 0 = in
 * no span.
 */
static void test_random_maps(void **state)
{
    srandom(1);
    for (unsigned round = 0; round < 5000; round++) {
        struct mem_span spans[6], own[3];
        uint32_t model[MODEL_PAGES] = {0}, seen[MODEL_PAGES] = {0};
        unsigned page = 0, count = 0;

        /* Not overlapping, then shuffled: what firmware gives. */
        while (count < ARRAY_SIZE(spans) && page < MODEL_PAGES - 8) {
            unsigned start = page + (unsigned)random() % 4, len = 1 + (unsigned)random() % 8;

            len = MIN(len, MODEL_PAGES - start);
            spans[count].type = 1 + (unsigned)random() % 3;
            spans[count].base = start * PAGE_SIZE;
            spans[count].len = len * PAGE_SIZE;
            for (unsigned i = start; i < start + len; i++) {
                model[i] = spans[count].type;
            }
            count++;
            page = start + len;
        }
        for (unsigned i = 0; i < ARRAY_SIZE(own); i++) {
            unsigned start = (unsigned)random() % MODEL_PAGES, len = (unsigned)random() % 6;

            own[i] = (struct mem_span){start * PAGE_SIZE, len * PAGE_SIZE, BOOT_MEM_LOADER};
            for (unsigned p = start; p < start + len && p < MODEL_PAGES; p++) {
                model[p] = model[p] == BOOT_MEM_USABLE ? BOOT_MEM_LOADER : model[p];
            }
        }
        for (unsigned i = count - 1; i > 0; i--) {
            unsigned j = (unsigned)random() % (i + 1);
            struct mem_span t = spans[i];

            spans[i] = spans[j];
            spans[j] = t;
        }
        memory_map_build(&info, spans, count, own, ARRAY_SIZE(own));
        for (unsigned i = 0; i < info.mem_count; i++) {
            if (i > 0) {
                assert_true(info.mem[i - 1].base + info.mem[i - 1].len <= info.mem[i].base);
            }
            for (uint64_t p = info.mem[i].base / PAGE_SIZE;
                 p < (info.mem[i].base + info.mem[i].len) / PAGE_SIZE; p++) {
                seen[p] = info.mem[i].type;
            }
        }
        assert_memory_equal(seen, model, sizeof(model));
    }
}

static void test_overlapping_spans(void **state)
{
    struct mem_span spans[] = {{0x1000, 0x4000, BOOT_MEM_RESERVED},
                               {0x2000, 0x1000, BOOT_MEM_USABLE},
                               {0x4000, 0x3000, BOOT_MEM_USABLE}};

    memory_map_build(&info, spans, ARRAY_SIZE(spans), NULL, 0);
    assert_int_equal(info.mem_count, 2);
    assert_range(0, 0x1000, 0x4000, BOOT_MEM_RESERVED);
    assert_range(1, 0x5000, 0x2000, BOOT_MEM_USABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorts_and_merges),     cmocka_unit_test(test_own_allocations),
        cmocka_unit_test(test_top_of_address_space), cmocka_unit_test(test_too_many_ranges),
        cmocka_unit_test(test_random_maps),          cmocka_unit_test(test_overlapping_spans),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
