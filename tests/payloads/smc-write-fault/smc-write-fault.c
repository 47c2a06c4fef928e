/* SPDX-License-Identifier: MIT */
/*
 * Rule: a store to a code page that the guest itself must not make is the guest's #PF, with its error code and nothing
 * stored, whatever protection the monitor put on the page; allowed stores are seen (SMC cases 28, 29, 18, 20).
 */
#include "tests/payloads/lib/smc.h"
#include "tests/payloads/lib/snippet.h"

#define VA 0x0000612000000000ull

static bool have_avx; /* set by main */
static uint8_t *code; /* `mov $0x11, %eax; int $0x80` at its start, mapped at VA */

static void put_target(void)
{
    smc_stores(1);
    EMIT(code, INSN_MOV_EAX, 0x11, 0, 0, 0, 0xcd, 0x80);
}

static uint64_t run_target(bool user)
{
    struct cpu_state s;

    snippet_state(&s, user);
    s.rip = VA;
    cpu_run(&s);
    CHECK_EQ(s.vector, 0x80);
    return s.gpr[RAX];
}

/* movb $v, VA+1 by code at the snippet page: expect the fault, or success. */
static void store(uint8_t v, bool user, uint64_t expected_vector, uint64_t error)
{
    struct cpu_state before, s;

    smc_stores(2);
    PUT(0, 0xc6, 0x43, 0x01, v, 0xcd, 0x80);
    snippet_state(&before, user);
    before.gpr[RBX] = VA;
    s = before;
    cpu_run(&s);
    CHECK_EQ(s.vector, expected_vector);
    if (expected_vector == VEC_PF) {
        CHECK_EQ(s.error, error);
        CHECK_EQ(s.cr2, VA + 1);
        CHECK_EQ(s.rip, SNIPPET_CODE);
        check_unchanged("store", &before, &s);
    }
}

static void read_only(void)
{
    for (unsigned n = 0; n < 50; n++) {
        put_target();
        page_map(VA, (uint64_t)code, PTE_P | PTE_U);
        CHECK_EQ(run_target(n & 1), 0x11);
        store(0x22, false, VEC_PF, PF_P | PF_W);
        store(0x22, true, VEC_PF, PF_P | PF_W | PF_U);
        CHECK_EQ(run_target(n & 1), 0x11);
        page_map(VA, (uint64_t)code, PTE_P | PTE_W | PTE_U);
        store(0x33, n & 1, 0x80, 0);
        CHECK_EQ(run_target(n & 1), 0x33);
        CHECK_EQ(run_target(!(n & 1)), 0x33);
    }
}

/* CR0.WP = 0: CPL 0 may write, and the new code runs; CPL 3 still may not. */
static void write_protect_off(void)
{
    for (unsigned n = 0; n < 50; n++) {
        put_target();
        page_map(VA, (uint64_t)code, PTE_P | PTE_U);
        CHECK_EQ(run_target(false), 0x11);
        write_cr0(read_cr0() & ~CR0_WP);
        store(0x44, true, VEC_PF, PF_P | PF_W | PF_U);
        CHECK_EQ(run_target(false), 0x11);
        store(0x44, false, 0x80, 0);
        CHECK_EQ(run_target(false), 0x44);
        write_cr0(read_cr0() | CR0_WP);
        store(0x55, false, VEC_PF, PF_P | PF_W);
        CHECK_EQ(run_target(true), 0x44);
    }
}

/* Supervisor code page: CPL 3 may neither write nor run it. */
static void supervisor(void)
{
    for (unsigned n = 0; n < 50; n++) {
        put_target();
        page_map(VA, (uint64_t)code, PTE_P | PTE_W);
        CHECK_EQ(run_target(false), 0x11);
        store(0x22, true, VEC_PF, PF_P | PF_W | PF_U);
        CHECK_EQ(run_target(false), 0x11);
        store(0x22, false, 0x80, 0);
        CHECK_EQ(run_target(false), 0x22);
    }
}

