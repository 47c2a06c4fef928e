/* SPDX-License-Identifier: MIT */
/*
 * Rule: an instruction that faults has no effect: the handler sees its address and the registers and flags from before it;
 * a trap shows the next address. Vectors and error codes are the architecture's (SDM 3A 6.3, 6.13, 6.15). One row an
 * instruction.
 */
#include "tests/payloads/lib/snippet.h"

struct row {
    const char *name;
    uint8_t bytes[12];
    uint8_t len, vector;
    uint16_t error;
    uint64_t rbx; /* 0: leave as it is */
    uint64_t rax;
};

#define B(...) {__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static void run_row(const struct row *row, bool user, unsigned after)
{
    struct cpu_state before, s;

    snippet_put(0, row->bytes, row->len);
    PUT(row->len, 0x0f, 0x0b); /* if it does not trap: ud2, at an address that is wrong */
    snippet_state(&before, user);
    if (row->rbx) {
        before.gpr[RBX] = row->rbx;
    }
    if (row->rax) {
        before.gpr[RAX] = row->rax;
    }
    s = before;
    cpu_run(&s);
    check_eq(row->name, 0, "vector", s.vector, row->vector);
    check_eq(row->name, 0, "error", s.error, row->error);
    check_eq(row->name, 0, "rip", s.rip, SNIPPET_CODE + after);
    check_unchanged(row->name, &before, &s);
}

static void run_rows(const struct row *rows, size_t n, bool user)
{
    for (size_t i = 0; i < n; i++) {
        run_row(&rows[i], user, 0);
    }
}

static const struct row divide_rows[] = {
    {"div ecx by zero", B(0xf7, 0xf1), VEC_DE, 0, 0, 0},
    {"div cl by zero", B(0xf6, 0xf1), VEC_DE, 0, 0, 0},
    {"idiv rcx by zero", B(0x48, 0xf7, 0xf9), VEC_DE, 0, 0, 0},
    {"div rbx overflow", B(0x48, 0xf7, 0xf3), VEC_DE, 0, 3, 0},
    {"idiv ebx overflow", B(0xf7, 0xfb), VEC_DE, 0, 3, 0},
    {"div bl overflow", B(0xf6, 0xf3), VEC_DE, 0, 1, 0xffff},
};

static void divide(void)
{
    run_rows(divide_rows, ARRAY_SIZE(divide_rows), false);
    run_rows(divide_rows, ARRAY_SIZE(divide_rows), true);
}

static const struct row invalid_rows[] = {
    {"ud2", B(0x0f, 0x0b), VEC_UD, 0, 0, 0},
    {"ud1", B(0x0f, 0xb9, 0xc0), VEC_UD, 0, 0, 0},
    {"push es", B(0x06), VEC_UD, 0, 0, 0},
    {"daa", B(0x27), VEC_UD, 0, 0, 0},
    {"aaa", B(0x37), VEC_UD, 0, 0, 0},
    {"pusha", B(0x60), VEC_UD, 0, 0, 0},
    {"popa", B(0x61), VEC_UD, 0, 0, 0},
    {"opcode 82", B(0x82, 0xc0, 1), VEC_UD, 0, 0, 0},
    {"call far imm", B(0x9a, 0, 0, 0, 0, 8, 0), VEC_UD, 0, 0, 0},
    {"into", B(0xce), VEC_UD, 0, 0, 0},
    {"aam", B(0xd4, 10), VEC_UD, 0, 0, 0},
    {"jmp far imm", B(0xea, 0, 0, 0, 0, 8, 0), VEC_UD, 0, 0, 0},
    {"lock nop", B(0xf0, 0x90), VEC_UD, 0, 0, 0},
    {"lock add reg", B(0xf0, 0x01, 0xc3), VEC_UD, 0, 0, 0},
    {"mov cs", B(0x8e, 0xc8), VEC_UD, 0, 0, 0},
    {"lea reg", B(0x8d, 0xc0), VEC_UD, 0, 0, 0},
    {"fe /2", B(0xfe, 0xd0), VEC_UD, 0, 0, 0},
    {"ff /7", B(0xff, 0xf8), VEC_UD, 0, 0, 0},
    {"cmpxchg8b reg", B(0x0f, 0xc7, 0xc9), VEC_UD, 0, 0, 0},
    {"rsm", B(0x0f, 0xaa), VEC_UD, 0, 0, 0},
    {"syscall, SCE=0", B(0x0f, 0x05), VEC_UD, 0, 0, 0},
};

