/* SPDX-License-Identifier: MIT */
/* The differences from Zydis and Capstone that are known and where our answer is right, each with
 * its reason. */
#include "kernel/lib/types.h"

#include "tests/host/decode-diff.h"

static bool is_xop_3dnow(const struct views *v)
{
    return v->z.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
           v->z.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW ||
           v->z.mnemonic == ZYDIS_MNEMONIC_FEMMS;
}

static bool is_knc(const struct views *v)
{
    return v->z.encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX ||
           v->z.meta.isa_ext == ZYDIS_ISA_EXT_KNC || v->z.meta.isa_ext == ZYDIS_ISA_EXT_KNCE ||
           v->z.meta.isa_ext == ZYDIS_ISA_EXT_KNCV;
}

static bool is_fma4(const struct views *v)
{
    return v->z.meta.isa_ext == ZYDIS_ISA_EXT_FMA4 || v->z.meta.isa_ext == ZYDIS_ISA_EXT_XOP;
}

/* vl 16 there and no operand wider than 128 bits: VEX.L, EVEX.LL are ignored. */
static bool is_scalar(const struct views *v)
{
    for (unsigned i = 0; i < v->z.operand_count; i++) {
        if (v->ops[i].size > 128) {
            return false;
        }
    }
    return v->in.vl == 16;
}

static bool is_mnemonic(const struct views *v, const ZydisMnemonic *list)
{
    for (; *list != ZYDIS_MNEMONIC_INVALID; list++) {
        if (*list == v->z.mnemonic) {
            return true;
        }
    }
    return false;
}
#define IS(name, ...)                                                                              \
    static bool name(const struct views *v)                                                        \
    {                                                                                              \
        static const ZydisMnemonic list[] = {__VA_ARGS__, ZYDIS_MNEMONIC_INVALID};                 \
        return is_mnemonic(v, list);                                                               \
    }
IS(is_sbb, ZYDIS_MNEMONIC_SBB)
IS(is_shift_or_rotate, ZYDIS_MNEMONIC_SHL, ZYDIS_MNEMONIC_SHR, ZYDIS_MNEMONIC_SAR,
   ZYDIS_MNEMONIC_ROL, ZYDIS_MNEMONIC_ROR, ZYDIS_MNEMONIC_RCL, ZYDIS_MNEMONIC_RCR)
IS(is_cmps_scas, ZYDIS_MNEMONIC_CMPSB, ZYDIS_MNEMONIC_CMPSW, ZYDIS_MNEMONIC_CMPSD,
   ZYDIS_MNEMONIC_CMPSQ, ZYDIS_MNEMONIC_SCASB, ZYDIS_MNEMONIC_SCASW, ZYDIS_MNEMONIC_SCASD,
   ZYDIS_MNEMONIC_SCASQ)
IS(is_ud, ZYDIS_MNEMONIC_UD0, ZYDIS_MNEMONIC_UD1)
IS(is_lea, ZYDIS_MNEMONIC_LEA)
IS(is_invlpg, ZYDIS_MNEMONIC_INVLPG)
IS(is_enter, ZYDIS_MNEMONIC_ENTER)
IS(is_line_at_rax, ZYDIS_MNEMONIC_MONITOR, ZYDIS_MNEMONIC_CLZERO)
IS(is_clflush, ZYDIS_MNEMONIC_CLFLUSH, ZYDIS_MNEMONIC_CLFLUSHOPT, ZYDIS_MNEMONIC_CLWB)
IS(is_hint, ZYDIS_MNEMONIC_CLDEMOTE, ZYDIS_MNEMONIC_PREFETCHWT1)
IS(is_sse4a_imm, ZYDIS_MNEMONIC_EXTRQ, ZYDIS_MNEMONIC_INSERTQ)
IS(is_vtest, ZYDIS_MNEMONIC_VPTEST, ZYDIS_MNEMONIC_VTESTPS, ZYDIS_MNEMONIC_VTESTPD)
IS(is_enqcmd, ZYDIS_MNEMONIC_ENQCMD, ZYDIS_MNEMONIC_ENQCMDS, ZYDIS_MNEMONIC_MOVDIR64B)
#undef IS

static bool is_padlock(const struct views *v)
{
    return v->z.meta.isa_ext == ZYDIS_ISA_EXT_PADLOCK;
}

static bool is_mpx(const struct views *v)
{
    return v->z_valid ? v->z.meta.isa_ext == ZYDIS_ISA_EXT_MPX
                      : v->in.map == 1 && (v->in.opcode & 0xfe) == 0x1a;
}

