/* SPDX-License-Identifier: MIT */
/*
 * A generator of integer instructions. After an instruction that leaves flags undefined it emits one that defines them
 * all from what is defined (adc after those with a defined CF, cmp after the others), so that every engine must agree.
 */
#include "tests/payloads/lib/random-code.h"

enum { DATA_REG = 15, INDEX_REG = 14, STACK_REG = 4 };

static unsigned pick_reg(struct rng *rng)
{
    static const uint8_t regs[] = {0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13};

    return regs[rng_below(rng, ARRAY_SIZE(regs))];
}

/* Operand size in bytes. */
static unsigned pick_size(struct rng *rng)
{
    return 1u << rng_below(rng, 4);
}

/* An operand of a ModRM byte: a register, or memory in the data buffer. */
struct operand {
    bool mem, rip;
    unsigned reg;  /* !mem */
    bool index;    /* mem: + r14 * 8 */
    uint32_t disp; /* mem: from the buffer */
};

static struct operand pick_operand(struct rng *rng)
{
    struct operand o = {0};

    o.mem = rng_below(rng, 2);
    o.reg = pick_reg(rng);
    o.rip = rng_below(rng, 3) == 0;
    o.index = rng_below(rng, 3) == 0;
    o.disp = rng_below(rng, RANDOM_DATA_SIZE - 32 * 8 - 16);
    return o;
}

/*
 * Prefixes, REX, opcode (1 or 2 bytes: 0x0f00 | second), ModRM and displacement. `imm` is the number of immediate bytes
 * that will follow: a RIP-relative displacement counts from behind them. Size 1 always carries REX, so that registers
 * 4-7 are spl..dil.
 */
static uint8_t *emit_modrm(uint8_t *p, unsigned size, unsigned opcode, unsigned reg,
                           const struct operand *o, unsigned imm, const uint8_t *data)
{
    unsigned rm = o->mem ? (o->rip ? 5 : DATA_REG) : o->reg;
    unsigned rex = 0x40 | (size == 8 ? 8 : 0) | (reg >> 3) << 2 | (rm >> 3);

    if (o->mem && o->rip) {
        rex &= ~1u;
    } else if (o->mem && o->index) {
        rex |= 2; /* r14 */
    }
    if (size == 2) {
        *p++ = 0x66;
    }
    if (rex != 0x40 || size == 1) {
        *p++ = (uint8_t)rex;
    }
    if (opcode >= 0x100) {
        *p++ = (uint8_t)(opcode >> 8);
    }
    *p++ = (uint8_t)opcode;
    reg = (reg & 7) << 3;
    if (!o->mem) {
        return EMIT(p, (uint8_t)(0xc0 | reg | (rm & 7)));
    }
    if (o->rip) {
        p = EMIT(p, (uint8_t)(reg | 5));
        return emit32(p, (uint32_t)(data + o->disp - (p + 4 + imm)));
    }
    if (o->index) {
        p = EMIT(p, (uint8_t)(0x80 | reg | 4), 0xf7); /* [r15 + r14*8 + disp32] */
    } else {
        p = EMIT(p, (uint8_t)(0x80 | reg | 7));
    }
    return emit32(p, o->disp);
}

static const struct operand *reg_operand(struct operand *o, unsigned reg)
{
    *o = (struct operand){.reg = reg};
    return o;
}

static uint8_t *emit_imm(struct rng *rng, uint8_t *p, unsigned size)
{
    uint64_t v = rng_next(rng);

    memcpy(p, &v, size);
    return p + size;
}

/* adc $imm8, reg: all flags from a defined CF. */
static uint8_t *define_flags_adc(struct rng *rng, uint8_t *p)
{
    struct operand o;

    p = emit_modrm(p, 8, 0x83, 2, reg_operand(&o, pick_reg(rng)), 1, NULL);
    return emit_imm(rng, p, 1);
}

/* cmp $imm8, reg: all flags from nothing. */
static uint8_t *define_flags_cmp(struct rng *rng, uint8_t *p)
{
    struct operand o;

    p = emit_modrm(p, 4, 0x83, 7, reg_operand(&o, pick_reg(rng)), 1, NULL);
    return emit_imm(rng, p, 1);
}

static uint8_t *gen_alu(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    struct operand o = pick_operand(rng);
    unsigned size = pick_size(rng), op = rng_below(rng, 8) << 3 | rng_below(rng, 2) << 1;

    return emit_modrm(p, size, op | (size > 1), pick_reg(rng), &o, 0, data);
}

static uint8_t *gen_alu_imm(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    struct operand o = pick_operand(rng);
    unsigned size = pick_size(rng), op = rng_below(rng, 8);
    bool short_imm = rng_below(rng, 2);
    unsigned imm = size == 1 || short_imm ? 1 : size == 2 ? 2 : 4;

    p = emit_modrm(p, size, size == 1 ? 0x80 : short_imm ? 0x83 : 0x81, op, &o, imm, data);
    return emit_imm(rng, p, imm);
}

