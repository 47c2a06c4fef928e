/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers, the time stamp counter, FS and GS bases. Plain MSRs are rows of one
 * table; a number that is not here is #GP(0), as on a CPU without it.
 */
#include "kernel/vcpu/internal.h"

#include "kernel/lib/log.h"

enum msr_rule {
    MSR_PLAIN, /* any value */
    MSR_LOW32, /* bits 63:32 reserved */
    MSR_CANON, /* an address */
    MSR_FS_GS, /* an address, mirrored in the hardware while guest code runs */
    MSR_KERNEL_GS, /* an address, in the vCPU page while guest code runs */
    MSR_PAT,   /* eight memory types */
    MSR_EFER,
    MSR_TSC,
    MSR_TSC_AUX, /* exists with rdtscp or rdpid */
    MSR_APICBASE,
    MSR_CONST,    /* reads `value`, writes are #GP */
    MSR_CONST_WI, /* reads `value`, writes are ignored */
};

struct msr {
    uint32_t index;
    enum msr_rule rule;
    uint64_t value; /* offset in CPUX86State, or the constant */
};
#define FIELD(f) offsetof(struct CPUX86State, f)

/* Numbers: SDM vol. 4 table 2-2; c001xxxx: AMD. */
static const struct msr msr_table[] = {
    {0x00000010, MSR_TSC, 0},
    {0x00000017, MSR_CONST, 0}, /* PLATFORM_ID */
    {0x0000001b, MSR_APICBASE, FIELD(apicbase)},
    {0x0000008b, MSR_CONST_WI, 1ull << 32}, /* BIOS_SIGN_ID: microcode revision 1 */
    {0x00000174, MSR_LOW32, FIELD(sysenter_cs)},
    {0x00000175, MSR_CANON, FIELD(sysenter_esp)},
    {0x00000176, MSR_CANON, FIELD(sysenter_eip)},
    {0x00000179, MSR_CONST, 0},    /* MCG_CAP: no banks */
    {0x0000017a, MSR_CONST_WI, 0}, /* MCG_STATUS */
    {0x000001a0, MSR_PLAIN, FIELD(misc_enable)},
    {0x000001d9, MSR_CONST_WI, 0}, /* DEBUGCTL: no LBR, no BTF */
    {0x00000277, MSR_PAT, FIELD(pat)},
    {0xc0000080, MSR_EFER, FIELD(efer)},
    {0xc0000081, MSR_PLAIN, FIELD(star)},
    {0xc0000082, MSR_CANON, FIELD(lstar)},
    {0xc0000083, MSR_CANON, FIELD(cstar)},
    {0xc0000084, MSR_LOW32, FIELD(fmask)},
    {0xc0000100, MSR_FS_GS, R_FS},
    {0xc0000101, MSR_FS_GS, R_GS},
    {0xc0000102, MSR_KERNEL_GS, FIELD(kernelgsbase)},
    {0xc0000103, MSR_TSC_AUX, FIELD(tsc_aux)},
    {0xc0010015, MSR_CONST_WI, 1u << 24}, /* HWCR: the TSC runs at the P0 rate */
    {0xc0010055, MSR_CONST_WI, 0},        /* interrupt pending messages: none, nor C1E */
};

static const struct msr *msr_find(uint32_t index)
{
    for (size_t i = 0; i < ARRAY_SIZE(msr_table); i++) {
        if (msr_table[i].index == index) {
            return &msr_table[i];
        }
    }
    return NULL;
}

static uint64_t *msr_field(struct CPUState *cpu, const struct msr *m)
{
    return (uint64_t *)((char *)&cpu->env + m->value);
}

/* Owner: the log; which unknown MSRs were reported already. Lossy when full, never reset. */
static uint32_t msr_reported[32];

static int unknown_msr(struct CPUState *cpu, const char *what, uint32_t index, uint64_t value)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(msr_reported) && msr_reported[i] != index; i++) {
        if (!msr_reported[i]) {
            msr_reported[i] = index;
            LOG(CPU, "unknown MSR: %s %#x value %#lx at %#lx", what, index, value, cpu->env.eip);
            break;
        }
    }
    return raise_fault(cpu, EXCP0D_GPF, 0);
}

