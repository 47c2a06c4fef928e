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
 *
 * A head is a word: the pointer's low 48 bits, and above them a set of what is in the bucket: the bit
 * that bit_of_hash() says is set if any TB there has it. Most keys that are not there are known not to be
 * without looking at a TB, which is in no data cache and no TLB when there are many. Removal leaves the bit.
 *
 *      63      48 47                    0
 *     | key bits | address of a TB, or 0 |
 */
static struct {
    uint64_t *bucket;     /* heads, from dbt_zalloc(): one for each TB that there may be, or every other */
    unsigned bits;        /* log2 of their number; constant after tb_htable_init() */
    struct spinlock lock; /* writers; leaf in the lock order */
} htable;

#define HEAD_SHIFT 16u

static struct TranslationBlock *tb_of_head(uint64_t head)
{
    return (struct TranslationBlock *)(uintptr_t)((int64_t)(head << HEAD_SHIFT) >> HEAD_SHIFT);
}

static uint64_t head_of_tb(const struct TranslationBlock *tb, uint64_t key_bits)
{
    return ((uint64_t)(uintptr_t)tb & (~0ull >> HEAD_SHIFT)) | key_bits;
}

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

static uint64_t tb_hash_func(tb_page_addr_t phys_pc, uint64_t pc, uint32_t flags, uint32_t cflags)
{
    uint64_t h = phys_pc * 0x9e3779b97f4a7c15ull;

    h = (h ^ (h >> 29) ^ pc) * 0xbf58476d1ce4e5b9ull;
    return (h ^ (h >> 32) ^ ((uint64_t)flags << 32 | (cflags & CF_HASH_MASK))) * 0x94d049bb133111ebull;
}

static uint64_t tb_hash(const struct TranslationBlock *tb)
{
    return tb_hash_func(tb->page_addr[0], tb->pc, tb->flags, tb_cflags(tb));
}

static uint64_t *bucket_of_hash(uint64_t h)
{
    return &htable.bucket[h >> (64 - htable.bits)];
}

/* Of the hash's bits below those that choose the bucket. */
static uint64_t bit_of_hash(uint64_t h)
{
    _Static_assert(64 - TB_HTABLE_BITS_MAX >= 36, "other bits than the bucket's");
    return BIT(64 - HEAD_SHIFT + (h >> 32 & (HEAD_SHIFT - 1)));
}

void tb_htable_prefetch(const struct TranslationBlock *tb)
{
    __builtin_prefetch(bucket_of_hash(tb_hash(tb)), 1);
}

/* A dead TB equals nothing: its cflags have CF_INVALID. */
static bool tb_key_equal(const struct TranslationBlock *tb, uint64_t pc, tb_page_addr_t phys_pc,
                         uint32_t flags, uint32_t cflags)
{
    return tb->page_addr[0] == phys_pc && tb->pc == pc && tb->flags == flags &&
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
    uint64_t h = tb_hash_func(phys_pc, pc, flags, cflags);
    uint64_t head = __atomic_load_n(bucket_of_hash(h), __ATOMIC_ACQUIRE);

    if (!(head & bit_of_hash(h))) {
        return NULL;
    }
    for (struct TranslationBlock *tb = tb_of_head(head); tb; tb = __atomic_load_n(&tb->hash_next, __ATOMIC_ACQUIRE)) {
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

/* The TB in the bucket with tb's key, or NULL. */
static struct TranslationBlock *find_equal_locked(uint64_t head, const struct TranslationBlock *tb)
{
    struct TranslationBlock *other = tb_of_head(head);

    while (other && !(tb_key_equal(other, tb->pc, tb->page_addr[0], tb->flags, tb_cflags(tb)) &&
                      other->page_addr[1] == tb->page_addr[1])) {
        other = other->hash_next;
    }
    return other;
}

struct TranslationBlock *tb_htable_insert(struct TranslationBlock *tb)
{
    uint64_t h = tb_hash(tb), bit = bit_of_hash(h);
    uint64_t *bucket = bucket_of_hash(h);

    ASSERT(tb_of_head(head_of_tb(tb, 0)) == tb);
    spin_lock(&htable.lock);
    uint64_t head = *bucket;
    struct TranslationBlock *other = head & bit ? find_equal_locked(head, tb) : NULL;
    if (!other) {
        tb->hash_next = tb_of_head(head);
        tb->hashed = true;
        /* Pairs with the look-up's acquire: a whole TB or none. */
        __atomic_store_n(bucket, head_of_tb(tb, (head & ~(~0ull >> HEAD_SHIFT)) | bit), __ATOMIC_RELEASE);
    }
    spin_unlock(&htable.lock);
    return other ? other : tb;
}

bool tb_htable_remove(struct TranslationBlock *tb)
{
    spin_lock(&htable.lock);
    bool hashed = tb->hashed;
    if (hashed) {
        uint64_t *bucket = bucket_of_hash(tb_hash(tb)), head = *bucket;
        struct TranslationBlock *prev = tb_of_head(head);

        if (prev == tb) {
            uint64_t bits = tb->hash_next ? head & ~(~0ull >> HEAD_SHIFT) : 0;

            __atomic_store_n(bucket, head_of_tb(tb->hash_next, bits), __ATOMIC_RELEASE);
        } else {
            while (prev->hash_next != tb) {
                prev = prev->hash_next;
                ASSERT(prev);
            }
            __atomic_store_n(&prev->hash_next, tb->hash_next, __ATOMIC_RELEASE);
        }
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
        uint64_t head = htable.bucket[i];

        for (struct TranslationBlock *tb = tb_of_head(head); tb; tb = tb->hash_next) {
            if (++*entries > limit) {
                log_line("tb", "hash table: more entries than TBs, bucket %zu", i);
                return errors + 1;
            }
            if (!tb->hashed || (tb_cflags(tb) & CF_INVALID) || bucket_of_hash(tb_hash(tb)) != &htable.bucket[i] ||
                !(head & bit_of_hash(tb_hash(tb)))) {
                log_line("tb", "hash table: bucket %zu holds dead or foreign TB pc=%#llx", i,
                         (unsigned long long)tb->pc);
                errors++;
            }
        }
    }
    return errors;
}
