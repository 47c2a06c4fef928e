/* SPDX-License-Identifier: MIT */
/*
 * Instructions with a field, immediate or displacement, that is loaded from guest memory when they are executed: from the guest's
 * own instruction bytes. Where there is a form with a memory operand in place of the immediate, it is that one host instruction;
 * else the field goes to a spilled register, and the form with a register follows:
 *
 *     boundary: mov    %s, spill
 *               movsbq field, %s            or movswq, movslq: every field is sign-extended, or its upper part not looked at
 *               op     %s, r/m              the only access of the guest's, before any change of state
 *               mov    spill, %s
 *
 * No flags are touched that the instruction itself does not write. Must not decide which fields are loaded (data-imm.c).
 */
#include "dbt/data-imm.h"
#include "dbt/page-state.h"
#include "dbt/translate-emit.h"

enum load_how {
    LOAD_NONE,
    LOAD_DIRECT,  /* op field, reg */
    LOAD_OPERAND, /* op s, r/m */
    LOAD_PUSH,    /* push s */
    LOAD_IMUL,    /* imul r/m, s; mov s, reg */
    LOAD_SHIFT,   /* op %cl, r/m */
    LOAD_BRANCH,  /* the target is looked up */
};

struct load_form {
    enum load_how how;
    uint8_t opcode; /* of the form with a memory operand or a register */
    uint8_t reg;    /* of LOAD_DIRECT */
};

static bool names_register(const struct insn *insn)
{
    return insn->has_modrm && !insn->is_mem;
}

/* A low register that is not among `used`, but for rsp and rbp; R_NONE if there is none. */
static unsigned pick_low(uint32_t used)
{
    static const uint8_t order[] = {R_EBX, R_EDX, R_ECX, R_EAX, R_ESI, R_EDI}; /* those with a low byte first */

    for (unsigned i = 0; i < sizeof(order); i++) {
        if (!(used & BIT(order[i]))) {
            return order[i];
        }
    }
    return R_NONE;
}

static uint32_t gprs_named(const struct insn *insn)
{
    return insn->gpr_read | insn->gpr_write;
}

static struct load_form branch_form(const struct insn *insn)
{
    if ((insn->kind == INSN_CALL || insn->kind == INSN_JMP || insn->kind == INSN_JCC) && insn->imm_size == 4 && !insn->pfx) {
        return (struct load_form){LOAD_BRANCH, 0, 0};
    }
    return (struct load_form){0};
}

/* The forms that need no register. */
static struct load_form direct_form(const struct insn *insn)
{
    uint8_t op = insn->opcode, digit = insn->modrm >> 3 & 7;
    bool wide = insn->op_size != 1;

    if (insn->pfx & (PFX_LOCK | PFX_SEG | PFX_ASZ)) {
        return (struct load_form){0};
    }
    if (op >= 0xb0 && op <= 0xbf && insn->imm_size == insn->op_size) { /* mov imm, r */
        return (struct load_form){LOAD_DIRECT, wide ? 0x8b : 0x8a, insn->rm};
    }
    if ((op & 0xfe) == 0xc6 && digit == 0 && names_register(insn)) {
        return (struct load_form){LOAD_DIRECT, insn->op_size == 8 ? 0x63 /* movslq */ : wide ? 0x8b : 0x8a, insn->rm};
    }
    if (insn->imm_size != insn->op_size) {
        return (struct load_form){0}; /* sign-extended */
    }
    if ((op & 0xc6) == 0x04) { /* alu imm, al or eax */
        return (struct load_form){LOAD_DIRECT, (op & 0x38) | (wide ? 3 : 2), R_EAX};
    }
    if ((op == 0x80 || op == 0x81) && names_register(insn)) {
        return (struct load_form){LOAD_DIRECT, (uint8_t)(digit << 3 | (wide ? 3 : 2)), insn->rm};
    }
    if ((op & 0xfe) == 0xa8) {
        return (struct load_form){LOAD_DIRECT, wide ? 0x85 : 0x84, R_EAX};
    }
    if ((op & 0xfe) == 0xf6 && digit == 0 && names_register(insn)) {
        return (struct load_form){LOAD_DIRECT, wide ? 0x85 : 0x84, insn->rm};
    }
    return (struct load_form){0};
}

