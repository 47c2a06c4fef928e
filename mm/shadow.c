/* SPDX-License-Identifier: MIT */
/*
 * The shadow roots: the templates with the monitor's windows, a root for each address space of the
 * guest and view, which of them are the present ones, and what is given up when tables run out.
 */
#include "mm/shadow.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "mm/host.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"

#define WINDOWS_MAX 32
/* More roots than this are not kept, however much room there is: address spaces that have ended are not announced. */
#define ROOTS_MAX 192

#define CR0_WP   BIT(16)
#define EFER_NXE BIT(11)

struct shadow_stats shadow_stats;  /* owner: mm/; read by anyone */
struct guest_paging shadow_paging; /* owner: shadow_set_paging(); what fills walk with */
uint8_t shadow_mode;

static struct shadow_table *templates[VIEW_COUNT]; /* roots; in force while there is no better one */
static struct shadow_table *current[VIEW_COUNT];   /* NULL: no fill has needed one yet */
static uint32_t roots;                             /* list by .next */
static unsigned root_count;
static uint32_t clock; /* .stamp of the root made current last */
static unsigned template_count;
static struct shadow_window windows[WINDOWS_MAX];
static unsigned window_count;

/* ---- roots ---- */

struct shadow_table *root_table(enum view view)
{
    return current[view];
}

uint32_t root_first(void)
{
    return roots;
}

hpa_t shadow_root(enum view view)
{
    return current[view] ? current[view]->hpa : templates[view]->hpa;
}

/* False: CR3 points to no RAM, and every walk fails. */
static bool present_role(enum view view, struct shadow_role *role)
{
    *role = (struct shadow_role){
        .level = PT_LEVELS, .view = view, .mode = shadow_mode, .tmpl = templates[view]->index};
    return gpa_to_ram(shadow_paging.cr3 & PTE_ADDR, &role->ram);
}

static void root_find(enum view view)
{
    struct shadow_role role;

    current[view] = present_role(view, &role) ? table_lookup(&role, 0) : NULL;
    if (current[view]) {
        current[view]->stamp = ++clock;
        shadow_stats.root_hits++;
    }
}

struct shadow_table *root_make(enum view view)
{
    struct shadow_role role;
    struct shadow_table *t = current[view];
    bool ok;

    if (t) {
        return t;
    }
    ok = present_role(view, &role);
    ASSERT(ok); /* a walk has succeeded */
    t = table_alloc(&role);
    ASSERT(t); /* shadow_prepare_fill() has seen to it */
    t->next = roots;
    roots = t->index;
    root_count++;
    t->stamp = ++clock;
    shadow_stats.roots++;
    current[view] = t;
    return t;
}

void root_free(struct shadow_table *t)
{
    uint32_t *link = &roots;

    while (*link != t->index) {
        link = &table_get(*link)->next;
    }
    *link = t->next;
    root_count--;
    if (current[t->role.view] == t) {
        current[t->role.view] = NULL;
    }
    tlb_note_all();
    table_clear(t);
    host_drop_root(t->hpa);
    table_release(t);
}

/* Drop the root that was used least recently. False if there are only present ones. */
static bool root_evict(void)
{
    struct shadow_table *victim = NULL;
    uint32_t index;

    for (index = roots; index; index = table_get(index)->next) {
        struct shadow_table *t = table_get(index);

        if (t != current[t->role.view] && (!victim || (int32_t)(t->stamp - victim->stamp) < 0)) {
            victim = t;
        }
    }
    if (!victim) {
        return false;
    }
    shadow_stats.root_evictions++;
    root_free(victim);
    return true;
}

struct shadow_table *table_find(enum view view, gva_t gva, unsigned level)
{
    struct shadow_table *t = current[view];

    while (t && t->role.level > level) {
        t = table_child(t, pt_index(gva, t->role.level));
    }
    return t;
}

void shadow_prepare_fill(enum view view, gva_t gva)
{
    unsigned need = FILL_TABLES + (redo_windows_open() ? 0 : POOL_WINDOW_RESERVE);

    if (!pool_ensure(need) && table_find(view, gva, 1)) {
        need = FILL_TABLES; /* most likely none is missing */
    }
    while (root_count > ROOTS_MAX && root_evict()) {
    }
    while (!pool_ensure(need) && root_evict()) {
    }
    if (!pool_ensure(need)) {
        shadow_stats.pool_flushes++;
        shadow_flush();
        /* POOL_MIN and POOL_TEMPLATE_MAX are chosen for this. */
        ASSERT(pool_ensure(FILL_TABLES + POOL_WINDOW_RESERVE));
    }
    tlb_commit();
}

