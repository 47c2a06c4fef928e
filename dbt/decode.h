/* SPDX-License-Identifier: MIT */
/*
 * The x86-64 (64-bit mode) instruction decoder: bytes in, lengths, fields and classes out. Opcode facts are rows in one
 * table (decode-table.c). It must not: look at CPU state, touch memory beyond the given bytes, or allocate.
 */
#ifndef DBT_DECODE_H
#define DBT_DECODE_H

#include "kernel/lib/types.h"

#define INSN_MAX_LEN 15

/* General register numbers, SDM order. */
enum gpr {
    R_EAX, R_ECX, R_EDX, R_EBX, R_ESP, R_EBP, R_ESI, R_EDI,
    R_R8, R_R9, R_R10, R_R11, R_R12, R_R13, R_R14, R_R15,
    R_RIP = 16,  /* as a base: RIP-relative */
    R_NONE = 0xff
};

/* Segment register numbers, SDM order. */
enum sreg { R_ES, R_CS, R_SS, R_DS, R_FS, R_GS, R_SEG_NONE = 0xff };

/* What the translator does with an instruction. */
enum insn_kind {
    INSN_COPY,     /* same bytes, executed in ring 3 (RIP-relative operands re-encoded) */
    INSN_JMP,      /* jmp rel8/rel32 */
    INSN_JCC,      /* jcc rel8/rel32; insn.cond */
    INSN_LOOP,     /* loopne, loope, loop, jrcxz/jecxz */
    INSN_CALL,     /* call rel32 */
    INSN_RET,      /* near ret, ret imm16 */
    INSN_JMP_IND,  /* jmp r/m */
    INSN_CALL_IND, /* call r/m */
    INSN_SENS,     /* sensitive or privileged: insn.sens says which */
    INSN_UD,       /* a defined #UD (ud0, ud1, ud2), or an encoding that is invalid in 64-bit mode */
};

/* Sensitive instructions, named by mnemonic (ring, effects: SDM vol. 2). SENS_UNSUPPORTED: of features that no
 * guest CPU has, #UD. */
#define SENS_LIST(X)                                                                               \
    X(CLI) X(STI) X(PUSHF) X(POPF) X(HLT) X(IN) X(OUT) X(INS) X(OUTS) X(INT3) X(INT1) X(INT_N)     \
    X(IRET) X(RETF) X(CALL_FAR) X(JMP_FAR) X(SYSCALL) X(SYSRET) X(SYSENTER) X(SYSEXIT)             \
    X(MOV_FROM_SREG) X(MOV_TO_SREG) X(PUSH_SREG) X(POP_SREG) X(LSS) X(LFS) X(LGS)                  \
    X(SGDT) X(SIDT) X(SLDT) X(STR) X(SMSW) X(LGDT) X(LIDT) X(LLDT) X(LTR) X(LMSW) X(CLTS)          \
    X(LAR) X(LSL) X(VERR) X(VERW)                                                                  \
    X(MOV_FROM_CR) X(MOV_TO_CR) X(MOV_FROM_DR) X(MOV_TO_DR)                                        \
    X(INVLPG) X(INVPCID) X(INVD) X(WBINVD) X(RDMSR) X(WRMSR) X(RDPMC) X(CPUID) X(RDTSC) X(RDTSCP)  \
    X(RDPID) X(SWAPGS) X(XSETBV) X(XGETBV) X(CLAC) X(STAC) X(MONITOR) X(MWAIT) X(RSM)              \
    X(XSAVES) X(XRSTORS) X(RDPKRU) X(WRPKRU) X(RDFSBASE) X(RDGSBASE) X(WRFSBASE) X(WRGSBASE)       \
    X(VMCALL) X(VMMCALL) X(XBEGIN) X(XEND) X(XABORT) X(XTEST) X(FNSTENV) X(FNSAVE) X(UNSUPPORTED)
enum insn_sens {
    SENS_NONE,
#define X(n) SENS_##n,
    SENS_LIST(X)
#undef X
    SENS_COUNT
};

