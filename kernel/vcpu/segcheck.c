/* SPDX-License-Identifier: MIT */
/* lar, lsl, verr, verw: what a selector would give. They never raise #GP for it, they clear ZF. */
#include "kernel/vcpu/internal.h"

static int set_zf(struct CPUState *cpu, bool zf)
{
    cpu->env.eflags = (cpu->env.eflags & ~(uint64_t)CC_Z) | (zf ? CC_Z : 0);
    return SENS_NEXT;
}

/* Visible to this selector at this CPL? Conforming code is visible to all. */
static bool privilege_ok(const struct CPUState *cpu, uint16_t selector, const struct desc *d)
{
    if (desc_is_code(d->e2) && (d->e2 & DESC_C_MASK)) {
        return true;
    }
    return cpu->env.cpl <= DESC_DPL(d->e2) && SEL_RPL(selector) <= DESC_DPL(d->e2);
}

/* The selector operand and its descriptor; *ok = false means ZF = 0. */
static int look_up(struct CPUState *cpu, const struct insn *insn, uint16_t *selector,
                   struct desc *d, bool *ok)
{
    *ok = false;
    if (operand_load16(cpu, insn, selector)) {
        return 1;
    }
    if (SEL_NULL(*selector)) {
        return 0;
    }
    switch (load_segment(cpu, *selector, d)) {
    case DESC_RAISED:
        return 1;
    case DESC_LIMIT:
        return 0;
    case DESC_OK:
        *ok = privilege_ok(cpu, *selector, d);
        return 0;
    }
    return 0;
}

/* System types that lar and lsl accept in IA-32e mode, SDM vol. 2 tables of LAR and LSL. */
static bool lar_type_ok(uint32_t e2)
{
    switch (DESC_TYPE(e2)) {
    case SYS_LDT:
    case SYS_TSS_AVAIL:
    case SYS_TSS_BUSY:
    case SYS_CALL_GATE:
        return true;
    default:
        return e2 & DESC_S_MASK;
    }
}

static bool lsl_type_ok(uint32_t e2)
{
    return (e2 & DESC_S_MASK) || (lar_type_ok(e2) && DESC_TYPE(e2) != SYS_CALL_GATE);
}

int sens_lar(struct CPUState *cpu, const struct insn *insn)
{
    uint16_t selector;
    struct desc d;
    bool ok;

    if (look_up(cpu, insn, &selector, &d, &ok)) {
        return SENS_RAISED;
    }
    if (!ok || !lar_type_ok(d.e2)) {
        return set_zf(cpu, false);
    }
    gpr_write(cpu, insn_reg4(insn), insn_osz(insn), d.e2 & DESC_CACHE_MASK);
    return set_zf(cpu, true);
}

int sens_lsl(struct CPUState *cpu, const struct insn *insn)
{
    uint16_t selector;
    struct desc d;
    bool ok;

    if (look_up(cpu, insn, &selector, &d, &ok)) {
        return SENS_RAISED;
    }
    if (!ok || !lsl_type_ok(d.e2)) {
        return set_zf(cpu, false);
    }
    gpr_write(cpu, insn_reg4(insn), insn_osz(insn), desc_limit(&d));
    return set_zf(cpu, true);
}

int sens_verr(struct CPUState *cpu, const struct insn *insn)
{
    uint16_t selector;
    struct desc d;
    bool ok;

    if (look_up(cpu, insn, &selector, &d, &ok)) {
        return SENS_RAISED;
    }
    ok = ok && (d.e2 & DESC_S_MASK) && (d.e2 & (DESC_CS_MASK | DESC_R_MASK)) != DESC_CS_MASK;
    return set_zf(cpu, ok);
}

int sens_verw(struct CPUState *cpu, const struct insn *insn)
{
    uint16_t selector;
    struct desc d;
    bool ok;

    if (look_up(cpu, insn, &selector, &d, &ok)) {
        return SENS_RAISED;
    }
    ok = ok && (d.e2 & (DESC_S_MASK | DESC_CS_MASK | DESC_W_MASK)) == (DESC_S_MASK | DESC_W_MASK);
    return set_zf(cpu, ok);
}
