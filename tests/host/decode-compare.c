/* SPDX-License-Identifier: MIT */
/*
 * Compare our decoding of an instruction with Zydis'. It must not know which differences are
 * acceptable: that is decode-explained.c.
 */
#include <stdio.h>
#include <string.h>

#include "kernel/lib/types.h"

#include "tests/host/decode-diff.h"

const char *const diff_names[DIFF_KINDS] = {
    [DIFF_OURS_INVALID] = "only-zydis-valid",
    [DIFF_ZYDIS_INVALID] = "only-ours-valid",
    [DIFF_LENGTH] = "length",
    [DIFF_LAYOUT] = "layout",
    [DIFF_OPERAND] = "operand",
    [DIFF_ACCESS] = "access",
    [DIFF_BRANCH] = "branch",
    [DIFF_SENS] = "sensitive",
    [DIFF_GPR] = "gpr",
    [DIFF_FLAGS] = "flags",
    [DIFF_VECTOR] = "vector",
    [DIFF_TRUNCATION] = "truncation",
    [DIFF_PLAIN] = "plain",
    [DIFF_CAPSTONE_LENGTH] = "capstone-length",
    [DIFF_CAPSTONE_INVALID] = "capstone-rejects",
    [DIFF_CAPSTONE_VALID] = "capstone-accepts",
};

/* Register contents for insn_accesses(): arbitrary, far apart, canonical; rcx = 1 so that rep means
 * once. */
static const uint64_t gpr_values[16] = {
    0x1111000000002a40, 1,
    0x0000000300000080, 0x0000200000004440,
    0x0000300000005550, 0x0000400000006660,
    0x0000500000007770, 0x0000600000008880,
    0x0000700000009990, 0x000010000000aaa0,
    0x000011000000bbb0, 0x000012000000ccc0,
    0x000013000000ddd0, 0x000014000000eee0,
    0x000015000000fff0, 0x0000160000001230,
};
static const uint64_t seg_bases[6] = {0, 0, 0, 0, 0x7f0000000000, 0x7e0000000000};
#define NEXT_PC 0x0000170000000000ull

static int gpr_number(ZydisRegister reg)
{
    ZydisRegister wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);

    return wide >= ZYDIS_REGISTER_RAX && wide <= ZYDIS_REGISTER_R15
               ? (int)(wide - ZYDIS_REGISTER_RAX)
               : -1;
}

static uint64_t reg_value(ZydisRegister reg)
{
    int n = gpr_number(reg);

    return n >= 0                                                   ? gpr_values[n]
           : reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP ? NEXT_PC
                                                                    : 0;
}

static bool layout_differs(const struct views *v, char *why, size_t size)
{
    const struct insn *in = &v->in;
    const ZydisDecodedInstruction *z = &v->z;
    bool has_modrm = z->attributes & ZYDIS_ATTRIB_HAS_MODRM;

    snprintf(why, size, "modrm %u/%u disp %u+%u/%u+%u imm %u+%u/%u+%u value %llx/%llx",
             in->modrm_off, z->raw.modrm.offset, in->disp_off, in->disp_size, z->raw.disp.offset,
             z->raw.disp.size / 8, in->imm_off, in->imm_size, z->raw.imm[0].offset,
             z->raw.imm[0].size / 8, (unsigned long long)in->imm,
             (unsigned long long)z->raw.imm[0].value.u);
    if (in->has_modrm != has_modrm || (has_modrm && in->modrm_off != z->raw.modrm.offset)) {
        return true;
    }
    if (in->disp_size != z->raw.disp.size / 8 ||
        (in->disp_size && in->disp_off != z->raw.disp.offset)) {
        return true;
    }
    if (in->imm_size != z->raw.imm[0].size / 8 || in->imm2_size != z->raw.imm[1].size / 8) {
        return true;
    }
    if (in->imm2_size && in->imm2 != z->raw.imm[1].value.u) {
        return true;
    }
    if (in->imm_size) {
        uint64_t mask = in->imm_size == 8 ? UINT64_MAX : BIT(in->imm_size * 8) - 1;

        return in->imm_off != z->raw.imm[0].offset ||
               (((uint64_t)in->imm ^ z->raw.imm[0].value.u) & mask) ||
               in->imm_is_rel != !!z->raw.imm[0].is_relative;
    }
    return false;
}

