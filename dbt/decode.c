/* SPDX-License-Identifier: MIT */
/*
 * The instruction decoder: prefixes and opcode (decode-prefix.h), table row, ModRM and
 * displacement, immediate, then the facts that depend on these. It must not know opcodes: what is
 * true of one opcode is a row in decode-rows.inc.
 */
#include "dbt/decode.h"

#include "dbt/decode-prefix.h"
#include "dbt/decode-table.h"

/* By [enum opc_osz][2 * W + 66]; SDM vol. 1 table 3-4 */
static const uint8_t op_sizes[8][4] = {
    [OSZ_V] = {4, 2, 8, 8},   [OSZ_B] = {1, 1, 1, 1},  [OSZ_W] = {2, 2, 2, 2},
    [OSZ_D] = {4, 4, 4, 4},   [OSZ_Q] = {8, 8, 8, 8},  [OSZ_Y] = {4, 4, 8, 8},
    [OSZ_D64] = {8, 2, 8, 8}, [OSZ_IO] = {4, 2, 4, 4},
};

static const uint16_t fixed_sizes[MS_COUNT] = {
    [MS_1] = 1,     [MS_2] = 2,     [MS_4] = 4,     [MS_6] = 6,   [MS_8] = 8,
    [MS_10] = 10,   [MS_16] = 16,   [MS_32] = 32,   [MS_48] = 48, [MS_64] = 64,
    [MS_384] = 384, [MS_512] = 512, [MS_576] = 576,
};

/* Flags that a condition tests, by condition / 2. */
static const uint8_t cond_flags[8] = {FL_OF, FL_CF, FL_ZF,         FL_CF | FL_ZF,
                                      FL_SF, FL_PF, FL_SF | FL_OF, FL_ZF | FL_SF | FL_OF};

/* Find the row: by map, opcode, prefix and W, then through groups. pos stays at ModRM, if there is
 * one. */
static int find_row(struct decoder *d)
{
    struct insn *in = d->insn;
    unsigned n = opc_index[OPC_KEY(d->space, in->opcode, d->pp, in->rex >> 3)];
    const struct opc *row = &opc_rows[n];

    while (unlikely(row->kind == OPC_GROUP)) {
        unsigned slot = 0, modrm = 0;

        if (row->sens <= SEL_MOD) {
            if (d->pos >= d->limit) {
                return out_of_bytes(d);
            }
            modrm = d->bytes[d->pos];
        }
        switch ((enum opc_sel)row->sens) {
        case SEL_REG:
            slot = (modrm >> 3) & 7;
            break;
        case SEL_RM:
            slot = modrm & 7;
            break;
        case SEL_MOD:
            slot = modrm >= 0xc0;
            break;
        case SEL_PP:
            slot = d->pp;
            break;
        case SEL_L:
            slot = d->raw_vl;
            break;
        case SEL_B:
            slot = in->rex & 1;
            break;
        case SEL_OSZ:
            slot = in->rex >> 3 ? 2 : d->osz66;
            break;
        }
        n = opc_index[OPC_GROUP_BASE + 8 * row->spec + slot];
        row = &opc_rows[n];
    }
    in->row = n;
    in->kind = row->kind;
    in->sens = row->sens;
    d->row = row;
    d->spec = row->spec;
    return n ? DECODE_OK : invalid(d);
}

/* Vector length, and the rules of VEX and EVEX about L, vvvv, masks and EVEX.b. */
static bool check_vector(struct decoder *d, bool is_mem)
{
    struct insn *in = d->insn;
    unsigned rule = OP_FIELD(d->spec, VL, 3);
    unsigned er = OP_FIELD(d->spec, ER, 2);
    unsigned mask = OP_FIELD(d->spec, MASK, 2);
    unsigned l = d->raw_vl;

    if (in->enc == ENC_LEGACY) {
        d->vl = (d->spec & OP_MMX) && !d->pp ? 8 : 16;
        return true;
    }
    /* V' extends the index of a VSIB operand */
    if (OP_FIELD(d->spec, VVVV, 2) == VV_NONE && (in->vvvv || (d->vvvv4 && !(d->spec & OP_VSIB)))) {
        return false;
    }
    if (in->enc == ENC_EVEX) {
        if (!is_mem && d->evex_b) {
            l = 2; /* LL is the rounding mode; the length is 512 */
        }
        if (l == 3 || (!is_mem && d->evex_b && er == ER_NONE)) {
            return false;
        }
        if ((in->evex_aaa && mask == MASK_NONE) ||
            (!in->evex_aaa && (d->evex_z || mask == MASK_REQ)) ||
            (d->evex_z && (mask != MASK_Z || (is_mem && (d->spec & OP_RM_W))))) {
            return false;
        }
    }
    if ((rule == VL_0 && l != 0) || (rule == VL_1 && l != 1) || (rule == VL_12 && l == 0) ||
        (rule == VL_2 && l != 2)) {
        return false;
    }
    d->vl = rule == VL_IG ? 16 : 16u << l;
    return true;
}

