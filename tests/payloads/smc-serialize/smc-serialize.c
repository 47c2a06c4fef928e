/* SPDX-License-Identifier: MIT */
/*
 * Rule: after a store to code, the new code is executed whatever stands between the two: nothing, a branch, a serializing
 * instruction, a fence, a cache-line instruction, a return from a handler (SMC cases 67, 24).
 */
#include "tests/payloads/lib/smc.h"
#include "tests/payloads/lib/snippet.h"

/* Name, and the CPUID feature that the instruction needs: leaf, register (0..3 = eax..edx), bit; leaf 0 = none. */
#define BETWEEN(X) \
    X(nothing, 0, 0, 0) \
    X(jmp, 0, 0, 0) \
    X(call_ret, 0, 0, 0) \
    X(indirect_jmp, 0, 0, 0) \
    X(cpuid, 0, 0, 0) \
    X(serialize, 7, 3, 14) \
    X(iretq, 0, 0, 0) \
    X(lretq, 0, 0, 0) \
    X(int80, 0, 0, 0) \
    X(ud2, 0, 0, 0) \
    X(mfence, 0, 0, 0) \
    X(sfence, 0, 0, 0) \
    X(lfence, 0, 0, 0) \
    X(lock_or, 0, 0, 0) \
    X(xchg_mem, 0, 0, 0) \
    X(pause, 0, 0, 0) \
    X(wbinvd, 0, 0, 0) \
    X(clflush, 1, 3, 19) \
    X(clflushopt, 7, 1, 23) \
    X(clwb, 7, 1, 24) \
    X(prefetchw, 0, 0, 0) \
    X(mov_cr0, 0, 0, 0) \
    X(mov_cr3, 0, 0, 0) \
    X(mov_cr4, 0, 0, 0) \
    X(mov_dr7, 0, 0, 0) \
    X(invlpg, 0, 0, 0) \
    X(rdtscp, 0x80000001, 3, 27) \
    X(wrmsr, 0, 0, 0) \
    X(in_port, 0, 0, 0) \
    X(sti_cli, 0, 0, 0)

#define X(name, leaf, reg, bit) SNIPPET(between_##name);
BETWEEN(X)
#undef X

struct between {
    const char *name;
    const uint8_t *start, *end;
    uint32_t leaf, reg, bit;
};
#define X(name, leaf, reg, bit) {#name, between_##name##_start, between_##name##_end, leaf, reg, bit},
static const struct between betweens[] = {BETWEEN(X)};
#undef X

static const struct between *what; /* stands between, in make_between */

/* mov %dil, T+1(%rip); what stands between; T: mov $0x11, %eax; ret */
static uint8_t *make_between(uint8_t *page)
{
    size_t len = (size_t)(what->end - what->start);
    uint8_t *p = EMIT(page, 0x40, 0x88, 0x3d);

    p = emit32(p, (uint32_t)len + 1);
    memcpy(p, what->start, len);
    emit_return(p + len, 0x11);
    return page;
}

static unsigned check_value(const struct smc_code *c, uint64_t value)
{
    CHECK_EQ(run_code(c, value, 0), value);
    return 1;
}

static void run(const struct between *b)
{
    if (b->leaf) {
        uint32_t r[4];

        cpuid(b->leaf, 0, r);
        if (!(r[b->reg] >> b->bit & 1)) {
            printf("  %s: this CPU has no such instruction\n", b->name);
            smc_stores(0);
            return;
        }
    }
    what = b;
    each_heat(make_between, check_value);
}

#define X(name, leaf, reg, bit) BETWEEN_##name,
enum { BETWEEN(X) };
#undef X
#define X(name, leaf, reg, bit)                                                                    \
    static void case_##name(void)                                                                  \
    {                                                                                              \
        run(&betweens[BETWEEN_##name]);                                                            \
    }
BETWEEN(X)
#undef X

static void come_back(struct trap_frame *f)
{
}

static void skip_ud2(struct trap_frame *f)
{
    f->rip += 2;
}

int main(void)
{
#define X(name, leaf, reg, bit) {#name, case_##name},
    static const struct test_case cases[] = {BETWEEN(X)};
#undef X
    paging_init();
    trap_init();
    trap_handler(0x80, come_back);
    trap_handler(VEC_UD, skip_ud2);
    return run_smc_cases("smc-serialize", cases, ARRAY_SIZE(cases));
}