static bool is_hint_nop(const struct views *v)
{
    return v->z.meta.category == ZYDIS_CATEGORY_WIDENOP || v->z.meta.category == ZYDIS_CATEGORY_NOP;
}

static bool is_shift_by_one(const struct views *v)
{
    return is_shift_or_rotate(v) && (v->in.opcode & 0xfe) == 0xd0;
}

static bool is_amx(const struct views *v)
{
    return v->in.enc == ENC_VEX && v->in.kind == INSN_SENS;
}

/* --- Capstone 4.0.2 --- */

static bool is_prefixed_vector(const struct views *v)
{
    return v->in.enc == ENC_LEGACY && v->in.opcode_off && v->in.map >= 1 &&
           (v->in.pfx & (PFX_OSZ | PFX_ASZ | PFX_REP | PFX_REPNE));
}

static bool is_prefixed_vex(const struct views *v)
{
    return !v->in.opcode_off && v->in.pfx;
}

static bool is_vex(const struct views *v)
{
    return v->in.enc == ENC_VEX || v->in.enc == ENC_EVEX;
}

static bool is_locked(const struct views *v)
{
    return v->in.pfx & PFX_LOCK;
}

static bool is_mov_to_cs(const struct views *v)
{
    return v->in.map == 0 && v->in.opcode == 0x8e;
}

static bool is_padlock_opcode(const struct views *v)
{
    return v->in.map == 1 && (v->in.opcode & 0xfe) == 0xa6;
}

static bool is_branch_66(const struct views *v)
{
    return v->in.imm_is_rel && (v->in.pfx & PFX_OSZ);
}

static bool is_prefix_mix(const struct views *v)
{
    return (v->in.pfx & (PFX_OSZ | PFX_ASZ)) &&
           ((v->in.rex & 8) || (v->in.pfx & (PFX_REP | PFX_REPNE)));
}

static bool is_mov_cr_dr(const struct views *v)
{
    return v->in.map == 1 && (v->in.opcode & 0xfc) == 0x20;
}

static bool is_evex_67(const struct views *v)
{
    return v->in.enc == ENC_EVEX && v->in.addr_size == 4;
}

static bool is_cut_off(const struct views *v)
{
    return v->err == DECODE_TRUNCATED;
}

static bool is_xop_3dnow_opcode(const struct views *v)
{
    return (v->in.map == 1 && v->in.opcode == 0x0f) || (v->in.map == 0 && v->in.opcode == 0x8f);
}

static bool is_evex_rounding(const struct views *v)
{
    return v->in.enc == ENC_EVEX && !v->in.is_mem && v->z.raw.evex.b;
}

/* mod = 0, SIB base = 101 means no base, whatever REX.B (SDM table 2-3). */
static bool is_no_base_67(const struct views *v)
{
    return v->in.addr_size == 4 && v->in.has_sib && v->in.modrm < 0x40 && (v->in.sib & 7) == 5 &&
           (v->in.rex & 1);
}

