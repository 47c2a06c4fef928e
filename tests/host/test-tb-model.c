/* SPDX-License-Identifier: MIT */
/*
 * TB maintenance against a naive model: random links, jumps, writes, mapping changes, page states and flushes,
 * the complete state compared after each. Every path that is interesting has a counter and must have been taken.
 * Environment: TB_MODEL_SEED, TB_MODEL_STEPS for longer runs.
 */
#include "tests/host/tb-model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/host.h"
#include "dbt/page-state.h"

/* ---- comparison ---- */

/* NULL, or what is wrong with TB i. */
static const char *compare_tb(unsigned i)
{
    const struct TranslationBlock *tb = &fake.pool[i];
    unsigned h = tb_jmp_cache_hash_func(model.pc[i], model.cflags[i]);

    if (fake_live(tb) != model.live[i] || !(tb_cflags(tb) & CF_INVALID) != model.live[i]) {
        return model.live[i] ? "died" : "lives on";
    }
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        const struct TranslationBlock *dest =
            model.dest[i][n] == NONE ? NULL : &fake.pool[model.dest[i][n]];

        if (tb_of_link(tb->jmp_dest[n]) != dest) {
            return "has a wrong jmp_dest";
        }
        if (fake.jmp[i][n] != (dest ? dest->tc.ptr : fake_stub(tb, n))) {
            return "has an exit patched wrong";
        }
    }
    if (!model.live[i] &&
        (fake_cpu[0].tb_jmp_cache[h] == tb || fake_cpu[1].tb_jmp_cache[h] == tb)) {
        return "is dead and in a jump cache";
    }
    return NULL;
}

static void compare(uint64_t step_nr)
{
    for (unsigned i = 0; i < fake.tbs; i++) {
        const char *what = compare_tb(i);

        if (what) {
            fail_msg("step %llu: TB %u pc=%#llx %s", (unsigned long long)step_nr, i,
                     (unsigned long long)model.pc[i], what);
        }
    }
    assert_memory_equal(fake.is_protected, model.is_protected, sizeof(model.is_protected));
    assert_int_equal(tb_cross_page_count(), model.nr_logged[0] + model.nr_logged[1]);
    assert_int_equal(fake_cpu[0].stat[STAT_tb_invalidated] + fake_cpu[1].stat[STAT_tb_invalidated],
                     model.killed);
}

/* ---- operations ---- */

static void op_flush(void)
{
    fake_flush();
    memset(model.live, 0, sizeof(model.live));
    memset(model.owner, 0, sizeof(model.owner));
    memset(model.logged, 0, sizeof(model.logged));
    memset(model.nr_logged, 0, sizeof(model.nr_logged));
    TOOK(flush);
}

/* A new machine: page index and byte maps start from nothing. */
static void op_reboot(void)
{
    op_flush();
    assert_int_equal(tb_maint_init(), 0);
    memset(fake.is_protected, 0, sizeof(fake.is_protected));
    memset(fake.is_sampled, 0, sizeof(fake.is_sampled));
    memset(model.is_protected, 0, sizeof(model.is_protected));
    TOOK(reboot);
}

/* What the executor does: look up, else generate; remember the result in the jump cache. */
static void op_execute(void)
{
    unsigned va = rnd(VIRT - 1);
    unsigned offset = rnd(3) ? rnd(12) * 320 : PAGE_SIZE - 1 - rnd(3) * 9;
    uint64_t pc = va * PAGE_SIZE + offset;
    unsigned flags = rnd(2) * 3;
    unsigned cflags = rnd(8) ? 0 : 1 | CF_NO_GOTO_TB;
    struct CPUState *cpu = &fake_cpu[rnd(2)];

    if (fake.tbs == TBS) {
        op_flush();
    }
    if (fake.tbs && rnd(4) == 0) { /* again what was executed before */
        unsigned again = rnd(fake.tbs);

        pc = model.pc[again];
        flags = model.flags[again];
        cflags = model.cflags[again];
    }
    int known = model_lookup(pc, flags, cflags);
    struct TranslationBlock *tb =
        tb_htable_lookup(cpu, pc, probe_page_addr_code(cpu, pc), flags, cflags);
    assert_ptr_equal(tb, known == NONE ? NULL : &fake.pool[known]);
    TOOK_IF(lookup_hit, known != NONE);
    if (known != NONE && !model_global_now((unsigned)known)) {
        TOOK_IF(no_longer_global, model.global[known]);
        tb->global = model.global[known] = false;
    }
    if (known == NONE) {
        unsigned size = model_size(pc, flags, cflags);
        tb = fake_gen(pc, size, flags, cflags);
        assert_int_equal(fake_index(tb), fake.tbs - 1);
        model_link(fake.tbs - 1, pc, size, flags, cflags);
        for (unsigned n = 0; n < 2; n++) {
            unsigned page = model.page[fake.tbs - 1][n];
            bool self_checks = tb_page_self_checks(page * PAGE_SIZE);

            model.is_protected[page] |= !self_checks;
            TOOK_IF(self_check_link, self_checks);
        }
    } else if (rnd(2)) {
        /* Another CPU had the same idea: the first TB stays, ours leaves no trace. */
        assert_ptr_equal(fake_gen(pc, model.size[known], flags, cflags), tb);
        TOOK(link_equal);
    }
    cpu->tb_jmp_cache[tb_jmp_cache_hash_func(pc, cflags)] = tb;
}

