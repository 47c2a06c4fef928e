/* SPDX-License-Identifier: MIT */
/*
 * Direct jumps between TBs: chaining, unchaining, and the log of jumps between guest pages. Making
 * and undoing a jump allocates nothing. Does not decide which TBs die.
 *
 * A jump (tb, n) -> dest is three things, changed together under dest->jmp_lock: tb->jmp_dest[n] ==
 * dest, (tb, n) on dest's incoming list, and exit n of tb patched to dest. Bit 0 of jmp_dest[n] is
 * set once, when tb dies, and forbids new jumps for ever.
 */
#include "dbt/link-set.h"
#include "dbt/tb-internal.h"

/*
 * Jumps between different guest pages are right only as long as the mapping of the target's page
 * stays as it was when the jump was made, so they are undone when mappings change: all of them, or,
 * when only non-global mappings change, those that have a non-global end. Hence two logs. An exit is
 * in each log at most once (jmp_logged); it is in both if a target died whose successor at the same address is of the other
 * kind, as a block that now runs on into a non-global page. An entry whose jump was undone for another reason stays until
 * then, and is harmless.
 */
static struct cross_page_log {
    struct spinlock lock; /* leaf in the lock order */
    unsigned count;
    uintptr_t entry[TB_CROSS_PAGE_LOG]; /* tagged (tb, n) */
} cross_page[2]; /* [1]: both ends are on global pages */

unsigned tb_cross_page_limit = TB_CROSS_PAGE_LOG;

_Static_assert(2 * TB_MAX_JMP <= 8 * sizeof(((struct TranslationBlock *)0)->jmp_logged), "a bit for each exit and log");

/* Of exit n in jmp_logged: the low bits for one log, the high ones for the other. The byte has two locks, hence atomics. */
static uint8_t logged_bit(const struct cross_page_log *log, unsigned n)
{
    return (uint8_t)(1u << (n + TB_MAX_JMP * (unsigned)(log - cross_page)));
}

static bool cross_page_push(struct TranslationBlock *tb, unsigned n, bool global)
{
    struct cross_page_log *log = &cross_page[global];

    spin_lock(&log->lock);
    bool logged = __atomic_load_n(&tb->jmp_logged, __ATOMIC_RELAXED) & logged_bit(log, n);
    if (!logged && log->count < MIN(tb_cross_page_limit, TB_CROSS_PAGE_LOG)) {
        log->entry[log->count++] = tb_link(tb, n);
        __atomic_or_fetch(&tb->jmp_logged, logged_bit(log, n), __ATOMIC_RELAXED);
        logged = true;
    }
    spin_unlock(&log->lock);
    return logged;
}

/* Returns 0 when the log is empty. */
static uintptr_t cross_page_pop(struct cross_page_log *log)
{
    uintptr_t link = 0;

    spin_lock(&log->lock);
    if (log->count) {
        link = log->entry[--log->count];
        __atomic_and_fetch(&tb_of_link(link)->jmp_logged, (uint8_t)~logged_bit(log, n_of_link(link)), __ATOMIC_RELAXED);
    }
    spin_unlock(&log->lock);
    return link;
}

unsigned tb_cross_page_count(void)
{
    return cross_page[0].count + cross_page[1].count;
}

/* For the flush: the TBs named in the logs are about to vanish. */
void tb_cross_page_reset(void)
{
    cross_page[0].count = 0;
    cross_page[1].count = 0;
}

void tb_jmp_init(struct TranslationBlock *tb)
{
    tb->jmp_lock = (struct spinlock){0};
    tb->jmp_list_head = 0;
    tb->jmp_logged = 0;
    tb->link_head = 0;
    tb->table_sets = 0;
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        tb->jmp_list_next[n] = 0;
        tb->jmp_dest[n] = 0;
        if (tb->jmp_reset_offset[n] != TB_JMP_OFFSET_INVALID) {
            tb_reset_jump(tb, n);
        }
    }
}