static void invalid_opcode(void)
{
    run_rows(invalid_rows, ARRAY_SIZE(invalid_rows), false);
    run_rows(invalid_rows, ARRAY_SIZE(invalid_rows), true);
}

static const struct row canonical_rows[] = {
    {"read", B(0x48, 0x8b, 0x03), VEC_GP, 0, NON_CANONICAL, 0},
    {"write", B(0x48, 0x89, 0x03), VEC_GP, 0, NON_CANONICAL, 0},
    {"add to memory", B(0x48, 0x01, 0x03), VEC_GP, 0, NON_CANONICAL, 0},
    {"just beyond the lower half", B(0x8a, 0x03), VEC_GP, 0, 0x0000800000000000, 0},
    {"just below the upper half", B(0x8a, 0x03), VEC_GP, 0, 0xffff7fffffffffff, 0},
    {"call through", B(0xff, 0x13), VEC_GP, 0, NON_CANONICAL, 0},
    {"jmp through", B(0xff, 0x23), VEC_GP, 0, NON_CANONICAL, 0},
    {"push from", B(0xff, 0x33), VEC_GP, 0, NON_CANONICAL, 0},
    {"pop to", B(0x8f, 0x03), VEC_GP, 0, NON_CANONICAL, 0},
    {"xlat", B(0xd7), VEC_GP, 0, NON_CANONICAL, 0},
    {"xchg", B(0x48, 0x87, 0x03), VEC_GP, 0, NON_CANONICAL, 0},
};

static void non_canonical(void)
{
    run_rows(canonical_rows, ARRAY_SIZE(canonical_rows), false);
    run_rows(canonical_rows, ARRAY_SIZE(canonical_rows), true);
}

/* rbp as base uses SS: #SS. QEMU's TCG raises #GP. */
static void non_canonical_stack(void)
{
    static const uint8_t code[] = {0x48, 0x8b, 0x45, 0};
    struct cpu_state before, s;

    snippet_put(0, code, sizeof(code));
    snippet_state(&before, false);
    before.gpr[RBP] = NON_CANONICAL;
    s = before;
    cpu_run(&s);
    CHECK_EQ(s.vector, VEC_SS);
    CHECK_EQ(s.error, 0);
    CHECK_EQ(s.rip, SNIPPET_CODE);
    check_unchanged("rbp", &before, &s);
    PUT(0, 0x50); /* push %rax */
    snippet_state(&before, false);
    before.gpr[RSP] = NON_CANONICAL;
    s = before;
    trap_set_ist(VEC_SS, 1);
    trap_set_ist(VEC_GP, 1);
    cpu_run(&s);
    CHECK_EQ(s.vector, VEC_SS);
    CHECK_EQ(s.error, 0);
    CHECK_EQ(s.rip, SNIPPET_CODE);
    check_unchanged("push", &before, &s);
    trap_set_ist(VEC_SS, 0);
    trap_set_ist(VEC_GP, 0);
}

static const struct row privileged_rows[] = {
    {"hlt", B(0xf4), VEC_GP, 0, 0, 0},
    {"cli", B(0xfa), VEC_GP, 0, 0, 0},
    {"sti", B(0xfb), VEC_GP, 0, 0, 0},
    {"in al, dx", B(0xec), VEC_GP, 0, 0, 0},
    {"out imm, al", B(0xe6, 0xf4), VEC_GP, 0, 0, 0},
    {"mov cr0, rax", B(0x0f, 0x22, 0xc0), VEC_GP, 0, 0, 0},
    {"mov rax, cr0", B(0x0f, 0x20, 0xc0), VEC_GP, 0, 0, 0},
    {"mov rax, cr3", B(0x0f, 0x20, 0xd8), VEC_GP, 0, 0, 0},
    {"mov cr3, rax", B(0x0f, 0x22, 0xd8), VEC_GP, 0, 0, 0},
    {"mov rax, dr7", B(0x0f, 0x21, 0xf8), VEC_GP, 0, 0, 0},
    {"rdmsr", B(0x0f, 0x32), VEC_GP, 0, 0, 0},
    {"wrmsr", B(0x0f, 0x30), VEC_GP, 0, 0, 0},
    {"lgdt", B(0x0f, 0x01, 0x14, 0x24), VEC_GP, 0, 0, 0},
    {"lidt", B(0x0f, 0x01, 0x1c, 0x24), VEC_GP, 0, 0, 0},
    {"lldt", B(0x0f, 0x00, 0xd0), VEC_GP, 0, 0, 0},
    {"ltr", B(0x0f, 0x00, 0xd8), VEC_GP, 0, 0, 0},
    {"lmsw", B(0x0f, 0x01, 0xf0), VEC_GP, 0, 0, 0},
    {"clts", B(0x0f, 0x06), VEC_GP, 0, 0, 0},
    {"invlpg", B(0x0f, 0x01, 0x3b), VEC_GP, 0, 0, 0},
    {"wbinvd", B(0x0f, 0x09), VEC_GP, 0, 0, 0},
    {"invd", B(0x0f, 0x08), VEC_GP, 0, 0, 0},
    {"swapgs", B(0x0f, 0x01, 0xf8), VEC_GP, 0, 0, 0},
    {"mov ss, null", B(0x8e, 0xd1), VEC_GP, 0, 0, 0},
};

