/* SPDX-License-Identifier: MIT */
/* cli, sti, pushf, popf: the virtual flags. VME and PVI are hidden, so IOPL alone decides on IF. */
#include "kernel/vcpu/internal.h"

int sens_cli(struct CPUState *cpu, const struct insn *insn)
{
    if (cpu->env.cpl > cpu_iopl(cpu)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    cpu->env.eflags &= ~(uint64_t)IF_MASK;
    return SENS_NEXT;
}

int sens_sti(struct CPUState *cpu, const struct insn *insn)
{
    if (cpu->env.cpl > cpu_iopl(cpu)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (!(cpu->env.eflags & IF_MASK)) {
        cpu->env.eflags |= IF_MASK;
        cpu->env.inhibit_irq = INHIBIT_STI; /* one instruction, SDM vol. 2 STI */
    }
    return SENS_NEXT;
}

int sens_pushf(struct CPUState *cpu, const struct insn *insn)
{
    uint64_t image = cpu->env.eflags & ~(uint64_t)(VM_MASK | RF_MASK);

    return stack_push(cpu, &image, insn_osz64(insn));
}

int sens_popf(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;
    unsigned size = insn_osz64(insn);
    uint64_t writable = CC_ALL | TF_MASK | DF_MASK | NT_MASK;
    uint64_t image = 0;

    if (stack_peek(cpu, 0, &image, size)) {
        return SENS_RAISED;
    }
    if (size == 8) {
        writable |= AC_MASK | ID_MASK;
    }
    if (env->cpl == 0) {
        writable |= IOPL_MASK;
    }
    if (env->cpl <= cpu_iopl(cpu)) {
        writable |= IF_MASK;
    }
    env->eflags = (env->eflags & ~(writable | RF_MASK)) | (image & writable);
    env->regs[R_ESP] += size;
    return SENS_NEXT;
}
