/* SPDX-License-Identifier: MIT */
/*
 * Shadow tables as objects: frames allocated from the frame allocator as they are first needed, up
 * to a maximum, and recycled for ever; and the index from the guest's tables to their shadows. A
 * free table is all zero (whoever fills a slot clears it again), so that allocation and release
 * cost nothing. Policy (what to drop when it is used up) is in shadow.c.
 */
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/shadow-priv.h"
#include "mm/watch.h"

_Static_assert(sizeof(struct rmap_link) * PT_ENTRIES == PAGE_SIZE,
               "the links of a table fill one frame");

#define FRAMES_PER_TABLE 3 /* entries, snapshots, links */

static struct {
    struct shadow_table *tables; /* [max + 1]; [0] is unused */
    uint32_t *first_of;          /* per frame of guest RAM: the first table that shadows it */
    unsigned max;                /* most tables that may exist */
    unsigned count;              /* tables that have frames: indices 1..count */
    unsigned free_count;
    uint32_t free; /* list by .next */
} pool;

/* Give the next table its frames and put it on the free list. */
static bool pool_grow(void)
{
    void *frame[FRAMES_PER_TABLE];
    struct shadow_table *t;
    unsigned n;

    if (pool.count == pool.max) {
        return false;
    }
    for (n = 0; n < FRAMES_PER_TABLE; n++) {
        hpa_t hpa = frame_alloc();

        if (hpa == HPA_INVALID) {
            while (n) {
                frame_free(virt_to_phys(frame[--n]));
            }
            pool.max = pool.count; /* memory is short: do with what we have */
            return false;
        }
        frame[n] = phys_to_virt(hpa);
    }
    t = &pool.tables[++pool.count];
    t->index = pool.count;
    t->pte = frame[0];
    t->hpa = virt_to_phys(frame[0]);
    t->snap = frame[1];
    t->links = frame[2];
    t->next = pool.free;
    pool.free = t->index;
    pool.free_count++;
    return true;
}

static void *array_alloc(uint64_t bytes)
{
    hpa_t hpa = frame_alloc_contig(ALIGN_UP(bytes, PAGE_SIZE) >> PAGE_SHIFT, PAGE_SIZE);

    return hpa == HPA_INVALID ? NULL : phys_to_virt(hpa);
}

int pool_init(unsigned max_tables, uint64_t ram_size)
{
    memset(&pool, 0, sizeof(pool));
    pool.tables = array_alloc(((uint64_t)max_tables + 1) * sizeof(struct shadow_table));
    pool.first_of = array_alloc((ram_size >> PAGE_SHIFT) * sizeof(uint32_t));
    pool.max = max_tables;
    if (!pool.tables || !pool.first_of || max_tables < POOL_MIN) {
        return -ENOMEM;
    }
    return pool_ensure(POOL_MIN) ? 0 : -ENOMEM;
}

bool pool_ensure(unsigned n)
{
    while (pool.free_count < n && pool_grow()) {
    }
    return pool.free_count >= n;
}

struct shadow_table *table_get(uint32_t index)
{
    ASSERT(index && index <= pool.count);
    return &pool.tables[index];
}

uint32_t table_count(void)
{
    return pool.count;
}

/* ---- the index ---- */

static uint32_t *first_of(ram_addr_t ram)
{
    return &pool.first_of[ram >> PAGE_SHIFT];
}

struct shadow_table *table_first_of(ram_addr_t ram)
{
    uint32_t index = *first_of(ram);

    return index ? table_get(index) : NULL;
}

struct shadow_table *table_lookup(const struct shadow_role *role, gva_t gva)
{
    bool anywhere = !watch_any();
    uint32_t index;

    for (index = *first_of(role->ram); index; index = table_get(index)->frame_next) {
        const struct shadow_role *r = &table_get(index)->role;

        if (r->level == role->level && r->view == role->view && r->mode == role->mode &&
            r->ro == role->ro && r->tmpl == role->tmpl && (anywhere || table_get(index)->gva == gva)) {
            return table_get(index);
        }
    }
    return NULL;
}

static void index_remove(const struct shadow_table *t)
{
    uint32_t *link = first_of(t->role.ram);

    while (*link != t->index) {
        link = &table_get(*link)->frame_next;
    }
    *link = t->frame_next;
}

/* ---- allocation ---- */

struct shadow_table *table_alloc(const struct shadow_role *role)
{
    struct shadow_table *t;

    if (!pool_ensure(1)) {
        return NULL;
    }
    t = table_get(pool.free);
    pool.free = t->next;
    pool.free_count--;
    shadow_stats.frames_used = pool.count - pool.free_count;

    t->role = *role;
    t->gva = 0;
    t->parents = 0;
    t->next = 0;
    t->frame_next = 0;
    t->in_use = true;
    t->template = t->direct = t->multi = false;
    if (role->tmpl) {
        memcpy(t->pte, table_get(role->tmpl)->pte, PAGE_SIZE);
    }
    if (role->ram != RAM_NONE) {
        bool shadowed = *first_of(role->ram);

        t->frame_next = *first_of(role->ram);
        *first_of(role->ram) = t->index;
        if (!shadowed) {
            sync_frame_shadowed(role->ram);
        }
    }
    return t;
}

void table_release(struct shadow_table *t)
{
    ASSERT(t->in_use && !t->parents && !t->nr_used);
    if (t->role.tmpl) {
        memset(t->pte, 0, PAGE_SIZE);
    }
    if (t->role.ram != RAM_NONE) {
        index_remove(t);
        if (!*first_of(t->role.ram)) {
            sync_frame_forgotten(t->role.ram);
        }
    }
    t->in_use = false;
    t->next = pool.free;
    pool.free = t->index;
    pool.free_count++;
    shadow_stats.frames_used = pool.count - pool.free_count;
}
