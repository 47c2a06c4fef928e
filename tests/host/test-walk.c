/* SPDX-License-Identifier: MIT */
/*
 * mm/walk.c against the model, enumerated (not sampled) over permission bits, presence, reserved
 * bits and A/D of all levels, page sizes, kinds of access and control bits; then tables outside
 * RAM, tables that are their own children, and garbage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernel/lib/string.h"
#include "mm/frame.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"
#include "mm/walk.h"
#include "tests/host/mm-host.h"
#include "tests/host/mmu-model.h"

#define GUEST_RAM 0x400000ull
#define PHYS_BITS 40

/* x86 bits, typed again here on purpose. */
#define P        0x1ull
#define W        0x2ull
#define U        0x4ull
#define A        0x20ull
#define D        0x40ull
#define PS       0x80ull
#define G        0x100ull
#define PAT      0x1000ull
#define NX       (1ull << 63)

#define CR0_WP   (1ull << 16)
#define CR4_PGE  (1ull << 7)
#define CR4_SMEP (1ull << 20)
#define EFER_NXE (1ull << 11)

/* Four tables in guest RAM, by level; the indices of TEST_VA differ at every level. */
static const gpa_t tables[5] = {0, 0x11000, 0x12000, 0x13000, 0x14000};
static const gva_t va = 0xffffa5c3b6a71123;

static unsigned written_calls;
static ram_addr_t written_last;

static void on_written(ram_addr_t ram, unsigned len)
{
    assert_int_equal(len, 8);
    written_calls++;
    written_last = ram;
}

static uint64_t *guest_word(gpa_t gpa)
{
    ram_addr_t ram;

    assert_true(gpa_to_ram(gpa, &ram));
    return ram_to_virt(ram);
}

static uint64_t model_read(uint64_t gpa)
{
    ram_addr_t ram;

    return gpa_to_ram(gpa, &ram) ? *(uint64_t *)ram_to_virt(ram) : ~0ull;
}

static uint64_t *entry_of(unsigned level)
{
    return guest_word(tables[level] + ((va >> (12 + 9 * (level - 1))) & 511) * 8);
}

struct control {
    bool wp, nxe, smep, pge;
};

static struct guest_paging paging_of(struct control c)
{
    return (struct guest_paging){
        .cr0 = 0x80000001 | (c.wp ? CR0_WP : 0),
        .cr3 = tables[4] | 0x18, /* PWT and PCD are not address bits */
        .cr4 = 0x20 | (c.smep ? CR4_SMEP : 0) | (c.pge ? CR4_PGE : 0),
        .efer = 0x500 | (c.nxe ? EFER_NXE : 0),
        .maxphyaddr = PHYS_BITS,
    };
}

/* All kinds of access that exist: read, write, fetch by both privileges. */
#define ACCESS_KINDS 6
static unsigned access_flags(unsigned kind)
{
    static const unsigned what[3] = {0, WALK_WRITE, WALK_FETCH};

    return what[kind % 3] | (kind >= 3 ? WALK_USER : 0);
}

static struct mmu_access model_access(unsigned flags)
{
    return (struct mmu_access){
        .write = flags & WALK_WRITE, .user = flags & WALK_USER, .fetch = flags & WALK_FETCH};
}

/* One walk, compared in everything: result, A/D bits of every entry passed, notification of writes
 * to tracked tables. */
static void check_walk(const struct guest_paging *gp, gva_t gva, unsigned flags)
{
    struct mmu_model m = {.read = model_read,
                          .cr3 = gp->cr3,
                          .wp = gp->cr0 & CR0_WP,
                          .nxe = gp->efer & EFER_NXE,
                          .smep = gp->cr4 & CR4_SMEP,
                          .pge = gp->cr4 & CR4_PGE,
                          .maxphyaddr = gp->maxphyaddr};
    struct mmu_result want = mmu_model_walk(&m, gva, model_access(flags));
    struct walk_result got;
    unsigned i, notify = 0;
    int rc;

    written_calls = 0;
    rc = guest_walk(gp, gva, flags, &got);
    assert_int_equal(rc, want.ok ? 0 : -14);
    if (!want.ok) {
        assert_int_equal(got.error_code, want.error_code);
    } else {
        assert_int_equal(got.gpa, want.addr);
        assert_int_equal(got.level, want.page_level);
        assert_int_equal(got.writable, want.writable);
        assert_int_equal(got.user, want.user);
        assert_int_equal(got.nx, want.nx);
        assert_int_equal(got.global, want.global);
        assert_int_equal(got.dirty, want.dirty || ((flags & WALK_WRITE) && !(flags & WALK_PROBE)));
    }
    for (i = 0; i < want.entries; i++) {
        uint64_t expect = want.entry[i];
        ram_addr_t ram;

        if (want.ok && !(flags & WALK_PROBE)) {
            expect |= A | (i == want.entries - 1 && (flags & WALK_WRITE) ? D : 0);
        }
        assert_int_equal(model_read(want.entry_addr[i]), expect);
        if (expect != want.entry[i] && gpa_to_ram(want.entry_addr[i], &ram)) {
            notify += track_reasons(ram & PAGE_MASK) != 0;
        }
    }
    assert_int_equal(written_calls, notify);
}

