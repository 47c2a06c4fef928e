/* SPDX-License-Identifier: MIT */
/*
 * Nanobenchmarks: rdtsc cycles per operation, one line each:
 *
 *     bench <name> <min> <median> <first>
 *
 * over the rounds, of which the first, with everything cold, is counted apart. Each count contains its share of the loop
 * round it. Run native and translated by tests/bench/bench.py; under -icount the cycles are executed instructions.
 */
#include "tests/payloads/lib/payload.h"

#include "tests/payloads/bench-nano/ops.h"
#include "tests/payloads/lib/irq.h"
#include "tests/payloads/lib/smc.h"
#include "tests/payloads/lib/snippet.h"

#define ROUNDS_MAX 100
#define MANY_BLOCKS 50
#define STORES      1000
#define COLD_PAGES  8
#define COPY_SKEW   17 /* pages: source and destination must not fall on one entry of a direct-mapped TLB */

uint8_t *bench_pages, *copy_src, *copy_dst;
uint64_t *fault_pte, fault_value;

struct bench {
    const char *name;
    op_fn *run;
    uint32_t n;   /* run's argument */
    uint32_t ops; /* operations that makes: the result is per operation */
    void (*prepare)(void); /* before every round, not timed; may be NULL */
    void (*done)(void);    /* after the last round; may be NULL */
};

/* ---- gates that point straight at a handler of ops.S ---- */
struct gate {
    uint16_t offset0, selector, type, offset1;
    uint32_t offset2, reserved;
};

static struct gate saved_gate;

static struct gate *gate(unsigned vector)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } idtr;

    __asm__ volatile("sidt %0" : "=m"(idtr));
    return (struct gate *)idtr.base + vector;
}

static void gate_set(unsigned vector, void (*handler)(void))
{
    struct gate *g = gate(vector);
    uint64_t target = (uint64_t)handler;

    g->offset0 = (uint16_t)target;
    g->offset1 = (uint16_t)(target >> 16);
    g->offset2 = (uint32_t)(target >> 32);
}

static void int_prepare(void)
{
    gate_set(0x80, handle_int);
}

/* ---- page faults: the first of bench_pages is not present ---- */
static void fault_prepare(void (*handler)(void))
{
    if (!fault_pte) {
        saved_gate = *gate(VEC_PF);
        fault_pte = page_entry((uint64_t)bench_pages, 1);
        fault_value = *fault_pte;
    }
    gate_set(VEC_PF, handler);
    *fault_pte = 0;
    invlpg((uint64_t)bench_pages);
}

static void fault_skip_prepare(void)
{
    fault_prepare(handle_fault_skip);
}

static void fault_map_prepare(void)
{
    fault_prepare(handle_fault_map);
}

static void fault_done(void)
{
    *gate(VEC_PF) = saved_gate;
    *fault_pte = fault_value;
    invlpg((uint64_t)bench_pages);
}

/* Unmap, access, have it mapped by the handler. */
static void fault_map(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        *(volatile uint64_t *)fault_pte = 0;
        invlpg((uint64_t)bench_pages);
        *(volatile uint8_t *)bench_pages;
    }
}

/* ---- system calls: 1: syscall; dec %ebx; jnz 1b; int3 at CPL 3 ---- */
static void syscalls(uint64_t n)
{
    struct cpu_state s;

    PUT(0, 0x0f, 0x05, 0xff, 0xcb, 0x75, 0xfa, 0xcc);
    snippet_state(&s, true);
    s.gpr[RBX] = n;
    cpu_run(&s);
    if (s.vector != VEC_BP) {
        fatal("the user program ended with vector %lu", s.vector);
    }
}

/* ---- code and stores: pages with 0, 1 and MANY_BLOCKS executed functions of 8 bytes ---- */
static uint8_t *plain_page, *one_block, *many_blocks;

static uint8_t *code_page(uint32_t functions)
{
    uint8_t *page = page_alloc();

    for (uint32_t i = 0; i < functions; i++) {
        uint8_t *p = EMIT(page + i * 8, INSN_MOV_EAX);

        p = emit32(p, i);
        *p = INSN_RET;
    }
    for (uint32_t i = 0; i < functions; i++) {
        CHECK_EQ(call(page + i * 8, 0, 0), i);
    }
    return page;
}