/* A store whose first part hits code and whose second part faults stores nothing; after repair it is done once. */
static void faults_on_second_page(void)
{
    uint8_t *page = page_alloc(), *next = page_alloc();

    for (unsigned n = 0; n < 50; n++) {
        struct cpu_state before, s;

        smc_stores(5);
        EMIT(page + 4089, INSN_MOV_EAX, 0x11, 0, 0, 0, 0xcd, 0x80);
        memset(next, 0x90, 8);
        page_map(VA, (uint64_t)page, PTE_P | PTE_W | PTE_U);
        page_map(VA + 4096, 0, 0);
        PUT(0, 0x48, 0x01, 0x03, 0xff, 0xe2); /* add %rax, (%rbx); jmp *%rdx */
        snippet_state(&before, n & 1);
        before.gpr[RBX] = VA + 4090; /* the immediate, int $0x80, and two bytes of the next page */
        before.gpr[RDX] = VA + 4089;
        before.gpr[RAX] = 0x22;
        s = before;
        s.rip = VA + 4089; /* once, so that there is code */
        cpu_run(&s);
        CHECK_EQ(s.gpr[RAX], 0x11);
        s = before;
        cpu_run(&s);
        CHECK_EQ(s.vector, VEC_PF);
        CHECK_EQ(s.cr2, VA + 4096);
        check_unchanged("add", &before, &s);
        CHECK_EQ(page[4090], 0x11);
        page_map(VA + 4096, (uint64_t)next, PTE_P | PTE_W | PTE_U);
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(s.gpr[RAX], 0x33);
        CHECK_EQ(page[4090], 0x33);
    }
}

/* `mov $v, %eax; int $0x80; nop` */
static uint64_t target_bytes(uint8_t v)
{
    return 0x9080cd0000000000ull | (uint64_t)v << 8 | INSN_MOV_EAX;
}

static uint64_t run_at(uint64_t rip)
{
    struct cpu_state s;

    snippet_state(&s, false);
    s.rip = rip;
    cpu_run(&s);
    CHECK_EQ(s.vector, 0x80);
    return s.gpr[RAX];
}

/* vmaskmovps of two elements on VA's page and two on the next one's, code on both: bit 0 of `halves` enables the first two. */
static void masked_store(uint8_t v, unsigned halves, struct cpu_state *before, struct cpu_state *s)
{
    uint64_t low = target_bytes(v), high = target_bytes((uint8_t)(v + 1));
    uint64_t mask[2] = {halves & 1 ? ~0ull : 0, halves & 2 ? ~0ull : 0};

    smc_stores(4);
    PUT(0, 0xc4, 0xe2, 0x71, 0x2e, 0x03, 0xcd, 0x80); /* vmaskmovps %xmm0, %xmm1, (%rbx); int $0x80 */
    before->gpr[RBX] = VA + 4096 - 8;
    *s = *before;
    __asm__ volatile("movq %0, %%xmm0; pinsrq $1, %1, %%xmm0; movdqu %2, %%xmm1" : : "r"(low), "r"(high), "m"(mask));
    cpu_run(s);
}

/* Elements that are masked off neither store nor fault, whatever their page is; enabled ones do both (SMC case 20). */
static void masked_off(void)
{
    static const uint64_t rights[] = {0, PTE_P | PTE_U, PTE_P | PTE_W | PTE_U};
    uint8_t *page = page_alloc(), *next = page_alloc();

    if (!have_avx) {
        printf("  this CPU has no AVX\n");
    }
    for (unsigned n = 0; have_avx && n < 3 * 4 * 2 * 3; n++) {
        uint64_t right = rights[n % 3], first = target_bytes(0x11), second = target_bytes(0x12);
        unsigned halves = n / 3 % 4;
        bool user = n / 12 % 2, faults = halves & 2 && !(right & PTE_W);
        struct cpu_state before, s;

        smc_stores(2);
        memcpy(page + 4088, &first, 8);
        memcpy(next, &second, 8);
        page_map(VA, (uint64_t)page, PTE_P | PTE_W | PTE_U);
        page_map(VA + 4096, (uint64_t)next, right);
        CHECK_EQ(run_at(VA + 4088), 0x11);
        CHECK_EQ(run_at((uint64_t)next), 0x12);
        snippet_state(&before, user);
        masked_store(0x22, halves, &before, &s);
        CHECK_EQ(s.vector, faults ? VEC_PF : 0x80);
        if (faults) {
            CHECK_EQ(s.cr2, VA + 4096);
            CHECK_EQ(s.error, PF_W | (user ? PF_U : 0) | (right ? PF_P : 0));
            check_unchanged("vmaskmovps", &before, &s);
        }
        /* natively the first elements may be stored before another's fault (SDM, VMASKMOV) */
        CHECK(faults || run_at(VA + 4088) == (halves & 1 ? 0x22 : 0x11));
        CHECK_EQ(run_at((uint64_t)next), halves & 2 && !faults ? 0x23 : 0x12);
    }
}

