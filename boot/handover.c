/* SPDX-License-Identifier: MIT */
/*
 * The boot page tables and the jump into the kernel. The tables live only until the kernel has its
 * own; the kernel image, the identity map and the physmap are all read-write-execute here (2 MiB
 * pages):
 *
 *   PML4[0..]    physical memory, identity          } the same page directories
 *   PML4[258..]  physical memory, at PHYSMAP_BASE   }
 *   PML4[256]    kernel image at KERNEL_VMA
 */
#include "boot/loader.h"

#include "kernel/lib/string.h"
#include "kernel/lib/types.h"
#include "mm/layout.h"

#define PTE_P       BIT(0)
#define PTE_W       BIT(1)
#define PTE_PS      BIT(7)
#define LARGE_SHIFT 21
#define GIB         (1ull << 30)
#define PDPT_SPAN   (512 * GIB)
#define CR4_PGE     BIT(7)
#define CR4_LA57    BIT(12)
#define CR4_PCIDE   BIT(17)

static unsigned pml4_index(uint64_t va)
{
    return (va >> 39) & 511;
}

static uint64_t read_cr4(void)
{
    uint64_t cr4;

    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    return cr4;
}

/* Map 1 GiB of physical memory from `phys` on. */
static void fill_directory(uint64_t *pd, uint64_t phys)
{
    for (unsigned i = 0; i < 512; i++) {
        pd[i] = (phys + ((uint64_t)i << LARGE_SHIFT)) | PTE_PS | PTE_W | PTE_P;
    }
}

/* Next page of the block that the tables are cut from, empty. */
static uint64_t *take_table(uint64_t *next)
{
    uint64_t *table = (uint64_t *)(uintptr_t)*next;

    memset(table, 0, PAGE_SIZE);
    *next += PAGE_SIZE;
    return table;
}

static uint64_t entry_for(const uint64_t *table)
{
    return (uint64_t)(uintptr_t)table | PTE_W | PTE_P;
}

static void map_physical(uint64_t *pml4, uint64_t size, uint64_t *next)
{
    for (uint64_t phys = 0; phys < size; phys += PDPT_SPAN) {
        uint64_t *pdpt = take_table(next);

        for (unsigned i = 0; i < 512 && phys + i * GIB < size; i++) {
            uint64_t *pd = take_table(next);

            fill_directory(pd, phys + i * GIB);
            pdpt[i] = entry_for(pd);
        }
        pml4[pml4_index(phys)] = entry_for(pdpt);
        pml4[pml4_index(PHYSMAP_BASE + phys)] = entry_for(pdpt);
    }
}

static void map_kernel(uint64_t *pml4, const struct boot_info *info, uint64_t *next)
{
    uint64_t *pdpt = take_table(next);
    uint64_t *pd = take_table(next);

    for (uint64_t off = 0; off < info->kernel_len; off += 1ull << LARGE_SHIFT) {
        pd[off >> LARGE_SHIFT] = (info->kernel_base + off) | PTE_PS | PTE_W | PTE_P;
    }
    pdpt[0] = entry_for(pd);
    pml4[pml4_index(KERNEL_VMA)] = entry_for(pdpt);
}

EFI_STATUS build_page_tables(struct loader *ld)
{
    uint64_t free_bytes, ram_last, size, tables, next;
    uint64_t *pml4;
    EFI_STATUS status;

    if (read_cr4() & CR4_LA57) {
        return fail("the firmware runs with 5-level page tables: turn them off in its set-up");
    }
    status = survey_memory(&free_bytes, &ram_last);
    if (EFI_ERROR(status)) {
        return status;
    }
    if (free_bytes < ld->conf.memory) {
        return fail("not enough memory: the guest is to have %llu MiB, %llu MiB are free",
                    (unsigned long long)ld->conf.memory >> 20,
                    (unsigned long long)free_bytes >> 20);
    }
    size = MIN(ALIGN_UP(MAX(ram_last + 1, 4 * GIB), GIB), PHYSMAP_SIZE);
    tables = 1 + 2 + size / GIB + ALIGN_UP(size, PDPT_SPAN) / PDPT_SPAN;
    ld->cr3 = alloc_own(ld, tables * PAGE_SIZE, PAGE_SIZE, false);
    if (!ld->cr3) {
        return fail("not enough memory below 4 GiB for %llu page tables",
                    (unsigned long long)tables);
    }
    next = ld->cr3;
    pml4 = take_table(&next);
    map_physical(pml4, size, &next);
    map_kernel(pml4, ld->info, &next);
    return EFI_SUCCESS;
}

/* Without global pages and PCIDs the new CR3 drops all of the firmware's translations. */
_Noreturn void enter_kernel(const struct loader *ld)
{
    uint64_t cr4 = read_cr4() & ~(CR4_PGE | CR4_PCIDE);

    __asm__ volatile("cli\n\t"
                     "cld\n\t"
                     "mov %[cr4], %%cr4\n\t"
                     "mov %[cr3], %%cr3\n\t"
                     "jmp *%[entry]"
                     :
                     : [cr4] "r"(cr4), [cr3] "r"(ld->cr3), [entry] "r"(ld->entry), "D"(ld->info)
                     : "memory");
    __builtin_unreachable();
}