/* Patch the immediate of the first function and call it. */
static void patch_and_call(uint8_t *page, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        *(volatile uint32_t *)(page + 1) = (uint32_t)i;
        if (call(page, 0, 0) != i) {
            fatal("patched function returned an old value");
        }
    }
}

/* ---- stores that hit: `inc %eax` of one of 1, 50 or 200 functions becomes `dec %eax` and back; a block dies each time ---- */
static uint8_t *opcode_page;

/* Functions `mov $i, %eax; inc %eax; ret`, each executed once. The rounds of a bench use the same page. */
static void opcodes_once(uint32_t functions)
{
    if (opcode_page) {
        return;
    }
    opcode_page = page_alloc();
    for (uint32_t i = 0; i < functions; i++) {
        uint8_t *p = emit32(EMIT(opcode_page + i * 8, INSN_MOV_EAX), i);

        *EMIT(p, 0xff, 0xc0) = INSN_RET;
    }
    for (uint32_t i = 0; i < functions; i++) {
        CHECK_EQ(call(opcode_page + i * 8, 0, 0), i + 1);
    }
}

static void opcodes_1(void)
{
    opcodes_once(1);
}

static void opcodes_50(void)
{
    opcodes_once(50);
}

static void opcodes_200(void)
{
    opcodes_once(200);
}

static void opcodes_drop(void)
{
    opcode_page = NULL;
}

static void patch_opcode(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        *(volatile uint8_t *)(opcode_page + 6) = i & 1 ? 0xc0 : 0xc8;
        if (call(opcode_page, 0, 0) != (i & 1 ? 1 : 0xffffffff)) {
            fatal("a patched function did what it did before");
        }
    }
}

/* Store the opcode that is there: patchers that do not look first. */
static void patch_same(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        *(volatile uint8_t *)(opcode_page + 6) = 0xc0;
        if (call(opcode_page, 0, 0) != 1) {
            fatal("a function changed by itself");
        }
    }
}

/* Store to the end of the page, where there is no code. */
static void store_beside(uint8_t *page, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        *(volatile uint64_t *)(page + 4088) = i;
    }
}

static void patch_one(uint64_t n)
{
    patch_and_call(one_block, n);
}

static void patch_many(uint64_t n)
{
    patch_and_call(many_blocks, n);
}

static void store_plain(uint64_t n)
{
    store_beside(plain_page, n);
}

static void store_beside_one(uint64_t n)
{
    store_beside(one_block, n);
}

static void store_beside_many(uint64_t n)
{
    store_beside(many_blocks, n);
}

static void blocks_prepare(void)
{
    plain_page = page_alloc();
    one_block = code_page(1);
    many_blocks = code_page(MANY_BLOCKS);
}

/* The rounds of a bench use the same pages; every bench begins with new ones. */
static void blocks_once(void)
{
    if (!plain_page) {
        blocks_prepare();
    }
}

static void blocks_drop(void)
{
    plain_page = NULL;
}

/* ---- code that runs for the first time: blocks of 15 additions and a jump to the next ---- */
#define COLD_BLOCK 16 /* instructions */
#define COLD_BYTES (15 * 5 + 2)
#define COLD_PER_PAGE ((4096 - 5) / COLD_BYTES)
#define COLD_INSNS (COLD_PAGES * COLD_PER_PAGE * COLD_BLOCK)

static uint8_t *cold_code;

static void cold_prepare(void)
{
    cold_code = pages_alloc(COLD_PAGES);
    for (unsigned page = 0; page < COLD_PAGES; page++) {
        uint8_t *p = cold_code + page * 4096;

        for (unsigned block = 0; block < COLD_PER_PAGE; block++) {
            for (uint32_t i = 0; i < COLD_BLOCK - 1; i++) {
                p = EMIT(p, 0x05); /* add $imm32, %eax */
                p = emit32(p, i);
            }
            p = EMIT(p, 0xeb, 0);
        }
        if (page == COLD_PAGES - 1) {
            *p = INSN_RET;
        } else {
            p = EMIT(p, 0xe9);
            emit32(p, (uint32_t)(cold_code + (page + 1) * 4096 - (p + 4)));
        }
    }
}

static void cold(uint64_t n)
{
    (void)n;
    call(cold_code, 0, 0);
}