/* A handler that allows the store and returns: it happens once. */
static void allow(struct trap_frame *f)
{
    page_map(VA, (uint64_t)code, PTE_P | PTE_W | PTE_U);
}

static void allowed_by_handler(void)
{
    trap_handler(VEC_PF, allow);
    for (unsigned n = 0; n < 50; n++) {
        struct cpu_state s;

        put_target();
        page_map(VA, (uint64_t)code, PTE_P | PTE_U);
        CHECK_EQ(run_target(true), 0x11);
        smc_stores(2);
        PUT(0, 0xf0, 0xfe, 0x43, 0x01, 0xcd, 0x80); /* lock incb 1(%rbx) */
        snippet_state(&s, n & 1);
        s.gpr[RBX] = VA;
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(run_target(true), 0x12);
    }
    trap_handler(VEC_PF, NULL);
}

/* The stack page holds code: exception frames and pushes are stores to it. */
static void stack_on_code(void)
{
    for (uint32_t n = 0; n < 50; n++) {
        struct cpu_state s;
        uint8_t *page = (uint8_t *)SNIPPET_STACK;

        smc_stores(4 + 40); /* the trap's entry saves all registers on this page */
        EMIT(page + 64, INSN_MOV_EAX);
        emit32(page + 65, n);
        EMIT(page + 69, 0x50, 0x59, 0xcd, 0x80); /* push %rax; pop %rcx; int $0x80 */
        snippet_state(&s, n & 1);
        s.rip = SNIPPET_STACK + 64;
        s.gpr[RSP] = SNIPPET_STACK + 2048;
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(s.gpr[RCX], n);
    }
}

/* An exception frame of the CPU overwrites code: what is there afterwards is executed. */
static void frame_over_code(void)
{
    for (uint32_t n = 0; n < 20; n++) {
        struct cpu_state s;
        uint8_t *page = (uint8_t *)SNIPPET_STACK;

        smc_stores(4 + 3 * 40); /* three traps, as above */
        EMIT(page + 1024, INSN_MOV_EAX, 0x11, 0, 0, 0, 0xcd, 0x80);
        snippet_state(&s, false);
        s.rip = SNIPPET_STACK + 1024;
        s.gpr[RSP] = SNIPPET_STACK + 2048;
        cpu_run(&s);
        CHECK_EQ(s.gpr[RAX], 0x11);
        PUT(0, 0x90, 0xcd, 0x80);
        snippet_state(&s, false);
        s.gpr[RSP] = SNIPPET_STACK + 1024 + 16; /* ss and rsp of the frame land on the code */
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
        uint64_t word;

        memcpy(&word, page + 1024, 8);
        CHECK_EQ(word, SNIPPET_STACK + 1024 + 16); /* the saved rsp: 10 04 10 00 00 60 00 00 */
        EMIT(page + 1024, INSN_MOV_EAX, 0x12, 0, 0, 0, 0xcd, 0x80);
        snippet_state(&s, false);
        s.rip = SNIPPET_STACK + 1024;
        s.gpr[RSP] = SNIPPET_STACK + 2048;
        cpu_run(&s);
        CHECK_EQ(s.gpr[RAX], 0x12);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"read-only", read_only},
        {"write-protect-off", write_protect_off},
        {"supervisor", supervisor},
        {"faults-on-second-page", faults_on_second_page},
        {"masked-off", masked_off},
        {"allowed-by-handler", allowed_by_handler},
        {"stack-on-code", stack_on_code},
        {"frame-over-code", frame_over_code},
    };
    paging_init();
    trap_init();
    snippet_init();
    have_avx = fpu_enable();
    code = page_alloc();
    return run_smc_cases("smc-write-fault", cases, ARRAY_SIZE(cases));
}
