/* SPDX-License-Identifier: MIT */
/*
 * Lengths of plain instructions by one table look-up: those that translation copies whatever their operands are, with 66 and REX
 * as the only prefixes, in the one-byte map or in 0F, with no RIP-relative operand. The table is filled by asking the decoder,
 * the first time that an entry is wanted, so that it holds no opcode fact of its own. Must not decide anything else.
 */
#include "dbt/decode.h"
#include "kernel/lib/string.h"

#define UNKNOWN   0u    /* nobody has asked yet */
#define NOT_PLAIN 1u
#define PLAIN     0x40u /* | bytes of the immediate */
#define PLAIN_RM  0x80u /* | bytes of the immediate; ModRM comes before it */

/* What an entry is for. An opcode without ModRM has equal entries for all that the byte behind it may be. */
struct plain_key {
    uint8_t map, opcode, reg; /* map: 0 or 1; reg: ModRM.reg */
    bool is_mem, osz, w;
};

/* One cache line for each opcode. Owner: whoever decodes; an entry is one byte, and only ever written with one value. */
static uint8_t entries[2][256][8][2][2][2] __attribute__((aligned(64)));

/* The entry for one instance of the key: register or base number rm, and all of REX.RXB set or clear. */
static uint8_t probe(const struct plain_key *k, unsigned rm, bool high)
{
    uint8_t bytes[INSN_MAX_LEN] = {0};
    unsigned n = 0;
    struct insn in;

    if (k->osz) {
        bytes[n++] = 0x66;
    }
    if (k->w || high) {
        bytes[n++] = (uint8_t)(0x40 | (k->w ? 8 : 0) | (high ? 7 : 0));
    }
    if (k->map) {
        bytes[n++] = 0x0f;
    }
    bytes[n++] = k->opcode;
    bytes[n] = (uint8_t)((k->is_mem ? 0x40 : 0xc0) | k->reg << 3 | rm); /* disp8: rm is never relative to RIP */
    if (insn_decode(&in, bytes, sizeof(bytes)) != DECODE_OK || in.kind != INSN_COPY || in.enc != ENC_LEGACY ||
        in.map != k->map || in.opcode_off != n - 1) {
        return NOT_PLAIN;
    }
    if ((in.flags_read && in.acc & ACC_W) || insn_is_wide_cmpxchg(&in)) {
        return NOT_PLAIN; /* translation looks at these (emit_settle_flags(), emit_block_end_of_qemu()) */
    }
    unsigned operand = in.has_modrm ? 1u + in.has_sib + in.disp_size : 0;

    if (in.has_modrm && (in.is_mem != k->is_mem || in.disp_size != (k->is_mem ? 1 : 0))) {
        return NOT_PLAIN; /* ModRM means something else here */
    }
    return (uint8_t)((in.has_modrm ? PLAIN_RM : PLAIN) | (in.len - n - operand));
}

static uint8_t fill(const struct plain_key *k, uint8_t *entry)
{
    uint8_t first = probe(k, 0, false);

    for (unsigned i = 1; i < 16 && first != NOT_PLAIN; i++) {
        if (probe(k, i & 7, i & 8) != first) {
            first = NOT_PLAIN; /* it matters which register it is */
        }
    }
    __atomic_store_n(entry, first, __ATOMIC_RELAXED);
    return first;
}

/* Bytes of SIB and displacement; 0x80 for an operand relative to RIP. */
static unsigned operand_bytes(const uint8_t *modrm)
{
    unsigned mod = *modrm >> 6, rm = *modrm & 7;

    if (mod == 0) {
        return rm == 5 ? 0x80 : rm == 4 ? ((modrm[1] & 7) == 5 ? 5 : 1) : 0;
    }
    return (mod == 1 ? 1u : 4u) + (rm == 4);
}

unsigned insn_plain_length(const uint8_t *bytes, size_t avail)
{
    struct plain_key k = {0};
    const uint8_t *p = bytes;

    if (avail < INSN_MAX_LEN) {
        return 0;
    }
    if (*p == 0x66) {
        k.osz = true;
        p++;
    }
    if ((*p & 0xf0) == 0x40) {
        k.w = *p++ & 8;
    }
    if (*p == 0x0f) {
        k.map = 1;
        p++;
    }
    k.opcode = *p++;
    k.reg = *p >> 3 & 7;
    k.is_mem = *p < 0xc0;
    uint8_t *entry = &entries[k.map][k.opcode][k.reg][k.is_mem][k.osz][k.w];
    uint8_t e = __atomic_load_n(entry, __ATOMIC_RELAXED);

    if (unlikely(e == UNKNOWN)) {
        e = fill(&k, entry);
    }
    if (e == NOT_PLAIN) {
        return 0;
    }
    unsigned len = (unsigned)(p - bytes) + (e & 0xf);
    if (!(e & PLAIN_RM)) {
        return len;
    }
    unsigned more = k.is_mem ? operand_bytes(p) : 0;

    return more & 0x80 ? 0 : len + 1 + more;
}
