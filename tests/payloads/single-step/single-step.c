/* SPDX-License-Identifier: MIT */
/*
 * Rule: with RFLAGS.TF set, every instruction ends in one #DB trap with the address of the next; none is lost or doubled
 * by branches, string iterations or stores to code (SDM 3B 17.3.1.4; SMC case 27).
 */
#include "tests/payloads/lib/snippet.h"

#define MAX_STEPS 256
#define DR6_BS (1u << 14)

static uint64_t steps[MAX_STEPS];
static unsigned step_count;
static uint64_t dr6_seen;

static void on_step(struct trap_frame *f)
{
    uint64_t dr6;

    __asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
    dr6_seen &= dr6;
    if (step_count < MAX_STEPS) {
        steps[step_count] = f->rip - SNIPPET_CODE;
    }
    step_count++;
}

/* Run what lies at SNIPPET_CODE to its `int $0x80`; compare the addresses stepped to with expected[0..n). */
static void step_through(const uint8_t *expected, unsigned n, bool user, uint64_t rcx)
{
    struct cpu_state s;

    snippet_state(&s, user);
    s.gpr[RCX] = rcx;
    s.gpr[RSI] = SNIPPET_STACK;
    s.gpr[RDI] = SNIPPET_STACK + 2048;
    s.rflags |= FLAG_TF;
    step_count = 0;
    dr6_seen = ~0ull;
    cpu_run(&s);
    CHECK_EQ(s.vector, 0x80);
    CHECK_EQ(step_count, n);
    CHECK_EQ(dr6_seen & DR6_BS, DR6_BS);
    for (unsigned i = 0; i < n && i < step_count; i++) {
        CHECK_EQ(steps[i], expected[i]);
    }
}

#define STEPS(user, rcx, ...)                                                                      \
    step_through((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), user, rcx)

static void straight_line(void)
{
    for (int user = 0; user < 2; user++) {
        PUT(0, 0x90, 0x48, 0x01, 0xd8, 0x50, 0x58, 0x9c, 0x58, 0xcd, 0x80);
        STEPS(user, 0, 1, 4, 5, 6, 7, 8);
    }
}

static void branches(void)
{
    for (int user = 0; user < 2; user++) {
        /* 0: jmp 4; 4: call 12; 9: int 80; 12: xor eax,eax; 14: jz 17; 17: jnz 19; 19: ret */
        PUT(0, 0xeb, 2, 0xcc, 0xcc, 0xe8, 3, 0, 0, 0, 0xcd, 0x80, 0xcc, 0x31, 0xc0, 0x74, 1, 0xcc, 0x75,
            0, 0xc3);
        STEPS(user, 0, 4, 12, 14, 17, 19, 9);
    }
}

static void string_iterations(void)
{
    PUT(0, 0xf3, 0xa4, 0x90, 0xcd, 0x80);
    STEPS(true, 4, 0, 0, 0, 2, 3);
    STEPS(false, 1, 2, 3);
    STEPS(false, 0, 2, 3);
}

static void loops(void)
{
    PUT(0, 0x90, 0xe2, 0xfd, 0xcd, 0x80); /* 0: nop; loop 0; int $0x80 */
    STEPS(true, 3, 1, 0, 1, 0, 1, 3);
}

/* movb $0x90, next; next: the store is one step, the new instruction the next one. */
static void over_code_store(void)
{
    for (int user = 0; user < 2; user++) {
        PUT(0, 0x90, 0xc6, 0x05, 0, 0, 0, 0, 0x90, 0xf4, 0x90, 0xcd, 0x80); /* hlt becomes nop */
        STEPS(user, 0, 1, 8, 9, 10);
    }
}

/*
 * Instructions that a translator may have to put something in front of: none of them is a step without having been
 * executed. seto, setno and sete store; cmpxchg16b and cmpxchg8b fail to compare and load what is there.
 */
static void stores_of_flags(void)
{
    uint8_t *data = (uint8_t *)SNIPPET_STACK;

    for (int user = 0; user < 2; user++) {
        memset(data, 0x55, 32);
        /* seto (%rsi); setno 1(%rsi); sete 16(%rsi); lock cmpxchg8b 8(%rsi); mov %eax, 4(%rsi); cmpxchg16b (%rsi);
         * mov %rdx, 24(%rsi); int $0x80 */
        PUT(0, 0x0f, 0x90, 0x06, 0x0f, 0x91, 0x46, 1, 0x0f, 0x94, 0x46, 16, 0xf0, 0x0f, 0xc7, 0x4e, 8, 0x89, 0x46, 4, 0x48, 0x0f,
            0xc7, 0x0e, 0x48, 0x89, 0x56, 24, 0xcd, 0x80);
        STEPS(user, 0, 3, 7, 11, 16, 19, 23, 27);
        CHECK_EQ(data[0], 1);
        CHECK_EQ(data[1], 0);
        CHECK_EQ(data[16], 1);
        CHECK_EQ(*(uint32_t *)(data + 4), 0x55555555);
        CHECK_EQ(*(uint64_t *)(data + 24), 0x5555555555555555);
    }
}

/* popf sets TF: the trap comes after the instruction that follows. */
static void popf_sets_tf(void)
{
    struct cpu_state s;

    /* pushf; orb $1, 1(%rsp); popf; nop; nop; pushf; andb $0xfe, 1(%rsp); popf; nop; int $0x80 */
    PUT(0, 0x9c, 0x80, 0x4c, 0x24, 1, 1, 0x9d, 0x90, 0x90, 0x9c, 0x80, 0x64, 0x24, 1, 0xfe, 0x9d, 0x90,
        0xcd, 0x80);
    snippet_state(&s, true);
    step_count = 0;
    cpu_run(&s);
    CHECK_EQ(s.vector, 0x80);
    CHECK_EQ(step_count, 5); /* nop, nop, pushf, andb, popf */
    CHECK_EQ(steps[0], 8);
    CHECK_EQ(steps[1], 9);
    CHECK_EQ(steps[2], 10);
    CHECK_EQ(steps[3], 15);
    CHECK_EQ(steps[4], 16);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"straight-line", straight_line}, {"branches", branches},
        {"string-iterations", string_iterations}, {"loops", loops},
        {"over-code-store", over_code_store}, {"stores-of-flags", stores_of_flags},
        {"popf-sets-tf", popf_sets_tf},
    };
    paging_init();
    trap_init();
    snippet_init();
    trap_handler(VEC_DB, on_step);
    return run_cases("single-step", cases, ARRAY_SIZE(cases));
}
