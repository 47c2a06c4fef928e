/* SPDX-License-Identifier: MIT */
/*
 * Translation of hot store sites (store-site.h). No flags are touched, so "is the address in the piece that the memo names" is
 * an addition, a mov of 0 to the low byte, and jrcxz:
 *
 *     SITE_BASE, op disp(%base):            SITE_ANY:
 *       mov   %rcx, spill                     mov   %rcx, spill; mov %s, spill
 *       mov   -lo, %rcx                       lea   operand, %s
 *       lea   disp(%base,%rcx), %rcx          mov   -lo, %rcx; lea (%s,%rcx), %s; mov %s, %rcx
 *       [shift]                               [shift]
 *       [movb $0, %cl]                        [movb $0, %cl]
 *       jrcxz ok                              jrcxz ok
 *       reload; op; jmp done                  reload; op; jmp done          the ordinary store: may fault
 *     ok: mov alias - lo, %rcx              ok: mov alias, %rcx; lea (%s,%rcx), %s; reload %rcx
 *       op    disp(%base,%rcx)                op    (%s)
 *     done: reload                            reload %s
 *
 * [ ]: not for a span of 1, which is equality; shift: by 3 with lea for a span of 32; by 5 for 2048, with movw $0, %cx. What is
 * shifted out are bits by which canonical addresses cannot differ if they agree in the others.
 *
 * SITE_CONST: mov %s, spill; mov target, %s; op (%s); reload. Numbers named here are data slots.
 */
#include "dbt/store-site.h"
#include "dbt/translate-emit.h"

/* mov slot(%rip), %reg; a low register */
static void emit_load_slot(struct DisasContext *s, unsigned reg, uint32_t slot)
{
    emit_bytes(&s->e, "\x48\x8b", 2);
    emit8(&s->e, (uint8_t)(5 | reg << 3));
    emit_rel32(&s->e, s->region->slots_exec + slot * 8ull);
}

/* From rcx = address - lo: jump if that is less than span. Returns where the displacement is. */
static uint32_t emit_span_test(struct DisasContext *s, unsigned span)
{
    if (span == 32 || span == 2048) {
        emit_rm(&s->e, 0x8d, R_ECX, R_NONE, R_ECX, 8, 0);
    }
    if (span == 2048) {
        emit_rm(&s->e, 0x8d, R_ECX, R_NONE, R_ECX, 4, 0);
        emit_bytes(&s->e, "\x66\xb9\0", 4); /* mov $0, %cx */
    } else if (span > 1) {
        emit_bytes(&s->e, "\xb1", 2); /* mov $0, %cl */
    }
    emit_bytes(&s->e, "\xe3", 2);
    return s->e.len;
}

static void end_here(struct DisasContext *s, uint32_t from)
{
    if (!s->e.overflow) {
        s->e.buf[from - 1] = (uint8_t)(s->e.len - from);
    }
}

static void emit_reload(struct DisasContext *s, unsigned reg)
{
    emit_load_abs(&s->e, reg, spill_addr(s, reg));
}

/* The ordinary store, with all state in place, and the way round the other one. */
static uint32_t emit_plain(struct DisasContext *s, unsigned i)
{
    add_run(s, RUN_GLUE, RUN_BOUNDARY, s->insn_off[i], 0);
    emit_bytes(&s->e, insn_host_bytes(s, i), s->insn[i].len);
    add_run(s, RUN_TAIL, 0, s->insn_off[i], 0);
    emit_bytes(&s->e, "\xeb", 2);
    return s->e.len;
}

static void emit_const_site(struct DisasContext *s, unsigned i, uint32_t slot)
{
    uint32_t goff = s->insn_off[i];
    unsigned reg = pick_operand_scratch(&s->insn[i], BIT(R_R8) | BIT(R_R9) | BIT(R_R10));

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, reg);
    add_run(s, RUN_GLUE, 0, goff, BIT(reg));
    emit_load_slot(s, reg, slot);
    emit_operand_at(&s->e, &s->insn[i], insn_host_bytes(s, i), reg);
    add_run(s, RUN_TAIL, 0, goff, BIT(reg));
    emit_reload(s, reg);
}

