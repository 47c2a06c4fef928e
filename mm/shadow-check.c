/* SPDX-License-Identifier: MIT */
/*
 * Self-check of the shadow tables, for tests and the monitor's console: goes through everything
 * that the hardware can reach from both roots and through the whole reverse map. Changes nothing;
 * time is proportional to guest RAM.
 */
#include "kernel/lib/log.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"

/* One check in progress. */
struct check {
    int violations;
    uint64_t leaves; /* guest leaves seen from the roots */
    uint64_t linked; /* entries seen in the reverse map */
};

static void violation(struct check *c, const struct shadow_table *t, unsigned slot,
                      const char *what)
{
    c->violations++;
    printk("shadow: view %u level %u gva %016llx entry %016llx: %s\n", t->view, t->level,
           (unsigned long long)table_gva(t, slot), (unsigned long long)t->pte[slot], what);
}

/* A leaf that belongs to the monitor: exactly what its window says. */
static void check_window_leaf(struct check *c, const struct shadow_table *t, unsigned slot)
{
    gva_t gva = table_gva(t, slot);
    const struct shadow_window *w = window_find(t->view, gva);
    uint64_t pte = t->pte[slot];

    if (!w) {
        violation(c, t, slot, "neither guest RAM nor a window");
        return;
    }
    if (alias_window_holds(gva)) {
        if (t->level != 1 || !alias_consistent(t->view, gva, pte)) {
            violation(c, t, slot, "alias of another frame, or with other rights");
        }
        return;
    }
    if (pte_leaf_addr(pte, t->level) != w->hpa + (gva - w->va) ||
        pt_span(t->level) > w->count * PAGE_SIZE - (gva - w->va)) {
        violation(c, t, slot, "window maps a foreign frame");
    }
    if (!(pte & PTE_W) == !!(w->flags & SHADOW_MAP_W) ||
        !(pte & PTE_NX) != !!(w->flags & SHADOW_MAP_X)) {
        violation(c, t, slot, "window has other rights than registered");
    }
}

/* Is the entry where the list of its frame says? Together with check_list() this proves membership.
 */
static bool link_consistent(const struct shadow_table *t, unsigned slot, ram_addr_t ram)
{
    uint32_t id = t->index * PT_ENTRIES + slot;
    const struct rmap_link *link = &t->links[slot];

    return (link->prev ? rmap_link(link->prev)->next : rmap_first(t->level, ram)) == id &&
           (!link->next || rmap_link(link->next)->prev == id);
}

static void check_guest_leaf(struct check *c, const struct shadow_table *t, unsigned slot)
{
    uint64_t pte = t->pte[slot];
    bool redo = redo_window_at(t->view, table_gva(t, slot));
    ram_addr_t ram;

    c->leaves++;
    if (t->level > 2 || !hpa_to_ram(pte_leaf_addr(pte, t->level), &ram)) {
        violation(c, t, slot, "guest entry outside guest RAM");
        return;
    }
    if (!(pte & PTE_NX)) {
        violation(c, t, slot, "guest page is executable");
    }
    if (t->level == 1 && (pte & PTE_W) && track_reasons(ram) && !redo) {
        violation(c, t, slot, "tracked frame is writable");
    }
    if (t->level == 2 && track_region_count(ram)) {
        violation(c, t, slot, "large entry over a tracked frame");
    }
    if (!link_consistent(t, slot, ram)) {
        violation(c, t, slot, "not in the reverse map");
    }
}

static void check_table(struct check *c, const struct shadow_table *t);

static void check_pointer(struct check *c, const struct shadow_table *t, unsigned slot)
{
    const struct shadow_table *child = table_child(t, slot);

    if (t->level == PT_LEVELS && slot >= MONITOR_PML4_FIRST && slot <= MONITOR_PML4_LAST) {
        if (t->pte[slot] & PTE_U) {
            violation(c, t, slot, "the monitor's slot is open to users");
        }
        return;
    }
    if (!child || child->hpa != (t->pte[slot] & PTE_ADDR) || child->parent != t->index ||
        child->slot != slot || child->level != t->level - 1 || child->view != t->view ||
        child->gva != table_gva(t, slot) || child->permanent == slot_used(t, slot)) {
        violation(c, t, slot, "pointer and table disagree");
        return;
    }
    check_table(c, child);
}

static void check_table(struct check *c, const struct shadow_table *t)
{
    unsigned slot;

    for (slot = 0; slot < PT_ENTRIES; slot++) {
        uint64_t pte = t->pte[slot];

        if (!(pte & PTE_P)) {
            if (pte || slot_used(t, slot)) {
                violation(c, t, slot, "absent entry is not empty");
            }
        } else if (!pte_is_leaf(pte, t->level)) {
            check_pointer(c, t, slot);
        } else if (slot_used(t, slot)) {
            check_guest_leaf(c, t, slot);
        } else if (!redo_window_at(t->view, table_gva(t, slot))) {
            check_window_leaf(c, t, slot);
        }
    }
}

/* Every entry in the list of a frame maps it. */
static void check_list(struct check *c, unsigned level, ram_addr_t ram)
{
    uint32_t id;

    for (id = rmap_first(level, ram); id && c->linked <= c->leaves; id = rmap_link(id)->next) {
        const struct shadow_table *t = table_get(id / PT_ENTRIES);
        unsigned slot = id % PT_ENTRIES;
        ram_addr_t mapped;

        c->linked++;
        if (t->level != level || !slot_used(t, slot) ||
            !hpa_to_ram(pte_leaf_addr(t->pte[slot], level), &mapped) || mapped != ram) {
            violation(c, t, slot, "in the reverse map of another frame");
        }
    }
}

int shadow_check(void)
{
    struct check c = {0};
    ram_addr_t ram;

    check_table(&c, root_table(VIEW_KERNEL));
    check_table(&c, root_table(VIEW_USER));
    for (ram = 0; ram < guest_ram_size(); ram += PAGE_SIZE) {
        check_list(&c, 1, ram);
        if (!(ram & ~LARGE_MASK)) {
            check_list(&c, 2, ram);
        }
    }
    if (c.linked != c.leaves) {
        c.violations++;
        printk("shadow: %llu guest entries, %llu in the reverse map\n",
               (unsigned long long)c.leaves, (unsigned long long)c.linked);
    }
    return c.violations;
}