static const struct bench benches[] = {
    {"empty-loop", op_empty, 1000, 1000, NULL, NULL},
    {"cli+sti", op_cli_sti, 50, 50 * OP_UNROLL, NULL, NULL},
    {"pushf+popf", op_pushf_popf, 50, 50 * OP_UNROLL, NULL, NULL},
    {"in-0x61", op_in_port, 50, 50 * OP_UNROLL, NULL, NULL},
    {"cpuid", op_cpuid, 50, 50 * OP_UNROLL, NULL, NULL},
    {"rdtsc", op_rdtsc, 50, 50 * OP_UNROLL, NULL, NULL},
    {"call+ret", op_call_ret, 100, 100 * OP_UNROLL, NULL, NULL},
    {"indirect-call", op_indirect_call, 100, 100 * OP_UNROLL, NULL, NULL},
    {"fib-20", op_fib, 5, 5, NULL, NULL},
    {"int-0x80+iret", op_int_iret, 50, 50 * OP_UNROLL, int_prepare, NULL},
    {"syscall+sysret", syscalls, 1000, 1000, NULL, NULL},
    {"page-fault-skip", op_page_fault, 20, 20 * OP_UNROLL, fault_skip_prepare, fault_done},
    {"page-fault-map", fault_map, 200, 200, fault_map_prepare, fault_done},
    {"invlpg+touch", op_invlpg, 50, 50 * OP_UNROLL, NULL, NULL},
    {"cr3+touch-16", op_cr3, 100, 100, NULL, NULL},
    {"alu-1000", op_alu, 100, 100, NULL, NULL},
    {"memcpy-1M-movsb", op_movsb, 1, 1, NULL, NULL},
    {"memcpy-1M-sse", op_sse_copy, 1, 1, NULL, NULL},
    {"store", store_plain, STORES, STORES, blocks_once, blocks_drop},
    {"store-beside-1", store_beside_one, STORES, STORES, blocks_once, blocks_drop},
    {"store-beside-50", store_beside_many, STORES, STORES, blocks_once, blocks_drop},
    {"smc-hit-1", patch_one, 100, 100, blocks_once, blocks_drop},
    {"smc-hit-50", patch_many, 100, 100, blocks_once, blocks_drop},
    {"opcode-hit-1", patch_opcode, 100, 100, opcodes_1, opcodes_drop},
    {"opcode-hit-50", patch_opcode, 100, 100, opcodes_50, opcodes_drop},
    {"opcode-hit-200", patch_opcode, 100, 100, opcodes_200, opcodes_drop},
    {"opcode-same-50", patch_same, 100, 100, opcodes_50, opcodes_drop},
    {"cold-insn", cold, 1, COLD_INSNS, cold_prepare, NULL},
};

static uint64_t time_one(const struct bench *b)
{
    if (b->prepare) {
        b->prepare();
    }
    uint64_t start = rdtsc();

    b->run(b->n);
    return (rdtsc() - start) * 100 / b->ops;
}

static void run_bench(const struct bench *b, unsigned rounds)
{
    uint64_t sorted[ROUNDS_MAX];
    uint64_t first = time_one(b);

    for (unsigned i = 0; i < rounds; i++) {
        uint64_t t = time_one(b);
        unsigned at = i;

        for (; at && sorted[at - 1] > t; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = t;
    }
    if (b->done) {
        b->done();
    }
    printf("bench %s %lu.%02lu %lu.%02lu %lu.%02lu\n", b->name, sorted[0] / 100, sorted[0] % 100,
           sorted[rounds / 2] / 100, sorted[rounds / 2] % 100, first / 100, first % 100);
}

int main(void)
{
    uint64_t rounds = cmdline_number("rounds=", 9);

    if (rounds == 0 || rounds > ROUNDS_MAX) {
        fatal("rounds= must be 1 to %d", ROUNDS_MAX);
    }
    paging_init();
    trap_init();
    snippet_init();
    fpu_enable();
    syscall_enable(handle_syscall, 0);
    bench_pages = pages_alloc(16);
    page_protect(bench_pages, 16 * PAGE_SIZE, PTE_P | PTE_W);
    copy_src = pages_alloc(COPY_BYTES / PAGE_SIZE + COPY_SKEW);
    copy_dst = pages_alloc(COPY_BYTES / PAGE_SIZE);
    for (size_t i = 0; i < ARRAY_SIZE(benches); i++) {
        bool only;
        bool wanted = cmdline_lists("only=", benches[i].name, &only);

        if (wanted || !only) {
            run_bench(&benches[i], (unsigned)rounds);
        }
    }
    return 0;
}
