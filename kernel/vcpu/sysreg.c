/* SPDX-License-Identifier: MIT */
/* Control and debug registers, XCR0, TLB and cache maintenance instructions. The guest cannot leave
 * 64-bit mode here. */
#include "kernel/vcpu/internal.h"

#include "kernel/lib/log.h"

#define CR0_VALID                                                                                  \
    (CR0_PE_MASK | CR0_MP_MASK | CR0_EM_MASK | CR0_TS_MASK | CR0_ET_MASK | CR0_NE_MASK |           \
     CR0_WP_MASK | CR0_AM_MASK | CR0_NW_MASK | CR0_CD_MASK | CR0_PG_MASK)

/* SDM vol. 2 MOV CRn, 64-bit mode exceptions. Reserved bits of the low half are ignored. */
static int write_cr0(struct CPUState *cpu, uint64_t value)
{
    uint64_t old = cpu->env.cr[0];

    if (value >> 32 || !(value & CR0_PG_MASK) || !(value & CR0_PE_MASK) ||
        (value & (CR0_NW_MASK | CR0_CD_MASK)) == CR0_NW_MASK) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    value = (value & CR0_VALID) | CR0_ET_MASK;
    cpu->env.cr[0] = value;
    LOG(CPU, "cr0 %#lx -> %#lx at %#lx", old, value, cpu->env.eip);
    if ((old ^ value) & CR0_WP_MASK) {
        tlb_flush_guest(cpu, TLB_FLUSH_MODES);
    }
    cpu_apply_cr0_cr4(cpu);
    return 0;
}

static int write_cr3(struct CPUState *cpu, uint64_t value)
{
    if (value >> cpu_maxphyaddr()) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    cpu->env.cr[3] = value;
    tlb_flush_guest(cpu, cpu->env.cr[4] & CR4_PGE_MASK ? TLB_FLUSH_LOCAL : TLB_FLUSH_GLOBAL);
    return 0;
}

uint64_t cpu_cr4_valid(void)
{
    uint64_t valid = CR4_TSD_MASK | CR4_DE_MASK | CR4_PSE_MASK | CR4_PAE_MASK | CR4_PCE_MASK |
                     CR4_OSFXSR_MASK | CR4_OSXMMEXCPT_MASK;

    valid |= cpu_has_feature(CPUID_FEAT_PGE) ? CR4_PGE_MASK : 0;
    valid |= cpu_has_feature(CPUID_FEAT_FSGSBASE) ? CR4_FSGSBASE_MASK : 0;
    valid |= cpu_has_feature(CPUID_FEAT_XSAVE) ? CR4_OSXSAVE_MASK : 0;
    valid |= cpu_has_feature(CPUID_FEAT_SMEP) ? CR4_SMEP_MASK : 0;
    return valid;
}

