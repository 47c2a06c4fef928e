/* SPDX-License-Identifier: MIT */
/*
 * Rule: CPL 3 code runs with its own view of memory; int, syscall and faults enter CPL 0 and iretq and sysret leave it with
 * every register as the architecture says (SDM 2B SYSCALL, SYSRET). Red zone included: nobody writes below a user rsp.
 */
#include "tests/payloads/lib/snippet.h"

void syscall_entry(void);    /* syscall.S */
extern uint64_t syscall_count;

/* One trip by each gate; rbx, rbp, r12-r15 etc. are untouched. */
static void int_gate(void)
{
    struct cpu_state before, s;

    PUT(0, 0x48, 0xff, 0xc0, 0xcd, 0x80); /* inc %rax; int $0x80 */
    snippet_state(&before, true);
    s = before;
    cpu_run(&s);
    CHECK_EQ(s.vector, 0x80);
    CHECK_EQ(s.cs, SEL_UCODE);
    CHECK_EQ(s.ss, SEL_UDATA);
    CHECK_EQ(s.gpr[RAX], before.gpr[RAX] + 1);
    CHECK_EQ(s.gpr[R13], before.gpr[R13]);
}

/* syscall: rcx = next rip, r11 = rflags; sysret restores from them. The kernel side adds rdi + rsi. */
static void syscall_once(void)
{
    struct cpu_state before, s;

    PUT(0, 0x0f, 0x05, 0xcd, 0x80);
    snippet_state(&before, true);
    before.rflags |= FLAG_DF | FLAG_AC;
    s = before;
    cpu_run(&s);
    CHECK_EQ(s.vector, 0x80);
    CHECK_EQ(s.rip, before.rip + 4);
    CHECK_EQ(s.gpr[RAX], before.gpr[RDI] + before.gpr[RSI]);
    CHECK_EQ(s.gpr[RCX], before.rip + 2);
    CHECK_EQ(s.gpr[R11] & FLAGS_CHECKED, before.rflags & FLAGS_CHECKED);
    CHECK_EQ(s.rflags & FLAGS_CHECKED, before.rflags & FLAGS_CHECKED);
    CHECK_EQ(s.gpr[RSP], before.gpr[RSP]);
    CHECK_EQ(s.gpr[RDX], before.gpr[RDX]);
    CHECK_EQ(s.gpr[R8], before.gpr[R8]);
    CHECK_EQ(s.cs, SEL_UCODE);
    CHECK_EQ(s.ss, SEL_UDATA);
}

/* mov %rdi, %rbp; 1: mov %rbp, %rdi; mov %rbx, %rsi; syscall; mov %rax, %rbx; dec %rbp; jnz 1b; int $0x80: sums 1..n */
static void syscall_loop(void)
{
    uint64_t n = cmdline_number("syscalls=", 20000), before = syscall_count;
    struct cpu_state s;

    PUT(0, 0x48, 0x89, 0xef, 0x48, 0x89, 0xde, 0x0f, 0x05, 0x48, 0x89, 0xc3, 0x48, 0xff, 0xcd, 0x75, 0xf0,
        0xcd, 0x80);
    snippet_state(&s, true);
    s.gpr[RBP] = n;
    s.gpr[RBX] = 0;
    cpu_run(&s);
    CHECK_EQ(s.vector, 0x80);
    CHECK_EQ(s.gpr[RBX], n * (n + 1) / 2);
    CHECK_EQ(syscall_count - before, n);
}

/* int $0x81 with a handler that returns: the frame is all it needs. */
static void count_in_rax(struct trap_frame *f)
{
    f->gpr[RAX]++;
}

static void int_loop(void)
{
    struct cpu_state s;

    trap_handler(0x81, count_in_rax);
    trap_set_dpl(0x81, 3);
    PUT(0, 0xcd, 0x81, 0xff, 0xcb, 0x75, 0xfa, 0xcd, 0x80); /* int $0x81; dec %ebx; jnz; int $0x80 */
    for (int user = 0; user < 2; user++) {
        snippet_state(&s, user);
        s.gpr[RAX] = 0;
        s.gpr[RBX] = 5000;
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(s.gpr[RAX], 5000);
    }
}