/* Send exit n back to its own stub, which leaves for the dispatcher. */
void tb_reset_jump(struct TranslationBlock *tb, unsigned n)
{
    tb_set_jmp_target(tb, (int)n, tb->tc.ptr + tb->jmp_reset_offset[n]);
}

/*
 * Does the jump depend on the mapping of a page that tb is not on? Then tb_next is on another page, or has a second one. Equal virtual pages with different physical ones count too:
 * then the mapping changed between the two look-ups, and tb is not entered again without another
 * change.
 */
bool tb_jmp_is_cross_page(const struct TranslationBlock *tb, const struct TranslationBlock *tb_next)
{
    return ((tb->pc ^ tb_next->pc) & PAGE_MASK) ||
           ((tb->page_addr[0] ^ tb_next->page_addr[0]) & PAGE_MASK) ||
           tb_next->page_addr[1] != TB_PAGE_ADDR_INVALID;
}

bool tb_jmp_is_logged(const struct TranslationBlock *tb, unsigned n)
{
    return __atomic_load_n(&tb->jmp_logged, __ATOMIC_RELAXED) &
           (logged_bit(&cross_page[0], n) | logged_bit(&cross_page[1], n));
}

static bool tb_jmp_allowed(const struct TranslationBlock *tb, unsigned n,
                           const struct TranslationBlock *tb_next)
{
    return tb->jmp_reset_offset[n] != TB_JMP_OFFSET_INVALID &&
           !((tb_cflags(tb) | tb_cflags(tb_next)) & (CF_NO_GOTO_TB | CF_INVALID));
}

void tb_add_jump(struct TranslationBlock *tb, int n, struct TranslationBlock *tb_next)
{
    uintptr_t none = 0;

    ASSERT(n >= 0 && (unsigned)n < TB_MAX_JMP);
    if (exit_is_link(tb, (unsigned)n)) {
        link_jmp_add(tb, (unsigned)n, tb_next);
        return;
    }
    if (!tb_jmp_allowed(tb, n, tb_next)) {
        return;
    }
    spin_lock(&tb_next->jmp_lock);
    if (tb_cflags(tb_next) & CF_INVALID) {
        goto out_unlock;
    }
    /* Fails if the exit is chained already, or its TB is dying. */
    if (!__atomic_compare_exchange_n(&tb->jmp_dest[n], &none, (uintptr_t)tb_next, false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        goto out_unlock;
    }
    if (tb_jmp_is_cross_page(tb, tb_next) && !cross_page_push(tb, n, tb->global && tb_next->global)) {
        /* Take the target back out, but keep the mark if tb has begun to die. */
        __atomic_and_fetch(&tb->jmp_dest[n], 1, __ATOMIC_SEQ_CST);
        goto out_unlock;
    }
    tb->jmp_list_next[n] = tb_next->jmp_list_head;
    tb_next->jmp_list_head = tb_link(tb, n);
    tb_set_jmp_target(tb, n, tb_next->tc.ptr);

out_unlock:
    spin_unlock(&tb_next->jmp_lock);
}

/* As tb_add_jump() leaves it, with one jump instead of two. What lies between pages is settled only where it is undone rarely. */
static bool settle_jump(struct TranslationBlock *tb, unsigned n)
{
    uintptr_t ptr = __atomic_load_n(&tb->jmp_dest[n], __ATOMIC_SEQ_CST);
    struct TranslationBlock *dest = tb_of_link(ptr);
    bool settled = false;

    if (!dest || (ptr & 1) || (tb_jmp_is_cross_page(tb, dest) && !(tb->global && dest->global))) {
        return false;
    }
    spin_lock(&dest->jmp_lock);
    if (__atomic_load_n(&tb->jmp_dest[n], __ATOMIC_SEQ_CST) == ptr) {
        tb->jmp_insn_offset[n] &= (uint16_t)~TB_JMP_OFFSET_LATER;
        tb_set_jmp_target(tb, (int)n, dest->tc.ptr);
        settled = true;
    }
    spin_unlock(&dest->jmp_lock);
    return settled;
}

unsigned tb_settle_jumps(struct TranslationBlock *tb)
{
    unsigned settled = 0;

    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        if (tb->jmp_insn_offset[n] != TB_JMP_OFFSET_INVALID && !tb_exit_is_direct(tb, n)) {
            settled += settle_jump(tb, n);
        }
    }
    return settled;
}

