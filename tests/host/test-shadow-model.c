/* SPDX-License-Identifier: MIT */
/*
 * Random histories of the shadow tables: a guest that edits its tables in every way (loops,
 * self-maps, tables and pages outside RAM), with and without telling anybody, while frames become
 * tracked and untracked, control registers change and one-instruction windows open and close.
 * Checked at every access, with simulated TLBs between us and the tables:
 *   - what the fill says is what the model of the guest's MMU says;
 *   - an address whose translation the guest has invalidated since it last changed it translates
 *     as the model says;
 *   - always, even for a guest that never invalidates: nothing but guest RAM and the monitor's
 *     windows is reachable, and no tracked frame is writable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernel/lib/string.h"
#include "mm/frame.h"
#include "mm/kmap.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow.h"
#include "mm/track.h"
#include "tests/host/mm-host.h"
#include "tests/host/shadow-sim.h"

#define ARENA_BASE 0x100000ull
#define ARENA_SIZE 0x8000000ull
#define GUEST_RAM  0x1000000ull /* 16 MiB */
#define LARGE      0x200000ull
#define PT_PAGES   40u /* guest tables: pages 0 .. PT_PAGES - 1 */
#define STEPS      100000u

#define P          0x1ull
#define W          0x2ull
#define U          0x4ull
#define A          0x20ull
#define D          0x40ull
#define PS         0x80ull
#define G          0x100ull
#define NX         (1ull << 63)

/* The indices from which all addresses are made; windows, their neighbours and reserved slots are
 * among them. */
static const unsigned i4[] = {0, 255, 272, 511}, i3[] = {0, 509, 510, 511}, i2[] = {0, 1, 384, 511},
                      i1[] = {0, 1, 128, 511};
#define PAGES 256u

static struct page_state {
    gva_t va;
    bool clean; /* the guest has invalidated it since its last edit: no stale translation is allowed
                 */
    bool global; /* a global translation may be cached */
} pages[PAGES];

static const struct window {
    gva_t va;
    unsigned count, flags;
    bool per_view;
} window_spec[] = {
    {CODE_CACHE_BASE, 1024, SHADOW_MAP_X, false},
    {SLOTS_BASE, 16, 0, false},
    {JUMP_TABLE_ADDR, 128, 0, true},
    {VCPU_PAGE_ADDR, 1, SHADOW_MAP_W, false},
};
static hpa_t window_hpa[VIEW_COUNT][ARRAY_SIZE(window_spec)];
static hpa_t private_frame;

static struct {
    unsigned ok, guest_fault, tracked, mmio, reserved, verified, redo;
} seen;

static unsigned below(unsigned n)
{
    return (unsigned)(rand() >> 4) % n;
}

static bool one_in(unsigned n)
{
    return !below(n);
}

static void all_clean(bool clean)
{
    for (unsigned i = 0; i < PAGES; i++) {
        pages[i].clean = clean;
        pages[i].global = pages[i].global && !clean;
    }
}

/* ---- what must hold whatever the guest does ---- */

/* The window that holds va, or -1. */
static int window_of(gva_t va)
{
    for (unsigned i = 0; i < ARRAY_SIZE(window_spec); i++) {
        if (va - window_spec[i].va < window_spec[i].count * PAGE_SIZE) {
            return (int)i;
        }
    }
    return -1;
}

static void check_reachable(enum view view, gva_t va, const struct sim_result *r, bool write)
{
    int w = window_of(va);
    ram_addr_t ram;

    if (w >= 0) {
        assert_int_equal(r->hpa, window_hpa[view][w] + (va - window_spec[w].va));
        assert_int_equal(r->writable, !!(window_spec[w].flags & SHADOW_MAP_W));
        assert_int_equal(r->nx, !(window_spec[w].flags & SHADOW_MAP_X));
        return;
    }
    assert_true(hpa_to_ram(r->hpa, &ram));
    assert_true(r->nx);
    assert_false(write && track_reasons(ram & PAGE_MASK));
}

