/* SPDX-License-Identifier: MIT */
/*
 * Rule: where the frame of a trap is stored (SDM 3A 6.14.2-6.14.5): from CPL 3 at TSS.RSP0, from CPL 0 below the aligned rsp,
 * with IST at that stack from either; SS becomes null on a change of CPL; a fault while delivering a fault is #DF.
 */
#include "tests/payloads/lib/snippet.h"

/* Bytes that the CPU and trap-entry.S have pushed when the C handler runs. */
#define PUSHED ((5 + 1 + 1 + GPR_COUNT) * 8)

static uint16_t ss_in_handler;

static void see(struct trap_frame *f)
{
    __asm__ volatile("mov %%ss, %0" : "=r"(ss_in_handler));
    trap_handler((unsigned)f->vector, NULL);
}

static uint64_t frame_after(const uint8_t *code, size_t len, bool user, uint64_t rsp)
{
    struct cpu_state s;

    snippet_put(0, code, len);
    PUT(len, 0xcd, 0x80);
    snippet_state(&s, user);
    s.gpr[RSP] = rsp;
    cpu_run(&s);
    CHECK_EQ(s.gpr[RSP], rsp);
    return trap_last_sp();
}

static const uint8_t ud2[] = {0x0f, 0x0b};                /* no error code */
static const uint8_t gp[] = {0x8e, 0xd8};                 /* mov %eax, %ds with a bad selector: error code */

static void same_level_aligned(void)
{
    for (uint64_t off = 0; off < 32; off++) {
        uint64_t rsp = SNIPPET_STACK_TOP - 64 - off;

        CHECK_EQ(frame_after(ud2, 2, false, rsp), (rsp & ~15ull) - PUSHED);
        CHECK_EQ(frame_after(gp, 2, false, rsp), (rsp & ~15ull) - PUSHED);
    }
}

static void from_user(void)
{
    for (uint64_t off = 0; off < 16; off += 5) {
        CHECK(trap_on_stack(0, frame_after(ud2, 2, true, SNIPPET_STACK_TOP - off)));
        CHECK(trap_on_stack(0, frame_after(gp, 2, true, NON_CANONICAL + off)));
    }
}

static void with_ist(void)
{
    for (unsigned ist = 1; ist <= 2; ist++) {
        trap_set_ist(VEC_UD, ist);
        CHECK(trap_on_stack(ist, frame_after(ud2, 2, false, SNIPPET_STACK_TOP - 64)));
        CHECK(trap_on_stack(ist, frame_after(ud2, 2, true, SNIPPET_STACK_TOP - 64)));
        CHECK(trap_on_stack(ist, frame_after(ud2, 2, false, 0x1234))); /* rsp is not even looked at */
    }
    trap_set_ist(VEC_UD, 0);
}

static void stack_segment(void)
{
    static const uint8_t int3[] = {0xcc};

    trap_handler(VEC_BP, see);
    frame_after(int3, 1, true, SNIPPET_STACK_TOP - 64);
    CHECK_EQ(ss_in_handler, 0);
    trap_handler(VEC_BP, see);
    frame_after(int3, 1, false, SNIPPET_STACK_TOP - 64);
    CHECK_EQ(ss_in_handler, SEL_KDATA);
}

/* #PF whose frame cannot be stored: #DF, on its own stack, with error code 0. */
static void double_fault(void)
{
    struct cpu_state s;

    trap_set_ist(VEC_DF, 2);
    PUT(0, 0x50); /* push %rax */
    snippet_state(&s, false);
    s.gpr[RSP] = SNIPPET_DATA + 0x8000;
    cpu_run(&s);
    CHECK_EQ(s.vector, VEC_DF);
    CHECK_EQ(s.error, 0);
    CHECK(trap_on_stack(2, trap_last_sp()));
    CHECK_EQ(s.rip, SNIPPET_CODE);
    CHECK_EQ(s.gpr[RSP], SNIPPET_DATA + 0x8000);
    trap_set_ist(VEC_DF, 0);
}

/* Interrupt gates clear IF and TF; the saved image keeps what was. */
static uint64_t flags_in_handler;

static void see_flags(struct trap_frame *f)
{
    flags_in_handler = read_rflags();
    trap_handler((unsigned)f->vector, NULL);
}

static void flags_in_gate(void)
{
    struct cpu_state s;

    PUT(0, 0xcc, 0xcd, 0x80);
    trap_handler(VEC_BP, see_flags);
    snippet_state(&s, true);
    s.rflags |= FLAG_IF | FLAG_DF | FLAG_AC | FLAG_ID;
    uint64_t before = s.rflags;

    cpu_run(&s);
    CHECK_EQ(flags_in_handler & (FLAG_IF | FLAG_TF), 0);
    CHECK_EQ(s.rflags & FLAGS_CHECKED, before);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"same-level-aligned", same_level_aligned}, {"from-user", from_user},
        {"with-ist", with_ist},                     {"stack-segment", stack_segment},
        {"double-fault", double_fault},             {"flags-in-gate", flags_in_gate},
    };
    paging_init();
    trap_init();
    snippet_init();
    return run_cases("trap-stack", cases, ARRAY_SIZE(cases));
}
