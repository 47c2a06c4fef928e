/* SPDX-License-Identifier: MIT */
/*
 * Pass 1 of translation: which instructions make up the block. Decodes until control flow, a sensitive instruction or the
 * page end. Every page's bytes are read only after the page has been write-protected. Emits nothing.
 */
#include "dbt/host.h"
#include "dbt/link-set.h"
#include "dbt/page-state.h"
#include "dbt/store-site.h"
#include "dbt/translate-emit.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"

const uint8_t *insn_bytes(const struct DisasContext *s, unsigned i)
{
    return s->tb->page_addr[1] != TB_PAGE_ADDR_INVALID ? s->cross : s->page0 + s->insn_off[i];
}

static bool is_legacy_prefix(uint8_t b)
{
    return b == 0x66 || b == 0x67 || b == 0xf0 || b == 0xf2 || b == 0xf3 || b == 0x64 || b == 0x65 || (b & 0xe7) == 0x26;
}

/*
 * A REX in front of a legacy prefix is ignored, but not by every host: QEMU's TCG gives 48 3e bf an immediate of 8 bytes, which
 * would swallow what was emitted behind it. It becomes another copy of the prefix, which changes nothing, not even the length.
 */
static void drop_dead_rex(uint8_t *bytes)
{
    unsigned n = 0;

    while (is_legacy_prefix(bytes[n]) || (bytes[n] & 0xf0) == 0x40) {
        n++;
    }
    while (n-- > 1) {
        if ((bytes[n - 1] & 0xf0) == 0x40 && is_legacy_prefix(bytes[n])) {
            bytes[n - 1] = bytes[n];
        }
    }
}

const uint8_t *insn_clean_bytes(struct DisasContext *s, unsigned i)
{
    memcpy(s->clean, insn_bytes(s, i), s->insn[i].len);
    drop_dead_rex(s->clean);
    return s->clean;
}

/* Sensitive instructions that behave in ring 3 as the guest expects, because their state is mirrored in the hardware. */
static bool sens_runs_natively(const struct CPUState *cpu, enum insn_sens sens)
{
    switch (sens) {
    case SENS_RDTSC:
        return cpu->env.tsc_offset == 0; /* all TBs die when that changes: cpu_tsc_offset_changed() */
    case SENS_XGETBV:
    case SENS_RDFSBASE:
    case SENS_RDGSBASE:
        return true;
    case SENS_WRFSBASE:
    case SENS_WRGSBASE:
        return !smc_policy.check; /* checks need the bases in the vCPU page */
    default:
        return false;
    }
}

static unsigned mov_cr_number(const struct insn *insn)
{
    return (insn->modrm >> 3 & 7) | (insn->rex & 4 ? 8 : 0);
}

bool sens_is_inline(const struct DisasContext *s, const struct insn *insn)
{
    const struct TranslationBlock *tb = s->tb;

    if (tb->cflags & CF_COUNT_MASK || insn->kind != INSN_SENS) {
        return false;
    }
    if (insn->sens == SENS_MOV_FROM_SREG) { /* to a register, of a segment register that there is */
        return !insn->is_mem && !(insn->pfx & PFX_LOCK) && (insn->modrm >> 3 & 7) <= R_GS;
    }
    if ((tb->flags & HF_CPL_MASK) != 0) {
        return false;
    }
    if (insn->sens == SENS_SWAPGS) { /* all TBs die when CR4.FSGSBASE is cleared; checks need the bases in the vCPU page */
        return s->cpu->env.cr[4] & CR4_FSGSBASE_MASK && !smc_policy.check && !(insn->pfx & PFX_LOCK);
    }
    if (insn->sens == SENS_MOV_FROM_CR) {
        return mov_cr_number(insn) == 2 && !(insn->pfx & PFX_LOCK);
    }
    return insn->sens == SENS_CLI || insn->sens == SENS_STI ||
           (insn->sens == SENS_PUSHF && !(insn->pfx & PFX_OSZ));
}