/* ---- what the guest asks for ---- */

void shadow_flush(void)
{
    bool any = roots;

    shadow_window_close();
    alias_drop_all();
    while (roots) {
        root_free(table_get(roots));
    }
    if (any) {
        tlb_commit();
    }
    shadow_stats.flushes++;
}

void shadow_set_paging(const struct guest_paging *gp)
{
    alias_drop_all();
    sync_all(SYNC_CR3);
    shadow_paging = *gp;
    shadow_mode = (gp->cr0 & CR0_WP ? MODE_WP : 0) | (gp->efer & EFER_NXE ? MODE_NXE : 0);
    root_find(VIEW_KERNEL);
    root_find(VIEW_USER);
}

void shadow_flush_page(gva_t gva)
{
    if (!is_canonical(gva)) {
        return; /* INVLPG of such an address is a no-op (SDM 2A) */
    }
    alias_drop_all();
    sync_all(SYNC_INVLPG); /* INVLPG ends all of the paging-structure caches (SDM 3A 4.10.4.1) */
    sync_address(VIEW_KERNEL, gva);
    sync_address(VIEW_USER, gva);
    shadow_stats.page_flushes++;
}

/* ---- the monitor's part ---- */

const struct shadow_window *window_find(enum view view, gva_t va)
{
    unsigned i;

    for (i = 0; i < window_count; i++) {
        const struct shadow_window *w = &windows[i];

        if (w->view == view && va >= w->va && va - w->va < w->count * PAGE_SIZE) {
            return w;
        }
    }
    return NULL;
}

bool shadow_reserved(gva_t gva)
{
    unsigned slot = pt_index(gva, PT_LEVELS);

    if (slot >= MONITOR_PML4_FIRST && slot <= MONITOR_PML4_LAST) {
        return true;
    }
    if (likely(slot != PT_ENTRIES - 1)) {
        return false; /* window_range_valid() */
    }
    return window_find(VIEW_KERNEL, gva) || window_find(VIEW_USER, gva) ||
           template_find(VIEW_KERNEL, gva, 1) || template_find(VIEW_USER, gva, 1);
}

/* ---- templates ---- */

static struct shadow_table *template_child(const struct shadow_table *t, unsigned slot)
{
    return t->links[slot].prev ? table_get(t->links[slot].prev) : NULL;
}

struct shadow_table *template_find(enum view view, gva_t va, unsigned level)
{
    struct shadow_table *t = templates[view];

    while (t && t->role.level > level) {
        t = template_child(t, pt_index(va, t->role.level));
    }
    return t;
}

/* NULL: no table is left, or too many are taken by templates. */
static struct shadow_table *template_make(enum view view, struct shadow_table *parent, unsigned slot)
{
    struct shadow_role role = {
        .ram = RAM_NONE, .level = parent ? parent->role.level - 1 : PT_LEVELS, .view = view};
    struct shadow_table *t = template_count < POOL_TEMPLATE_MAX ? table_alloc(&role) : NULL;

    if (!t) {
        return NULL;
    }
    template_count++;
    t->template = true;
    if (parent) {
        t->gva = table_gva(parent, slot);
        parent->links[slot].prev = t->index;
        pte_write(&parent->pte[slot], t->hpa | SHADOW_TABLE);
    }
    return t;
}

/* The template table of `level` for va, made if it is missing. */
static struct shadow_table *template_descend(enum view view, gva_t va, unsigned level)
{
    struct shadow_table *t = templates[view];

    while (t && t->role.level > level) {
        unsigned slot = pt_index(va, t->role.level);
        struct shadow_table *child = template_child(t, slot);

        ASSERT(child || !t->pte[slot]); /* windows do not overlap */
        t = child ? child : template_make(view, t, slot);
    }
    return t;
}

/* Is the whole range in one of the places that mm/layout.h gives to windows? The last page of all
 * stays unmapped. */
