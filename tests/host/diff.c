/* SPDX-License-Identifier: MIT */
/* The differential oracle of the hosted build. */
#include "tests/host/diff.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/tb.h"

uint64_t diff_rng_state;
uint8_t diff_cpl = 3;

uint64_t diff_rng(void)
{
    diff_rng_state ^= diff_rng_state << 13;
    diff_rng_state ^= diff_rng_state >> 7;
    diff_rng_state ^= diff_rng_state << 17;
    return diff_rng_state;
}

void diff_prepare(const uint8_t *code, size_t len, uint64_t base, unsigned seed, size_t patch_end)
{
    struct CPUX86State *env = &hosted_cpu()->env;

    hosted_forget(base, 0x200000);
    memset((void *)(base + DIFF_CODE_OFF - 64), 0xcc, 4096);
    memcpy((void *)(base + DIFF_CODE_OFF), code, len);
    if (patch_end) {
        uint64_t end = base + DIFF_CODE_OFF + len - 1;
        memcpy((void *)(base + DIFF_CODE_OFF + patch_end), &end, 8);
    }
    diff_rng_state = 0x9e3779b97f4a7c15 * (seed + 1);
    for (unsigned i = 0; i < DIFF_DATA_SIZE; i += 8) {
        *(uint64_t *)(base + DIFF_DATA_OFF + i) = diff_rng();
    }
    memset((void *)(base + DIFF_STACK_OFF), 0, DIFF_STACK_SIZE);
    for (int i = 0; i < 16; i++) {
        env->regs[i] = diff_rng();
    }
    env->regs[R_ESI] = base + DIFF_DATA_OFF;
    env->regs[R_ESP] = base + DIFF_STACK_OFF + DIFF_STACK_SIZE - 64;
    env->eflags = (diff_rng() & CC_ALL) | 2 | IF_MASK;
    env->eip = base + DIFF_CODE_OFF;
    env->cpl = diff_cpl;
    memset(hosted_guest_fp, 0, sizeof(hosted_guest_fp));
}

size_t diff_fp_size(void)
{
    static unsigned size;
    unsigned a, b, c, d;

    if (!size) {
        __cpuid_count(0xd, 0, a, b, c, d);
        size = MIN(b, (unsigned)HOSTED_XSAVE_SIZE);
    }
    return size;
}

void diff_outcome_init(struct diff_outcome *o, const struct diff_mem *mem, unsigned count)
{
    size_t len = 0;

    for (unsigned i = 0; i < count; i++) {
        len += mem[i].len;
    }
    *o = (struct diff_outcome){.fp = malloc(diff_fp_size()), .mem = malloc(len)};
    if (!o->fp || !o->mem) {
        abort();
    }
}

void diff_collect(struct diff_outcome *o, const struct diff_mem *mem, unsigned count)
{
    const struct CPUX86State *env = &hosted_cpu()->env;
    uint8_t *to = o->mem;

    memcpy(o->regs, env->regs, sizeof(o->regs));
    o->eflags = env->eflags & EFLAGS_HW_MASK;
    o->eip = env->eip;
    memcpy(o->fp, hosted_guest_fp, diff_fp_size());
    memset(o->fp + 6, 0, 10); /* FOP, FIP: of the translation, not the guest (docs/translation.md) */
    for (unsigned i = 0; i < count; to += mem[i++].len) {
        memcpy(to, (void *)mem[i].addr, mem[i].len);
    }
}

/* The first byte that differs, if any, is printed. */
static int compare_bytes(const char *name, const char *what, uint64_t addr, const uint8_t *n, const uint8_t *t, size_t len)
{
    if (!memcmp(n, t, len)) {
        return 0;
    }
    size_t i = 0;
    while (n[i] == t[i]) {
        i++;
    }
    fprintf(stderr, "%s: %s at %lx: native %02x, translated %02x\n", name, what, addr + i, n[i], t[i]);
    return 1;
}

int diff_compare(const char *name, const struct diff_outcome *n, const struct diff_outcome *t, const struct diff_mem *mem,
                 unsigned count)
{
    int bad = 0;

    for (int i = 0; i < 16; i++) {
        if (n->regs[i] != t->regs[i]) {
            fprintf(stderr, "%s: register %d: native %lx, translated %lx\n", name, i, n->regs[i], t->regs[i]);
            bad++;
        }
    }
    if (n->eflags != t->eflags || n->eip != t->eip) {
        fprintf(stderr, "%s: eflags %lx/%lx, eip %lx/%lx\n", name, n->eflags, t->eflags, n->eip, t->eip);
        bad++;
    }
    if (n->res.vector != t->res.vector || n->res.error_code != t->res.error_code || n->res.cr2 != t->res.cr2) {
        fprintf(stderr, "%s: ended by %d/%d error %lx/%lx cr2 %lx/%lx\n", name, n->res.vector, t->res.vector,
                n->res.error_code, t->res.error_code, n->res.cr2, t->res.cr2);
        bad++;
    }
    size_t at = 0;
    for (unsigned i = 0; i < count; at += mem[i++].len) {
        bad += compare_bytes(name, "memory", mem[i].addr, n->mem + at, t->mem + at, mem[i].len);
    }
    return bad + compare_bytes(name, "XSAVE area", 0, n->fp, t->fp, diff_fp_size());
}

int diff_run(const char *name, const uint8_t *code, size_t len, uint64_t base, unsigned seed, bool interrupts,
             size_t patch_end)
{
    static struct diff_outcome n, t;
    const struct diff_mem mem[] = {{base + DIFF_CODE_OFF, 4096},
                                   {base + DIFF_DATA_OFF, DIFF_DATA_SIZE},
                                   {base + DIFF_STACK_OFF, DIFF_STACK_SIZE}};

    if (!n.mem) {
        diff_outcome_init(&n, mem, ARRAY_SIZE(mem));
        diff_outcome_init(&t, mem, ARRAY_SIZE(mem));
    }
    diff_prepare(code, len, base, seed, patch_end);
    hosted_run_native(&n.res);
    diff_collect(&n, mem, ARRAY_SIZE(mem));
    diff_prepare(code, len, base, seed, patch_end);
    hosted_interrupts(interrupts ? 50 : 0);
    hosted_run(&t.res);
    hosted_interrupts(0);
    diff_collect(&t, mem, ARRAY_SIZE(mem));
    return diff_compare(name, &n, &t, mem, ARRAY_SIZE(mem)) + tb_maint_check(hosted_cpu());
}
