/* SPDX-License-Identifier: MIT */
/*
 * tb_gen_code and its inverse, tb_flush; precise state from a host PC. Protect first, read after: every page's bytes are
 * read only once writes to it trap (invariant I8).
 */
#include "dbt/translate-all.h"

#include "dbt/code-buffer.h"
#include "dbt/host.h"
#include "dbt/jump-table.h"
#include "dbt/kernel-links.h"
#include "dbt/link-set.h"
#include "dbt/store-site.h"
#include "dbt/x87-ip.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"

static uint64_t flush_count; /* owner: the CPU that translates */

/* Owner: the CPU that translates. Too large for the stack; one block is translated at a time. */
static struct DisasContext disas;

int dbt_init(struct CPUState *cpu)
{
    int ret = code_buffer_init();

    if (ret == 0) {
        ret = link_sets_init(code_buffer_region(), code_buffer_miss_stub());
    }
    if (ret == 0) {
        ret = tb_maint_init();
    }
    if (ret == 0) {
        tb_maint_register_cpu(cpu);
        jump_table_init();
        cpu->cflags_next_tb = -1u;
        cpu->exception_index = EXCP_NONE;
        cpu->old_exception = EXCP_NONE;
    }
    return ret;
}

uint64_t tb_flush_count(void)
{
    return flush_count;
}

/* Virtual pages (hashed) on which a TB has been made since the last tb_flush: most INVLPGs are for pages of data. */
#define VPAGE_BITS 15
static uint64_t vpage_has_tb[(1u << VPAGE_BITS) / 64]; /* owner: the CPU that translates */

static unsigned vpage_hash(gva_t va)
{
    uint64_t page = va >> PAGE_SHIFT;

    return (page ^ (page >> VPAGE_BITS)) & ((1u << VPAGE_BITS) - 1);
}

static void vpage_mark(gva_t va)
{
    unsigned h = vpage_hash(va);

    vpage_has_tb[h / 64] |= BIT(h % 64);
}

void tb_flush(struct CPUState *cpu)
{
    start_exclusive();
    LOG(TB, "flush %zu TBs, %llu bytes", tb_count(), (unsigned long long)code_buffer_used());
    x87_ip_before_flush(cpu);
    tb_maint_flush();
    jump_table_flush(true);
    link_sets_flush();
    kernel_links_forget();
    code_buffer_reset();
    store_sites_disarm();
    memset(vpage_has_tb, 0, sizeof(vpage_has_tb));
    flush_count++;
    CPU_STAT(cpu, tb_flush);
    end_exclusive();
}

/* Cost is proportional to the non-global entries, up to the log's size. */
static void jmp_cache_flush(struct CPUState *cpu, bool all)
{
    if (all || cpu->jmp_cache_logged > JMP_CACHE_LOG) {
        memset(cpu->tb_jmp_cache, 0, sizeof(cpu->tb_jmp_cache));
    } else {
        for (unsigned i = 0; i < cpu->jmp_cache_logged; i++) {
            cpu->tb_jmp_cache[cpu->jmp_cache_log[i]] = NULL;
        }
    }
    cpu->jmp_cache_logged = 0;
}

static void forget_kernel_links(struct CPUState *cpu, bool all)
{
    jmp_cache_flush(cpu, all);
    jump_table_flush(all);
    tb_unlink_cross_page(all);
    if (all) {
        kernel_links_forget();
    }
}

void dbt_forget_kernel_links(struct CPUState *cpu)
{
    forget_kernel_links(cpu, true);
}

void dbt_tlb_flushed(struct CPUState *cpu, enum tlb_flush kind)
{
    bool lasts = kind == TLB_FLUSH_LOCAL || (kind == TLB_FLUSH_GLOBAL && kernel_links_same(cpu));

    forget_kernel_links(cpu, !lasts);
    if (kind == TLB_FLUSH_MODES) {
        link_sets_forget();
    }
    link_set_enter(cpu->env.cr[3] & PAGE_MASK);
}

void dbt_tlb_page_flushed(struct CPUState *cpu, gva_t va)
{
    unsigned h = vpage_hash(va);

    if (vpage_has_tb[h / 64] & BIT(h % 64)) {
        forget_kernel_links(cpu, !kernel_links_same(cpu));
        link_set_enter(cpu->env.cr[3] & PAGE_MASK); /* once more: compares its entries; the others do when they are entered */
    }
}

static void out_of_memory(struct CPUState *cpu)
{
    snprintf(cpu->exit_msg, sizeof(cpu->exit_msg), "monitor out of memory for page descriptors; lower `memory`");
    cpu->exit_request = CPU_EXIT_ERROR;
    cpu->exception_index = EXCP_EXIT;
}