/* The explicit memory operand, if Zydis has one. */
static const ZydisDecodedOperand *modrm_operand(const struct views *v)
{
    for (unsigned i = 0; i < v->z.operand_count; i++) {
        if (v->ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            v->ops[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
            return &v->ops[i];
        }
    }
    return NULL;
}

static bool operand_differs(const struct views *v, char *why, size_t size)
{
    const struct insn *in = &v->in;
    const ZydisDecodedOperand *op = modrm_operand(v);
    int base, index;
    ZydisRegister seg;

    if (!op) {
        snprintf(why, size, "ModRM memory operand: ours %d, theirs none", in->is_mem);
        return in->is_mem;
    }
    base = op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP
               ? R_RIP
               : gpr_number(op->mem.base);
    index = gpr_number(op->mem.index);
    seg = in->seg == R_FS   ? ZYDIS_REGISTER_FS
          : in->seg == R_GS ? ZYDIS_REGISTER_GS
                            : op->mem.segment;
    snprintf(why, size, "is_mem %d base %d/%d index %d/%d scale %u/%u disp %llx/%llx seg %s",
             in->is_mem, (int8_t)in->base, base, (int8_t)in->index, index, in->scale, op->mem.scale,
             (unsigned long long)in->disp, (unsigned long long)op->mem.disp.value,
             ZydisRegisterGetString(op->mem.segment));
    return !in->is_mem || (int8_t)in->base != base || (int8_t)in->index != index ||
           in->disp != op->mem.disp.value || (index >= 0 && in->scale != op->mem.scale) ||
           seg != op->mem.segment || (in->is_rip_rel != (base == R_RIP)) ||
           in->addr_size != v->z.address_width / 8;
}

struct range {
    uint64_t addr, len;
    unsigned acc;
};

/* bt m, r: how far from the operand's address the register's bit is. Zydis leaves that to its user.
 */
static uint64_t bit_offset(const struct views *v, const ZydisDecodedOperand *op)
{
    int64_t value = (int64_t)reg_value(v->ops[1].reg.value);
    int64_t bits = op->size;

    if (v->in.mem != MEM_BT || v->ops[1].type != ZYDIS_OPERAND_TYPE_REGISTER) {
        return 0;
    }
    value = bits == 16 ? (int16_t)value : bits == 32 ? (int32_t)value : value;
    return (uint64_t)((value >= 0 ? value / bits : -((-value + bits - 1) / bits)) * (bits / 8));
}

/* What Zydis says is accessed, with the same registers. */
static unsigned zydis_accesses(const struct views *v, struct range *out)
{
    unsigned n = 0;

    for (unsigned i = 0; i < v->z.operand_count; i++) {
        const ZydisDecodedOperand *op = &v->ops[i];
        uint64_t addr;
        bool hidden = op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN, is_stack, is_push, is_pop;

        if (v->z.meta.category == ZYDIS_CATEGORY_WIDENOP ||
            v->z.meta.category == ZYDIS_CATEGORY_PREFETCH) {
            continue; /* no access, whatever the operand says */
        }
        if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->mem.type != ZYDIS_MEMOP_TYPE_MEM ||
            op->size == 0) {
            continue;
        }
        is_stack = hidden && op->mem.segment == ZYDIS_REGISTER_SS;
        is_push = is_stack && op->mem.base == ZYDIS_REGISTER_RSP &&
                  (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
        is_pop =
            !hidden && v->z.mnemonic == ZYDIS_MNEMONIC_POP && gpr_number(op->mem.base) == R_ESP;
        addr = reg_value(op->mem.base) + reg_value(op->mem.index) * op->mem.scale;
        addr += v->z.mnemonic == ZYDIS_MNEMONIC_XLAT ? (uint8_t)gpr_values[0]
                                                     : 0; /* not among Zydis' operands */
        addr += op->mem.disp.has_displacement ? (uint64_t)op->mem.disp.value : 0;
        addr += (is_pop ? op->size / 8u : 0) + bit_offset(v, op);
        addr -= is_push ? op->size / 8u : 0;
        if (v->z.address_width == 32 && !is_stack) {
            addr = (uint32_t)addr;
        }
        addr += op->mem.segment == ZYDIS_REGISTER_FS   ? seg_bases[R_FS]
                : op->mem.segment == ZYDIS_REGISTER_GS ? seg_bases[R_GS]
                                                       : 0;
        out[n].addr = addr;
        out[n].len = op->size / 8u;
        out[n++].acc = (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? ACC_R : 0) |
                       (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? ACC_W : 0);
    }
    return n;
}

/* insn_accesses() against Zydis' memory operands, as sets. */
static bool accesses_differ(const struct views *v, char *why, size_t size)
{
    struct insn_regs regs = {.gpr = gpr_values, .seg_base = seg_bases, .rflags = 2, .xcr0 = 7};
    struct insn_access ours[INSN_MAX_ACCESS];
    struct range theirs[ZYDIS_MAX_OPERAND_COUNT];
    bool exact;
    unsigned n = (unsigned)insn_accesses(&v->in, &regs, NEXT_PC, ours, &exact);
    unsigned m = zydis_accesses(v, theirs), found = 0;

    snprintf(why, size, "ours %u: %llx+%llx acc %u; theirs %u: %llx+%llx acc %u", n,
             n ? (unsigned long long)ours[0].addr : 0, n ? (unsigned long long)ours[0].len : 0,
             n ? ours[0].acc : 0, m, m ? (unsigned long long)theirs[0].addr : 0,
             m ? (unsigned long long)theirs[0].len : 0, m ? theirs[0].acc : 0);
    for (unsigned i = 0; i < m; i++) {
        for (unsigned k = 0; k < n; k++) {
            found += ours[k].addr == theirs[i].addr && ours[k].len == theirs[i].len &&
                     ours[k].acc == theirs[i].acc;
        }
    }
    return n != m || found != n;
}

static bool branch_differs(const struct views *v)
{
    bool ours = v->in.kind >= INSN_JMP && v->in.kind <= INSN_CALL_IND;

    switch (v->in.sens) {
    case SENS_CALL_FAR:
    case SENS_JMP_FAR:
    case SENS_RETF:
    case SENS_IRET:
    case SENS_INT3:
    case SENS_INT1:
    case SENS_INT_N:
    case SENS_SYSCALL:
    case SENS_SYSENTER:
    case SENS_SYSRET:
    case SENS_SYSEXIT:
    case SENS_XBEGIN:
    case SENS_RSM:
        ours = true;
        break;
    case SENS_XABORT:
    case SENS_XEND:
        return false;
    default:
        break;
    }
    switch (v->z.meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_INTERRUPT:
        return !ours && v->in.kind != INSN_UD && v->in.sens != SENS_UNSUPPORTED;
    default:
        return ours && v->in.sens != SENS_RSM;
    }
}

/* Our sensitive instructions by Zydis mnemonic; those that differ only by a suffix come first. */
static enum insn_sens expected_sens(const ZydisDecodedInstruction *z)
{
    static const struct {
        const char *prefix;
        enum insn_sens sens;
    } aliases[] = {
        {"pushf", SENS_PUSHF},     {"popf", SENS_POPF},     {"iret", SENS_IRET},
        {"ins", SENS_INS},         {"outs", SENS_OUTS},     {"sysret", SENS_SYSRET},
        {"sysexit", SENS_SYSEXIT}, {"xsaves", SENS_XSAVES}, {"xrstors", SENS_XRSTORS},
    };
    static const char *const exact[] = {"insb", "insw", "insd", "outsb", "outsw", "outsd"};
#define X(n) #n,
    static const char *const names[] = {"", SENS_LIST(X)};
#undef X
    const char *name = ZydisMnemonicGetString(z->mnemonic);

    for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
        if (!strncmp(name, aliases[i].prefix, strlen(aliases[i].prefix))) {
            if (aliases[i].sens != SENS_INS && aliases[i].sens != SENS_OUTS) {
                return aliases[i].sens;
            }
            for (size_t k = 0; k < ARRAY_SIZE(exact); k++) {
                if (!strcmp(name, exact[k])) {
                    return aliases[i].sens;
                }
            }
        }
    }
    for (unsigned i = 1; i < SENS_UNSUPPORTED; i++) {
        if (!strcasecmp(name, names[i])) {
            return i;
        }
    }
    return SENS_NONE;
}