static bool window_range_valid(gva_t va, uint64_t len)
{
    static const struct {
        gva_t base;
        uint64_t len;
    } places[] = {
        {CODE_CACHE_BASE, CODE_CACHE_MAX},
        {SLOTS_BASE, SLOTS_MAX},
        {LINKS_BASE, LINKS_SIZE},
        {USER_WINDOW_BASE, LARGE_SIZE - PAGE_SIZE},
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(places); i++) {
        if (va >= places[i].base && va - places[i].base < places[i].len &&
            len <= places[i].len - (va - places[i].base)) {
            return true;
        }
    }
    return false;
}

int shadow_map_window(enum view view, gva_t va, hpa_t hpa, uint64_t count, unsigned flags)
{
    uint64_t bits = PTE_P | PTE_U | PTE_A | PTE_D | (flags & SHADOW_MAP_W ? PTE_W : 0) |
                    (flags & SHADOW_MAP_X ? 0 : PTE_NX);
    uint64_t done = 0;

    ASSERT(count && !((va | hpa) & ~PAGE_MASK) && window_range_valid(va, count * PAGE_SIZE));
    ASSERT((flags & (SHADOW_MAP_W | SHADOW_MAP_X)) != (SHADOW_MAP_W | SHADOW_MAP_X));
    if (window_count == WINDOWS_MAX) {
        return -ENOMEM;
    }
    shadow_flush(); /* tables on the way have copied what the templates held */
    windows[window_count++] =
        (struct shadow_window){.view = view, .flags = flags, .va = va, .hpa = hpa, .count = count};
    while (done < count) {
        gva_t at = va + done * PAGE_SIZE;
        hpa_t frame = hpa + done * PAGE_SIZE;
        bool large = !((at | frame) & ~LARGE_MASK) && count - done >= PT_ENTRIES;
        struct shadow_table *t = template_descend(view, at, large ? 2 : 1);
        uint64_t *pte;

        if (!t) {
            return -ENOMEM;
        }
        pte = &t->pte[pt_index(at, t->role.level)];
        ASSERT(!*pte);
        pte_write(pte, frame | bits | (large ? PTE_PS : 0));
        done += large ? PT_ENTRIES : 1;
    }
    return 0;
}

void shadow_remap_window(enum view view, gva_t va, hpa_t hpa)
{
    struct shadow_window *w = NULL;
    unsigned i;

    for (i = 0; i < window_count; i++) {
        if (windows[i].view == view && windows[i].va == va) {
            w = &windows[i];
        }
    }
    struct shadow_table *t = template_find(view, va, 1);

    ASSERT(w && t && t->role.level == 1 && !(hpa & ~PAGE_MASK));
    for (i = 0; i < w->count; i++) {
        uint64_t *pte = &t->pte[pt_index(va, 1) + i];

        pte_write(pte, *pte - w->hpa + hpa);
    }
    w->hpa = hpa;
    tlb_note_all();
    tlb_commit();
}

struct shadow_table *window_reserve(enum view view, gva_t va, uint64_t count)
{
    ASSERT(window_range_valid(va, count * PAGE_SIZE));
    ASSERT(((va ^ (va + (count - 1) * PAGE_SIZE)) & LARGE_MASK) == 0);
    if (window_count == WINDOWS_MAX) {
        return NULL;
    }
    shadow_flush();
    windows[window_count++] = (struct shadow_window){.view = view, .flags = SHADOW_MAP_W, .va = va, .count = count};
    return template_descend(view, va, 1);
}

int shadow_init(hpa_t template_root, unsigned max_tables)
{
    const uint64_t *template = phys_to_virt(template_root);
    enum view view;

    ASSERT(guest_ram_size());
    window_count = template_count = root_count = 0;
    roots = 0;
    memset(&shadow_stats, 0, sizeof(shadow_stats));
    sync_init();
    if (pool_init(max_tables, guest_ram_size()) || rmap_init(guest_ram_size()) || track_init(guest_ram_size())) {
        return -ENOMEM;
    }
    for (view = 0; view < VIEW_COUNT; view++) {
        current[view] = NULL;
        templates[view] = template_make(view, NULL, 0);
        if (!templates[view]) {
            return -ENOMEM;
        }
        memcpy(&templates[view]->pte[MONITOR_PML4_FIRST], &template[MONITOR_PML4_FIRST],
               (MONITOR_PML4_LAST - MONITOR_PML4_FIRST + 1) * sizeof(*template));
    }
    return 0;
}