/* Take (orig, n) from dest's incoming list and unpatch it; jmp_dest is the caller's. */
static void jmp_list_remove_locked(struct TranslationBlock *dest, struct TranslationBlock *orig,
                                   unsigned n)
{
    uintptr_t link = tb_link(orig, n);
    uintptr_t *prev = &dest->jmp_list_head;

    ASSERT(spin_is_locked(&dest->jmp_lock));
    while (*prev != link) {
        ASSERT(*prev);
        prev = &tb_of_link(*prev)->jmp_list_next[n_of_link(*prev)];
    }
    *prev = orig->jmp_list_next[n];
    tb_reset_jump(orig, n);
}

/*
 * Unlike QEMU, which leaves a dead TB's outgoing jumps patched, they are reset: a TB that kills
 * itself and its successor with one store and is allowed to finish must leave for the dispatcher,
 * not into the dead successor.
 */
void tb_remove_from_jmp_list(struct TranslationBlock *orig, unsigned n)
{
    uintptr_t ptr = __atomic_fetch_or(&orig->jmp_dest[n], 1, __ATOMIC_SEQ_CST);
    struct TranslationBlock *dest = tb_of_link(ptr);

    if (!dest) {
        return;
    }
    spin_lock(&dest->jmp_lock);
    /* If dest died in between, it has unlinked the jump and left only the mark. */
    if (__atomic_load_n(&orig->jmp_dest[n], __ATOMIC_SEQ_CST) == (ptr | 1)) {
        jmp_list_remove_locked(dest, orig, n);
        __atomic_store_n(&orig->jmp_dest[n], 1, __ATOMIC_SEQ_CST);
    }
    spin_unlock(&dest->jmp_lock);
}

void tb_jmp_unlink(struct TranslationBlock *dest)
{
    uintptr_t next;

    spin_lock(&dest->jmp_lock);
    for (uintptr_t link = dest->jmp_list_head; link; link = next) {
        struct TranslationBlock *tb = tb_of_link(link);
        unsigned n = n_of_link(link);

        next = tb->jmp_list_next[n];
        tb_reset_jump(tb, n);
        __atomic_and_fetch(&tb->jmp_dest[n], 1, __ATOMIC_SEQ_CST);
    }
    dest->jmp_list_head = 0;
    spin_unlock(&dest->jmp_lock);
}

/* Undo one jump of a TB that lives on. If tb is dying, tb_remove_from_jmp_list() does it. */
static void tb_jmp_undo(struct TranslationBlock *tb, unsigned n)
{
    uintptr_t ptr = __atomic_load_n(&tb->jmp_dest[n], __ATOMIC_SEQ_CST);
    struct TranslationBlock *dest = tb_of_link(ptr);

    if (!dest || (ptr & 1)) {
        return;
    }
    spin_lock(&dest->jmp_lock);
    if (__atomic_compare_exchange_n(&tb->jmp_dest[n], &ptr, 0, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST)) {
        jmp_list_remove_locked(dest, tb, n);
    }
    spin_unlock(&dest->jmp_lock);
}

/* Entries are taken out one by one because a jmp_lock comes before the log's lock. */
static void unlink_logged(struct cross_page_log *log)
{
    uintptr_t link;

    while ((link = cross_page_pop(log))) {
        tb_jmp_undo(tb_of_link(link), n_of_link(link));
    }
}

void tb_unlink_cross_page(bool all)
{
    unlink_logged(&cross_page[0]);
    if (all) {
        unlink_logged(&cross_page[1]);
    }
}
