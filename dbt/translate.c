/* SPDX-License-Identifier: MIT */
/*
 * Pass 2 of translation: guest instructions to host bytes, and the list of runs by which any host PC finds its guest state
 * again. Same ISA: most instructions are copied; control flow (translate-branch.c), far RIP-relative operands
 * (rip-relative.c) and sensitive instructions (translate-sens.c) are rewritten. Emitted glue never changes EFLAGS, never
 * writes the guest's stack, and needs no reserved register: it spills to the vCPU page. Must not look at guest
 * registers, nor at guest memory other than code bytes.
 */
#include "dbt/data-imm.h"
#include "dbt/page-state.h"
#include "dbt/store-site.h"
#include "dbt/translate-emit.h"
#include "kernel/lib/errno.h"

uint64_t spill_addr(const struct DisasContext *s, unsigned reg)
{
    return s->region->vcpu_addr + offsetof(struct vcpu_page, spill) + reg * 8u;
}

void add_run(struct DisasContext *s, enum run_kind kind, uint8_t arg, uint32_t guest_off, uint16_t spilled)
{
    if (s->nr_runs == TB_MAX_RUNS) {
        s->e.overflow = true;
        return;
    }
    if (s->shadow_off && guest_off == s->shadow_off && (kind == RUN_COPY || kind == RUN_GLUE)) {
        arg |= RUN_SHADOW;
    }
    s->run[s->nr_runs++] = (struct tb_run){
        .host_off = s->e.len, .guest_off = guest_off, .spilled = spilled, .kind = kind, .arg = arg};
}

void add_copy_run(struct DisasContext *s, uint32_t guest_off)
{
    if (s->nr_runs > 0) {
        const struct tb_run *r = &s->run[s->nr_runs - 1];
        if (r->kind == RUN_COPY && s->e.len - r->host_off == guest_off - r->guest_off) {
            return;
        }
    }
    add_run(s, RUN_COPY, 0, guest_off, 0);
}

void emit_spill(struct DisasContext *s, unsigned reg)
{
    emit_store_abs(&s->e, reg, spill_addr(s, reg));
}

/* A register that the instruction does not name and that encodes as a plain base: not rsp, rbp, r8-r15. */
static unsigned pick_scratch(const struct insn *insn)
{
    static const uint8_t order[] = {R_ESI, R_EDI, R_EBX, R_EDX, R_ECX, R_EAX};
    uint32_t used = insn->gpr_read | insn->gpr_write;

    for (unsigned i = 0; i < sizeof(order); i++) {
        if (!(used & BIT(order[i]))) {
            return order[i];
        }
    }
    return R_EBX; /* no instruction with a ModRM operand names six implicit low registers */
}

/* lea reg, [rip + disp] is a constant. */
static void emit_lea_constant(struct emit *e, const struct insn *insn, uint64_t target)
{
    if (insn->op_size == 2) {
        emit8(e, 0x66);
        if (insn->reg >= 8) {
            emit8(e, 0x41);
        }
        emit8(e, 0xb8 + (insn->reg & 7));
        emit16(e, (uint16_t)target);
    } else {
        emit_mov_imm(e, insn->reg, insn->op_size == 4 ? (uint32_t)target : target);
    }
}

static void emit_copy(struct DisasContext *s, unsigned i)
{
    const struct insn *insn = &s->insn[i];
    const uint8_t *bytes = insn_host_bytes(s, i);
    uint32_t goff = s->insn_off[i];
    uint64_t next = s->tb->pc + goff + insn->len;

    emit_settle_flags(s, i);
    if (!insn->is_rip_rel) {
        add_copy_run(s, goff);
        emit_bytes(&s->e, bytes, insn->len);
        return;
    }
    uint64_t target = insn_rip_target(insn, next);
    if (insn->enc == ENC_LEGACY && insn->map == 0 && insn->opcode == 0x8d) {
        add_copy_run(s, goff);
        emit_lea_constant(&s->e, insn, target);
        return;
    }
    add_copy_run(s, goff);
    if (emit_rip_relative(&s->e, insn, bytes, target)) {
        return;
    }
    s->nr_runs -= s->run[s->nr_runs - 1].host_off == s->e.len; /* the stretch has not begun after all */
    unsigned scratch = pick_scratch(insn);
    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, scratch);
    add_run(s, RUN_GLUE, 0, goff, BIT(scratch));
    emit_mov_imm(&s->e, scratch, target);
    emit_rip_scratch(&s->e, insn, bytes, scratch);
    add_run(s, RUN_TAIL, 0, goff, BIT(scratch));
    emit_load_abs(&s->e, scratch, spill_addr(s, scratch));
}