static void privileged(void)
{
    run_rows(privileged_rows, ARRAY_SIZE(privileged_rows), true);
}

static const struct row system_rows[] = {
    {"ds beyond the table", B(0x8e, 0xd8), VEC_GP, 0x1000, 0, 0x1003},
    {"es = task state segment", B(0x8e, 0xc0), VEC_GP, SEL_TSS, 0, SEL_TSS},
    {"ss = code", B(0x8e, 0xd0), VEC_GP, SEL_KCODE, 0, SEL_KCODE},
    {"ss = user data", B(0x8e, 0xd0), VEC_GP, SEL_UDATA & ~3, 0, SEL_UDATA},
    {"ltr code", B(0x0f, 0x00, 0xd8), VEC_GP, SEL_KCODE, 0, SEL_KCODE},
    {"lldt code", B(0x0f, 0x00, 0xd0), VEC_GP, SEL_KCODE, 0, SEL_KCODE},
};

static void system_state(void)
{
    run_rows(system_rows, ARRAY_SIZE(system_rows), false);
}

/* The rules of the next three cases are the architecture's, but QEMU 7.2's TCG does not keep them. */
static void invalid_opcode_strict(void)
{
    static const struct row rows[] = {
        {"lock mov", B(0xf0, 0x89, 0x03), VEC_UD, 0, SNIPPET_STACK, 0},
        {"c6 /1", B(0xc6, 0xc8, 0), VEC_UD, 0, 0, 0},
    };

    run_rows(rows, ARRAY_SIZE(rows), false);
    run_rows(rows, ARRAY_SIZE(rows), true);
}

/* Instructions of features that the CPU may have, but that nobody has switched on: #UD at every level, and no more than that. */
static void hidden_features(void)
{
    static const struct row rows[] = {
        {"vmread", B(0x0f, 0x78, 0xc0), VEC_UD, 0, 0, 0},
        {"vmptrld", B(0x0f, 0xc7, 0x33), VEC_UD, 0, SNIPPET_STACK, 0},
        {"vmlaunch", B(0x0f, 0x01, 0xc2), VEC_UD, 0, 0, 0},
        {"vmfunc", B(0x0f, 0x01, 0xd4), VEC_UD, 0, 0, 0},
        {"vmrun", B(0x0f, 0x01, 0xd8), VEC_UD, 0, 0, 0},
        {"vmload", B(0x0f, 0x01, 0xda), VEC_UD, 0, 0, 0},
        {"clgi", B(0x0f, 0x01, 0xdd), VEC_UD, 0, 0, 0},
        {"enclu", B(0x0f, 0x01, 0xd7), VEC_UD, 0, 0, 0},
        {"encls", B(0x0f, 0x01, 0xcf), VEC_UD, 0, 0, 0},
        {"monitorx", B(0x0f, 0x01, 0xfa), VEC_UD, 0, 0, 0},
        {"mwaitx", B(0x0f, 0x01, 0xfb), VEC_UD, 0, 0, 0},
        {"getsec", B(0x0f, 0x37), VEC_UD, 0, 0, 0},
        {"rstorssp", B(0xf3, 0x0f, 0x01, 0x2b), VEC_UD, 0, SNIPPET_STACK, 0},
        {"invept", B(0x66, 0x0f, 0x38, 0x80, 0x03), VEC_UD, 0, SNIPPET_STACK, 0},
        {"ldtilecfg", B(0xc4, 0xe2, 0x78, 0x49, 0x03), VEC_UD, 0, SNIPPET_STACK, 0},
        {"senduipi", B(0xf3, 0x0f, 0xc7, 0xf0), VEC_UD, 0, 0, 0},
    };

    run_rows(rows, ARRAY_SIZE(rows), false);
    run_rows(rows, ARRAY_SIZE(rows), true);
}

