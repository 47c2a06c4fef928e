/* SPDX-License-Identifier: MIT */
/*
 * The hash table of all live TBs (QEMU tb_ctx.htable). Look-ups take no lock; insertion and removal
 * do. Does not know about page lists or jumps.
 */
#include "dbt/tb-internal.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"
#include "dbt/host.h"

#define TB_HTABLE_BITS_MIN 10
#define TB_HTABLE_BITS_MAX 24

/*
 * Buckets are singly linked through hash_next. A removed TB keeps its hash_next, so a look-up that
 * stands on it goes on into the rest of its bucket; TB memory stays valid until the flush (I4),
 * which no look-up overlaps.
 */
static struct {
    struct TranslationBlock **bucket; /* heads, from dbt_zalloc(): one for each TB that there may be, or every other */
    unsigned bits;                    /* log2 of their number; constant after tb_htable_init() */
    struct spinlock lock;             /* writers; leaf in the lock order */
} htable;

static size_t htable_size(void)
{
    return (size_t)1 << htable.bits;
}

int tb_htable_init(void)
{
    if (!htable.bucket) {
        htable.bits = TB_HTABLE_BITS_MIN;
        while (htable.bits < TB_HTABLE_BITS_MAX && htable_size() < tb_capacity() / 2) {
            htable.bits++;
        }
        htable.bucket = dbt_zalloc(htable_size() * sizeof(htable.bucket[0]));
    }
    if (!htable.bucket) {
        return -ENOMEM;
    }
    tb_htable_reset();
    return 0;
}

void tb_htable_reset(void)
{
    memset(htable.bucket, 0, htable_size() * sizeof(htable.bucket[0]));
}

static unsigned tb_hash_func(tb_page_addr_t phys_pc, uint64_t pc, uint32_t flags, uint32_t cflags)
{
    uint64_t h = phys_pc * 0x9e3779b97f4a7c15ull;

    h = (h ^ (h >> 29) ^ pc) * 0xbf58476d1ce4e5b9ull;
    h = (h ^ (h >> 32) ^ ((uint64_t)flags << 32 | (cflags & CF_HASH_MASK))) * 0x94d049bb133111ebull;
    return h >> (64 - htable.bits);
}

void tb_htable_prefetch(tb_page_addr_t phys_pc, uint64_t pc, uint32_t flags, uint32_t cflags)
{
    __builtin_prefetch(&htable.bucket[tb_hash_func(phys_pc, pc, flags, cflags)], 1);
}

static struct TranslationBlock **tb_bucket(const struct TranslationBlock *tb)
{
    return &htable.bucket[tb_hash_func(tb->page_addr[0], tb->pc, tb->flags, tb_cflags(tb))];
}

/* A dead TB equals nothing: its cflags have CF_INVALID. */
static bool tb_key_equal(const struct TranslationBlock *tb, uint64_t pc, tb_page_addr_t phys_pc,
                         uint32_t flags, uint32_t cflags)
{
    return tb->pc == pc && tb->page_addr[0] == phys_pc && tb->flags == flags &&
           tb_cflags(tb) == (cflags & CF_HASH_MASK);
}

/*
 * The ram address of the page after pc's, TB_PAGE_ADDR_INVALID if it is not mapped now. Which code
 * follows on the second page is part of a crossing TB's identity: the second mapping can change
 * without the first.
 */
static tb_page_addr_t tb_phys_page2(struct CPUState *cpu, uint64_t pc)
{
    tb_page_addr_t addr = probe_page_addr_code(cpu, (pc & PAGE_MASK) + PAGE_SIZE);
    return addr == TB_PAGE_ADDR_INVALID ? addr : addr & PAGE_MASK;
}

struct TranslationBlock *tb_htable_lookup(struct CPUState *cpu, uint64_t pc, tb_page_addr_t phys_pc,
                                          uint32_t flags, uint32_t cflags)
{
    bool have_page2 = false;
    tb_page_addr_t phys_page2 = TB_PAGE_ADDR_INVALID;

    ASSERT(tb_cpu_is_registered(cpu)); /* what is found here is about to enter its jump cache */
    struct TranslationBlock *tb =
        __atomic_load_n(&htable.bucket[tb_hash_func(phys_pc, pc, flags, cflags)], __ATOMIC_ACQUIRE);
    for (; tb; tb = __atomic_load_n(&tb->hash_next, __ATOMIC_ACQUIRE)) {
        if (!tb_key_equal(tb, pc, phys_pc, flags, cflags)) {
            continue;
        }
        if (tb->page_addr[1] == TB_PAGE_ADDR_INVALID) {
            return tb;
        }
        if (!have_page2) {
            phys_page2 = tb_phys_page2(cpu, pc);
            have_page2 = true;
        }
        if (tb->page_addr[1] == phys_page2) {
            return tb;
        }
    }
    return NULL;
}

struct TranslationBlock *tb_htable_insert(struct TranslationBlock *tb)
{
    struct TranslationBlock **head = tb_bucket(tb);
    struct TranslationBlock *other;

    spin_lock(&htable.lock);
    for (other = *head; other; other = other->hash_next) {
        if (tb_key_equal(other, tb->pc, tb->page_addr[0], tb->flags, tb_cflags(tb)) &&
            other->page_addr[1] == tb->page_addr[1]) {
            break;
        }
    }
    if (!other) {
        tb->hash_next = *head;
        tb->hashed = true;
        __atomic_store_n(
            head, tb, __ATOMIC_RELEASE); /* pairs with the look-up's acquire: a whole TB or none */
    }
    spin_unlock(&htable.lock);
    return other ? other : tb;
}

bool tb_htable_remove(struct TranslationBlock *tb)
{
    spin_lock(&htable.lock);
    bool hashed = tb->hashed;
    if (hashed) {
        struct TranslationBlock **prev = tb_bucket(tb);
        while (*prev != tb) {
            ASSERT(*prev);
            prev = &(*prev)->hash_next;
        }
        __atomic_store_n(prev, tb->hash_next, __ATOMIC_RELEASE);
        tb->hashed = false;
    }
    spin_unlock(&htable.lock);
    return hashed;
}

int tb_htable_check(size_t *entries)
{
    size_t limit = tb_count();
    int errors = 0;

    *entries = 0;
    for (size_t i = 0; i < htable_size(); i++) {
        for (struct TranslationBlock *tb = htable.bucket[i]; tb; tb = tb->hash_next) {
            if (++*entries > limit) {
                log_line("tb", "hash table: more entries than TBs, bucket %zu", i);
                return errors + 1;
            }
            if (!tb->hashed || (tb_cflags(tb) & CF_INVALID) || tb_bucket(tb) != &htable.bucket[i]) {
                log_line("tb", "hash table: bucket %zu holds dead or foreign TB pc=%#llx", i,
                         (unsigned long long)tb->pc);
                errors++;
            }
        }
    }
    return errors;
}