void emit_exit_trap(struct DisasContext *s, enum run_kind kind, uint8_t arg, uint32_t goff)
{
    add_run(s, kind, arg, goff, 0);
    emit8(&s->e, 0xcc);
}

/*
 * QEMU 7.2 as the CPU computes the flags of cmpxchg8b and cmpxchg16b from those of the last block that it ended, not from the last instruction's:
 * all but ZF are garbage until they are written again, DF included, and an exit meanwhile makes that DF real. A jump to
 * the next instruction ends QEMU's block; other CPUs hardly notice it.
 */
static void emit_block_end_of_qemu(struct DisasContext *s, unsigned i)
{
    add_run(s, RUN_GLUE, RUN_BOUNDARY, s->insn_off[i], 0);
    emit_bytes(&s->e, "\xeb\x00", 2);
}

static void emit_insn(struct DisasContext *s, unsigned i)
{
    const struct insn *insn = &s->insn[i];
    uint64_t next = s->tb->pc + s->insn_off[i] + insn->len;
    uint64_t target = next + (uint64_t)insn->imm;

    if (unlikely(insn_is_wide_cmpxchg(insn))) {
        emit_block_end_of_qemu(s, i);
    }
    if (s->tb->cflags & CF_ALIAS && emit_alias_store(s, i)) {
        return;
    }
    if (s->tb->nr_holes && emit_imm_load(s, i)) {
        return;
    }
    if (store_sites_hot && !(s->tb->cflags & CF_COUNT_MASK) && emit_site_store(s, i)) {
        return;
    }
    switch (insn->kind) {
    case INSN_COPY:
        emit_copy(s, i);
        break;
    case INSN_JMP:
        emit_jmp_insn(s, i, target);
        break;
    case INSN_JCC:
        emit_jcc(s, i, next, target);
        break;
    case INSN_LOOP:
        emit_loop(s, i, next, target);
        break;
    case INSN_CALL:
        emit_call(s, i, next, target);
        break;
    case INSN_RET:
        emit_ret(s, i);
        break;
    case INSN_JMP_IND:
    case INSN_CALL_IND:
        emit_indirect(s, i, next);
        break;
    case INSN_SENS:
        emit_sens(s, i);
        break;
    default:
        emit_exit_trap(s, RUN_EXIT_UD, 0, s->insn_off[i]);
        break;
    }
}

/* The plain instructions from i on, in one piece. Returns the number of the first one behind them. */
static unsigned emit_plain(struct DisasContext *s, unsigned i)
{
    uint64_t others = ~(s->plain >> i);
    unsigned end = MIN(others ? i + (unsigned)__builtin_ctzll(others) : TB_MAX_INSNS, s->num_insns);
    uint32_t goff = s->insn_off[i];
    uint32_t last = end == s->num_insns ? s->tb->size : s->insn_off[end];

    add_copy_run(s, goff);
    emit_bytes(&s->e, s->page0 + goff, last - goff);
    return end;
}

int translator_emit(struct DisasContext *s)
{
    struct TranslationBlock *tb = s->tb;
    uint32_t first_slot = s->next_slot, first_link = s->next_link;
    unsigned last = s->num_insns - 1;

    s->e.len = 0;
    s->e.overflow = false;
    s->nr_runs = 0;
    s->shadow_off = 0;
    reset_exits(s);
    tb->size = s->insn_off[last] + s->insn[last].len;
    tb->icount = s->num_insns;
    find_holes(s);
    emit_self_check(s);
    const bool check = smc_policy.check;
    for (unsigned i = 0; i < s->num_insns; i++) {
        if (s->plain >> i & 1) {
            i = emit_plain(s, i) - 1;
            continue;
        }
        if (unlikely(check)) {
            emit_store_check(s, i);
        }
        emit_insn(s, i);
    }
    if (!ends_block(s, &s->insn[last])) {
        emit_fall_through(s, tb->size);
    }
    emit_far_exits(s);
    if (s->e.overflow) {
        s->num_insns = (s->num_insns + 1) / 2;
        s->next_slot = first_slot;
        s->next_link = first_link;
        return -ENOSPC;
    }
    return 0;
}
