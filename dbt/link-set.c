/* SPDX-License-Identifier: MIT */
/*
 * The link sets: which is the present one, whether it is still right, what leads into it. Jumps through slots are
 * link-jmp.c's. Owner of everything here: the CPU that translates.
 */
#include "dbt/link-set.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"

struct link_stats link_stats;

static struct link_set *sets[LINK_SETS]; /* NULL: never needed */
static unsigned sets_max;                /* no more memory, or the host knows no more than one address space */
static struct link_set *present;
static uint64_t clock;
static uint64_t miss; /* what an unused table entry leads to */
static uint32_t slot_count;

struct link_set *link_set_present(void)
{
    return present;
}

struct link_set *link_set_get(unsigned i)
{
    return sets[i];
}

uint64_t link_table_miss(void)
{
    return miss;
}

bool link_tables_private(void)
{
    return slot_count;
}

static void table_sweep(struct link_set *set)
{
    for (unsigned i = 0; i < LINK_TABLE_ENTRIES; i++) {
        set->table[i] = miss;
    }
}

/* Memory for set i. NULL if there is none. */
static struct link_set *set_make(unsigned i)
{
    struct link_set *set = dbt_zalloc(sizeof(*set));

    if (!set || !link_set_alloc(i, &set->table, &set->slots)) {
        return NULL;
    }
    if (slot_count) {
        set->dest = dbt_zalloc(slot_count * sizeof(*set->dest));
        set->next = dbt_zalloc(slot_count * sizeof(*set->next));
        set->log = dbt_zalloc(slot_count * sizeof(*set->log));
        if (!set->dest || !set->next || !set->log) {
            return NULL;
        }
    }
    set->index = i;
    set->space = LINK_SPACE_NONE;
    table_sweep(set);
    return set;
}

int link_sets_init(const struct code_gen_region *region, uint64_t miss_stub)
{
    memset(sets, 0, sizeof(sets));
    miss = miss_stub;
    slot_count = (uint32_t)region->links_count;
    sets_max = slot_count ? LINK_SETS : 1;
    if (link_jmp_init(slot_count) < 0) {
        return -ENOMEM;
    }
    present = sets[0] = set_make(0);
    return present ? 0 : -ENOMEM;
}

/* ---- forgetting ---- */

static void table_forget(struct link_set *set)
{
    if (set->table_used > LINK_TABLE_LOG) {
        table_sweep(set);
    } else {
        for (unsigned i = 0; i < set->table_used; i++) {
            set->table[set->table_log[i]] = miss;
        }
    }
    set->table_used = 0;
}

static void set_forget(struct link_set *set, bool vanished)
{
    table_forget(set);
    link_jmp_forget(set, vanished);
    memset(set->jmp_cache, 0, sizeof(set->jmp_cache));
    if (set->pages) {
        memset(set->page_hash, 0, sizeof(set->page_hash));
        link_stats.resets++;
    }
    set->pages = set->uppers = 0;
}

static void forget_all(bool vanished)
{
    for (unsigned i = 0; i < LINK_SETS; i++) {
        if (sets[i]) {
            set_forget(sets[i], vanished);
        }
    }
}

void link_sets_forget(void)
{
    forget_all(false);
}

void link_sets_flush(void)
{
    forget_all(true);
    link_slots_reset();
}

/* ---- address spaces ---- */

/* The set of the address space, or else one to be used for it: a new one, or the one entered longest ago. */
static unsigned set_find(uint64_t space, bool *found)
{
    unsigned oldest = 0;

    *found = false;
    for (unsigned i = 0; i < sets_max; i++) {
        if (!sets[i]) {
            sets[i] = set_make(i);
            if (sets[i]) {
                return i;
            }
            sets_max = i;
            break;
        }
        *found = sets[i]->space == space;
        if (*found || sets[i]->space == LINK_SPACE_NONE) {
            return i; /* only the first one has ever been nobody's */
        }
        if (sets[i]->stamp < sets[oldest]->stamp) {
            oldest = i;
        }
    }
    return oldest;
}

void link_set_enter(uint64_t space)
{
    bool found, right;
    unsigned i = set_find(space, &found);
    struct link_set *set = sets[i];

    right = found && code_path_same(set->upper, set->uppers) && code_path_same(set->leaf, set->pages);
    if (right) {
        link_stats.hits++;
    } else {
        link_stats.misses++;
        link_stats.changed += found;
        set_forget(set, false);
        set->space = space;
    }
    set->stamp = ++clock;
    if (set != present) {
        present = set;
        link_slots_ready(set);
        link_set_use(i);
    }
}

/* ---- pages ---- */

