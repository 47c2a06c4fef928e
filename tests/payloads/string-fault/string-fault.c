/* SPDX-License-Identifier: MIT */
/*
 * Rule: a repeated string instruction that faults has done the iterations before the bad one and nothing else: rcx, rsi,
 * rdi say so, and running it again from the saved state completes it (SDM 2B REP).
 */
#include "tests/payloads/lib/snippet.h"

#define SRC (SNIPPET_DATA + 0x100000)
#define DST (SNIPPET_DATA + 0x200000)
#define BAD_DST (DST + PAGE_SIZE)
#define BAD_SRC (SRC + PAGE_SIZE)

static uint8_t *src[2], *dst[2];

static void map_good(void)
{
    for (uint64_t i = 0; i < 2; i++) {
        page_map(SRC + i * PAGE_SIZE, (uint64_t)src[i], PTE_P | PTE_U);
        page_map(DST + i * PAGE_SIZE, (uint64_t)dst[i], PTE_P | PTE_W | PTE_U);
    }
}

static void fill_source(void)
{
    for (unsigned i = 0; i < 4096; i++) {
        src[0][i] = (uint8_t)(i * 7 + 1);
        src[1][i] = (uint8_t)(i * 11 + 3);
    }
    memset(dst[0], 0, 4096);
    memset(dst[1], 0, 4096);
}

/*
 * rep <op> of `count` elements of `size` bytes, of which `good` fit before the bad page. `down`: DF=1, the bad page lies
 * below. `bad_is_src`: it is the source's.
 */
struct string_case {
    const char *name;
    uint8_t op[3], len;
    unsigned size;
    bool uses_src, uses_dst, bad_is_src, down;
};

static void run_string_case(const struct string_case *c, unsigned good, bool user)
{
    unsigned count = good + 5;
    struct cpu_state before, s;
    uint64_t bad = c->bad_is_src ? BAD_SRC : BAD_DST;
    int64_t step = c->down ? -(int64_t)c->size : (int64_t)c->size;

    fill_source();
    map_good();
    snippet_put(0, c->op, c->len);
    PUT(c->len, 0xcd, 0x80);
    snippet_state(&before, user);
    before.gpr[RCX] = count;
    if (c->down) {
        bad -= PAGE_SIZE;
        before.rflags |= FLAG_DF;
        before.gpr[RSI] = SRC + PAGE_SIZE + (good - 1) * c->size;
        before.gpr[RDI] = DST + PAGE_SIZE + (good - 1) * c->size;
    } else {
        before.gpr[RSI] = BAD_SRC - good * c->size;
        before.gpr[RDI] = BAD_DST - good * c->size;
    }
    page_map(bad, 0, 0);
    s = before;
    cpu_run(&s);
    uint64_t first_bad = bad + (c->down ? PAGE_SIZE - c->size : 0);
    bool writes = !c->bad_is_src && c->op[c->len - 1] != 0xa6 && (c->op[c->len - 1] & 0xfe) != 0xae;

    check_eq(c->name, (int)good, "vector", s.vector, VEC_PF);
    check_eq(c->name, (int)good, "error", s.error, (writes ? PF_W : 0) | (user ? PF_U : 0));
    check_eq(c->name, (int)good, "cr2", s.cr2, first_bad);
    check_eq(c->name, (int)good, "rip", s.rip, SNIPPET_CODE);
    check_eq(c->name, (int)good, "rcx", s.gpr[RCX], count - good);
    if (c->uses_src) {
        check_eq(c->name, (int)good, "rsi", s.gpr[RSI], before.gpr[RSI] + (uint64_t)(step * good));
    }
    if (c->uses_dst) {
        check_eq(c->name, (int)good, "rdi", s.gpr[RDI], before.gpr[RDI] + (uint64_t)(step * good));
    }
    map_good();
    cpu_run(&s); /* from where it stopped */
    check_eq(c->name, (int)good, "resumed vector", s.vector, 0x80);
    check_eq(c->name, (int)good, "resumed rcx", s.gpr[RCX], 0);
    if (c->op[c->len - 1] == 0xa4 || c->op[c->len - 1] == 0xa5) {
        uint64_t low = c->down ? before.gpr[RDI] - (count - 1) * c->size : before.gpr[RDI];
        uint64_t low_src = c->down ? before.gpr[RSI] - (count - 1) * c->size : before.gpr[RSI];

        check_eq(c->name, (int)good, "copied",
                 (uint64_t)memcmp((void *)low, (void *)low_src, count * c->size), 0);
    }
}

