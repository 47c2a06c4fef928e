/* SPDX-License-Identifier: MIT */
/*
 * Aliases: second mappings of guest pages, always writable, for stores that must complete while their page stays
 * write-protected. A small window of page pairs in each view, direct-mapped by guest page number.
 *
 *   STORE_ALIAS_ADDR  | pair 0: page, next page | pair 1 | ...
 *
 * What an alias gives is what the guest's tables gave when it was made: every change of a mapping drops it, whatever the
 * change was. It must not give what the view could not write itself, tracking aside.
 */
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "mm/host.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"

#define PAIRS (STORE_ALIAS_PAGES / 2)

struct alias_pair {
    gva_t page;        /* guest page of the first half */
    ram_addr_t ram[2]; /* ALIAS_NONE: that half is not mapped */
};
#define ALIAS_NONE (~(ram_addr_t)0)

static struct alias_pair pairs[VIEW_COUNT][PAIRS];
static uint64_t *ptes[VIEW_COUNT]; /* the window's entries: two for each pair; NULL before shadow_alias_init() */
static uint64_t used[VIEW_COUNT];  /* bit per pair with a half mapped */
_Static_assert(PAIRS == 64, "used[] has a bit for each");

int shadow_alias_init(void)
{
    for (enum view v = 0; v < VIEW_COUNT; v++) {
        struct shadow_table *t = window_reserve(v, STORE_ALIAS_ADDR, STORE_ALIAS_PAGES);

        if (!t) {
            return -ENOMEM;
        }
        ptes[v] = &t->pte[pt_index(STORE_ALIAS_ADDR, 1)];
        for (unsigned i = 0; i < PAIRS; i++) {
            pairs[v][i] = (struct alias_pair){.ram = {ALIAS_NONE, ALIAS_NONE}};
        }
    }
    memset(used, 0, sizeof(used));
    return 0;
}

static gva_t half_gva(unsigned pair, unsigned half)
{
    return STORE_ALIAS_ADDR + (pair * 2 + half) * PAGE_SIZE;
}

static void half_drop(enum view view, unsigned pair, unsigned half)
{
    struct alias_pair *p = &pairs[view][pair];

    if (p->ram[half] == ALIAS_NONE) {
        return;
    }
    pte_write(&ptes[view][pair * 2 + half], 0);
    host_invlpg(half_gva(pair, half));
    p->ram[half] = ALIAS_NONE;
    mm_alias_dropped();
    if (p->ram[!half] == ALIAS_NONE) {
        used[view] &= ~BIT(pair);
    }
}

static void half_map(enum view view, unsigned pair, unsigned half, ram_addr_t ram)
{
    struct alias_pair *p = &pairs[view][pair];

    if (p->ram[half] == ram) {
        return;
    }
    half_drop(view, pair, half);
    pte_write(&ptes[view][pair * 2 + half], ram_to_hpa(ram) | SHADOW_LEAF | PTE_W);
    p->ram[half] = ram;
    used[view] |= BIT(pair);
}

/* May the view write at gva now? Sets A and D as the store itself would. */
static bool resolve(enum view view, gva_t gva, ram_addr_t *ram)
{
    struct walk_result res;
    enum shadow_fill_result r = shadow_fill(view, gva, WALK_WRITE, &res);

    return (r == FILL_OK || r == FILL_TRACKED) && gpa_to_ram(res.gpa & PAGE_MASK, ram);
}

gva_t shadow_alias(enum view view, gva_t gva, bool next)
{
    gva_t page = gva & PAGE_MASK;
    unsigned pair = (unsigned)(page >> PAGE_SHIFT) % PAIRS;
    struct alias_pair *p = &pairs[view][pair];
    ram_addr_t ram[2];

    if (!ptes[view] || redo_windows_open()) {
        return 0;
    }
    if (p->page != page || p->ram[0] == ALIAS_NONE || (next && p->ram[1] == ALIAS_NONE)) {
        if (!resolve(view, page, &ram[0]) || (next && !resolve(view, page + PAGE_SIZE, &ram[1]))) {
            return 0;
        }
        if (p->page != page) {
            half_drop(view, pair, 0);
            half_drop(view, pair, 1);
            p->page = page;
        }
        half_map(view, pair, 0, ram[0]);
        if (next) {
            half_map(view, pair, 1, ram[1]);
        }
    }
    return half_gva(pair, 0) + (gva & ~PAGE_MASK);
}

/* ---- dropping ---- */

void alias_drop_all(void)
{
    mm_mapping_changed();
    for (enum view v = 0; v < VIEW_COUNT; v++) {
        while (used[v]) {
            unsigned i = (unsigned)__builtin_ctzll(used[v]);

            half_drop(v, i, 0);
            half_drop(v, i, 1);
        }
    }
}

void alias_drop_frame(ram_addr_t page)
{
    for (enum view v = 0; v < VIEW_COUNT; v++) {
        for (uint64_t left = used[v]; left; left &= left - 1) {
            unsigned i = (unsigned)__builtin_ctzll(left);

            for (unsigned h = 0; h < 2; h++) {
                if (pairs[v][i].ram[h] == page) {
                    half_drop(v, i, h);
                }
            }
        }
    }
}

/* ---- for shadow_check() ---- */

bool alias_window_holds(gva_t gva)
{
    return gva >= STORE_ALIAS_ADDR && gva - STORE_ALIAS_ADDR < STORE_ALIAS_PAGES * PAGE_SIZE;
}

bool alias_consistent(enum view view, gva_t gva, uint64_t pte)
{
    unsigned i = (unsigned)((gva - STORE_ALIAS_ADDR) >> PAGE_SHIFT);
    ram_addr_t ram = pairs[view][i / 2].ram[i % 2];

    return ptes[view] && (ram == ALIAS_NONE ? pte == 0 : pte == (ram_to_hpa(ram) | SHADOW_LEAF | PTE_W));
}
