/* SPDX-License-Identifier: MIT */
/*
 * Control flow: direct exits that can be chained, calls, returns and indirect branches.
 *
 * A block, with its exits (every int3 is a recorded exit):
 *
 *     body ...                      copied and re-addressed instructions
 *     jcc   taken                   -> L0, or straight to the chained TB (patchable rel32)
 *     body ...                      not taken: the block goes on
 *     jcc   taken                   -> L2, or straight to the chained TB
 *     jmp   *slot[1](%rip)          -> fall-through TB once chained; until then to S1
 *     L0: jmp *slot[0](%rip)        -> taken TB once chained; until then to S0
 *     L2: jmp *slot[2](%rip)
 *     S0: int3
 *     S1: int3
 *     S2: int3
 *
 * Exits are numbered in the order in which they are given out (new_exit()).
 */
#include "dbt/translate-emit.h"

#include "dbt/link-set.h"
#include "kernel/lib/log.h"

/* ---- direct exits ---- */

static bool may_chain(const struct DisasContext *s)
{
    return !(s->tb->cflags & CF_NO_GOTO_TB);
}

/* Does a jump to target depend on the mapping of a page that the TB is not on, so that it may be another one in each address space?
 * User code only: a slot of the link sets then. (An instruction at target may cross into the next page.) */
static bool exit_needs_link(const struct DisasContext *s, uint64_t target)
{
    return tb_is_user(s->tb) && link_slots_left() >= TB_MAX_JMP &&
           ((target ^ s->tb->pc) & PAGE_MASK || (target & ~PAGE_MASK) > PAGE_SIZE - INSN_MAX_LEN);
}

/* May exit n be a patchable rel32? Always where patching code is cheap. Where our own machine is emulated, patching code that has
 * run is dear (docs/translation.md): then only if the target is here already and on our page: a loop, a branch back. */
static bool exit_is_direct(const struct DisasContext *s, uint64_t target)
{
    const struct TranslationBlock *tb = s->tb;

    if (!may_chain(s) || exit_needs_link(s, target)) {
        return false;
    }
    if (s->region->patch_code) {
        return true;
    }
    if (((target ^ tb->pc) & PAGE_MASK) || tb->page_addr[1] != TB_PAGE_ADDR_INVALID) {
        return false;
    }
    const struct TranslationBlock *dest = *tb_jmp_cache_slot(s->cpu, target, tb->flags, 0);
    return target == tb->pc || (dest && dest->pc == target && dest->flags == tb->flags);
}

/* Prefixes that a jump ignores: a hint of Jcc that CPUs have not heeded since 2006 (SDM vol. 2 2.1.1), and the operand size of a near jump, which is 64
 * bits anyway (2.2.1.2); a REX in front of another is none. */
#define PAD_JCC 0x2e
#define PAD_JMP 0x48

/* Put so many prefixes before the jump that the rel32 after its opcode of `opcode_len` bytes lies in one aligned quadword: it will be
 * patched by one store, which is atomic then (SDM vol. 3 8.1.1). No nops: they would be executed. Returns how many. */
static unsigned align_rel32(struct DisasContext *s, unsigned opcode_len, uint8_t prefix)
{
    unsigned at = (unsigned)(s->e.base + s->e.len + opcode_len) & 7, n = at > 4 ? 8 - at : 0;

    for (unsigned i = 0; i < n; i++) {
        emit8(&s->e, prefix);
    }
    return n;
}

static int new_exit(struct DisasContext *s, uint64_t target, uint32_t goff)
{
    unsigned n = s->nr_exits++;

    ASSERT(n < TB_MAX_JMP);
    s->tb->jmp_target_pc[n] = target;
    s->exit[n].insn_at = 0;
    s->exit[n].goff = (uint16_t)goff;
    return (int)n;
}

static void emit_exit_stub(struct DisasContext *s, int n)
{
    s->tb->jmp_reset_offset[n] = (uint16_t)s->e.len;
    emit_exit_trap(s, RUN_EXIT_JMP, (uint8_t)n, s->exit[n].goff);
}

