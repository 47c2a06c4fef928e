/* SPDX-License-Identifier: MIT */
/*
 * Rule: calls, returns and indirect branches go where they say, and the stack holds the guest's own return addresses only:
 * recursion, tables, returns that were never called, stack switching, blocks that cross pages.
 */
#include "tests/payloads/lib/page.h"
#include "tests/payloads/lib/payload.h"

#define NOINLINE __attribute__((noinline))

/* ---- recursion ---- */

static NOINLINE uint64_t fib(uint64_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static NOINLINE uint64_t ackermann(uint64_t m, uint64_t n)
{
    if (!m) {
        return n + 1;
    }
    return n ? ackermann(m - 1, ackermann(m, n - 1)) : ackermann(m - 1, 1);
}

static NOINLINE uint64_t depth(uint64_t n)
{
    uint64_t below = n ? depth(n - 1) : 0;

    return below + n * (uint64_t)(below != 1ull << 63);
}

static void recursion(void)
{
    CHECK_EQ(fib(22), 17711);
    CHECK_EQ(ackermann(2, 30), 63);
    CHECK_EQ(depth(1200), 1200 * 1201 / 2);
}

/* ---- calls through tables ---- */

#define LEAF(n)                                                                                    \
    static NOINLINE uint64_t leaf##n(uint64_t x)                                                   \
    {                                                                                              \
        return x * (2 * n + 1) + n;                                                                \
    }
LEAF(0)
LEAF(1)
LEAF(2)
LEAF(3)
LEAF(4)
LEAF(5)
LEAF(6)
LEAF(7)

static uint64_t (*volatile table[8])(uint64_t) = {leaf0, leaf1, leaf2, leaf3, leaf4, leaf5, leaf6, leaf7};

static void call_tables(void)
{
    struct rng rng = {12345};
    uint64_t x = 1, y = 1;

    for (unsigned i = 0; i < 20000; i++) {
        uint64_t k = rng_below(&rng, 8);

        x = table[k](x);
        y = y * (2 * k + 1) + k;
    }
    CHECK_EQ(x, y);
}

static NOINLINE uint64_t dispatch(unsigned op, uint64_t x)
{
    switch (op) { /* a jump table */
    case 0:
        return x + 17;
    case 1:
        return x ^ 0x5555;
    case 2:
        return x << 3;
    case 3:
        return x >> 2;
    case 4:
        return ~x;
    case 5:
        return x * 7;
    case 6:
        return x - 99;
    default:
        return x | 1;
    }
}

static void jump_tables(void)
{
    struct rng rng = {777};
    uint64_t x = 3;

    for (unsigned i = 0; i < 20000; i++) {
        x = dispatch(rng_below(&rng, 9), x);
    }
    checksum_print("jump-tables", x);
}

/* ---- returns without calls, calls without returns (branches.S) ---- */

uint64_t retpoline_call(uint64_t (*fn)(uint64_t), uint64_t arg);
uint64_t push_ret(uint64_t (*fn)(uint64_t), uint64_t arg);
uint64_t skip_return(uint64_t arg);
uint64_t call_pop(void);
extern uint64_t call_pop_address[1];
uint64_t call_pop_address[1];
uint64_t ret_imm(uint64_t a, uint64_t b);
uint64_t ret_chain(uint64_t n, uint64_t *stack);
uint64_t far_return(uint64_t x);
uint64_t return_to_changed(uint64_t x);

static void retpolines(void)
{
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t k = i * 5 % 8;

        CHECK_EQ(retpoline_call(table[k], i), i * (2 * k + 1) + k);
        CHECK_EQ(push_ret(table[k], i), i * (2 * k + 1) + k);
    }
}

static void odd_returns(void)
{
    for (uint64_t i = 0; i < 200; i++) {
        CHECK_EQ(skip_return(i), i + 1);
        CHECK_EQ(ret_imm(i, 2), i + 2);
        CHECK_EQ(far_return(i), i + 3);
        CHECK_EQ(return_to_changed(i), i + 100);
    }
    uint64_t popped = call_pop();

    CHECK_EQ(popped, call_pop_address[0]); /* the stack shows the guest's own address */
}

