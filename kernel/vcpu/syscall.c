/* SPDX-License-Identifier: MIT */
/* syscall, sysret, sysenter, sysexit: flat segments made from MSRs, no descriptor is read. Intel's
 * variants. */
#include "kernel/vcpu/internal.h"

/* What sysret takes from r11 (SDM vol. 2 SYSRET); VIF and VIP need VME, which is hidden. */
#define SYSRET_FLAGS                                                                               \
    (CC_ALL | TF_MASK | IF_MASK | DF_MASK | IOPL_MASK | NT_MASK | AC_MASK | ID_MASK)

/* cpu_x86_load_seg_cache() for CS and SS, of which the hardware has no base. */
static void load_flat(struct CPUState *cpu, unsigned cpl, uint16_t cs, uint16_t ss)
{
    cpu->env.cpl = (uint8_t)cpl;
    cpu->env.segs[R_CS] = (struct segment_cache){(uint16_t)((cs & ~3u) | cpl), 0xffffffff, FLAT_CODE64(cpl), 0};
    cpu->env.segs[R_SS] = (struct segment_cache){(uint16_t)((ss & ~3u) | cpl), 0xffffffff, FLAT_DATA(cpl), 0};
    vcpu_publish_selector(cpu, R_CS);
    vcpu_publish_selector(cpu, R_SS);
}

/* To CPL 3 with a 32-bit code segment. */
static void load_flat32(struct CPUState *cpu, uint16_t cs, uint16_t ss)
{
    load_flat(cpu, 3, cs, ss);
    cpu->env.segs[R_CS].flags ^= DESC_L_MASK | DESC_B_MASK;
}

int sens_syscall(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;
    uint16_t cs = (uint16_t)(env->star >> 32);

    if (!(env->efer & MSR_EFER_SCE)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    env->regs[R_ECX] = insn_next(cpu, insn);
    env->regs[R_R11] = env->eflags & ~(uint64_t)RF_MASK;
    env->eflags = (env->eflags & ~(env->fmask | RF_MASK)) | 2;
    load_flat(cpu, 0, cs & 0xfffc, (uint16_t)((cs & 0xfffc) + 8));
    env->eip = env->lstar;
    return SENS_JUMPED;
}

int sens_sysret(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;
    uint16_t cs = (uint16_t)(env->star >> 48);

    if (!(env->efer & MSR_EFER_SCE)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (require_cpl0(cpu)) {
        return SENS_RAISED;
    }
    if (!(insn->rex & 8)) {
        env->eflags = (env->regs[R_R11] & SYSRET_FLAGS) | 2;
        env->eip = (uint32_t)env->regs[R_ECX];
        load_flat32(cpu, cs, (uint16_t)(cs + 8));
        return entered_cs32(cpu, "sysret");
    }
    if (!is_canonical(env->regs[R_ECX])) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    env->eflags = (env->regs[R_R11] & SYSRET_FLAGS) | 2;
    env->eip = env->regs[R_ECX];
    load_flat(cpu, 3, (uint16_t)(cs + 16), (uint16_t)(cs + 8));
    return SENS_JUMPED;
}

int sens_sysenter(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;
    uint16_t cs = env->sysenter_cs & 0xfffc;

    if (!cpu_has_feature(CPUID_FEAT_SYSENTER64)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (!cs) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    env->eflags &= ~(uint64_t)(VM_MASK | IF_MASK | RF_MASK);
    env->regs[R_ESP] = env->sysenter_esp;
    env->eip = env->sysenter_eip;
    load_flat(cpu, 0, cs, (uint16_t)(cs + 8));
    return SENS_JUMPED;
}

int sens_sysexit(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;
    uint16_t cs = env->sysenter_cs & 0xfffc;

    if (!cpu_has_feature(CPUID_FEAT_SYSENTER64)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (!cs || env->cpl) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (!(insn->rex & 8)) {
        env->regs[R_ESP] = (uint32_t)env->regs[R_ECX];
        env->eip = (uint32_t)env->regs[R_EDX];
        load_flat32(cpu, (uint16_t)(cs + 16), (uint16_t)(cs + 24));
        return entered_cs32(cpu, "sysexit");
    }
    if (!is_canonical(env->regs[R_ECX]) || !is_canonical(env->regs[R_EDX])) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    env->regs[R_ESP] = env->regs[R_ECX];
    env->eip = env->regs[R_EDX];
    load_flat(cpu, 3, (uint16_t)(cs + 32), (uint16_t)(cs + 40));
    return SENS_JUMPED;
}