/* Where the page's index is, or would be, in the set's hash table, which never is full. */
static uint16_t *page_slot(struct link_set *set, gva_t va)
{
    uint64_t h = (va >> PAGE_SHIFT) ^ (va >> 23);

    for (;; h++) {
        uint16_t *slot = &set->page_hash[h % ARRAY_SIZE(set->page_hash)];

        if (!*slot || set->page[*slot - 1].va == va) {
            return slot;
        }
    }
}

static bool page_covered(struct link_set *set, gva_t va, tb_page_addr_t ram)
{
    uint16_t *slot = page_slot(set, va);

    return *slot && set->page[*slot - 1].ram == ram;
}

/* False: the entry is known with another value. It has changed and the guest has not said so yet. */
static bool upper_cover(struct link_set *set, const struct code_path_entry *e)
{
    unsigned i;

    for (i = 0; i < set->uppers; i++) {
        if (set->upper[i].entry == e->entry) {
            return set->upper[i].value == e->value;
        }
    }
    set->upper[set->uppers++] = *e;
    return true;
}

/* False: the page is mapped elsewhere now than where the set, or a TB at ram, has it. */
static bool page_cover(struct CPUState *cpu, gva_t va, tb_page_addr_t ram)
{
    struct link_set *set = present;
    uint16_t *slot = page_slot(set, va);
    struct code_path_entry path[CODE_PATH_MAX];

    if (likely(*slot)) {
        return set->page[*slot - 1].ram == ram;
    }
    int n = code_page_path(cpu, va, ram, path);
    if (n < 0) {
        return false;
    }
    if (set->pages == LINK_PAGES || set->uppers + CODE_PATH_MAX > LINK_UPPER) {
        set_forget(set, false);
        slot = page_slot(set, va);
    }
    for (int i = 0; i < n - 1; i++) {
        if (!upper_cover(set, &path[i])) {
            return false;
        }
    }
    if (n) {
        set->leaf[set->pages] = path[n - 1];
    }
    set->page[set->pages].va = va;
    set->page[set->pages].ram = ram;
    *slot = (uint16_t)++set->pages;
    return true;
}

bool link_set_covers(struct link_set *set, const struct TranslationBlock *tb)
{
    gva_t va = tb->pc & PAGE_MASK;

    return page_covered(set, va, tb->page_addr[0] & PAGE_MASK) &&
           (tb->page_addr[1] == TB_PAGE_ADDR_INVALID || page_covered(set, va + PAGE_SIZE, tb->page_addr[1]));
}

bool link_set_cover(struct CPUState *cpu, const struct TranslationBlock *tb)
{
    gva_t va = tb->pc & PAGE_MASK;

    if (!page_cover(cpu, va, tb->page_addr[0] & PAGE_MASK)) {
        return false;
    }
    if (likely(tb->page_addr[1] == TB_PAGE_ADDR_INVALID)) {
        return true;
    }
    /* The second may have begun the set anew. */
    return page_cover(cpu, va + PAGE_SIZE, tb->page_addr[1]) && link_set_covers(present, tb);
}

/* ---- what leads to TBs ---- */

static unsigned jmp_cache_hash(uint64_t pc, uint32_t cflags)
{
    return (pc ^ (pc >> 10) ^ tb_jmp_cache_salt(cflags)) % LINK_JMP_CACHE;
}

struct TranslationBlock **tb_jmp_cache_slot(struct CPUState *cpu, uint64_t pc, uint32_t flags, uint32_t cflags)
{
    if ((flags & HF_CPL_MASK) == 3) {
        return &present->jmp_cache[jmp_cache_hash(pc, cflags)];
    }
    return &cpu->tb_jmp_cache[tb_jmp_cache_hash_func(pc, cflags)];
}

void link_jmp_cache_remove(const struct TranslationBlock *tb)
{
    unsigned h = jmp_cache_hash(tb->pc, tb_cflags(tb));

    for (unsigned i = 0; i < LINK_SETS; i++) {
        if (sets[i] && sets[i]->jmp_cache[h] == tb) {
            sets[i]->jmp_cache[h] = NULL;
        }
    }
}

void link_table_add(struct TranslationBlock *tb)
{
    uint16_t index = (uint16_t)tb->pc;

    if (!link_set_covers(present, tb)) {
        return;
    }
    present->table[index] = tb->pad;
    if (present->table_used < LINK_TABLE_LOG) {
        present->table_log[present->table_used] = index;
    }
    if (present->table_used <= LINK_TABLE_LOG) {
        present->table_used++;
    }
    tb->table_sets |= (uint16_t)BIT(present->index);
}

void link_table_remove(struct TranslationBlock *tb)
{
    for (unsigned bits = tb->table_sets; bits; bits &= bits - 1) {
        uint64_t *entry = &sets[__builtin_ctz(bits)]->table[(uint16_t)tb->pc];

        if (*entry == tb->pad) {
            *entry = miss;
        }
    }
    tb->table_sets = 0;
}