static bool sens_differs(const struct views *v, char *why, size_t size)
{
    enum insn_sens want = expected_sens(&v->z);
    const ZydisDecodedOperand *ops = v->ops;

    if (v->z.mnemonic == ZYDIS_MNEMONIC_MOV) {
        for (unsigned i = 0; i < 2; i++) {
            ZydisRegisterClass class = ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER
                                           ? ZydisRegisterGetClass(ops[i].reg.value)
                                           : ZYDIS_REGCLASS_INVALID;

            want = class == ZYDIS_REGCLASS_SEGMENT   ? SENS_MOV_TO_SREG + (i ? -1 : 0)
                   : class == ZYDIS_REGCLASS_CONTROL ? SENS_MOV_TO_CR + (i ? -1 : 0)
                   : class == ZYDIS_REGCLASS_DEBUG   ? SENS_MOV_TO_DR + (i ? -1 : 0)
                                                     : want;
        }
    }
    snprintf(why, size, "sens %u, expected %u, privileged %d", v->in.sens, want,
             !!(v->z.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED));
    return (want != SENS_NONE && v->in.sens != want) ||
           ((v->z.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) && v->in.kind != INSN_SENS);
}

static bool gprs_differ(const struct views *v, char *why, size_t size)
{
    uint32_t rd = 0, wr = 0;

    for (unsigned i = 0; i < v->z.operand_count; i++) {
        const ZydisDecodedOperand *op = &v->ops[i];

        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_number(op->reg.value) >= 0) {
            uint32_t bit = 1u << gpr_number(op->reg.value);

            rd |= op->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? bit : 0;
            wr |= op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? bit : 0;
        } else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            rd |= gpr_number(op->mem.base) >= 0 ? 1u << gpr_number(op->mem.base) : 0;
            rd |= gpr_number(op->mem.index) >= 0 ? 1u << gpr_number(op->mem.index) : 0;
        }
    }
    snprintf(why, size, "read %x/%x write %x/%x", v->in.gpr_read, rd, v->in.gpr_write, wr);
    /* Copied instructions write exactly these; what happens in a sensitive one (a stack switch) is
     * not all listed there. */
    if (v->in.kind == INSN_SENS) {
        return (rd & ~v->in.gpr_read) || (wr & ~v->in.gpr_write);
    }
    return (rd & ~v->in.gpr_read) || v->in.gpr_write != wr ||
           v->in.writes_sp != !!(wr & (1u << R_ESP));
}

