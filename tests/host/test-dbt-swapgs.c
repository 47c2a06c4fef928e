/* SPDX-License-Identifier: MIT */
/*
 * swapgs in blocks of a guest's kernel: with CR4.FSGSBASE without an exit, interrupted at each of its host instructions. At every
 * boundary the two bases are exchanged or not, and no register has changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include <cmocka.h>

#include "dbt/host.h"
#include "tests/host/hosted-check.h"
#include "tests/host/hosted.h"

#define CODE      (HOSTED_LOW_BASE + 0x4000u)
#define FIRST     0x123456789000u
#define SECOND    0x00007e5555550000u
#define MAX_EVERY 24u
#define LOOPS     40u

/* 1: swapgs; rdgsbase %rbx; swapgs; rdgsbase %rdx; dec %esi; jnz 1b; int3 */
static const uint8_t code[] = {0x0f, 0x01, 0xf8, 0xf3, 0x48, 0x0f, 0xae, 0xcb, 0x0f, 0x01, 0xf8, 0xf3,
                               0x48, 0x0f, 0xae, 0xca, 0xff, 0xce, 0x75, 0xec, 0xcc};

#define NEED_FSGSBASE()                                                                                                  \
    do {                                                                                                                 \
        if (!(getauxval(AT_HWCAP2) & 2)) { /* HWCAP2_FSGSBASE: Linux lets programs use rdgsbase */                         \
            skip();                                                                                                      \
        }                                                                                                                \
    } while (0)

static unsigned long nr_delivered, nr_wrong; /* owner: the one thread */

static bool registers_kept(const struct CPUX86State *env)
{
    return env->regs[R_EAX] == 0xaaaa0000bbbb1111 && env->regs[R_ECX] == 0xcccc2222dddd3333;
}

static void on_interrupt(struct CPUState *cpu)
{
    uint64_t off = cpu->env.eip - CODE;
    bool swapped = off >= 3 && off <= 8;

    cpu_sync_fsgs_base(cpu);
    nr_delivered++;
    nr_wrong += cpu->env.segs[R_GS].base != (swapped ? SECOND : FIRST) || cpu->env.kernelgsbase != (swapped ? FIRST : SECOND) ||
                !registers_kept(&cpu->env);
}

static void start(uint64_t second)
{
    struct CPUState *cpu = hosted_cpu();

    hosted_forget(CODE, PAGE_SIZE);
    memcpy((void *)(uintptr_t)CODE, code, sizeof(code));
    cpu->env.eip = CODE;
    cpu->env.eflags |= IF_MASK;
    cpu->env.regs[R_EAX] = 0xaaaa0000bbbb1111;
    cpu->env.regs[R_ECX] = 0xcccc2222dddd3333;
    cpu->env.regs[R_ESI] = LOOPS;
    hosted_set_gs_base(FIRST);
    cpu->vp->kernelgsbase = second;
}

static void test_interrupted(void **state)
{
    struct CPUState *cpu = hosted_cpu();
    struct hosted_result res;
    uint64_t exits = cpu->stat[STAT_exit_sens];

    NEED_FSGSBASE();
    for (unsigned n = 0; n <= MAX_EVERY; n++) {
        start(SECOND);
        hosted_interrupt_every(n);
        hosted_run(&res);
        hosted_interrupt_every(0);
        assert_int_equal(res.vector, EXCP03_INT3);
        assert_int_equal(cpu->env.regs[R_EBX], SECOND);
        assert_int_equal(cpu->env.regs[R_EDX], FIRST);
        assert_true(registers_kept(&cpu->env));
    }
    printf("%lu interrupts delivered\n", nr_delivered);
    assert_int_equal(nr_wrong, 0);
    assert_true(nr_delivered > 1000);
    assert_int_equal(cpu->stat[STAT_exit_sens] - exits, MAX_EVERY + 1); /* the int3 */
}

/* The guest has put no address there: #GP at swapgs, and nothing has happened. */
static void test_no_address(void **state)
{
    struct CPUState *cpu = hosted_cpu();
    struct hosted_result res;

    NEED_FSGSBASE();
    start(1ull << 47);
    hosted_run(&res);
    assert_int_equal(res.vector, EXCP0D_GPF);
    assert_int_equal(cpu->env.eip, CODE);
    assert_true(registers_kept(&cpu->env));
    cpu_sync_fsgs_base(cpu);
    assert_int_equal(cpu->env.segs[R_GS].base, FIRST);
    assert_int_equal(cpu->env.kernelgsbase, 0xffff800000000000);
}

/* Without CR4.FSGSBASE it is the monitor's; the hosted one refuses. */
static void test_exit(void **state)
{
    struct CPUState *cpu = hosted_cpu();
    struct hosted_result res;
    uint64_t exits = cpu->stat[STAT_exit_sens];

    cpu->env.cr[4] &= ~(uint64_t)CR4_FSGSBASE_MASK;
    start(SECOND);
    hosted_run(&res);
    cpu->env.cr[4] |= CR4_FSGSBASE_MASK;
    assert_int_equal(res.vector, EXCP0D_GPF);
    assert_int_equal(cpu->stat[STAT_exit_sens] - exits, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_interrupted), cmocka_unit_test(test_no_address),
                                       cmocka_unit_test(test_exit)};

    hosted_init();
    hosted_cpu()->env.cpl = 0; /* swapgs is inline only in a guest's kernel */
    hosted_cpu()->env.cr[4] |= CR4_FSGSBASE_MASK;
    hosted_on_interrupt = on_interrupt;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