static void op_chain(void)
{
    if (!fake.tbs) {
        return;
    }
    unsigned from = rnd(fake.tbs), n = rnd(TB_MAX_JMP), to = rnd(fake.tbs);

    if (model_may_chain(from, n, to)) {
        model.dest[from][n] = (int)to;
        model.executed[from][n] = model_reachable(from) && model_reachable(to) &&
                                  model.global[from] <= model_global_now(from) &&
                                  model.global[to] <= model_global_now(to);
        TOOK(chain);
        TOOK_IF(chain_executed, model.executed[from][n]);
    }
    tb_add_jump(&fake.pool[from], (int)n, &fake.pool[to]);
}

static void op_unlink_cross_page(bool all)
{
    model_unlink(0);
    if (all) {
        model_unlink(1);
    }
    tb_unlink_cross_page(all);
    TOOK(unlink_cross_page);
    TOOK_IF(unlink_spares_global, !all);
}

/* What all the bookkeeping is for: whoever may run now jumps only to what may run now. */
static void check_jumps_are_valid(void)
{
    for (unsigned i = 0; i < fake.tbs; i++) {
        for (unsigned n = 0; n < TB_MAX_JMP; n++) {
            const struct TranslationBlock *dest = tb_of_link(fake.pool[i].jmp_dest[n]);

            if (dest && model.executed[i][n] && model_reachable(i) && !model_reachable((unsigned)fake_index(dest))) {
                fail_msg("TB %u at %#llx jumps to TB %u, which the mapping has left", i,
                         (unsigned long long)model.pc[i], (unsigned)fake_index(dest));
            }
        }
    }
}

/* A mapping changes, and the kernel drops all that was cached by virtual address. */
static void op_remap(void)
{
    unsigned va = rnd(VIRT);

    if (rnd(2)) {
        fake.va_to_page[va] = rnd(PHYS);
    }
    fake.va_global[va] = rnd(2);
    memset(fake_cpu[0].tb_jmp_cache, 0, sizeof(fake_cpu[0].tb_jmp_cache));
    memset(fake_cpu[1].tb_jmp_cache, 0, sizeof(fake_cpu[1].tb_jmp_cache));
    op_unlink_cross_page(true);
    check_jumps_are_valid();
    TOOK(remap);
}

/* Another address space: all that is not global is mapped elsewhere, and jumps between global pages stay. */
static void op_switch_space(void)
{
    for (unsigned va = 0; va < VIRT; va++) {
        if (!fake.va_global[va] && rnd(2)) {
            fake.va_to_page[va] = rnd(PHYS);
        }
    }
    memset(fake_cpu[0].tb_jmp_cache, 0, sizeof(fake_cpu[0].tb_jmp_cache));
    memset(fake_cpu[1].tb_jmp_cache, 0, sizeof(fake_cpu[1].tb_jmp_cache));
    op_unlink_cross_page(false);
    check_jumps_are_valid();
    TOOK(switch_space);
}

/* The running TB of a write: none, or one of the pool, dead or alive. */
static int random_current(uint64_t *host_pc)
{
    int current = fake.tbs && rnd(4) ? (int)rnd(fake.tbs) : NONE;

    *host_pc = current == NONE ? 0 : fake.pool[current].tc.ptr + rnd(128);
    return current;
}

static unsigned random_len(void)
{
    return rnd(4) ? 1u << rnd(7) : 1 + rnd(PAGE_SIZE);
}

static void note_fast(unsigned hits, uint64_t steps, bool had_code, bool had_map)
{
    TOOK_IF(fast_hit, hits != 0);
    TOOK_IF(fast_many, hits > 3);
    if (!hits && !had_code) {
        TOOK(fast_no_tb);
    } else if (!hits) {
        TOOK_IF(fast_map_miss, steps == 0);
        TOOK_IF(fast_map_false_positive, had_map && steps);
        TOOK_IF(fast_walk_miss, !had_map && steps);
    }
}

