/* SPDX-License-Identifier: MIT */
/*
 * The table of store sites, direct-mapped by the RAM address of the storing instruction, and their memos.
 *
 *     cold --threshold misses--> hot, memo renewed by each further miss --no miss for a while after the memo was taken away--> cold
 *
 * A memo dies when code is linked on what it covers, when aliases are dropped (any change of a mapping), when all TBs
 * are flushed, and every few ticks, to see whether it is still wanted. A site without memo takes its fault as if it were
 * cold, so nothing here has to be complete, only never wrong. Emits nothing (translate-site.c).
 */
#include "dbt/store-site.h"

#include "dbt/code-buffer.h"
#include "dbt/host.h"
#include "dbt/store-form.h"
#include "dbt/tb-internal.h"
#include "kernel/lib/log.h"

#define TICKS_PER_ROUND 64 /* host interrupts */
#define IDLE_ROUNDS     4
#define MOVES_TO_WIDEN  2
#define CHANGES_MAX     12

/* An address that no canonical one equals, not even when its three highest bits are shifted out. */
#define NOWHERE 0x0000c00000000000ull

unsigned store_site_threshold = 4;

/* Owner: the CPU that translates. */
static struct store_site sites[STORE_SITES];
static struct store_site *armed[STORE_SITES]; /* in no order */
static unsigned nr_armed;
unsigned store_sites_hot;

/* How many hot sites are on the pages of each hash. */
#define HOT_PAGES 1024u /* power of two */
static uint16_t hot_pages[HOT_PAGES];
_Static_assert(STORE_SITES <= UINT16_MAX, "all may be on one page");

static uint16_t *hot_page(tb_page_addr_t ram)
{
    uint64_t page = ram >> PAGE_SHIFT;

    return &hot_pages[(page ^ (page >> 10)) & (HOT_PAGES - 1)];
}

bool store_site_page_hot(tb_page_addr_t ram)
{
    return *hot_page(ram);
}

/* By one more hot site, or (-1) one less. */
static void count_hot(const struct store_site *s, int by)
{
    store_sites_hot += (unsigned)by;
    *hot_page(s->ram) += (uint16_t)by;
}

enum site_kind store_site_kind(const struct insn *in)
{
    bool plain = in->addr_size == 8 && in->seg != R_FS && in->seg != R_GS;

    if (store_form(in) != STORE_OPERAND || !plain || in->mem == MEM_BT || in->mem == MEM_POP || in->mem_size > 64) {
        return SITE_NONE;
    }
    if (in->is_rip_rel || (in->base == R_NONE && in->index == R_NONE)) {
        return SITE_CONST;
    }
    return in->index == R_NONE && !((in->gpr_read | in->gpr_write) & BIT(R_ECX)) ? SITE_BASE : SITE_ANY;
}

static struct store_site *site_entry(tb_page_addr_t ram, bool user)
{
    return &sites[(ram ^ (ram >> 8) ^ (ram >> 16) ^ user) & (STORE_SITES - 1)];
}

static bool site_is(const struct store_site *s, tb_page_addr_t ram, bool user)
{
    return s->used && s->ram == ram && s->user == user;
}

/* Did this instruction make the site hot? Others may have taken its place since. */
static bool made_hot_by(const struct store_site *s, const struct insn *insn)
{
    return s->hot && s->size == insn->mem_size && s->kind == store_site_kind(insn);
}

const struct store_site *store_site_find_hot(tb_page_addr_t ram, bool user, const struct insn *insn)
{
    const struct store_site *s = site_entry(ram, user);

    return site_is(s, ram, user) && made_hot_by(s, insn) ? s : NULL;
}

uint32_t store_site_slot(const struct store_site *site)
{
    return 1 + 2 * (uint32_t)(site - sites);
}

/* ---- memos ---- */

static void set_slots(const struct store_site *s, uint64_t v0, uint64_t v1)
{
    uint64_t *slot = &code_buffer_region()->slots_rw[store_site_slot(s)];

    slot[0] = v0;
    slot[1] = v1;
}

static void disarm(struct store_site *s)
{
    if (s->armed) {
        armed[s->armed_at] = armed[--nr_armed];
        armed[s->armed_at]->armed_at = s->armed_at;
    }
    s->armed = false;
    set_slots(s, s->kind == SITE_CONST ? s->va : -NOWHERE, 0);
}

