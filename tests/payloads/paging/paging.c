/* SPDX-License-Identifier: MIT */
/*
 * Rule: a change of the page tables takes effect at the latest with INVLPG, a CR3 write or (for more rights) at the next
 * fault, for data and for code; the CPU sets A and D (SDM 3A 4.8, 4.10). Includes SMC cases 36-38, 40, 42.
 */
#include "tests/payloads/paging/paging.h"

#define HIGH 0xffffffff90000000ull
#define SELF_SLOT 400ull /* of the PML4, for the recursive mapping */

static void remap_data(void)
{
    uint64_t *frames[4];

    for (uint64_t i = 0; i < 4; i++) {
        frames[i] = page_alloc();
        *frames[i] = 1000 + i;
    }
    for (uint64_t n = 0; n < 200; n++) {
        uint64_t i = n * 7 % 4;

        page_map(VA, (uint64_t)frames[i], PTE_P | PTE_W);
        CHECK_EQ(*(volatile uint64_t *)VA, 1000 + i);
        *(volatile uint64_t *)(VA + 8) = n;
        CHECK_EQ(frames[i][1], n);
    }
}

static void remap_code(void)
{
    static const uint64_t addresses[] = {VA, HIGH};

    for (size_t a = 0; a < ARRAY_SIZE(addresses); a++) {
        uint8_t *one = make_function(1), *two = make_function(2);

        for (unsigned n = 0; n < 200; n++) {
            page_map(addresses[a], (uint64_t)(n & 1 ? one : two), PTE_P);
            CHECK_EQ(run_at(addresses[a]), n & 1 ? 1 : 2);
            CHECK_EQ(run_at(addresses[a]), n & 1 ? 1 : 2);
        }
    }
}

/* A caller that was linked to the remapped code: direct jump from another page that stays. */
static void remap_linked(void)
{
    uint8_t *one = make_function(1), *two = make_function(2), *jumper = page_alloc();

    EMIT(jumper, 0xe9, 0xfb, 0x0f, 0, 0); /* to the next page */
    page_map(VA, (uint64_t)jumper, PTE_P);
    for (unsigned n = 0; n < 200; n++) {
        page_map(VA + 4096, (uint64_t)(n & 1 ? one : two), PTE_P);
        CHECK_EQ(run_at(VA), n & 1 ? 1 : 2);
    }
}

/* Only the second page of an instruction that straddles is remapped. */
static void remap_straddling(void)
{
    uint8_t *first = page_alloc(), *tail[2] = {page_alloc(), page_alloc()};

    EMIT(first + 4094, 0xb8, 0x11);
    EMIT(tail[0], 0x22, 0, 0, 0xc3);
    EMIT(tail[1], 0x33, 0, 0, 0xc3);
    page_map(VA, (uint64_t)first, PTE_P);
    for (unsigned n = 0; n < 100; n++) {
        page_map(VA + 4096, (uint64_t)tail[n & 1], PTE_P);
        CHECK_EQ(run_at(VA + 4094), n & 1 ? 0x3311 : 0x2211);
    }
}

static void address_spaces(void)
{
    uint64_t roots[4], old = read_cr3();

    for (uint64_t i = 0; i < 4; i++) {
        roots[i] = paging_new_root();
        write_cr3(roots[i]);
        page_map(VA, (uint64_t)make_function((uint32_t)(100 + i)), PTE_P | PTE_W);
        page_map(VA + 4096, (uint64_t)page_alloc(), PTE_P | PTE_W);
        *(uint64_t *)(VA + 4096) = i;
    }
    for (uint64_t n = 0; n < 400; n++) {
        uint64_t i = n * 3 % 4;

        write_cr3(roots[i]);
        CHECK_EQ(run_at(VA), 100 + i);
        CHECK_EQ(*(uint64_t *)(VA + 4096), i + n / 4);
        ++*(volatile uint64_t *)(VA + 4096);
    }
    write_cr3(old);
}

