/* SPDX-License-Identifier: MIT */
/*
 * The guest page walk: reads the guest's tables, decides as the MMU would (SDM 3A 4.5 to 4.8), sets
 * accessed and dirty bits. One row per level says what differs between levels. A walk that faults
 * changes nothing. Never reads or writes outside guest RAM, whatever the tables hold.
 */
#include "mm/walk.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "mm/host.h"
#include "mm/pte.h"
#include "mm/ram.h"
#include "mm/track.h"

#define CR0_WP   BIT(16)
#define CR4_PGE  BIT(7)
#define CR4_SMEP BIT(20)
#define EFER_NXE BIT(11)

/* #PF error code (SDM 3A 4.7). */
#define PF_P    0x01u
#define PF_W    0x02u
#define PF_U    0x04u
#define PF_RSVD 0x08u
#define PF_ID   0x10u

/* What a level's entries look like, beyond the bits that all levels share. */
struct level_format {
    uint64_t rsvd_table; /* reserved in an entry that points to a table */
    uint64_t rsvd_leaf;  /* reserved in an entry that maps a page; bit 12 is PAT in large pages */
};

static const struct level_format formats[PT_LEVELS + 1] = {
    [4] = {.rsvd_table = PTE_PS},
    [3] = {.rsvd_leaf = (HUGE_SIZE - 1) & PTE_ADDR & ~PTE_PAT_LARGE},
    [2] = {.rsvd_leaf = (LARGE_SIZE - 1) & PTE_ADDR & ~PTE_PAT_LARGE},
    [1] = {0},
};

/* One walk in progress: the entries passed, [level], from PT_LEVELS down to `level`. */
struct walk {
    unsigned level;
    uint64_t entry[PT_LEVELS + 1];
    gpa_t addr[PT_LEVELS + 1]; /* where each entry lies */
};

/* Entries are 8-byte aligned, so that they never straddle the end of RAM. */
static uint64_t entry_read(gpa_t addr)
{
    ram_addr_t ram;

    return gpa_to_ram(addr, &ram) ? pte_read(ram_to_virt(ram)) : ~0ull;
}

/* Set bits in entry `level`. False if the entry is no longer what was read: walk again. */
static bool entry_mark(struct walk *w, unsigned level, uint64_t bits)
{
    uint64_t old = w->entry[level];
    ram_addr_t ram;

    if ((old & bits) == bits || !gpa_to_ram(w->addr[level], &ram)) {
        return true; /* outside RAM entries read as all ones and never change */
    }
    if (!__atomic_compare_exchange_n((uint64_t *)ram_to_virt(ram), &old, old | bits, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        return false;
    }
    w->entry[level] = old | bits;
    /* Shadows of the table stay right: bits were added that no shadow entry relied on being clear. */
    if (track_reasons(ram & PAGE_MASK) & ~(unsigned)TRACK_PT) {
        mm_guest_written(ram, sizeof(old));
    }
    return true;
}

/*
 * Accessed bits from the top, dirty on the leaf. Each entry is compared with what the walk saw, so
 * a table that is its own child makes the walk restart a few times (every restart has set a bit),
 * never miss a change.
 */
static bool walk_mark(struct walk *w, unsigned access)
{
    unsigned l;

    for (l = PT_LEVELS; l >= w->level; l--) {
        if (!entry_mark(w, l, PTE_A | (l == w->level && (access & WALK_WRITE) ? PTE_D : 0))) {
            return false;
        }
    }
    return true;
}

/* Bits 51:maxphyaddr of any entry, and NX while it is not enabled. */
static uint64_t reserved_everywhere(const struct guest_paging *gp)
{
    uint64_t rsvd = gp->efer & EFER_NXE ? 0 : PTE_NX;

    return gp->maxphyaddr < 52 ? rsvd | (PTE_ADDR & ~(BIT(gp->maxphyaddr) - 1)) : rsvd;
}

/* From CR3 to the leaf. False: not present (*error = 0) or a reserved bit is set. */
static bool walk_down(const struct guest_paging *gp, gva_t gva, struct walk *w, uint32_t *error)
{
    uint64_t rsvd = reserved_everywhere(gp);
    gpa_t table = gp->cr3 & PTE_ADDR;
    unsigned l;

    for (l = PT_LEVELS;; l--) {
        uint64_t entry;
        bool leaf;

        w->addr[l] = table + pt_index(gva, l) * sizeof(entry);
        w->entry[l] = entry = entry_read(w->addr[l]);
        if (!(entry & PTE_P)) {
            *error = 0;
            return false;
        }
        leaf = pte_is_leaf(entry, l);
        if (entry & (rsvd | (leaf ? formats[l].rsvd_leaf : formats[l].rsvd_table))) {
            *error = PF_P | PF_RSVD;
            return false;
        }
        if (leaf) {
            w->level = l;
            return true;
        }
        table = entry & PTE_ADDR;
    }
}

/* Combine the rights of all levels (SDM 3A 4.6.1) into *res. Returns whether the access is allowed.
 */
static bool walk_rights(const struct guest_paging *gp, const struct walk *w, unsigned access,
                        struct walk_result *res)
{
    uint64_t all = ~0ull, any = 0;
    unsigned l;

    for (l = w->level; l <= PT_LEVELS; l++) {
        all &= w->entry[l];
        any |= w->entry[l];
    }
    res->user = all & PTE_U;
    res->nx = any & PTE_NX; /* reserved, hence clear, without EFER.NXE */
    if (access & WALK_USER) {
        res->writable = res->user && (all & PTE_W);
    } else {
        res->writable = (all & PTE_W) || !(gp->cr0 & CR0_WP);
    }
    if ((access & WALK_USER) && !res->user) {
        return false;
    }
    if ((access & WALK_WRITE) && !res->writable) {
        return false;
    }
    if (access & WALK_FETCH) {
        bool smep = !(access & WALK_USER) && res->user && (gp->cr4 & CR4_SMEP);

        return !res->nx && !smep;
    }
    return true;
}

/* Bits of the error code that describe the access, not the tables. */
static uint32_t access_error(const struct guest_paging *gp, unsigned access)
{
    bool id = (access & WALK_FETCH) && ((gp->cr4 & CR4_SMEP) || (gp->efer & EFER_NXE));

    return (access & WALK_WRITE ? PF_W : 0) | (access & WALK_USER ? PF_U : 0) | (id ? PF_ID : 0);
}

int guest_walk(const struct guest_paging *gp, gva_t gva, unsigned access, struct walk_result *res)
{
    struct walk w;
    uint64_t leaf;

    do {
        *res = (struct walk_result){0};
        if (!walk_down(gp, gva, &w, &res->error_code)) {
            goto fault;
        }
        if (!walk_rights(gp, &w, access, res)) {
            res->error_code = PF_P;
            goto fault;
        }
    } while (!(access & WALK_PROBE) && !walk_mark(&w, access));

    leaf = w.entry[w.level];
    res->level = w.level;
    res->gpa = pte_leaf_addr(leaf, w.level) | (gva & (pt_span(w.level) - 1));
    res->dirty = (leaf & PTE_D) || ((access & WALK_WRITE) && !(access & WALK_PROBE));
    res->global = (leaf & PTE_G) && (gp->cr4 & CR4_PGE);
    memcpy(&res->entry[w.level], &w.entry[w.level], (PT_LEVELS + 1 - w.level) * sizeof(leaf));
    return 0;

fault:
    res->error_code |= access_error(gp, access);
    return -EFAULT;
}