/* clang-format off */
struct explained explained[] = {
    { DIFF_OURS_INVALID, is_xop_3dnow, "XOP and 3DNow!: on no CPU that we support", 0 },
    { DIFF_OURS_INVALID, is_knc, "Knights Corner only: MVEX and some VEX encodings", 0 },
    { DIFF_OURS_INVALID, is_fma4, "FMA4, vpermil2: only on AMD CPUs of 2011 to 2016", 0 },
    { DIFF_VECTOR, is_scalar, "scalar: Zydis reports the ignored L bits as length", 0 },
    { DIFF_FLAGS, is_vtest, "vptest, vtestps: OF, SF, AF, PF are cleared (SDM); not in Zydis' row", 0 },
    { DIFF_FLAGS, is_sbb, "sbb writes AF (SDM); Zydis calls it undefined", 0 },
    { DIFF_FLAGS, is_shift_by_one, "a shift by one defines OF (SDM); Zydis has one row for all counts", 0 },
    { DIFF_GPR, is_cmps_scas, "cmps, scas advance rsi, rdi; Zydis says they are only read", 0 },
    { DIFF_GPR, is_ud, "ud0, ud1 raise #UD before they read anything", 0 },
    { DIFF_ACCESS, is_ud, "ud0, ud1 raise #UD before they read anything", 0 },
    { DIFF_OPERAND, is_lea, "lea: seg reports the prefix, Zydis that it has no effect", 0 },
    { DIFF_ACCESS, is_invlpg, "invlpg touches nothing", 0 },
    { DIFF_ACCESS, is_enter, "enter with a nesting level copies frame pointers; Zydis lists one push", 0 },
    { DIFF_ACCESS, is_line_at_rax, "monitor, clzero touch the line at rax; not among Zydis' operands", 0 },
    { DIFF_ACCESS, is_clflush, "clflush, clwb: a byte is what is translated; Zydis lists the line, unaligned", 0 },
    { DIFF_ACCESS, is_hint, "cldemote, prefetchwt1 are hints", 0 },
    { DIFF_ACCESS, is_enqcmd, "movdir64b, enqcmd: Zydis does not list the destination's size or write", 0 },
    { DIFF_OURS_INVALID, is_padlock, "VIA PadLock", 0 },
    { DIFF_ZYDIS_INVALID, is_mpx, "MPX encodings are nops while MPX is off, with any operand", 0 },
    { DIFF_OPERAND, is_mpx, "MPX encodings are nops while MPX is off", 0 },
    { DIFF_ACCESS, is_mpx, "MPX encodings are nops while MPX is off", 0 },
    { DIFF_GPR, is_mpx, "MPX encodings are nops while MPX is off", 0 },
    { DIFF_OPERAND, is_no_base_67, "mod 0 with SIB base 5 has no base; with 67 and REX.B Zydis says r13d", 0 },
    { DIFF_ACCESS, is_no_base_67, "mod 0 with SIB base 5 has no base; with 67 and REX.B Zydis says r13d", 0 },
    { DIFF_GPR, is_no_base_67, "mod 0 with SIB base 5 has no base; with 67 and REX.B Zydis says r13d", 0 },
    { DIFF_GPR, is_hint_nop, "a reserved nop reads no register", 0 },
    { DIFF_ZYDIS_INVALID, is_amx, "AMX of later than Zydis 4.0 (tdpfp16ps); unsupported anyway", 0 },
    { DIFF_CAPSTONE_INVALID, NULL, "Capstone is older; Zydis accepts", 0 },
    { DIFF_CAPSTONE_VALID, is_prefixed_vector, "Capstone ignores 66, F2, F3 where they leave no instruction; Zydis rejects", 0 },
    { DIFF_CAPSTONE_VALID, is_prefixed_vex, "Capstone allows prefixes before VEX and EVEX; Zydis rejects", 0 },
    { DIFF_CAPSTONE_VALID, is_vex, "Capstone does not check reserved fields of VEX and EVEX; Zydis rejects", 0 },
    { DIFF_CAPSTONE_VALID, is_locked, "Capstone allows lock on add r, m; Zydis rejects", 0 },
    { DIFF_CAPSTONE_VALID, is_mov_to_cs, "Capstone allows mov to cs; Zydis rejects", 0 },
    { DIFF_CAPSTONE_VALID, is_padlock_opcode, "VIA PadLock without rep; Zydis rejects", 0 },
    { DIFF_CAPSTONE_LENGTH, is_ud, "ud0, ud1 have a ModRM byte; Capstone stops before it", 0 },
    { DIFF_CAPSTONE_LENGTH, is_branch_66, "near branches ignore 66 on Intel; Capstone decodes as on AMD", 0 },
    { DIFF_CAPSTONE_LENGTH, is_prefix_mix, "Capstone confuses sizes where 66 or 67 meet REX.W, F2 or F3", 0 },
    { DIFF_CAPSTONE_VALID, is_mov_cr_dr, "Capstone allows control and debug registers that do not exist; Zydis rejects", 0 },
    { DIFF_CAPSTONE_VALID, is_cut_off, "the bytes end inside by Zydis and us; Capstone reads fewer (see its lengths)", 0 },
    { DIFF_CAPSTONE_VALID, is_xop_3dnow_opcode, "XOP and 3DNow! with undefined opcodes", 0 },
    { DIFF_CAPSTONE_LENGTH, is_evex_67, "Capstone takes EVEX with 67 for 16-bit displacements", 0 },
    { DIFF_CAPSTONE_LENGTH, is_sse4a_imm, "Capstone does not know extrq, insertq with immediates", 0 },
    { DIFF_CAPSTONE_LENGTH, is_evex_rounding, "Capstone reads an immediate after embedded rounding", 0 },
};
/* clang-format on */
const size_t explained_count = ARRAY_SIZE(explained);
