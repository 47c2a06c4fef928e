/* SPDX-License-Identifier: MIT */
/*
 * The invariant checker of the link sets, a part of tb_maint_check(): in every set, the parked ones too, a slot leads to a live
 * TB or to its exit's own stub, a table entry to the pad of a live TB or to the miss stub, the jump cache to live TBs, and all
 * of them are on pages that the set knows. Changes nothing.
 */
#include "dbt/link-set.h"

#include "dbt/tb-internal.h"

#define VIOLATION(...) (log_line("tb", "violated: " __VA_ARGS__), 1)

static unsigned long long pc_of(const struct TranslationBlock *tb)
{
    return (unsigned long long)tb->pc;
}

static bool tb_is_live(const struct TranslationBlock *tb)
{
    return tb->hashed && !(tb_cflags(tb) & CF_INVALID);
}

/* Slots of one set. *jumps counts those that lead somewhere. */
static int check_slots(struct link_set *set, size_t *jumps)
{
    int errors = 0;

    for (uint32_t slot = 1; slot < MIN(set->slots_ready, link_first_slot()); slot++) {
        const struct TranslationBlock *dest = set->dest[slot];
        uintptr_t link = link_slot_owner(slot);
        const struct TranslationBlock *tb = tb_of_link(link);

        if (!dest) {
            if (set->slots[slot] != tb->tc.ptr + tb->jmp_reset_offset[n_of_link(link)]) {
                errors += VIOLATION("I3: set %u: exit %u of pc=%#llx is not linked and leads to %#llx", set->index, n_of_link(link),
                                    pc_of(tb), (unsigned long long)set->slots[slot]);
            }
            continue;
        }
        ++*jumps;
        if (!tb_is_live(tb) || !tb_is_live(dest) || set->slots[slot] != dest->tc.ptr) {
            errors += VIOLATION("I3: set %u: pc=%#llx jumps to pc=%#llx: one is dead, or it jumps elsewhere", set->index, pc_of(tb),
                                pc_of(dest));
        } else if (!link_set_covers(set, dest)) {
            errors += VIOLATION("set %u does not know the page of pc=%#llx", set->index, pc_of(dest));
        }
    }
    return errors;
}

/* Every linked slot must be on the list of its destination; together with the count: exactly once. */
static int check_lists(size_t jumps)
{
    size_t listed = 0;

    for (size_t i = 0; i < tb_count(); i++) {
        const struct TranslationBlock *tb = tb_at(i);

        if (!tb_is_live(tb)) {
            if (tb->link_head) {
                return VIOLATION("I3: dead TB pc=%#llx is a jump target in a link set", pc_of(tb));
            }
            continue;
        }
        for (uint32_t node = tb->link_head; node; node = link_node_next(node)) {
            if (link_node_dest(node) != tb || ++listed > jumps) {
                return VIOLATION("link list of pc=%#llx: a jump that does not lead there, or a cycle", pc_of(tb));
            }
        }
    }
    return listed == jumps ? 0 : VIOLATION("%zu jumps in link sets, %zu on lists", jumps, listed);
}

/* Entries that lead to pads of live TBs, against all that lead anywhere. */
static int check_table(struct link_set *set)
{
    size_t used = 0, known = 0;
    int errors = 0;

    for (unsigned i = 0; i < LINK_TABLE_ENTRIES; i++) {
        used += set->table[i] != link_table_miss();
    }
    for (size_t i = 0; i < tb_count(); i++) {
        const struct TranslationBlock *tb = tb_at(i);

        if (!tb_is_live(tb) || !tb->pad || set->table[(uint16_t)tb->pc] != tb->pad || !tb_is_user(tb)) {
            continue;
        }
        known++;
        if (!(tb->table_sets & BIT(set->index)) || !link_set_covers(set, tb)) {
            errors += VIOLATION("set %u: its table leads to pc=%#llx, which it does not know", set->index, pc_of(tb));
        }
    }
    return errors + (used > known && link_tables_private()
                         ? VIOLATION("I3: set %u: %zu table entries, %zu live", set->index, used, known) : 0);
}

static int check_cache(struct link_set *set)
{
    int errors = 0;

    for (unsigned i = 0; i < LINK_JMP_CACHE; i++) {
        const struct TranslationBlock *tb = set->jmp_cache[i];

        if (tb && (!tb_is_live(tb) || !link_set_covers(set, tb))) {
            errors += VIOLATION("I3: jump cache of set %u holds dead or foreign TB pc=%#llx", set->index, pc_of(tb));
        }
    }
    return errors;
}

int link_sets_check(void)
{
    size_t jumps = 0;
    int errors = 0;

    for (unsigned i = 0; i < LINK_SETS; i++) {
        struct link_set *set = link_set_get(i);

        if (set) {
            errors += check_slots(set, &jumps) + check_table(set) + check_cache(set);
        }
    }
    return errors + check_lists(jumps);
}