/* Where the monitor has single pages, it has the 2 MiB. */
static bool is_reserved(gva_t va)
{
    return window_of(va) >= 0 || window_of(ALIGN_DOWN(va, LARGE)) >= 0;
}

/* ---- what the guest does ---- */

/* A store to a guest table, as hardware and fault handler let it happen. */
static void guest_store(gpa_t gpa, uint64_t value)
{
    ram_addr_t ram;

    assert_true(gpa_to_ram(gpa & PAGE_MASK, &ram));
    if (track_reasons(ram) & TRACK_PT) {
        assert_false(sim_tlb_can_write(ram_to_hpa(ram)));
        assert_true(shadow_guest_writes(ram));
        assert_false(track_reasons(ram) & TRACK_PT);
    }
    *sim_guest_word(gpa) = value;
}

/* Which level the guest means a table page for, as long as nothing is mixed up. */
static unsigned level_of(unsigned page)
{
    return page < 2 ? 4 : page < 8 ? 3 : page < 18 ? 2 : 1;
}

static gpa_t random_table(unsigned level)
{
    static const unsigned first[] = {0, 18, 8, 2, 0, PT_PAGES};

    return (first[level] + below((level == 1 ? PT_PAGES : first[level - 1]) - first[level])) *
           PAGE_SIZE;
}

static uint64_t random_entry(unsigned level)
{
    uint64_t entry = P | W | U;

    if (one_in(8)) {
        entry ^= one_in(3) ? P : one_in(2) ? W : U;
    }
    entry |= (one_in(2) ? D : 0) | (one_in(3) ? G : 0) | (one_in(8) ? NX : 0) | (one_in(2) ? A : 0);
    if (one_in(60)) {
        entry |= 1ull << (13 + below(39)); /* far away, or a reserved bit */
    }
    if (level == 4 ? one_in(60) : level == 3 ? one_in(8) : level == 2 && one_in(2)) {
        entry |= PS;
    }
    if (level == 1 || (entry & PS)) {
        uint64_t size = level == 1 ? PAGE_SIZE : level == 2 ? LARGE : 0x40000000;
        gpa_t gpa = below(18) * 0x100000 + below(8) * PAGE_SIZE; /* RAM, and 2 MiB behind it */

        gpa = level == 1 && one_in(4) ? random_table(1 + below(4)) : gpa;
        return entry | ALIGN_DOWN(gpa, size);
    }
    return entry |
           (one_in(60) ? below(10) * LARGE : random_table(one_in(10) ? 1 + below(4) : level - 1));
}

static const unsigned *index_of(unsigned level)
{
    return level == 4 ? i4 : level == 3 ? i3 : level == 2 ? i2 : i1;
}

static bool walk_uses(gva_t va, gpa_t entry)
{
    struct mmu_result r = sim_guest(VIEW_KERNEL, va, false);
    bool uses = false;

    for (unsigned i = 0; i < r.entries; i++) {
        uses = uses || r.entry_addr[i] == entry;
    }
    return uses;
}

static void invlpg(struct page_state *p)
{
    shadow_flush_page(p->va + below(4096));
    p->clean = true;
    p->global = false;
}

/* A careful guest invalidates all that it has changed, others do not. */
static void guest_edit(void)
{
    unsigned page = below(PT_PAGES), level = one_in(10) ? 1 + below(4) : level_of(page);
    const unsigned *index = index_of(level);
    gpa_t gpa = page * PAGE_SIZE + index[below(4)] * 8;
    bool affected[PAGES], careful = one_in(2);

    /* The entry may be on its own way, so the walks before and after the change may both pass it,
     * or either. */
    for (unsigned i = 0; i < PAGES; i++) {
        affected[i] = walk_uses(pages[i].va, gpa);
    }
    guest_store(gpa, random_entry(level));
    for (unsigned i = 0; i < PAGES; i++) {
        if (affected[i]) {
            pages[i].clean = false;
            if (careful) {
                invlpg(&pages[i]);
            }
        }
    }
}

