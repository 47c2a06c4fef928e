/* SPDX-License-Identifier: MIT */
/* Operands of sensitive instructions: registers, ModRM memory, stack, system tables. Must not look
 * at opcodes. */
#include "kernel/vcpu/internal.h"

void gpr_write(struct CPUState *cpu, unsigned reg, unsigned size, uint64_t value)
{
    uint64_t *r = &cpu->env.regs[reg];

    switch (size) {
    case 1:
        *r = (*r & ~0xffull) | (value & 0xff);
        break;
    case 2:
        *r = (*r & ~0xffffull) | (value & 0xffff);
        break;
    case 4:
        *r = (uint32_t)value;
        break;
    default:
        *r = value;
        break;
    }
}

gva_t operand_ea(struct CPUState *cpu, const struct insn *insn)
{
    const struct CPUX86State *env = &cpu->env;
    uint64_t ea = (uint64_t)insn->disp;

    if (insn->base == R_RIP) {
        ea += insn_next(cpu, insn);
    } else if (insn->base != R_NONE) {
        ea += env->regs[insn->base & 15];
    }
    if (insn->index != R_NONE) {
        ea += env->regs[insn->index & 15] * insn->scale;
    }
    if (insn->addr_size == 4) {
        ea = (uint32_t)ea;
    }
    if (insn->seg == R_FS || insn->seg == R_GS) {
        cpu_sync_fsgs_base(cpu);
        ea += env->segs[insn->seg].base;
    }
    return ea;
}

/* In 64-bit mode only FS and GS overrides count, so "through SS" means base rsp or rbp without
 * those. */
static int operand_check(struct CPUState *cpu, const struct insn *insn, gva_t ea, unsigned len)
{
    bool stack =
        insn->seg != R_FS && insn->seg != R_GS && (insn->base == R_ESP || insn->base == R_EBP);

    if (!is_canonical_range(ea, len)) {
        return raise_fault(cpu, stack ? EXCP0C_STACK : EXCP0D_GPF, 0);
    }
    return 0;
}

int operand_load(struct CPUState *cpu, const struct insn *insn, void *buf, unsigned len)
{
    gva_t ea = operand_ea(cpu, insn);

    return operand_check(cpu, insn, ea, len) || cpu_ldub(cpu, ea, buf, len, is_user(cpu));
}

int operand_store(struct CPUState *cpu, const struct insn *insn, const void *buf, unsigned len)
{
    gva_t ea = operand_ea(cpu, insn);

    return operand_check(cpu, insn, ea, len) || cpu_stub(cpu, ea, buf, len, is_user(cpu));
}

int operand_load16(struct CPUState *cpu, const struct insn *insn, uint16_t *value)
{
    if (insn->is_mem) {
        return operand_load(cpu, insn, value, sizeof(*value));
    }
    *value = (uint16_t)cpu->env.regs[insn_rm4(insn)];
    return 0;
}

int operand_store_rm16(struct CPUState *cpu, const struct insn *insn, uint64_t value)
{
    uint16_t word = (uint16_t)value;

    if (insn->is_mem) {
        return operand_store(cpu, insn, &word, sizeof(word));
    }
    gpr_write(cpu, insn_rm4(insn), insn_osz(insn), value);
    return 0;
}

int stack_push(struct CPUState *cpu, const void *buf, unsigned len)
{
    gva_t sp = cpu->env.regs[R_ESP] - len;

    if (!is_canonical_range(sp, len)) {
        return raise_fault(cpu, EXCP0C_STACK, 0);
    }
    if (cpu_stub(cpu, sp, buf, len, is_user(cpu))) {
        return 1;
    }
    cpu->env.regs[R_ESP] = sp;
    return 0;
}

int stack_peek(struct CPUState *cpu, uint64_t offset, void *buf, unsigned len)
{
    gva_t sp = cpu->env.regs[R_ESP] + offset;

    if (!is_canonical_range(sp, len)) {
        return raise_fault(cpu, EXCP0C_STACK, 0);
    }
    return cpu_ldub(cpu, sp, buf, len, is_user(cpu)) != 0;
}

int system_load(struct CPUState *cpu, gva_t va, void *buf, unsigned len, uint64_t error_code)
{
    if (!is_canonical_range(va, len)) {
        return raise_fault(cpu, EXCP0D_GPF, error_code);
    }
    return cpu_ldub(cpu, va, buf, len, false) != 0;
}

int system_store(struct CPUState *cpu, gva_t va, const void *buf, unsigned len, uint64_t error_code)
{
    if (!is_canonical_range(va, len)) {
        return raise_fault(cpu, EXCP0D_GPF, error_code);
    }
    return cpu_stub(cpu, va, buf, len, false) != 0;
}
