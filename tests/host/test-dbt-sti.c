/* SPDX-License-Identifier: MIT */
/*
 * The interrupt shadow of STI (SDM vol. 2, STI): the instruction behind one that has set IF is executed before an interrupt is
 * taken. Every kind of translation follows one, wherever the block ends, and is interrupted at each of its host instructions: no
 * interrupt may be delivered with eip at that instruction. It is one at eip in hlt that loses wake-ups.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/store-site.h"
#include "dbt/tb.h"
#include "tests/host/hosted.h"

#define PAGE      0x4000u   /* in a window: the page in which the code begins */
#define DATA      0x100000u /* rsi: plain data */
#define STACK     0x180000u
#define MAX_EVERY 12u

static const struct follower {
    const char *name, *bytes;
    uint8_t len;
    bool beside; /* rsi is beside code */
} followers[] = {
    {"nop", "\x90", 1, false},
    {"store", "\x48\x89\x06", 3, false},
    {"store beside code", "\x48\x89\x06", 3, true},
    {"rep stosb beside code", "\xf3\xaa", 2, true},
    {"push", "\x50", 1, false},
    {"lea rip", "\x48\x8d\x05\x10\x00\x00\x00", 7, false},
    {"load rip", "\x48\x8b\x05\x10\x00\x00\x00", 7, false},
    {"jmp", "\xeb\x00", 2, false},
    {"jz", "\x74\x00", 2, false},
    {"jnz", "\x75\x00", 2, false},
    {"jrcxz", "\xe3\x00", 2, false},
    {"call", "\xe8\x00\x00\x00\x00", 5, false},
    {"call *rbx", "\xff\xd3", 2, false},
    {"ret", "\xc3", 1, false},
    {"pushf", "\x9c", 1, false},
    {"mov sreg", "\x8c\xd8", 2, false},
    {"cli", "\xfa", 1, false},
    {"hlt", "\xf4", 1, false},
    {"cpuid", "\x0f\xa2", 2, false},
    {"ud2", "\x0f\x0b", 2, false},
    {"cmpxchg16b", "\x48\x0f\xc7\x0e", 4, false},
};

/* Owner: the one thread. */
static uint64_t shadowed;  /* the instruction behind sti */
static unsigned long nr_delivered, nr_early;

static void on_interrupt(struct CPUState *cpu)
{
    nr_delivered++;
    nr_early += cpu->env.eip == shadowed;
}

/* nops, cli, sti, the follower, int3; the follower at base + PAGE + off. */
static void put(uint64_t base, const struct follower *f, unsigned off, unsigned nops)
{
    struct CPUX86State *env = &hosted_cpu()->env;
    uint8_t *p = (uint8_t *)(base + PAGE + off) - 2 - nops;
    uint64_t stack = base + STACK + 0x800;

    hosted_forget(base + PAGE - PAGE_SIZE, 3 * PAGE_SIZE);
    memset((void *)(base + PAGE), 0xcc, 0x2000);
    memset((void *)(base + DATA), 0, 0x1000);
    memset((void *)(base + STACK), 0, 0x1000);
    memset(p, 0x90, nops);
    memcpy(p + nops, "\xfa\xfb", 2);
    memcpy(p + nops + 2, f->bytes, f->len);
    shadowed = base + PAGE + off;
    *(uint64_t *)stack = shadowed + f->len; /* for ret */
    env->eip = (uint64_t)p;
    env->eflags |= IF_MASK;
    env->regs[R_ECX] = 3;
    env->regs[R_EAX] = env->regs[R_EDX] = 0;
    env->regs[R_EBX] = shadowed + f->len;
    env->regs[R_ESP] = stack;
    env->regs[R_ESI] = env->regs[R_EDI] = f->beside ? base + PAGE + 0x1800 : base + DATA;
}

static void run_all(unsigned off, unsigned nops)
{
    static const uint64_t bases[] = {HOSTED_LOW_BASE, HOSTED_FAR_BASE};

    for (unsigned i = 0; i < ARRAY_SIZE(followers); i++) {
        for (unsigned n = 0; n < MAX_EVERY * ARRAY_SIZE(bases); n++) {
            struct hosted_result res;
            unsigned long early = nr_early;

            put(bases[n & 1], &followers[i], off, nops);
            hosted_interrupt_every(1 + n / 2);
            hosted_run(&res);
            hosted_interrupt_every(0);
            if (nr_early != early) {
                print_error("%s at %x: %lu interrupts between sti and it, one after every %u host instructions\n", followers[i].name,
                            off, nr_early - early, 1 + n / 2);
            }
        }
    }
    assert_int_equal(tb_maint_check(hosted_cpu()), 0);
}

static void test_inside(void **state)
{
    run_all(0x800, 0);
    assert_int_equal(nr_early, 0);
}

/* sti is the last instruction that a block may have: the follower is in the next. */
static void test_block_end(void **state)
{
    for (unsigned n = TB_MAX_INSNS - 3; n < TB_MAX_INSNS; n++) {
        run_all(0x800, n);
    }
    assert_int_equal(nr_early, 0);
}

static void test_page_end(void **state)
{
    run_all(0x1000, 0);
    run_all(0xfff, 0); /* most followers cross */
    assert_int_equal(nr_early, 0);
}

/* Their stores as hot sites. */
static void test_hot(void **state)
{
    store_site_threshold = 1;
    run_all(0x800, 0);
    run_all(0x1000, 0);
    assert_int_equal(nr_early, 0);
}

static void test_delivered(void **state)
{
    printf("%lu interrupts delivered\n", nr_delivered);
    assert_true(nr_delivered > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_inside), cmocka_unit_test(test_block_end),
                                       cmocka_unit_test(test_page_end), cmocka_unit_test(test_hot),
                                       cmocka_unit_test(test_delivered)};

    hosted_init();
    hosted_cpu()->env.cpl = 0; /* sti is inline only in a guest's kernel */
    hosted_on_interrupt = on_interrupt;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