static uint8_t status_flags(uint32_t eflags)
{
    return (eflags & 0x001 ? FL_CF : 0) | (eflags & 0x004 ? FL_PF : 0) |
           (eflags & 0x010 ? FL_AF : 0) | (eflags & 0x040 ? FL_ZF : 0) |
           (eflags & 0x080 ? FL_SF : 0) | (eflags & 0x800 ? FL_OF : 0);
}

static bool flags_differ(const struct views *v, char *why, size_t size)
{
    const ZydisAccessedFlags *f = v->z.cpu_flags;
    uint8_t tested = status_flags(f->tested), undefined = status_flags(f->undefined);
    uint8_t written = status_flags(f->modified | f->set_0 | f->set_1);

    /* and, or, xor, test: AF is architecturally undefined, but overwritten on every CPU */
    if (undefined == FL_AF && v->z.meta.category == ZYDIS_CATEGORY_LOGICAL) {
        written |= FL_AF;
    }
    snprintf(why, size, "read %x/%x write %x/%x undefined %x", v->in.flags_read, tested,
             v->in.flags_write, written, undefined);
    return (tested & ~v->in.flags_read) || (v->in.flags_write & ~written);
}

static bool vector_differs(const struct views *v, char *why, size_t size)
{
    unsigned vl = v->z.avx.vector_length / 8,
             mask = v->z.avx.mask.reg ? v->z.avx.mask.reg - ZYDIS_REGISTER_K0 : 0;

    snprintf(why, size, "vl %u/%u mask %u/%u", v->in.vl, vl, v->in.evex_aaa, mask);
    return (vl && v->in.vl && v->in.vl != vl) || (v->in.enc == ENC_EVEX && v->in.evex_aaa != mask);
}