static uint8_t *gen_shift(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    static const uint8_t ops[] = {0, 1, 2, 3, 4, 5, 7};
    struct operand o = pick_operand(rng);
    unsigned size = pick_size(rng), op = ops[rng_below(rng, ARRAY_SIZE(ops))];

    if (size >= 4 && rng_below(rng, 2)) {
        p = emit_modrm(p, size, 0xd3, op, &o, 0, data); /* by cl */
    } else if (rng_below(rng, 3) == 0) {
        p = emit_modrm(p, size, size > 1 ? 0xd1 : 0xd0, op, &o, 0, data);
    } else {
        p = emit_modrm(p, size, size > 1 ? 0xc1 : 0xc0, op, &o, 1, data);
        *p++ = (uint8_t)(1 + rng_below(rng, size * 8 - 1));
    }
    return define_flags_adc(rng, p);
}

static uint8_t *gen_double_shift(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    struct operand o = pick_operand(rng);
    unsigned size = 4u << rng_below(rng, 2);

    o.rip = false; /* QEMU 7.2 forgets the immediate's length here; payload rip-relative has a case */
    p = emit_modrm(p, size, rng_below(rng, 2) ? 0x0fa4 : 0x0fac, pick_reg(rng), &o, 1, data);
    *p++ = (uint8_t)(1 + rng_below(rng, size * 8 - 1));
    return define_flags_adc(rng, p);
}

static uint8_t *gen_multiply(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    struct operand o = pick_operand(rng);
    unsigned size = pick_size(rng);

    if (size > 1 && rng_below(rng, 2)) {
        p = emit_modrm(p, size, 0x0faf, pick_reg(rng), &o, 0, data);
    } else if (size > 1 && rng_below(rng, 2)) {
        p = emit_modrm(p, size, 0x6b, pick_reg(rng), &o, 1, data);
        p = emit_imm(rng, p, 1);
    } else {
        p = emit_modrm(p, size, size > 1 ? 0xf7 : 0xf6, 4 + rng_below(rng, 2), &o, 0, data);
    }
    return define_flags_adc(rng, p);
}

/* mov $odd, %ecx; xor %edx, %edx; div %rcx (32 or 64 bits) */
static uint8_t *gen_divide(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    p = EMIT(p, 0xb9);
    p = emit32(p, (uint32_t)rng_next(rng) >> rng_below(rng, 31) | 1);
    p = EMIT(p, 0x31, 0xd2);
    p = rng_below(rng, 2) ? EMIT(p, 0x48, 0xf7, 0xf1) : EMIT(p, 0xf7, 0xf1);
    return define_flags_cmp(rng, p);
}

static uint8_t *gen_unary(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    struct operand o = pick_operand(rng);
    unsigned size = pick_size(rng);

    if (rng_below(rng, 2)) {
        return emit_modrm(p, size, size > 1 ? 0xff : 0xfe, rng_below(rng, 2), &o, 0, data);
    }
    return emit_modrm(p, size, size > 1 ? 0xf7 : 0xf6, 2 + rng_below(rng, 2), &o, 0, data);
}

static uint8_t *gen_bit_test(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    struct operand o = pick_operand(rng);
    unsigned size = 2u << rng_below(rng, 3);

    p = emit_modrm(p, size, 0x0fba, 4 + rng_below(rng, 4), &o, 1, data);
    *p++ = (uint8_t)rng_below(rng, size * 8);
    return define_flags_adc(rng, p);
}

/* or $imm32, %ecx (not 0); bsf or bsr %ecx, reg */
static uint8_t *gen_bit_scan(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    struct operand o;

    p = EMIT(p, 0x81, 0xc9);
    p = emit32(p, (uint32_t)rng_next(rng) | 0x8000);
    p = emit_modrm(p, 4, rng_below(rng, 2) ? 0x0fbc : 0x0fbd, pick_reg(rng), reg_operand(&o, 1), 0, data);
    return define_flags_cmp(rng, p);
}

static uint8_t *gen_condition(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    struct operand o = pick_operand(rng);
    unsigned cc = rng_below(rng, 16);

    if (rng_below(rng, 2)) {
        return emit_modrm(p, 1, 0x0f90 + cc, 0, &o, 0, data);
    }
    return emit_modrm(p, 2u << rng_below(rng, 3), 0x0f40 + cc, pick_reg(rng), &o, 0, data);
}

static uint8_t *gen_move(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    static const uint16_t extend[] = {0x0fb6, 0x0fb7, 0x0fbe, 0x0fbf, 0x63};
    struct operand o = pick_operand(rng);
    unsigned size = pick_size(rng);

    switch (rng_below(rng, 5)) {
    case 0:
        return emit_modrm(p, size, size > 1 ? 0x89 : 0x88, pick_reg(rng), &o, 0, data);
    case 1:
        return emit_modrm(p, size, size > 1 ? 0x8b : 0x8a, pick_reg(rng), &o, 0, data);
    case 2:
        p = emit_modrm(p, size, size > 1 ? 0xc7 : 0xc6, 0, &o, MIN(size, 4u), data);
        return emit_imm(rng, p, MIN(size, 4u));
    case 3:
        return emit_modrm(p, 8, extend[rng_below(rng, 5)], pick_reg(rng), &o, 0, data);
    default:
        o.mem = true;
        o.rip = false; /* an address that depends on where the code lies would differ between runs */
        return emit_modrm(p, 4, 0x8d, pick_reg(rng), &o, 0, data);
    }
}

