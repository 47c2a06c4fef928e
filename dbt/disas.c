/* SPDX-License-Identifier: MIT */
/*
 * Names and text of decoded instructions, for logs and the monitor prompt. It must not decode: it
 * prints what struct insn and the table row say.
 */
#include "dbt/decode.h"

#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"

#include "dbt/decode-table.h"

/* Text being built. len counts what the whole would have, as snprintf does. */
struct text {
    char *buf;
    size_t size, len;
    int operands;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *fmt, ...)
{
    size_t room = t->len < t->size ? t->size - t->len : 0;
    va_list ap;

    va_start(ap, fmt);
    t->len += (size_t)vsnprintf(room ? t->buf + t->len : NULL, room, fmt, ap);
    va_end(ap);
}

static void put_separator(struct text *t)
{
    put(t, t->operands++ ? ", " : " ");
}

#define CC_NAMES(p)                                                                                \
    {                                                                                              \
        p "o", p "no", p "b", p "ae", p "e", p "ne", p "be", p "a", p "s", p "ns", p "p", p "np",  \
            p "l", p "ge", p "le", p "g"                                                           \
    }

const char *insn_name(const struct insn *in)
{
    static const char jcc[16][8] = CC_NAMES("j"), cmovcc[16][8] = CC_NAMES("cmov"),
                      setcc[16][8] = CC_NAMES("set");
    const struct opc *row = &opc_rows[in->row];

    if (row->spec & OP_CC) {
        return in->kind == INSN_JCC   ? jcc[in->cond]
               : row->spec & OP_REG_W ? cmovcc[in->cond]
                                      : setcc[in->cond];
    }
    return opc_name(in->row) + ((row->spec & OP_VNAME) && in->enc != ENC_LEGACY ? 0 : 1);
}
#undef CC_NAMES

static void put_gpr(struct text *t, const struct insn *in, unsigned reg, unsigned size)
{
    static const char names[8][4] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
    static const char bytes[8][4] = {"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"};
    static const char highs[4][4] = {"ah", "ch", "dh", "bh"};

    if (reg >= 8) {
        put(t, "r%u%s", reg, size == 1 ? "b" : size == 2 ? "w" : size == 4 ? "d" : "");
    } else if (size == 1) {
        put(t, "%s", reg >= 4 && !(in->pfx & PFX_REX) ? highs[reg - 4] : bytes[reg]);
    } else {
        put(t, "%s%s", size == 2 ? "" : size == 4 ? "e" : "r", names[reg]);
    }
}

static void put_vector(struct text *t, const struct insn *in, unsigned reg)
{
    bool scalar = OP_FIELD(opc_rows[in->row].spec, VL, 3) == VL_IG;

    put(t, "%s%u", scalar || in->vl <= 16 ? "xmm" : in->vl == 32 ? "ymm" : "zmm", reg);
}

static void put_reg(struct text *t, const struct insn *in, unsigned class, unsigned reg,
                    unsigned size)
{
    static const char sregs[8][4] = {"es", "cs", "ss", "ds", "fs", "gs", "?", "?"};

    put_separator(t);
    switch ((enum opc_class) class) {
    case RC_GPR:
        put_gpr(t, in, reg, size);
        break;
    case RC_VEC:
        if ((opc_rows[in->row].spec & OP_MMX) && in->vl == 0) {
            put(t, "mm%u", reg & 7);
        } else {
            put_vector(t, in, reg);
        }
        break;
    case RC_MMX:
        put(t, "mm%u", reg);
        break;
    case RC_K:
        put(t, "%s%u", in->kind == INSN_SENS ? "tmm" : "k",
            reg); /* AMX is sensitive, mask registers are not */
        break;
    case RC_SREG:
        put(t, "%s", sregs[reg & 7]);
        break;
    case RC_CR:
        put(t, "cr%u", reg);
        break;
    case RC_DR:
        put(t, "dr%u", reg);
        break;
    case RC_NONE:
        break;
    }
}