static int write_cr4(struct CPUState *cpu, uint64_t value)
{
    uint64_t old = cpu->env.cr[4];

    if ((value & ~cpu_cr4_valid()) || !(value & CR4_PAE_MASK)) {
        LOG(CPU, "cr4 %#lx refused at %#lx", value, cpu->env.eip);
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    cpu->env.cr[4] = value;
    LOG(CPU, "cr4 %#lx -> %#lx at %#lx", old, value, cpu->env.eip);
    /* SDM vol. 3 4.10.4.1; PSE has no effect in long mode but flushes all the same. */
    if ((old ^ value) & (CR4_PGE_MASK | CR4_PSE_MASK | CR4_SMEP_MASK)) {
        tlb_flush_guest(cpu, (old ^ value) & CR4_SMEP_MASK ? TLB_FLUSH_MODES : TLB_FLUSH_GLOBAL);
    }
    if (old & ~value & CR4_FSGSBASE_MASK) {
        cpu_fsgsbase_cleared(cpu);
    }
    cpu_apply_cr0_cr4(cpu);
    return 0;
}

static bool cr_exists(unsigned cr)
{
    return cr == 0 || (cr >= 2 && cr <= 4) || cr == 8;
}

int sens_mov_from_cr(struct CPUState *cpu, const struct insn *insn)
{
    unsigned cr = insn_reg4(insn);

    if (!cr_exists(cr)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (require_cpl0(cpu)) {
        return SENS_RAISED;
    }
    gpr_write(cpu, insn_rm4(insn), 8, cr == 8 ? cpu->env.cr8 : cpu->env.cr[cr]);
    return SENS_NEXT;
}

int sens_mov_to_cr(struct CPUState *cpu, const struct insn *insn)
{
    unsigned cr = insn_reg4(insn);
    uint64_t value = cpu->env.regs[insn_rm4(insn)];

    if (!cr_exists(cr)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (require_cpl0(cpu)) {
        return SENS_RAISED;
    }
    switch (cr) {
    case 0:
        return write_cr0(cpu, value);
    case 2:
        cpu->env.cr[2] = value;
        vcpu_publish_cr2(cpu);
        return SENS_NEXT;
    case 3:
        return write_cr3(cpu, value);
    case 4:
        return write_cr4(cpu, value);
    default:
        if (value >> 4) {
            return raise_fault(cpu, EXCP0D_GPF, 0);
        }
        cpu->env.cr8 = value;
        return SENS_NEXT;
    }
}

/* Bits 0-3 of CR0; PE can be set, never cleared. */
int sens_lmsw(struct CPUState *cpu, const struct insn *insn)
{
    uint16_t msw;
    uint64_t cr0;

    if (require_cpl0(cpu) || operand_load16(cpu, insn, &msw)) {
        return SENS_RAISED;
    }
    cr0 = (cpu->env.cr[0] & ~(uint64_t)(CR0_MP_MASK | CR0_EM_MASK | CR0_TS_MASK)) | (msw & 15);
    return write_cr0(cpu, cr0);
}

int sens_clts(struct CPUState *cpu, const struct insn *insn)
{
    return require_cpl0(cpu) || write_cr0(cpu, cpu->env.cr[0] & ~(uint64_t)CR0_TS_MASK);
}

/* DR4 and DR5 are aliases unless CR4.DE; access while DR7.GD is a #DB. Register number in *dr. */
static int check_dr(struct CPUState *cpu, const struct insn *insn, unsigned *dr)
{
    *dr = insn_reg4(insn);
    if (*dr > 7 || ((*dr == 4 || *dr == 5) && (cpu->env.cr[4] & CR4_DE_MASK))) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (require_cpl0(cpu)) {
        return 1;
    }
    if (cpu->env.dr[7] & DR7_GD) {
        cpu->env.dr[6] |= DR6_BD;
        return raise_fault(cpu, EXCP01_DB, 0);
    }
    if (*dr == 4 || *dr == 5) {
        *dr += 2;
    }
    return 0;
}

int sens_mov_from_dr(struct CPUState *cpu, const struct insn *insn)
{
    unsigned dr;

    if (check_dr(cpu, insn, &dr)) {
        return SENS_RAISED;
    }
    gpr_write(cpu, insn_rm4(insn), 8, cpu->env.dr[dr]);
    return SENS_NEXT;
}

int sens_mov_to_dr(struct CPUState *cpu, const struct insn *insn)
{
    uint64_t value = cpu->env.regs[insn_rm4(insn)];
    unsigned dr;

    if (check_dr(cpu, insn, &dr)) {
        return SENS_RAISED;
    }
    if (dr >= 6 && value >> 32) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (dr == 6) {
        value = (value & DR6_WRITABLE) | DR6_FIXED_1;
    } else if (dr == 7) {
        value = (value & DR7_WRITABLE) | DR7_FIXED_1;
    }
    cpu->env.dr[dr] = value;
    if (dr != 6) {
        cpu_debug_regs_changed(cpu);
    }
    return SENS_NEXT;
}

int sens_invlpg(struct CPUState *cpu, const struct insn *insn)
{
    gva_t va;

    if (!insn->is_mem) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (require_cpl0(cpu)) {
        return SENS_RAISED;
    }
    va = operand_ea(cpu, insn);
    if (is_canonical(va)) {
        tlb_flush_page_guest(cpu, va);
    }
    return SENS_NEXT;
}

/* invd, wbinvd: guest memory is coherent with everything that the guest can see. */
int sens_wbinvd(struct CPUState *cpu, const struct insn *insn)
{
    return require_cpl0(cpu);
}

int sens_xsetbv(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;
    uint64_t value = env->regs[R_EDX] << 32 | (uint32_t)env->regs[R_EAX];

    if (!(env->cr[4] & CR4_OSXSAVE_MASK)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (env->cpl || (uint32_t)env->regs[R_ECX] != 0 || !(value & XCR0_X87) ||
        (value & ~cpu_xcr0_supported()) || (value & (XCR0_AVX | XCR0_SSE)) == XCR0_AVX) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    env->xcr0 = value;
    LOG(CPU, "xcr0 = %#lx at %#lx", value, env->eip);
    cpu_apply_cr0_cr4(cpu);
    return SENS_NEXT;
}

int sens_xgetbv(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;

    if (!(env->cr[4] & CR4_OSXSAVE_MASK)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if ((uint32_t)env->regs[R_ECX] != 0) {
        return raise_fault(cpu, EXCP0D_GPF, 0); /* XGETBV with ecx = 1 is hidden */
    }
    env->regs[R_EAX] = (uint32_t)env->xcr0;
    env->regs[R_EDX] = env->xcr0 >> 32;
    return SENS_NEXT;
}
