/* SPDX-License-Identifier: MIT */
/*
 * fnstenv and fnsave, which show the last x87 instruction's address. Like all that is emulated they change nothing if the store
 * faults. Images by FXSAVE and XSAVE are the translated guest's own business (docs/guest-cpu.md).
 */
#include "dbt/x87-ip.h"
#include "kernel/vcpu/internal.h"

int sens_x87_store(struct CPUState *cpu, const struct insn *insn)
{
    uint8_t image[X87_STATE_SIZE], out[X87_STATE_SIZE];

    if (cpu->env.cr[0] & (CR0_EM_MASK | CR0_TS_MASK)) {
        return raise_fault(cpu, EXCP07_PREX, 0);
    }
    cpu_x87_image(cpu, image);
    if (operand_store(cpu, insn, out, x87_image_format(insn, image, out))) {
        return SENS_RAISED;
    }
    cpu_x87_stored(cpu, insn->sens == SENS_FNSAVE);
    return SENS_NEXT;
}