/* Size of the memory operand, and the scale of EVEX disp8. False: a broadcast that the instruction
 * does not have. */
static bool find_mem_size(struct decoder *d)
{
    struct insn *in = d->insn;
    unsigned ms = OP_FIELD(d->spec, MS, 6);
    unsigned size = fixed_sizes[ms];
    unsigned w = in->rex >> 3, element = 0, scale = 0;

    if (likely(ms <= MS_V)) {
        in->mem_size = ms == MS_V ? in->op_size : size;
        d->disp8_n = in->mem_size;
        return !d->evex_b || !in->is_mem;
    }
    switch (ms) {
    case MS_FAR:
        size = 2 + in->op_size;
        break;
    case MS_ENV:
        size = in->op_size == 2 ? 14 : 28;
        break;
    case MS_FSAVE:
        size = in->op_size == 2 ? 94 : 108;
        break;
    case MS_XB2:
    case MS_XB4:
    case MS_XB8:
        element = 2u << (ms - MS_XB2);
        size = d->vl;
        break;
    case MS_XBW:
        element = 4u << w;
        size = d->vl;
        break;
    case MS_X:
        size = d->vl;
        break;
    case MS_H:
    case MS_HB2:
    case MS_HB4:
        element = ms == MS_H ? 0 : ms == MS_HB2 ? 2 : 4;
        size = d->vl / 2;
        break;
    case MS_Q:
    case MS_QB2:
        element = ms == MS_Q ? 0 : 2;
        size = d->vl / 4;
        break;
    case MS_E:
        size = d->vl / 8;
        break;
    case MS_XMM:
        size = MIN(d->vl, 16u);
        break;
    case MS_SW:
        size = 4u << w;
        break;
    case MS_DUP:
        size = d->vl == 16 ? 8 : d->vl;
        break;
    case MS_XE1:
    case MS_XE2:
        scale = 1u << (ms - MS_XE1);
        size = d->vl;
        break;
    case MS_XEW:
        scale = 4u << w;
        size = d->vl;
        break;
    default:
        break;
    }
    if (d->evex_b && in->is_mem) {
        if (!element) {
            return false;
        }
        size = element;
    }
    in->mem_size = size;
    d->disp8_n = scale ? scale : size;
    return true;
}

/* SIB, displacement, base and index of a memory operand; pos is behind ModRM. False: out of bytes.
 */
static bool decode_address(struct decoder *d)
{
    struct insn *in = d->insn;
    unsigned mod = in->modrm >> 6, base = in->modrm & 7;
    unsigned disp_size = mod == 1 ? 1 : mod == 2 ? 4 : 0;

    in->scale = 1;
    if (base == 4) {
        unsigned index;

        if (d->pos >= d->limit) {
            return false;
        }
        in->has_sib = true;
        in->sib = d->bytes[d->pos++];
        base = in->sib & 7;
        index = ((in->sib >> 3) & 7) | (in->rex & 2) << 2;
        if (index != 4 && !(d->spec & OP_VSIB)) {
            in->index = index;
            in->scale = 1u << (in->sib >> 6);
        } else if (d->spec & OP_VSIB) {
            in->scale = 1u << (in->sib >> 6);
        }
    }
    if (base == 5 && mod == 0) {
        disp_size = 4;
        in->is_rip_rel = !in->has_sib;
        in->base = in->has_sib ? R_NONE : R_RIP;
    } else {
        in->base = base | (in->rex & 1) << 3;
    }
    if (disp_size) {
        if (d->pos + disp_size > d->limit) {
            return false;
        }
        in->disp_off = d->pos;
        in->disp_size = disp_size;
        in->disp = get_signed(d, disp_size);
        if (disp_size == 1 && in->enc == ENC_EVEX) {
            in->disp *= d->disp8_n;
        }
        d->pos += disp_size;
    }
    return true;
}

