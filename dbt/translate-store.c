/* SPDX-License-Identifier: MIT */
/*
 * Stores sent to an alias: the guest's own instruction with its target exchanged, so that it completes on a page that stays
 * write-protected. The instruction itself still does the store: a locked one stays locked, a vector one stays one access.
 * The address comes from the vCPU page (redo TBs: struct vcpu_page.alias). Nothing here changes EFLAGS; the one access
 * that can fault comes before any change of guest state, except in a repeated string (RUN_STRING).
 */
#include "dbt/store-form.h"
#include "dbt/translate-emit.h"
#include "kernel/lib/log.h"

static uint64_t vp_addr(const struct DisasContext *s, size_t offset)
{
    return s->region->vcpu_addr + offset;
}

static void emit_load_alias(struct DisasContext *s, unsigned reg)
{
    emit_load_abs(&s->e, reg, vp_addr(s, offsetof(struct vcpu_page, alias)));
}

static void emit_reload(struct DisasContext *s, unsigned reg)
{
    emit_load_abs(&s->e, reg, spill_addr(s, reg));
}

/* lea disp(%base), %reg, 64 bits; base may be rsp. */
static void emit_lea(struct emit *e, unsigned reg, unsigned base, int32_t disp)
{
    emit8(e, 0x48 | (reg >= 8 ? 4 : 0) | (base >= 8 ? 1 : 0));
    emit8(e, 0x8d);
    emit8(e, 0x80 | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == R_ESP) {
        emit8(e, 0x24);
    }
    emit32(e, (uint32_t)disp);
}

/* lea (%base,%index), %base; neither is rsp as index. */
static void emit_add(struct emit *e, unsigned base, unsigned index)
{
    emit8(e, 0x48);
    emit8(e, 0x8d);
    emit8(e, 0x44 | base << 3);
    emit8(e, index << 3 | base);
    emit8(e, 0);
}

/* ---- re-encoding an operand as [scratch] ---- */

static bool is_address_prefix(uint8_t b)
{
    return b == 0x67 || b == 0x64 || b == 0x65 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x26;
}

/* Length of what belongs to the opcode in front of its last byte: REX and escapes, or VEX/EVEX/XOP. */
static unsigned lead_len(const struct insn *in, const uint8_t *bytes)
{
    switch (in->enc) {
    case ENC_VEX:
        return in->opcode_off >= 3 && bytes[in->opcode_off - 3] == 0xc4 ? 3 : 2;
    case ENC_XOP:
        return 3;
    case ENC_EVEX:
        return 4;
    default:
        return (in->map == 0 ? 0 : in->map == 1 ? 1 : 2) + (in->pfx & PFX_REX ? 1 : 0);
    }
}

/* The first n bytes, all prefixes, without those that speak of the address and without REX bytes that have no effect. */
static void emit_prefixes(struct emit *e, const uint8_t *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (!is_address_prefix(bytes[i]) && (bytes[i] & 0xf0) != 0x40) {
            emit8(e, bytes[i]);
        }
    }
}

/* Everything up to ModRM, with base register `scratch` and no index, or a low one. */
static void emit_head(struct emit *e, const struct insn *in, const uint8_t *bytes, unsigned scratch)
{
    unsigned lead = lead_len(in, bytes), first = in->opcode_off - lead;
    uint8_t head[INSN_MAX_LEN];

    emit_prefixes(e, bytes, first);
    memcpy(head, bytes + first, lead + 1);
    if (in->enc == ENC_LEGACY && in->pfx & PFX_REX) {
        head[0] = (head[0] & ~3) | (scratch >= 8 ? 1 : 0);
    } else if (in->enc == ENC_LEGACY && scratch >= 8) {
        emit8(e, 0x41);
    } else if (lead >= 3) { /* inverted X and B of three-byte VEX, XOP, EVEX */
        head[1] = (head[1] | 0x60) & ~(scratch >= 8 ? 0x20 : 0);
    }
    emit_bytes(e, head, lead + 1);
}

void emit_operand_at(struct emit *e, const struct insn *in, const uint8_t *bytes, unsigned scratch)
{
    unsigned imm = in->modrm_off + 1u + in->has_sib + in->disp_size;

    emit_head(e, in, bytes, scratch);
    emit8(e, (in->modrm & 0x38) | (scratch & 7));
    emit_bytes(e, bytes + imm, in->len - imm);
}

void emit_operand_indexed(struct emit *e, const struct insn *in, const uint8_t *bytes, unsigned index)
{
    unsigned imm = in->modrm_off + 1u + in->has_sib + in->disp_size;

    emit_head(e, in, bytes, in->base);
    emit8(e, (in->modrm & 0x38) | 0x84);
    emit8(e, (uint8_t)(index << 3 | (in->base & 7)));
    emit32(e, (uint32_t)in->disp);
    emit_bytes(e, bytes + imm, in->len - imm);
}

