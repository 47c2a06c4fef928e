/* SPDX-License-Identifier: MIT */
/*
 * The prologue of a self-checking TB: compares the guest's bytes, read at the guest's own addresses, with those that were
 * translated. Needs no flags and, like all glue, only spill slots:
 *
 *     entry: mov   %rcx, spill.rcx
 *            mov   %rdx, spill.rdx             (if used)
 *            mov   pc(%rip), %rcx              8 bytes where they can be addressed so and it pays; else 4, (%rdx) where they cannot
 *            mov   $-bytes, %rdx
 *            lea   (%rcx,%rdx), %rcx           4, 2 or 1 bytes: lea -bytes(%rcx), %ecx
 *            jrcxz 1f
 *     stale: int3                              leaves for self_check_failed()
 *     1:     mov   pc+8(%rip), %rcx ...
 *            jrcxz 2f
 *            jmp   stale
 *     2:     mov   spill.rcx, %rcx
 *            mov   spill.rdx, %rdx
 *     body:
 *
 * Must not decide which TBs check themselves.
 */
#include "dbt/translate-emit.h"

#define WIDE_MIN 13 /* from so many bytes on, fewer and longer comparisons make up for spilling rdx */

struct check {
    struct DisasContext *s;
    bool near;      /* the bytes are reached without a base register */
    bool wide;      /* 8 of them are compared at a time, through rdx */
    uint16_t spilled;
    uint64_t base;  /* what rdx holds if they are not */
    uint32_t stale; /* the last jump to the exit, or the exit itself; 0 = not emitted yet */
};

bool insn_may_store(const struct insn *insn)
{
    static const uint64_t ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const uint64_t bases[6];
    const struct insn_regs regs = {.gpr = ones, .seg_base = bases, .xcr0 = 7};
    struct insn_access acc[INSN_MAX_ACCESS];
    bool exact;
    int n = insn_accesses(insn, &regs, 0, acc, &exact);

    for (int i = 0; i < n; i++) {
        if (acc[i].acc & ACC_W) {
            return true;
        }
    }
    return !exact;
}

static bool reached_from_rip(const struct DisasContext *s, uint64_t va)
{
    int64_t rel = (int64_t)(va - s->e.base);

    return rel > INT32_MIN + EMIT_MAX && rel < INT32_MAX - EMIT_MAX;
}

void emit_guest_code_operand(struct DisasContext *s, unsigned reg, uint64_t va)
{
    uint8_t field = (uint8_t)((reg & 7) << 3);

    if (reached_from_rip(s, va)) { /* a byte shorter */
        emit8(&s->e, field | 5);
        emit_rel32(&s->e, va);
    } else {
        emit8(&s->e, field | 4);
        emit8(&s->e, 0x25);
        emit32(&s->e, (uint32_t)va);
    }
}

/* mov(zx) va, %rcx */
static void emit_read_guest(struct check *c, uint64_t va, unsigned width)
{
    static const char opcode[9][3] = {[1] = "\x0f\xb6", [2] = "\x0f\xb7", [4] = "\x8b", [8] = "\x48\x8b"};
    struct emit *e = &c->s->e;

    emit_bytes(e, opcode[width], width == 4 ? 1 : 2);
    if (c->near) {
        emit_guest_code_operand(c->s, R_ECX, va);
    } else if (va - c->base < 128) {
        emit8(e, 0x4a); /* disp8(%rdx) */
        emit8(e, (uint8_t)(va - c->base));
    } else {
        emit8(e, 0x8a); /* disp32(%rdx) */
        emit32(e, (uint32_t)(va - c->base));
    }
}

static void emit_stale_exit(struct check *c)
{
    struct DisasContext *s = c->s;

    if (c->stale) { /* by way of the last such jump: always in reach */
        emit8(&s->e, 0xeb);
        emit8(&s->e, (uint8_t)(c->stale - (s->e.len + 1)));
        c->stale = s->e.len - 2;
        return;
    }
    c->stale = s->e.len;
    add_run(s, RUN_EXIT_STALE, 0, 0, c->spilled);
    emit8(&s->e, 0xcc);
    add_run(s, RUN_GLUE, RUN_FETCH, 0, c->spilled);
}