/* Every proper beginning of an instruction needs more bytes; those behind it do not matter. */
static bool truncation_differs(const struct views *v, char *why, size_t size)
{
    struct insn part;

    for (size_t n = 0; n < v->in.len; n++) {
        int err = insn_decode(&part, v->bytes, n);

        if (err != DECODE_TRUNCATED || part.len != n) {
            snprintf(why, size, "%zu of %u bytes: result %d, length %u", n, v->in.len, err,
                     part.len);
            return true;
        }
    }
    return insn_decode(&part, v->bytes, v->in.len) != DECODE_OK ||
           memcmp(&part, &v->in, sizeof(part)) != 0;
}

unsigned compare_views(const struct views *v, char *detail, size_t size)
{
    bool (*const checks[DIFF_KINDS])(const struct views *, char *, size_t) = {
        [DIFF_LAYOUT] = layout_differs,  [DIFF_OPERAND] = operand_differs,
        [DIFF_ACCESS] = accesses_differ, [DIFF_SENS] = sens_differs,
        [DIFF_GPR] = gprs_differ,        [DIFF_FLAGS] = flags_differ,
        [DIFF_VECTOR] = vector_differs,  [DIFF_TRUNCATION] = truncation_differs,
    };
    bool valid = v->err == DECODE_OK;
    unsigned diffs = 0;
    char line[200];

    detail[0] = '\0';
    if (v->c_valid && v->z_valid && v->c_len != v->z.length) {
        diffs |= 1u << DIFF_CAPSTONE_LENGTH;
    } else if (v->c_valid != v->z_valid && valid == v->z_valid) {
        diffs |= 1u << (v->c_valid ? DIFF_CAPSTONE_VALID : DIFF_CAPSTONE_INVALID);
    }
    if (valid != v->z_valid) {
        return diffs | 1u << (valid ? DIFF_ZYDIS_INVALID : DIFF_OURS_INVALID);
    }
    if (!valid) {
        return diffs;
    }
    if (v->in.len != v->z.length) {
        return diffs | 1u << DIFF_LENGTH;
    }
    if (branch_differs(v)) {
        diffs |= 1u << DIFF_BRANCH;
    }
    for (unsigned k = 0; k < DIFF_KINDS; k++) {
        if (checks[k] && checks[k](v, line, sizeof(line))) {
            diffs |= 1u << k;
            snprintf(detail, size, "%s", line);
        }
    }
    return diffs;
}