static struct TranslationBlock *tb_alloc(struct CPUState *cpu)
{
    struct TranslationBlock *tb = tcg_tb_alloc();

    if (!tb) {
        tb_flush(cpu);
        tb = tcg_tb_alloc();
    }
    return tb;
}

static void log_tb(const struct TranslationBlock *tb, const struct DisasContext *s)
{
    LOG(TB, "gen pc=%llx phys=%llx size=%u insns=%u host=%llx+%u cflags=%x", (unsigned long long)tb->pc,
        (unsigned long long)tb->page_addr[0], tb->size, tb->icount, (unsigned long long)tb->tc.ptr, tb->tc.size,
        tb->cflags);
    if (unlikely(log_mask & LOG_ASM)) {
        char text[96];

        for (unsigned i = 0; i < s->num_insns; i++) {
            const uint8_t *bytes = tb->page_addr[1] != TB_PAGE_ADDR_INVALID ? s->cross : s->page0 + s->insn_off[i];
            insn_format(&s->insn[i], bytes, tb->pc + s->insn_off[i], text, sizeof(text));
            LOG(ASM, "%llx: %s", (unsigned long long)(tb->pc + s->insn_off[i]), text);
        }
    }
}

/* Jumps emitted with a rel32 of their own lead to TBs that exist already: chain them before the code first runs. */
static void chain_direct_exits(struct CPUState *cpu, struct TranslationBlock *tb)
{
    for (int n = 0; n < (int)TB_MAX_JMP; n++) {
        if (!tb_exit_is_direct(tb, (unsigned)n)) {
            continue;
        }
        uint64_t target = tb->jmp_target_pc[n];
        struct TranslationBlock *dest = target == tb->pc ? tb : *tb_jmp_cache_slot(cpu, target, tb->flags, 0);
        if (dest && dest->pc == target && dest->flags == tb->flags && !(tb_cflags(dest) & ~CF_INVALID)) {
            tb_add_jump(tb, n, dest);
        }
    }
}

/*
 * Emit the block, behind a landing pad if it is to have one. Both lie on one page of the host if they can: a processor does not mind, but
 * where the machine is itself emulated, code on two pages is looked up each time that it is jumped to.
 */
static void emit_placed(struct DisasContext *s, bool pad)
{
    struct TranslationBlock *tb = s->tb;

    for (;;) {
        uint64_t start = code_buffer_next();

        tb->pad = pad ? jump_table_pad_before(tb->pc) : 0;
        tb->tc.ptr = s->e.base = code_buffer_next();
        s->next_slot = code_buffer_first_slot();
        s->next_link = link_first_slot();
        while (translator_emit(s) < 0) {
        }
        bool one_page = !((start ^ (tb->tc.ptr + s->e.len - 1)) & PAGE_MASK);

        if (likely(one_page) || !(start & ~PAGE_MASK)) {
            return;
        }
        code_buffer_next_page();
    }
}

struct TranslationBlock *tb_gen_code(struct CPUState *cpu, uint64_t pc, uint32_t flags, uint32_t cflags)
{
    struct DisasContext *s = &disas;
    tb_page_addr_t phys_pc = get_page_addr_code(cpu, pc, &s->page0);

    if (phys_pc == TB_PAGE_ADDR_INVALID) {
        return NULL;
    }
    if (tb_page_prepare(phys_pc) < 0) {
        out_of_memory(cpu);
        return NULL;
    }
    struct TranslationBlock *tb = tb_alloc(cpu);
    if (!tb) {
        out_of_memory(cpu);
        return NULL;
    }
    vpage_mark(pc);
    vpage_mark(pc + INSN_MAX_LEN - 1); /* a crossing TB also depends on the next page */
    tb->pc = pc;
    tb->global = cpu->code_page_global;
    tb->flags = flags;
    tb->cflags = cflags;
    tb->page_addr[0] = phys_pc;
    tb_htable_prefetch(tb);
    tb->self_check = tb_page_self_checks(phys_pc);
    s->cpu = cpu;
    s->tb = tb;
    s->region = code_buffer_region();
    s->miss_stub = code_buffer_miss_stub();
    s->page0_avail = PAGE_SIZE - (pc & ~PAGE_MASK);
    int ret = translator_decode(s);
    if (ret < 0) {
        if (ret == -ENOMEM) {
            out_of_memory(cpu);
        }
        return NULL;
    }
    emit_placed(s, cpu->want_pad && cflags == 0);
    code_buffer_commit(tb, s);
    log_tb(tb, s);
    CPU_STAT(cpu, tb_gen);
    cpu->stat[STAT_guest_insn_translated] += tb->icount;
    cpu->stat[STAT_guest_bytes_translated] += tb->size;
    cpu->stat[STAT_cache_bytes] += tb->tc.size;
    struct TranslationBlock *linked = tb_link_page(tb, phys_pc, tb->page_addr[1]);
    if (linked == tb) {
        chain_direct_exits(cpu, tb);
    }
    return linked;
}