bool ends_block(const struct DisasContext *s, const struct insn *insn)
{
    return insn->kind != INSN_COPY && !sens_is_inline(s, insn);
}

/* Will more be asked of the instructions than how long they are and whether they are copied? */
static bool wants_operands(const struct TranslationBlock *tb)
{
    tb_page_addr_t ram = tb->page_addr[0];
    const struct PageDesc *pd = page_find(ram >> PAGE_SHIFT);

    return tb->cflags || tb->self_check || smc_policy.check || store_site_page_hot(ram) || !pd || pd->state.data_imm ||
           log_mask & LOG_ASM;
}

/* The first instruction runs over the page end: bring in the second page, protected before its bytes are read. */
static int decode_crossing(struct DisasContext *s)
{
    const uint8_t *page1;
    uint64_t pc1 = (s->tb->pc & PAGE_MASK) + PAGE_SIZE;
    tb_page_addr_t phys1 = get_page_addr_code(s->cpu, pc1, &page1);

    if (phys1 == TB_PAGE_ADDR_INVALID) {
        return -EFAULT;
    }
    if (tb_page_prepare(phys1) < 0) {
        return -ENOMEM;
    }
    s->tb->global &= s->cpu->code_page_global;
    memcpy(s->cross, s->page0, s->page0_avail);
    memcpy(s->cross + s->page0_avail, page1, INSN_MAX_LEN - s->page0_avail);
    insn_decode(&s->insn[0], s->cross, INSN_MAX_LEN);
    s->tb->page_addr[1] = phys1 & PAGE_MASK;
    s->tb->self_check |= tb_page_self_checks(phys1) ? 2 : 0;
    return 0;
}

/* Does the block go on behind a conditional jump, having passed `passed` of them? Not taken, such a jump costs nothing then. */
static bool goes_on(const struct TranslationBlock *tb, unsigned passed)
{
    return passed < TB_MAX_JMP - 2 && !tb->self_check && !(tb->cflags & (CF_COUNT_MASK | CF_NO_GOTO_TB));
}

int translator_decode(struct DisasContext *s)
{
    struct TranslationBlock *tb = s->tb;
    unsigned max = tb->cflags & CF_COUNT_MASK, passed = 0;
    bool all = wants_operands(tb);
    uint32_t off = 0;
    unsigned n = 0;

    if (tb->self_check) {
        s->page0_avail = MIN(s->page0_avail, TB_SELF_CHECK_BYTES);
        memcpy(s->snapshot, s->page0, s->page0_avail);
        s->page0 = s->snapshot;
    }
    max = max ? MIN(max, TB_MAX_INSNS) : TB_MAX_INSNS;
    tb->page_addr[1] = TB_PAGE_ADDR_INVALID;
    s->plain = 0;
    while (n < max && off < s->page0_avail) {
        struct insn *insn = &s->insn[n];
        uint32_t avail = s->page0_avail - off;

        unsigned len = all ? 0 : insn_decode_quick(insn, s->page0 + off, avail);

        if (len && insn->kind == INSN_COPY) {
            s->plain |= BIT(n);
            s->insn_off[n++] = (uint16_t)off;
            off += len;
            continue;
        }
        if (!len && insn_decode(insn, s->page0 + off, MIN(avail, INSN_MAX_LEN)) == DECODE_TRUNCATED) {
            if (n > 0) {
                break;
            }
            int ret = decode_crossing(s);
            if (ret < 0) {
                return ret;
            }
            max = 1; /* a TB touches at most two pages, and only by its first instruction */
        }
        if (insn->kind == INSN_SENS && sens_runs_natively(s->cpu, insn->sens)) {
            insn->kind = INSN_COPY;
        }
        s->insn_off[n++] = off;
        off += insn->len;
        if (insn->kind == INSN_JCC && goes_on(tb, passed)) {
            passed++;
        } else if (ends_block(s, insn) || (tb->self_check && insn_may_store(insn))) {
            break; /* what follows a store is looked at again before it runs */
        }
    }
    s->num_insns = n;
    return 0;
}