static void guest_build(void)
{
    for (unsigned page = 0; page < PT_PAGES; page++) {
        for (unsigned i = 0; i < 4; i++) {
            guest_store(page * PAGE_SIZE + index_of(level_of(page))[i] * 8,
                        random_entry(level_of(page)));
        }
    }
}

static void guest_set_paging(void)
{
    bool keeps_global = true;

    /* A table of level 4, or rarely one that is meant for something else, or nothing at all. */
    sim_paging.cr3 = one_in(20) ? random_table(3) : one_in(30) ? GUEST_RAM * 2 : random_table(4);
    if (one_in(4)) {
        sim_paging.cr0 ^= one_in(2) ? 1ull << 16 : 0;
        sim_paging.efer = one_in(6) ? 0x500 : 0xd00;
        sim_paging.cr4 ^= one_in(3) ? 1ull << 20 : one_in(2) ? 1ull << 7 : 0;
        keeps_global = false; /* or perhaps not: nothing is claimed about it */
    }
    shadow_set_paging(&sim_paging);
    keeps_global = keeps_global && (sim_paging.cr4 & 0x80);
    for (unsigned i = 0; i < PAGES; i++) {
        pages[i].clean = !pages[i].global || (!keeps_global && !(sim_paging.cr4 & 0x80));
    }
}

/* ---- accesses ---- */

static void redo_store(enum view view, gva_t va, const struct mmu_result *guest)
{
    uint64_t digest[VIEW_COUNT];
    bool compare = one_in(8);
    struct sim_result r;
    ram_addr_t ram;

    seen.redo++;
    for (enum view v = 0; compare && v < VIEW_COUNT; v++) {
        digest[v] = sim_digest(v);
    }
    shadow_window_open(view, va);
    r = sim_access(view, va, true);
    assert_true(r.ok);
    assert_true(gpa_to_ram(guest->addr, &ram));
    assert_int_equal(r.hpa, ram_to_hpa(ram));
    if (one_in(20)) {
        shadow_flush();
        all_clean(true);
        compare = false;
    }
    shadow_window_close();
    assert_false(sim_tlb_can_write(ram_to_hpa(ram & PAGE_MASK)));
    for (enum view v = 0; compare && v < VIEW_COUNT; v++) {
        assert_int_equal(sim_digest(v), digest[v]);
    }
}

static void redo_device(enum view view, gva_t va, bool write)
{
    bool writable = one_in(2), compare = one_in(8);
    uint64_t digest = 0, pool_flushes;
    struct sim_result r;

    seen.redo++;
    if (compare) { /* a first one makes the tables on the way */
        shadow_window_map(view, va, private_frame, writable);
        shadow_window_close();
        digest = sim_digest(view);
    }
    pool_flushes = shadow_stats.pool_flushes;
    shadow_window_map(view, va, private_frame, writable);
    r = sim_access(view, va, write);
    assert_int_equal(r.ok, !write || writable);
    assert_true(r.hpa - (va & 0xfff) == private_frame);
    shadow_window_close();
    assert_false(sim_tlb_reaches(private_frame));
    assert_false(sim_walk(view, va).present);
    if (shadow_stats.pool_flushes != pool_flushes) {
        all_clean(true); /* making room for the window dropped everything else */
    } else {
        assert_true(!compare || sim_digest(view) == digest);
    }
}

/* The access has succeeded: is it what the guest's own MMU would do? */
static void check_translation(enum view view, const struct page_state *p, gva_t va, bool write,
                              const struct sim_result *r)
{
    struct mmu_result guest;
    ram_addr_t ram;

    if (!p->clean || window_of(va) >= 0) {
        return;
    }
    seen.verified++;
    guest = sim_guest(view, va, write);
    assert_true(guest.ok);
    assert_true(gpa_to_ram(guest.addr, &ram));
    assert_int_equal(r->hpa, ram_to_hpa(ram));
    assert_true(guest.entry[guest.entries - 1] & A);
    assert_true(!write || guest.dirty);
}

/* A fill has just mapped something global at va: a large piece of it serves the neighbours too. */
static void note_global(gva_t va)
{
    for (unsigned i = 0; i < PAGES; i++) {
        if (pages[i].va >> 21 == va >> 21) {
            pages[i].global = true;
        }
    }
}