/* A stack full of return addresses and no calls at all. */
static void return_chain(void)
{
    uint64_t *stack = page_alloc();

    for (uint64_t n = 1; n < 200; n += 13) {
        CHECK_EQ(ret_chain(n, stack), n);
    }
}

/* ---- stack switching ---- */

struct context {
    uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rip;
};
uint64_t context_save(struct context *c);
void context_jump(struct context *c, uint64_t value);
void context_switch(uint64_t *save_sp, uint64_t load_sp);

static struct context back;

static NOINLINE void jump_from(unsigned levels)
{
    if (levels) {
        jump_from(levels - 1);
    } else {
        context_jump(&back, 42);
    }
    __asm__ volatile(""); /* keeps the call from becoming a jump */
}

static void long_jumps(void)
{
    for (volatile unsigned i = 0; i < 100; i++) {
        uint64_t v = context_save(&back);

        if (!v) {
            jump_from(i % 50);
            CHECK(false);
        }
        CHECK_EQ(v, 42);
    }
}

#define COROUTINES 8
static uint64_t coroutine_sp[COROUTINES], main_sp;
static unsigned current, finished;
static uint64_t trace;

static NOINLINE void yield(unsigned levels)
{
    if (levels) {
        yield(levels - 1);
        __asm__ volatile("");
        return;
    }
    context_switch(&coroutine_sp[current], main_sp);
}

static void coroutine(void)
{
    unsigned self = current;

    for (unsigned i = 0; i < 50; i++) {
        trace = trace * 31 + self * 1000 + i;
        yield(i % 7);
        CHECK_EQ(current, self);
    }
    finished++;
    for (;;) {
        yield(0);
    }
}

static void coroutines(void)
{
    uint64_t expected = 0;

    for (unsigned i = 0; i < COROUTINES; i++) {
        uint64_t *top = (uint64_t *)((uint8_t *)pages_alloc(2) + 8192) - 2;

        *--top = (uint64_t)coroutine; /* context_switch pops six registers and returns */
        top -= 6;
        coroutine_sp[i] = (uint64_t)top;
    }
    for (unsigned round = 0; round < 51; round++) {
        for (current = 0; current < COROUTINES; current++) {
            context_switch(&main_sp, coroutine_sp[current]);
            if (round < 50) {
                expected = expected * 31 + current * 1000 + round;
            }
        }
    }
    CHECK_EQ(trace, expected);
    CHECK_EQ(finished, COROUTINES);
}

/* ---- blocks across pages ---- */

/* n x `inc %eax` from `start`, then ret, at every position round a page boundary, called directly and by a jump. */
static void cross_page(void)
{
    uint8_t *pages = pages_alloc(2);
    uint8_t *jumper = page_alloc();

    for (unsigned n = 1; n <= 20; n++) {
        for (unsigned before = 0; before <= 2 * n; before++) {
            uint8_t *start = pages + 4096 - before, *p = start;
            uint64_t rax = 0;

            for (unsigned i = 0; i < n; i++) {
                p = EMIT(p, 0xff, 0xc0);
            }
            *p = 0xc3;
            p = EMIT(jumper, 0xe9);
            emit32(p, (uint32_t)(start - (p + 4)));
            __asm__ volatile("call *%1; call *%2" : "+a"(rax) : "r"(start), "r"(jumper) : "memory", "cc");
            CHECK_EQ(rax, 2 * n);
        }
    }
}

