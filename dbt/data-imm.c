/* SPDX-License-Identifier: MIT */
/*
 * Counts the writes that hit just an immediate or a displacement. Must not translate. A forgotten or a stale entry costs a little speed, never
 * correctness: a TB carries its own list of what it loads (TranslationBlock.hole).
 */
#include "dbt/data-imm.h"

#include "dbt/page-state.h"
#include "kernel/lib/log.h"

#define SITES 256u /* power of two */
/* A branch whose target is loaded loses its chain: it has to be patched so many times as often as an immediate. */
#define BRANCH_HITS 4u

/* Direct-mapped by address. Lock: tb_invalidate_lock for writing; read by the CPU that translates. */
static struct imm_site {
    tb_page_addr_t addr; /* of the first byte */
    uint8_t len;         /* bytes; 0 = empty */
    bool branch;         /* rel32 */
    uint16_t hits;
} sites[SITES];

void data_imm_init(void)
{
    memset(sites, 0, sizeof(sites));
}

static struct imm_site *site_of(tb_page_addr_t addr)
{
    return &sites[(addr ^ (addr >> 8) ^ (addr >> 16)) & (SITES - 1)];
}

static bool is_enough(const struct imm_site *site)
{
    uint32_t need = smc_policy.data_imm_hits;

    return smc_policy.adaptive && need && site->hits >= MIN(site->branch ? need * BRANCH_HITS : need, (uint32_t)UINT16_MAX);
}

bool data_imm_is_hot(tb_page_addr_t addr, unsigned len)
{
    const struct imm_site *site = site_of(addr);

    return site->addr == addr && site->len == len && is_enough(site);
}

static void count_hit(struct CPUState *cpu, tb_page_addr_t addr, unsigned len, bool branch)
{
    struct imm_site *site = site_of(addr);

    if (site->addr != addr || site->len != len) {
        *site = (struct imm_site){.addr = addr, .len = (uint8_t)len, .branch = branch};
    }
    if (is_enough(site)) {
        return; /* a TB that starts in the middle of the instruction: it dies every time */
    }
    site->hits++;
    if (is_enough(site)) {
        page_find(addr >> PAGE_SHIFT)->state.data_imm = true;
        if (cpu) {
            CPU_STAT(cpu, data_imm);
        }
        LOG(SMC, "field at %llx, %u bytes, is data", (unsigned long long)addr, len);
    }
}

static bool is_within(unsigned first, unsigned last, unsigned start, unsigned len)
{
    return first >= start && last < start + len;
}

void data_imm_note(struct CPUState *cpu, const struct TranslationBlock *tb, unsigned first, unsigned last)
{
    const uint8_t *bytes = tb_guest_bytes(tb);
    struct insn insn;

    if (!smc_policy.adaptive || !smc_policy.data_imm_hits || tb->page_addr[1] != TB_PAGE_ADDR_INVALID) {
        return;
    }
    for (unsigned off = 0; off <= first; off += insn.len) {
        if (insn_decode(&insn, bytes + off, MIN(tb->size - off, (unsigned)INSN_MAX_LEN)) != DECODE_OK || !insn.len) {
            return;
        }
        if (is_within(first - off, last - off, insn.imm_off, insn.imm_size) && imm_can_be_loaded(&insn)) {
            count_hit(cpu, tb->page_addr[0] + off + insn.imm_off, insn.imm_size, insn.imm_is_rel);
            return;
        }
        if (is_within(first - off, last - off, insn.disp_off, insn.disp_size) && disp_can_be_loaded(&insn)) {
            count_hit(cpu, tb->page_addr[0] + off + insn.disp_off, insn.disp_size, false);
            return;
        }
    }
}
