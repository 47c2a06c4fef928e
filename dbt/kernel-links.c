/* SPDX-License-Identifier: MIT */
/*
 * The pages that lasting links of the guest's kernel lead to, and the page-table entries that map them. Entries of the top-level table are
 * noted by address, since the next address space has another such table; all below by where they are in RAM. Links are undone by the caller.
 */
#include "dbt/kernel-links.h"

#include "dbt/host.h"
#include "dbt/tb.h"
#include "kernel/lib/string.h"

struct kernel_link_stats kernel_link_stats;

#define HASH_SIZE  (2 * KERNEL_LINK_PAGES)
#define ROOT_SHIFT 39 /* what one entry of the top-level table maps */

_Static_assert(KERNEL_LINK_PAGES <= HASH_SIZE / 2 && KERNEL_LINK_ENTRIES <= HASH_SIZE / 2, "the hash tables are never full");
_Static_assert(KERNEL_LINK_PAGES < UINT16_MAX && KERNEL_LINK_ENTRIES < UINT16_MAX, "1 + index in 16 bits");

static struct {
    unsigned pages, entries, roots;
    struct {
        gva_t va;
        tb_page_addr_t ram; /* TB_PAGE_ADDR_INVALID: it was mapped otherwise later */
    } page[KERNEL_LINK_PAGES];
    struct code_path_entry entry[KERNEL_LINK_ENTRIES];
    uint16_t only_page[KERNEL_LINK_ENTRIES]; /* 1 + index of the page, if the entry maps it and nothing else that is noted */
    uint16_t page_hash[HASH_SIZE], entry_hash[HASH_SIZE]; /* 1 + index, 0 = empty */
    struct {
        gva_t va; /* of a page below the entry, to find it by in another address space */
        tb_page_addr_t ram;
        uint64_t value;
    } root[KERNEL_LINK_ROOTS];
} noted;

static const uint64_t nothing; /* what a forgotten entry is compared with */

static uint16_t *page_slot(gva_t va)
{
    uint64_t h = (va >> PAGE_SHIFT) ^ (va >> 25);

    for (;; h++) {
        uint16_t *slot = &noted.page_hash[h % HASH_SIZE];

        if (!*slot || noted.page[*slot - 1].va == va) {
            return slot;
        }
    }
}

static uint16_t *entry_slot(const void *entry)
{
    uint64_t h = ((uintptr_t)entry >> 3) ^ ((uintptr_t)entry >> 16);

    for (;; h++) {
        uint16_t *slot = &noted.entry_hash[h % HASH_SIZE];

        if (!*slot || noted.entry[*slot - 1].entry == entry) {
            return slot;
        }
    }
}

void kernel_links_forget(void)
{
    if (noted.pages) {
        memset(noted.page_hash, 0, sizeof(noted.page_hash));
        memset(noted.entry_hash, 0, sizeof(noted.entry_hash));
    }
    noted.pages = noted.entries = noted.roots = 0;
}

/* False: noted with another value, or no room. */
static bool note_root(gva_t va, tb_page_addr_t ram, uint64_t value)
{
    for (unsigned i = 0; i < noted.roots; i++) {
        if (!((noted.root[i].va ^ va) >> ROOT_SHIFT)) {
            return noted.root[i].value == value;
        }
    }
    if (noted.roots == KERNEL_LINK_ROOTS) {
        return false;
    }
    noted.root[noted.roots].va = va;
    noted.root[noted.roots].ram = ram;
    noted.root[noted.roots++].value = value;
    return true;
}

/* only: 1 + index of the page that nothing but this entry maps, or 0. False: noted with another value. */
static bool note_entry(const struct code_path_entry *e, uint16_t only)
{
    uint16_t *slot = entry_slot(e->entry);

    if (*slot) {
        noted.only_page[*slot - 1] = 0;
        return noted.entry[*slot - 1].value == e->value;
    }
    noted.entry[noted.entries] = *e;
    noted.only_page[noted.entries] = only;
    *slot = (uint16_t)++noted.entries;
    return true;
}

