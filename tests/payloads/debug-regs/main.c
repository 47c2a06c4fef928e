/* SPDX-License-Identifier: MIT */
/*
 * Rule: SDM 3B 17.2-17.3. A data breakpoint is a trap behind the instruction that touched one of its bytes, an instruction
 * breakpoint a fault before the instruction, which RF skips; one #DB an event, DR6 tells which; stores to code count as any
 * other (SMC case 63).
 */
#include "tests/payloads/lib/snippet.h"

#define EVENTS_MAX 64
#define DATA       (SNIPPET_STACK + 512)
#define CR4_DE     (1ul << 3)

#define DR6_CLEAR 0xffff0ff0ul
#define DR6_BD    (1ul << 13)
#define DR6_BS    (1ul << 14)

enum { RW_EXEC, RW_WRITE, RW_IO, RW_ACCESS };

/* #DB events of the last run: where, why. */
static struct {
    uint64_t rip, dr6;
} events[EVENTS_MAX];
static unsigned event_count;
static uint64_t exec_bits;

static uint64_t read_dr6(void)
{
    uint64_t v;
    __asm__ volatile("mov %%dr6, %0" : "=r"(v));
    return v;
}

static void write_dr6(uint64_t v)
{
    __asm__ volatile("mov %0, %%dr6" : : "r"(v));
}

static uint64_t read_dr7(void)
{
    uint64_t v;
    __asm__ volatile("mov %%dr7, %0" : "=r"(v));
    return v;
}

static void write_dr7(uint64_t v)
{
    __asm__ volatile("mov %0, %%dr7" : : "r"(v) : "memory");
}

static void write_dr(unsigned n, uint64_t v)
{
    switch (n) {
    case 0:
        __asm__ volatile("mov %0, %%dr0" : : "r"(v));
        break;
    case 1:
        __asm__ volatile("mov %0, %%dr1" : : "r"(v));
        break;
    case 2:
        __asm__ volatile("mov %0, %%dr2" : : "r"(v));
        break;
    default:
        __asm__ volatile("mov %0, %%dr3" : : "r"(v));
        break;
    }
}

/* DR7's part for breakpoint n; global: G instead of L. */
static uint64_t dr7_bits(unsigned n, unsigned rw, unsigned len, bool global)
{
    static const uint64_t encoding[] = {[1] = 0, [2] = 1, [8] = 2, [4] = 3};

    return (global ? 2ul : 1ul) << (2 * n) | (uint64_t)rw << (16 + 4 * n) | encoding[len] << (18 + 4 * n);
}

static void arm(unsigned n, uint64_t va, unsigned rw, unsigned len)
{
    write_dr(n, va);
    write_dr7((read_dr7() & ~(3ul << (2 * n) | 15ul << (16 + 4 * n))) | dr7_bits(n, rw, len, n & 1));
    if (rw == RW_EXEC) {
        exec_bits |= 1ul << n;
    }
}

static void disarm(void)
{
    write_dr7(0x400);
    write_dr6(DR6_CLEAR);
    exec_bits = 0;
}

static void on_debug(struct trap_frame *f)
{
    uint64_t dr6 = read_dr6();

    write_dr6(DR6_CLEAR);
    if (event_count < EVENTS_MAX) {
        events[event_count].rip = f->rip - SNIPPET_CODE;
        events[event_count].dr6 = dr6 & ~DR6_CLEAR;
    }
    event_count++;
    if (dr6 & exec_bits) {
        f->rflags |= FLAG_RF;
    }
}

/* Run what is at SNIPPET_CODE to its `int $0x80`, with rdi = DATA + offset, rsi = DATA + 256, rcx as given. */
static void run(bool user, uint64_t rdi, uint64_t rcx, bool step)
{
    struct cpu_state s;

    snippet_state(&s, user);
    s.gpr[RDI] = rdi;
    s.gpr[RSI] = DATA + 256;
    s.gpr[RCX] = rcx;
    s.rflags |= step ? FLAG_TF : 0;
    event_count = 0;
    cpu_run(&s);
    CHECK_EQ(s.vector, 0x80);
}