static void accessed_dirty(void)
{
    volatile uint64_t *pte = page_entry(VA, 1);
    uint64_t frame = (uint64_t)page_alloc();

    for (unsigned n = 0; n < 20; n++) {
        page_map(VA, frame, PTE_P | PTE_W);
        CHECK_EQ(*pte & (PTE_A | PTE_D), 0);
        (void)*(volatile uint64_t *)VA;
        CHECK_EQ(*pte & (PTE_A | PTE_D), PTE_A);
        *(volatile uint64_t *)VA = n;
        CHECK_EQ(*pte & (PTE_A | PTE_D), PTE_A | PTE_D);
        *pte &= ~(PTE_A | PTE_D); /* cleared while cached, then flushed */
        tlb_flush_all();
        *(volatile uint64_t *)VA = n;
        CHECK_EQ(*pte & (PTE_A | PTE_D), PTE_A | PTE_D);
        *pte &= ~PTE_D;
        invlpg(VA);
        *(volatile uint64_t *)VA += n;
        CHECK_EQ(*pte & PTE_D, PTE_D);
    }
    *page_entry(VA, 2) &= ~PTE_A;
    *page_entry(VA, 3) &= ~PTE_A;
    tlb_flush_all();
    (void)*(volatile uint64_t *)VA;
    CHECK_EQ(*page_entry(VA, 2) & PTE_A, PTE_A);
    CHECK_EQ(*page_entry(VA, 3) & PTE_A, PTE_A);
}

static void large_pages(void)
{
    uint64_t raw = (uint64_t)pages_alloc(1536), base = ALIGN_UP(raw, 0x200000);
    uint64_t va = 0x0000300000000000ull;
    volatile uint64_t *pde = page_entry(va, 2);

    *pde = base | PTE_P | PTE_W | PTE_PS;
    invlpg(va);
    for (uint64_t off = 0; off < 0x200000; off += 0x1ff8) {
        *(volatile uint64_t *)(va + off) = off;
        CHECK_EQ(*(volatile uint64_t *)(base + off), off);
    }
    CHECK_EQ(*pde & (PTE_A | PTE_D), PTE_A | PTE_D);
    EMIT((uint8_t *)base + 0x123000, 0xb8, 9, 0, 0, 0, 0xc3);
    CHECK_EQ(run_at(va + 0x123000), 9);
    /* Split into 4 KiB pages, the other way round. */
    uint64_t *table = page_alloc();

    for (uint64_t i = 0; i < 512; i++) {
        table[i] = (base + (511 - i) * 4096) | PTE_P | PTE_W;
        *(volatile uint64_t *)(base + i * 4096) = i;
    }
    *pde = (uint64_t)table | PTE_P | PTE_W;
    tlb_flush_all();
    for (uint64_t i = 0; i < 512; i++) {
        CHECK_EQ(*(volatile uint64_t *)(va + i * 4096), 511 - i);
    }
    *pde = 0;
    tlb_flush_all();
}

static void huge_page(void)
{
    uint32_t r[4];
    uint64_t va = 0x0000308000000000ull;
    static volatile uint64_t word;

    cpuid(0x80000001, 0, r);
    if (!(r[3] >> 26 & 1)) {
        return;
    }
    *page_entry(va, 3) = PTE_P | PTE_W | PTE_PS;
    tlb_flush_all();
    *(volatile uint64_t *)(va + (uint64_t)&word) = 0x1234;
    CHECK_EQ(word, 0x1234);
    *page_entry(va, 3) = 0;
    tlb_flush_all();
}

/* More rights need no INVLPG once the fault has happened; not-present to present needs none at all. */
static void grow_rights(void)
{
    uint64_t frame = (uint64_t)page_alloc();

    for (uint64_t i = 0; i < 100; i++) {
        uint64_t va = VA + 0x100000 + i * 4096;

        *page_entry(va, 1) = frame | PTE_P | PTE_W; /* was not present */
        *(volatile uint64_t *)va = i;
        CHECK_EQ(*(volatile uint64_t *)frame, i);
    }
}

static uint64_t upgrade_va;
static volatile uint64_t upgrades;