/* Fill in the tables from the top to the leaf; bits[l] for level l. Levels below the leaf hold a
 * trap. */
static void build(unsigned leaf, const uint64_t bits[5])
{
    unsigned l;

    for (l = 4; l >= 1; l--) {
        uint64_t target =
            l > leaf ? tables[l - 1] : (0x5ull << 30); /* any size of page is aligned there */

        *entry_of(l) =
            l < leaf ? 0xdeadbeefdeadbeef : target | bits[l] | (l == leaf && l > 1 ? PS : 0);
    }
}

/* All rights at all levels, for all accesses under all controls. */
static void test_rights(void **ctx)
{
    unsigned leaf, combo, kind, control;

    for (leaf = 1; leaf <= 3; leaf++) {
        for (combo = 0; combo < 1u << (3 * (5 - leaf)); combo++) {
            uint64_t bits[5] = {0};
            unsigned l, c = combo;

            for (l = 4; l >= leaf; l--, c >>= 3) {
                bits[l] = P | (c & 1 ? W : 0) | (c & 2 ? U : 0) | (c & 4 ? NX : 0);
            }
            bits[leaf] |= G | (leaf > 1 ? PAT : PS); /* PAT is not reserved, wherever it is */
            for (control = 0; control < 16; control++) {
                struct guest_paging gp =
                    paging_of((struct control){control & 1, control & 2, control & 4, control & 8});

                for (kind = 0; kind < ACCESS_KINDS; kind++) {
                    build(leaf, bits);
                    check_walk(&gp, va, access_flags(kind) | WALK_PROBE);
                    check_walk(&gp, va, access_flags(kind));
                }
            }
        }
    }
}

/* What an entry may be like apart from its rights; every level takes every one. */
static uint64_t entry_state(unsigned state, unsigned level, unsigned leaf)
{
    switch (state) {
    case 0:
        return P;
    case 1:
        return P | A;
    case 2:
        return A | D | 0x8000000000000000ull | (1ull << 51); /* absent: nothing else is looked at */
    case 3:
        return P | (1ull << PHYS_BITS);
    case 4:
        return P | (1ull << 51) | A;
    case 5: /* the lowest reserved bit of the format; there is none in a 4 KiB leaf and in most
               pointers */
        return P | (level == 4 ? PS : level == leaf && level > 1 ? 1ull << 13 : 0);
    case 6:
        return P | (level == leaf && level > 1 ? 1ull << (level == 3 ? 29 : 20) : 0) |
               (0x7ffull << 52);
    default:
        return P | A | D;
    }
}
#define ENTRY_STATES 8

static void test_states(void **ctx)
{
    static const uint64_t rights[] = {W | U, U, W, W | U | NX};
    unsigned leaf, combo, kind, control, r;

    /* Two of the four tables are tracked: changes to them, and only those, are reported. */
    assert_true(track_set(tables[1], TRACK_CODE));
    assert_true(track_set(tables[3], TRACK_CODE));
    for (leaf = 1; leaf <= 3; leaf++) {
        for (combo = 0; combo < 1u << (3 * (5 - leaf)); combo++) {
            for (r = 0; r < ARRAY_SIZE(rights); r++) {
                uint64_t bits[5] = {0};
                unsigned l, c = combo;

                for (l = 4; l >= leaf; l--, c >>= 3) {
                    bits[l] = entry_state(c % ENTRY_STATES, l, leaf) | rights[r];
                }
                for (control = 0; control < 8; control++) {
                    struct guest_paging gp =
                        paging_of((struct control){control & 1, control & 2, control & 4, false});

                    for (kind = 0; kind < ACCESS_KINDS; kind++) {
                        build(leaf, bits);
                        check_walk(&gp, va, access_flags(kind));
                    }
                }
            }
        }
    }
    assert_true(track_clear(tables[1], TRACK_CODE));
    assert_true(track_clear(tables[3], TRACK_CODE));
}

static void test_maxphyaddr(void **ctx)
{
    unsigned width, b;

    for (width = 36; width <= 52; width++) {
        struct guest_paging gp = paging_of((struct control){true, true, true, true});

        gp.maxphyaddr = width;
        for (b = 30; b < 52; b++) {
            const uint64_t bits[5] = {0, P | (1ull << b), P, P, P};

            build(1, bits);
            check_walk(&gp, va, 0);
        }
    }
}

/* Tables outside RAM read as all ones: reserved bits at every level but, with 52 address bits, the
 * last. */