/* The numbers in ModRM.reg, ModRM.rm and vvvv as registers of their classes. False: no such
 * register. */
static bool decode_registers(struct decoder *d)
{
    struct insn *in = d->insn;
    unsigned reg_class = OP_FIELD(d->spec, REG, 3), rm_class = OP_FIELD(d->spec, RM, 3);
    unsigned reg = (in->modrm >> 3) & 7, rm = in->modrm & 7;
    unsigned r = (in->rex & 4) << 1, b = (in->rex & 1) << 3;

    in->reg = reg | r;
    if (likely(reg_class <= RC_GPR && rm_class <= RC_GPR && in->enc != ENC_EVEX)) {
        in->rm = in->is_mem ? 0 : rm | b;
        return true;
    }
    switch (reg_class) {
    case RC_VEC:
        in->reg |= d->reg4 << 4;
        break;
    case RC_K:
        in->reg = reg;
        if (r || d->reg4) {
            return false;
        }
        break;
    case RC_MMX:
        in->reg = reg;
        break;
    case RC_SREG:
        in->reg = reg;
        if (reg > R_GS || (in->sens == SENS_MOV_TO_SREG && reg == R_CS)) {
            return false;
        }
        break;
    case RC_CR:
        if (!(BIT(in->reg) & (BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(8)))) {
            return false;
        }
        break;
    case RC_DR:
        if (r) {
            return false;
        }
        break;
    case RC_GPR:
        if (d->reg4) {
            return false;
        }
        break;
    default:
        break;
    }
    if (!in->is_mem) {
        in->rm = rm | b;
        if (rm_class == RC_VEC && in->enc == ENC_EVEX) {
            in->rm |= d->x4 << 4;
        } else if (rm_class == RC_K || rm_class == RC_MMX) {
            in->rm = rm;
        }
    }
    if (OP_FIELD(d->spec, VVVV, 2) == VV_VEC) {
        in->vvvv |= d->vvvv4 << 4;
        return in->vvvv < 8 || rm_class != RC_K;
    }
    return true;
}

/* SDM: #UD if a destination that is written piecemeal is also a source, index or mask. */
static bool check_distinct(const struct decoder *d)
{
    const struct insn *in = d->insn;
    unsigned source = in->rm;

    if (in->is_mem && !(d->spec & OP_VSIB)) {
        return OP_FIELD(d->spec, VVVV, 2) == VV_NONE || in->reg != in->vvvv;
    }
    if (in->is_mem) {
        source = ((in->sib >> 3) & 7) | (in->rex & 2) << 2 | d->vvvv4 << 4;
    }
    if (OP_FIELD(d->spec, VVVV, 2) != VV_NONE &&
        (in->reg == in->vvvv || (in->enc == ENC_VEX && in->vvvv == source))) {
        return false;
    }
    return in->reg != source;
}

/* ModRM and what follows from it. */
static int decode_modrm(struct decoder *d)
{
    struct insn *in = d->insn;
    uint64_t spec = d->spec;

    if (d->pos >= d->limit) {
        return out_of_bytes(d);
    }
    in->has_modrm = true;
    in->modrm_off = d->pos;
    in->modrm = d->bytes[d->pos++];
    in->is_mem = in->modrm < 0xc0 && !(spec & OP_MODIGN);
    if ((spec & (in->is_mem ? OP_NOMEM : OP_MEM)) || !decode_registers(d)) {
        return invalid(d);
    }
    if ((spec & (OP_NEEDSIB | OP_VSIB)) && (in->modrm & 7) != 4) {
        return invalid(d);
    }
    return DECODE_OK;
}

/* Bytes of an immediate by [enum opc_imm][op_size / 2]. For two immediates, of both. */
static const uint8_t imm_sizes[16][5] = {
    [IMM_B] = {1, 1, 1, 1, 1},   [IMM_UB] = {1, 1, 1, 1, 1},    [IMM_W] = {2, 2, 2, 2, 2},
    [IMM_Z] = {4, 2, 4, 4, 4},   [IMM_V] = {1, 2, 4, 8, 8},     [IMM_REL8] = {1, 1, 1, 1, 1},
    [IMM_REL] = {4, 4, 4, 4, 4}, [IMM_REL_Z] = {4, 2, 4, 4, 4}, [IMM_WB] = {3, 3, 3, 3, 3},
    [IMM_BB] = {2, 2, 2, 2, 2},
};