void emit_exit_again(struct DisasContext *s, uint32_t goff)
{
    emit_exit_stub(s, new_exit(s, s->tb->pc + goff, goff));
}

void patch_here(struct DisasContext *s, uint32_t at)
{
    uint32_t rel = s->e.len - (at + 4);

    if (!s->e.overflow) {
        memcpy(s->e.buf + at, &rel, 4);
    }
}

/* Here begins, off the hot path, exit n to target, which a rel32 emitted before leads to. */
static void emit_slot_jump(struct DisasContext *s, int n, uint64_t target)
{
    if (!may_chain(s)) {
        emit_exit_stub(s, n);
    } else if (exit_needs_link(s, target)) {
        s->tb->jmp_slot[n] = s->next_link | JMP_SLOT_LINK;
        emit_jmp_slot(&s->e, s->region->links_exec + s->next_link++ * 8ull);
    } else {
        s->tb->jmp_slot[n] = s->next_slot;
        emit_jmp_slot(&s->e, s->region->slots_exec + s->next_slot++ * 8ull);
    }
}

/* An exit that is fallen into. */
static void emit_exit(struct DisasContext *s, uint64_t target, uint32_t goff)
{
    int n = new_exit(s, target, goff);

    if (!exit_is_direct(s, target)) {
        emit_slot_jump(s, n, target);
        return;
    }
    align_rel32(s, 1, PAD_JMP);
    emit8(&s->e, 0xe9);
    s->tb->jmp_insn_offset[n] = (uint16_t)s->e.len;
    emit32(&s->e, 0);
}

/* An exit that a rel32 leads to, which is emitted here: it is chained itself, or leads to what emit_far_exits() adds. */
static void emit_exit_rel32(struct DisasContext *s, uint64_t target, uint32_t goff)
{
    int n = new_exit(s, target, goff);

    if (exit_is_direct(s, target)) {
        s->tb->jmp_insn_offset[n] = (uint16_t)s->e.len;
    } else {
        s->exit[n].insn_at = s->e.len;
        if (may_chain(s) && !exit_needs_link(s, target)) {
            s->tb->jmp_insn_offset[n] = (uint16_t)(s->e.len | TB_JMP_OFFSET_LATER);
        }
    }
    emit32(&s->e, 0);
}

void emit_far_exits(struct DisasContext *s)
{
    struct TranslationBlock *tb = s->tb;

    for (unsigned n = 0; n < s->nr_exits; n++) {
        if (s->exit[n].insn_at) {
            patch_here(s, s->exit[n].insn_at);
            add_run(s, RUN_GLUE, 0, s->exit[n].goff, 0);
            emit_slot_jump(s, (int)n, tb->jmp_target_pc[n]);
        }
    }
    for (unsigned n = 0; n < s->nr_exits; n++) {
        bool direct = tb_exit_is_direct(tb, n);

        if (direct || tb->jmp_slot[n]) {
            if (direct) {
                patch_here(s, tb->jmp_insn_offset[n]);
            }
            emit_exit_stub(s, (int)n);
        }
    }
}

void emit_jmp_insn(struct DisasContext *s, unsigned i, uint64_t target)
{
    add_run(s, RUN_GLUE, RUN_BOUNDARY, s->insn_off[i], 0);
    emit_exit(s, target, s->insn_off[i]);
}

void emit_jcc(struct DisasContext *s, unsigned i, uint64_t next, uint64_t target)
{
    uint32_t goff = s->insn_off[i];

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    if (exit_is_direct(s, target)) {
        align_rel32(s, 2, PAD_JCC);
    }
    emit8(&s->e, 0x0f);
    emit8(&s->e, 0x80 | s->insn[i].cond);
    emit_exit_rel32(s, target, goff);
    if (i + 1 == s->num_insns) {
        emit_exit(s, next, goff);
    }
}

