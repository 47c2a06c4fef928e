/* SPDX-License-Identifier: MIT */
/*
 * The first half of the decoder, part of decode.c alone (inlined there: speed): legacy prefixes,
 * REX, escapes, VEX, EVEX, up to the opcode byte. It must not look at the table.
 */
#ifndef DBT_DECODE_PREFIX_H
#define DBT_DECODE_PREFIX_H

#include "dbt/decode-table.h"

/* The work in progress on one instruction, beside what goes to struct insn. */
struct decoder {
    struct insn *insn;
    const uint8_t *bytes;
    unsigned pos;
    unsigned limit; /* bytes that may belong to the instruction: at most 15 */
    size_t avail;   /* bytes that may be read */
    unsigned pp;    /* mandatory prefix, enum opc_pp */
    unsigned space; /* enum opc_space */
    uint64_t spec;  /* of the row */
    const struct opc *row;
    bool osz66; /* 66 changes the operand size */
    uint8_t evex_z, evex_b, evex_ll;
    uint8_t reg4, vvvv4, x4; /* fifth register bits of EVEX: R', V', X */
    uint8_t raw_vl;          /* VEX.L or EVEX.LL */
    unsigned vl;             /* bytes, 8 for MMX */
    unsigned disp8_n;        /* scale of an 8-bit displacement */
};

enum byte_class {
    BC_OPCODE,
    BC_REX,
    BC_OSZ,
    BC_ASZ,
    BC_LOCK,
    BC_REP,
    BC_REPNE,
    BC_SEG,
    BC_FS,
    BC_GS,
    BC_ESCAPE,
    BC_VEX2,
    BC_VEX3,
    BC_EVEX
};
static const uint8_t byte_classes[256] = {
    [0x0f] = BC_ESCAPE, [0x26] = BC_SEG,          [0x2e] = BC_SEG,   [0x36] = BC_SEG,
    [0x3e] = BC_SEG,    [0x40 ... 0x4f] = BC_REX, [0x62] = BC_EVEX,  [0x64] = BC_FS,
    [0x65] = BC_GS,     [0x66] = BC_OSZ,          [0x67] = BC_ASZ,   [0xc4] = BC_VEX3,
    [0xc5] = BC_VEX2,   [0xf0] = BC_LOCK,         [0xf2] = BC_REPNE, [0xf3] = BC_REP,
};

/* All zero except what "none" has a value for. Plain stores: rep stos costs as much as half of
 * decoding. */
static inline void init_insn(struct insn *in)
{
    _Static_assert(sizeof(*in) % 8 == 0 && _Alignof(struct insn) == 8, "cleared in words");
    uint64_t *words = (uint64_t *)in;

#pragma GCC unroll 16
    for (size_t i = 0; i < sizeof(*in) / 8; i++) {
        words[i] = 0;
    }
    in->kind = INSN_UD;
    in->seg = R_SEG_NONE;
    in->base = R_NONE;
    in->index = R_NONE;
    in->addr_size = 8;
}

/* What has been found so far is no instruction: the fields that say otherwise are withdrawn. */
static inline void set_undefined(struct insn *in, unsigned len)
{
    in->kind = INSN_UD;
    in->sens = SENS_NONE;
    in->row = 0;
    in->len = len;
}

static inline int invalid(struct decoder *d)
{
    set_undefined(d->insn, MAX(d->pos, 1u));
    return DECODE_INVALID;
}

/* More bytes are wanted than may be looked at. */
static inline int out_of_bytes(struct decoder *d)
{
    set_undefined(d->insn, d->limit);
    d->insn->too_long = d->limit == INSN_MAX_LEN;
    return d->limit == INSN_MAX_LEN ? DECODE_INVALID : DECODE_TRUNCATED;
}

/* The little-endian value of 1, 2, 4 or 8 bytes at pos (the caller has checked that they are
 * there), sign-extended. */
static inline int64_t get_signed(const struct decoder *d, unsigned size)
{
    unsigned shift = 64 - 8 * size;
    uint64_t value = 0;

    if (likely(d->avail - d->pos >= 8)) {
        __builtin_memcpy(&value, d->bytes + d->pos,
                         8); /* one load; freestanding memcpy() would be a call */
    } else {
        for (unsigned i = size; i-- > 0;) {
            value = value << 8 | d->bytes[d->pos + i];
        }
    }
    return (int64_t)(value << shift) >> shift;
}

/* Legacy prefixes and REX. Leaves pos at the first byte that is neither; returns its class or -1
 * for out of bytes. */
