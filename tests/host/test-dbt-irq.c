/* SPDX-License-Identifier: MIT */
/*
 * Precision of interrupts. The CPU single-steps a program and records the state before every instruction; then the program runs
 * translated and is interrupted, after every few host instructions or by a timer, wherever that is: on a boundary, in
 * glue, in a landing pad. At each interruption the guest state must be one of those recorded, not earlier than the one before.
 * Programs: the snippets of dbt-cases.S, and self-modifying ones.
 *
 * Usage: test-dbt-irq [self-modifying programs]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/tb.h"
#include "dbt/translate-all.h"
#include "kernel/lib/log.h"
#include "tests/host/smc-run.h"

struct dbt_case {
    const uint8_t *start, *end;
    const char *name;
};
extern const struct dbt_case dbt_cases[];

#define MAX_STATES 65536u

struct state {
    uint64_t eip, eflags, regs[16];
};

/* Owner: the one thread. */
static struct state trace[MAX_STATES];
static unsigned nr_states, position;
static bool end_only; /* no trace: only the end is compared */
static const char *running;
static unsigned long nr_checked, nr_bad;
static unsigned programs = 40;

static void get_state(struct state *s)
{
    const struct CPUX86State *env = &hosted_cpu()->env;

    s->eip = env->eip;
    s->eflags = env->eflags & EFLAGS_HW_MASK;
    memcpy(s->regs, env->regs, sizeof(s->regs));
}

static void complain(const struct state *s, const char *what)
{
    nr_bad++;
    fprintf(stderr, "%s: %s: eip %llx after state %u of %u\n", running, what, (unsigned long long)s->eip, position, nr_states);
    for (unsigned i = 0; i < 16; i++) {
        fprintf(stderr, " %llx%s", (unsigned long long)s->regs[i], i % 8 == 7 ? "\n" : "");
    }
}

static void check_interrupt(struct CPUState *cpu)
{
    struct state s;

    if (end_only) {
        return;
    }
    nr_checked++;
    if (nr_bad) {
        return; /* one is enough: what follows cannot be found either */
    }
    get_state(&s);
    for (unsigned i = position; i < nr_states; i++) {
        if (!memcmp(&s, &trace[i], sizeof(s))) {
            position = i;
            return;
        }
    }
    complain(&s, "interrupted in a state that does not exist");
}

/* One step; pushf must not show the guest the trap flag by which it is stepped. False at the end. */
static bool step(void)
{
    const struct CPUX86State *env = &hosted_cpu()->env;
    struct hosted_result res;
    struct insn insn;

    insn_decode(&insn, (const uint8_t *)env->eip, INSN_MAX_LEN);
    if (!hosted_native_run(true, &res)) {
        return false;
    }
    if (insn.kind == INSN_SENS && insn.sens == SENS_PUSHF) {
        *(uint64_t *)env->regs[R_ESP] &= ~(uint64_t)TF_MASK;
    }
    return true;
}

/* From the present state to the end, by single steps. */
static void record(void)
{
    struct hosted_result res;

    hosted_native(true);
    nr_states = 0;
    if (end_only) {
        hosted_native_run(false, &res);
    } else {
        do {
            assert_true(nr_states < MAX_STATES - 1);
            get_state(&trace[nr_states++]);
        } while (step());
    }
    get_state(&trace[nr_states++]); /* how it ended */
    hosted_native(false);
}

/* The same translated; the state must have been set up again. */
static void run_checked(unsigned us, unsigned every)
{
    struct hosted_result res;
    struct state s;

    position = 0;
    hosted_on_interrupt = check_interrupt;
    hosted_interrupt_every(every);
    hosted_interrupts(us);
    hosted_run(&res);
    hosted_interrupts(0);
    hosted_interrupt_every(0);
    hosted_on_interrupt = NULL;
    get_state(&s);
    if (memcmp(&s, &trace[nr_states - 1], sizeof(s))) {
        complain(&s, "ended differently");
    }
    nr_bad += (unsigned long)tb_maint_check(hosted_cpu());
}