/* loop/loope/loopne/jrcxz have an 8-bit displacement only: they jump over the fall-through exit's jump. */
void emit_loop(struct DisasContext *s, unsigned i, uint64_t next, uint64_t target)
{
    const struct insn *insn = &s->insn[i];
    uint32_t goff = s->insn_off[i];

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_bytes(&s->e, insn_host_bytes(s, i), insn->len - 1u);
    emit8(&s->e, 5); /* over the jmp rel32 below */
    add_run(s, RUN_TAIL, 0, goff, 0);
    if (exit_is_direct(s, next)) {
        unsigned n = align_rel32(s, 1, PAD_JMP);

        if (n && !s->e.overflow) {
            s->e.buf[s->e.len - n - 1] = (uint8_t)(5 + n);
        }
    }
    emit8(&s->e, 0xe9);
    emit_exit_rel32(s, next, goff);
    emit_exit(s, target, goff);
}

/* ---- calls, returns, indirect branches ---- */

/* push $return_address. One instruction, no register, no flags; the guest's stack sees the guest's address. */
static void emit_push_return(struct DisasContext *s, uint64_t ret)
{
    if (fits_simm32(ret)) {
        emit8(&s->e, 0x68);
        emit32(&s->e, (uint32_t)ret);
    } else {
        s->region->slots_rw[s->next_slot] = ret;
        emit_push_slot(&s->e, s->region->slots_exec + s->next_slot * 8ull);
        s->next_slot++;
    }
}

void emit_call(struct DisasContext *s, unsigned i, uint64_t next, uint64_t target)
{
    uint32_t goff = s->insn_off[i];

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    if (s->tb->cflags & CF_ALIAS) {
        emit_push_return_alias(s, next, goff, 0);
    } else {
        emit_push_return(s, next);
        add_run(s, RUN_TAIL, 0, goff, 0);
    }
    emit_exit(s, target, goff);
}

static uint64_t target_addr(const struct DisasContext *s)
{
    return s->region->vcpu_addr + offsetof(struct vcpu_page, target);
}

/* movzwl %reg16, %ecx */
static void emit_index_reg(struct emit *e, unsigned reg)
{
    if (reg >= 8) {
        emit8(e, 0x41);
    }
    emit_bytes(e, "\x0f\xb7", 2);
    emit8(e, (uint8_t)(0xc0 | R_ECX << 3 | (reg & 7)));
}

/* movzwl target, %ecx */
static void emit_index_target(struct DisasContext *s)
{
    emit_bytes(&s->e, "\x0f\xb7\x0c\x25", 4);
    emit32(&s->e, (uint32_t)target_addr(s));
}

/* Guest rcx is spilled, the guest's target in the vCPU page and, unless reg is R_NONE, in reg: look it up inline, or leave. The table's index is
 * compared with nothing: the pad that it leads to has the same low 16 bits (jump-table.c). */
static void emit_lookup(struct DisasContext *s, uint32_t goff, unsigned reg)
{
    add_run(s, RUN_TAIL, 0, goff, BIT(R_ECX));
    if (s->tb->cflags & CF_NO_GOTO_PTR) {
        emit_jmp(&s->e, s->miss_stub);
        return;
    }
    if (reg == R_NONE) {
        emit_index_target(s);
    } else {
        emit_index_reg(&s->e, reg);
    }
    emit_table_jmp(&s->e, s->region->table_addr);
}

/* The guest's return address to the vCPU page: the only access to its memory, before any change of state. An instruction less through
 * memory; but a CPU of silicon has the table's index sooner through a register. Returns the register, or R_NONE. */
static unsigned emit_pop_target(struct DisasContext *s)
{
    if (s->region->patch_code) {
        emit8(&s->e, 0x58 | R_ECX);
        return R_ECX;
    }
    emit_bytes(&s->e, "\x8f\x04\x25", 3);
    emit32(&s->e, (uint32_t)target_addr(s));
    return R_NONE;
}