/* Compare `width` guest bytes at va, which were `bytes`. */
static void emit_compare(struct check *c, uint64_t va, const uint8_t *bytes, unsigned width)
{
    struct emit *e = &c->s->e;
    uint64_t v = 0;

    memcpy(&v, bytes, width);
    emit_read_guest(c, va, width);
    if (width == 8) {
        emit_bytes(e, "\x48\xba", 2); /* mov imm64, %rdx */
        emit64(e, -v);
        emit_bytes(e, "\x48\x8d\x0c\x11", 4); /* lea (%rcx,%rdx), %rcx */
    } else {
        emit_bytes(e, "\x8d\x89", 2); /* lea disp32(%rcx), %ecx */
        emit32(e, (uint32_t)-v);
    }
    emit_bytes(e, "\xe3", 2); /* jrcxz */
    uint32_t from = e->len;
    emit_stale_exit(c);
    if (!e->overflow) {
        e->buf[from - 1] = (uint8_t)(e->len - from);
    }
}

/* How many of `len` bytes to compare next; more than that if the ones before, of which `done` belong to the stretch, are among them. */
static unsigned pick_width(const struct check *c, uint32_t len, uint32_t done)
{
    unsigned width = c->wide ? 8 : 4;

    while (width > len && (width / 2 >= len || done < width - len)) {
        width /= 2;
    }
    return width;
}

/* The guest bytes [off, off + len) of the TB, in as few comparisons as there can be: some bytes twice. */
static void emit_stretch(struct check *c, uint32_t off, uint32_t len)
{
    const uint8_t *bytes = insn_bytes(c->s, 0);
    uint64_t pc = c->s->tb->pc;
    const uint32_t begin = off;

    while (len) {
        unsigned width = pick_width(c, len, off - begin), again = width > len ? width - len : 0;

        emit_compare(c, pc + off - again, bytes + off - again, width);
        off += width - again;
        len -= width - again;
    }
}

/* The first half, but for what is loaded when it is executed. Holes ascend, and only a TB of one page has any. */
static void emit_around_holes(struct check *c, uint32_t len)
{
    const struct TranslationBlock *tb = c->s->tb;
    uint32_t off = 0;

    for (unsigned h = 0; h < tb->nr_holes; h++) {
        emit_stretch(c, off, tb->hole[h].off - off);
        off = tb->hole[h].off + tb->hole[h].len;
    }
    emit_stretch(c, off, len - off);
}

bool guest_code_reachable(const struct DisasContext *s, uint64_t va)
{
    return fits_simm32(va) || reached_from_rip(s, va);
}

void emit_self_check(struct DisasContext *s)
{
    struct TranslationBlock *tb = s->tb;
    struct check c = {.s = s, .base = tb->pc};
    uint32_t half0 = MIN((uint32_t)tb->size, (uint32_t)(PAGE_SIZE - (tb->pc & ~PAGE_MASK)));

    tb->body_off = 0;
    if (!tb->self_check) {
        return;
    }
    c.near = guest_code_reachable(s, tb->pc) && guest_code_reachable(s, tb->pc + tb->size);
    c.wide = c.near && tb->size >= WIDE_MIN;
    c.spilled = (uint16_t)(BIT(R_ECX) | (!c.near || c.wide ? BIT(R_EDX) : 0));
    add_run(s, RUN_GLUE, RUN_BOUNDARY, 0, 0);
    emit_spill(s, R_ECX);
    if (c.spilled & BIT(R_EDX)) {
        emit_spill(s, R_EDX);
    }
    add_run(s, RUN_GLUE, RUN_FETCH, 0, c.spilled);
    if (!c.near) {
        emit_mov_imm(&s->e, R_EDX, c.base);
    }
    if (tb->self_check & 1) {
        emit_around_holes(&c, half0);
    }
    if (tb->self_check & 2) {
        emit_stretch(&c, half0, tb->size - half0);
    }
    emit_load_abs(&s->e, R_ECX, spill_addr(s, R_ECX));
    if (c.spilled & BIT(R_EDX)) {
        emit_load_abs(&s->e, R_EDX, spill_addr(s, R_EDX));
    }
    tb->body_off = (uint16_t)s->e.len;
}