static void put_disp(struct text *t, int64_t disp, bool first)
{
    if (first) {
        put(t, "0x%llx", (unsigned long long)disp);
    } else if (disp) {
        put(t, "%s0x%llx", disp < 0 ? "-" : "+",
            disp < 0 ? 0 - (unsigned long long)disp : (unsigned long long)disp);
    }
}

/* "qword ptr gs:[rax+rcx*8+0x10]" */
static void put_mem(struct text *t, const struct insn *in, unsigned size)
{
    const char *word = size == 1    ? "byte ptr "
                       : size == 2  ? "word ptr "
                       : size == 4  ? "dword ptr "
                       : size == 8  ? "qword ptr "
                       : size == 16 ? "xmmword ptr "
                       : size == 32 ? "ymmword ptr "
                       : size == 64 ? "zmmword ptr "
                                    : "";
    bool vsib = opc_rows[in->row].spec & OP_VSIB;

    put_separator(t);
    put(t, "%s%s[", word, in->seg == R_FS ? "fs:" : in->seg == R_GS ? "gs:" : "");
    if (in->base == R_RIP) {
        put(t, "rip");
    } else if (in->base != R_NONE) {
        put_gpr(t, in, in->base, in->addr_size);
    }
    if (in->index != R_NONE || vsib) {
        put(t, in->base != R_NONE ? "+" : "");
        if (vsib) {
            put(t, "vec%u", ((in->sib >> 3) & 7) | (in->rex & 2) << 2 | (in->vvvv & 16));
        } else {
            put_gpr(t, in, in->index, in->addr_size);
        }
        put(t, "*%u", in->scale);
    }
    put_disp(t, in->disp, in->base == R_NONE && in->index == R_NONE && !vsib);
    put(t, "]");
}

static void put_rm(struct text *t, const struct insn *in, uint64_t spec)
{
    unsigned size = in->op_size;

    if (in->is_mem) {
        put_mem(t, in, in->mem == MEM_PUSH || in->mem == MEM_POP ? in->op_size : in->mem_size);
        return;
    }
    if (spec & OP_RM8) {
        size = 1;
    } else if (OP_FIELD(spec, MS, 6) == MS_2 && OP_FIELD(spec, OSZ, 3) == OSZ_V) {
        size = 2;
    } else if (OP_FIELD(spec, MS, 6) == MS_4 && OP_FIELD(spec, OSZ, 3) == OSZ_V) {
        size = 4;
    }
    if (OP_FIELD(spec, RM, 3) == RC_ST) {
        put_separator(t);
        put(t, "st(%u)", in->modrm & 7);
    } else {
        put_reg(t, in, OP_FIELD(spec, RM, 3), in->rm, size);
    }
}

static void put_vvvv(struct text *t, const struct insn *in, uint64_t spec)
{
    unsigned vvvv = OP_FIELD(spec, VVVV, 2);
    bool k = OP_FIELD(spec, REG, 3) == RC_K && OP_FIELD(spec, RM, 3) == RC_K;

    if (vvvv != VV_NONE && in->enc != ENC_LEGACY) {
        put_reg(t, in, vvvv != VV_VEC ? RC_GPR : k ? RC_K : RC_VEC, in->vvvv, in->op_size);
    }
}