unsigned pick_operand_scratch(const struct insn *in, uint32_t taken)
{
    static const uint8_t order[] = {R_ESI, R_EDI, R_EBX, R_EDX, R_ECX, R_EAX, R_R8, R_R9, R_R10};
    uint32_t used = in->gpr_read | in->gpr_write | taken;

    for (unsigned i = 0; i < sizeof(order); i++) {
        /* The high ones need REX.B, which only legacy encodings are given here: cmpxchg8b, cmpxchg16b name everything else. */
        if (!(used & BIT(order[i])) && (order[i] < 8 || in->enc == ENC_LEGACY)) {
            return order[i];
        }
    }
    return R_NONE;
}

static void emit_operand_store(struct DisasContext *s, unsigned i)
{
    const struct insn *in = &s->insn[i];
    uint32_t goff = s->insn_off[i];
    unsigned scratch = pick_operand_scratch(in, 0);

    ASSERT(scratch != R_NONE);
    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, scratch);
    add_run(s, RUN_GLUE, 0, goff, BIT(scratch));
    emit_load_alias(s, scratch);
    emit_operand_at(&s->e, in, insn_host_bytes(s, i), scratch);
    add_run(s, RUN_TAIL, 0, goff, BIT(scratch));
    emit_reload(s, scratch);
}

/* mov %al/%ax/%eax/%rax, moffs becomes the ModRM form. */
static void emit_moffs_store(struct DisasContext *s, unsigned i)
{
    const struct insn *in = &s->insn[i];
    uint32_t goff = s->insn_off[i];

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_EDX);
    add_run(s, RUN_GLUE, 0, goff, BIT(R_EDX));
    emit_load_alias(s, R_EDX);
    if (in->mem_size == 2) {
        emit8(&s->e, 0x66);
    } else if (in->mem_size == 8) {
        emit8(&s->e, 0x48);
    }
    emit8(&s->e, in->mem_size == 1 ? 0x88 : 0x89);
    emit8(&s->e, R_EAX << 3 | R_EDX);
    add_run(s, RUN_TAIL, 0, goff, BIT(R_EDX));
    emit_reload(s, R_EDX);
}

/* ---- the stack ---- */

/* mov %reg, disp(%rdx) */
static void emit_store_at_rdx(struct emit *e, unsigned reg, int32_t disp)
{
    emit8(e, 0x48 | (reg >= 8 ? 4 : 0));
    emit8(e, 0x89);
    emit8(e, 0x80 | (reg & 7) << 3 | R_EDX);
    emit32(e, (uint32_t)disp);
}

/* movq $v, (%rdx) */
static void emit_store_imm32(struct emit *e, int32_t v)
{
    emit_bytes(e, "\x48\xc7\x02", 3);
    emit32(e, (uint32_t)v);
}

/* push: of a register, an immediate, or memory, which is read first. */
static void emit_push_store(struct DisasContext *s, unsigned i)
{
    const struct insn *in = &s->insn[i];
    uint32_t goff = s->insn_off[i];
    uint16_t spilled = BIT(R_ECX) | BIT(R_EDX);

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_ECX);
    emit_spill(s, R_EDX);
    add_run(s, RUN_GLUE, 0, goff, spilled);
    if (in->is_mem) {
        emit_load_rm_rcx(s, i, s->tb->pc + goff + in->len);
        add_run(s, RUN_GLUE, 0, goff, spilled);
    } else if (in->has_modrm || (in->opcode & 0xf8) == 0x50) {
        emit8(&s->e, 0x48 | (in->rm >= 8 ? 4 : 0));
        emit8(&s->e, 0x89);
        emit8(&s->e, 0xc0 | (in->rm & 7) << 3 | R_ECX); /* mov %reg, %rcx */
    } else {
        emit_mov_imm(&s->e, R_ECX, (uint64_t)in->imm);
    }
    emit_load_alias(s, R_EDX);
    emit_store_at_rdx(&s->e, R_ECX, 0);
    add_run(s, RUN_TAIL, 0, goff, spilled);
    emit_lea(&s->e, R_ESP, R_ESP, -8);
    emit_reload(s, R_ECX);
    emit_reload(s, R_EDX);
}

void emit_push_return_alias(struct DisasContext *s, uint64_t ret, uint32_t goff, uint16_t spilled)
{
    uint16_t more = spilled | BIT(R_EDX) | BIT(R_ESI);

    if (spilled) {
        add_run(s, RUN_GLUE, 0, goff, spilled);
    }
    if (!(spilled & BIT(R_EDX))) {
        emit_spill(s, R_EDX);
    }
    emit_spill(s, R_ESI);
    add_run(s, RUN_GLUE, 0, goff, more);
    emit_load_alias(s, R_EDX);
    if (fits_simm32(ret)) {
        emit_store_imm32(&s->e, (int32_t)ret);
    } else {
        emit_mov_imm(&s->e, R_ESI, ret);
        emit_store_at_rdx(&s->e, R_ESI, 0);
    }
    add_run(s, RUN_TAIL, 0, goff, more);
    emit_lea(&s->e, R_ESP, R_ESP, -8);
    emit_reload(s, R_ESI);
    if (!(spilled & BIT(R_EDX))) {
        emit_reload(s, R_EDX);
    }
}