void store_sites_disarm(void)
{
    while (nr_armed) {
        disarm(armed[nr_armed - 1]);
    }
}

void store_site_linked(tb_page_addr_t first, tb_page_addr_t last)
{
    for (unsigned i = nr_armed; i-- > 0;) { /* downwards: the last one takes the place of one that goes */
        if (armed[i]->first <= last && first <= armed[i]->last) {
            disarm(armed[i]);
        }
    }
}

/* The largest span of which one fits into the gap [first, last] of a page with a store of len bytes. */
static unsigned span_for_gap(unsigned first, unsigned last, unsigned len)
{
    unsigned starts = last - first + 2 - len;

    return starts >= 2048 ? 2048 : starts >= 256 ? 256 : starts >= 32 ? 32 : 1;
}

/* Fill in the memo for a store at va; the gap round it is [gap_first, gap_last] of its page. */
static void arm(struct CPUState *cpu, struct store_site *s, gva_t va, unsigned len, unsigned gap_first, unsigned gap_last)
{
    unsigned off = va & ~PAGE_MASK, highest = gap_last + 2 - len - s->span;
    unsigned wanted = va >= s->va ? off : off - MIN(off, s->span - 1u); /* a site that moves downwards goes on so */
    gva_t lo = (va & PAGE_MASK) + MAX(gap_first, MIN(wanted, highest));
    tb_page_addr_t ram = probe_page_addr_data(cpu, lo);
    uint64_t alias = store_alias(cpu, lo, s->span - 1 + len);

    if (!alias || ram == TB_PAGE_ADDR_INVALID || !store_alias_may_last(ram)) {
        return;
    }
    if (!s->armed) {
        s->armed_at = (uint16_t)nr_armed;
        armed[nr_armed++] = s;
    }
    s->armed = true;
    s->idle = 0;
    s->first = ram;
    s->last = ram + s->span - 1 + len - 1;
    if (s->kind == SITE_CONST) {
        set_slots(s, alias, 0);
    } else {
        set_slots(s, -lo, s->kind == SITE_BASE ? alias - lo : alias);
    }
    CPU_STAT(cpu, store_site_armed);
    LOG(SMC, "store site %llx: memo %llx+%u, alias %llx", (unsigned long long)s->ram, (unsigned long long)lo, s->span,
        (unsigned long long)alias);
}

/* ---- heating and cooling ---- */

/* Translate the instruction anew, with or without a check. */
static void retranslate(struct CPUState *cpu, const struct store_site *s)
{
    tb_invalidate_phys_range(cpu, s->ram, s->ram, 0);
}

static void cool(struct CPUState *cpu, struct store_site *s)
{
    disarm(s);
    s->hot = false;
    s->misses = 0;
    count_hot(s, -1);
    CPU_STAT(cpu, store_site_cooled);
    LOG(SMC, "store site %llx is plain again", (unsigned long long)s->ram);
    retranslate(cpu, s);
}

/* The entry of the site, taken over from another one unless that is hot. */
static struct store_site *site_get(tb_page_addr_t ram, bool user)
{
    struct store_site *s = site_entry(ram, user);

    if (!site_is(s, ram, user)) {
        if (s->hot) {
            return NULL;
        }
        *s = (struct store_site){.ram = ram, .used = true, .user = user};
    }
    return s;
}

/*
 * The narrower the span, the fewer instructions (translate-site.c), so it begins with one address. A site that goes on missing
 * beside its memo gets the widest span that fits; a gap that has become narrower, what fits.
 */
static unsigned choose_span(struct store_site *s, unsigned fits)
{
    if (!s->hot || s->kind == SITE_CONST) {
        return 1;
    }
    if (s->armed && s->span < fits && ++s->moves >= MOVES_TO_WIDEN) {
        return fits;
    }
    return MIN(s->span, fits);
}

