/* SPDX-License-Identifier: MIT */
/*
 * How programs change code, one line for each:
 *
 *     pattern <name> <least> <first>
 *
 * rdtsc cycles per operation (patch, function, byte: see the list at the end), the least of the rounds and the first of them. Under
 * -icount the cycles are executed instructions. And the parts that a hit is measured in: `fault`, a page fault that the guest does not see;
 * `translate`, a first call of a function like the patched ones, from a page that has code. Every result is checked.
 */
#include "tests/payloads/bench-smc/patterns.h"

#include "tests/payloads/lib/smc.h"

#define PATCHES   200u
#define STORES    200000u
#define FUNCTIONS 200u
#define SLOT      8u /* bytes for each function */

/* mov $i, %eax; inc %eax; ret */
static void put_function(uint8_t *p, uint32_t i)
{
    p = emit32(EMIT(p, INSN_MOV_EAX), i);
    *EMIT(p, 0xff, 0xc0) = INSN_RET;
}

static uint8_t *put_functions(uint32_t n)
{
    uint8_t *page = page_alloc();

    for (uint32_t i = 0; i < n; i++) {
        put_function(page + i * SLOT, i);
    }
    return page;
}

static void call_functions(uint8_t *page, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < n; i++) {
        if (call(page + i * SLOT, 0, 0) != i + 1) {
            fatal("function %u returned something else", i);
        }
    }
}

/* ---- parts ---- */

static uint8_t *functions; /* what the present pattern works on; NULL before its first round */

#define TOUCHED 128u

/* Addresses at which a page has been mapped and not yet been touched. */
static void untouched(void)
{
    static uint64_t next = 1ull << 40;
    static uint8_t *page;

    page = page ? page : page_alloc();
    for (uint32_t i = 0; i < TOUCHED; i++) {
        page_map(next + i * PAGE_SIZE, (uint64_t)page, PTE_P | PTE_W);
    }
    functions = (uint8_t *)next;
    next += TOUCHED * PAGE_SIZE;
}

static void touch(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        *(volatile uint8_t *)(functions + i * PAGE_SIZE);
    }
}

/* A new page, of which only function 0 has been executed: the page is known to have code. */
static void untranslated(void)
{
    functions = put_functions(FUNCTIONS);
    call_functions(functions, 0, 1);
}

static void translate(uint64_t n)
{
    call_functions(functions, 1, (uint32_t)n + 1);
}

/* Calls of functions that are translated and known where indirect calls look: what calling costs in `translate`. */
static void executed(void)
{
    functions = put_functions(FUNCTIONS);
    call_functions(functions, 0, FUNCTIONS);
    call_functions(functions, 0, FUNCTIONS);
}

/* ---- hits ---- */

static void fifty(void)
{
    functions = put_functions(50);
    call_functions(functions, 0, 50);
}

/* `inc` of function 0 becomes `dec` and back. */
static void patch_other_opcode(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        *(volatile uint8_t *)(functions + 6) = i & 1 ? 0xc0 : 0xc8;
        if (call(functions, 0, 0) != (i & 1 ? 1 : 0xffffffff)) {
            fatal("a patched function did what it did before");
        }
    }
}

static void patch_other_immediate(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        *(volatile uint32_t *)(functions + 1) = (uint32_t)i;
        if (call(functions, 0, 0) != i + 1) {
            fatal("a patched function returned an old value");
        }
    }
}

/* 1: xorb $8, opcode(%rip); inc %eax or dec %eax; dec %edi; jnz 1b: the patched instruction is the next one. */
static void own_opcode_prepare(void)
{
    uint8_t *p = functions = page_alloc();

    p = EMIT(p, 0x31, 0xc0);                               /* xor %eax, %eax */
    p = EMIT(p, 0x80, 0x35, 0x01, 0x00, 0x00, 0x00, 0x08); /* 1: xorb $8, 1(%rip) */
    p = EMIT(p, 0xff, 0xc0);
    EMIT(p, 0xff, 0xcf, 0x75, 0xf3, INSN_RET);
}

static void patch_own_opcode(uint64_t n)
{
    uint64_t value = call(functions, n, 0); /* n is even: as often up as down */

    CHECK_EQ(value, 0);
}

/* 1: incl immediate(%rip); mov $immediate, %eax; dec %edi; jnz 1b */
static void own_immediate_prepare(void)
{
    uint8_t *p = functions = page_alloc();

    p = EMIT(p, 0xff, 0x05, 0x01, 0x00, 0x00, 0x00, INSN_MOV_EAX, 0, 0, 0, 0);
    EMIT(p, 0xff, 0xcf, 0x75, 0xf1, INSN_RET);
}

static void patch_own_immediate(uint64_t n)
{
    static uint8_t *of;
    static uint32_t count;

    count = of == functions ? count + (uint32_t)n : (uint32_t)n;
    of = functions;
    CHECK_EQ(call(functions, n, 0), count);
}

/* ---- code as data ---- */

#define JIT_PAGES 16u

/* Append functions to pages that are written and executed, call each; when they are full begin anew. */
static void jit_prepare(void)
{
    if (!functions) {
        functions = pages_alloc(JIT_PAGES);
    }
}

