/* SPDX-License-Identifier: MIT */
/*
 * Rule: a hardware interrupt is taken between two instructions, at any of them, and changes nothing else: saved rip lies in
 * the code that runs, registers and flags survive, IF and the STI shadow are honoured, HLT wakes (SDM 3A 6.8, 2B STI).
 */
#include "tests/payloads/lib/irq.h"
#include "tests/payloads/lib/random-code.h"
#include "tests/payloads/lib/snippet.h"

#define HZ 1000

static volatile uint64_t ticks;
static uint64_t rip_first, rip_last; /* where an interrupt may arrive; 0, 0: anywhere */
static uint64_t outside, seen_cs, last_rip;

static void on_tick(struct trap_frame *f)
{
    ticks++;
    last_rip = f->rip;
    seen_cs = f->cs;
    if (rip_last && (f->rip < rip_first || f->rip > rip_last)) {
        outside++;
    }
    if (!(f->rflags & FLAG_IF)) {
        outside++;
    }
    pic_eoi(0);
}

static void on_tick_stop(struct trap_frame *f)
{
    on_tick(f);
    f->rflags &= ~FLAG_IF;
}

/*
 * A loop in registers alone: rcx rounds, every flag used. Result in rax; rdx, rsi, rdi, r8-r15 take part.
 */
static const uint8_t register_loop[] = {
    0x48, 0x01, 0xd0,                   /* 1: add %rdx, %rax */
    0x48, 0x11, 0xf2,                   /* adc %rsi, %rdx */
    0x48, 0xd1, 0xd6,                   /* rcl %rsi */
    0x49, 0x19, 0xf8,                   /* sbb %rdi, %r8 */
    0x4d, 0x31, 0xc1,                   /* xor %r8, %r9 */
    0x49, 0xff, 0xc2,                   /* inc %r10 */
    0x4d, 0x0f, 0x4f, 0xda,             /* cmovg %r10, %r11 */
    0x4d, 0x01, 0xdc,                   /* add %r11, %r12 */
    0x41, 0x0f, 0x92, 0xc5,             /* setc %r13b */
    0x4d, 0x8d, 0x74, 0x36, 0x07,       /* lea 7(%r14, %rsi), %r14 */
    0x49, 0xc1, 0xc7, 0x0d,             /* rol $13, %r15 */
    0x4c, 0x31, 0xf8,                   /* xor %r15, %rax */
    0x48, 0xff, 0xc9,                   /* dec %rcx */
    0x0f, 0x85, 0xce, 0xff, 0xff, 0xff, /* jnz 1b */
    0xcd, 0x80};

static uint64_t run_loop(bool user, bool irqs, uint64_t rounds)
{
    struct cpu_state s;
    uint64_t at = snippet_put(0, register_loop, sizeof(register_loop));

    snippet_state(&s, user);
    s.gpr[RCX] = rounds;
    if (irqs) {
        s.rflags |= FLAG_IF;
    }
    rip_first = at;
    rip_last = at + sizeof(register_loop);
    cpu_run(&s);
    rip_last = 0;
    CHECK_EQ(s.vector, 0x80);
    CHECK_EQ(s.gpr[RCX], 0);
    return checksum_u64(checksum_add(CHECKSUM_INIT, s.gpr, sizeof(s.gpr)), s.rflags & FLAGS_ARITH);
}

/* Long enough for some ticks at any speed: rounds grow until enough have come. */
static void loop_with_ticks(bool user)
{
    uint64_t rounds = 100000;

    for (;;) {
        uint64_t quiet = run_loop(user, false, rounds);

        ticks = 0;
        outside = 0;
        CHECK_EQ(run_loop(user, true, rounds), quiet);
        if (ticks >= 20) {
            break;
        }
        rounds *= 2;
        if (rounds > 1ull << 36) {
            fatal("no timer interrupts");
        }
    }
    CHECK_EQ(outside, 0);
    CHECK_EQ(seen_cs, user ? SEL_UCODE : SEL_KCODE);
}

static void loop_kernel(void)
{
    loop_with_ticks(false);
}

static void loop_user(void)
{
    loop_with_ticks(true);
}

