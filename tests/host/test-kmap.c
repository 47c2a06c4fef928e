/* SPDX-License-Identifier: MIT */
/*
 * mm/kmap.c against an array that says for each page of a window what it maps: random map, unmap
 * and protect calls, every page looked up with the model MMU after each, and a TLB that only
 * forgets what it is told to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernel/lib/string.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/kmap.h"
#include "mm/layout.h"
#include "tests/host/mm-host.h"
#include "tests/host/mmu-model.h"

#define ARENA_BASE   0x100000ull
#define ARENA_SIZE   0x4000000ull
#define PHYS_LAST    (ARENA_BASE + ARENA_SIZE - 1)

#define AREA_VA      (KDEVICE_BASE + 0x3fc00000) /* crosses a 1 GiB boundary */
#define AREA_PAGES   3072ull

#define CACHED_LARGE 0x100 /* in flags: a TLB entry that came from a large page */

struct page {
    bool present;
    unsigned flags;
    hpa_t hpa;
};
static struct page area[AREA_PAGES];
/* What the simulated TLB holds of the area; invlpg removes. */
static struct page tlb[AREA_PAGES];

static uint64_t phys_read(uint64_t addr)
{
    return *(uint64_t *)phys_to_virt(addr);
}

static struct page hardware_walk(uint64_t va)
{
    struct mmu_model m = {.read = phys_read,
                          .cr3 = kmap_root(),
                          .wp = true,
                          .nxe = true,
                          .smep = true,
                          .pge = true,
                          .maxphyaddr = 46};
    struct mmu_result r = mmu_model_walk(&m, va, (struct mmu_access){0});
    struct page page = {.present = r.ok};

    if (r.ok) {
        uint64_t leaf = r.entry[r.entries - 1];

        assert_false(r.user);
        assert_true(r.global);
        page.hpa = r.addr;
        page.flags =
            (r.writable ? KMAP_W : 0) | (r.nx ? 0 : KMAP_X) | ((leaf & 0x10) ? KMAP_UC : 0);
    }
    return page;
}

static bool same(struct page a, struct page b)
{
    return a.present == b.present && (!a.present || (a.flags == b.flags && a.hpa == b.hpa));
}

/* One INVLPG drops the page, and if a large page translates the address, all of that. */
static void on_invlpg(gva_t va)
{
    uint64_t i;

    for (i = 0; i < AREA_PAGES; i++) {
        uint64_t page = AREA_VA + i * PAGE_SIZE;

        if (page == va || ((tlb[i].flags & CACHED_LARGE) &&
                           ALIGN_DOWN(page, 0x200000) == ALIGN_DOWN(va, 0x200000))) {
            tlb[i] = (struct page){0};
        }
    }
}

static bool maps_large(uint64_t va)
{
    struct mmu_model m = {
        .read = phys_read, .cr3 = kmap_root(), .wp = true, .nxe = true, .maxphyaddr = 46};

    return mmu_model_walk(&m, va, (struct mmu_access){0}).page_level == 2;
}

/* Every page as the model says, through the MMU, through kmap_query(), and as far as the TLB
 * remembers it. */
static void check_area(void)
{
    uint64_t i;

    for (i = 0; i < AREA_PAGES; i++) {
        uint64_t va = AREA_VA + i * PAGE_SIZE;
        struct page hw = hardware_walk(va);
        hpa_t hpa = 0;
        int flags = kmap_query(va, &hpa);

        assert_true(same(hw, area[i]));
        assert_int_equal(flags, area[i].present ? (int)area[i].flags : -1);
        assert_true(!area[i].present || hpa == area[i].hpa);
        if (tlb[i].present) {
            assert_true(area[i].present && tlb[i].hpa == hw.hpa &&
                        (tlb[i].flags & ~CACHED_LARGE) == hw.flags);
        }
        if (hw.present && rand() % 2) {
            tlb[i] = hw;
            tlb[i].flags |= maps_large(va) ? CACHED_LARGE : 0;
        }
    }
}