static void check_refused(const char *what, uint64_t va)
{
    static const uint8_t codes[3][4] = {{0x8a, 0x03}, {0x88, 0x03}, {0xff, 0xe3}};
    static const uint64_t errors[3] = {PF_U | PF_P, PF_U | PF_P | PF_W, PF_U | PF_P};

    for (int i = 0; i < 3; i++) {
        struct cpu_state s;

        snippet_put(0, codes[i], 4);
        snippet_state(&s, true);
        s.gpr[RBX] = va;
        cpu_run(&s);
        check_eq(what, i, "vector", s.vector, VEC_PF);
        check_eq(what, i, "cr2", s.cr2, va);
        check_eq(what, i, "error", s.error & ~(uint64_t)PF_I, errors[i]);
        check_eq(what, i, "rip", s.rip, i == 2 ? va : SNIPPET_CODE);
    }
}

/* The kernel's pages stay the kernel's, also right after the kernel used them. */
static void kernel_pages(void)
{
    static uint64_t kernel_data = 0x1234;

    for (int i = 0; i < 20; i++) {
        *(volatile uint64_t *)&kernel_data += 1;
        check_refused("kernel data", (uint64_t)&kernel_data);
        check_refused("kernel code", (uint64_t)syscall_entry);
        check_refused("page table", (uint64_t)page_entry(SNIPPET_CODE, 1));
    }
    CHECK_EQ(kernel_data, 0x1234 + 20);
}

/* Bytes below rsp belong to the user program across syscalls, int and faults. */
static void red_zone(void)
{
    struct cpu_state s;
    uint64_t *below;

    PUT(0, 0x48, 0x89, 0x5c, 0x24, 0xf8, 0x48, 0x89, 0x5c, 0x24, 0x80, /* mov %rbx, -8(%rsp); -128(%rsp) */
        0x0f, 0x05, 0xcd, 0x81, 0xe8, 0, 0, 0, 0, 0x58,                /* syscall; int; call; pop */
        0x48, 0x8b, 0x44, 0x24, 0x80, 0xcd, 0x80);                     /* mov -128(%rsp), %rax */
    for (int i = 0; i < 50; i++) {
        snippet_state(&s, true);
        s.gpr[RBX] += (uint64_t)i;
        below = (uint64_t *)(s.gpr[RSP] - 128);
        for (int k = 0; k < 16; k++) {
            below[k] = 0xaaaa0000u + (uint64_t)k;
        }
        cpu_run(&s);
        CHECK_EQ(s.gpr[RAX], s.gpr[RBX]);
        for (int k = 1; k < 15; k++) {
            CHECK_EQ(below[k], 0xaaaa0000u + (uint64_t)k);
        }
    }
}

/* popf in CPL 3 changes neither IF nor IOPL; pushf shows the real ones. */
static void user_flags(void)
{
    struct cpu_state s;

    PUT(0, 0x53, 0x9d, 0x9c, 0x58, 0xcd, 0x80); /* push %rbx; popf; pushf; pop %rax; int $0x80 */
    snippet_state(&s, true);
    s.rflags |= FLAG_IF;
    s.gpr[RBX] = FLAG_FIXED | FLAG_IOPL3 | FLAG_CF | FLAG_ID | FLAG_AC; /* IF clear */
    cpu_run(&s);
    CHECK_EQ(s.gpr[RAX] & (FLAG_IF | FLAG_IOPL3 | FLAG_CF | FLAG_ID | FLAG_AC | FLAG_ZF),
             FLAG_IF | FLAG_CF | FLAG_ID | FLAG_AC);
    CHECK_EQ(s.rflags & (FLAG_IF | FLAG_IOPL3), FLAG_IF);
}

/* With IOPL 3 user code may use cli and sti. */
static void user_iopl(void)
{
    struct cpu_state s;

    PUT(0, 0xfa, 0x9c, 0x58, 0xfb, 0x9c, 0x59, 0xcd, 0x80); /* cli; pushf; pop rax; sti; pushf; pop rcx */
    snippet_state(&s, true);
    s.rflags |= FLAG_IOPL3 | FLAG_IF;
    cpu_run(&s);
    CHECK_EQ(s.vector, 0x80);
    CHECK_EQ(s.gpr[RAX] & FLAG_IF, 0);
    CHECK_EQ(s.gpr[RCX] & FLAG_IF, FLAG_IF);
}