/* The address in mov acc, moffs. False: out of bytes. */
static bool decode_moffs(struct decoder *d)
{
    struct insn *in = d->insn;

    if (d->pos + in->addr_size > d->limit) {
        return false;
    }
    in->disp_off = d->pos;
    in->disp_size = in->addr_size;
    in->disp = get_signed(d, in->addr_size);
    if (in->addr_size == 4) {
        in->disp = (uint32_t)in->disp;
    }
    d->pos += in->addr_size;
    return true;
}

/* The immediate. False: out of bytes. */
static bool decode_imm(struct decoder *d)
{
    struct insn *in = d->insn;
    enum opc_imm imm = OP_FIELD(d->spec, IMM, 4);
    unsigned size;

    if (imm == IMM_NONE) {
        return true;
    }
    if (imm == IMM_MOFFS) {
        return decode_moffs(d);
    }
    size = imm_sizes[imm][in->op_size / 2];
    if (d->pos + size > d->limit) {
        return false;
    }
    in->imm_off = d->pos;
    in->imm_size = size;
    in->imm_is_rel = imm >= IMM_REL8 && imm <= IMM_REL_Z;
    if (imm == IMM_WB || imm == IMM_BB) {
        in->imm_size = size - 1;
        in->imm2_size = 1;
        in->imm2 = d->bytes[d->pos + size - 1];
    }
    in->imm = get_signed(d, in->imm_size);
    if (imm == IMM_UB || imm == IMM_BB) {
        in->imm = (uint8_t)in->imm;
    } else if (imm == IMM_W || imm == IMM_WB) {
        in->imm = (uint16_t)in->imm;
    }
    d->pos += size;
    return true;
}

/* The bit of a general register; ah, ch, dh, bh count as the register that they are part of. */
static inline uint32_t gpr_bit(const struct insn *in, unsigned reg, bool byte)
{
    return 1u << (byte && reg >= 4 && reg < 8 && !(in->pfx & PFX_REX) ? reg - 4 : reg);
}

/* Registers read and written. Writing a byte or a word keeps the rest, so it reads as well. */
static void fill_gprs(struct decoder *d)
{
    struct insn *in = d->insn;
    uint64_t spec = d->spec;
    uint32_t rd = d->row->gpr_r, wr = d->row->gpr_w, z;
    bool partial = in->op_size < 4;

    rd |= partial ? wr : 0;
    if (spec & (OP_REG_R | OP_REG_W)) {
        uint32_t bit = gpr_bit(in, in->reg, spec & OP_REG8);

        rd |= (spec & OP_REG_R) || partial ? bit : 0;
        wr |= spec & OP_REG_W ? bit : 0;
    }
    if (in->is_mem) {
        rd |= in->base < 16 ? 1u << in->base : 0;
        rd |= in->index < 16 ? 1u << in->index : 0;
    } else if (OP_FIELD(spec, RM, 3) == RC_GPR && in->has_modrm) {
        uint32_t bit = gpr_bit(in, in->rm, spec & OP_RM8);

        rd |= (spec & OP_RM_R) || partial ? bit : 0;
        wr |= spec & OP_RM_W ? bit : 0;
    }
    if (spec & (OP_Z_R | OP_Z_W)) {
        in->rm = (in->opcode & 7) | (in->rex & 1) << 3;
        z = gpr_bit(in, in->rm, spec & OP_REX8);
        rd |= (spec & OP_Z_R) || partial ? z : 0;
        wr |= spec & OP_Z_W ? z : 0;
    }
    if (spec & OP_STACK) {
        rd |= 1u << R_ESP;
        wr |= 1u << R_ESP;
    }
    if (OP_FIELD(spec, VVVV, 2) >= VV_GPR_R) {
        rd |= OP_FIELD(spec, VVVV, 2) == VV_GPR_R ? 1u << in->vvvv : 0;
        wr |= OP_FIELD(spec, VVVV, 2) == VV_GPR_W ? 1u << in->vvvv : 0;
    }
    in->gpr_read = rd;
    in->gpr_write = wr;
    in->writes_sp = (wr >> R_ESP) & 1;
}