static uint8_t *gen_exchange(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    static const uint16_t ops[] = {0x86, 0x0fc0, 0x0fb0};
    struct operand o = pick_operand(rng);
    unsigned size = pick_size(rng);
    unsigned op = ops[rng_below(rng, 3)];

    if (o.mem && rng_below(rng, 2)) {
        *p++ = 0xf0;
        if (size == 2) { /* the order of legacy prefixes is free */
            return emit_modrm(p, size, op + 1, pick_reg(rng), &o, 0, data);
        }
    }
    return emit_modrm(p, size, op + (size > 1), pick_reg(rng), &o, 0, data);
}

static uint8_t *gen_flags(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    switch (rng_below(rng, 8)) {
    case 0:
        return EMIT(p, 0x9f); /* lahf */
    case 1:
        return EMIT(p, 0x9e); /* sahf */
    case 2:
        return EMIT(p, 0xf8); /* clc */
    case 3:
        return EMIT(p, 0xf9);
    case 4:
        return EMIT(p, 0xf5);
    case 5:
        return EMIT(p, 0x48, 0x98, 0x48, 0x99); /* cdqe; cqo */
    case 6:
        return EMIT(p, 0x0f, 0xc8, 0x49, 0x0f, 0xcb); /* bswap %eax; bswap %r11 */
    default:
        return EMIT(p, 0x9c, 0x48, 0x01, 0xd8, 0x9d); /* pushfq; add %rbx, %rax; popfq */
    }
}

static uint8_t *gen_stack(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    struct operand o = pick_operand(rng);

    if (o.reg >= 8) {
        *p++ = 0x41;
    }
    *p++ = (uint8_t)(0x50 + (o.reg & 7));
    p = gen_alu(rng, p, data);
    o = pick_operand(rng);
    return emit_modrm(p, 4, 0x8f, 0, &o, 0, data);
}

/* lea of rdi, rsi into the buffer; mov $n, %ecx; cld; rep <op>; flags redefined */
static uint8_t *gen_string(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    static const uint8_t ops[] = {0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xa6, 0xae};
    struct operand o = {.mem = true, .disp = rng_below(rng, 2048)};

    p = emit_modrm(p, 8, 0x8d, 7, &o, 0, data);
    o.disp = 4096 + rng_below(rng, 2048);
    p = emit_modrm(p, 8, 0x8d, 6, &o, 0, data);
    p = EMIT(p, 0xb9);
    p = emit32(p, rng_below(rng, 20));
    p = EMIT(p, rng_below(rng, 2) ? 0xf3 : 0xf2);
    if (rng_below(rng, 2)) {
        *p++ = 0x48;
    }
    p = EMIT(p, ops[rng_below(rng, ARRAY_SIZE(ops))]);
    /* The addresses left in rdi and rsi depend on where the buffer lies. */
    return EMIT(p, 0x4c, 0x29, 0xff, 0x4c, 0x29, 0xfe); /* sub %r15, %rdi; sub %r15, %rsi */
}

/* jcc over one instruction */
static uint8_t *gen_branch(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    uint8_t *rel;

    *p++ = (uint8_t)(0x70 + rng_below(rng, 16));
    rel = p++;
    p = gen_alu(rng, p, data);
    *rel = (uint8_t)(p - rel - 1);
    return p;
}

/* call 1f; jmp 2f; 1: insn; ret; 2: */
static uint8_t *gen_call(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    p = EMIT(p, 0xe8, 2, 0, 0, 0, 0xeb, 0);
    uint8_t *rel = p - 1;

    p = gen_alu(rng, p, data);
    *p++ = 0xc3;
    *rel = (uint8_t)(p - rel - 1);
    return p;
}

typedef uint8_t *gen_fn(struct rng *rng, uint8_t *p, const uint8_t *data);

uint8_t *random_insn(struct rng *rng, uint8_t *p, const uint8_t *data)
{
    static gen_fn *const gens[] = {
        gen_alu,      gen_alu,      gen_alu_imm, gen_alu_imm, gen_shift,    gen_double_shift,
        gen_multiply, gen_divide,   gen_unary,   gen_unary,   gen_bit_test, gen_bit_scan,
        gen_condition, gen_condition, gen_move,  gen_move,    gen_move,     gen_exchange,
        gen_flags,    gen_stack,    gen_string,  gen_branch,  gen_branch,   gen_call,
    };

    return gens[rng_below(rng, ARRAY_SIZE(gens))](rng, p, data);
}

void random_regs_init(struct random_regs *regs, struct rng *rng, const uint8_t *data)
{
    for (unsigned i = 0; i < 16; i++) {
        regs->gpr[i] = rng_next(rng);
    }
    regs->gpr[STACK_REG] = 0;
    regs->gpr[INDEX_REG] = rng_below(rng, 32);
    regs->gpr[DATA_REG] = (uint64_t)data;
    regs->rflags = FLAG_FIXED | (rng_next(rng) & FLAGS_ARITH);
}
