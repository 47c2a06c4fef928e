/* SPDX-License-Identifier: MIT */
/*
 * Instructions whose immediate is loaded from guest memory when they are executed: the form with a memory operand in place of
 * the one with an immediate, which reads the guest's own instruction bytes. One host instruction, no register, no difference in
 * flags. What has no such form (sign-extended immediates of ALU instructions, memory destinations, push) is left as it is.
 */
#include "dbt/data-imm.h"
#include "dbt/translate-emit.h"

/* The form `op mem, reg`. */
struct load_form {
    bool usable; /* there is one */
    uint8_t opcode;
    uint8_t reg;
};

static bool names_register(const struct insn *insn)
{
    return insn->has_modrm && !insn->is_mem;
}

static struct load_form load_form(const struct insn *insn)
{
    uint8_t op = insn->opcode, digit = insn->modrm >> 3 & 7;
    bool wide = insn->op_size != 1;
    struct load_form none = {0};

    if (insn->kind != INSN_COPY || insn->enc != ENC_LEGACY || insn->map != 0 || !insn->imm_size || insn->imm2_size ||
        insn->pfx & (PFX_LOCK | PFX_REP | PFX_REPNE | PFX_SEG | PFX_ASZ)) {
        return none;
    }
    if (op >= 0xb0 && op <= 0xbf && insn->imm_size == insn->op_size) { /* mov imm, r */
        return (struct load_form){true, wide ? 0x8b : 0x8a, insn->rm};
    }
    if ((op & 0xfe) == 0xc6 && digit == 0 && names_register(insn)) {
        return (struct load_form){true, insn->op_size == 8 ? 0x63 /* movslq */ : wide ? 0x8b : 0x8a, insn->rm};
    }
    if (insn->imm_size != insn->op_size) {
        return none; /* sign-extended */
    }
    if ((op & 0xc6) == 0x04) { /* alu imm, al or eax */
        return (struct load_form){true, (op & 0x38) | (wide ? 3 : 2), R_EAX};
    }
    if ((op == 0x80 || op == 0x81) && names_register(insn)) {
        return (struct load_form){true, (uint8_t)(digit << 3 | (wide ? 3 : 2)), insn->rm};
    }
    if ((op & 0xfe) == 0xa8) {
        return (struct load_form){true, wide ? 0x85 : 0x84, R_EAX};
    }
    if ((op & 0xfe) == 0xf6 && digit == 0 && names_register(insn)) {
        return (struct load_form){true, wide ? 0x85 : 0x84, insn->rm};
    }
    return none;
}

bool imm_can_be_loaded(const struct insn *insn)
{
    return load_form(insn).usable;
}

void find_holes(struct DisasContext *s)
{
    struct TranslationBlock *tb = s->tb;
    const struct PageDesc *pd = page_find(tb->page_addr[0] >> PAGE_SHIFT);

    tb->nr_holes = 0;
    if (tb->page_addr[1] != TB_PAGE_ADDR_INVALID || (tb->cflags & CF_COUNT_MASK) || !pd || !pd->state.data_imm || pd->state.pinned ||
        !guest_code_reachable(s, tb->pc) || !guest_code_reachable(s, tb->pc + tb->size)) {
        return;
    }
    for (unsigned i = 0; i < s->num_insns && tb->nr_holes < TB_MAX_HOLES; i++) {
        const struct insn *insn = &s->insn[i];
        uint32_t off = s->insn_off[i] + insn->imm_off;

        if (insn->imm_size && imm_can_be_loaded(insn) && data_imm_is_hot(tb->page_addr[0] + off, insn->imm_size)) {
            tb->hole[tb->nr_holes++] = (struct tb_hole){.off = (uint16_t)off, .len = insn->imm_size};
        }
    }
}

bool emit_imm_load(struct DisasContext *s, unsigned i)
{
    const struct insn *insn = &s->insn[i];
    uint32_t off = s->insn_off[i] + insn->imm_off;
    struct load_form f = load_form(insn);
    bool is_hole = false;

    for (unsigned h = 0; h < s->tb->nr_holes; h++) {
        is_hole |= s->tb->hole[h].off == off && insn->imm_size;
    }
    if (!is_hole) {
        return false;
    }
    uint8_t rex = (insn->pfx & PFX_REX ? 0x40 : 0) | (insn->op_size == 8 ? 0x48 : 0) | (f.reg >= 8 ? 0x44 : 0);

    add_run(s, RUN_GLUE, RUN_BOUNDARY | RUN_FETCH, s->insn_off[i], 0);
    if (insn->op_size == 2) {
        emit8(&s->e, 0x66);
    }
    if (rex) {
        emit8(&s->e, rex);
    }
    emit8(&s->e, f.opcode);
    emit_guest_code_operand(s, f.reg, s->tb->pc + off);
    return true;
}
