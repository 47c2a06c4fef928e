/* SPDX-License-Identifier: MIT */
/*
 * The assembler: appends host instructions to one bounded private buffer whose final address is known. Nothing here changes
 * EFLAGS in what it emits. An overflow sets `overflow` and drops the bytes: the translator looks once, at the end.
 */
#ifndef DBT_EMIT_H
#define DBT_EMIT_H

#include "dbt/decode.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"

#define EMIT_MAX 8192 /* < TB_JMP_OFFSET_LATER */

struct emit {
    uint64_t base; /* address in the code cache of buf[0] */
    uint32_t len;
    bool overflow;
    uint8_t buf[EMIT_MAX + 8]; /* the last 8 are only read, and what they are does not matter */
};

static inline uint64_t emit_pc(const struct emit *e)
{
    return e->base + e->len;
}

static inline void emit_bytes(struct emit *e, const void *p, size_t n)
{
    if (unlikely(e->len + n > EMIT_MAX)) {
        e->overflow = true;
        return;
    }
    memcpy(e->buf + e->len, p, n);
    e->len += n;
}

/* The same for a constant n: one store. (A freestanding memcpy() would be a call.) */
static inline __attribute__((always_inline)) void emit_fixed(struct emit *e, const void *p, size_t n)
{
    if (unlikely(e->len + n > EMIT_MAX)) {
        e->overflow = true;
        return;
    }
    __builtin_memcpy(e->buf + e->len, p, n);
    e->len += n;
}

static inline void emit8(struct emit *e, uint8_t v)
{
    emit_fixed(e, &v, 1);
}

static inline void emit16(struct emit *e, uint16_t v)
{
    emit_fixed(e, &v, 2);
}

static inline void emit32(struct emit *e, uint32_t v)
{
    emit_fixed(e, &v, 4);
}

static inline void emit64(struct emit *e, uint64_t v)
{
    emit_fixed(e, &v, 8);
}

static inline bool fits_simm32(uint64_t v)
{
    return (int64_t)v == (int32_t)v;
}

/* 4-byte displacement to target, relative to the end of the field. */
static inline void emit_rel32(struct emit *e, uint64_t target)
{
    emit32(e, (uint32_t)(target - (emit_pc(e) + 4)));
}

/* mov %reg, abs32 / mov abs32, %reg: the no-base, no-index SIB form; addr fits_simm32. */
static inline void emit_mov_abs(struct emit *e, uint8_t opcode, unsigned reg, uint64_t addr)
{
    emit8(e, 0x48 | (reg >= 8 ? 4 : 0));
    emit8(e, opcode);
    emit8(e, (uint8_t)((reg & 7) << 3 | 4));
    emit8(e, 0x25);
    emit32(e, (uint32_t)addr);
}

static inline void emit_store_abs(struct emit *e, unsigned reg, uint64_t addr)
{
    emit_mov_abs(e, 0x89, reg, addr);
}

static inline void emit_load_abs(struct emit *e, unsigned reg, uint64_t addr)
{
    emit_mov_abs(e, 0x8b, reg, addr);
}

/* The shortest mov of a 64-bit constant into reg. */
static inline void emit_mov_imm(struct emit *e, unsigned reg, uint64_t v)
{
    if (v <= 0xffffffffu) {
        if (reg >= 8) {
            emit8(e, 0x41);
        }
        emit8(e, 0xb8 + (reg & 7));
        emit32(e, (uint32_t)v);
    } else if (fits_simm32(v)) {
        emit8(e, reg >= 8 ? 0x49 : 0x48);
        emit8(e, 0xc7);
        emit8(e, 0xc0 | (reg & 7));
        emit32(e, (uint32_t)v);
    } else {
        emit8(e, reg >= 8 ? 0x49 : 0x48);
        emit8(e, 0xb8 + (reg & 7));
        emit64(e, v);
    }
}

static inline void emit_jmp(struct emit *e, uint64_t target)
{
    emit8(e, 0xe9);
    emit_rel32(e, target);
}

/* jmp *addr(%rip) */
static inline void emit_jmp_slot(struct emit *e, uint64_t addr)
{
    emit8(e, 0xff);
    emit8(e, 0x25);
    emit_rel32(e, addr);
}

/* push addr(%rip) */
static inline void emit_push_slot(struct emit *e, uint64_t addr)
{
    emit8(e, 0xff);
    emit8(e, 0x35);
    emit_rel32(e, addr);
}

/* REX.W opcode for a low register and the operand [base + index * scale + disp32]; base, index: R_NONE if there is none. */
static inline void emit_rm(struct emit *e, uint8_t opcode, unsigned reg, unsigned base, unsigned index, unsigned scale, int64_t disp)
{
    unsigned ss = scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
    unsigned i = index == R_NONE ? R_ESP : index, b = base == R_NONE ? R_EBP : base;

    emit8(e, 0x48 | (i >= 8 ? 2 : 0) | (b >= 8 ? 1 : 0));
    emit8(e, opcode);
    emit8(e, (base == R_NONE ? 0x04 : 0x84) | reg << 3);
    emit8(e, (uint8_t)(ss << 6 | (i & 7) << 3 | (b & 7)));
    emit32(e, (uint32_t)disp);
}

/* jmp *table(,%rcx,8) */
static inline void emit_table_jmp(struct emit *e, uint64_t table)
{
    emit_bytes(e, "\xff\x24\xcd", 3);
    emit32(e, (uint32_t)table);
}

#endif
