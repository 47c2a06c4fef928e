/* SPDX-License-Identifier: MIT */
/*
 * Internal to the decoder: the shape of an opcode row and of the index that finds it. Only decode.c, decode-table.c and
 * disas.c include this. A row says what is true of an encoding whatever its operands; decode.c applies it.
 */
#ifndef DBT_DECODE_TABLE_H
#define DBT_DECODE_TABLE_H

#include "dbt/decode.h"

/* Opcode spaces: legacy maps, VEX maps, EVEX maps. Index key: ((space * 256 + opcode) * 4 + pp) * 2 + W. */
enum opc_space {
    L0, L1, L2, L3,         /* one-byte, 0F, 0F38, 0F3A */
    V1, V2, V3,             /* VEX.mmmmm 1..3 */
    E1, E2, E3, E5, E6,     /* EVEX.mmm 1, 2, 3, 5, 6 */
    OPC_SPACES
};
enum opc_pp { NP, P66, PF3, PF2 }; /* numbered as VEX.pp */

#define OPC_KEY(space, opcode, pp, w) ((((space) * 256u + (opcode)) * 4u + (pp)) * 2u + (w))
#define OPC_GROUP_BASE OPC_KEY(OPC_SPACES, 0, 0, 0)

/* A row of this kind stands for eight rows; `sens` holds the selector, `spec` the group's number. */
#define OPC_GROUP 0xff
enum opc_sel {
    SEL_REG, /* ModRM.reg: 0..7 */
    SEL_RM,  /* ModRM.rm: 0..7 */
    SEL_MOD, /* 0 memory, 1 register */
    SEL_PP,  /* enum opc_pp */
    SEL_L,   /* VEX.L or EVEX.LL: 0..3 */
    SEL_B,   /* REX.B: 0..1 */
    SEL_OSZ, /* operand size: 0 dword, 1 word, 2 qword */
};

/* imm: what follows ModRM and displacement */
enum opc_imm {
    IMM_NONE,
    IMM_B,    /* 8 bits, sign-extended */
    IMM_UB,   /* 8 bits, unsigned (shift counts, port numbers, lane selectors) */
    IMM_W,    /* 16 bits, unsigned (ret, retf) */
    IMM_Z,    /* 16 bits with op_size 2, else 32, sign-extended */
    IMM_V,    /* 16, 32 or 64 bits by op_size (mov r, imm) */
    IMM_REL8, /* branch displacement */
    IMM_REL,  /* branch displacement, always 32 bits: operand-size prefixes are ignored */
    IMM_REL_Z, /* branch displacement, 16 bits with operand size 2 (xbegin) */
    IMM_MOFFS,
    IMM_WB,   /* enter: imm16, imm8 */
    IMM_BB,   /* extrq, insertq: imm8, imm8 */
};

/* msize: size of the ModRM memory operand; for other forms of memory, of one element */
enum opc_msize {
    MS_0,
    MS_1, MS_2, MS_4, MS_6, MS_8, MS_10, MS_16, MS_32, MS_48, MS_64, MS_384, MS_512, MS_576,
    MS_V,     /* op_size */
    MS_FAR,   /* 2 + op_size: far pointers */
    MS_ENV,   /* x87 environment: 28, or 14 with 66 */
    MS_FSAVE, /* x87 state: 108, or 94 with 66 */
    MS_X,     /* the whole vector; B2/B4/B8/BW: with EVEX.b one element of 2, 4, 8, 4-or-8-by-W bytes */
    MS_XB2, MS_XB4, MS_XB8, MS_XBW,
    MS_H,     /* half a vector */
    MS_HB2, MS_HB4,
    MS_Q,     /* a quarter */
    MS_QB2,
    MS_E,     /* an eighth */
    MS_XMM,   /* 16, or 8 for MMX: the count operand of vector shifts */
    MS_SW,    /* 4 or 8 by W */
    MS_DUP,   /* movddup: 8 for 128 bits, else the whole vector */
    MS_XE1, MS_XE2, MS_XEW, /* the whole vector, but disp8 scales by an element of 1, 2, 4-or-8-by-W bytes */
    MS_COUNT
};

enum opc_osz {
    OSZ_V,   /* 2 with 66, 8 with W, else 4 */
    OSZ_B,   /* 1 */
    OSZ_W,   /* 2 */
    OSZ_D,   /* 4 */
    OSZ_Q,   /* 8 */
    OSZ_Y,   /* 4, or 8 with W */
    OSZ_D64, /* 8, or 2 with 66 and no W */
    OSZ_IO,  /* 2 with 66 (and no W), else 4 (in, out, ins, outs) */
};

/* register classes of ModRM.reg and of ModRM.rm when mod == 3 */
enum opc_class {
    RC_NONE, RC_GPR, RC_VEC, RC_MMX, RC_K, RC_SREG, RC_CR, RC_DR,
    RC_ST = RC_SREG, /* as the class of ModRM.rm: x87 stack register */
};