/* The lowest 8 bytes of the frame are at alias. Reads of outer frame pointers come between the stores, as in the CPU. */
static void emit_enter_store(struct DisasContext *s, unsigned i)
{
    const struct insn *in = &s->insn[i];
    uint32_t goff = s->insn_off[i];
    int level = in->imm2 & 31;
    int pushed = level ? level + 1 : 1;
    uint16_t spilled = BIT(R_ECX) | BIT(R_EDX);

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_ECX);
    emit_spill(s, R_EDX);
    add_run(s, RUN_GLUE, 0, goff, spilled);
    emit_load_alias(s, R_EDX);
    emit_store_at_rdx(&s->e, R_EBP, 8 * (pushed - 1));
    for (int n = 1; n < level; n++) {
        emit_bytes(&s->e, "\x48\x8b\x8d", 3); /* mov disp32(%rbp), %rcx */
        emit32(&s->e, (uint32_t)(-8 * n));
        emit_store_at_rdx(&s->e, R_ECX, 8 * (pushed - 1 - n));
    }
    if (level) {
        emit_lea(&s->e, R_ECX, R_ESP, -8);
        emit_store_at_rdx(&s->e, R_ECX, 0);
    }
    add_run(s, RUN_TAIL, 0, goff, spilled);
    emit_lea(&s->e, R_EBP, R_ESP, -8);
    emit_lea(&s->e, R_ESP, R_ESP, -8 * pushed - (int32_t)((uint32_t)in->imm & 0xffff));
    emit_reload(s, R_ECX);
    emit_reload(s, R_EDX);
}

/* ---- implicit pointers ---- */

static void emit_pointer_store(struct DisasContext *s, unsigned i)
{
    const struct insn *in = &s->insn[i];
    const uint8_t *bytes = insn_host_bytes(s, i);
    uint32_t goff = s->insn_off[i];
    unsigned reg = store_pointer_reg(in);

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, reg);
    add_run(s, RUN_GLUE, 0, goff, BIT(reg));
    emit_load_alias(s, reg);
    if (in->mem == MEM_DIR64) { /* its prefixes speak of the source as well */
        emit_bytes(&s->e, bytes, in->len);
    } else {
        unsigned first = in->opcode_off - lead_len(in, bytes);

        emit_prefixes(&s->e, bytes, first);
        emit_bytes(&s->e, bytes + first, in->len - first);
    }
    add_run(s, RUN_TAIL, 0, goff, BIT(reg));
    emit_reload(s, reg);
}

/*
 * stos, movs: rdi is exchanged for the alias, rcx for a part of the count, as the monitor has set them; afterwards both are put
 * right by adding differences. Of a repeated one the rest is left to do: the exit leads to the same instruction again.
 */
static void emit_string_store(struct DisasContext *s, unsigned i)
{
    const struct insn *in = &s->insn[i];
    uint32_t goff = s->insn_off[i];
    bool rep = in->pfx & (PFX_REP | PFX_REPNE);
    uint16_t spilled = BIT(R_EDI) | (rep ? BIT(R_ECX) : 0);

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_EDI);
    emit_spill(s, R_ECX);
    emit_spill(s, R_EDX);
    add_run(s, RUN_GLUE, 0, goff, spilled);
    emit_load_alias(s, R_EDI);
    if (rep) {
        emit_load_abs(&s->e, R_ECX, vp_addr(s, offsetof(struct vcpu_page, alias_count)));
    }
    add_run(s, RUN_GLUE, RUN_STRING, goff, spilled);
    emit_bytes(&s->e, insn_host_bytes(s, i), in->len);
    add_run(s, RUN_TAIL, 0, goff, spilled | BIT(R_EDX));
    emit_load_abs(&s->e, R_EDX, vp_addr(s, offsetof(struct vcpu_page, alias_back)));
    emit_add(&s->e, R_EDI, R_EDX);
    if (rep) {
        emit_load_abs(&s->e, R_ECX, vp_addr(s, offsetof(struct vcpu_page, alias_rest)));
    }
    emit_reload(s, R_EDX);
    if (rep) {
        uint32_t done;

        emit_bytes(&s->e, "\xe3", 2); /* jrcxz */
        done = s->e.len;
        emit_exit_again(s, goff);
        if (!s->e.overflow) {
            s->e.buf[done - 1] = (uint8_t)(s->e.len - done);
        }
    }
}

bool emit_alias_store(struct DisasContext *s, unsigned i)
{
    switch (store_form(&s->insn[i])) {
    case STORE_OPERAND:
        emit_operand_store(s, i);
        return true;
    case STORE_MOFFS:
        emit_moffs_store(s, i);
        return true;
    case STORE_PUSH:
        emit_push_store(s, i);
        return true;
    case STORE_ENTER:
        emit_enter_store(s, i);
        return true;
    case STORE_STRING:
        emit_string_store(s, i);
        return true;
    case STORE_POINTER:
        emit_pointer_store(s, i);
        return true;
    case STORE_CALL: /* translate-branch.c */
    case STORE_NONE:
    case STORE_NO_ALIAS:
        break;
    }
    return false;
}