static void run_cases(unsigned us, const unsigned *every, unsigned count)
{
    static const uint64_t bases[] = {HOSTED_LOW_BASE, HOSTED_FAR_BASE};

    for (const struct dbt_case *c = dbt_cases; c->name; c++) {
        size_t len = (size_t)(c->end - c->start);
        size_t patch_end = strcmp(c->name, "indirect") ? 0 : len - 9; /* as in test-dbt.c */

        running = c->name;
        /* a rep stos that overwrites itself ends early if the CPU single-steps it; interrupted, it must not end early here */
        end_only = !strcmp(c->name, "smc_rep_stos");
        /* no room for a trace of hundreds of thousands of calls */
        for (unsigned b = 0; strcmp(c->name, "calls") && b < ARRAY_SIZE(bases); b++) {
            diff_prepare(c->start, len, bases[b], 1, patch_end);
            record();
            for (unsigned i = 0; i < count; i++) {
                diff_prepare(c->start, len, bases[b], 1, patch_end);
                run_checked(us, every[i]);
            }
        }
    }
}

static void test_every(void **state)
{
    static const unsigned every[] = {1, 3};

    nr_bad = 0;
    run_cases(0, every, ARRAY_SIZE(every));
    assert_int_equal(nr_bad, 0);
}

static void test_timer(void **state)
{
    static const unsigned off[3];
    unsigned long before = nr_checked;

    nr_bad = 0;
    for (unsigned i = 0; i < 100 && nr_checked < before + 1000; i++) {
        run_cases(20, off, ARRAY_SIZE(off));
    }
    assert_int_equal(nr_bad, 0);
    assert_true(nr_checked >= before + 1000);
}

static void test_programs(void **state)
{
    static const unsigned every[] = {1, 2, 7};
    static struct smc_program p;

    nr_bad = 0;
    end_only = false;
    for (unsigned n = 0; n < programs; n++) {
        char name[32];

        snprintf(name, sizeof(name), "program %u", n);
        running = name;
        smc_generate(&p, n & 1 ? HOSTED_FAR_BASE : HOSTED_LOW_BASE, n, 1);
        smc_forget(&p);
        smc_load(&p);
        record();
        for (unsigned i = 0; i < ARRAY_SIZE(every); i++) {
            smc_forget(&p);
            smc_load(&p);
            run_checked(0, every[i]);
        }
    }
    assert_int_equal(nr_bad, 0);
}

/* All kinds of places must have been met by the tests before. */
static void test_coverage(void **state)
{
    const uint64_t *hit = hosted_interrupted;

    printf("%lu interrupts delivered and checked; %llu hit a boundary, %llu the inside of an instruction, %llu its tail, "
           "%llu a pad or stub; %llu host steps to roll forward\n",
           nr_checked, (unsigned long long)hit[GUEST_PC_EXACT], (unsigned long long)hit[GUEST_PC_INSIDE],
           (unsigned long long)hit[GUEST_PC_TAIL], (unsigned long long)hit[GUEST_PC_NONE],
           (unsigned long long)hosted_cpu()->stat[STAT_exit_step]);
    assert_true(nr_checked > 1000);
    assert_true(hit[GUEST_PC_EXACT] > 0 && hit[GUEST_PC_INSIDE] > 0 && hit[GUEST_PC_TAIL] > 0 && hit[GUEST_PC_NONE] > 0);
    assert_true(hosted_cpu()->stat[STAT_exit_step] > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every), cmocka_unit_test(test_timer),
                                       cmocka_unit_test(test_programs), cmocka_unit_test(test_coverage)};

    if (getenv("LOG")) {
        log_parse(getenv("LOG"), &log_mask);
    }
    programs = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : programs;
    hosted_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