static void upgrade(struct trap_frame *f)
{
    uint64_t *e = page_entry(upgrade_va, 1);

    if (f->error & PF_W) {
        *e |= PTE_W;
    }
    if (f->error & PF_I) {
        *e &= ~PTE_NX;
    }
    if (!(f->error & PF_P)) {
        *e |= PTE_P;
    }
    upgrades++;
}

static void upgrade_on_fault(void)
{
    uint8_t *code = make_function(5);

    trap_handler(VEC_PF, upgrade);
    for (uint64_t i = 0; i < 50; i++) {
        upgrade_va = VA + 0x300000 + i * 4096;
        page_map(upgrade_va, (uint64_t)code, PTE_NX);
        upgrades = 0;
        (void)*(volatile uint8_t *)upgrade_va;
        CHECK_EQ(upgrades, 1);
        CHECK_EQ(run_at(upgrade_va), 5);
        CHECK_EQ(upgrades, 2);
        *(volatile uint8_t *)(upgrade_va + 1) = (uint8_t)(i + 1);
        CHECK_EQ(upgrades, 3);
        CHECK_EQ(run_at(upgrade_va), i + 1);
        *(volatile uint8_t *)(upgrade_va + 1) = 5;
        CHECK_EQ(upgrades, 3);
    }
    trap_handler(VEC_PF, NULL);
}

static bool faults(uint64_t va, bool write)
{
    struct cpu_state s;

    PUT(0, 0x8a, 0x03, 0xcd, 0x80);
    PUT(16, 0x88, 0x03, 0xcd, 0x80);
    snippet_state(&s, false);
    s.rip += write ? 16 : 0;
    s.gpr[RBX] = va;
    cpu_run(&s);
    return s.vector == VEC_PF;
}

/* Fewer rights hold from INVLPG on, although the page was in use with more. */
static void shrink_rights(void)
{
    uint64_t frame = (uint64_t)page_alloc();

    for (unsigned n = 0; n < 50; n++) {
        page_map(VA, frame, PTE_P | PTE_W);
        *(volatile uint64_t *)VA = n;
        page_map(VA, frame, PTE_P);
        CHECK(faults(VA, true));
        CHECK(!faults(VA, false));
        page_map(VA, frame, 0);
        CHECK(faults(VA, false));
        *page_entry(VA, 1) = frame | PTE_P | PTE_W;
        *(volatile uint64_t *)VA = n;
        *page_entry(VA, 2) &= ~PTE_W; /* at the directory */
        invlpg(VA);
        CHECK(faults(VA, true));
        *page_entry(VA, 2) |= PTE_W;
        invlpg(VA);
        CHECK(!faults(VA, true));
    }
}

/* The table that maps an address is itself reached through a mapping, by every kind of store. */
static void tables_mapped(void)
{
    uint64_t a = (uint64_t)page_alloc(), b = (uint64_t)page_alloc();
    uint64_t window = VA + 0x40000000;

    *(uint64_t *)a = 'a';
    *(uint64_t *)b = 'b';
    page_map(VA, a, PTE_P | PTE_W);
    page_map(window, (uint64_t)page_entry(VA, 1) & PTE_ADDR, PTE_P | PTE_W);
    volatile uint64_t *pte = (uint64_t *)(window + ((VA >> 12 & 511) * 8));

    for (unsigned n = 0; n < 50; n++) {
        *pte = b | PTE_P | PTE_W;
        invlpg(VA);
        CHECK_EQ(*(volatile uint64_t *)VA, 'b');
        __atomic_exchange_n(pte, a | PTE_P | PTE_W, __ATOMIC_SEQ_CST);
        invlpg(VA);
        CHECK_EQ(*(volatile uint64_t *)VA, 'a');
        __asm__ volatile("lock xorq %1, %0" : "+m"(*pte) : "r"(a ^ b) : "cc");
        tlb_flush_all();
        CHECK_EQ(*(volatile uint64_t *)VA, 'b');
        void *dst = (void *)(uint64_t)pte;
        uint64_t src = a | PTE_P | PTE_W, *from = &src;

        __asm__ volatile("movsq" : "+D"(dst), "+S"(from) : : "memory");
        invlpg(VA);
        CHECK_EQ(*(volatile uint64_t *)VA, 'a');
    }
}