static void test_physmap(void **ctx)
{
    hpa_t hpa;
    uint64_t pa;
    unsigned slot;
    const uint64_t *root = phys_to_virt(kmap_root());

    for (pa = 0; pa <= PHYS_LAST; pa += 0x1ff000) {
        struct page hw = hardware_walk(PHYSMAP_BASE + pa);

        assert_true(hw.present && hw.hpa == pa && hw.flags == KMAP_W);
    }
    assert_true(maps_large(PHYSMAP_BASE));
    assert_int_equal(kmap_query(PHYSMAP_BASE + PHYS_LAST, &hpa), KMAP_W);
    assert_int_equal(hpa, PHYS_LAST);
    assert_int_equal(kmap_query(PHYSMAP_BASE + ALIGN_UP(PHYS_LAST, 0x200000), NULL), -1);
    assert_int_equal(kmap_query(0, NULL), -1);
    assert_int_equal(kmap_query(0x800000000000, NULL), -1); /* not canonical */
    for (slot = 0; slot < 512; slot++) {
        assert_int_equal(root[slot] & 1, slot >= MONITOR_PML4_FIRST && slot <= MONITOR_PML4_LAST);
    }
}

static void test_protect(void **ctx)
{
    hpa_t text = ARENA_BASE + 0x5ff000;

    assert_int_equal(kmap_protect_physmap(text, 0x3000, 0), 0);
    assert_int_equal(kmap_query(PHYSMAP_BASE + text - 1, NULL), KMAP_W);
    assert_int_equal(kmap_query(PHYSMAP_BASE + text, NULL), 0);
    assert_int_equal(kmap_query(PHYSMAP_BASE + text + 0x2fff, NULL), 0);
    assert_int_equal(kmap_query(PHYSMAP_BASE + text + 0x3000, NULL), KMAP_W);
    assert_int_equal(kmap_protect_physmap(text + 0x1000, 0x1000, KMAP_NONE), 0);
    assert_int_equal(kmap_query(PHYSMAP_BASE + text + 0x1000, NULL), -1);
    assert_int_equal(kmap_protect_physmap(text, 0x3000, KMAP_W), 0);
    assert_int_equal(kmap_query(PHYSMAP_BASE + text + 0x1000, NULL), KMAP_W);
}

static void test_random(void **ctx)
{
    static const unsigned kinds[] = {0, KMAP_W, KMAP_X, KMAP_W | KMAP_UC, KMAP_UC};
    unsigned step;

    srand(3);
    for (step = 0; step < 300; step++) {
        uint64_t start = (unsigned)rand() % AREA_PAGES, count, i;
        unsigned flags = kinds[(unsigned)rand() % ARRAY_SIZE(kinds)];
        hpa_t hpa = 0x40000000 + ((hpa_t)((unsigned)rand() % 4096) << PAGE_SHIFT);

        if (rand() % 2) {
            start = ALIGN_DOWN(start, 512);
            hpa = ALIGN_DOWN(hpa, 0x200000);
        }
        count = 1 + (unsigned)rand() % (rand() % 2 ? 1200 : 3);
        count = MIN(count, AREA_PAGES - start);
        if (rand() % 3) {
            assert_int_equal(kmap_map(AREA_VA + start * PAGE_SIZE, hpa, count * PAGE_SIZE, flags),
                             0);
        } else {
            assert_int_equal(kmap_unmap(AREA_VA + start * PAGE_SIZE, count * PAGE_SIZE), 0);
            hpa = HPA_INVALID;
        }
        for (i = 0; i < count; i++) {
            area[start + i].present = hpa != HPA_INVALID;
            area[start + i].hpa = hpa + i * PAGE_SIZE;
            area[start + i].flags = flags;
        }
        check_area();
    }
}

static void test_stacks(void **ctx)
{
    uint64_t free = frames_free();
    uint64_t a = kmap_stack_alloc(4), b = kmap_stack_alloc(2), va;

    assert_true(a && b && a != b);
    for (va = a - 4 * PAGE_SIZE; va < a; va += PAGE_SIZE) {
        assert_int_equal(kmap_query(va, NULL), KMAP_W);
    }
    assert_int_equal(kmap_query(a, NULL), -1);
    assert_int_equal(kmap_query(a - 4 * PAGE_SIZE - 1, NULL), -1);
    assert_int_equal(kmap_query(b, NULL), -1);
    assert_int_equal(kmap_query(b - 2 * PAGE_SIZE - 1, NULL), -1);
    /* A stack that does not fit gives back what it took; page tables may stay. */
    free = frames_free();
    assert_int_equal(kmap_stack_alloc((unsigned)free + 1), 0);
    assert_true(frames_free() >= free - 64);
    assert_int_not_equal(kmap_stack_alloc(1), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_physmap),
        cmocka_unit_test(test_protect),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_stacks),
    };

    mm_host_init(ARENA_BASE, ARENA_SIZE);
    frames_add(ARENA_BASE, ARENA_SIZE);
    mm_host_hooks.invlpg = on_invlpg;
    if (kmap_init(PHYS_LAST)) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
