/* SPDX-License-Identifier: MIT */
/* Running generated programs: many natively, then the same translated, so that the windows change protection rarely. */
#include "tests/host/smc-run.h"

#include <stdio.h>
#include <string.h>

#include "dbt/tb.h"

#define BATCH 32u

void smc_pieces(const struct smc_program *p, struct diff_mem mem[SMC_PIECES])
{
    mem[0] = (struct diff_mem){p->base + SMC_CODE_OFF, SMC_CODE_MAX};
    mem[1] = (struct diff_mem){p->base + SMC_DATA_OFF, SMC_DATA_SIZE};
    mem[2] = (struct diff_mem){p->base + SMC_STACK_OFF, SMC_STACK_SIZE};
}

void smc_forget(const struct smc_program *p)
{
    hosted_forget(p->base + SMC_CODE_OFF, SMC_CODE_MAX);
}

void smc_load(const struct smc_program *p)
{
    struct CPUX86State *env = &hosted_cpu()->env;

    memcpy((void *)(p->base + SMC_CODE_OFF), p->code, SMC_CODE_MAX);
    memcpy((void *)(p->base + SMC_DATA_OFF), p->data, SMC_DATA_SIZE);
    memset((void *)(p->base + SMC_STACK_OFF), 0, SMC_STACK_SIZE);
    memcpy(env->regs, p->regs, sizeof(env->regs));
    memset(hosted_guest_fp, 0, diff_fp_size());
    env->eflags = 2 | IF_MASK;
    env->eip = p->entry;
}

void smc_print(const struct smc_program *p)
{
    char text[96];
    struct insn insn;

    for (size_t at = 0; at < SMC_CODE_MAX; at += insn.len) {
        uint64_t pc = p->base + SMC_CODE_OFF + at;

        insn_decode(&insn, p->code + at, MIN(SMC_CODE_MAX - at, (size_t)INSN_MAX_LEN));
        if (p->code[at] == 0xcc && (at == 0 || p->code[at - 1] == 0xcc)) {
            continue;
        }
        insn_format(&insn, p->code + at, pc, text, sizeof(text));
        fprintf(stderr, "    %llx: %s\n", (unsigned long long)pc, text);
    }
}

/* One translated run; returns the number of differences. */
static int run_translated(const struct smc_program *p, uint64_t number, const struct diff_outcome *native,
                          struct smc_storm storm)
{
    static struct diff_outcome t;
    struct diff_mem mem[SMC_PIECES];
    char name[48];
    int bad;

    smc_pieces(p, mem);
    if (!t.mem) {
        diff_outcome_init(&t, mem, SMC_PIECES);
    }
    smc_forget(p);
    smc_load(p);
    hosted_interrupt_every(storm.every);
    hosted_interrupts(storm.us);
    hosted_run(&t.res);
    hosted_interrupts(0);
    hosted_interrupt_every(0);
    diff_collect(&t, mem, SMC_PIECES);
    snprintf(name, sizeof(name), "program %llu", (unsigned long long)number);
    bad = diff_compare(name, native, &t, mem, SMC_PIECES);
    if (native->res.vector != EXCP03_INT3) {
        fprintf(stderr, "%s: did not run to its end natively\n", name);
        bad++;
    }
    return bad + tb_maint_check(hosted_cpu());
}

unsigned smc_compare(uint64_t first, unsigned count, unsigned size, struct smc_storm storm)
{
    static struct smc_program program[BATCH];
    static struct diff_outcome native[BATCH];
    struct diff_mem mem[SMC_PIECES];
    unsigned n = MIN(count, BATCH), bad = 0;

    for (unsigned done = 0; done < count; done += n) {
        n = MIN(count - done, BATCH);
        hosted_native(true);
        for (unsigned i = 0; i < n; i++) {
            uint64_t number = first + done + i;

            smc_generate(&program[i], number & 1 ? HOSTED_FAR_BASE : HOSTED_LOW_BASE, number, size);
            smc_pieces(&program[i], mem);
            if (!native[i].mem) {
                diff_outcome_init(&native[i], mem, SMC_PIECES);
            }
            smc_load(&program[i]);
            hosted_native_run(false, &native[i].res);
            diff_collect(&native[i], mem, SMC_PIECES);
        }
        hosted_native(false);
        for (unsigned i = 0; i < n; i++) {
            if (run_translated(&program[i], first + done + i, &native[i], storm)) {
                fprintf(stderr, "program %llu, size %u, storm %u us, every %u\n", (unsigned long long)(first + done + i), size,
                        storm.us, storm.every);
                bad++;
            }
        }
    }
    return bad;
}