static void test_outside_ram(void **ctx)
{
    static const uint64_t outside[] = {GUEST_RAM, 0xc0000000, 0xfffff000, 0x100000000,
                                       0xfffffff000};
    struct guest_paging gp = paging_of((struct control){true, true, false, false});
    struct walk_result res;
    unsigned i, l;

    for (i = 0; i < ARRAY_SIZE(outside); i++) {
        for (l = 4; l >= 2; l--) {
            const uint64_t bits[5] = {0, P | W | U, P | W | U, P | W | U, P | W | U};

            build(1, bits);
            *entry_of(l) = outside[i] | P | W | U;
            check_walk(&gp, va, WALK_WRITE);
            assert_int_equal(guest_walk(&gp, va, WALK_USER, &res), -14);
            assert_int_equal(res.error_code, 0x1 | 0x4 | 0x8);
        }
        gp.cr3 = outside[i];
        assert_int_equal(guest_walk(&gp, va, 0, &res), -14);
        assert_int_equal(res.error_code, 0x1 | 0x8);
        gp = paging_of((struct control){true, true, false, false});
    }
    gp.maxphyaddr = 52;
    build(1, (const uint64_t[5]){0, P | W | U, P | W | U, P | W | U, P | W | U});
    *entry_of(2) = outside[0] | P | W | U;
    assert_int_equal(guest_walk(&gp, va, WALK_WRITE, &res), 0);
    assert_int_equal(res.gpa, 0xffffffffff000 | (va & 0xfff));
}

/* A PML4 entry that points to its own table is used at all four levels of one walk. */
static void test_self_map(void **ctx)
{
    struct guest_paging gp = paging_of((struct control){true, true, false, false});
    uint64_t *pml4 = guest_word(tables[4]);
    gva_t self =
        0xffff000000000000 | (300ull << 39) | (300ull << 30) | (300ull << 21) | (300ull << 12) | 8;
    struct walk_result res;

    pml4[300] = tables[4] | P | W;
    track_set(tables[4], TRACK_CODE);
    written_calls = 0;
    assert_int_equal(guest_walk(&gp, self, WALK_WRITE, &res), 0);
    assert_int_equal(res.gpa, tables[4] + 8);
    assert_int_equal(res.level, 1);
    assert_true(res.dirty);
    assert_int_equal(pml4[300], tables[4] | P | W | A | D);
    assert_true(written_calls >= 1);
    assert_int_equal(written_last, tables[4] + 300 * 8);
    track_clear(tables[4], TRACK_CODE);
}

static uint64_t random64(void)
{
    return ((uint64_t)(unsigned)rand() << 42) ^ ((uint64_t)(unsigned)rand() << 21) ^
           (unsigned)rand();
}

/* Guest RAM full of entries that mostly look plausible, with tables inside each other in every way.
 */
static void test_garbage(void **ctx)
{
    unsigned i, ok = 0;

    srand(7);
    for (i = 0; i < 64 * 512; i++) {
        uint64_t entry = (random64() & 0x3f000) | P | (random64() & (W | U | A | D | G));

        switch (rand() % 16) {
        case 0:
            entry = random64();
            break;
        case 1:
            entry |= PS;
            break;
        case 2:
            entry = ALIGN_DOWN(entry, 0x200000) | (entry & 0xfff) | PS;
            break;
        case 3:
            entry |= NX;
            break;
        default:
            break;
        }
        *guest_word(i * 8) = entry;
    }
    for (i = 0; i < 200000; i++) {
        struct guest_paging gp =
            paging_of((struct control){rand() & 1, rand() & 1, rand() & 1, rand() & 1});
        gva_t gva = sign_extend_va(random64());
        unsigned flags = access_flags((unsigned)rand() % ACCESS_KINDS);
        struct walk_result res;

        gp.cr3 = random64() & 0x3f000;
        if (rand() % 4) {
            flags |= WALK_PROBE;
            check_walk(&gp, gva,
                       flags); /* without A/D the model's view of the entries stays exact */
        }
        ok += !guest_walk(&gp, gva, flags & ~WALK_PROBE, &res);
    }
    assert_true(ok > 10000 && ok < 190000);
}

static int setup(void **ctx)
{
    mm_host_init(0x100000, 0x4000000);
    frames_add(0x100000, 0x4000000);
    mm_host_hooks.guest_written = on_written;
    assert_int_equal(guest_ram_init(GUEST_RAM), 0);
    assert_int_equal(rmap_init(GUEST_RAM), 0);
    assert_int_equal(track_init(GUEST_RAM), 0);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rights),     cmocka_unit_test(test_states),
        cmocka_unit_test(test_maxphyaddr), cmocka_unit_test(test_outside_ram),
        cmocka_unit_test(test_self_map),   cmocka_unit_test(test_garbage),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
