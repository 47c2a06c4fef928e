/* SPDX-License-Identifier: MIT */
/*
 * The tables of smc = check: which granules are known to be free of code, by guest address. An entry lives from its fill until a
 * TB is linked on the granule, another page takes its place, or any guest mapping changes. It is always right to know
 * nothing. Emits nothing and kills nothing.
 */
#include "dbt/store-table.h"

#include "dbt/host.h"
#include "dbt/tb-internal.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"

#define GRANULES    (PAGE_SIZE / STORE_GRANULE)
#define GROUPS      (STORE_TABLE_ENTRIES / GRANULES)
#define REFILL_RATE 32u /* stores that asked in vain, until the page is looked at again */

/* Added to any canonical address it gives no number below STORE_TABLE_SPAN. */
#define NOWHERE (-0x0000c00000000000ull)

/* The entries of one page. */
struct group {
    gva_t page;
    tb_page_addr_t ram; /* of the page */
    bool used;
    uint8_t asked;      /* since it was filled */
};

/* Owner: the CPU that translates. [1]: the guest-user view. */
static struct group groups[2][GROUPS];
static uint16_t logged[2][GROUPS]; /* groups in use, in no order */
static unsigned nr_logged[2];

static unsigned group_of(gva_t va)
{
    return (va >> PAGE_SHIFT) % GROUPS;
}

/* Write the entries of a group, where the granules in `code` have code. */
static void set_entries(unsigned view, unsigned group, uint16_t code)
{
    uint64_t *entry = store_table_rw(view) + group * GRANULES;
    gva_t clean_end = groups[view][group].page + PAGE_SIZE;

    for (unsigned i = GRANULES; i-- > 0;) {
        if (code & BIT(i)) {
            clean_end = groups[view][group].page + i * STORE_GRANULE;
            entry[i] = NOWHERE;
        } else {
            entry[i] = STORE_TABLE_SPAN - clean_end;
        }
    }
}

static void forget(unsigned view, unsigned group)
{
    set_entries(view, group, UINT16_MAX);
    groups[view][group].used = false;
}

void store_table_init(void)
{
    for (unsigned view = 0; view < 2; view++) {
        for (unsigned g = 0; g < GROUPS; g++) {
            forget(view, g);
        }
        nr_logged[view] = 0;
    }
}

void store_table_flush(void)
{
    for (unsigned view = 0; view < 2; view++) {
        while (nr_logged[view]) {
            forget(view, logged[view][--nr_logged[view]]);
        }
    }
}

/* ---- code comes ---- */

static uint16_t granules_of(tb_page_addr_t first, tb_page_addr_t last)
{
    unsigned a = (first & ~PAGE_MASK) / STORE_GRANULE, b = (last & ~PAGE_MASK) / STORE_GRANULE;

    return (uint16_t)((2u << b) - (1u << a));
}

void store_table_linked(struct PageDesc *pd, tb_page_addr_t first, tb_page_addr_t last)
{
    uint16_t fresh = (uint16_t)(granules_of(first, last) & ~pd->code_granules);

    if (!fresh) {
        return; /* no entry of them can be there */
    }
    pd->code_granules |= fresh;
    for (unsigned view = 0; view < 2; view++) {
        for (unsigned i = 0; i < nr_logged[view]; i++) { /* QEMU's tlb_reset_dirty_range_all() looks at its TLBs so */
            unsigned group = logged[view][i];

            if (groups[view][group].ram == (first & PAGE_MASK)) {
                set_entries(view, group, pd->code_granules);
            }
        }
    }
}

/* ---- code is not there ---- */

/* The granules that the byte map, a superset, has something in. */
static uint16_t code_granules(struct PageDesc *pd)
{
    uint16_t mask = 0;

    if (!pd->nr_tbs) {
        return 0;
    }
    if (!pd->code_bitmap) {
        build_page_bitmap(pd);
    }
    if (!pd->code_bitmap) {
        return UINT16_MAX;
    }
    for (unsigned i = 0; i < GRANULES; i++) {
        if (page_bitmap_test(pd->code_bitmap, i * STORE_GRANULE, (i + 1) * STORE_GRANULE - 1)) {
            mask |= (uint16_t)BIT(i);
        }
    }
    return mask;
}

static uint16_t look_at_page(tb_page_addr_t ram)
{
    struct PageDesc *pd = page_find(page_index(ram));

    if (!pd) {
        return 0;
    }
    spin_lock(&pd->lock);
    uint16_t mask = pd->code_granules = code_granules(pd);
    spin_unlock(&pd->lock);
    return mask;
}

void store_table_fill(struct CPUState *cpu, gva_t va, tb_page_addr_t ram)
{
    unsigned view = cpu->env.cpl == 3, index = group_of(va);
    struct group *g = &groups[view][index];
    gva_t page = va & PAGE_MASK;

    if (g->used && g->page == page && g->ram == (ram & PAGE_MASK) && ++g->asked % REFILL_RATE) {
        return;
    }
    if (!g->used) {
        logged[view][nr_logged[view]++] = (uint16_t)index;
    }
    *g = (struct group){.page = page, .ram = ram & PAGE_MASK, .used = true};
    set_entries(view, index, look_at_page(ram));
    CPU_STAT(cpu, smc_check_fill);
}

/* ---- invariant ---- */

struct verify {
    const uint64_t *entry; /* of the group */
    const struct group *g;
    int bad;
};

static void verify_tb(const struct TranslationBlock *tb, void *opaque)
{
    struct verify *v = opaque;

    for (unsigned n = 0; n < 2 && tb->page_addr[n] != TB_PAGE_ADDR_INVALID; n++) {
        unsigned first, last;

        if ((tb->page_addr[n] & PAGE_MASK) != v->g->ram) {
            continue;
        }
        tb_page_extent(tb, n, &first, &last);
        for (unsigned i = 0; i <= last / STORE_GRANULE; i++) { /* a store that begins in granule i and reaches first */
            if (v->entry[i] != NOWHERE && v->g->page + MAX(first, i * STORE_GRANULE) + v->entry[i] < STORE_TABLE_SPAN) {
                log_line("tb", "violated: stores to %#llx are said to meet no code, and TB pc=%#llx is there",
                         (unsigned long long)(v->g->page + i * STORE_GRANULE), (unsigned long long)tb->pc);
                v->bad++;
            }
        }
    }
}

int store_table_check(void)
{
    int bad = 0;

    for (unsigned view = 0; view < 2; view++) {
        for (unsigned i = 0; i < nr_logged[view]; i++) {
            unsigned index = logged[view][i];
            struct verify v = {.entry = store_table_rw(view) + index * GRANULES, .g = &groups[view][index]};

            tb_for_each_on_page(v.g->ram, verify_tb, &v);
            bad += v.bad;
        }
    }
    return bad;
}