/* FS and GS bases are the program's, through traps and system calls; swapgs exchanges GS. */
static void segment_bases(void)
{
    struct cpu_state s;
    uint64_t stack = SNIPPET_STACK;

    ((uint64_t *)stack)[0] = 0xf5f5;
    ((uint64_t *)stack)[1] = 0x6565;
    wrmsr(0xc0000100, stack);
    wrmsr(0xc0000101, stack + 8);
    PUT(0, 0x0f, 0x05, 0xcd, 0x81, 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, /* mov %fs:0, %rax */
        0x65, 0x48, 0x8b, 0x14, 0x25, 0, 0, 0, 0, 0xcd, 0x80);               /* mov %gs:0, %rdx */
    snippet_state(&s, true);
    cpu_run(&s);
    CHECK_EQ(s.gpr[RAX], 0xf5f5);
    CHECK_EQ(s.gpr[RDX], 0x6565);
    wrmsr(0xc0000102, 0x123456789000);
    __asm__ volatile("swapgs");
    CHECK_EQ(rdmsr(0xc0000101), 0x123456789000);
    CHECK_EQ(rdmsr(0xc0000102), stack + 8);
    __asm__ volatile("swapgs");
    CHECK_EQ(rdmsr(0xc0000101), stack + 8);
}

#define CR4_FSGSBASE (1u << 16)

static uint64_t rdgsbase(void)
{
    uint64_t base;

    __asm__ volatile("rdgsbase %0" : "=r"(base));
    return base;
}

/* With CR4.FSGSBASE swapgs, rdgsbase and the MSRs agree, through system calls too; and afterwards, when it is off again. */
static void swapgs_fsgsbase(void)
{
    const uint64_t cr4 = read_cr4(), a = 0x7000, b = 0xffff812345678000;
    uint32_t r[4];
    struct cpu_state s;

    cpuid(7, 0, r);
    if (!(r[1] & 1)) {
        return; /* a CPU without it */
    }
    write_cr4(cr4 | CR4_FSGSBASE);
    wrmsr(0xc0000101, a);
    wrmsr(0xc0000102, b);
    for (unsigned i = 0; i < 100; i++) {
        __asm__ volatile("swapgs");
        CHECK_EQ(rdgsbase(), i & 1 ? a : b);
        if (i % 7 == 0) {
            CHECK_EQ(rdmsr(0xc0000101), i & 1 ? a : b);
            CHECK_EQ(rdmsr(0xc0000102), i & 1 ? b : a);
        }
        if (i % 5 == 0) { /* ring 3 sees the one that is in */
            PUT(0, 0x0f, 0x05, 0xf3, 0x48, 0x0f, 0xae, 0xc8, 0xcd, 0x80); /* syscall; rdgsbase %rax; int $0x80 */
            snippet_state(&s, true);
            cpu_run(&s);
            CHECK_EQ(s.gpr[RAX], i & 1 ? a : b);
        }
    }
    wrmsr(0xc0000102, b + 8);
    __asm__ volatile("swapgs");
    CHECK_EQ(rdgsbase(), b + 8);
    write_cr4(cr4 & ~(uint64_t)CR4_FSGSBASE);
    for (unsigned i = 0; i < 3; i++) {
        __asm__ volatile("swapgs");
        CHECK_EQ(rdmsr(0xc0000101), i & 1 ? b + 8 : a);
    }
    write_cr4(cr4);
}

/* The same page as code of both rings, and self-modifying code in ring 3. */
static void user_smc(void)
{
    struct cpu_state s;

    for (uint32_t v = 0; v < 100; v++) {
        /* movl %ebx, 1f+1(%rip); 1: mov $0, %eax; int $0x80 */
        PUT(0, 0x89, 0x1d, 1, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0xcd, 0x80);
        snippet_state(&s, v & 1);
        s.gpr[RBX] = v * 3;
        cpu_run(&s);
        CHECK_EQ(s.gpr[RAX], v * 3);
    }
}

/* CR4.TSD keeps the time stamp from user code only: the kernel below reads it all the while (SDM 2B RDTSC, RDTSCP). */
static void time_stamp_disabled(void)
{
    const uint64_t cr4 = read_cr4();
    struct cpu_state s;

    for (unsigned n = 0; n < 16; n++) {
        bool user = n & 1, disabled = n & 2, with_aux = n & 4;
        uint64_t expected = user && disabled ? 13 : 0x80, before;

        if (with_aux) {
            PUT(0, 0x0f, 0x01, 0xf9, 0xcd, 0x80); /* rdtscp; int $0x80 */
        } else {
            PUT(0, 0x0f, 0x31, 0x90, 0xcd, 0x80); /* rdtsc; nop; int $0x80 */
        }
        write_cr4(disabled ? cr4 | CR4_TSD : cr4);
        before = rdtsc();
        snippet_state(&s, user);
        cpu_run(&s);
        CHECK_EQ(s.vector, expected);
        if (expected == 0x80) {
            uint64_t seen = s.gpr[RDX] << 32 | s.gpr[RAX];

            CHECK(seen > before && seen < rdtsc());
        } else {
            CHECK_EQ(s.rip, SNIPPET_CODE);
            CHECK_EQ(s.error, 0);
        }
    }
    write_cr4(cr4);
}