/* One fill, compared with the model. Returns true if the access is to be tried again. */
static bool fill(enum view view, gva_t va, bool write)
{
    struct mmu_result guest = sim_guest(view, va, write);
    struct walk_result res;
    bool reserved = is_reserved(va);
    uint64_t pool_flushes = shadow_stats.pool_flushes;
    enum shadow_fill_result result =
        shadow_fill(view, va, (write ? WALK_WRITE : 0) | (view == VIEW_USER ? WALK_USER : 0), &res);
    struct sim_result r = sim_walk(view, va);
    ram_addr_t ram;

    if (shadow_stats.pool_flushes != pool_flushes) {
        all_clean(true);
    }
    if (!guest.ok) {
        assert_int_equal(result, FILL_GUEST_FAULT);
        assert_int_equal(res.error_code, guest.error_code);
        assert_true(window_of(va) >= 0 || !(write ? r.writable : r.present));
        seen.guest_fault++;
        return false;
    }
    if (reserved) {
        assert_int_equal(result, FILL_RESERVED);
        seen.reserved++;
        return false;
    }
    assert_int_equal(res.gpa, guest.addr);
    if (!gpa_to_ram(guest.addr, &ram)) {
        assert_int_equal(result, FILL_MMIO);
        assert_false(r.present);
        seen.mmio++;
        if (one_in(2)) {
            redo_device(view, va, write);
        }
        return false;
    }
    if (guest.global) {
        note_global(va);
    }
    assert_true(r.present && r.hpa == ram_to_hpa(ram));
    if (write && track_reasons(ram & PAGE_MASK)) {
        assert_int_equal(result, FILL_TRACKED);
        assert_false(r.writable);
        seen.tracked++;
        if (one_in(2)) {
            redo_store(view, va, &guest);
        }
        return false;
    }
    assert_int_equal(result, FILL_OK);
    assert_true(!write || r.writable);
    return true;
}

static void guest_access(void)
{
    const struct page_state *p = &pages[below(PAGES)];
    enum view view = below(VIEW_COUNT);
    gva_t va = p->va + below(4096);
    bool write = one_in(2);
    unsigned tries;

    for (tries = 0; tries < 2; tries++) {
        struct sim_result r = sim_access(view, va, write);

        if (r.ok) {
            check_reachable(view, va, &r, write);
            check_translation(view, p, va, write, &r);
            seen.ok++;
            return;
        }
        if (!fill(view, va, write)) {
            return;
        }
    }
    assert_true(sim_access(view, va, write).ok);
}

static void track_some(void)
{
    ram_addr_t data = below(one_in(4) ? 16 : 6) * 0x100000 + below(8) * PAGE_SIZE;
    ram_addr_t page = one_in(2) ? below(PT_PAGES) * PAGE_SIZE : data;
    unsigned before = track_reasons(page) & ~(unsigned)TRACK_PT, pt = track_reasons(page) & TRACK_PT;
    unsigned reason = one_in(2) ? TRACK_CODE : one_in(2) ? TRACK_VGA : TRACK_MIGRATION;

    if (one_in(2)) {
        page = below(16) * 0x100000 + below(8) * PAGE_SIZE;
        pt = track_reasons(page) & TRACK_PT;
        track_clear(page, 0x1f & ~TRACK_PT); /* keep most of the data free, so that there are large entries */
        assert_int_equal(track_reasons(page), pt);
    } else if (one_in(3)) {
        assert_int_equal(track_set(page, reason), !(before & reason));
        assert_int_equal(track_reasons(page), before | reason | pt);
        assert_false(sim_tlb_can_write(ram_to_hpa(page)));
    } else {
        assert_int_equal(track_clear(page, reason), !!(before & reason));
        assert_int_equal(track_reasons(page), (before & ~reason) | pt);
    }
}

