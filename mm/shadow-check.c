/* SPDX-License-Identifier: MIT */
/*
 * Self-check of the shadow tables, for tests and the monitor's console: goes through every table that is in use and
 * through the whole reverse map. Changes nothing; time is proportional to guest RAM.
 */
#include "kernel/lib/log.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"

/* One check in progress. */
struct check {
    int violations;
    uint64_t leaves; /* guest leaves in all tables */
    uint64_t linked; /* entries seen in the reverse map */
    uint64_t tables; /* shadows of guest tables */
};

static void violation(struct check *c, const struct shadow_table *t, unsigned slot, const char *what)
{
    c->violations++;
    printk("shadow: view %u level %u gva %016llx entry %016llx: %s\n", t->role.view, t->role.level,
           (unsigned long long)table_gva(t, slot), (unsigned long long)t->pte[slot], what);
}

/* ---- the monitor's own ---- */

/* A leaf of a template: exactly what its window says. */
static void check_window_leaf(struct check *c, const struct shadow_table *t, unsigned slot)
{
    gva_t gva = table_gva(t, slot);
    const struct shadow_window *w = window_find(t->role.view, gva);
    uint64_t pte = t->pte[slot];

    if (!w) {
        violation(c, t, slot, "neither guest RAM nor a window");
        return;
    }
    if (alias_window_holds(gva)) {
        if (t->role.level != 1 || !alias_consistent(t->role.view, gva, pte)) {
            violation(c, t, slot, "alias of another frame, or with other rights");
        }
        return;
    }
    if (pte_leaf_addr(pte, t->role.level) != w->hpa + (gva - w->va) ||
        pt_span(t->role.level) > w->count * PAGE_SIZE - (gva - w->va)) {
        violation(c, t, slot, "window maps a foreign frame");
    }
    if (!(pte & PTE_W) == !!(w->flags & SHADOW_MAP_W) || !(pte & PTE_NX) != !!(w->flags & SHADOW_MAP_X)) {
        violation(c, t, slot, "window has other rights than registered");
    }
}

static void check_template_slot(struct check *c, const struct shadow_table *t, unsigned slot)
{
    uint64_t pte = t->pte[slot];

    if (t->role.level == PT_LEVELS && slot >= MONITOR_PML4_FIRST && slot <= MONITOR_PML4_LAST) {
        if (pte & PTE_U) {
            violation(c, t, slot, "the monitor's slot is open to users");
        }
    } else if (pte_is_leaf(pte, t->role.level)) {
        check_window_leaf(c, t, slot);
    } else {
        const struct shadow_table *child = template_find(t->role.view, table_gva(t, slot), t->role.level - 1);

        if (!child || (child->hpa | SHADOW_TABLE) != pte) {
            violation(c, t, slot, "pointer and template disagree");
        }
    }
}

/* A slot that no mapping of the guest fills. */
static void check_unused_slot(struct check *c, const struct shadow_table *t, unsigned slot)
{
    uint64_t own = t->role.tmpl ? table_get(t->role.tmpl)->pte[slot] : 0;

    if (t->template) {
        if (t->pte[slot] & PTE_P) {
            check_template_slot(c, t, slot);
        } else if (t->pte[slot]) {
            violation(c, t, slot, "absent entry is not empty");
        }
    } else if (t->pte[slot] != own && !redo_window_slot(t, slot)) {
        violation(c, t, slot, "unused entry is not the template's");
    }
}

/* ---- the guest's ---- */

/* Is the entry where the list of its frame says? Together with check_list() this proves membership.
 */
static bool link_consistent(const struct shadow_table *t, unsigned slot, ram_addr_t ram)
{
    uint32_t id = t->index * PT_ENTRIES + slot;
    const struct rmap_link *link = &t->links[slot];

    return (link->prev ? rmap_link(link->prev)->next : rmap_first(t->role.level, ram)) == id &&
           (!link->next || rmap_link(link->next)->prev == id);
}

static void check_guest_leaf(struct check *c, const struct shadow_table *t, unsigned slot)
{
    uint64_t pte = t->pte[slot];
    ram_addr_t ram;

    c->leaves++;
    if (t->role.level > 2 || !hpa_to_ram(pte_leaf_addr(pte, t->role.level), &ram)) {
        violation(c, t, slot, "guest entry outside guest RAM");
        return;
    }
    if (!(pte & PTE_NX)) {
        violation(c, t, slot, "guest page is executable");
    }
    if (t->role.level == 1 && (pte & PTE_W) && track_reasons(ram) && !redo_window_slot(t, slot)) {
        violation(c, t, slot, "tracked frame is writable");
    }
    if (t->role.level == 2 && track_region_count(ram)) {
        violation(c, t, slot, "large entry over a tracked frame");
    }
    if (!link_consistent(t, slot, ram)) {
        violation(c, t, slot, "not in the reverse map");
    }
}

