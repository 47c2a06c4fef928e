/* SPDX-License-Identifier: MIT */
/*
 * Jumps of user code between guest pages. Exit n of a TB that leads to another page goes through a slot that has the same
 * address in every link set and a value of its own in each:
 *
 *   set->slots[i]   what the jump reads: the code of dest[i], or the exit's own stub
 *   set->dest[i]    the TB, or NULL
 *   owner[i]        the exit: tagged (tb, n)
 *   tb->link_head   the jumps that lead to tb, of all sets: a list of nodes through set->next[i]
 *
 * A node is a set and a slot. Making and undoing a jump allocates nothing. Does not know what mappings are.
 */
#include "dbt/link-set.h"

#include "dbt/tb-internal.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"

#define NODE_SLOT_BITS 24u

static uintptr_t *owner;
static uint32_t slots_max;
static uint32_t slots_used; /* slot 0 stays unused */
static struct spinlock lock; /* all of this file; leaf in the lock order */

int link_jmp_init(uint32_t count)
{
    ASSERT(count < BIT(NODE_SLOT_BITS));
    slots_max = count;
    slots_used = 1;
    owner = count ? dbt_zalloc(count * sizeof(*owner)) : NULL;
    return count && !owner ? -ENOMEM : 0;
}

uint32_t link_first_slot(void)
{
    return slots_used;
}

uint32_t link_slots_left(void)
{
    return slots_max > slots_used ? slots_max - slots_used : 0;
}

void link_slots_commit(uint32_t next)
{
    slots_used = next;
}

void link_slots_reset(void)
{
    slots_used = 1;
}

static uint32_t node_of(unsigned set, uint32_t slot)
{
    return (uint32_t)(set + 1) << NODE_SLOT_BITS | slot;
}

static struct link_set *set_of_node(uint32_t node)
{
    return link_set_get((node >> NODE_SLOT_BITS) - 1);
}

static uint32_t slot_of_node(uint32_t node)
{
    return node & (BIT(NODE_SLOT_BITS) - 1);
}

static uint32_t slot_of_exit(const struct TranslationBlock *tb, unsigned n)
{
    return tb->jmp_slot[n] & ~JMP_SLOT_LINK;
}

uintptr_t link_slot_owner(uint32_t slot)
{
    return owner[slot];
}

uint32_t link_node_next(uint32_t node)
{
    return set_of_node(node)->next[slot_of_node(node)];
}

const struct TranslationBlock *link_node_dest(uint32_t node)
{
    return set_of_node(node)->dest[slot_of_node(node)];
}

static void slot_write(struct link_set *set, uint32_t slot, uint64_t target)
{
    __atomic_store_n(&set->slots[slot], target, __ATOMIC_RELEASE);
}

/* What an exit that is not linked does: leave for the loop. */
static void slot_to_stub(struct link_set *set, uint32_t slot)
{
    const struct TranslationBlock *tb = tb_of_link(owner[slot]);

    slot_write(set, slot, tb->tc.ptr + tb->jmp_reset_offset[n_of_link(owner[slot])]);
}

void link_slots_ready(struct link_set *set)
{
    for (; set->slots_ready < slots_used; set->slots_ready++) {
        if (set->slots_ready) {
            set->dest[set->slots_ready] = NULL;
            slot_to_stub(set, set->slots_ready);
        }
    }
}

void link_slots_own(struct TranslationBlock *tb)
{
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        if (exit_is_link(tb, n)) {
            owner[slot_of_exit(tb, n)] = tb_link(tb, n);
        }
    }
    link_slots_ready(link_set_present());
}

/* The node is on the list of set->dest[slot]. */
static void jmp_undo_locked(struct link_set *set, uint32_t slot)
{
    uint32_t node = node_of(set->index, slot);
    uint32_t *prev = &set->dest[slot]->link_head;

    while (*prev != node) {
        ASSERT(*prev);
        prev = &set_of_node(*prev)->next[slot_of_node(*prev)];
    }
    *prev = set->next[slot];
    set->dest[slot] = NULL;
    slot_to_stub(set, slot);
}

static void jumps_forget_locked(struct link_set *set, bool vanished)
{
    for (uint32_t i = set->logged; i-- > 0;) { /* the newest first: they stand at the beginning of their lists */
        uint32_t slot = set->log[i];

        if (!vanished && set->dest[slot]) {
            jmp_undo_locked(set, slot);
        }
        set->dest[slot] = NULL;
    }
    set->logged = 0;
}

void link_jmp_add(struct TranslationBlock *tb, unsigned n, struct TranslationBlock *next)
{
    struct link_set *set = link_set_present();
    uint32_t slot = slot_of_exit(tb, n);

    spin_lock(&lock);
    if ((tb_cflags(tb) | tb_cflags(next)) & (CF_NO_GOTO_TB | CF_INVALID) || set->dest[slot] || !link_set_covers(set, next)) {
        goto out_unlock;
    }
    if (set->logged == slots_max) {
        jumps_forget_locked(set, false); /* it names some of them many times */
    }
    set->dest[slot] = next;
    set->next[slot] = next->link_head;
    next->link_head = node_of(set->index, slot);
    set->log[set->logged++] = slot;
    slot_write(set, slot, next->tc.ptr);
    link_stats.jumps++;

out_unlock:
    spin_unlock(&lock);
}

static void kill_outgoing_locked(struct TranslationBlock *tb, unsigned n)
{
    uint32_t slot = slot_of_exit(tb, n);

    for (unsigned i = 0; i < LINK_SETS; i++) {
        struct link_set *set = link_set_get(i);

        if (set && slot < set->slots_ready && set->dest[slot]) {
            jmp_undo_locked(set, slot);
        }
    }
}

void link_jmp_kill(struct TranslationBlock *tb)
{
    bool any = tb->link_head;

    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        any |= exit_is_link(tb, n);
    }
    if (!any) {
        return;
    }
    spin_lock(&lock);
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        if (exit_is_link(tb, n)) {
            kill_outgoing_locked(tb, n);
        }
    }
    while (tb->link_head) {
        uint32_t node = tb->link_head;

        jmp_undo_locked(set_of_node(node), slot_of_node(node));
    }
    spin_unlock(&lock);
}

void link_jmp_forget(struct link_set *set, bool vanished)
{
    spin_lock(&lock);
    jumps_forget_locked(set, vanished);
    if (vanished) {
        set->slots_ready = 0;
    }
    spin_unlock(&lock);
}
