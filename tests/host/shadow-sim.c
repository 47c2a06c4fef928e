/* SPDX-License-Identifier: MIT */
/* See the header. The caches are arrays searched from end to end: simple, and never clever enough
 * to hide a stale entry. */
#include "tests/host/shadow-sim.h"

#include <stdlib.h>

#include "kernel/lib/log.h"
#include "mm/host.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "tests/host/mm-host.h"

#define TLB_SIZE 192
#define PDE_SIZE 48

/* A translation of a page of 4 KiB or 2 MiB. */
static struct tlb_entry {
    bool valid;
    hpa_t root;
    gva_t va;
    uint64_t size;
    struct sim_result r;
} tlb[TLB_SIZE];

/* Paging-structure cache: the level 1 table for 2 MiB of a root. */
static struct pde_entry {
    bool valid;
    hpa_t root;
    gva_t va;
    uint64_t table; /* physical address */
    bool writable;  /* by all levels above the table */
} pdes[PDE_SIZE];

static unsigned invlpgs, flushes;
struct guest_paging sim_paging;

static void drop_pdes(void)
{
    unsigned i;

    for (i = 0; i < PDE_SIZE; i++) {
        pdes[i].valid = false;
    }
}

/* INVLPG: the translation of the address in all roots, and all of the paging-structure caches (SDM
 * 3A 4.10.4.1). */
static void on_invlpg(gva_t va)
{
    unsigned i;

    invlpgs++;
    for (i = 0; i < TLB_SIZE; i++) {
        if (va - tlb[i].va < tlb[i].size) {
            tlb[i].valid = false;
        }
    }
    drop_pdes();
}

static void on_flush(void)
{
    unsigned i;

    flushes++;
    for (i = 0; i < TLB_SIZE; i++) {
        tlb[i].valid = false;
    }
    drop_pdes();
}

/* What comes to live in the frame later must not be mistaken for the root. */
static void on_drop_root(hpa_t root)
{
    unsigned i;

    for (i = 0; i < TLB_SIZE; i++) {
        tlb[i].valid = tlb[i].valid && tlb[i].root != root;
    }
    for (i = 0; i < PDE_SIZE; i++) {
        pdes[i].valid = pdes[i].valid && pdes[i].root != root;
    }
}

void sim_init(void)
{
    mm_host_hooks.drop_root = on_drop_root;
    mm_host_hooks.invlpg = on_invlpg;
    mm_host_hooks.tlb_flush = on_flush;
    on_flush();
}

unsigned sim_invlpg_count(void)
{
    return invlpgs;
}

unsigned sim_flush_count(void)
{
    return flushes;
}

static uint64_t phys_read(uint64_t addr)
{
    return *(uint64_t *)phys_to_virt(addr);
}

static struct mmu_result root_walk(enum view view, gva_t va)
{
    struct mmu_model m = {.read = phys_read,
                          .cr3 = shadow_root(view),
                          .wp = true,
                          .nxe = true,
                          .smep = true,
                          .maxphyaddr = 46};

    return mmu_model_walk(&m, va, (struct mmu_access){.user = true});
}

static struct sim_result to_sim(const struct mmu_result *r)
{
    return (struct sim_result){.ok = r->ok,
                               .present = r->ok,
                               .writable = r->ok && r->writable,
                               .nx = r->nx,
                               .hpa = r->addr};
}

struct sim_result sim_walk(enum view view, gva_t va)
{
    struct mmu_result r = root_walk(view, va);

    return to_sim(&r);
}

uint64_t *sim_leaf(enum view view, gva_t va)
{
    struct mmu_result r = root_walk(view, va);

    return r.ok ? phys_to_virt(r.entry_addr[r.entries - 1]) : NULL;
}

/* Through the cached pointer to a level 1 table, if there is one: the hardware does not look above
 * it. */
static struct sim_result walk_cached(enum view view, gva_t va, uint64_t *size)
{
    struct mmu_result r;
    struct pde_entry *p;
    unsigned i;