/* `jmp .` is left by an interrupt only. */
static void leave_spin(struct trap_frame *f)
{
    on_tick(f);
    f->rip += 2;
    f->rflags &= ~FLAG_IF;
}

static void spin(void)
{
    for (int i = 0; i < 10; i++) {
        struct cpu_state s;

        trap_handler(IRQ_BASE, leave_spin);
        PUT(0, 0xeb, 0xfe, 0xcd, 0x80);
        snippet_state(&s, i & 1);
        s.rflags |= FLAG_IF;
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(last_rip, SNIPPET_CODE);
    }
    trap_handler(IRQ_BASE, on_tick);
}

static void halt(void)
{
    ticks = 0;
    for (uint64_t i = 1; i <= 50; i++) {
        __asm__ volatile("sti; hlt; cli" : : : "memory");
        CHECK(ticks >= i);
    }
}

/* Wait, with IF = 0, until the PIC holds a request of line 0. */
static void wait_pending(void)
{
    for (;;) {
        outb(0x20, 0x0a); /* OCW3: read IRR */
        if (inb(0x20) & 1) {
            return;
        }
    }
}

/* The instruction after sti runs before a pending interrupt; `sti; cli` lets none in. */
static void sti_shadow(void)
{
    for (int i = 0; i < 20; i++) {
        struct cpu_state s;

        trap_handler(IRQ_BASE, on_tick_stop);
        PUT(0, 0xfb, 0xff, 0xc0, 0xff, 0xc0, 0xcd, 0x80); /* sti; inc %eax; inc %eax; int $0x80 */
        snippet_state(&s, false);
        wait_pending();
        ticks = 0;
        cpu_run(&s);
        CHECK_EQ(ticks, 1);
        CHECK_EQ(last_rip, SNIPPET_CODE + 3);
        PUT(0, 0xfb, 0xfa, 0x90, 0xcd, 0x80); /* sti; cli; nop; int $0x80 */
        snippet_state(&s, false);
        wait_pending();
        ticks = 0;
        cpu_run(&s);
        CHECK_EQ(ticks, 0);
    }
    trap_handler(IRQ_BASE, on_tick);
}

/* popf and iretq have no shadow: a pending interrupt is taken at the very next instruction. */
static void no_shadow(void)
{
    for (int i = 0; i < 20; i++) {
        struct cpu_state s;

        trap_handler(IRQ_BASE, on_tick_stop);
        /* pushf; orl $0x200, (%rsp); popf; inc %eax; int $0x80 */
        PUT(0, 0x9c, 0x81, 0x0c, 0x24, 0, 2, 0, 0, 0x9d, 0xff, 0xc0, 0xcd, 0x80);
        snippet_state(&s, false);
        wait_pending();
        ticks = 0;
        cpu_run(&s);
        CHECK_EQ(ticks, 1);
        CHECK_EQ(last_rip, SNIPPET_CODE + 9);
        PUT(0, 0xff, 0xc0, 0xcd, 0x80);
        snippet_state(&s, i & 1);
        s.rflags |= FLAG_IF; /* cpu_run enters by iretq */
        wait_pending();
        ticks = 0;
        cpu_run(&s);
        CHECK_EQ(ticks, 1);
        CHECK_EQ(last_rip, SNIPPET_CODE);
    }
    trap_handler(IRQ_BASE, on_tick);
}