/*
 * A written TSC goes on from there, for every way to read it, at every level, also for code that has read it before (SDM 3B
 * "Time-stamp counter adjustment"). The last case: it cannot be put back.
 */
static void time_stamp_written(void)
{
    const uint64_t start = 1ull << 60;

    for (unsigned n = 0; n < 8; n++) {
        bool user = n & 1, with_aux = n & 2, written = n & 4;
        struct cpu_state s;

        if (n == 4) {
            wrmsr(0x10, start);
        }
        if (with_aux) {
            PUT(n & 3 ? 64 : 0, 0x0f, 0x01, 0xf9, 0xcd, 0x80); /* rdtscp; int $0x80 */
        } else {
            PUT(n & 3 ? 64 : 0, 0x0f, 0x31, 0x90, 0xcd, 0x80); /* rdtsc; nop; int $0x80 */
        }
        snippet_state(&s, user);
        s.rip = SNIPPET_CODE + (n & 3 ? 64 : 0);
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ((s.gpr[RDX] << 32 | s.gpr[RAX]) >= start, written);
        CHECK_EQ(rdmsr(0x10) >= start, written);
        CHECK_EQ(rdtsc() >= start, written);
    }
}

/*
 * mov %sreg, %reg with all three operand sizes: 16 bits are merged, more are zero-extended (SDM 2B MOV). The selectors are those
 * of the mode that reads them, however often it has changed.
 */
static void selectors(void)
{
    uint8_t *code = (uint8_t *)SNIPPET_CODE;

    /* mov %ds, %r9d; mov %r9d, %es; mov %ss, %eax; mov %cs, %bx; mov %es, %rdx; mov %ds, %r8; mov %es, %r10w; int $0x80 */
    PUT(0, 0x41, 0x8c, 0xd9, 0x41, 0x8e, 0xc1, 0x8c, 0xd0, 0x66, 0x8c, 0xcb, 0x48, 0x8c, 0xc2, 0x4d, 0x8c, 0xd8, 0x66, 0x41, 0x8c,
        0xc2, 0xcd, 0x80);
    for (unsigned i = 0; i < 6; i++) {
        bool user = i & 1;
        struct cpu_state before, s;
        uint16_t ds;

        snippet_state(&before, user);
        before.rip = (uintptr_t)code;
        s = before;
        cpu_run(&s);
        __asm__ volatile("mov %%ds, %0" : "=r"(ds));
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(s.gpr[RAX], user ? SEL_UDATA : SEL_KDATA);
        CHECK_EQ(s.gpr[RBX], (before.gpr[RBX] & ~0xffffull) | (user ? SEL_UCODE : SEL_KCODE));
        CHECK_EQ(s.gpr[R9], ds);
        CHECK_EQ(s.gpr[R8], ds);
        CHECK_EQ(s.gpr[RDX], ds);
        CHECK_EQ(s.gpr[R10], (before.gpr[R10] & ~0xffffull) | ds);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"int-gate", int_gate},         {"syscall-once", syscall_once},
        {"syscall-loop", syscall_loop}, {"int-loop", int_loop},
        {"kernel-pages", kernel_pages}, {"red-zone", red_zone},
        {"user-flags", user_flags},     {"user-iopl", user_iopl},
        {"segment-bases", segment_bases}, {"swapgs-fsgsbase", swapgs_fsgsbase}, {"user-smc", user_smc},
        {"time-stamp-disabled", time_stamp_disabled}, {"time-stamp-written", time_stamp_written},
        {"selectors", selectors},
    };
    paging_init();
    trap_init();
    snippet_init();
    syscall_enable(syscall_entry, FLAG_IF | FLAG_DF | FLAG_TF | FLAG_AC);
    return run_cases("user-mode", cases, ARRAY_SIZE(cases));
}