/* A guest store of at most a page that does not leave its page. */
static void op_write_fast(void)
{
    unsigned page = rnd(PHYS), offset = rnd(PAGE_SIZE);
    unsigned wish = random_len(), len = MIN(wish, (unsigned)PAGE_SIZE - offset);
    uint64_t start = page * PAGE_SIZE + offset, host_pc;
    int current = random_current(&host_pc);
    bool expected = false, hit, had_code = model_has_code(page);
    struct PageDesc *pd = page_find(page);
    bool had_map = pd && pd->code_bitmap, had_index = pd && pd->tb_index, was_protected = model.is_protected[page];

    unsigned hits = model_write(start, start + len - 1, current, &expected);
    bool no_memory = rnd(4) == 0;
    fake.allocs_left = no_memory ? 0 : -1;
    uint64_t steps = tb_list_steps;
    assert_int_equal(tb_invalidate_phys_page_fast(&fake_cpu[rnd(2)], start, len, host_pc, &hit),
                     expected);
    assert_int_equal(hit, hits != 0);
    fake.allocs_left = -1;
    steps = tb_list_steps - steps;
    note_fast(hits, steps, had_code, had_map);
    if (was_protected && !model_has_code(page) && pd->is_protected) {
        assert_in_range(pd->state.lingers, 1, smc_policy.disarm_faults);
        model.is_protected[page] = true;
        TOOK(lingers);
    }
    TOOK_IF(fast_no_memory,
            no_memory && pd && pd->first_tb && !pd->code_bitmap && !pd->code_write_count);
    TOOK_IF(index_hit, hits && had_index);
    TOOK_IF(index_no_memory, no_memory && !had_index && steps - hits >= TB_INDEX_THRESHOLD);
    TOOK_IF(self_check_written, hits && pd && pd->state.kind == PAGE_SELF_CHECK);
    TOOK_IF(current_hit, expected);
    TOOK_IF(current_missed, current != NONE && !expected);
}

/* A device or the monitor writes, over any number of pages. */
static void op_write_range(void)
{
    uint64_t start = rnd(PHYS * PAGE_SIZE), len = rnd(8) ? random_len() : 1 + rnd(3 * PAGE_SIZE),
             host_pc;
    uint64_t last = MIN(start + len, PHYS * PAGE_SIZE) - 1;
    int current = random_current(&host_pc);
    bool expected = false;
    unsigned hits = 0;

    for (uint64_t at = start; at <= last; at = (at | ~PAGE_MASK) + 1) {
        hits += model_write(at, MIN(last, at | ~PAGE_MASK), current, &expected);
    }
    assert_int_equal(tb_invalidate_phys_range(&fake_cpu[rnd(2)], start, last, host_pc), expected);
    TOOK_IF(range_hit, hits != 0);
    TOOK_IF(range_miss, hits == 0);
    TOOK_IF(range_many_pages, hits && page_index(last) - page_index(start) > 1);
}

static void op_kill_one(void)
{
    if (fake.tbs) {
        unsigned i = rnd(fake.tbs);

        if (model.live[i]) {
            model_kill(i);
            TOOK(kill_one);
        }
        tb_phys_invalidate(&fake.pool[i], TB_PAGE_ADDR_INVALID);
    }
}

static void op_has_code(void)
{
    unsigned page = rnd(PHYS);
    bool has_code = model_has_code(page);

    const struct PageDesc *pd = page_find(page);
    bool lingers = model.is_protected[page] && !has_code && pd->state.lingers;

    assert_int_equal(tb_page_stays_protected(page * PAGE_SIZE + rnd(PAGE_SIZE)),
                     lingers || (has_code && pd->state.kind != PAGE_SELF_CHECK));
    if (!lingers) {
        model_unprotect_if_empty(page);
    }
    TOOK_IF(has_code, has_code);
    TOOK_IF(has_no_code, !has_code);
}

/* ---- page states: what is decided is taken from the page; the model knows what must come of it ---- */

static uint64_t transitions(void)
{
    const uint64_t *a = fake_cpu[0].stat, *b = fake_cpu[1].stat;

    return a[STAT_page_self_check] + a[STAT_page_bulk] + b[STAT_page_self_check] + b[STAT_page_bulk];
}

static bool model_kill_page(unsigned page, int current)
{
    bool hit = false;

    model_write(page * PAGE_SIZE, page * PAGE_SIZE + PAGE_SIZE - 1, current, &hit);
    return hit;
}