void store_site_miss(struct CPUState *cpu, uint64_t host_pc, const struct insn *insn, gva_t va, uint64_t len)
{
    const struct TranslationBlock *tb = tcg_tb_lookup(host_pc);
    unsigned gap_first, gap_last, span;
    struct store_site *s;
    tb_page_addr_t ram;

    if (!store_site_threshold || !tb || tb->cflags & CF_COUNT_MASK || store_site_kind(insn) == SITE_NONE) {
        return;
    }
    ram = tb->page_addr[0] + (cpu->env.eip - tb->pc);
    s = site_get(ram, cpu->env.cpl == 3);
    if (!s) {
        return;
    }
    CPU_STAT(cpu, store_site_miss);
    /* After CHANGES_MAX nothing fits it; its page's treatment is what can still help. */
    if (++s->misses < store_site_threshold || s->changes > CHANGES_MAX || (va & ~PAGE_MASK) + len > PAGE_SIZE ||
        !tb_page_free_gap(probe_page_addr_data(cpu, va), (unsigned)len, &gap_first, &gap_last)) {
        return;
    }
    span = choose_span(s, span_for_gap(gap_first, gap_last, (unsigned)len));
    if (!made_hot_by(s, insn) || span != s->span) {
        if (!s->hot) {
            count_hot(s, 1);
            CPU_STAT(cpu, store_site_hot);
        }
        s->hot = true;
        s->kind = store_site_kind(insn);
        s->size = insn->mem_size;
        s->span = (uint16_t)span;
        s->va = va;
        s->moves = 0;
        s->changes++;
        disarm(s);
        retranslate(cpu, s);
        LOG(SMC, "store site %llx is hot, kind %u", (unsigned long long)s->ram, s->kind);
    }
    if (s->kind == SITE_CONST && s->va != va) { /* other bytes, or another mapping of them: its translation says s->va */
        s->va = va;
        disarm(s);
        retranslate(cpu, s);
    }
    arm(cpu, s, va, (unsigned)len, gap_first, gap_last);
    s->va = va;
}

void store_sites_tick(struct CPUState *cpu)
{
    static unsigned ticks; /* owner: the CPU that translates */

    if (!store_sites_hot || ++ticks % TICKS_PER_ROUND) {
        return;
    }
    for (unsigned i = 0; i < STORE_SITES; i++) {
        struct store_site *s = &sites[i];

        if (!s->hot) {
            continue;
        }
        if (s->armed) {
            disarm(s);
        } else if (++s->idle >= IDLE_ROUNDS) {
            cool(cpu, s);
        }
    }
}

void store_site_for_each(tb_page_addr_t addr, void (*fn)(const struct store_site *site))
{
    for (unsigned i = 0; i < STORE_SITES; i++) {
        const struct store_site *s = &sites[i];

        if (s->used && (!((s->ram ^ addr) & PAGE_MASK) || (s->armed && !((s->first ^ addr) & PAGE_MASK)))) {
            fn(s);
        }
    }
}

/* ---- invariant ---- */

struct verify {
    const struct store_site *site;
    int bad;
};

static void verify_tb(const struct TranslationBlock *tb, void *opaque)
{
    struct verify *v = opaque;

    for (unsigned n = 0; n < 2 && tb->page_addr[n] != TB_PAGE_ADDR_INVALID; n++) {
        tb_page_addr_t page = tb->page_addr[n] & PAGE_MASK;
        unsigned first, last;

        tb_page_extent(tb, n, &first, &last);
        for (tb_page_addr_t at = MAX(v->site->first, page + first); at <= MIN(v->site->last, page + last); at++) {
            if (!tb_range_in_hole(tb, at, at)) {
                log_line("tb", "violated: the memo of the store at %#llx covers TB pc=%#llx", (unsigned long long)v->site->ram,
                         (unsigned long long)tb->pc);
                v->bad++;
                break;
            }
        }
    }
}

int store_sites_check(void)
{
    struct verify v = {0};

    for (v.site = sites; v.site < sites + STORE_SITES; v.site++) {
        if (v.site->used && v.site->armed) {
            tb_for_each_on_page(v.site->first & PAGE_MASK, verify_tb, &v);
        } else if (v.site->used && v.site->hot &&
                   code_buffer_region()->slots_rw[store_site_slot(v.site)] != (v.site->kind == SITE_CONST ? v.site->va : -NOWHERE)) {
            log_line("tb", "violated: the store at %#llx has no memo, and goes elsewhere", (unsigned long long)v.site->ram);
            v.bad++;
        }
    }
    return v.bad;
}