static void emit_base_site(struct DisasContext *s, unsigned i, const struct store_site *site)
{
    const struct insn *in = &s->insn[i];
    uint32_t goff = s->insn_off[i], slot = store_site_slot(site), ok, done;

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_ECX);
    add_run(s, RUN_GLUE, 0, goff, BIT(R_ECX));
    emit_load_slot(s, R_ECX, slot);
    emit_rm(&s->e, 0x8d, R_ECX, in->base, R_ECX, 1, in->disp);
    ok = emit_span_test(s, site->span);
    emit_reload(s, R_ECX);
    done = emit_plain(s, i);
    end_here(s, ok);
    add_run(s, RUN_GLUE, 0, goff, BIT(R_ECX));
    emit_load_slot(s, R_ECX, slot + 1);
    emit_operand_indexed(&s->e, in, insn_host_bytes(s, i), R_ECX);
    add_run(s, RUN_TAIL, 0, goff, BIT(R_ECX));
    emit_reload(s, R_ECX);
    end_here(s, done);
}

static void emit_any_site(struct DisasContext *s, unsigned i, const struct store_site *site, unsigned reg)
{
    const struct insn *in = &s->insn[i];
    uint32_t goff = s->insn_off[i], slot = store_site_slot(site), ok, done;
    uint16_t spilled = BIT(R_ECX) | BIT(reg);

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_ECX);
    emit_spill(s, reg);
    add_run(s, RUN_GLUE, 0, goff, spilled);
    emit_rm(&s->e, 0x8d, reg, in->base, in->index, in->scale, in->disp);
    emit_load_slot(s, R_ECX, slot);
    emit_rm(&s->e, 0x8d, reg, reg, R_ECX, 1, 0);
    emit_rm(&s->e, 0x8d, R_ECX, reg, R_NONE, 1, 0);
    ok = emit_span_test(s, site->span);
    emit_reload(s, R_ECX);
    emit_reload(s, reg);
    done = emit_plain(s, i);
    end_here(s, ok);
    add_run(s, RUN_GLUE, 0, goff, spilled);
    emit_load_slot(s, R_ECX, slot + 1);
    emit_rm(&s->e, 0x8d, reg, reg, R_ECX, 1, 0);
    emit_reload(s, R_ECX);
    add_run(s, RUN_GLUE, 0, goff, BIT(reg));
    emit_operand_at(&s->e, in, insn_host_bytes(s, i), reg);
    add_run(s, RUN_TAIL, 0, goff, BIT(reg));
    emit_reload(s, reg);
    end_here(s, done);
}

bool emit_site_store(struct DisasContext *s, unsigned i)
{
    const struct TranslationBlock *tb = s->tb;
    const struct insn *in = &s->insn[i];
    const struct store_site *site = store_site_find_hot(tb->page_addr[0] + s->insn_off[i], (tb->flags & HF_CPL_MASK) == 3, in);

    if (!site) {
        return false;
    }
    unsigned reg = pick_operand_scratch(in, BIT(R_ECX) | BIT(R_R8) | BIT(R_R9) | BIT(R_R10));
    if (reg == R_NONE) {
        return false;
    }
    uint64_t next = tb->pc + s->insn_off[i] + in->len;
    if (site->kind == SITE_CONST && (in->is_rip_rel ? insn_rip_target(in, next) : (uint64_t)in->disp) != site->va) {
        return false; /* the same bytes elsewhere: the slot speaks of another address */
    }
    emit_settle_flags(s, i);
    if (site->kind == SITE_CONST) {
        emit_const_site(s, i, store_site_slot(site));
    } else if (site->kind == SITE_BASE) {
        emit_base_site(s, i, site);
    } else {
        emit_any_site(s, i, site, reg);
    }
    return true;
}