static void gate_privilege(void)
{
    static const struct row rows[] = {
        {"int 0x21, DPL 0", B(0xcd, 0x21), VEC_GP, 0x21 * 8 + 2, 0, 0},
        {"int 14, DPL 0", B(0xcd, 14), VEC_GP, 14 * 8 + 2, 0, 0},
    };

    run_rows(rows, ARRAY_SIZE(rows), true);
}

static void system_state_strict(void)
{
    static const struct row rows[] = {
        {"ltr null", B(0x0f, 0x00, 0xd9), VEC_GP, 0, 0, 0},
        {"cr0.pg without pe", B(0x0f, 0x22, 0xc0), VEC_GP, 0, 0, 0x80000000},
        {"cr4 without pae", B(0x0f, 0x22, 0xe1), VEC_GP, 0, 0, 0},
    };

    run_rows(rows, ARRAY_SIZE(rows), false);
}

/* Traps: the saved address is the next instruction's. */
static void software_interrupts(void)
{
    static const struct row rows[] = {
        {"int3", B(0xcc), VEC_BP, 0, 0, 0},
        {"int 3", B(0xcd, 3), VEC_BP, 0, 0, 0},
        {"int 0x80", B(0xcd, 0x80), 0x80, 0, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        run_row(&rows[i], false, rows[i].len);
        run_row(&rows[i], true, rows[i].len);
    }
}

/* A fault in the middle of a block: effects of earlier instructions are there, none of later ones. */
static void middle_of_block(void)
{
    for (unsigned n = 0; n < 40; n++) {
        struct cpu_state before, s;
        uint8_t code[256], *p = code;

        for (unsigned i = 0; i < 40; i++) {
            p = i == n ? EMIT(p, 0xf7, 0xf1) : EMIT(p, 0xff, 0xc3); /* div %ecx / inc %ebx */
        }
        p = EMIT(p, 0xcd, 0x80);
        snippet_put(0, code, (size_t)(p - code));
        snippet_state(&before, n & 1);
        before.gpr[RBX] = 0;
        s = before;
        cpu_run(&s);
        CHECK_EQ(s.vector, VEC_DE);
        CHECK_EQ(s.rip, SNIPPET_CODE + 2 * n);
        CHECK_EQ(s.gpr[RBX], n);
    }
}

/* The handler returns to the faulting instruction, after repairing what made it fault. */
static void repair(struct trap_frame *f)
{
    f->gpr[RCX] = 7;
}

static void retried(void)
{
    struct cpu_state s;

    PUT(0, 0xf7, 0xf1, 0xcd, 0x80);
    trap_handler(VEC_DE, repair);
    for (unsigned i = 0; i < 20; i++) {
        snippet_state(&s, i & 1);
        s.gpr[RAX] = 1000 + i;
        s.gpr[RDX] = 0;
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(s.gpr[RAX], (1000 + i) / 7);
        CHECK_EQ(s.gpr[RDX], (1000 + i) % 7);
    }
    trap_handler(VEC_DE, NULL);
}

static void device_not_available(void)
{
    static const struct row rows[] = {
        {"fld1", B(0xd9, 0xe8), VEC_NM, 0, 0, 0},
        {"movaps", B(0x0f, 0x28, 0xc1), VEC_NM, 0, 0, 0},
    };

    write_cr0(read_cr0() | CR0_TS);
    run_rows(rows, ARRAY_SIZE(rows), false);
    run_rows(rows, ARRAY_SIZE(rows), true);
    write_cr0(read_cr0() & ~CR0_TS);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"divide", divide},
        {"invalid-opcode", invalid_opcode},
        {"non-canonical", non_canonical},
        {"non-canonical-stack", non_canonical_stack},
        {"privileged", privileged},
        {"system-state", system_state},
        {"invalid-opcode-strict", invalid_opcode_strict},
        {"hidden-features", hidden_features},
        {"gate-privilege", gate_privilege},
        {"system-state-strict", system_state_strict},
        {"software-interrupts", software_interrupts},
        {"middle-of-block", middle_of_block},
        {"retried", retried},
        {"device-not-available", device_not_available},
    };
    paging_init();
    trap_init();
    fpu_enable();
    snippet_init();
    return run_cases("exceptions", cases, ARRAY_SIZE(cases));
}
