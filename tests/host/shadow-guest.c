/* SPDX-License-Identifier: MIT */
/* Builds guest page tables and touches guest memory the way a program would. */
#include "tests/host/shadow-guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/lib/string.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/kmap.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"
#include "tests/host/mm-host.h"


static gpa_t next_table;
struct walk_result res;

/* ---- building guest tables ---- */

/* A store to a guest table, as hardware and fault handler let it happen. */
void guest_store(gpa_t gpa, uint64_t value)
{
    ram_addr_t ram;
    bool ok = gpa_to_ram(gpa & PAGE_MASK, &ram);

    assert_true(ok);
    if (track_reasons(ram) & TRACK_PT) {
        assert_false(sim_tlb_can_write(ram_to_hpa(ram)));
        assert_true(shadow_guest_writes(ram + 8));
        assert_false(track_reasons(ram) & TRACK_PT);
    }
    *sim_guest_word(gpa) = value;
}

gpa_t table_new(void)
{
    gpa_t gpa = next_table;

    next_table += PAGE_SIZE;
    assert_true(next_table <= PT_AREA);
    memset(sim_guest_word(gpa), 0, PAGE_SIZE);
    return gpa;
}

/* The entry of `level` for va, tables above created with all rights. */
static gpa_t entry_gpa(gpa_t cr3, gva_t va, unsigned level)
{
    gpa_t table = cr3;
    unsigned l;

    for (l = 4; l > level; l--) {
        gpa_t entry = table + ((va >> (12 + 9 * (l - 1))) & 511) * 8;

        if (!(*sim_guest_word(entry) & P)) {
            guest_store(entry, table_new() | P | WU);
        }
        table = *sim_guest_word(entry) & 0xffffffffff000;
    }
    return table + ((va >> (12 + 9 * (level - 1))) & 511) * 8;
}

uint64_t *guest_entry(gpa_t cr3, gva_t va, unsigned level)
{
    return sim_guest_word(entry_gpa(cr3, va, level));
}

void guest_set(gpa_t cr3, gva_t va, unsigned level, uint64_t value)
{
    guest_store(entry_gpa(cr3, va, level), value);
}

void guest_map(gva_t va, unsigned level, gpa_t gpa, uint64_t flags)
{
    guest_set(sim_paging.cr3, va, level, gpa | flags | P | (level > 1 ? PS : 0));
}

void fresh_guest(unsigned max_frames)
{
    next_table = 0x1000;
    sim_paging = (struct guest_paging){
        .cr0 = 0x80010001, .cr3 = table_new(), .cr4 = 0xa0, .efer = 0xd00, .maxphyaddr = 40};
    assert_int_equal(shadow_init(kmap_root(), max_frames), 0);
    sim_init();
    shadow_set_paging(&sim_paging);
}

/* An access as the vCPU loop makes it: until it succeeds or the fill says that somebody else must
 * act. */
enum shadow_fill_result touch(enum view view, gva_t va, bool write, struct sim_result *r)
{
    unsigned tries;

    for (tries = 0; tries < 3; tries++) {
        enum shadow_fill_result fill;

        *r = sim_access(view, va, write);
        if (r->ok) {
            return FILL_OK;
        }
        fill = shadow_fill(view, va, write ? WALK_WRITE : 0, &res);
        if (fill != FILL_OK) {
            return fill;
        }
    }
    fail_msg("fill says OK, the access keeps faulting");
    return FILL_OK;
}

void assert_reads(gva_t va, gpa_t gpa)
{
    struct sim_result r;
    ram_addr_t ram;

    assert_int_equal(touch(VIEW_KERNEL, va, false, &r), FILL_OK);
    assert_true(gpa_to_ram(gpa, &ram));
    assert_int_equal(r.hpa, ram_to_hpa(ram));
    assert_true(r.nx);
}

void assert_writes(gva_t va)
{
    struct sim_result r;

    assert_int_equal(touch(VIEW_KERNEL, va, true, &r), FILL_OK);
}

int shadow_guest_setup(void **ctx)
{
    mm_host_init(ARENA_BASE, ARENA_SIZE);
    frames_add(ARENA_BASE, ARENA_SIZE);
    assert_int_equal(kmap_init(ARENA_BASE + ARENA_SIZE - 1), 0);
    assert_int_equal(guest_ram_init(GUEST_RAM), 0);
    return 0;
}