static struct load_form scratch_form(const struct insn *insn)
{
    uint8_t op = insn->opcode, digit = insn->modrm >> 3 & 7;
    uint8_t wide = insn->op_size != 1;

    if ((op & 0xc7) == 0x05 && insn->op_size == 8) { /* alu imm, %rax */
        return (struct load_form){LOAD_OPERAND, (op & 0x38) | 1, 0};
    }
    if (op == 0xa9 && insn->op_size == 8) {
        return (struct load_form){LOAD_OPERAND, 0x85, 0};
    }
    if (op == 0x80 || op == 0x81 || op == 0x83) {
        return (struct load_form){LOAD_OPERAND, (uint8_t)(digit << 3 | wide), 0};
    }
    if ((op & 0xfe) == 0xc6 && digit == 0) {
        return (struct load_form){LOAD_OPERAND, 0x88 | wide, 0};
    }
    if ((op & 0xfe) == 0xf6 && digit == 0) {
        return (struct load_form){LOAD_OPERAND, 0x84 | wide, 0};
    }
    if ((op == 0x68 || op == 0x6a) && insn->op_size == 8 && insn->mem_size == 8) {
        return (struct load_form){LOAD_PUSH, 0, 0};
    }
    if (op == 0x69 || op == 0x6b) {
        return (struct load_form){LOAD_IMUL, 0xaf, 0};
    }
    if ((op & 0xfe) == 0xc0 && !(gprs_named(insn) & BIT(R_ECX))) {
        return (struct load_form){LOAD_SHIFT, 0xd2 | wide, 0};
    }
    return (struct load_form){0};
}

static struct load_form imm_form(const struct insn *insn)
{
    if (insn->kind != INSN_COPY || insn->enc != ENC_LEGACY || insn->map != 0 || !insn->imm_size || insn->imm2_size ||
        insn->pfx & (PFX_REP | PFX_REPNE)) {
        return branch_form(insn);
    }
    struct load_form f = direct_form(insn);

    return f.how ? f : scratch_form(insn);
}

bool imm_can_be_loaded(const struct insn *insn)
{
    return imm_form(insn).how != LOAD_NONE;
}

/*
 * The displacement of an operand takes the place of an index, or of the base where there is none. With both of them their sum
 * goes to a register, which must not change the segment whose fault it would be. Under smc = check what stores is left: its check
 * knows the displacement.
 */
bool disp_can_be_loaded(const struct insn *insn)
{
    bool x87 = insn->map == 0 && (insn->opcode & 0xf8) == 0xd8, state = insn->map == 1 && insn->opcode == 0xae;
    bool setcc = insn->map == 1 && (insn->opcode & 0xf0) == 0x90;

    if (insn->kind != INSN_COPY || insn->enc != ENC_LEGACY || !insn->is_mem || insn->is_rip_rel || !insn->disp_size ||
        (insn->mem != MEM_MODRM && insn->mem != MEM_NONE) || insn->pfx & (PFX_ASZ | PFX_DEAD_REX) || insn->len + 2 > INSN_MAX_LEN || x87 ||
        state || setcc || pick_low(gprs_named(insn)) == R_NONE || insn_is_wide_cmpxchg(insn) || (smc_policy.check && insn_may_store(insn))) {
        return false;
    }
    if (insn->index == R_NONE) {
        return true;
    }
    return insn->base != R_NONE && insn->base != R_ESP && insn->base != R_EBP;
}

/* ---- which ---- */