/* How an instruction's memory operand is found. Everything but MEM_MODRM and MEM_NONE is an implicit or special form. */
enum insn_mem {
    MEM_NONE,
    MEM_MODRM,    /* [ea, ea + mem_size), from ModRM/SIB/disp and segment */
    MEM_MOFFS,    /* mov al/ax/eax/rax <-> moffs64: disp holds the address */
    MEM_PUSH,     /* stack write below rsp (push, pushf, call): mem_size bytes; with a ModRM memory operand too when
                     mem2 says so (push r/m, call r/m read it) */
    MEM_POP,      /* stack read at rsp (pop, popf, ret); pop r/m writes its ModRM operand as well */
    MEM_ENTER,    /* enter */
    MEM_LEAVE,    /* leave: reads at rbp */
    MEM_STRING,   /* movs stos lods cmps scas ins outs, with or without rep: element = mem_size */
    MEM_BT,       /* bt/bts/btr/btc r/m, r with memory: bit offset in the register goes beyond the operand */
    MEM_XSAVE,    /* xsave/xrstor family: size by XCR0/XCOMP; mem_size = 576 as the least */
    MEM_VSIB,     /* gather / scatter: vector index; mem_size = element size */
    MEM_MASKED,   /* masked vector access: vmaskmov, EVEX with a mask register; mem_size = whole vector */
    MEM_MASKMOV,  /* maskmovq/maskmovdqu: [seg:rdi] */
    MEM_XLAT,     /* [seg:rbx + al] */
    MEM_DIR64,    /* movdir64b, enqcmd: 64 bytes at [reg]; reads ModRM */
    MEM_ES_RDI_OTHER, /* anything else with an implicit address (monitor, clzero, ...): treated as the 64-byte line at rax */
};
#define ACC_R 1 /* reads the operand */
#define ACC_W 2 /* writes it */

enum insn_enc { ENC_LEGACY, ENC_VEX, ENC_EVEX, ENC_XOP, ENC_3DNOW };

/* insn.pfx bits */
#define PFX_OSZ   0x01 /* 66 */
#define PFX_ASZ   0x02 /* 67 */
#define PFX_LOCK  0x04 /* f0 */
#define PFX_REP   0x08 /* f3, as the last of f2/f3 */
#define PFX_REPNE 0x10 /* f2, as the last of f2/f3 */
#define PFX_SEG   0x20 /* any segment prefix */
#define PFX_REX   0x40 /* an effective REX */
#define PFX_DEAD_REX 0x80 /* a REX that is ignored, because a legacy prefix follows it */

struct insn {
    uint8_t len;         /* 1..15 */
    uint8_t kind;        /* enum insn_kind */
    uint8_t sens;        /* enum insn_sens */
    uint8_t enc;         /* enum insn_enc */
    uint8_t pfx;         /* PFX_* */
    uint8_t rex;         /* W R X B as bits 3 2 1 0, from REX, VEX, or EVEX (inverted bits already straightened) */
    uint8_t seg;         /* effective segment override R_FS, R_GS, ... or R_SEG_NONE */
    uint8_t map;         /* 0 one-byte, 1 0F, 2 0F38, 3 0F3A; the map number for VEX/EVEX/XOP */
    uint8_t opcode;
    uint8_t modrm;       /* 0 if has_modrm is false */
    uint8_t sib;
    uint8_t vvvv;        /* VEX/EVEX second source, straightened; 0 otherwise */
    uint8_t evex_aaa;    /* mask register, 0 = none */
    uint8_t vl;          /* vector length in bytes 16/32/64, 0 for non-vector */
    bool has_modrm : 1;
    bool has_sib : 1;
    bool is_rip_rel : 1; /* ModRM memory operand relative to RIP */
    bool is_mem : 1;     /* ModRM names memory (mod != 3) */
    bool imm_is_rel : 1; /* the immediate is a branch displacement */
    bool writes_sp : 1;  /* implicit or explicit change of rsp */
    bool too_long : 1;   /* more than 15 bytes: #GP, not #UD */
    /* byte offsets in the instruction; 0 = not present */
    uint8_t opcode_off;  /* the last opcode byte */
    uint8_t modrm_off;
    uint8_t disp_off, disp_size;
    uint8_t imm_off, imm_size;   /* for enter: imm16 then imm2 = imm8; extrq/insertq likewise */
    uint8_t imm2_size;
    uint8_t imm2;        /* enter: the nesting level */
    uint8_t op_size;     /* effective operand size of the general operand in bytes: 1 2 4 8 */
    uint8_t addr_size;   /* 4 or 8 */
    uint8_t reg;         /* ModRM.reg with REX.R (a GPR number, sreg, CR... by opcode) */
    uint8_t rm;          /* ModRM.rm with REX.B, when mod == 3; or the register in the opcode's low bits */
    uint8_t base, index; /* GPR number, R_RIP or R_NONE */
    uint8_t scale;       /* 1 2 4 8 */
    uint8_t cond;        /* jcc/setcc/cmovcc condition 0..15; loop forms: opcode & 3 */
    uint8_t mem;         /* enum insn_mem */
    uint8_t acc;         /* ACC_R | ACC_W of the memory operand that `mem` describes; for MEM_STRING see string_acc */
    uint16_t mem_size;   /* bytes */
    uint32_t gpr_read;   /* bit n: GPR n may be read (also as address); over-approximate */
    uint32_t gpr_write;  /* bit n: GPR n may be written; over-approximate */
    uint8_t flags_read;  /* EFLAGS status bits possibly read: FL_* ; over-approximate */
    uint8_t flags_write; /* EFLAGS status bits certainly overwritten (written whatever the operands); under-approximate */
    int64_t disp;        /* sign-extended; scaled already for EVEX disp8*N */
    int64_t imm;         /* sign-extended as the instruction uses it */
    uint16_t row;        /* table row, for insn_name() */
};
#define FL_CF 0x01
#define FL_PF 0x02
#define FL_AF 0x04
#define FL_ZF 0x08
#define FL_SF 0x10
#define FL_OF 0x20
#define FL_ALL 0x3f

