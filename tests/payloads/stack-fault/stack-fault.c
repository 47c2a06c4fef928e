/* SPDX-License-Identifier: MIT */
/*
 * Rule: an instruction that uses the stack and faults leaves rsp (and every other register) as it was, whichever of its
 * accesses faulted. #PF is taken on an IST stack, since the stack itself is what is bad.
 */
#include "tests/payloads/lib/snippet.h"

#define STACK_LOW SNIPPET_STACK /* below it nothing is mapped */
#define GOOD (SNIPPET_STACK + 0x800)

struct row {
    const char *name;
    uint8_t bytes[8], len;
    uint64_t rsp, rbx, rbp; /* 0: as snippet_state made it */
    bool write;
    uint64_t cr2;
};
#define B(...) {__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define BAD SNIPPET_DATA
#define TOP SNIPPET_STACK_TOP

static const struct row rows[] = {
    {"push rax", B(0x50), STACK_LOW, 0, 0, true, STACK_LOW - 8},
    {"push imm", B(0x6a, 1), STACK_LOW, 0, 0, true, STACK_LOW - 8},
    {"push ax", B(0x66, 0x50), STACK_LOW, 0, 0, true, STACK_LOW - 2},
    {"pushf", B(0x9c), STACK_LOW, 0, 0, true, STACK_LOW - 8},
    {"push rsp", B(0x54), STACK_LOW, 0, 0, true, STACK_LOW - 8},
    {"push fs", B(0x0f, 0xa0), STACK_LOW, 0, 0, true, STACK_LOW - 8},
    {"push from bad", B(0xff, 0x33), GOOD, BAD, 0, false, BAD},
    {"push to bad", B(0xff, 0x33), STACK_LOW, GOOD, 0, true, STACK_LOW - 8},
    {"call rel", B(0xe8, 0, 0, 0, 0), STACK_LOW, 0, 0, true, STACK_LOW - 8},
    {"call reg", B(0xff, 0xd3), STACK_LOW, SNIPPET_CODE + 64, 0, true, STACK_LOW - 8},
    {"call mem, bad stack", B(0xff, 0x13), STACK_LOW, GOOD, 0, true, STACK_LOW - 8},
    {"call mem, bad mem", B(0xff, 0x13), GOOD, BAD, 0, false, BAD},
    {"jmp bad mem", B(0xff, 0x23), GOOD, BAD, 0, false, BAD},
    {"enter", B(0xc8, 16, 0, 0), STACK_LOW, 0, 0, true, STACK_LOW - 8},
    {"pop rax", B(0x58), TOP, 0, 0, false, TOP},
    {"pop rsp", B(0x5c), TOP, 0, 0, false, TOP},
    {"popf", B(0x9d), TOP, 0, 0, false, TOP},
    {"ret", B(0xc3), TOP, 0, 0, false, TOP},
    {"ret imm", B(0xc2, 8, 0), TOP, 0, 0, false, TOP},
    {"leave", B(0xc9), GOOD, 0, BAD, false, BAD},
    {"pop to bad mem", B(0x8f, 0x03), GOOD, BAD, 0, true, BAD},
    {"pop from bad stack", B(0x8f, 0x03), TOP, GOOD, 0, false, TOP},
    {"xchg", B(0x48, 0x87, 0x03), GOOD, BAD, 0, true, BAD},
    {"xadd", B(0x48, 0x0f, 0xc1, 0x03), GOOD, BAD, 0, true, BAD},
    {"cmpxchg", B(0x48, 0x0f, 0xb1, 0x0b), GOOD, BAD, 0, true, BAD},
    {"add mem", B(0x48, 0x01, 0x03), GOOD, BAD, 0, true, BAD},
    {"add from mem", B(0x48, 0x03, 0x03), GOOD, BAD, 0, false, BAD},
    {"adc mem", B(0x48, 0x11, 0x03), GOOD, BAD, 0, true, BAD},
    {"shl mem", B(0x48, 0xd1, 0x23), GOOD, BAD, 0, true, BAD},
    {"setcc", B(0x0f, 0x92, 0x03), GOOD, BAD, 0, true, BAD},
    {"movsq", B(0x48, 0xa5), GOOD, 0, 0, false, 0},
    {"mov rbx, [rbx]", B(0x48, 0x8b, 0x1b), GOOD, BAD, 0, false, BAD},
    {"mul mem", B(0x48, 0xf7, 0x23), GOOD, BAD, 0, false, BAD},
    {"div mem", B(0x48, 0xf7, 0x33), GOOD, BAD, 0, false, BAD},
    {"bts mem", B(0x48, 0x0f, 0xab, 0x0b), GOOD, BAD, 0, true, BAD},
    {"cmov mem", B(0x48, 0x0f, 0x42, 0x03), GOOD, BAD, 0, false, BAD},
    {"movzx mem", B(0x0f, 0xb6, 0x03), GOOD, BAD, 0, false, BAD},
};

/* QEMU raises the fault of a read-modify-write by its read: the error code's W bit tells nothing there. */
static uint64_t error_mask(const struct row *row)
{
    return row->cr2 == BAD && row->write ? ~(uint64_t)PF_W : ~0ull;
}