/* ModRM's and vvvv's operands in Intel order. */
static void put_modrm(struct text *t, const struct insn *in, uint64_t spec)
{
    bool has_reg = OP_FIELD(spec, REG, 3) != RC_NONE;
    bool has_rm = OP_FIELD(spec, RM, 3) != RC_NONE || in->is_mem;
    bool vvvv_first = !has_reg;

    if (has_reg && (spec & OP_REGDST)) {
        put_reg(t, in, OP_FIELD(spec, REG, 3), in->reg, spec & OP_REG8 ? 1 : in->op_size);
    } else if (vvvv_first) {
        put_vvvv(t, in, spec);
    }
    if (spec & OP_REGDST && !(spec & OP_VLAST)) {
        put_vvvv(t, in, spec);
    }
    if (has_rm) {
        put_rm(t, in, spec);
    }
    if (has_reg && (!(spec & OP_REGDST) || (spec & OP_VLAST))) {
        put_vvvv(t, in, spec);
    }
    if (has_reg && !(spec & OP_REGDST)) {
        put_reg(t, in, OP_FIELD(spec, REG, 3), in->reg, spec & OP_REG8 ? 1 : in->op_size);
    }
}

static void put_imm(struct text *t, const struct insn *in, uint64_t pc, uint64_t spec)
{
    uint64_t mask = in->op_size >= 8 || in->op_size == 0 ? UINT64_MAX : BIT(in->op_size * 8) - 1;

    if (in->imm_is_rel) {
        put_separator(t);
        put(t, "0x%llx", (unsigned long long)(pc + in->len + (uint64_t)in->imm));
    } else if (spec & OP_IS4) {
        put_reg(t, in, RC_VEC, (unsigned)(in->imm >> 4) & 0xf, 0);
    } else if (in->imm_size) {
        put_separator(t);
        put(t, "0x%llx", (unsigned long long)in->imm & mask);
        if (in->imm2_size) {
            put_separator(t);
            put(t, "0x%x", in->imm2);
        }
    }
}

static void put_operands(struct text *t, const struct insn *in, uint64_t pc)
{
    uint64_t spec = opc_rows[in->row].spec;

    if ((spec & OP_ACC) && (spec & OP_REGDST || in->imm_size) && in->sens != SENS_OUT) {
        put_reg(t, in, RC_GPR, R_EAX, in->op_size);
    }
    if (in->has_modrm) {
        put_modrm(t, in, spec);
    }
    if (spec & (OP_Z_R | OP_Z_W)) {
        put_reg(t, in, RC_GPR, in->rm, in->op_size);
    }
    if (in->mem == MEM_MOFFS) {
        put_mem(t, in, in->mem_size);
    }
    put_imm(t, in, pc, spec);
    if ((in->sens == SENS_IN || in->sens == SENS_OUT) && !in->imm_size) {
        put_reg(t, in, RC_GPR, R_EDX, 2);
    }
    if ((spec & OP_ACC) && !(spec & OP_REGDST) && (!in->imm_size || in->sens == SENS_OUT)) {
        put_reg(t, in, RC_GPR, R_EAX, in->op_size);
    }
    if (spec & OP_CL) {
        put_reg(t, in, RC_GPR, R_ECX, 1);
    } else if (spec & OP_ONE) {
        put_separator(t);
        put(t, "1");
    }
    if (in->evex_aaa) {
        put(t, " {k%u}", in->evex_aaa);
    }
}

int insn_format(const struct insn *in, const uint8_t *bytes, uint64_t pc, char *buf, size_t size)
{
    static const char suffix[9] = {0, 'b', 'w', 0, 'd', 0, 0, 0, 'q'};
    struct text t = {.buf = buf, .size = size};

    if (size) {
        buf[0] = '\0';
    }
    if (in->row == 0) {
        put(&t, "(bad)");
        for (unsigned i = 0; i < in->len; i++) {
            put(&t, " %02x", bytes[i]);
        }
        return (int)t.len;
    }
    if (in->pfx & PFX_LOCK) {
        put(&t, "lock ");
    }
    if (in->mem == MEM_STRING && (in->pfx & (PFX_REP | PFX_REPNE))) {
        put(&t, in->pfx & PFX_REP ? "rep " : "repne ");
    }
    put(&t, "%s", insn_name(in));
    if (in->mem == MEM_STRING) {
        put(&t, "%c", suffix[in->mem_size]);
    } else {
        put_operands(&t, in, pc);
    }
    return (int)t.len;
}
