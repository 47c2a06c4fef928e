/* SPDX-License-Identifier: MIT */
/* What the shadow tables hold, in numbers, for the monitor's prompt and tests. Changes nothing: no fill, no comparison. */
#include "kernel/lib/string.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"

static void count_table(const struct shadow_table *t, struct shadow_view_info *info)
{
    info->tables++;
    if (t->role.level == 1) {
        info->pages += t->nr_used;
        return;
    }
    for (unsigned slot = 0; t->role.level == 2 && slot < PT_ENTRIES; slot++) {
        info->large_pages += slot_used(t, slot) && !table_child(t, slot);
    }
}

/* Table by table and not from the root down: a guest may hang one table on every slot above it, and there are 2^27 ways to it then. */
void shadow_view_info(enum view view, struct shadow_view_info *info)
{
    *info = (struct shadow_view_info){.root = shadow_root(view), .made = root_table(view)};
    for (uint32_t index = 1; index <= table_count(); index++) {
        const struct shadow_table *t = table_get(index);

        if (t->in_use && !t->template && t->role.view == view) {
            count_table(t, info);
        }
    }
}

unsigned shadow_kept_roots(enum view view, gpa_t *cr3, unsigned max)
{
    unsigned count = 0;

    for (uint32_t index = root_first(); index; index = table_get(index)->next) {
        const struct shadow_table *t = table_get(index);

        if (t->role.view == view && count++ < max) {
            cr3[count - 1] = ram_to_gpa(t->role.ram);
        }
    }
    return count;
}

uint64_t shadow_entry(enum view view, gva_t gva, unsigned *level)
{
    const struct shadow_table *t = root_table(view), *child;

    for (; t; t = child) {
        unsigned slot = pt_index(gva, t->role.level);

        *level = t->role.level;
        child = t->role.level > 1 ? table_child(t, slot) : NULL;
        if (!child) {
            return slot_used(t, slot) ? t->pte[slot] : 0;
        }
    }
    return 0;
}