static inline int decode_prefixes(struct decoder *d)
{
    struct insn *in = d->insn;

    for (; d->pos < d->limit; d->pos++) {
        uint8_t b = d->bytes[d->pos];
        uint8_t class = byte_classes[b];

        if (class == BC_OPCODE || class >= BC_ESCAPE) {
            return class;
        }
        if (class == BC_REX) {
            in->rex = b & 0xf;
            in->pfx |= PFX_REX;
            continue;
        }
        if (unlikely(in->pfx & PFX_REX)) { /* one that is not last is ignored */
            in->rex = 0;
            in->pfx = (in->pfx & ~PFX_REX) | PFX_DEAD_REX;
        }
        switch (class) {
        case BC_OSZ:
            in->pfx |= PFX_OSZ;
            break;
        case BC_ASZ:
            in->pfx |= PFX_ASZ;
            in->addr_size = 4;
            break;
        case BC_LOCK:
            in->pfx |= PFX_LOCK;
            break;
        case BC_REP:
            in->pfx = (in->pfx & ~PFX_REPNE) | PFX_REP;
            break;
        case BC_REPNE:
            in->pfx = (in->pfx & ~PFX_REP) | PFX_REPNE;
            break;
        default:
            in->pfx |= PFX_SEG;
            /* cs, ds, es, ss overrides are no-ops in 64-bit mode and do not undo fs or gs */
            in->seg = class == BC_FS ? R_FS : class == BC_GS ? R_GS : in->seg;
            break;
        }
    }
    return -1;
}

/* 0F, 0F 38, 0F 3A: leaves pos at the opcode. */
static inline bool decode_escape(struct decoder *d)
{
    if (++d->pos >= d->limit) {
        return false;
    }
    d->space = L1;
    if (d->bytes[d->pos] == 0x38 || d->bytes[d->pos] == 0x3a) {
        d->space = d->bytes[d->pos] == 0x38 ? L2 : L3;
        if (++d->pos >= d->limit) {
            return false;
        }
    }
    d->insn->map = d->space - L0;
    return true;
}

/* VEX, SDM vol. 2 2.3.5: C5 RvvvvLpp or C4 RXBmmmmm WvvvvLpp. */
static inline int decode_vex(struct decoder *d, bool three)
{
    struct insn *in = d->insn;
    const uint8_t *p = d->bytes + d->pos;
    unsigned last = d->pos + (three ? 2 : 1);

    if (last + 1 >= d->limit) {
        d->pos = d->limit;
        return out_of_bytes(d);
    }
    in->enc = ENC_VEX;
    in->map = three ? p[1] & 0x1f : 1;
    in->rex = (uint8_t)(~p[1] >> 5) & (three ? 7 : 4);
    in->rex |= three ? (p[2] >> 7) << 3 : 0;
    p = d->bytes + last;
    in->vvvv = (~*p >> 3) & 0xf;
    d->raw_vl = (*p >> 2) & 1;
    d->pp = *p & 3;
    d->pos = last + 1;
    if (in->map < 1 || in->map > 3) {
        return invalid(d);
    }
    d->space = V1 + in->map - 1;
    return DECODE_OK;
}

/* EVEX, SDM vol. 2 2.7.1: 62 RXBR'0mmm Wvvvv1pp zL'LbV'aaa. */
static inline int decode_evex(struct decoder *d)
{
    static const uint8_t spaces[8] = {0, E1, E2, E3, 0, E5, E6, 0};
    struct insn *in = d->insn;
    const uint8_t *p = d->bytes + d->pos;

    if (d->pos + 4 >= d->limit) {
        d->pos = d->limit;
        return out_of_bytes(d);
    }
    in->enc = ENC_EVEX;
    in->map = p[1] & 7;
    in->rex = (uint8_t)((~p[1] >> 5) & 7) | (p[2] >> 7) << 3;
    in->vvvv = (~p[2] >> 3) & 0xf;
    in->evex_aaa = p[3] & 7;
    d->reg4 = (~p[1] >> 4) & 1;
    d->x4 = (~p[1] >> 6) & 1;
    d->vvvv4 = (~p[3] >> 3) & 1;
    d->pp = p[2] & 3;
    d->evex_z = p[3] >> 7;
    d->evex_b = (p[3] >> 4) & 1;
    d->evex_ll = (p[3] >> 5) & 3;
    d->raw_vl = d->evex_ll;
    d->pos += 4;
    d->space = spaces[in->map];
    if ((p[1] & 0x08) || !(p[2] & 0x04) || !d->space) {
        return invalid(d);
    }
    return DECODE_OK;
}

/* Prefixes and opcode: leaves pos behind the opcode byte. */
static inline int decode_opcode(struct decoder *d)
{
    struct insn *in = d->insn;
    int class = decode_prefixes(d);

    if (class < 0) {
        return out_of_bytes(d);
    }
    if (class >= BC_VEX2) {
        int err;

        if (in->pfx & (PFX_OSZ | PFX_LOCK | PFX_REP | PFX_REPNE | PFX_REX)) {
            return invalid(d);
        }
        err = class == BC_EVEX ? decode_evex(d) : decode_vex(d, class == BC_VEX3);
        if (err) {
            return err;
        }
    } else {
        d->osz66 = in->pfx & PFX_OSZ;
        d->pp = in->pfx & PFX_REP ? PF3 : in->pfx & PFX_REPNE ? PF2 : d->osz66 ? P66 : NP;
        if (class == BC_ESCAPE && !decode_escape(d)) {
            return out_of_bytes(d);
        }
    }
    in->opcode_off = d->pos;
    in->opcode = d->bytes[d->pos++];
    return DECODE_OK;
}

#endif
