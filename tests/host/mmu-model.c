/* SPDX-License-Identifier: MIT */
/* See the header: plain code, one paragraph per paging structure, no tables and no cleverness. */
#include "tests/host/mmu-model.h"

static bool bit(uint64_t value, unsigned n)
{
    return (value >> n) & 1;
}

static uint64_t field(uint64_t value, unsigned high, unsigned low)
{
    return (value >> low) & ((high - low == 63) ? ~0ull : (1ull << (high - low + 1)) - 1);
}

/* Read the entry, record it. False on a fault, which is then described in *r: not present, or a
 * reserved bit. */
static bool take_entry(const struct mmu_model *m, struct mmu_result *r, uint64_t addr,
                       uint64_t *entry)
{
    *entry = m->read(addr);
    r->entry_addr[r->entries] = addr;
    r->entry[r->entries++] = *entry;
    if (!bit(*entry, 0)) {
        return false;
    }
    if (m->maxphyaddr < 52 && field(*entry, 51, m->maxphyaddr) != 0) {
        r->error_code = 0x9;
        return false;
    }
    if (!m->nxe && bit(*entry, 63)) {
        r->error_code = 0x9;
        return false;
    }
    return true;
}

static bool reserved(struct mmu_result *r)
{
    r->error_code = 0x9;
    return false;
}

static bool translate(const struct mmu_model *m, uint64_t va, struct mmu_result *r)
{
    uint64_t pml4e, pdpte, pde, pte;

    /* Table 4-15: bit 7 of a PML4E is reserved. */
    if (!take_entry(m, r, (field(m->cr3, 51, 12) << 12) + 8 * field(va, 47, 39), &pml4e)) {
        return false;
    }
    if (bit(pml4e, 7)) {
        return reserved(r);
    }

    /* Tables 4-16, 4-17: a PDPTE that maps a 1-GByte page has bits 29:13 reserved. */
    if (!take_entry(m, r, (field(pml4e, 51, 12) << 12) + 8 * field(va, 38, 30), &pdpte)) {
        return false;
    }
    if (bit(pdpte, 7)) {
        if (field(pdpte, 29, 13)) {
            return reserved(r);
        }
        r->page_level = 3;
        r->addr = (field(pdpte, 51, 30) << 30) + field(va, 29, 0);
        return true;
    }

    /* Tables 4-18, 4-19: a PDE that maps a 2-MByte page has bits 20:13 reserved. */
    if (!take_entry(m, r, (field(pdpte, 51, 12) << 12) + 8 * field(va, 29, 21), &pde)) {
        return false;
    }
    if (bit(pde, 7)) {
        if (field(pde, 20, 13)) {
            return reserved(r);
        }
        r->page_level = 2;
        r->addr = (field(pde, 51, 21) << 21) + field(va, 20, 0);
        return true;
    }

    /* Table 4-20. */
    if (!take_entry(m, r, (field(pde, 51, 12) << 12) + 8 * field(va, 20, 12), &pte)) {
        return false;
    }
    r->page_level = 1;
    r->addr = (field(pte, 51, 12) << 12) + field(va, 11, 0);
    return true;
}

struct mmu_result mmu_model_walk(const struct mmu_model *m, uint64_t va, struct mmu_access access)
{
    struct mmu_result r = {0};
    bool rw = true, allowed;
    unsigned i;

    r.ok = translate(m, va, &r);
    if (r.ok) {
        r.user = true;
        for (i = 0; i < r.entries; i++) {
            rw = rw && bit(r.entry[i], 1);
            r.user = r.user && bit(r.entry[i], 2);
            r.nx = r.nx || bit(r.entry[i], 63);
        }
        r.dirty = bit(r.entry[r.entries - 1], 6);
        r.global = m->pge && bit(r.entry[r.entries - 1], 8);

        /* SDM 3A 4.6.1: supervisor-mode and user-mode accesses. */
        if (!access.user) {
            r.writable = rw || !m->wp;
            if (access.fetch) {
                allowed = !r.nx && !(m->smep && r.user);
            } else {
                allowed = !access.write || r.writable;
            }
        } else {
            r.writable = rw && r.user;
            if (access.fetch) {
                allowed = r.user && !r.nx;
            } else {
                allowed = r.user && (!access.write || rw);
            }
        }
        if (!allowed) {
            r.ok = false;
            r.error_code = 0x1;
        }
    }
    if (!r.ok) {
        /* SDM 3A 4.7. */
        if (access.write) {
            r.error_code |= 0x2;
        }
        if (access.user) {
            r.error_code |= 0x4;
        }
        if (access.fetch && (m->nxe || m->smep)) {
            r.error_code |= 0x10;
        }
    }
    return r;
}