static const struct string_case string_cases[] = {
    {"movsb to", {0xf3, 0xa4}, 2, 1, true, true, false, false},
    {"movsb from", {0xf3, 0xa4}, 2, 1, true, true, true, false},
    {"movsd to", {0xf3, 0xa5}, 2, 4, true, true, false, false},
    {"movsq to", {0xf3, 0x48, 0xa5}, 3, 8, true, true, false, false},
    {"movsq from", {0xf3, 0x48, 0xa5}, 3, 8, true, true, true, false},
    {"movsb to, down", {0xf3, 0xa4}, 2, 1, true, true, false, true},
    {"movsb from, down", {0xf3, 0xa4}, 2, 1, true, true, true, true},
    {"movsq to, down", {0xf3, 0x48, 0xa5}, 3, 8, true, true, false, true},
    {"stosb", {0xf3, 0xaa}, 2, 1, false, true, false, false},
    {"stosq", {0xf3, 0x48, 0xab}, 3, 8, false, true, false, false},
    {"lodsb", {0xf3, 0xac}, 2, 1, true, false, true, false},
};

static void run_all(bool user)
{
    static const unsigned good[] = {1, 2, 3, 7, 8, 9, 15, 16, 31, 33, 64, 100, 200};

    for (size_t i = 0; i < ARRAY_SIZE(string_cases); i++) {
        for (size_t g = 0; g < ARRAY_SIZE(good); g++) {
            run_string_case(&string_cases[i], good[g], user);
        }
    }
}

static void kernel_mode(void)
{
    run_all(false);
}

static void user_mode(void)
{
    run_all(true);
}

/* repe cmpsb and repne scasb: also the flags of the last good iteration. */
static void compares(void)
{
    static const uint8_t ops[2][2] = {{0xf3, 0xa6}, {0xf2, 0xae}};

    for (unsigned op = 0; op < 2; op++) {
        for (unsigned good = 1; good < 40; good += 3) {
            struct cpu_state s;

            map_good();
            memset(src[0], 0x77, 4096);
            memset(dst[0], 0x77, 4096);
            page_map(BAD_DST, 0, 0);
            snippet_put(0, ops[op], 2);
            PUT(2, 0xcd, 0x80);
            snippet_state(&s, good & 1);
            s.gpr[RSI] = SRC;
            s.gpr[RDI] = BAD_DST - good;
            s.gpr[RCX] = good + 9;
            s.gpr[RAX] = 0x78; /* scasb never finds it */
            cpu_run(&s);
            CHECK_EQ(s.vector, VEC_PF);
            CHECK_EQ(s.cr2, BAD_DST);
            CHECK_EQ(s.gpr[RCX], 9);
            CHECK_EQ(s.gpr[RDI], BAD_DST);
            CHECK_EQ(s.gpr[RSI], op == 0 ? SRC + good : SRC);
            CHECK_EQ(s.rip, SNIPPET_CODE);
        }
    }
}

/* One element that straddles into the bad page is not stored at all. */
static void element_straddles(void)
{
    struct cpu_state s;

    map_good();
    memset(dst[0], 0, 4096);
    page_map(BAD_DST, 0, 0);
    PUT(0, 0xf3, 0x48, 0xab, 0xcd, 0x80);
    snippet_state(&s, false);
    s.gpr[RDI] = BAD_DST - 20;
    s.gpr[RCX] = 8;
    cpu_run(&s);
    CHECK_EQ(s.vector, VEC_PF);
    CHECK_EQ(s.cr2, BAD_DST);
    CHECK_EQ(s.gpr[RCX], 6);
    CHECK_EQ(s.gpr[RDI], BAD_DST - 4);
    for (unsigned i = 4092; i < 4096; i++) {
        CHECK_EQ(dst[0][i], 0);
    }
}

/* rcx = 0 touches nothing, whatever the addresses. */
static void zero_count(void)
{
    struct cpu_state before, s;

    PUT(0, 0xf3, 0xa4, 0xf3, 0xaa, 0xf3, 0xa6, 0xf2, 0xae, 0xf3, 0xac, 0xcd, 0x80);
    snippet_state(&before, false);
    before.gpr[RSI] = NON_CANONICAL;
    before.gpr[RDI] = NON_CANONICAL;
    s = before;
    cpu_run(&s);
    CHECK_EQ(s.vector, 0x80);
    check_unchanged("rcx 0", &before, &s);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"kernel-mode", kernel_mode}, {"user-mode", user_mode},   {"compares", compares},
        {"element-straddles", element_straddles}, {"zero-count", zero_count},
    };
    paging_init();
    trap_init();
    snippet_init();
    for (int i = 0; i < 2; i++) {
        src[i] = page_alloc();
        dst[i] = page_alloc();
    }
    return run_cases("string-fault", cases, ARRAY_SIZE(cases));
}