static void check_event(unsigned i, uint64_t rip, uint64_t dr6)
{
    if (i < event_count) {
        CHECK_EQ(events[i].rip, rip);
        CHECK_EQ(events[i].dr6, dr6);
    }
}

/* Exactly these events: rip, dr6 pairs. */
static void check_events(const uint64_t *pairs, unsigned n)
{
    CHECK_EQ(event_count, n);
    for (unsigned i = 0; i < n; i++) {
        check_event(i, pairs[2 * i], pairs[2 * i + 1]);
    }
}

#define EVENTS(...)                                                                                \
    check_events((const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 16)
#define NO_EVENT() CHECK_EQ(event_count, 0)

/* ---- data ---- */

/* Every length of breakpoint against every size of store and load at every distance: hit iff a byte is common. */
static void overlap(bool store, unsigned rw, unsigned len, unsigned n)
{
    static const uint8_t stores[4][4] = {{0x90, 0x88, 0x07, 0x90}, {0x66, 0x89, 0x07, 0x90}, {0x90, 0x89, 0x07, 0x90},
                                         {0x48, 0x89, 0x07, 0x90}};
    uint64_t va = DATA + 16;

    for (unsigned size_log = 0; size_log < 4; size_log++) {
        int size = 1 << size_log;
        uint8_t code[8];

        memcpy(code, stores[size_log], 4);
        code[1] |= store ? 0 : 2; /* mov reg, [rdi] */
        memcpy(code + 4, (const uint8_t[]){0x90, 0xcd, 0x80}, 3);
        snippet_put(0, code, 7);
        for (int at = -9; at <= 9; at++) {
            bool hit = (store || rw == RW_ACCESS) && at < (int)len && at + size > 0;

            arm(n, va, rw, len);
            run(at & 1, va + (uint64_t)(int64_t)at, 0, false);
            disarm();
            CHECK_EQ(event_count, hit);
            if (hit) {
                check_event(0, 3, 1ul << n);
            }
        }
    }
}

static void write_exact(void)
{
    overlap(true, RW_WRITE, 1, 0);
    overlap(true, RW_WRITE, 2, 1);
    overlap(true, RW_WRITE, 4, 2);
    overlap(true, RW_WRITE, 8, 3);
}

static void reads_do_not_write(void)
{
    overlap(false, RW_WRITE, 8, 0);
}

static void access_exact(void)
{
    overlap(true, RW_ACCESS, 4, 0);
    overlap(false, RW_ACCESS, 1, 1);
    overlap(false, RW_ACCESS, 2, 2);
    overlap(false, RW_ACCESS, 8, 3);
}

/* LEN makes the CPU ignore low address bits. */
static void address_is_aligned(void)
{
    PUT(0, 0x88, 0x07, 0x90, 0xcd, 0x80);
    arm(0, DATA + 19, RW_WRITE, 4);
    run(true, DATA + 16, 0, false);
    disarm();
    EVENTS(2, 1);
}

static void read_modify_write_once(void)
{
    PUT(0, 0xf0, 0xff, 0x07, 0xff, 0x0f, 0x90, 0xcd, 0x80); /* lock incl (%rdi); decl (%rdi); nop */
    for (int user = 0; user < 2; user++) {
        arm(1, DATA, RW_ACCESS, 4);
        run(user, DATA, 0, false);
        disarm();
        EVENTS(3, 2, 5, 2);
    }
}

/* push, pop, call, ret, jmp *m, push m, pop m: what a translator makes several instructions of.
 * At CPL 3: the frame of the trap itself would hit the bytes again. */
static void stack_and_branches(void)
{
    uint64_t top = SNIPPET_STACK_TOP - 64;

    PUT(0, 0x50, 0x58, 0x90, 0xcd, 0x80); /* push %rax; pop %rax */
    arm(0, top - 8, RW_ACCESS, 8);
    run(true, DATA, 0, false);
    EVENTS(1, 1, 2, 1);
    PUT(0, 0xe8, 3, 0, 0, 0, 0x90, 0xcd, 0x80, 0xc3); /* call 8; nop; int; 8: ret */
    run(true, DATA, 0, false);
    EVENTS(8, 1, 5, 1);
    run(true, DATA, 0, false); /* again, with everything translated and linked */
    EVENTS(8, 1, 5, 1);
    disarm();
    *(volatile uint64_t *)DATA = SNIPPET_CODE + 4;
    PUT(0, 0xff, 0x27, 0xcc, 0xcc, 0x90, 0xcd, 0x80); /* jmp *(%rdi); 4: nop */
    arm(2, DATA, RW_ACCESS, 8);
    run(true, DATA, 0, false);
    EVENTS(4, 4);
    PUT(0, 0xff, 0x37, 0x8f, 0x07, 0x90, 0xcd, 0x80); /* push (%rdi); pop (%rdi) */
    run(true, DATA, 0, false);
    EVENTS(2, 4, 4, 4);
    disarm();
}

/* One trap an iteration that touches the bytes; rip is the string instruction's until the last. */
static void strings(void)
{
    PUT(0, 0xf3, 0xaa, 0x90, 0xcd, 0x80); /* rep stosb */
    arm(0, DATA + 4, RW_WRITE, 2);
    run(true, DATA, 16, false);
    EVENTS(0, 1, 0, 1);
    run(true, DATA, 6, false);
    EVENTS(0, 1, 2, 1);
    run(true, DATA, 0, false);
    NO_EVENT();
    disarm();
}

static void many_at_once(void)
{
    PUT(0, 0x48, 0x89, 0x07, 0x90, 0xcd, 0x80);
    arm(0, DATA, RW_WRITE, 1);
    arm(1, DATA + 1, RW_ACCESS, 1);
    arm(2, DATA + 8, RW_WRITE, 1);
    arm(3, DATA + 4, RW_WRITE, 4);
    run(false, DATA, 0, false);
    disarm();
    EVENTS(3, 1 | 2 | 8);
}

static void disabled(void)
{
    PUT(0, 0x48, 0x89, 0x07, 0x90, 0xcd, 0x80);
    arm(0, DATA, RW_WRITE, 8);
    write_dr7(read_dr7() & ~3ul);
    run(false, DATA, 0, false);
    disarm();
    NO_EVENT();
}

/* A fault of the instruction: no trap, although the memory was watched. */
static void fault_comes_first(void)
{
    struct cpu_state s;

    PUT(0, 0x48, 0x89, 0x07, 0x90, 0xcd, 0x80);
    arm(0, SNIPPET_DATA, RW_WRITE, 8);
    snippet_state(&s, true);
    s.gpr[RDI] = SNIPPET_DATA;
    event_count = 0;
    cpu_run(&s);
    disarm();
    CHECK_EQ(s.vector, VEC_PF);
    NO_EVENT();
}

/* Instructions that the monitor executes for the guest touch memory too. */
static void sensitive_instructions(void)
{
    uint64_t top = SNIPPET_STACK_TOP - 64;

    PUT(0, 0x0f, 0x01, 0x07, 0x8c, 0x1f, 0x90, 0xcd, 0x80); /* sgdt (%rdi); mov %ds,(%rdi) */
    arm(1, DATA, RW_WRITE, 2);
    run(false, DATA, 0, false);
    disarm();
    EVENTS(3, 2, 5, 2);
    PUT(0, 0x9c, 0x9d, 0x90, 0xcd, 0x80); /* pushf; popf */
    arm(1, top - 8, RW_ACCESS, 8);
    run(true, DATA, 0, false);
    disarm();
    EVENTS(1, 2, 2, 2);
}

static void single_step_too(void)
{
    PUT(0, 0x90, 0x48, 0x89, 0x07, 0x90, 0xcd, 0x80);
    arm(0, DATA, RW_WRITE, 8);
    run(true, DATA, 0, true);
    disarm();
    EVENTS(1, DR6_BS, 4, DR6_BS | 1, 5, DR6_BS);
}

/* What MOV SS hits waits for the next instruction, and joins the #DB that this one raises by itself. */
static void behind_mov_ss(void)
{
    for (unsigned user = 0; user < 2; user++) {
        *(volatile uint16_t *)DATA = user ? SEL_UDATA : SEL_KDATA;
        arm(0, DATA, RW_ACCESS, 2);
        PUT(0, 0x8e, 0x17, 0x90, 0x90, 0xcd, 0x80); /* mov (%rdi), %ss; nop; nop */
        run(user, DATA, 0, false);
        EVENTS(3, 1);
        PUT(0, 0x8e, 0x17, 0xf1, 0x90, 0xcd, 0x80); /* mov (%rdi), %ss; icebp; nop */
        run(user, DATA, 0, false);
        EVENTS(3, 1);
        disarm();
    }
}

/* ---- instructions ---- */

static void fault_before(void)
{
    PUT(0, 0x90, 0xff, 0xc8, 0x90, 0xcd, 0x80); /* nop; dec %eax; nop */
    for (int user = 0; user < 2; user++) {
        run(user, DATA, 0, false);
        NO_EVENT();
        arm(3, SNIPPET_CODE + 1, RW_EXEC, 1);
        run(user, DATA, 0, false);
        EVENTS(1, 8);
        disarm();
        run(user, DATA, 0, false);
        NO_EVENT();
    }
}

/* A breakpoint in the middle of hot, linked code; RF lets exactly one instruction by. */
static void in_a_loop(void)
{
    PUT(0, 0x90, 0x90, 0xff, 0xc8, 0xe2, 0xfa, 0xcd, 0x80); /* nop; nop; 2: dec %eax; loop 0 */
    run(true, DATA, 1000, false);
    arm(0, SNIPPET_CODE + 2, RW_EXEC, 1);
    run(true, DATA, 5, false);
    EVENTS(2, 1, 2, 1, 2, 1, 2, 1, 2, 1);
    arm(1, SNIPPET_CODE + 4, RW_EXEC, 1);
    run(true, DATA, 2, false);
    disarm();
    EVENTS(2, 1, 4, 2, 2, 1, 4, 2);
}

/* From one page to another over a link that existed before. */
static void across_pages(void)
{
    static const uint8_t code[] = {0x90, 0xcd, 0x80};

    page_map(SNIPPET_CODE + PAGE_SIZE, (uint64_t)page_alloc(), PTE_P | PTE_W | PTE_U);
    PUT(0, 0xe9, 0xfb, 0x0f, 0, 0); /* jmp to the next page */
    snippet_put(PAGE_SIZE, code, sizeof(code));
    for (int i = 0; i < 3; i++) {
        run(true, DATA, 0, false);
        NO_EVENT();
    }
    arm(2, SNIPPET_CODE + PAGE_SIZE, RW_EXEC, 1);
    run(true, DATA, 0, false);
    disarm();
    EVENTS(PAGE_SIZE, 4);
}

static void not_inside_an_instruction(void)
{
    PUT(0, 0x90, 0xb8, 1, 2, 3, 4, 0x90, 0xcd, 0x80); /* mov $imm32, %eax */
    arm(0, SNIPPET_CODE + 2, RW_EXEC, 1);
    run(true, DATA, 0, false);
    disarm();
    NO_EVENT();
}

static void instruction_and_data(void)
{
    PUT(0, 0x48, 0x89, 0x07, 0x90, 0xcd, 0x80);
    arm(0, SNIPPET_CODE, RW_EXEC, 1);
    arm(1, DATA, RW_WRITE, 8);
    run(true, DATA, 0, false);
    disarm();
    EVENTS(0, 1, 3, 2);
}

/* iret to a breakpoint with RF = 1 in the image: not again; with RF = 0: once. */
static void rf_by_iret(void)
{
    struct cpu_state s;

    PUT(0, 0x90, 0x90, 0xcd, 0x80);
    arm(0, SNIPPET_CODE, RW_EXEC, 1);
    for (int rf = 0; rf < 2; rf++) {
        snippet_state(&s, true);
        s.rflags |= rf ? FLAG_RF : 0;
        event_count = 0;
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(event_count, !rf);
    }
    disarm();
}

static void general_detect(void)
{
    PUT(0, 0x0f, 0x21, 0xc0, 0x90, 0xcd, 0x80); /* mov %dr0, %rax */
    write_dr7(0x400 | 1ul << 13);
    /* The handler's own accesses are free: delivery clears GD. The instruction is then executed. */
    run(false, DATA, 0, false);
    disarm();
    EVENTS(0, DR6_BD);
}

static void io(void)
{
    PUT(0, 0xe6, 0x80, 0x90, 0xcd, 0x80); /* out %al, $0x80 */
    write_cr4(read_cr4() | CR4_DE);
    arm(0, 0x80, RW_IO, 1);
    run(false, DATA, 0, false);
    EVENTS(2, 1);
    arm(0, 0x84, RW_IO, 4);
    run(false, DATA, 0, false);
    NO_EVENT();
    disarm();
    write_cr4(read_cr4() & ~CR4_DE);
}

/* ---- stores to code: SMC case 63 ---- */

/* The store patches the instruction behind it and is watched: new code, one trap. */
static void watched_code_is_patched(void)
{
    for (int user = 0; user < 2; user++) {
        for (int warm = 0; warm < 2; warm++) {
            PUT(0, 0xc6, 0x07, 0x90, 0xf4, 0x90, 0xcd, 0x80); /* movb $0x90,(%rdi); 3: hlt becomes nop */
            arm(1, SNIPPET_CODE + 3, RW_WRITE, 1);
            run(user, SNIPPET_CODE + 3, 0, false);
            EVENTS(3, 2);
            run(user, SNIPPET_CODE + 3, 0, false);
            EVENTS(3, 2);
            disarm();
        }
    }
}

/* Data beside code, watched and not, on a page where every store is slow; again and again, so that it gets fast. */
static void data_beside_code(void)
{
    PUT(0, 0x48, 0xff, 0x07, 0xe2, 0xfb, 0xcd, 0x80); /* incq (%rdi); loop 0 */
    run(true, SNIPPET_CODE + 1024, 200, false);
    arm(0, SNIPPET_CODE + 1024, RW_WRITE, 8);
    run(true, SNIPPET_CODE + 1032, 200, false);
    NO_EVENT();
    run(true, SNIPPET_CODE + 1020, 3, false);
    EVENTS(3, 1, 3, 1, 3, 1);
    disarm();
}

/* A breakpoint on an instruction that is patched afterwards. */
static void breakpoint_is_patched(void)
{
    PUT(0, 0xc6, 0x07, 0x90, 0xf4, 0x90, 0xcd, 0x80);
    arm(0, SNIPPET_CODE + 3, RW_EXEC, 1);
    run(true, SNIPPET_CODE + 3, 0, false);
    disarm();
    EVENTS(3, 1);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"write-exact", write_exact},
        {"reads-do-not-write", reads_do_not_write},
        {"access-exact", access_exact},
        {"address-is-aligned", address_is_aligned},
        {"read-modify-write-once", read_modify_write_once},
        {"stack-and-branches", stack_and_branches},
        {"strings", strings},
        {"many-at-once", many_at_once},
        {"disabled", disabled},
        {"fault-comes-first", fault_comes_first},
        {"sensitive-instructions", sensitive_instructions},
        {"single-step-too", single_step_too},
        {"behind-mov-ss", behind_mov_ss},
        {"fault-before", fault_before},
        {"in-a-loop", in_a_loop},
        {"across-pages", across_pages},
        {"not-inside-an-instruction", not_inside_an_instruction},
        {"instruction-and-data", instruction_and_data},
        {"rf-by-iret", rf_by_iret},
        {"general-detect", general_detect},
        {"io", io},
        {"watched-code-is-patched", watched_code_is_patched},
        {"data-beside-code", data_beside_code},
        {"breakpoint-is-patched", breakpoint_is_patched},
    };

    paging_init();
    trap_init();
    snippet_init();
    trap_handler(VEC_DB, on_debug);
    disarm();
    return run_cases("debug-regs", cases, ARRAY_SIZE(cases));
}
