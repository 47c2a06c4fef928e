/* SPDX-License-Identifier: MIT */
/*
 * Rule: whatever a guest reads, writes, jumps to or puts into its page tables, it harms itself only: it sees #PF (nothing is
 * mapped there for it) or its own mistakes, and the machine still computes afterwards.
 */
#include "tests/payloads/lib/random-code.h"
#include "tests/payloads/lib/snippet.h"

#include "tests/payloads/hostile/hostile.h"

static const uint8_t access_code[3][4] = {
    {0x8a, 0x03, 0xcd, 0x80}, /* mov (%rbx), %al */
    {0x88, 0x03, 0xcd, 0x80}, /* mov %al, (%rbx) */
    {0xff, 0xe3, 0xcd, 0x80}, /* jmp *%rbx */
};

void probe_init(void)
{
    for (unsigned i = 0; i < 3; i++) {
        snippet_put(i * 16, access_code[i], 4);
    }
}

void probe(uint64_t va, bool user, unsigned allowed)
{
    static const uint64_t errors[3] = {0, PF_W, PF_I};

    for (unsigned i = 0; i < 3; i++) {
        struct cpu_state s;

        snippet_state(&s, user);
        s.rip += i * 16;
        s.gpr[RBX] = va;
        cpu_run(&s);
        if (s.vector == 0x80 && (allowed >> i & 1)) {
            continue;
        }
        if (s.vector != VEC_PF) {
            check_eq(user ? "user" : "kernel", (int)i, "vector", s.vector, VEC_PF);
            check_eq(user ? "user" : "kernel", (int)i, "address", va, 0);
            continue;
        }
        CHECK_EQ(s.cr2, va);
        CHECK_EQ(s.error, errors[i] | (user ? PF_U : 0));
        CHECK_EQ(s.rip, i == 2 ? va : SNIPPET_CODE + i * 16);
    }
}

/* The same random code and data before and after: what the guest has done has not changed what instructions do. */
static uint64_t compute(void)
{
    static uint8_t code[64 * RANDOM_INSN_MAX];
    static uint8_t data[RANDOM_DATA_SIZE] __attribute__((aligned(16)));
    struct rng rng = {99};
    uint64_t sum = CHECKSUM_INIT;

    memset(data, 0x3c, sizeof(data));
    for (unsigned round = 0; round < 10; round++) {
        struct random_regs regs;
        uint8_t *p = code;

        for (unsigned i = 0; i < 60; i++) {
            p = random_insn(&rng, p, data);
        }
        *p = 0xc3;
        random_regs_init(&regs, &rng, data);
        random_run(&regs, code);
        regs.rflags &= FLAGS_ARITH;
        sum = checksum_add(sum, &regs, sizeof(regs));
    }
    return sum;
}

/*
 * A REX in front of another prefix is ignored: operand sizes, registers and lengths are those without it. A CPU that heeds it, as
 * QEMU 7.2's TCG does, finds another end of the instruction than the translator, and must not run on in what was emitted behind.
 */
static void ignored_rex(void)
{
    static const struct {
        uint8_t code[10];
        uint8_t len, reg;
        uint64_t expected; /* all ones before */
    } rows[] = {
        {{0x48, 0x3e, 0xbf, 0x78, 0x56, 0x34, 0x12}, 7, RDI, 0x12345678}, /* mov $0x12345678, %edi; not an imm64 */
        {{0x48, 0x49, 0x3e, 0xbf, 0x78, 0x56, 0x34, 0x12}, 8, RDI, 0x12345678},
        {{0x4f, 0x66, 0xb8, 0x34, 0x12}, 5, RAX, 0xffffffffffff1234}, /* mov $0x1234, %ax */
        {{0x48, 0x66, 0x48, 0x2e, 0x66, 0xb8, 0x34, 0x12}, 8, RAX, 0xffffffffffff1234},
        {{0x4c, 0x2e, 0x4d, 0x67, 0x31, 0xc0}, 6, RAX, 0}, /* xor %eax, %eax */
        {{0x4c, 0x36, 0x49, 0x89, 0xc0}, 5, R8, 0xffffffffffffffff}, /* the last REX counts */
        {{0x40, 0x26, 0xb4, 0x55}, 4, RAX, 0xffffffffffff55ff}, /* mov $0x55, %ah; not spl */
    };

    for (unsigned i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
        struct cpu_state s;
        const unsigned row = i / 2, reg = rows[row].reg;

        snippet_put(0, rows[row].code, rows[row].len);
        PUT(rows[row].len, 0xcd, 0x80);
        snippet_state(&s, i & 1);
        s.gpr[RAX] = s.gpr[reg] = ~0ull;
        cpu_run(&s);
        check_eq("row", (int)row, "vector", s.vector, 0x80);
        check_eq("row", (int)row, "rip", s.rip, SNIPPET_CODE + rows[row].len + 2);
        check_eq("row", (int)row, "register", s.gpr[reg], rows[row].expected);
    }
    probe_init();
}

static uint64_t sane_sum;

void sanity(const char *name)
{
    check_eq(name, 0, "computation", compute(), sane_sum);
}

static void sane(void)
{
    sanity("final");
    checksum_print("hostile-final", compute());
}

int main(void)
{
    static const struct test_case rex = {"ignored-rex", ignored_rex}, last = {"sane-afterwards", sane};
    struct test_case cases[32];
    unsigned n = 0;

    paging_init();
    trap_init();
    snippet_init();
    trap_set_ist(VEC_PF, 1);
    probe_init();
    sane_sum = compute();
    for (unsigned i = 0; i < address_case_count; i++) {
        cases[n++] = address_cases[i];
    }
    for (unsigned i = 0; i < table_case_count; i++) {
        cases[n++] = table_cases[i];
    }
    for (unsigned i = 0; i < stale_case_count; i++) {
        cases[n++] = stale_cases[i];
    }
    cases[n++] = rex;
    cases[n++] = last;
    return run_cases("hostile", cases, n);
}
