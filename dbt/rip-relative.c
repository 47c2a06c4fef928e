/* SPDX-License-Identifier: MIT */
/*
 * Re-encodes RIP-relative operands for their new place. Most need no register: an address in reach of the code cache gets a new
 * displacement, another one in the lowest or highest 2 GiB becomes [disp32] without base, a byte longer. Must not touch EFLAGS.
 */
#include "dbt/translate.h"

/* Bytes up to (not including) ModRM, with the bits that extend base and index cleared: they are ignored by RIP-relative
 * forms but not by the forms that replace them, whose SIB says "no index" only without X. */
static void emit_head_no_xb(struct emit *e, const struct insn *insn, const uint8_t *bytes)
{
    uint8_t head[INSN_MAX_LEN];
    unsigned n = insn->modrm_off;

    memcpy(head, bytes, n);
    if (insn->enc == ENC_LEGACY) {
        if (insn->pfx & PFX_REX) {
            unsigned rex = insn->opcode_off - (insn->map == 0 ? 1 : insn->map == 1 ? 2 : 3);
            head[rex] &= ~3;
        }
    } else if (insn->enc == ENC_EVEX) {
        head[insn->opcode_off - 3] |= 0x60; /* 62 P0 P1 P2 opcode: P0 bits 6, 5 are inverted X, B */
    } else if (insn->opcode_off >= 3 && (head[insn->opcode_off - 3] == 0xc4 || insn->enc == ENC_XOP)) {
        head[insn->opcode_off - 2] |= 0x60; /* three-byte VEX, XOP; the two-byte form implies X = B = 0 */
    }
    emit_bytes(e, head, n);
}

static void emit_immediates(struct emit *e, const struct insn *insn, const uint8_t *bytes)
{
    unsigned from = insn->disp_off + 4u;

    emit_bytes(e, bytes + from, insn->len - from);
}

/* QEMU's TCG (7.2), which may be the machine we run on, forgets the immediate of shld and shrd where it adds up RIP + disp. */
static bool host_may_misplace(const struct insn *insn)
{
    return insn->map == 1 && (insn->opcode == 0xa4 || insn->opcode == 0xac);
}

bool emit_rip_relative(struct emit *e, const struct insn *insn, const uint8_t *bytes, uint64_t target)
{
    int64_t rel = (int64_t)(target - (emit_pc(e) + insn->len));
    bool absolute = (insn->addr_size == 4 || fits_simm32(target)) && insn->len < INSN_MAX_LEN;

    if (insn->addr_size == 8 && rel == (int32_t)rel && !(absolute && host_may_misplace(insn))) {
        emit_bytes(e, bytes, insn->disp_off);
        emit32(e, (uint32_t)rel);
        emit_immediates(e, insn, bytes);
        return true;
    }
    if (absolute) {
        emit_head_no_xb(e, insn, bytes);
        emit8(e, (insn->modrm & 0x38) | 4);
        emit8(e, 0x25);
        emit32(e, (uint32_t)target);
        emit_immediates(e, insn, bytes);
        return true;
    }
    return false;
}

void emit_rip_scratch(struct emit *e, const struct insn *insn, const uint8_t *bytes, unsigned scratch)
{
    emit_head_no_xb(e, insn, bytes);
    emit8(e, (insn->modrm & 0x38) | scratch);
    emit_immediates(e, insn, bytes);
}