static uint64_t guest_tsc(struct CPUState *cpu)
{
    return cpu_host_tsc(cpu) + cpu->env.tsc_offset;
}

static void set_tsc_offset(struct CPUState *cpu, uint64_t offset)
{
    bool same = !offset == !cpu->env.tsc_offset;

    cpu->env.tsc_offset = offset;
    if (!same) {
        cpu_tsc_offset_changed(cpu);
    }
}

static bool has_tsc_aux(void)
{
    return cpu_has_feature(CPUID_FEAT_RDTSCP) || cpu_has_feature(CPUID_FEAT_RDPID);
}

static int read_msr(struct CPUState *cpu, uint32_t index, uint64_t *value)
{
    const struct msr *m = msr_find(index);

    if (!m || (m->rule == MSR_TSC_AUX && !has_tsc_aux())) {
        return unknown_msr(cpu, "rdmsr", index, 0);
    }
    switch (m->rule) {
    case MSR_CONST:
    case MSR_CONST_WI:
        *value = m->value;
        return 0;
    case MSR_TSC:
        *value = guest_tsc(cpu);
        return 0;
    case MSR_FS_GS:
        cpu_sync_fsgs_base(cpu);
        *value = cpu->env.segs[m->value].base;
        return 0;
    case MSR_KERNEL_GS:
        cpu_sync_fsgs_base(cpu);
        *value = cpu->env.kernelgsbase;
        return 0;
    default:
        *value = *msr_field(cpu, m);
        return 0;
    }
}

static void set_base(struct CPUState *cpu, unsigned seg, uint64_t base)
{
    cpu_sync_fsgs_base(cpu); /* the other base must not be lost */
    cpu->env.segs[seg].base = base;
    if (seg == R_FS) {
        cpu_load_fs_base(cpu);
    } else {
        cpu_load_gs_base(cpu);
    }
}

/* SDM vol. 3 2.2.1. LME cannot change while paging is on, which it is; LMA is read-only and
 * ignored. */
static bool write_efer(struct CPUState *cpu, uint64_t value)
{
    uint64_t old = cpu->env.efer, valid = MSR_EFER_SCE | MSR_EFER_LME | MSR_EFER_LMA;

    valid |= cpu_has_feature(CPUID_FEAT_NX) ? MSR_EFER_NXE : 0;
    if ((value & ~valid) || ((value ^ old) & MSR_EFER_LME)) {
        return false;
    }
    cpu->env.efer = (value & ~(uint64_t)MSR_EFER_LMA) | (old & MSR_EFER_LMA);
    LOG(CPU, "efer %#lx -> %#lx at %#lx", old, cpu->env.efer, cpu->env.eip);
    if ((old ^ value) & MSR_EFER_NXE) {
        tlb_flush_guest(cpu, TLB_FLUSH_MODES);
    }
    return true;
}

/* Types 0, 1, 4-7 exist (SDM vol. 3 11.12.2). */
static bool pat_valid(uint64_t value)
{
    for (unsigned i = 0; i < 64; i += 8) {
        uint8_t type = (uint8_t)(value >> i);

        if (type > 7 || type == 2 || type == 3) {
            return false;
        }
    }
    return true;
}

/* Base, BSP and global enable; there is no local APIC behind it, nor x2APIC mode. */
static bool apicbase_valid(uint64_t value)
{
    return !(value >> cpu_maxphyaddr()) && !(value & 0x6ff);
}

/* Returns false for #GP. */
static bool write_known_msr(struct CPUState *cpu, const struct msr *m, uint64_t value)
{
    bool ok = true;

    switch (m->rule) {
    case MSR_CONST:
        return false;
    case MSR_CONST_WI:
        return true;
    case MSR_EFER:
        return write_efer(cpu, value);
    case MSR_TSC:
        set_tsc_offset(cpu, value - cpu_host_tsc(cpu));
        return true;
    case MSR_FS_GS:
        if (is_canonical(value)) {
            set_base(cpu, (unsigned)m->value, value);
            return true;
        }
        return false;
    case MSR_LOW32:
        ok = value >> 32 == 0;
        break;
    case MSR_TSC_AUX:
        ok = value >> 32 == 0 && has_tsc_aux();
        break;
    case MSR_CANON:
    case MSR_KERNEL_GS:
        ok = is_canonical(value);
        break;
    case MSR_PAT:
        ok = pat_valid(value);
        break;
    case MSR_APICBASE:
        ok = apicbase_valid(value);
        break;
    case MSR_PLAIN:
        break;
    }
    if (ok) {
        *msr_field(cpu, m) = value;
        if (m->rule == MSR_KERNEL_GS) {
            vcpu_publish_kernel_gs(cpu);
        }
    }
    return ok;
}