/* A PML4 entry that points at the PML4: the tables appear as pages. */
static void recursive_map(void)
{
    uint64_t *pml4 = (uint64_t *)(read_cr3() & PTE_ADDR);
    uint64_t base = 0xffff000000000000ull | SELF_SLOT << 39;

    page_map(VA, (uint64_t)page_alloc(), PTE_P | PTE_W);
    pml4[SELF_SLOT] = (uint64_t)pml4 | PTE_P | PTE_W;
    volatile uint64_t *pte = (uint64_t *)(base + (VA >> 12) * 8);

    CHECK_EQ(*pte & PTE_ADDR, *page_entry(VA, 1) & PTE_ADDR);
    for (unsigned n = 0; n < 20; n++) {
        uint64_t *frame = page_alloc();

        *frame = n;
        *pte = (uint64_t)frame | PTE_P | PTE_W;
        invlpg(VA);
        CHECK_EQ(*(volatile uint64_t *)VA, n);
    }
    pml4[SELF_SLOT] = 0;
    tlb_flush_all();
}

/* Code and a page table in one page: both keep working. */
static void table_with_code(void)
{
    uint64_t *table = page_alloc();
    uint64_t a = (uint64_t)page_alloc(), b = (uint64_t)page_alloc();
    uint8_t *code = (uint8_t *)table + 2048;

    *(uint64_t *)a = 1;
    *(uint64_t *)b = 2;
    EMIT(code, 0xb8, 7, 0, 0, 0, 0xc3);
    uint64_t va = VA + 0x80000000;

    *page_entry(va, 2) = (uint64_t)table | PTE_P | PTE_W;
    tlb_flush_all();
    volatile uint64_t *pte = page_entry(va, 1);

    for (unsigned n = 0; n < 50; n++) {
        CHECK_EQ(run_at((uint64_t)code), 7 + n);
        *pte = (n & 1 ? b : a) | PTE_P | PTE_W;
        invlpg(va);
        CHECK_EQ(*(volatile uint64_t *)va, 1 + (n & 1));
        CHECK_EQ(*pte & PTE_A, PTE_A);
        CHECK_EQ(run_at((uint64_t)code), 7 + n);
        code[1]++;
    }
    *page_entry(va, 2) = 0;
    tlb_flush_all();
}

/* NX toggled on a page whose code has run. */
static void no_execute(void)
{
    uint8_t *code = make_function(3);

    for (unsigned n = 0; n < 50; n++) {
        struct cpu_state s;

        page_map(VA, (uint64_t)code, PTE_P);
        CHECK_EQ(run_at(VA), 3);
        page_map(VA, (uint64_t)code, PTE_P | PTE_NX);
        snippet_state(&s, false);
        s.rip = VA;
        cpu_run(&s);
        CHECK_EQ(s.vector, VEC_PF);
        CHECK_EQ(s.error, PF_P | PF_I);
        CHECK_EQ(s.rip, VA);
    }
}

/* CR0.WP = 0: the kernel writes to read-only pages, and D is set. */
static void write_protect_off(void)
{
    uint64_t frame = (uint64_t)page_alloc();

    for (unsigned n = 0; n < 20; n++) {
        page_map(VA, frame, PTE_P);
        CHECK(faults(VA, true));
        write_cr0(read_cr0() & ~CR0_WP);
        *(volatile uint64_t *)VA = n + 1;
        write_cr0(read_cr0() | CR0_WP);
        CHECK_EQ(*(volatile uint64_t *)frame, n + 1);
        CHECK_EQ(*page_entry(VA, 1) & PTE_D, PTE_D);
        CHECK(faults(VA, true));
    }
}

/*
 * System instructions access memory through the same TLB; a monitor that executes them does it in another way than translated
 * code.
 */
static uint32_t lar_at(uint64_t va)
{
    uint32_t rights = 0;

    __asm__ volatile("lar (%1), %0" : "+r"(rights) : "r"(va) : "memory");
    return rights;
}