/* Conditional branches of every condition and both lengths, taken and not, over a page boundary. */
static void conditions(void)
{
    uint8_t *pages = pages_alloc(2);
    uint64_t sum = CHECKSUM_INIT;

    for (unsigned cc = 0; cc < 16; cc++) {
        for (unsigned at = 0; at < 8; at++) {
            uint8_t *start = pages + 4096 - at, *p = start;

            p = EMIT(p, 0x50, 0x9d); /* push %rax; popfq */
            p = at & 1 ? EMIT(p, 0x0f, (uint8_t)(0x80 + cc), 6, 0, 0, 0) : EMIT(p, (uint8_t)(0x70 + cc), 6);
            p = EMIT(p, 0xb8, 0, 0, 0, 0, 0xc3, 0xb8, 1, 0, 0, 0, 0xc3);
            for (uint64_t flags = 0; flags < 32; flags++) {
                uint64_t rax = FLAG_FIXED | (flags & 1 ? FLAG_CF : 0) | (flags & 2 ? FLAG_PF : 0) |
                               (flags & 4 ? FLAG_ZF : 0) | (flags & 8 ? FLAG_SF : 0) |
                               (flags & 16 ? FLAG_OF : 0);
                bool c = flags & 1, pf = flags & 2, z = flags & 4, s = flags & 8, o = flags & 16;
                bool yes[8] = {o, c, z, c || z, s, pf, s != o, z || s != o};

                __asm__ volatile("call *%1" : "+a"(rax) : "r"(start) : "memory", "cc");
                CHECK_EQ(rax, yes[cc >> 1] != (cc & 1));
                sum = checksum_u64(sum, rax);
            }
        }
    }
    checksum_print("conditions", sum);
}

/* loop, loope, loopne, jrcxz, jecxz */
static void counted_branches(void)
{
    uint64_t rcx = 1000, rax = 0;

    __asm__ volatile("1: inc %1; loop 1b" : "+c"(rcx), "+a"(rax) : : "cc");
    CHECK_EQ(rax, 1000);
    CHECK_EQ(rcx, 0);
    rcx = 100;
    rax = 0;
    __asm__ volatile("1: inc %1; cmp $20, %1; loopne 1b" : "+c"(rcx), "+a"(rax) : : "cc");
    CHECK_EQ(rax, 20);
    CHECK_EQ(rcx, 80);
    __asm__ volatile("xor %%eax, %%eax; xor %%ecx, %%ecx; jrcxz 1f; inc %%eax; 1:" : "=a"(rax) : : "rcx", "cc");
    CHECK_EQ(rax, 0);
    rcx = 1ull << 40;
    __asm__ volatile("xor %%eax, %%eax; jecxz 1f; inc %%eax; 1:" : "=a"(rax) : "c"(rcx) : "cc");
    CHECK_EQ(rax, 0);
    rcx = 5;
    __asm__ volatile("xor %%eax, %%eax; 1: inc %%eax; .byte 0x67; loop 1b" : "=&a"(rax), "+c"(rcx) : : "cc");
    CHECK_EQ(rax, 5);
}

/* ---- code that lies high: return addresses of every magnitude ---- */
static void high_addresses(void)
{
    static const uint64_t bases[] = {0x0000000090000000, 0x00007f1234560000, 0x00007ffffffff000,
                                     0xffff900012345000, 0xffffffff81000000, 0xffffffffa0000000,
                                     0xffffea0000000000};
    uint8_t *code = page_alloc();
    /* call 1f; add $1, %rax; ret; 1: mov (%rsp), %rax; push %rcx; call *2f; pop %rcx; ret; 2: (in rdx) */
    uint8_t *p = EMIT(code, 0xe8, 5, 0, 0, 0, 0x48, 0x83, 0xc0, 1, 0xc3);

    p = EMIT(p, 0x48, 0x8b, 0x04, 0x24, 0x51, 0x48, 0x8d, 0x15, 4, 0, 0, 0, 0xff, 0xd2, 0x59, 0xc3);
    EMIT(p, 0x48, 0xff, 0xc0, 0xc3); /* inc %rax; ret */
    for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
        page_map(bases[i], (uint64_t)code, PTE_P | PTE_W);
        for (unsigned n = 0; n < 50; n++) {
            uint64_t rax = 0;

            __asm__ volatile("call *%1" : "+a"(rax) : "b"(bases[i]) : "rcx", "rdx", "memory", "cc");
            CHECK_EQ(rax, bases[i] + 5 + 2);
        }
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"recursion", recursion},
        {"call-tables", call_tables},
        {"jump-tables", jump_tables},
        {"retpolines", retpolines},
        {"odd-returns", odd_returns},
        {"return-chain", return_chain},
        {"long-jumps", long_jumps},
        {"coroutines", coroutines},
        {"cross-page", cross_page},
        {"conditions", conditions},
        {"counted-branches", counted_branches},
        {"high-addresses", high_addresses},
    };
    paging_init();
    return run_cases("control-flow", cases, ARRAY_SIZE(cases));
}