static bool has_parent(const struct shadow_table *child, const struct shadow_table *t, unsigned slot)
{
    uint32_t id = child->parents;

    while (id && id != t->index * PT_ENTRIES + slot) {
        id = rmap_link(id)->next;
    }
    return id;
}

static void check_pointer(struct check *c, const struct shadow_table *t, unsigned slot)
{
    const struct shadow_table *child = table_child(t, slot);
    uint64_t entry = t->snap[slot];
    ram_addr_t ram;

    if (!child->in_use || (child->hpa | (SHADOW_TABLE & ~PTE_W)) != (t->pte[slot] & ~PTE_W) ||
        child->role.level != t->role.level - 1 || child->role.view != t->role.view ||
        child->role.mode != t->role.mode || !has_parent(child, t, slot)) {
        violation(c, t, slot, "pointer and table disagree");
    }
    if (!child->direct && (!gpa_to_ram(entry & PTE_ADDR, &ram) || ram != child->role.ram)) {
        violation(c, t, slot, "table shadows another one than the entry names");
    }
    if (!child->multi && (t->multi || child->gva != table_gva(t, slot))) {
        violation(c, t, slot, "table has more addresses than it knows");
    }
}

/* A synchronized table says what the guest's says. */
static void check_snapshot(struct check *c, const struct shadow_table *t, unsigned slot)
{
    const uint64_t *guest = ram_to_virt(t->role.ram);

    if (!sync_frame_unsynced(t->role.ram) && !snap_valid(t->snap[slot], pte_read(&guest[slot]))) {
        violation(c, t, slot, "synchronized, but not what the guest's table says");
    }
}

static void check_table(struct check *c, const struct shadow_table *t)
{
    unsigned slot, used = 0;

    for (slot = 0; slot < PT_ENTRIES; slot++) {
        if (!slot_used(t, slot)) {
            check_unused_slot(c, t, slot);
            continue;
        }
        used++;
        if (!(t->pte[slot] & PTE_P)) {
            violation(c, t, slot, "used entry is absent");
        } else if (pte_is_leaf(t->pte[slot], t->role.level)) {
            check_guest_leaf(c, t, slot);
        } else {
            check_pointer(c, t, slot);
        }
        if (t->role.ram != RAM_NONE) {
            check_snapshot(c, t, slot);
        }
    }
    if (used != t->nr_used) {
        violation(c, t, 0, "number of used slots is wrong");
    }
    if (t->role.ram != RAM_NONE) {
        c->tables++;
        if (!(track_reasons(t->role.ram) & TRACK_PT) == !sync_frame_unsynced(t->role.ram)) {
            violation(c, t, 0, "guest's table is neither tracked nor compared, or both");
        }
    }
}

/* ---- from the frames ---- */

/* Every entry in the list of a frame maps it. */
static void check_list(struct check *c, unsigned level, ram_addr_t ram)
{
    uint32_t id;

    for (id = rmap_first(level, ram); id && c->linked <= c->leaves; id = rmap_link(id)->next) {
        const struct shadow_table *t = table_get(id / PT_ENTRIES);
        unsigned slot = id % PT_ENTRIES;
        ram_addr_t mapped;

        c->linked++;
        if (!t->in_use || t->role.level != level || !slot_used(t, slot) ||
            !hpa_to_ram(pte_leaf_addr(t->pte[slot], level), &mapped) || mapped != ram) {
            violation(c, t, slot, "in the reverse map of another frame");
        }
    }
}

static void check_shadows_of(struct check *c, ram_addr_t ram)
{
    const struct shadow_table *t;

    for (t = table_first_of(ram); t && c->tables; t = t->frame_next ? table_get(t->frame_next) : NULL) {
        c->tables--;
        if (!t->in_use || t->role.ram != ram) {
            violation(c, t, 0, "in the index at another guest table");
        }
    }
}

int shadow_check(void)
{
    struct check c = {0};
    uint32_t index;
    ram_addr_t ram;

    for (index = 1; index <= table_count(); index++) {
        if (table_get(index)->in_use) {
            check_table(&c, table_get(index));
        }
    }
    for (ram = 0; ram < guest_ram_size(); ram += PAGE_SIZE) {
        check_list(&c, 1, ram);
        if (!(ram & ~LARGE_MASK)) {
            check_list(&c, 2, ram);
        }
        check_shadows_of(&c, ram);
    }
    if (c.linked != c.leaves || c.tables) {
        c.violations++;
        printk("shadow: %llu guest entries, %llu in the reverse map; %llu tables are not in the index\n",
               (unsigned long long)c.leaves, (unsigned long long)c.linked, (unsigned long long)c.tables);
    }
    return c.violations;
}
