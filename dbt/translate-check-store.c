/* SPDX-License-Identifier: MIT */
/*
 * smc = check: what stands before a store. Afterwards all state is in place, and the store follows as it would be without. No
 * flags are touched: the table (store-table.h) is indexed by bits 8 to 23, a word of the address stored to memory, and "the
 * last byte and the entry add up to less than 64 KiB" is an addition and a mov of 0 to the low word:
 *
 *     [base + disp], base not rcx:              anything else, through rdx:
 *       mov    %rcx, spill                        mov    %rcx, spill; mov %rdx, spill
 *       lea    disp(%base), %rcx                  lea    operand, %rdx
 *       mov    %rcx, check_addr                   mov    %rdx, check_addr
 *       movzwl check_addr+1, %ecx                 movzwl check_addr+1, %ecx
 *       mov    table(,%rcx,8), %rcx               mov    table(,%rcx,8), %rcx
 *       lea    disp+size-1(%base,%rcx), %rcx      lea    size-1(%rdx,%rcx), %rcx
 *       mov    $0, %cx                            mov    $0, %cx
 *       jrcxz  ok                                 jrcxz  ok
 *       int3                                      int3                         to the funnel; may come back here
 *     ok: mov  spill, %rcx                      ok: mov  spill, %rcx; mov spill, %rdx
 *
 * A store across two pages never adds up, and asks. So does, always, what is not one operand of a few bytes at an address that lea computes: strings, xsave, scatter, bts by register. FS and GS: their bases, which the
 * monitor keeps in the vCPU page, are added to rdx. Must not decide
 * what a store meets.
 */
#include "dbt/page-state.h"
#include "dbt/store-form.h"
#include "dbt/store-table.h"
#include "dbt/translate-emit.h"

/* One store of `size` bytes at base + index * scale + disp, beyond the base of seg if that is FS or GS; base R_RIP: at disp. */
struct target {
    unsigned base, index, scale, size, seg;
    int64_t disp;
};

static bool is_plain(const struct insn *in)
{
    return in->addr_size == 8 && in->mem != MEM_BT && in->mem != MEM_POP &&
           in->mem != MEM_XSAVE && in->mem_size && in->mem_size <= 64;
}

static bool has_base(unsigned seg)
{
    return seg == R_FS || seg == R_GS;
}

/* False: no such target. */
static bool find_target(const struct DisasContext *s, unsigned i, struct target *t)
{
    const struct insn *in = &s->insn[i];

    *t = (struct target){.base = R_ESP, .index = R_NONE, .scale = 1, .size = in->mem_size, .seg = R_SEG_NONE, .disp = -(int64_t)in->mem_size};
    if (in->mem == MEM_PUSH) {
        return true;
    }
    if (!is_plain(in)) {
        return false;
    }
    t->seg = in->seg;
    switch (store_form(in)) {
    case STORE_MOFFS:
        t->base = R_RIP;
        t->disp = in->disp;
        return true;
    case STORE_OPERAND:
        t->base = in->base;
        t->index = in->index;
        t->scale = in->scale;
        t->disp = in->disp;
        if (in->is_rip_rel || (in->base == R_NONE && in->index == R_NONE)) {
            t->base = R_RIP;
            t->disp = in->is_rip_rel ? (int64_t)insn_rip_target(in, s->tb->pc + s->insn_off[i] + in->len) : in->disp;
        }
        return t->base == R_RIP || t->disp == (int32_t)t->disp;
    default:
        return false;
    }
}

static uint64_t check_addr(const struct DisasContext *s)
{
    return s->region->vcpu_addr + offsetof(struct vcpu_page, check_addr);
}

/* From the address in reg: its entry, into rcx. */
static void emit_load_entry(struct DisasContext *s, unsigned reg)
{
    emit_store_abs(&s->e, reg, check_addr(s));
    emit_bytes(&s->e, "\x0f\xb7\x0c\x25", 4); /* movzwl abs, %ecx */
    emit32(&s->e, (uint32_t)(check_addr(s) + 1));
    emit_bytes(&s->e, "\x48\x8b\x0c\xcd", 4); /* mov table(,%rcx,8), %rcx */
    emit32(&s->e, (uint32_t)s->region->store_table_addr);
}

static void emit_entry_by_base(struct DisasContext *s, const struct target *t)
{
    emit_rm(&s->e, 0x8d, R_ECX, t->base, R_NONE, 1, t->disp);
    emit_load_entry(s, R_ECX);
    emit_rm(&s->e, 0x8d, R_ECX, t->base, R_ECX, 1, t->disp + t->size - 1);
}

static void emit_entry_by_rdx(struct DisasContext *s, const struct target *t)
{
    if (t->base == R_RIP) {
        emit_mov_imm(&s->e, R_EDX, (uint64_t)t->disp);
    } else {
        emit_rm(&s->e, 0x8d, R_EDX, t->base, t->index, t->scale, t->disp);
    }
    if (has_base(t->seg)) {
        emit_load_abs(&s->e, R_ECX, s->region->vcpu_addr + offsetof(struct vcpu_page, seg_base) + (t->seg == R_GS ? 8 : 0));
        emit_rm(&s->e, 0x8d, R_EDX, R_EDX, R_ECX, 1, 0);
    }
    emit_load_entry(s, R_EDX);
    emit_rm(&s->e, 0x8d, R_ECX, R_EDX, R_ECX, 1, t->size - 1);
}

static void emit_inline_check(struct DisasContext *s, const struct target *t, uint32_t goff)
{
    bool by_base = t->index == R_NONE && !has_base(t->seg) && t->base != R_ECX && t->base != R_RIP && fits_simm32((uint64_t)(t->disp + t->size - 1));
    uint16_t spilled = (uint16_t)(BIT(R_ECX) | (by_base ? 0 : BIT(R_EDX)));

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_ECX);
    if (!by_base) {
        emit_spill(s, R_EDX);
    }
    add_run(s, RUN_GLUE, 0, goff, spilled);
    if (by_base) {
        emit_entry_by_base(s, t);
    } else {
        emit_entry_by_rdx(s, t);
    }
    emit_bytes(&s->e, "\x66\xb9\x00\x00\xe3\x01", 6); /* mov $0, %cx; jrcxz over the exit */
    add_run(s, RUN_EXIT_CHECK, 0, goff, spilled);
    emit8(&s->e, 0xcc);
    add_run(s, RUN_GLUE, 0, goff, spilled);
    emit_load_abs(&s->e, R_ECX, spill_addr(s, R_ECX));
    if (!by_base) {
        emit_load_abs(&s->e, R_EDX, spill_addr(s, R_EDX));
    }
}

/* Does it store from translated code? */
static bool is_checked(const struct DisasContext *s, const struct insn *in)
{
    if (in->kind == INSN_SENS) {
        return in->sens == SENS_PUSHF && sens_is_inline(s, in);
    }
    return store_form(in) != STORE_NONE;
}

void emit_store_check(struct DisasContext *s, unsigned i)
{
    const struct insn *in = &s->insn[i];
    struct target t;

    if (s->tb->cflags & (CF_ALIAS | CF_CHECKED) || !is_checked(s, in)) {
        return;
    }
    if (find_target(s, i, &t)) {
        emit_inline_check(s, &t, s->insn_off[i]);
    } else {
        emit_exit_fast(s, RUN_EXIT_CHECK, s->insn_off[i]);
    }
    if (s->tb->cflags & CF_COUNT_MASK) {
        s->tb->body_off = (uint16_t)s->e.len;
    }
}