static bool page_cover(struct CPUState *cpu, gva_t va, tb_page_addr_t ram)
{
    uint16_t *slot = page_slot(va);
    struct code_path_entry path[CODE_PATH_MAX];

    if (likely(*slot && noted.page[*slot - 1].ram == ram)) {
        return true;
    }
    bool known = *slot;

    if ((known && noted.page[*slot - 1].ram != TB_PAGE_ADDR_INVALID) || noted.pages == KERNEL_LINK_PAGES ||
        noted.entries + CODE_PATH_MAX > KERNEL_LINK_ENTRIES) {
        return false;
    }
    int n = code_page_path(cpu, va, ram, path);
    if (n < 0) {
        return false;
    }
    unsigned i = known ? *slot - 1u : noted.pages;

    if (n && !note_root(va, ram, path[0].value)) {
        return false;
    }
    for (int level = 1; level < n; level++) {
        if (!note_entry(&path[level], level == CODE_PATH_MAX - 1 ? (uint16_t)(i + 1) : 0)) {
            return false;
        }
    }
    noted.page[i].va = va;
    noted.page[i].ram = ram;
    *slot = (uint16_t)(i + 1);
    noted.pages += !known;
    return true;
}

bool kernel_links_cover(struct CPUState *cpu, const struct TranslationBlock *tb)
{
    gva_t va = tb->pc & PAGE_MASK;

    return page_cover(cpu, va, tb->page_addr[0] & PAGE_MASK) &&
           (tb->page_addr[1] == TB_PAGE_ADDR_INVALID || page_cover(cpu, va + PAGE_SIZE, tb->page_addr[1]));
}

/* The page that a top-level entry is found by is not mapped any more: another one. False: there is none. */
static bool root_renew(unsigned root)
{
    for (unsigned i = 0; i < noted.pages; i++) {
        if (noted.page[i].ram != TB_PAGE_ADDR_INVALID && !((noted.page[i].va ^ noted.root[root].va) >> ROOT_SHIFT)) {
            noted.root[root].va = noted.page[i].va;
            noted.root[root].ram = noted.page[i].ram;
            return true;
        }
    }
    return false;
}

/* Does the top-level entry of the present address space say what the noted one said? */
static bool root_same(struct CPUState *cpu, unsigned i)
{
    struct code_path_entry path[CODE_PATH_MAX];
    int n = code_page_path(cpu, noted.root[i].va, noted.root[i].ram, path);

    if (n <= 0 && root_renew(i)) {
        n = code_page_path(cpu, noted.root[i].va, noted.root[i].ram, path);
    }
    return n > 0 && path[0].value == noted.root[i].value;
}

static bool roots_same(struct CPUState *cpu)
{
    for (unsigned i = 0; i < noted.roots; i++) {
        if (!root_same(cpu, i)) {
            return false;
        }
    }
    return true;
}

/* Entry i has changed. What led to its one page ends with the blocks there. */
static bool entry_changed(struct CPUState *cpu, unsigned i)
{
    unsigned only = noted.only_page[i];

    if (!only) {
        return false;
    }
    tb_page_addr_t ram = noted.page[only - 1].ram;

    /* Its slot in the hash table stays taken, and is not found again. */
    noted.entry[i] = (struct code_path_entry){.entry = &nothing, .value = 0};
    noted.only_page[i] = 0;
    noted.page[only - 1].ram = TB_PAGE_ADDR_INVALID;
    tb_invalidate_phys_range(cpu, ram, ram + PAGE_SIZE - 1, 0);
    kernel_link_stats.pages++;
    return true;
}

static bool entries_same(struct CPUState *cpu)
{
    if (likely(code_path_same(noted.entry, noted.entries))) {
        return true;
    }
    for (unsigned i = 0; i < noted.entries; i++) {
        if (!code_path_same(&noted.entry[i], 1) && !entry_changed(cpu, i)) {
            return false;
        }
    }
    return true;
}

bool kernel_links_same(struct CPUState *cpu)
{
    bool same = entries_same(cpu) && roots_same(cpu);

    kernel_link_stats.kept += same;
    kernel_link_stats.lost += !same;
    return same;
}