void emit_ret(struct DisasContext *s, unsigned i)
{
    const struct insn *insn = &s->insn[i];
    static const uint8_t lea_rsp[] = {0x48, 0x8d, 0xa4, 0x24}; /* lea disp32(%rsp), %rsp */

    add_run(s, RUN_GLUE, RUN_BOUNDARY, s->insn_off[i], 0);
    emit_spill(s, R_ECX);
    unsigned reg = emit_pop_target(s);
    add_run(s, RUN_TAIL, 0, s->insn_off[i], BIT(R_ECX));
    if (insn->imm_size) {
        emit_bytes(&s->e, lea_rsp, sizeof(lea_rsp));
        emit32(&s->e, (uint32_t)insn->imm & 0xffff);
    }
    if (reg != R_NONE) {
        emit_store_abs(&s->e, reg, target_addr(s));
    }
    emit_lookup(s, s->insn_off[i], reg);
}

void emit_load_rm_rcx(struct DisasContext *s, unsigned i, uint64_t next)
{
    struct insn *insn = &s->insn[i];
    struct emit *e = &s->e;
    uint8_t prefix[2];
    unsigned n = 0;

    if (insn->seg == R_FS || insn->seg == R_GS) {
        prefix[n++] = insn->seg == R_FS ? 0x64 : 0x65;
    }
    if (insn->pfx & PFX_ASZ) {
        prefix[n++] = 0x67;
    }
    if (insn->is_rip_rel) {
        uint64_t target = insn_rip_target(insn, next);
        int64_t rel = (int64_t)(target - (emit_pc(e) + n + 7));
        bool absolute = fits_simm32(target) || insn->addr_size == 4;

        if (!absolute && rel != (int32_t)rel) {
            emit_mov_imm(e, R_ECX, target);
            add_run(s, RUN_GLUE, 0, s->insn_off[i], BIT(R_ECX));
            emit_bytes(e, prefix, n);
            emit_bytes(e, "\x48\x8b\x09", 3); /* mov (%rcx), %rcx */
            return;
        }
        emit_bytes(e, prefix, n);
        emit_bytes(e, "\x48\x8b", 2);
        if (absolute) {
            emit_bytes(e, "\x0c\x25", 2);
            emit32(e, (uint32_t)target);
        } else {
            emit8(e, 0x0d);
            emit_rel32(e, target);
        }
        return;
    }
    emit_bytes(e, prefix, n);
    emit8(e, 0x48 | (insn->rex & 3));
    emit8(e, 0x8b);
    emit8(e, (insn->modrm & 0xc7) | R_ECX << 3);
    emit_bytes(e, insn_bytes(s, i) + insn->modrm_off + 1, insn->len - insn->modrm_off - 1u);
}

void emit_indirect(struct DisasContext *s, unsigned i, uint64_t next)
{
    const struct insn *insn = &s->insn[i];
    uint32_t goff = s->insn_off[i];
    bool call = insn->kind == INSN_CALL_IND;
    unsigned reg = insn->is_mem ? R_ECX : insn->rm;

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_ECX);
    if (insn->is_mem) {
        emit_load_rm_rcx(s, i, next);
        add_run(s, call ? RUN_GLUE : RUN_TAIL, 0, goff, BIT(R_ECX));
    }
    emit_store_abs(&s->e, reg, target_addr(s));
    if (call && s->tb->cflags & CF_ALIAS) {
        emit_push_return_alias(s, next, goff, BIT(R_ECX));
    } else if (call) {
        add_run(s, RUN_GLUE, 0, goff, BIT(R_ECX));
        emit_push_return(s, next);
    }
    emit_lookup(s, goff, reg == R_ESP ? R_NONE : reg);
}

void emit_branch_to_rcx(struct DisasContext *s, uint32_t goff, bool call, uint64_t next)
{
    emit_store_abs(&s->e, R_ECX, target_addr(s));
    if (call) {
        emit_push_return(s, next);
    }
    emit_lookup(s, goff, R_ECX);
}

void emit_fall_through(struct DisasContext *s, uint32_t goff)
{
    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_exit(s, s->tb->pc + goff, goff);
}

void reset_exits(struct DisasContext *s)
{
    struct TranslationBlock *tb = s->tb;

    s->nr_exits = 0;
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        tb->jmp_reset_offset[n] = TB_JMP_OFFSET_INVALID;
        tb->jmp_insn_offset[n] = TB_JMP_OFFSET_INVALID;
        tb->jmp_slot[n] = 0;
    }
}