/* A write fault: the page may begin to check itself, or be given up to one that overwrites it. */
static void op_state_fault(void)
{
    static uint64_t next; /* half of the faults go on where the last one ended */
    uint64_t start = rnd(2) ? rnd(PHYS * PAGE_SIZE / 8) * 8 : next, host_pc;
    struct PageDesc *pd = page_find(start / PAGE_SIZE);
    int current = random_current(&host_pc);

    next = (start + 8) % (PHYS * PAGE_SIZE);
    if (!pd) {
        return;
    }
    uint64_t before = transitions();
    unsigned was = pd->state.kind;
    bool killed = page_state_fault(&fake_cpu[rnd(2)], pd, start, 8, host_pc, rnd(2));
    bool expected = transitions() != before && model_kill_page(start / PAGE_SIZE, current);
    assert_int_equal(killed, expected);
    assert_int_equal(pd->state.kind == PAGE_SELF_CHECK, fake.is_sampled[start / PAGE_SIZE]);
    TOOK_IF(self_check_entered, pd->state.kind != was);
    TOOK_IF(bulk, transitions() != before && pd->state.kind == was);
    TOOK_IF(state_kills_current, expected);
}

/* Time passes, some pages are written meanwhile: those that are not go back to protection. */
static void op_state_poll(void)
{
    bool was[PHYS];

    for (unsigned page = 0; page < PHYS; page++) {
        was[page] = tb_page_self_checks(page * PAGE_SIZE);
        fake.is_dirty[page] = rnd(4) == 0;
    }
    page_state_tick();
    page_state_poll(&fake_cpu[rnd(2)]);
    for (unsigned page = 0; page < PHYS; page++) {
        if (was[page] && !tb_page_self_checks(page * PAGE_SIZE)) {
            model_kill_page(page, NONE);
            TOOK(self_check_left);
        }
    }
}

/* A page on which self-checks cannot work. */
static void op_pin(void)
{
    unsigned page = rnd(PHYS);

    if (page_find(page)) {
        page_state_pin(&fake_cpu[rnd(2)], page * PAGE_SIZE + rnd(PAGE_SIZE));
        model_kill_page(page, NONE);
        assert_false(tb_page_self_checks(page * PAGE_SIZE));
        TOOK(pinned);
    }
}

/* ---- the run ---- */

static void step(void)
{
    unsigned what = rnd(1000);

    if (rnd(16) == 0) {
        op_state_fault();
    } else if (rnd(64) == 0) {
        op_state_poll();
    } else if (rnd(8192) == 0) {
        op_pin();
    } else if (what < 400) {
        op_execute();
    } else if (what < 800) {
        op_chain();
    } else if (what < 940) {
        op_write_fast();
    } else if (what < 965) {
        op_write_range();
    } else if (what < 980) {
        op_has_code();
    } else if (what < 990) {
        op_kill_one();
    } else if (what < 995) {
        op_remap();
    } else if (what < 999) {
        op_switch_space();
    } else if (rnd(2)) {
        op_flush();
    } else {
        op_reboot();
    }
}

static uint64_t environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void test_model(void **state)
{
    uint64_t seed = environment("TB_MODEL_SEED", 0x6e6f746469727479);
    uint64_t steps = environment("TB_MODEL_STEPS", 2000000);

    fake_reset();
    fake.pool_size = TBS + 1; /* one more for a duplicate's short life */
    tb_cross_page_limit = LOG_LIMIT;
    smc_policy.self_check_faults = 2;
    smc_policy.self_check_hits = 3;
    smc_policy.quiet_ticks = 3;
    smc_policy.bulk_faults = 3;
    smc_policy.disarm_faults = 3;
    rng_state = seed | 1;
    for (unsigned v = 0; v < VIRT; v++) {
        fake.va_to_page[v] = rnd(PHYS);
        fake.va_global[v] = rnd(2);
    }
    for (uint64_t i = 0; i < steps; i++) {
        step();
        compare(i);
        if (i % 1024 == 0) {
            assert_int_equal(tb_maint_check(&fake_cpu[0]), 0);
        }
    }
    assert_int_equal(tb_maint_check(&fake_cpu[0]), 0);
    for (unsigned i = 0; i < PATH_COUNT; i++) {
        printf("%s=%llu ", path_name[i], (unsigned long long)path[i]);
    }
    printf("\n");
    for (unsigned i = 0; steps >= 500000 && i < PATH_COUNT; i++) {
        if (path[i] < 50) {
            fail_msg("path %s taken %llu times only", path_name[i], (unsigned long long)path[i]);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
