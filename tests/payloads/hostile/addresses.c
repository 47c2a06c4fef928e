/* SPDX-License-Identifier: MIT */
/* The monitor's addresses, from both rings, through every kind of access; and mappings that the guest makes there itself. */
#include "tests/payloads/lib/snippet.h"

#include "tests/payloads/hostile/hostile.h"

static void sweep(uint64_t first, uint64_t last, uint64_t step, bool user, unsigned allowed)
{
    for (uint64_t va = first; va <= last && va >= first; va += step) {
        probe(va, user, allowed);
    }
}

static void monitor(bool user)
{
    sweep(MONITOR_FIRST, MONITOR_LAST, 0x0000001234567000, user, ALLOW_NOTHING);
    sweep(MONITOR_FIRST, MONITOR_FIRST + 0x2000000, 0x3f000 + 0x28, user, ALLOW_NOTHING);  /* the kernel image */
    sweep(0xffff810000000000, 0xffff810000000000 + 0x40000000, 0x1234000, user, ALLOW_NOTHING); /* physmap */
    sweep(0xffff850000000000, 0xffff850000000000 + 0x400000, 0x7000, user, ALLOW_NOTHING); /* stacks */
    sanity("monitor");
}

static void monitor_kernel(void)
{
    monitor(false);
}

static void monitor_user(void)
{
    monitor(true);
}

static void cache(bool user)
{
    sweep(CACHE_FIRST, CACHE_FIRST + 0x100000, 0x1040, user, ALLOW_READ);
    sweep(CACHE_FIRST, CACHE_LAST, 0x123000 + 0x10, user, ALLOW_READ);
    sweep(0xffffffff70000000, 0xffffffff70000000 + 0x40000, 0x1008, user, ALLOW_READ); /* link slots */
    sanity("cache");
}

static void cache_kernel(void)
{
    cache(false);
}

static void cache_user(void)
{
    cache(true);
}

static void window(bool user)
{
    sweep(WINDOW_FIRST, WINDOW_FIRST + 0x80000, 0x3008, user, ALLOW_READ); /* look-up table */
    sweep(VCPU_PAGE, VCPU_PAGE + 0xfff, 8, user, ALLOW_READ | ALLOW_WRITE);
    sweep(VCPU_PAGE + 0x1000, WINDOW_LAST - 16, 0x5000, user, ALLOW_NOTHING);
    sanity("window");
}

static void window_kernel(void)
{
    window(false);
}

static void window_user(void)
{
    window(true);
}

/* Scribble over the page where the monitor keeps the guest's state, whether or not a store gets through. */
static void step_over(struct trap_frame *f)
{
    f->rip = f->gpr[R15];
}

static void scribble(bool user)
{
    struct rng rng = {user ? 7 : 5};

    trap_handler(VEC_PF, step_over);
    /* mov %rax, (%rbx); int $0x80, with r15 = the int */
    PUT(0x100, 0x48, 0x89, 0x03, 0xcd, 0x80);
    for (unsigned round = 0; round < 4; round++) {
        for (uint64_t off = 0; off < 4096; off += 8) {
            struct cpu_state s;

            snippet_state(&s, user);
            s.rip += 0x100;
            s.gpr[RBX] = VCPU_PAGE + off;
            s.gpr[RAX] = rng_next(&rng);
            s.gpr[R15] = SNIPPET_CODE + 0x103;
            cpu_run(&s);
            CHECK_EQ(s.vector, 0x80);
        }
        sanity("scribble");
    }
    trap_handler(VEC_PF, NULL);
}

static void scribble_kernel(void)
{
    scribble(false);
}

static void scribble_user(void)
{
    scribble(true);
}

/* Stack pointers into the monitor: pushes, calls and the delivery of an exception. */
static void stack_in_monitor(void)
{
    static const uint64_t stacks[] = {MONITOR_FIRST + 0x1000, 0xffff810000100000, 0xffff850000008000,
                                      CACHE_FIRST + 0x1000, WINDOW_FIRST + 0x100};

    trap_set_ist(VEC_DF, 2);
    for (size_t i = 0; i < ARRAY_SIZE(stacks); i++) {
        for (int user = 0; user < 2; user++) {
            struct cpu_state s;

            PUT(0x100, 0x50, 0xcd, 0x80);
            snippet_state(&s, user);
            s.rip += 0x100;
            s.gpr[RSP] = stacks[i];
            cpu_run(&s);
            CHECK_EQ(s.vector, VEC_PF);
            CHECK_EQ(s.cr2, stacks[i] - 8);
            CHECK_EQ(s.gpr[RSP], stacks[i]);
        }
        struct cpu_state s;

        PUT(0x100, 0x0f, 0x0b); /* #UD without IST at CPL 0: the frame cannot be stored */
        snippet_state(&s, false);
        s.rip += 0x100;
        s.gpr[RSP] = stacks[i];
        cpu_run(&s);
        CHECK_EQ(s.vector, VEC_PF);
        CHECK_EQ(s.rip, SNIPPET_CODE + 0x100);
        CHECK_EQ(s.gpr[RSP], stacks[i]);
        sanity("stack");
    }
    trap_set_ist(VEC_DF, 0);
}

/* String instructions that run from guest memory into the monitor's. */
static void strings_into_monitor(void)
{
    uint64_t below = 0xffffffff3ffff000ull; /* the page below the code cache */

    page_map(below, (uint64_t)page_alloc(), PTE_P | PTE_W | PTE_U);
    for (int user = 0; user < 2; user++) {
        struct cpu_state s;

        PUT(0x100, 0xf3, 0xaa, 0xcd, 0x80);
        snippet_state(&s, user);
        s.rip += 0x100;
        s.gpr[RDI] = below + 4000;
        s.gpr[RCX] = 4096;
        cpu_run(&s);
        CHECK_EQ(s.vector, VEC_PF);
        CHECK_EQ(s.cr2, CACHE_FIRST);
        CHECK_EQ(s.gpr[RCX], 4096 - 96);
        CHECK_EQ(s.gpr[RDI], CACHE_FIRST);
    }
    page_map(below, 0, 0);
    sanity("strings");
}

const struct test_case address_cases[] = {
    {"monitor-kernel", monitor_kernel},     {"monitor-user", monitor_user},
    {"cache-kernel", cache_kernel},         {"cache-user", cache_user},
    {"window-kernel", window_kernel},       {"window-user", window_user},
    {"scribble-kernel", scribble_kernel},   {"scribble-user", scribble_user},
    {"stack-in-monitor", stack_in_monitor}, {"strings-into-monitor", strings_into_monitor},
};
const unsigned address_case_count = ARRAY_SIZE(address_cases);