/* What str at va wrote to *word. */
static uint16_t str_at(uint64_t va, volatile uint16_t *word)
{
    *word = 0;
    __asm__ volatile("str (%0)" : : "r"(va) : "memory");
    return *word;
}

static void system_accesses(void)
{
    static const uint16_t selectors[] = {SEL_KCODE, SEL_KDATA, SEL_UDATA};
    uint16_t *frames[3];
    uint32_t rights[3];

    for (unsigned i = 0; i < 3; i++) {
        frames[i] = page_alloc();
        frames[i][0] = selectors[i];
        rights[i] = lar_at((uint64_t)frames[i]);
    }
    CHECK(rights[0] != rights[1] && rights[1] != rights[2] && rights[0] != rights[2]);
    for (unsigned n = 0; n < 60; n++) {
        unsigned i = n % 3, next = (n + 1) % 3;

        page_map(VA, (uint64_t)frames[i], PTE_P);
        CHECK_EQ(lar_at(VA), rights[i]);
        CHECK(faults(VA, true));
        *page_entry(VA, 1) |= PTE_W; /* more rights: the fault was enough */
        CHECK_EQ(str_at(VA + 8, frames[i] + 4), SEL_TSS);
        CHECK_EQ(*page_entry(VA, 1) & PTE_D, PTE_D);
        *page_entry(VA, 1) = (uint64_t)frames[next] | PTE_P | PTE_W;
        invlpg(VA);
        CHECK_EQ(lar_at(VA), rights[next]);
        CHECK_EQ(str_at(VA + 8, frames[next] + 4), SEL_TSS);
        *page_entry(VA, 1) = (uint64_t)frames[i] | PTE_P | PTE_W;
        tlb_flush_all();
        CHECK_EQ(lar_at(VA), rights[i]);
        CHECK_EQ(str_at(VA + 8, frames[i] + 4), SEL_TSS);
    }
}

/* INVLPG of any of its addresses ends a large page. */
static void system_accesses_large(void)
{
    uint64_t base = ALIGN_UP((uint64_t)pages_alloc(1536), 0x200000), va = 0x0000310000000000ull;
    volatile uint64_t *pde = page_entry(va, 2);
    uint64_t *table = page_alloc();

    *(uint16_t *)(base + 0x5000) = SEL_KCODE;
    *(uint16_t *)(base + 0x6000) = SEL_KDATA;
    for (unsigned i = 0; i < 512; i++) {
        table[i] = (base + i * 4096 + 0x1000) | PTE_P | PTE_W;
    }
    for (unsigned n = 0; n < 20; n++) {
        *pde = base | PTE_P | PTE_W | PTE_PS;
        tlb_flush_all();
        CHECK_EQ(lar_at(va + 0x5000), lar_at(base + 0x5000));
        *pde = (uint64_t)table | PTE_P | PTE_W;
        invlpg(va + 0x100000);
        CHECK_EQ(lar_at(va + 0x5000), lar_at(base + 0x6000));
    }
    *pde = 0;
    tlb_flush_all();
}

int main(void)
{
    static const struct test_case cases[] = {
        {"remap-data", remap_data},
        {"remap-code", remap_code},
        {"remap-linked", remap_linked},
        {"remap-straddling", remap_straddling},
        {"address-spaces", address_spaces},
        {"accessed-dirty", accessed_dirty},
        {"large-pages", large_pages},
        {"huge-page", huge_page},
        {"grow-rights", grow_rights},
        {"upgrade-on-fault", upgrade_on_fault},
        {"shrink-rights", shrink_rights},
        {"tables-mapped", tables_mapped},
        {"recursive-map", recursive_map},
        {"table-with-code", table_with_code},
        {"global-pages", global_pages},
        {"global-cleared", global_cleared},
        {"global-code", global_code},
        {"no-execute", no_execute},
        {"write-protect-off", write_protect_off},
        {"system-accesses", system_accesses},
        {"system-accesses-large", system_accesses_large},
    };
    paging_init();
    trap_init();
    snippet_init();
    return run_cases("paging", cases, ARRAY_SIZE(cases));
}