int sens_rdmsr(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;
    uint64_t value = 0;

    if (require_cpl0(cpu) || read_msr(cpu, (uint32_t)env->regs[R_ECX], &value)) {
        return SENS_RAISED;
    }
    env->regs[R_EAX] = (uint32_t)value;
    env->regs[R_EDX] = value >> 32;
    return SENS_NEXT;
}

int sens_wrmsr(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;
    uint32_t index = (uint32_t)env->regs[R_ECX];
    uint64_t value = env->regs[R_EDX] << 32 | (uint32_t)env->regs[R_EAX];
    const struct msr *m;

    if (require_cpl0(cpu)) {
        return SENS_RAISED;
    }
    m = msr_find(index);
    if (!m) {
        return unknown_msr(cpu, "wrmsr", index, value);
    }
    return write_known_msr(cpu, m, value) ? SENS_NEXT : raise_fault(cpu, EXCP0D_GPF, 0);
}

/* There is no performance counter whose number could be valid. */
int sens_rdpmc(struct CPUState *cpu, const struct insn *insn)
{
    return raise_fault(cpu, EXCP0D_GPF, 0);
}

int sens_rdtsc(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;
    uint64_t tsc;

    if (env->cpl && (env->cr[4] & CR4_TSD_MASK)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    tsc = guest_tsc(cpu);
    env->regs[R_EAX] = (uint32_t)tsc;
    env->regs[R_EDX] = tsc >> 32;
    return SENS_NEXT;
}

int sens_rdtscp(struct CPUState *cpu, const struct insn *insn)
{
    if (!cpu_has_feature(CPUID_FEAT_RDTSCP)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (sens_rdtsc(cpu, insn)) {
        return SENS_RAISED;
    }
    cpu->env.regs[R_ECX] = (uint32_t)cpu->env.tsc_aux;
    return SENS_NEXT;
}

int sens_rdpid(struct CPUState *cpu, const struct insn *insn)
{
    if (!cpu_has_feature(CPUID_FEAT_RDPID)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    cpu->env.regs[insn_rm4(insn)] = cpu->env.tsc_aux;
    return SENS_NEXT;
}

int sens_swapgs(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;
    uint64_t base;

    if (require_cpl0(cpu)) {
        return SENS_RAISED;
    }
    cpu_sync_fsgs_base(cpu);
    base = env->segs[R_GS].base;
    env->segs[R_GS].base = env->kernelgsbase;
    env->kernelgsbase = base;
    cpu_load_gs_base(cpu);
    vcpu_publish_kernel_gs(cpu);
    return SENS_NEXT;
}

static unsigned base_seg(const struct insn *insn)
{
    return insn->sens == SENS_RDFSBASE || insn->sens == SENS_WRFSBASE ? R_FS : R_GS;
}

/* rdfsbase, rdgsbase */
int sens_rdbase(struct CPUState *cpu, const struct insn *insn)
{
    if (!(cpu->env.cr[4] & CR4_FSGSBASE_MASK)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    cpu_sync_fsgs_base(cpu);
    gpr_write(cpu, insn_rm4(insn), insn->rex & 8 ? 8 : 4, cpu->env.segs[base_seg(insn)].base);
    return SENS_NEXT;
}

/* wrfsbase, wrgsbase */
int sens_wrbase(struct CPUState *cpu, const struct insn *insn)
{
    uint64_t base = cpu->env.regs[insn_rm4(insn)];

    if (!(cpu->env.cr[4] & CR4_FSGSBASE_MASK)) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (!(insn->rex & 8)) {
        base = (uint32_t)base;
    }
    if (!is_canonical(base)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    set_base(cpu, base_seg(insn), base);
    return SENS_NEXT;
}