static void add_hole(struct DisasContext *s, uint32_t off, uint8_t len)
{
    struct TranslationBlock *tb = s->tb;

    if (tb->nr_holes < TB_MAX_HOLES && data_imm_is_hot(tb->page_addr[0] + off, len)) {
        tb->hole[tb->nr_holes++] = (struct tb_hole){.off = (uint16_t)off, .len = len};
    }
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
    for (unsigned i = 0; i < s->num_insns; i++) {
        const struct insn *insn = &s->insn[i];
        unsigned before = tb->nr_holes;

        if (insn->imm_size && imm_can_be_loaded(insn)) {
            add_hole(s, s->insn_off[i] + insn->imm_off, insn->imm_size);
        }
        if (before == tb->nr_holes && disp_can_be_loaded(insn)) { /* one of the two: the other stays a part of the code */
            add_hole(s, s->insn_off[i] + insn->disp_off, insn->disp_size);
        }
    }
}

static bool is_hole(const struct TranslationBlock *tb, uint32_t off)
{
    for (unsigned h = 0; h < tb->nr_holes; h++) {
        if (tb->hole[h].off == off) {
            return true;
        }
    }
    return false;
}

/* ---- emission ---- */

static void emit_direct(struct DisasContext *s, unsigned i, const struct load_form *f)
{
    const struct insn *insn = &s->insn[i];
    uint8_t rex = (insn->pfx & PFX_REX ? 0x40 : 0) | (insn->op_size == 8 ? 0x48 : 0) | (f->reg >= 8 ? 0x44 : 0);

    add_run(s, RUN_GLUE, RUN_BOUNDARY | RUN_FETCH, s->insn_off[i], 0);
    if (insn->op_size == 2) {
        emit8(&s->e, 0x66);
    }
    if (rex) {
        emit8(&s->e, rex);
    }
    emit8(&s->e, f->opcode);
    emit_guest_code_operand(s, f->reg, s->tb->pc + s->insn_off[i] + insn->imm_off);
}

/* movs?q field at guest offset off, %reg; a low register. */
static void emit_load_field(struct DisasContext *s, unsigned reg, uint32_t off, unsigned len)
{
    emit_bytes(&s->e, len == 4 ? "\x48\x63" : len == 2 ? "\x48\x0f\xbf" : "\x48\x0f\xbe", len == 4 ? 2 : 3);
    emit_guest_code_operand(s, reg, s->tb->pc + off);
}

/* From the instruction's boundary to where its field is in `reg`, and all of `spilled` is spilled. */
static void emit_field(struct DisasContext *s, unsigned i, unsigned reg, uint16_t spilled, uint32_t off, unsigned len)
{
    uint32_t goff = s->insn_off[i];

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    for (unsigned r = 0; r < 8; r++) {
        if (spilled & BIT(r)) {
            emit_spill(s, r);
        }
    }
    add_run(s, RUN_GLUE, RUN_FETCH, goff, spilled);
    emit_load_field(s, reg, goff + off, len);
    add_run(s, RUN_GLUE, 0, goff, spilled);
}

/* From the access to the end of the instruction: what is spilled comes back. */
static void emit_give_back(struct DisasContext *s, uint16_t spilled)
{
    for (unsigned r = 0; r < 8; r++) {
        if (spilled & BIT(r)) {
            emit_load_abs(&s->e, r, spill_addr(s, r));
        }
    }
}

/*
 * The instruction without its immediate, with ModRM.reg = reg, a low register or a digit, and another opcode. An operand relative
 * to RIP that is out of reach goes through `far`, which is free.
 */