static void run_rows(bool user)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];
        struct cpu_state before, s;

        snippet_put(0, row->bytes, row->len);
        PUT(row->len, 0xcd, 0x80);
        snippet_state(&before, user);
        before.gpr[RSP] = row->rsp;
        before.gpr[RBX] = row->rbx ? row->rbx : before.gpr[RBX];
        before.gpr[RBP] = row->rbp ? row->rbp : before.gpr[RBP];
        before.gpr[RSI] = SNIPPET_DATA + 0x5000;
        before.gpr[RDI] = SNIPPET_DATA + 0x6000;
        s = before;
        cpu_run(&s);
        check_eq(row->name, 0, "vector", s.vector, VEC_PF);
        check_eq(row->name, 0, "cr2", s.cr2, row->cr2 ? row->cr2 : before.gpr[RSI]);
        check_eq(row->name, 0, "error", s.error & error_mask(row),
                 ((row->write ? PF_W : 0) | (user ? PF_U : 0)) & error_mask(row));
        check_eq(row->name, 0, "rip", s.rip, SNIPPET_CODE);
        check_unchanged(row->name, &before, &s);
    }
}

static void kernel_mode(void)
{
    run_rows(false);
}

static void user_mode(void)
{
    run_rows(true);
}

/* The handler maps the stack and the instruction runs again: exactly one push, exactly one call. */
static void grow(struct trap_frame *f)
{
    page_map(read_cr2() & PAGE_MASK, (uint64_t)page_alloc(), PTE_P | PTE_W | PTE_U);
}

static void stack_grows(void)
{
    trap_handler(VEC_PF, grow);
    for (unsigned i = 0; i < 10; i++) {
        struct cpu_state s;
        uint64_t top = SNIPPET_DATA + 0x400000 + i * 0x10000ull;

        PUT(0, 0x50, 0xe8, 0, 0, 0, 0, 0xcd, 0x80); /* push %rax; call next; int $0x80 */
        snippet_state(&s, i & 1);
        s.gpr[RSP] = top;
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(s.gpr[RSP], top - 16);
        CHECK_EQ(*(uint64_t *)(top - 8), s.gpr[RAX]);
        CHECK_EQ(*(uint64_t *)(top - 16), SNIPPET_CODE + 6);
    }
    trap_handler(VEC_PF, NULL);
}

/* A push that straddles a page boundary stores nothing when one of the pages is missing. */
static void push_straddles(void)
{
    for (uint64_t off = 1; off < 8; off++) {
        struct cpu_state before, s;

        PUT(0, 0x50, 0xcd, 0x80);
        snippet_state(&before, off & 1);
        before.gpr[RSP] = STACK_LOW + off;
        memset((void *)STACK_LOW, 0x5a, 8);
        s = before;
        cpu_run(&s);
        CHECK_EQ(s.vector, VEC_PF);
        CHECK_EQ(s.cr2, STACK_LOW + off - 8);
        for (unsigned i = 0; i < 8; i++) {
            CHECK_EQ(((uint8_t *)STACK_LOW)[i], 0x5a);
        }
        check_unchanged("push", &before, &s);
    }
}

/* iretq that cannot read its frame. */
static void iretq_bad_stack(void)
{
    struct cpu_state before, s;

    PUT(0, 0x48, 0xcf);
    snippet_state(&before, false);
    before.gpr[RSP] = TOP - 16; /* two of the five words are there */
    s = before;
    cpu_run(&s);
    CHECK_EQ(s.vector, VEC_PF);
    CHECK_EQ(s.cr2, TOP);
    CHECK_EQ(s.rip, SNIPPET_CODE);
    check_unchanged("iretq", &before, &s);
}

/* The frame of an interrupt meets the missing page: nothing has happened, and CR2 is that of the first push into it. */
static void frame_bad_stack(void)
{
    PUT(0, 0xcd, 0x80);
    for (uint64_t above = 0; above <= 32; above += 16) { /* bytes of the frame that find their page */
        struct cpu_state before, s;

        snippet_state(&before, false);
        before.gpr[RSP] = STACK_LOW + above;
        s = before;
        cpu_run(&s);
        CHECK_EQ(s.vector, VEC_PF);
        CHECK_EQ(s.error, PF_W);
        CHECK_EQ(s.cr2, STACK_LOW - 8);
        CHECK_EQ(s.rip, SNIPPET_CODE);
        check_unchanged("int", &before, &s);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"kernel-mode", kernel_mode},       {"user-mode", user_mode},
        {"stack-grows", stack_grows},       {"push-straddles", push_straddles},
        {"iretq-bad-stack", iretq_bad_stack}, {"frame-bad-stack", frame_bad_stack},
    };
    paging_init();
    trap_init();
    trap_set_ist(VEC_PF, 1);
    snippet_init();
    *(uint64_t *)GOOD = SNIPPET_CODE;
    return run_cases("stack-fault", cases, ARRAY_SIZE(cases));
}
