/* SPDX-License-Identifier: MIT */
/*
 * Rule: access rights of a page are the conjunction over the levels; a #PF reports CR2 and an error code that say exactly
 * what was attempted, and leaves the state of before (SDM 3A 4.6, 4.7, 4.8). Enumerated, not sampled: permissions at two
 * levels x access x CPL x CR0.WP.
 */
#include "tests/payloads/lib/snippet.h"

#define VA 0x0000612345678000ull
#define OFFSET 0x123

enum access { READ, WRITE, FETCH, ACCESS_COUNT };

struct combination {
    bool p, w, u, nx;       /* page table entry */
    bool dir_w, dir_u, dir_nx; /* page directory entry */
    enum access access;
    bool user, wp;
};
#define COMBINATION_BITS 9 /* without the access */

static struct combination combination(unsigned bits, enum access access)
{
    return (struct combination){bits & 1,       bits >> 1 & 1, bits >> 2 & 1, bits >> 3 & 1,
                                bits >> 4 & 1,  bits >> 5 & 1, bits >> 6 & 1, access,
                                bits >> 7 & 1,  bits >> 8 & 1};
}

/* Whether the access is refused, and with which error code. */
static bool refused(const struct combination *c, uint64_t *error)
{
    bool w = c->w && c->dir_w, u = c->u && c->dir_u, nx = c->nx || c->dir_nx;
    bool ok = c->p;

    if (c->user && !u) {
        ok = false;
    }
    if (c->access == WRITE && !w && (c->user || c->wp)) {
        ok = false;
    }
    if (c->access == FETCH && nx) {
        ok = false;
    }
    *error = (c->p ? PF_P : 0) | (c->access == WRITE ? PF_W : 0) | (c->user ? PF_U : 0) |
             (c->access == FETCH ? PF_I : 0);
    return !ok;
}

static void put_access_code(void)
{
    PUT(0x00, 0x8a, 0x03, 0xcd, 0x80); /* READ: mov (%rbx), %al */
    PUT(0x10, 0x88, 0x03, 0xcd, 0x80); /* WRITE: mov %al, (%rbx) */
    PUT(0x20, 0xff, 0xe3);             /* FETCH: jmp *%rbx */
}

static uint8_t *frame; /* what VA maps; holds `int $0x80` at OFFSET */

static void try_combination(const struct combination *c, const char *name)
{
    uint64_t *pte = page_entry(VA, 1), *pde = page_entry(VA, 2);
    uint64_t error, pde_table = *pde & PTE_ADDR;
    struct cpu_state before, s;
    bool fault = refused(c, &error);

    *pde = pde_table | PTE_P | (c->dir_w ? PTE_W : 0) | (c->dir_u ? PTE_U : 0) |
           (c->dir_nx ? PTE_NX : 0);
    *pte = (uint64_t)frame | (c->p ? PTE_P : 0) | (c->w ? PTE_W : 0) | (c->u ? PTE_U : 0) |
           (c->nx ? PTE_NX : 0);
    invlpg(VA);
    frame[OFFSET] = 0xcd;
    snippet_state(&before, c->user);
    before.rip += 0x10 * c->access;
    before.gpr[RBX] = VA + OFFSET;
    before.gpr[RAX] = 0xcd;
    s = before;
    cpu_run(&s);
    check_eq(name, 0, "vector", s.vector, fault ? VEC_PF : 0x80);
    if (fault) {
        check_eq(name, 0, "error", s.error, error);
        check_eq(name, 0, "cr2", s.cr2, VA + OFFSET);
        check_eq(name, 0, "rip", s.rip, c->access == FETCH ? VA + OFFSET : before.rip);
        check_eq(name, 0, "dirty", *pte & PTE_D, 0);
        check_unchanged(name, &before, &s);
    } else {
        check_eq(name, 0, "accessed, dirty", *pte & (PTE_A | PTE_D),
                 PTE_A | (c->access == WRITE ? PTE_D : 0));
        check_eq(name, 0, "directory accessed", *pde & PTE_A, PTE_A);
    }
    *pde = pde_table | PTE_P | PTE_W | PTE_U;
}