static void emit_without_imm(struct DisasContext *s, unsigned i, const uint8_t *opcode, unsigned opcode_len, unsigned reg, unsigned far)
{
    const struct insn *insn = &s->insn[i];
    const uint8_t *bytes = insn_host_bytes(s, i);
    unsigned lead = insn->opcode_off, n = 0;
    uint8_t out[INSN_MAX_LEN + 4];
    struct insn without;

    memcpy(out, bytes, lead);
    if (insn->pfx & PFX_REX) {
        out[lead - 1] &= (uint8_t)(insn->has_modrm ? ~4 : ~7); /* R; and X, B */
    }
    n = lead;
    memcpy(out + n, opcode, opcode_len);
    n += opcode_len;
    if (!insn->has_modrm) {
        out[n++] = (uint8_t)(0xc0 | reg << 3); /* %rax */
    } else {
        unsigned operand = insn->imm_off - insn->modrm_off;

        memcpy(out + n, bytes + insn->modrm_off, operand);
        out[n] = (uint8_t)((out[n] & 0xc7) | reg << 3);
        n += operand;
    }
    if (!insn->is_rip_rel) {
        emit_bytes(&s->e, out, n);
        return;
    }
    uint64_t target = insn_rip_target(insn, s->tb->pc + s->insn_off[i] + insn->len);

    if (insn_decode(&without, out, n) == DECODE_OK && !emit_rip_relative(&s->e, &without, out, target)) {
        emit_mov_imm(&s->e, far, target);
        emit_rip_scratch(&s->e, &without, out, far);
    }
}

static void emit_through_register(struct DisasContext *s, unsigned i, const struct load_form *f)
{
    const struct insn *insn = &s->insn[i];
    uint8_t opcode[2] = {f->opcode};
    bool shift = f->how == LOAD_SHIFT;
    uint32_t used = gprs_named(insn) | (insn->has_modrm ? 0 : BIT(R_EAX));
    unsigned scratch = shift ? R_ECX : pick_low(used);
    unsigned far = insn->is_rip_rel ? pick_low(used | BIT(scratch)) : R_NONE;
    uint16_t spilled = (uint16_t)(BIT(scratch) | (far != R_NONE ? BIT(far) : 0));

    emit_field(s, i, scratch, spilled, insn->imm_off, insn->imm_size);
    if (f->how == LOAD_IMUL) {
        memcpy(opcode, "\x0f\xaf", 2);
    }
    emit_without_imm(s, i, opcode, f->how == LOAD_IMUL ? 2 : 1, shift ? insn->modrm >> 3 & 7 : scratch, far);
    add_run(s, RUN_TAIL, 0, s->insn_off[i], spilled);
    if (f->how == LOAD_IMUL) { /* mov s, reg */
        if (insn->op_size == 2) {
            emit8(&s->e, 0x66);
        }
        emit8(&s->e, 0x40 | (insn->op_size == 8 ? 8 : 0) | (insn->reg >= 8 ? 1 : 0));
        emit8(&s->e, 0x89);
        emit8(&s->e, (uint8_t)(0xc0 | scratch << 3 | (insn->reg & 7)));
    }
    emit_give_back(s, spilled);
}

static void emit_push(struct DisasContext *s, unsigned i)
{
    const struct insn *insn = &s->insn[i];

    emit_field(s, i, R_ECX, BIT(R_ECX), insn->imm_off, insn->imm_size);
    emit8(&s->e, 0x50 | R_ECX);
    add_run(s, RUN_TAIL, 0, s->insn_off[i], BIT(R_ECX));
    emit_give_back(s, BIT(R_ECX));
}

/* call, jmp and jcc: what is not taken goes on as it would. */
static void emit_branch(struct DisasContext *s, unsigned i)
{
    const struct insn *insn = &s->insn[i];
    uint32_t goff = s->insn_off[i], over = 0;
    uint64_t next = s->tb->pc + goff + insn->len;

    if (insn->kind == INSN_JCC) {
        add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
        emit8(&s->e, 0x0f);
        emit8(&s->e, 0x80 | (insn->cond ^ 1));
        over = s->e.len;
        emit32(&s->e, 0);
    }
    add_run(s, RUN_GLUE, insn->kind == INSN_JCC ? 0 : RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_ECX);
    add_run(s, RUN_GLUE, RUN_FETCH, goff, BIT(R_ECX));
    emit_load_field(s, R_ECX, goff + insn->imm_off, 4);
    add_run(s, RUN_GLUE, 0, goff, BIT(R_ECX));
    if (fits_simm32(next)) {
        emit_rm(&s->e, 0x8d, R_ECX, R_ECX, R_NONE, 1, (int64_t)next);
    } else {
        emit_spill(s, R_EDX);
        add_run(s, RUN_GLUE, 0, goff, BIT(R_ECX) | BIT(R_EDX));
        emit_mov_imm(&s->e, R_EDX, next);
        emit_rm(&s->e, 0x8d, R_ECX, R_ECX, R_EDX, 1, 0);
        emit_load_abs(&s->e, R_EDX, spill_addr(s, R_EDX));
        add_run(s, RUN_GLUE, 0, goff, BIT(R_ECX));
    }
    emit_branch_to_rcx(s, goff, insn->kind == INSN_CALL, next);
    if (insn->kind == INSN_JCC) {
        patch_here(s, over);
        if (i + 1 == s->num_insns) {
            emit_fall_through(s, goff + insn->len);
        }
    }
}