#define DECODE_OK        0
#define DECODE_TRUNCATED 1 /* more bytes are needed than given (and fewer than 15 were given) */
#define DECODE_INVALID   2 /* #UD, or #GP for length over 15: insn->len = bytes examined, kind = INSN_UD */

/*
 * Decode one 64-bit-mode instruction at bytes[0..avail). Purely functional. `insn` is always fully written.
 * An encoding that needs a CPU feature is valid here if the field's manuals define it; the host CPU decides by #UD.
 */
int insn_decode(struct insn *insn, const uint8_t *bytes, size_t avail);

/* cmpxchg8b or cmpxchg16b. */
static inline bool insn_is_wide_cmpxchg(const struct insn *insn)
{
    return insn->opcode == 0xc7 && insn->map == 1 && insn->is_mem && (insn->modrm >> 3 & 7) == 1 && insn->kind == INSN_COPY &&
           insn->enc == ENC_LEGACY;
}

/*
 * Several times as fast as insn_decode(), for most instructions: of plain ones, which are INSN_COPY with no other prefixes than one
 * 66 and one REX and no operand relative to RIP, it writes only len and kind; of direct branches and ret all that insn_decode() does.
 * Returns the length. 0, and nothing written, if it is neither or may not be: ask insn_decode().
 */
unsigned insn_decode_quick(struct insn *insn, const uint8_t *bytes, size_t avail);

/* Mnemonic of the decoded row, lower case, e.g. "mov", "vpaddd"; never NULL. */
const char *insn_name(const struct insn *insn);

/* Print "mnemonic operands" (Intel order, general-purpose operands, memory and immediates exact; vector registers by
 * number; bytes as hex) into buf. pc is the instruction's address, for branch targets. Returns the length. */
int insn_format(const struct insn *insn, const uint8_t *bytes, uint64_t pc, char *buf, size_t size);

/*
 * A memory range that an instruction touches. Evaluated from live registers: regs[16] in enum gpr order, seg_base[6] in
 * sreg order. `next_pc` is the address of the following instruction (for RIP-relative).
 */
struct insn_access {
    uint64_t addr;  /* linear address of the first byte */
    uint64_t len;   /* bytes; for rep strings the whole remaining extent, DF respected (addr is the lowest byte) */
    uint8_t acc;    /* ACC_* */
    uint64_t first; /* rep strings: address of the element accessed first (== addr unless DF=1) */
    uint32_t elem;  /* rep strings: element size, else len */
};
#define INSN_MAX_ACCESS 4

struct insn_regs {
    const uint64_t *gpr;       /* [16] */
    const uint64_t *seg_base;  /* [6] */
    uint64_t rflags;           /* DF is used */
    uint64_t xcr0;             /* for xsave sizes */
};

/*
 * All memory ranges that the instruction may touch with these registers; at most INSN_MAX_ACCESS entries written to out.
 * Where the exact range depends on vector registers (gather/scatter, masks) the result is a superset for masked forms;
 * scatter/gather sets *exact = false and gives the ranges it knows (none). Returns the number of entries.
 */
int insn_accesses(const struct insn *insn, const struct insn_regs *regs, uint64_t next_pc,
                  struct insn_access *out, bool *exact);
/* bt family with a bit offset in a register: bytes from the address that ModRM names to the operand. 0 for all others. */
int64_t insn_bt_displacement(const struct insn *insn, const struct insn_regs *regs);

#endif