static void enumerate(enum access access)
{
    static const char *const names[] = {"read", "write", "fetch"};

    for (unsigned bits = 0; bits < 1u << COMBINATION_BITS; bits++) {
        struct combination c = combination(bits, access);
        char name[64] = "";
        static const char letters[] = "pwuxWUXkm"; /* lower: entry; upper: directory; k: CPL 3, m: CR0.WP */
        size_t n = strlen(names[access]);

        memcpy(name, names[access], n);
        name[n++] = ' ';
        for (unsigned i = 0; i < COMBINATION_BITS; i++) {
            name[n++] = bits >> i & 1 ? letters[i] : '-';
        }
        uint64_t cr0 = read_cr0();
        uint64_t want = c.wp ? cr0 | CR0_WP : cr0 & ~CR0_WP;

        if (cr0 != want) {
            write_cr0(want);
        }
        try_combination(&c, name);
    }
    write_cr0(read_cr0() | CR0_WP);
}

static void reads(void)
{
    enumerate(READ);
}

static void writes(void)
{
    enumerate(WRITE);
}

static void fetches(void)
{
    enumerate(FETCH);
}

/* Bits of the error code that expect_fault does not look at. */
static uint64_t ignore;

static void expect_fault(uint64_t offset, uint64_t rbx, bool user, uint64_t error, uint64_t cr2)
{
    struct cpu_state before, s;

    snippet_state(&before, user);
    before.rip += offset;
    before.gpr[RBX] = rbx;
    s = before;
    cpu_run(&s);
    CHECK_EQ(s.vector, VEC_PF);
    CHECK_EQ(s.error & ~ignore, error & ~ignore);
    CHECK_EQ(s.cr2, cr2);
    CHECK_EQ(s.rip, before.rip);
    check_unchanged("state", &before, &s);
}

/* A physical address bit above the machine's width is reserved, at any level. QEMU 7.2 leaves P clear. */
static void reserved_bits(void)
{
    uint32_t r[4];

    cpuid(0x80000008, 0, r);
    uint64_t bit = 1ull << (r[0] & 0xff);

    if ((r[0] & 0xff) >= 52) {
        return;
    }
    for (unsigned level = 1; level <= 3; level++) { /* the snippet shares the PML4 entry */
        page_map(VA, (uint64_t)frame, PTE_P | PTE_W | PTE_U);
        uint64_t *e = page_entry(VA, level);
        uint64_t old = *e;

        *e |= bit;
        tlb_flush_all();
        expect_fault(0x00, VA, false, PF_P | PF_RSVD, VA);
        expect_fault(0x10, VA, true, PF_P | PF_RSVD | PF_W | PF_U, VA);
        *e = old;
        tlb_flush_all();
    }
}

/* Not present at each level. */
static void missing_levels(void)
{
    for (unsigned level = 1; level <= 3; level++) {
        page_map(VA, (uint64_t)frame, PTE_P | PTE_W | PTE_U);
        uint64_t *e = page_entry(VA, level);
        uint64_t old = *e;

        *e &= ~PTE_P;
        tlb_flush_all();
        expect_fault(0x00, VA + 8, false, 0, VA + 8);
        expect_fault(0x10, VA + 8, true, PF_W | PF_U, VA + 8);
        *e = old;
        tlb_flush_all();
    }
}

