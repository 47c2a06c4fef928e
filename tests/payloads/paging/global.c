/* SPDX-License-Identifier: MIT */
/* Rule: translations of global pages survive a CR3 write, and end with INVLPG, a toggle of CR4.PGE, a CR3 write without it (SDM 3A 4.10.4.1). */
#include "tests/payloads/paging/paging.h"

/* Global pages survive a CR3 write, not a toggle of CR4.PGE. */
void global_pages(void)
{
    uint64_t a = (uint64_t)page_alloc(), b = (uint64_t)page_alloc();

    *(uint64_t *)a = 1;
    *(uint64_t *)b = 2;
    write_cr4(read_cr4() | 1 << 7);
    for (unsigned n = 0; n < 20; n++) {
        page_map(VA, a, PTE_P | PTE_W | PTE_G);
        CHECK_EQ(*(volatile uint64_t *)VA, 1);
        *page_entry(VA, 1) = b | PTE_P | PTE_W | PTE_G;
        write_cr4(read_cr4() & ~(1ull << 7));
        write_cr4(read_cr4() | 1 << 7);
        CHECK_EQ(*(volatile uint64_t *)VA, 2);
    }
    page_map(VA, a, PTE_P | PTE_W);
    write_cr4(read_cr4() & ~(1ull << 7));
}

/*
 * A page that was global and no longer is, with the same code at the same address: after the next change of address space its code
 * is found anew, and so is what it jumps to.
 */
void global_cleared(void)
{
    uint64_t one = read_cr3(), two = paging_new_root();
    uint64_t jump = (uint64_t)page_alloc(), a = (uint64_t)make_function(1), b = (uint64_t)make_function(2);
    uint8_t *p = EMIT((uint8_t *)jump, 0xe9); /* jmp to the next page */

    emit32(p, PAGE_SIZE - 5);
    write_cr4(read_cr4() | 1 << 7);
    for (unsigned n = 0; n < 5; n++) {
        page_map(VA, jump, PTE_P | PTE_G);
        page_map(VA + PAGE_SIZE, a, PTE_P | PTE_G);
        CHECK_EQ(run_at(VA) + run_at(VA) + run_at(VA + PAGE_SIZE), 3);
        page_map(VA, jump, PTE_P);
        page_map(VA + PAGE_SIZE, a, PTE_P);
        CHECK_EQ(run_at(VA) + run_at(VA) + run_at(VA + PAGE_SIZE), 3);
        write_cr3(two);
        page_map(VA, jump, PTE_P);
        page_map(VA + PAGE_SIZE, b, PTE_P);
        write_cr3(one);
        CHECK_EQ(run_at(VA) + run_at(VA) + run_at(VA + PAGE_SIZE), 3);
        write_cr3(two);
        CHECK_EQ(run_at(VA), 2);
        CHECK_EQ(run_at(VA + PAGE_SIZE), 2);
        write_cr3(one);
        CHECK_EQ(run_at(VA), 1);
        CHECK_EQ(run_at(VA + PAGE_SIZE), 1);
    }
    write_cr4(read_cr4() & ~(1ull << 7));
}

/*
 * Code on global pages, jumped to from another page, is found anew after each thing that ends global translations: a toggle of CR4.PGE,
 * MOV to CR3 without it (into an address space that has other code there), INVLPG. Pages that did not change go on as they are.
 */
void global_code(void)
{
    uint64_t one = read_cr3(), two = paging_new_root(), pge = 1 << 7;
    uint64_t jump = (uint64_t)page_alloc(), a = (uint64_t)make_function(1), b = (uint64_t)make_function(2);
    uint64_t still = (uint64_t)make_function(4);

    emit32(EMIT((uint8_t *)jump, 0xe9), PAGE_SIZE - 5); /* jmp to the next page */
    write_cr3(two);
    page_map(VA, jump, PTE_P | PTE_G);
    page_map(VA + PAGE_SIZE, b, PTE_P | PTE_G);
    write_cr3(one);
    page_map(VA, jump, PTE_P | PTE_G);
    page_map(VA + 2 * PAGE_SIZE, still, PTE_P | PTE_G);
    for (unsigned n = 0; n < 12; n++) {
        uint64_t want = 1 + (n & 1);

        write_cr4(read_cr4() | pge);
        page_map(VA + PAGE_SIZE, n & 1 ? b : a, PTE_P | PTE_G); /* with INVLPG */
        CHECK_EQ(run_at(VA) + run_at(VA) + run_at(VA + PAGE_SIZE) + run_at(VA + 2 * PAGE_SIZE), 3 * want + 4);
        *page_entry(VA + PAGE_SIZE, 1) = (n & 1 ? a : b) | PTE_P | PTE_G;
        write_cr4(read_cr4() & ~pge);
        write_cr4(read_cr4() | pge);
        CHECK_EQ(run_at(VA) + run_at(VA) + run_at(VA + PAGE_SIZE) + run_at(VA + 2 * PAGE_SIZE), 3 * (3 - want) + 4);
        *page_entry(VA + PAGE_SIZE, 1) = a | PTE_P | PTE_G;
        write_cr4(read_cr4() & ~pge);
        CHECK_EQ(run_at(VA) + run_at(VA + PAGE_SIZE), 2);
        write_cr3(two);
        CHECK_EQ(run_at(VA) + run_at(VA + PAGE_SIZE), 4);
        write_cr3(one);
        CHECK_EQ(run_at(VA) + run_at(VA + PAGE_SIZE), 2);
        write_cr4(read_cr4() | pge);
        CHECK_EQ(run_at(VA) + run_at(VA + PAGE_SIZE), 2);
        if (n % 3 == 0) { /* gone, and back, between two toggles */
            *page_entry(VA + PAGE_SIZE, 1) = 0;
            write_cr4(read_cr4() & ~pge);
            *page_entry(VA + PAGE_SIZE, 1) = b | PTE_P | PTE_G;
            write_cr4(read_cr4() | pge);
            CHECK_EQ(run_at(VA) + run_at(VA + PAGE_SIZE) + run_at(VA + 2 * PAGE_SIZE), 8);
        }
    }
    /* Entered with PGE set, made elsewhere: the toggle must look at the present address space's tables. */
    page_map(VA + PAGE_SIZE, a, PTE_P | PTE_G);
    CHECK_EQ(run_at(VA) + run_at(VA + PAGE_SIZE), 2);
    write_cr3(two);
    write_cr4(read_cr4() & ~pge);
    write_cr4(read_cr4() | pge);
    CHECK_EQ(run_at(VA) + run_at(VA + PAGE_SIZE), 4);
    write_cr4(read_cr4() & ~pge);
    write_cr3(one);
}