static void step(void)
{
    unsigned what = below(1000);

    if (what < 800) {
        guest_access();
    } else if (what < 825) {
        guest_edit();
    } else if (what < 880) {
        invlpg(&pages[below(PAGES)]);
    } else if (what < 960) {
        track_some();
    } else if (what < 962) {
        shadow_flush();
        all_clean(true);
    } else {
        guest_set_paging();
    }
}

static void run(unsigned seed, unsigned max_frames)
{
    srand(seed);
    memset(ram_to_virt(0), 0, GUEST_RAM);
    memset(&seen, 0, sizeof(seen));
    assert_int_equal(shadow_init(kmap_root(), max_frames), 0);
    sim_init();
    sim_paging =
        (struct guest_paging){.cr0 = 0x80010001, .cr4 = 0xa0, .efer = 0xd00, .maxphyaddr = 40};
    shadow_set_paging(&sim_paging);
    for (unsigned w = 0; w < ARRAY_SIZE(window_spec); w++) {
        for (enum view view = 0; view < VIEW_COUNT; view++) {
            assert_int_equal(shadow_map_window(view, window_spec[w].va, window_hpa[view][w],
                                               window_spec[w].count, window_spec[w].flags),
                             0);
        }
    }
    for (unsigned i = 0; i < STEPS; i++) {
        if (i % 1024 == 0) {
            guest_build();
            shadow_flush();
            all_clean(true);
        }
        step();
        if (i % 256 == 0) {
            assert_int_equal(shadow_check(), 0);
        }
    }
    shadow_flush();
    assert_int_equal(shadow_check(), 0);
    print_message(
        "ok %u verified %u guest faults %u tracked %u mmio %u reserved %u redo %u; fills %llu "
        "large %llu "
        "splits %llu pool flushes %llu\n",
        seen.ok, seen.verified, seen.guest_fault, seen.tracked, seen.mmio, seen.reserved, seen.redo,
        (unsigned long long)shadow_stats.fills, (unsigned long long)shadow_stats.large_maps,
        (unsigned long long)shadow_stats.splits, (unsigned long long)shadow_stats.pool_flushes);
    /* The history did visit what it is meant to visit. */
    assert_true(seen.ok > STEPS / 5 && seen.verified > STEPS / 10 && seen.guest_fault > 500);
    assert_true(seen.tracked > 300 && seen.mmio > 200 && seen.reserved > 20 && seen.redo > 300);
    assert_true(shadow_stats.large_maps > 200 && shadow_stats.splits > 15);
}

static void test_roomy(void **ctx)
{
    run(1, 1024);
    run(2, 1024);
    assert_int_equal(shadow_stats.pool_flushes, 0);
}

static void test_cramped(void **ctx)
{
    run(3, 64);
    assert_true(shadow_stats.pool_flushes > 20);
}

static int setup(void **ctx)
{
    unsigned n = 0;

    mm_host_init(ARENA_BASE, ARENA_SIZE);
    frames_add(ARENA_BASE, ARENA_SIZE);
    assert_int_equal(kmap_init(ARENA_BASE + ARENA_SIZE - 1), 0);
    assert_int_equal(guest_ram_init(GUEST_RAM), 0);
    private_frame = frame_alloc();
    for (unsigned w = 0; w < ARRAY_SIZE(window_spec); w++) {
        window_hpa[0][w] = window_hpa[1][w] = frame_alloc_contig(window_spec[w].count, LARGE);
        if (window_spec[w].per_view) {
            window_hpa[1][w] = frame_alloc_contig(window_spec[w].count, PAGE_SIZE);
        }
    }
    for (unsigned a = 0; a < 4; a++) {
        for (unsigned b = 0; b < 4; b++) {
            for (unsigned c = 0; c < 4; c++) {
                for (unsigned d = 0; d < 4; d++) {
                    gva_t va = (gva_t)i4[a] << 39 | (gva_t)i3[b] << 30 | (gva_t)i2[c] << 21 |
                               (gva_t)i1[d] << 12;

                    pages[n++].va = (gva_t)((int64_t)(va << 16) >> 16);
                }
            }
        }
    }
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roomy),
        cmocka_unit_test(test_cramped),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