static void jit_append(uint64_t n)
{
    static uint32_t next;

    for (uint64_t i = 0; i < n; i++) {
        uint8_t *p = functions + next % (JIT_PAGES * PAGE_SIZE / SLOT) * SLOT;

        *(volatile uint64_t *)p = INSN_MOV_EAX | (uint64_t)next << 8 | (uint64_t)INSN_RET << 40;
        if (call(p, 0, 0) != next) {
            fatal("an appended function returned something else");
        }
        next++;
    }
}

/* A page of executed functions becomes another one, by 8-byte stores. */
static void full_page(void)
{
    functions = put_functions(FUNCTIONS);
    call_functions(functions, 0, FUNCTIONS);
}

static void overwrite(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        ((volatile uint64_t *)functions)[i] = INSN_MOV_EAX | (uint64_t)(i + 1000) << 8 | (uint64_t)INSN_RET << 40;
    }
    CHECK_EQ(call(functions + 8, 0, 0), 1001);
}

/*
 * An unpacker in the page that it fills: `n` bytes are exclusive-ored with a key, in place, from right behind its own code on, and
 * executed: a jump to `mov $.., %eax; ret` far behind.
 */
#define UNPACK_KEY 0x5a

static void unpack_prepare(void)
{
    static const uint8_t code[] = {
        0x48, 0x8d, 0x15, 0x0a, 0x00, 0x00, 0x00, /* lea 10(%rip), %rdx: behind this */
        0x80, 0x32, UNPACK_KEY,                   /* 1: xorb $key, (%rdx) */
        0x48, 0xff, 0xc2,                         /* inc %rdx */
        0xff, 0xcf,                               /* dec %edi */
        0x75, 0xf6,                               /* jnz 1b */
    };
    uint8_t *p = functions = page_alloc();

    p = emit_bytes(p, code, sizeof(code));
    memset(p, INSN_NOP, PAGE_SIZE - sizeof(code));
    emit_jmp(p, functions + 3000);
    emit_return(functions + 3000, 0x1234);
    while (p < functions + PAGE_SIZE) {
        *p++ ^= UNPACK_KEY;
    }
}

static void unpack(uint64_t n)
{
    CHECK_EQ(call(functions, n, 0), 0x1234);
}

/* ---- data: the last 8 bytes of a page that never held code, once held it, or holds 1, 50 or 200 functions ---- */

static void store_to(uint8_t *page, uint32_t count)
{
    functions = page;
    call_functions(page, 0, count);
}

static void no_code(void)
{
    store_to(page_alloc(), 0);
}

static void former_code(void)
{
    store_to(put_functions(FUNCTIONS), FUNCTIONS);
    memset(functions, 0, PAGE_SIZE);
}

static void beside_1(void)
{
    store_to(put_functions(1), 1);
}

static void beside_50(void)
{
    store_to(put_functions(50), 50);
}

static void beside_200(void)
{
    store_to(put_functions(FUNCTIONS), FUNCTIONS);
}

static void store(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        *(volatile uint64_t *)(functions + PAGE_SIZE - 8) = i;
    }
}

/* ---- the list ---- */

struct pattern {
    const char *name;
    void (*run)(uint64_t n);
    uint32_t n;            /* operations a round; with prepare() once, times the scale */
    void (*prepare)(void); /* before the first round, or before every round; not timed */
    bool every;
};

/* Those that leave pages behind come last: the pages go back to protection later, while something else is measured. */
static const struct pattern patterns[] = {
    {"fault", touch, TOUCHED, untouched, true},
    {"translate+call", translate, FUNCTIONS - 1, untranslated, true},
    {"call", translate, FUNCTIONS - 1, executed, true},
    {"other-opcode", patch_other_opcode, PATCHES, fifty, false},
    {"other-immediate", patch_other_immediate, PATCHES, fifty, false},
    {"own-opcode", patch_own_opcode, PATCHES, own_opcode_prepare, false},
    {"own-immediate", patch_own_immediate, PATCHES, own_immediate_prepare, false},
    {"store", store, STORES, no_code, false},
    {"store-former", store, STORES, former_code, false},
    {"store-beside-1", store, STORES, beside_1, false},
    {"store-beside-50", store, STORES, beside_50, false},
    {"store-beside-200", store, STORES, beside_200, false},
    {"jit-append", jit_append, 2000, jit_prepare, false},
    {"overwrite", overwrite, PAGE_SIZE / 8, full_page, true},
    {"unpack", unpack, PAGE_SIZE - 17, unpack_prepare, true},
};

static uint64_t time_one(const struct pattern *t, uint32_t n)
{
    uint64_t start = rdtsc();

    t->run(n);
    return (rdtsc() - start) * 100 / n;
}

static void run_pattern(const struct pattern *t, uint32_t scale, uint64_t rounds)
{
    uint64_t first = 0, least = UINT64_MAX;

    functions = NULL;
    for (unsigned i = 0; i < rounds; i++) {
        if (i == 0 || t->every) {
            t->prepare();
        }
        uint64_t cycles = time_one(t, t->n * (t->every ? 1 : scale));

        first = i ? first : cycles;
        least = MIN(least, cycles);
    }
    printf("pattern %s %lu.%02lu %lu.%02lu\n", t->name, least / 100, least % 100, first / 100, first % 100);
}

void run_patterns(uint32_t scale)
{
    uint64_t rounds = cmdline_number("rounds=", 5);

    paging_init();
    for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
        bool only;
        bool wanted = cmdline_lists("only=", patterns[i].name, &only);

        if (wanted || !only) {
            run_pattern(&patterns[i], scale, rounds);
        }
    }
}