/* The instruction's bytes with another operand, [base + index * scale], disp8 of 0; both have their high bits in the REX given. */
static void emit_operand(struct DisasContext *s, unsigned i, uint8_t rex_xb, uint8_t sib, bool no_base_disp)
{
    const struct insn *insn = &s->insn[i];
    const uint8_t *bytes = insn_host_bytes(s, i);
    unsigned end = insn->disp_off + insn->disp_size, rex = insn->opcode_off - (insn->map == 0 ? 1u : insn->map == 1 ? 2u : 3u);
    uint8_t head[INSN_MAX_LEN];

    memcpy(head, bytes, insn->modrm_off);
    if (insn->pfx & PFX_REX) {
        head[rex] = (uint8_t)((head[rex] & ~3) | rex_xb);
    }
    emit_bytes(&s->e, head, insn->modrm_off);
    emit8(&s->e, (uint8_t)((insn->modrm & 0x38) | (no_base_disp ? 0x04 : 0x44)));
    emit8(&s->e, sib);
    if (!no_base_disp) {
        emit8(&s->e, 0);
    }
    emit_bytes(&s->e, bytes + end, insn->len - end);
}

static void emit_displaced(struct DisasContext *s, unsigned i)
{
    const struct insn *insn = &s->insn[i];
    unsigned scratch = pick_low(gprs_named(insn));
    uint8_t base = insn->base & 7, index = insn->index & 7;

    emit_field(s, i, scratch, (uint16_t)BIT(scratch), insn->disp_off, insn->disp_size);
    if (insn->base == R_NONE) { /* [s] */
        emit_operand(s, i, 0, (uint8_t)(R_ESP << 3 | scratch), true);
    } else if (insn->index == R_NONE) { /* [base + s] */
        emit_operand(s, i, insn->base >= 8 ? 1 : 0, (uint8_t)(scratch << 3 | base), false);
    } else { /* s += base; [s + index * scale] */
        emit_rm(&s->e, 0x8d, scratch, insn->base, scratch, 1, 0);
        emit_operand(s, i, insn->index >= 8 ? 2 : 0, (uint8_t)((insn->sib & 0xc0) | index << 3 | scratch), false);
    }
    add_run(s, RUN_TAIL, 0, s->insn_off[i], (uint16_t)BIT(scratch));
    emit_give_back(s, (uint16_t)BIT(scratch));
}

bool emit_imm_load(struct DisasContext *s, unsigned i)
{
    const struct insn *insn = &s->insn[i];
    struct load_form f;

    if (insn->disp_size && is_hole(s->tb, s->insn_off[i] + insn->disp_off)) {
        emit_displaced(s, i);
        return true;
    }
    if (!insn->imm_size || !is_hole(s->tb, s->insn_off[i] + insn->imm_off)) {
        return false;
    }
    f = imm_form(insn);
    switch (f.how) {
    case LOAD_DIRECT:
        emit_direct(s, i, &f);
        break;
    case LOAD_PUSH:
        emit_push(s, i);
        break;
    case LOAD_BRANCH:
        emit_branch(s, i);
        break;
    default:
        emit_through_register(s, i, &f);
        break;
    }
    return true;
}
