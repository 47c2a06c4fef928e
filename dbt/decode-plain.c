/* SPDX-License-Identifier: MIT */
/*
 * The quick decoder, by one table look-up: lengths of plain instructions, those that translation copies whatever their operands
 * are, with 66 and REX as the only prefixes, in the one-byte map or in 0F, with no RIP-relative operand; and direct branches without
 * prefixes, and ret. The table is filled by asking the decoder, the first time that an entry is wanted, so that it holds no opcode
 * fact of its own. Must not decide anything else.
 */
#include "dbt/decode.h"
#include "kernel/lib/string.h"

#define UNKNOWN   0u    /* nobody has asked yet */
#define NOT_PLAIN 1u
#define PLAIN     0x40u /* | bytes of the immediate */
#define PLAIN_RM  0x80u /* | bytes of the immediate; ModRM comes before it */
#define BRANCH    0x20u /* | bytes of the immediate: as branches[] but for that */

/* What an entry is for. An opcode without ModRM has equal entries for all that the byte behind it may be. */
struct plain_key {
    uint8_t map, opcode, reg; /* map: 0 or 1; reg: ModRM.reg */
    bool is_mem, osz, w;
};

/* One cache line for each opcode. Owner: whoever decodes; an entry is one byte, and only ever written with one value. */
static uint8_t entries[2][256][8][2][2][2] __attribute__((aligned(64)));

/* By map and opcode: what the decoder makes of a branch, immediate apart. Written before its entry is, and always with the same. */
static struct insn branches[2][256];

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

/* The entry of a direct branch or ret. */
static uint8_t probe_branch(const struct plain_key *k)
{
    uint8_t bytes[INSN_MAX_LEN] = {0};
    unsigned n = 0;
    struct insn in;

    if (k->map) {
        bytes[n++] = 0x0f;
    }
    bytes[n++] = k->opcode;
    if (k->osz || k->w || insn_decode(&in, bytes, sizeof(bytes)) != DECODE_OK || in.has_modrm || in.imm_size + n != in.len ||
        !(in.kind == INSN_JMP || in.kind == INSN_JCC || in.kind == INSN_CALL || in.kind == INSN_RET) ||
        !(in.imm_size == 0 || (in.imm_is_rel && (in.imm_size == 1 || in.imm_size == 4)))) {
        return NOT_PLAIN;
    }
    branches[k->map][k->opcode] = in;
    return (uint8_t)(BRANCH | in.imm_size);
}

/* Entry `at`, whose place is its key. */
static void fill(unsigned at)
{
    const struct plain_key k = {.map = (uint8_t)(at >> 14), .opcode = (uint8_t)(at >> 6), .reg = at >> 3 & 7,
                                .is_mem = at & 4, .osz = at & 2, .w = at & 1};
    uint8_t first = probe(&k, 0, false);

    for (unsigned i = 1; i < 16 && first != NOT_PLAIN; i++) {
        if (probe(&k, i & 7, i & 8) != first) {
            first = NOT_PLAIN; /* it matters which register it is */
        }
    }
    if (first == NOT_PLAIN) {
        first = probe_branch(&k);
    }
    __atomic_store_n((uint8_t *)entries + at, first, __ATOMIC_RELEASE); /* branches[] comes before it */
}

/* Out of the way of what is hot, which has no register to save so. */
static __attribute__((noinline)) unsigned fill_and_decode(struct insn *in, const uint8_t *bytes, size_t avail, unsigned at)
{
    fill(at);
    return insn_decode_quick(in, bytes, avail);
}

#define RIP_RELATIVE 0x80u
#define HAS_SIB      0x40u
/* By ModRM.mod and ModRM.rm: bytes of SIB and displacement. */
static const uint8_t operand_sizes[32] = {
    [4] = HAS_SIB | 1,   [5] = RIP_RELATIVE, [8 ... 11] = 1,  [12] = 2,  [13 ... 15] = 1,
    [16 ... 19] = 4,     [20] = 5,           [21 ... 23] = 4,
};

static void set_branch(struct insn *in, const uint8_t *imm, unsigned at, unsigned size)
{
    int32_t v32;

    *in = branches[at >> 14][at >> 6 & 0xff];
    if (size == 4) {
        __builtin_memcpy(&v32, imm, 4);
        in->imm = v32;
    } else if (size == 1) {
        in->imm = (int8_t)*imm;
    }
}

unsigned insn_decode_quick(struct insn *in, const uint8_t *bytes, size_t avail)
{
    uint64_t w;
    unsigned len = 1, at = 0, rex;

    if (unlikely(avail < INSN_MAX_LEN)) {
        return 0;
    }
    __builtin_memcpy(&w, bytes, 8); /* 66, REX, 0F, opcode, ModRM and SIB are six */
    if ((w & 0xff) == 0x66) {
        at = 2;
        len++;
        w >>= 8;
    }
    rex = (w & 0xf0) == 0x40; /* a branch could not be predicted */
    at |= (unsigned)w >> 3 & rex;
    len += rex;
    w >>= 8 * rex;
    if ((w & 0xff) == 0x0f) {
        at |= 1u << 14;
        len++;
        w >>= 8;
    }
    at |= ((unsigned)w & 0xff) << 6 | ((unsigned)w >> 11 & 7) << 3 | (unsigned)((w & 0xc000) != 0xc000) << 2;
    uint8_t e = __atomic_load_n((const uint8_t *)entries + at, __ATOMIC_ACQUIRE);

    if (unlikely(e == UNKNOWN)) {
        return fill_and_decode(in, bytes, avail, at);
    }
    if (e & BRANCH && !rex) {
        set_branch(in, bytes + len, at, e & 0xf);
        return in->len;
    }
    if (!(e & (PLAIN | PLAIN_RM))) {
        return 0;
    }
    len += e & 0xf;
    if (e & PLAIN_RM) {
        unsigned more = operand_sizes[(w >> 11 & 0x18) | (w >> 8 & 7)];

        if (unlikely(more & (RIP_RELATIVE | HAS_SIB))) {
            if (more & RIP_RELATIVE) {
                return 0;
            }
            more = (w >> 16 & 7) == 5 ? 5 : 1;
        }
        len += 1 + more;
    }
    in->len = (uint8_t)len;
    in->kind = INSN_COPY;
    return len;
}