static void let_in(void)
{
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

/* Nothing arrives with IF = 0, nor while the line is masked; what was pending arrives afterwards, once. */
static void masked(void)
{
    for (int i = 0; i < 10; i++) {
        pit_one_shot(20000);
        let_in(); /* what the earlier tests left */
        ticks = 0;
        pit_one_shot(1000);
        wait_pending();
        CHECK_EQ(ticks, 0);
        pic_mask(0);
        irq_enable();
        for (volatile int k = 0; k < 10000; k++) {
        }
        irq_disable();
        CHECK_EQ(ticks, 0);
        pic_unmask(0);
        let_in();
        CHECK_EQ(ticks, 1);
        let_in();
        CHECK_EQ(ticks, 1);
    }
    pit_start((unsigned)cmdline_number("hz=", HZ));
}

/* Random code with memory, stack, strings and branches gives the same with interrupts as without. */
static void random_code(void)
{
    struct rng rng = {4711};
    uint8_t *data = pages_alloc(2), *code = pages_alloc(4);
    unsigned with_ticks = 0;

    for (unsigned round = 0; round < 2000 && with_ticks < 10; round++) {
        struct random_regs start, regs[2];
        uint8_t *p = code;

        for (unsigned i = 0; i < 100; i++) {
            p = random_insn(&rng, p, data);
        }
        *p = 0xc3;
        random_regs_init(&start, &rng, data);
        ticks = 0;
        for (unsigned irqs = 0; irqs < 2; irqs++) {
            memset(data, 0x5a, RANDOM_DATA_SIZE);
            regs[irqs] = start;
            regs[irqs].rflags |= irqs ? FLAG_IF : 0;
            if (irqs) {
                irq_enable();
            }
            random_run(&regs[irqs], code);
            irq_disable();
            regs[irqs].rflags &= FLAGS_ARITH;
        }
        with_ticks += ticks != 0;
        CHECK_EQ(memcmp(&regs[0], &regs[1], sizeof(regs[0])), 0);
    }
    CHECK(with_ticks >= 1);
}

/* Software interrupts and system calls among the ticks: nothing is lost. */
static void count_in_rax(struct trap_frame *f)
{
    f->gpr[RAX]++;
}

static void with_traps(void)
{
    struct cpu_state s;

    trap_handler(0x81, count_in_rax);
    trap_set_dpl(0x81, 3);
    ticks = 0;
    for (uint64_t total = 0; ticks < 10 && total < 1000; total++) {
        PUT(0, 0xcd, 0x81, 0xff, 0xcb, 0x75, 0xfa, 0xcd, 0x80); /* int $0x81; dec %ebx; jnz */
        snippet_state(&s, true);
        s.rflags |= FLAG_IF;
        s.gpr[RAX] = 0;
        s.gpr[RBX] = 10000;
        cpu_run(&s);
        CHECK_EQ(s.gpr[RAX], 10000);
    }
    CHECK(ticks > 0);
}

#define SLOW_CYCLES 7500000u /* 3 ms, or so: a few ticks of the monitor's, many of the timer's */
#define SLOW_MAX    2000u    /* handlers until the loop is given up */

/* Takes much longer than the timer's period, so the next request waits when it returns. */
static void on_slow_tick(struct trap_frame *f)
{
    uint64_t start = rdtsc();

    while (rdtsc() - start < SLOW_CYCLES) {
    }
    if (++ticks >= SLOW_MAX) {
        f->gpr[RCX] = 1; /* the loop's last round */
    }
    pic_eoi(0);
}

/* The monitor's promise, not the CPU's: whatever the handler takes, the code that it interrupts goes on. */
static void slow_handler(void)
{
    struct cpu_state s;

    snippet_put(0, register_loop, sizeof(register_loop));
    snippet_state(&s, false);
    s.gpr[RCX] = 500000;
    s.rflags |= FLAG_IF;
    trap_handler(IRQ_BASE, on_slow_tick);
    ticks = 0;
    pit_start(20000);
    cpu_run(&s);
    CHECK(ticks > 0);
    CHECK(ticks < SLOW_MAX);
    trap_handler(IRQ_BASE, on_tick);
    pit_start((unsigned)cmdline_number("hz=", HZ));
}

int main(void)
{
    static const struct test_case cases[] = {
        {"loop-kernel", loop_kernel}, {"loop-user", loop_user},   {"spin", spin},
        {"halt", halt},               {"sti-shadow", sti_shadow}, {"no-shadow", no_shadow},
        {"masked", masked},           {"random-code", random_code}, {"with-traps", with_traps},
        {"slow-handler", slow_handler},
    };
    paging_init();
    trap_init();
    snippet_init();
    pic_init();
    trap_handler(IRQ_BASE, on_tick);
    pit_start((unsigned)cmdline_number("hz=", HZ));
    pic_unmask(0);
    return run_cases("timer", cases, ARRAY_SIZE(cases));
}