static enum guest_pc_state run_guest_pc(const struct TranslationBlock *tb, const struct tb_run *run, uint64_t host_pc,
                                        uint64_t *pc, uint16_t *spilled)
{
    uint32_t host_off = (uint32_t)(host_pc - tb->tc.ptr);

    *spilled = run->spilled;
    *pc = tb->pc + run->guest_off;
    switch (run->kind) {
    case RUN_COPY:
        *pc += host_off - run->host_off;
        return GUEST_PC_EXACT;
    case RUN_GLUE:
        return run->arg & RUN_BOUNDARY && host_off == run->host_off ? GUEST_PC_EXACT : GUEST_PC_INSIDE;
    default:
        return GUEST_PC_TAIL;
    }
}

enum guest_pc_state tb_guest_pc(const struct TranslationBlock *tb, uint64_t host_pc, uint64_t *pc, uint16_t *spilled)
{
    return tb ? run_guest_pc(tb, tb_find_run(tb, host_pc), host_pc, pc, spilled) : GUEST_PC_NONE;
}

bool tb_insn_to_come(const struct TranslationBlock *tb, uint64_t from, uint64_t host_pc)
{
    if (from < tb->tc.ptr || from >= host_pc) {
        return false;
    }
    const struct tb_run *before = tb_find_run(tb, from), *run = tb_find_run(tb, host_pc);

    return before->kind == RUN_GLUE && before->arg & RUN_BOUNDARY && before->guest_off == run->guest_off && before != run &&
           from == tb->tc.ptr + before->host_off && host_pc == tb->tc.ptr + run->host_off &&
           (run->kind == RUN_COPY || (run->kind == RUN_GLUE && run->arg & RUN_BOUNDARY));
}

bool tb_fault_is_fetch(const struct TranslationBlock *tb, uint64_t host_pc)
{
    const struct tb_run *run = tb ? tb_find_run(tb, host_pc) : NULL;

    return run && run->kind == RUN_GLUE && run->arg & RUN_FETCH;
}

void cpu_restore_state_from(struct CPUState *cpu, const struct TranslationBlock *tb, const struct tb_run *run,
                            uint64_t host_pc)
{
    uint64_t rdi = cpu->env.regs[R_EDI], rcx = cpu->env.regs[R_ECX];
    uint16_t spilled;

    run_guest_pc(tb, run, host_pc, &cpu->env.eip, &spilled);
    for (unsigned bits = spilled; bits; bits &= bits - 1) {
        unsigned r = (unsigned)__builtin_ctz(bits);

        cpu->env.regs[r] = cpu->vp->spill[r];
    }
    if (run->kind == RUN_GLUE && run->arg & RUN_STRING) { /* some elements are done */
        cpu->env.regs[R_EDI] += rdi - cpu->vp->alias;
        if (spilled & BIT(R_ECX)) {
            cpu->env.regs[R_ECX] -= cpu->vp->alias_count - rcx;
        }
    }
}

bool cpu_restore_state(struct CPUState *cpu, uint64_t host_pc)
{
    const struct TranslationBlock *tb = tcg_tb_lookup(host_pc);

    if (!tb) {
        return false;
    }
    cpu_restore_state_from(cpu, tb, tb_find_run(tb, host_pc), host_pc);
    return true;
}

bool cpu_fetch_insn(struct CPUState *cpu, uint64_t pc, struct insn *insn, uint8_t *copy, const uint8_t **bytes)
{
    uint32_t avail = PAGE_SIZE - (pc & ~PAGE_MASK);

    if (get_page_addr_code(cpu, pc, bytes) == TB_PAGE_ADDR_INVALID) {
        return false;
    }
    if (insn_decode(insn, *bytes, MIN(avail, (uint32_t)INSN_MAX_LEN)) != DECODE_TRUNCATED) {
        return true;
    }
    const uint8_t *page1;
    memcpy(copy, *bytes, avail);
    if (get_page_addr_code(cpu, pc + avail, &page1) == TB_PAGE_ADDR_INVALID) {
        return false;
    }
    memcpy(copy + avail, page1, INSN_MAX_LEN - avail);
    *bytes = copy;
    insn_decode(insn, copy, INSN_MAX_LEN);
    return true;
}
