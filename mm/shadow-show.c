/* SPDX-License-Identifier: MIT */
/* What the shadow tables hold, in numbers, for the monitor's prompt and tests. Changes nothing: no fill, no comparison. */
#include "kernel/lib/string.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"

/* A table and all below it. One that hangs on two slots is counted at both: the numbers are those of addresses, not of frames. */
static void count_table(const struct shadow_table *t, struct shadow_view_info *info)
{
    info->tables++;
    for (unsigned slot = 0; slot < PT_ENTRIES; slot++) {
        const struct shadow_table *child;

        if (!slot_used(t, slot)) {
            continue;
        }
        child = t->role.level > 1 ? table_child(t, slot) : NULL;
        if (child) {
            count_table(child, info);
        } else if (t->role.level > 1) {
            info->large_pages++;
        } else {
            info->pages++;
        }
    }
}

void shadow_view_info(enum view view, struct shadow_view_info *info)
{
    const struct shadow_table *root = root_table(view);

    *info = (struct shadow_view_info){.root = shadow_root(view), .made = root};
    if (root) {
        count_table(root, info);
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