    *size = PAGE_SIZE;
    for (i = 0; i < PDE_SIZE; i++) {
        p = &pdes[i];
        if (p->valid && p->root == shadow_root(view) && p->va == (va & ~0x1fffffull)) {
            uint64_t pte = phys_read(p->table + 8 * ((va >> 12) & 511));

            if ((pte & 5) != 5) {
                return (struct sim_result){0};
            }
            return (struct sim_result){.ok = true,
                                       .present = true,
                                       .writable = (pte & 2) && p->writable,
                                       .nx = pte >> 63,
                                       .hpa = (pte & 0xffffffffff000) | (va & 0xfff)};
        }
    }
    r = root_walk(view, va);
    if (r.entries == 4) {
        p = &pdes[(unsigned)rand() % PDE_SIZE];
        *p = (struct pde_entry){true, shadow_root(view), va & ~0x1fffffull, r.entry[2] & 0xffffffffff000,
                                (r.entry[0] & r.entry[1] & r.entry[2]) & 2};
    } else if (r.ok) {
        ASSERT(r.page_level == 2);
        *size = 0x200000;
    }
    return to_sim(&r);
}

struct sim_result sim_access(enum view view, gva_t va, bool write)
{
    struct sim_result r;
    uint64_t size;
    unsigned i;

    for (i = 0; i < TLB_SIZE; i++) {
        struct tlb_entry *t = &tlb[i];

        if (t->valid && t->root == shadow_root(view) && va - t->va < t->size) {
            if (!write || t->r.writable) {
                r = t->r;
                r.hpa += va - t->va;
                return r;
            }
            t->valid = false; /* the hardware looks again before it faults */
        }
    }
    r = walk_cached(view, va, &size);
    if (!r.ok || (write && !r.writable)) {
        drop_pdes(); /* a fault ends these too */
        r = walk_cached(view, va, &size);
    }
    if (r.ok) {
        struct tlb_entry *t = &tlb[(unsigned)rand() % TLB_SIZE];

        *t = (struct tlb_entry){true, shadow_root(view), va & ~(size - 1), size, r};
        t->r.hpa &= ~(size - 1);
    }
    r.ok = r.ok && (!write || r.writable);
    return r;
}

bool sim_tlb_can_write(hpa_t hpa)
{
    unsigned i;

    for (i = 0; i < TLB_SIZE; i++) {
        if (tlb[i].valid && tlb[i].r.writable && hpa - tlb[i].r.hpa < tlb[i].size) {
            return true;
        }
    }
    return false;
}

bool sim_tlb_reaches(hpa_t hpa)
{
    unsigned i;

    for (i = 0; i < TLB_SIZE; i++) {
        if (tlb[i].valid && hpa - tlb[i].r.hpa < tlb[i].size) {
            return true;
        }
    }
    return false;
}

static uint64_t digest_table(uint64_t table, unsigned level, gva_t va, uint64_t digest)
{
    unsigned i;

    for (i = 0; i < 512; i++) {
        uint64_t entry = phys_read(table + 8 * i);
        gva_t at = va + ((gva_t)i << (12 + 9 * (level - 1)));

        if (!(entry & 1) || (level == 4 && i >= MONITOR_PML4_FIRST && i <= MONITOR_PML4_LAST)) {
            continue;
        }
        if (level > 1 && !(entry & 0x80)) {
            digest = digest_table(entry & 0xffffffffff000, level - 1, at, digest);
        } else {
            digest = (digest ^ at ^ (entry * 0x9e3779b97f4a7c15)) * 0x100000001b3;
        }
    }
    return digest;
}

uint64_t sim_digest(enum view view)
{
    return digest_table(shadow_root(view), 4, 0, 0xcbf29ce484222325);
}

uint64_t *sim_guest_word(gpa_t gpa)
{
    ram_addr_t ram;
    bool ok = gpa_to_ram(gpa, &ram);

    ASSERT(ok);
    return ram_to_virt(ram);
}

static uint64_t guest_read(uint64_t gpa)
{
    ram_addr_t ram;

    return gpa_to_ram(gpa, &ram) ? *(uint64_t *)ram_to_virt(ram) : ~0ull;
}

struct mmu_result sim_guest(enum view view, gva_t va, bool write)
{
    struct mmu_model m = {.read = guest_read,
                          .cr3 = sim_paging.cr3,
                          .wp = sim_paging.cr0 & (1ull << 16),
                          .nxe = sim_paging.efer & (1ull << 11),
                          .smep = sim_paging.cr4 & (1ull << 20),
                          .pge = sim_paging.cr4 & (1ull << 7),
                          .maxphyaddr = sim_paging.maxphyaddr};

    return mmu_model_walk(&m, va, (struct mmu_access){.write = write, .user = view == VIEW_USER});
}