static void fill_flags(struct decoder *d)
{
    struct insn *in = d->insn;

    in->flags_read = d->row->fl_r;
    in->flags_write = d->row->fl_w;
    if (d->spec & OP_CC) {
        in->cond = in->opcode & 0xf;
        in->flags_read |= cond_flags[in->cond >> 1];
    } else if (in->kind == INSN_LOOP) {
        in->cond = in->opcode & 3;
    }
    /* A count of 0 changes nothing; more than the operand's size leaves some undefined (possible
     * below 32 bits). */
    if ((d->spec & OP_SHCNT) && (in->op_size < 4 || !(in->imm & (in->op_size == 8 ? 63 : 31)))) {
        in->flags_write = 0;
    }
}

/* Which form of memory operand, read or written, by the row and by what ModRM turned out to be. */
static void fill_memory(struct decoder *d)
{
    struct insn *in = d->insn;
    unsigned mem = OP_FIELD(d->spec, MEM, 5);
    unsigned acc = (d->spec & OP_RM_R ? ACC_R : 0) | (d->spec & OP_RM_W ? ACC_W : 0);

    if (mem == MEM_NONE) {
        if (in->is_mem && acc) {
            in->mem = in->evex_aaa ? MEM_MASKED : MEM_MODRM;
            in->acc = acc;
        } else {
            in->mem_size = 0;
        }
        return;
    }
    switch (mem) {
    case MEM_PUSH:
    case MEM_ENTER:
        acc = ACC_W;
        break;
    case MEM_POP:
    case MEM_LEAVE:
        acc = ACC_R;
        break;
    case MEM_BT:
    case MEM_XSAVE:
    case MEM_VSIB:
    case MEM_MASKED:
    case MEM_DIR64:
        mem = in->is_mem ? mem : MEM_NONE;
        break;
    case MEM_STRING:
        if (in->pfx & (PFX_REP | PFX_REPNE)) {
            in->gpr_read |= 1u << R_ECX;
            in->gpr_write |= 1u << R_ECX;
            in->flags_read |= in->flags_write ? FL_ZF : 0;
            in->flags_write = 0; /* a count of 0 compares nothing */
        }
        break;
    default:
        break;
    }
    in->mem = mem;
    in->acc = mem != MEM_NONE ? acc : 0;
    if (mem == MEM_NONE) {
        in->mem_size = 0;
    }
}

int insn_decode(struct insn *in, const uint8_t *bytes, size_t avail)
{
    struct decoder d = {
        .insn = in, .bytes = bytes, .avail = avail, .limit = MIN(avail, (size_t)INSN_MAX_LEN)};
    int err;

    init_insn(in);
    err = decode_opcode(&d);
    if (err) {
        return err;
    }
    err = find_row(&d);
    if (err) {
        return err;
    }
    in->op_size = op_sizes[OP_FIELD(d.spec, OSZ, 3)][(in->rex >> 3) * 2 + d.osz66];
    if (d.spec & OP_MODRM) {
        err = decode_modrm(&d);
        if (err) {
            return err;
        }
    }
    if ((d.spec & OP_VEC) || in->enc != ENC_LEGACY) {
        if (!check_vector(&d, in->is_mem)) {
            return invalid(&d);
        }
        in->vl = d.spec & OP_VEC && d.vl >= 16 ? d.vl : 0;
    }
    if ((in->is_mem || OP_FIELD(d.spec, MEM, 5) != MEM_NONE) && !find_mem_size(&d)) {
        return invalid(&d);
    }
    if ((in->is_mem && !decode_address(&d)) || !decode_imm(&d)) {
        return out_of_bytes(&d);
    }
    if (((in->pfx & PFX_LOCK) && !((d.spec & OP_LOCK) && in->is_mem)) ||
        ((d.spec & OP_DISTINCT) && !check_distinct(&d))) {
        return invalid(&d);
    }
    in->len = d.pos;
    fill_gprs(&d);
    fill_flags(&d);
    fill_memory(&d);
    if (in->sens == SENS_SYSCALL) {
        in->gpr_write |= 1u << R_R11;
    } else if (in->sens == SENS_SYSRET) {
        in->gpr_read |= 1u << R_R11;
    }
    return DECODE_OK;
}