/* An access that straddles into a bad page: CR2 is the first byte of that page; nothing is stored on the good one. */
static void straddles(void)
{
    PUT(0x30, 0x48, 0x89, 0x03, 0xcd, 0x80); /* mov %rax, (%rbx) */
    PUT(0x40, 0x48, 0x8b, 0x03, 0xcd, 0x80); /* mov (%rbx), %rax */
    PUT(0x50, 0xf0, 0x48, 0x01, 0x03, 0xcd, 0x80); /* lock add %rax, (%rbx) */
    page_map(VA, (uint64_t)frame, PTE_P | PTE_W | PTE_U);
    page_map(VA + 4096, 0, 0);
    memset(frame + 4088, 0x5a, 8);
    for (uint64_t before = 1; before < 8; before++) {
        uint64_t va = VA + 4096 - before;

        expect_fault(0x30, va, before & 1, PF_W | (before & 1 ? PF_U : 0), VA + 4096);
        expect_fault(0x40, va, before & 1, before & 1 ? PF_U : 0, VA + 4096);
        ignore = PF_W; /* QEMU reports the read of a read-modify-write */
        expect_fault(0x50, va, before & 1, PF_W | (before & 1 ? PF_U : 0), VA + 4096);
        ignore = 0;
        for (int i = 0; i < 8; i++) {
            CHECK_EQ(frame[4088 + i], 0x5a);
        }
    }
    page_map(VA + 4096, (uint64_t)page_alloc(), PTE_P | PTE_U);
    expect_fault(0x30, VA + 4092, false, PF_P | PF_W, VA + 4096);
    CHECK_EQ(frame[4092], 0x5a);
    page_map(VA + 4096, 0, 0);
}

/* An instruction that straddles into a page that cannot be fetched from: CR2 says which byte is missing, RIP its start. */
static void fetch_straddles(void)
{
    for (unsigned first = 1; first < 5; first++) {
        struct cpu_state before, s;

        page_map(VA, (uint64_t)frame, PTE_P | PTE_U);
        page_map(VA + 4096, 0, 0);
        EMIT(frame + 4096 - first - 1, 0x90);
        static const uint8_t mov[5] = {0xb8, 1, 0, 0, 0};

        memcpy(frame + 4096 - first, mov, first);
        snippet_state(&before, first & 1);
        before.rip = VA + 4096 - first - 1;
        s = before;
        cpu_run(&s);
        CHECK_EQ(s.vector, VEC_PF);
        CHECK_EQ(s.error, PF_I | (first & 1 ? PF_U : 0));
        CHECK_EQ(s.cr2, VA + 4096);
        CHECK_EQ(s.rip, VA + 4096 - first);
        check_unchanged("fetch", &before, &s);
    }
}

/* The handler maps the page and returns: the instruction is done once. */
static void fill(struct trap_frame *f)
{
    page_map(read_cr2() & PAGE_MASK, (uint64_t)frame, PTE_P | PTE_W | PTE_U);
}

static void demand_paged(void)
{
    struct cpu_state s;

    PUT(0x60, 0x48, 0xff, 0x03, 0xcd, 0x80); /* incq (%rbx) */
    trap_handler(VEC_PF, fill);
    *(uint64_t *)frame = 0;
    for (uint64_t i = 0; i < 100; i++) {
        page_map(VA + i * 4096, 0, 0);
        snippet_state(&s, i & 1);
        s.rip += 0x60;
        s.gpr[RBX] = VA + i * 4096;
        cpu_run(&s);
        CHECK_EQ(s.vector, 0x80);
    }
    CHECK_EQ(*(uint64_t *)frame, 100);
    trap_handler(VEC_PF, NULL);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"reads", reads},
        {"writes", writes},
        {"fetches", fetches},
        {"reserved-bits", reserved_bits},
        {"missing-levels", missing_levels},
        {"straddles", straddles},
        {"fetch-straddles", fetch_straddles},
        {"demand-paged", demand_paged},
    };
    paging_init();
    trap_init();
    snippet_init();
    frame = page_alloc();
    EMIT(frame + OFFSET, 0xcd, 0x80);
    put_access_code();
    return run_cases("page-fault", cases, ARRAY_SIZE(cases));
}