enum opc_vvvv {
    VV_NONE, /* must be 1111 in VEX and EVEX */
    VV_VEC,  /* vector or mask register */
    VV_GPR_R,
    VV_GPR_W,
};

enum opc_vl {
    VL_ANY,
    VL_IG,   /* scalar: ignored, 16 */
    VL_0,    /* only 128 bits (or "LZ" for general registers) */
    VL_1,    /* only 256 bits */
    VL_12,   /* 256 or 512 */
    VL_2,    /* only 512 */
};

enum opc_mask {
    MASK_NONE,
    MASK_Z,   /* merging or zeroing */
    MASK_M,   /* merging only */
    MASK_REQ, /* a mask register other than k0 is required, merging only */
};

enum opc_rc { ER_NONE, ER_SAE, ER_RC }; /* meaning of EVEX.b in register forms */

/* spec: bit fields */
#define OP_SHIFT_IMM   0  /* 4 */
#define OP_SHIFT_MS    4  /* 6 */
#define OP_SHIFT_MEM   10 /* 5 */
#define OP_SHIFT_OSZ   15 /* 3 */
#define OP_SHIFT_REG   18 /* 3 */
#define OP_SHIFT_RM    21 /* 3 */
#define OP_SHIFT_VVVV  24 /* 2 */
#define OP_SHIFT_VL    30 /* 3 */
#define OP_SHIFT_MASK  33 /* 2 */
#define OP_SHIFT_ER    35 /* 2 */
#define OP_BIT(n)      (1ull << (n))
#define OP_MODRM   OP_BIT(37)
#define OP_REG_R   OP_BIT(38) /* GPR in ModRM.reg is read, written */
#define OP_REG_W   OP_BIT(39)
#define OP_RM_R    OP_BIT(40) /* r/m, register or memory, is read, written */
#define OP_RM_W    OP_BIT(41)
#define OP_REG8    OP_BIT(42) /* ModRM.reg is a byte register */
#define OP_RM8     OP_BIT(43)
#define OP_Z_R     OP_BIT(44) /* GPR in the opcode's low bits */
#define OP_Z_W     OP_BIT(45)
#define OP_LOCK    OP_BIT(46) /* lock is allowed with a memory operand */
#define OP_MEM     OP_BIT(47) /* mod == 3 is invalid */
#define OP_NOMEM   OP_BIT(48) /* mod != 3 is invalid */
#define OP_MODIGN  OP_BIT(49) /* mod is ignored, always registers (mov cr, dr) */
#define OP_REGDST  OP_BIT(50) /* ModRM.reg is the first operand in Intel order */
#define OP_ACC     OP_BIT(51) /* the accumulator is an operand */
#define OP_VEC     OP_BIT(52) /* has a vector length */
#define OP_VNAME   OP_BIT(53) /* VEX and EVEX forms have a "v" before the name */
#define OP_MMX     OP_BIT(54) /* legacy form without 66: 8-byte vectors */
#define OP_REX8    OP_BIT(55) /* opcode-register is a byte register */
#define OP_NO66    OP_BIT(56) /* 66 is invalid */
#define OP_CC      OP_BIT(57) /* condition in the opcode's low nibble: flags, name suffix */
#define OP_SHCNT   OP_BIT(58) /* flags are written only if the immediate count is not 0 */
#define OP_STACK   OP_BIT(59) /* changes rsp implicitly */
#define OP_IS4     OP_BIT(60) /* imm8[7:4] names a vector register */
#define OP_DISTINCT OP_BIT(61) /* the registers must differ: destination and sources; with VEX all three */
#define OP_NEEDSIB OP_BIT(62) /* ModRM must have a SIB */
#define OP_VSIB    OP_BIT(63) /* ModRM needs a SIB with a vector index */
#define OP_CL      OP_BIT(26) /* cl is the last operand */
#define OP_ONE     OP_BIT(27) /* 1 is the last operand */

#define OP_VLAST   OP_BIT(28) /* vvvv is the last operand in Intel order, not the second */

#define OP_FIELD(spec, name, bits) ((unsigned)((spec) >> OP_SHIFT_##name) & ((1u << (bits)) - 1))

struct opc {
    uint64_t spec;
    uint16_t name; /* offset in the pool: opc_name() */
    uint8_t kind;  /* enum insn_kind or OPC_GROUP */
    uint8_t sens;  /* enum insn_sens, or enum opc_sel */
    uint8_t gpr_r, gpr_w; /* implicit operands among GPRs 0..7 */
    uint8_t fl_r, fl_w;
};
_Static_assert(sizeof(struct opc) == 16, "two rows in half a cache line");

extern const struct opc opc_rows[];
extern const uint16_t opc_index[];

/* The name of a row (of row 0 if there is no such row), with a "v" before it. */
const char *opc_name(unsigned row);

#endif
