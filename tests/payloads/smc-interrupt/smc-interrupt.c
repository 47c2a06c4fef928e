/* SPDX-License-Identifier: MIT */
/*
 * Rule: interrupts and stores to code may meet at any instruction: each store is done once, the saved rip is a boundary
 * whose bytes are the current ones, a handler may patch what it interrupted (SMC cases 26, 68, and 49 with a handler as the other writer).
 */
#include "tests/payloads/lib/irq.h"
#include "tests/payloads/lib/smc.h"
#include "tests/payloads/lib/snippet.h"

#define HZ 2000

static volatile uint64_t ticks;

static void on_tick(struct trap_frame *f)
{
    ticks++;
    pic_eoi(0);
}

/* A counter in an immediate, at CPL 0 and 3, with interrupts: no increment is lost or done twice. */
static void counter(bool user)
{
    uint64_t rounds = 20000;

    ticks = 0;
    while (ticks < 10) {
        struct cpu_state s;
        uint32_t imm;

        /* 1: mov $0, %eax; inc %eax; mov %eax, 1b+1(%rip); cmp %ebx, %eax; jb 1b; int $0x80 */
        PUT(0, 0xb8, 0, 0, 0, 0, 0xff, 0xc0, 0x89, 0x05, 0xf4, 0xff, 0xff, 0xff, 0x39, 0xd8, 0x72, 0xef, 0xcd,
            0x80);
        snippet_state(&s, user);
        s.rflags |= FLAG_IF;
        s.gpr[RBX] = rounds;
        smc_stores(1 + rounds);
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(s.gpr[RAX], rounds);
        memcpy(&imm, (void *)(SNIPPET_CODE + 1), 4);
        CHECK_EQ(imm, rounds);
        if (s.vector != 0x80) {
            return;
        }
    }
}

static void counter_kernel(void)
{
    counter(false);
}

static void counter_user(void)
{
    counter(true);
}

/* The handler replaces the `jmp .` that it interrupted by two nops. */
static void patch_spin(struct trap_frame *f)
{
    on_tick(f);
    smc_stores(1); /* here: on a slow machine the next tick may be due before the patched code has got away */
    *(volatile uint16_t *)SNIPPET_CODE = 0x9090;
}

static void spin_patched(void)
{
    for (int i = 0; i < 20; i++) {
        struct cpu_state s;

        trap_handler(IRQ_BASE, patch_spin);
        PUT(0, 0xeb, 0xfe, 0xcd, 0x80);
        smc_stores(1);
        snippet_state(&s, i & 1);
        s.rflags |= FLAG_IF;
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(s.rip, SNIPPET_CODE + 4);
    }
    trap_handler(IRQ_BASE, on_tick);
}

/* A longer loop of linked blocks is patched in its other block. */
static void patch_loop(struct trap_frame *f)
{
    on_tick(f);
    smc_stores(1);
    *(volatile uint16_t *)(SNIPPET_CODE + 0x40) = 0x80cd;
}

static void loop_patched(void)
{
    for (int i = 0; i < 20; i++) {
        struct cpu_state s;

        trap_handler(IRQ_BASE, patch_loop);
        smc_stores(2);
        PUT(0, 0xff, 0xc0, 0xe9, 0x39, 0, 0, 0);                /* 0: inc %eax; jmp 40 */
        PUT(0x40, 0x66, 0x90, 0xff, 0xc3, 0xe9, 0xb7, 0xff, 0xff, 0xff); /* 40: nop; inc %ebx; jmp 0 */
        snippet_state(&s, i & 1);
        s.rflags |= FLAG_IF;
        s.gpr[RAX] = 0;
        s.gpr[RBX] = 0;
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(s.rip, SNIPPET_CODE + 0x42);
        CHECK_EQ(s.gpr[RAX], s.gpr[RBX] + 1);
    }
    trap_handler(IRQ_BASE, on_tick);
}

/* 1: sti; hlt; jmp 1b is patched by the handler that woke it. */
static void patch_halt(struct trap_frame *f)
{
    on_tick(f);
    CHECK_EQ(f->rip, SNIPPET_CODE + 2);
    *(volatile uint16_t *)(SNIPPET_CODE + 2) = 0x80cd;
}

static void halt_patched(void)
{
    for (int i = 0; i < 10; i++) {
        struct cpu_state s;

        trap_handler(IRQ_BASE, patch_halt);
        smc_stores(2);
        PUT(0, 0xfb, 0xf4, 0xeb, 0xfc);
        snippet_state(&s, false);
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(s.rip, SNIPPET_CODE + 4);
    }
    trap_handler(IRQ_BASE, on_tick);
}

/* A store to code in the shadow of sti: the pending interrupt comes after it, at the new instruction. */
static uint64_t last_rip;

static void stop(struct trap_frame *f)
{
    on_tick(f);
    last_rip = f->rip;
    f->rflags &= ~FLAG_IF;
}

static void sti_shadow_store(void)
{
    for (uint32_t i = 1; i < 50; i++) {
        struct cpu_state s;

        trap_handler(IRQ_BASE, stop);
        smc_stores(2);
        PUT(0, 0xfb, 0x89, 0x1d, 1, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0xcd, 0x80); /* sti; mov %ebx, 1f+1; 1: mov */
        snippet_state(&s, false);
        s.gpr[RBX] = i;
        outb(0x20, 0x0a);
        while (!(inb(0x20) & 1)) {
        }
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(s.gpr[RAX], i);
        CHECK_EQ(last_rip, SNIPPET_CODE + 7);
    }
    trap_handler(IRQ_BASE, on_tick);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"counter-kernel", counter_kernel}, {"counter-user", counter_user},
        {"spin-patched", spin_patched},     {"loop-patched", loop_patched},
        {"halt-patched", halt_patched},     {"sti-shadow-store", sti_shadow_store},
    };
    paging_init();
    trap_init();
    snippet_init();
    trap_handler(IRQ_BASE, on_tick);
    pit_start(HZ);
    pic_unmask(0);
    return run_smc_cases("smc-interrupt", cases, ARRAY_SIZE(cases));
}
