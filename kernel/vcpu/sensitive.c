/* SPDX-License-Identifier: MIT */
/* Dispatch of sensitive instructions to their handlers. What an instruction does is not here. */
#include "kernel/vcpu/internal.h"

#include "kernel/lib/log.h"

/* Instructions of features that CPUID hides. */
static int sens_ud(struct CPUState *cpu, const struct insn *insn)
{
    return raise_fault(cpu, EXCP06_ILLOP, 0);
}

static sens_fn *const handlers[SENS_COUNT] = {
    [SENS_CLI] = sens_cli,
    [SENS_STI] = sens_sti,
    [SENS_PUSHF] = sens_pushf,
    [SENS_POPF] = sens_popf,
    [SENS_HLT] = sens_hlt,
    [SENS_IN] = sens_in,
    [SENS_OUT] = sens_out,
    [SENS_INS] = sens_ins,
    [SENS_OUTS] = sens_outs,
    [SENS_INT3] = sens_int3,
    [SENS_INT1] = sens_int1,
    [SENS_INT_N] = sens_int_n,
    [SENS_IRET] = sens_iret,
    [SENS_RETF] = sens_retf,
    [SENS_CALL_FAR] = sens_call_far,
    [SENS_JMP_FAR] = sens_jmp_far,
    [SENS_SYSCALL] = sens_syscall,
    [SENS_SYSRET] = sens_sysret,
    [SENS_SYSENTER] = sens_sysenter,
    [SENS_SYSEXIT] = sens_sysexit,
    [SENS_MOV_FROM_SREG] = sens_mov_from_sreg,
    [SENS_MOV_TO_SREG] = sens_mov_to_sreg,
    [SENS_PUSH_SREG] = sens_push_sreg,
    [SENS_POP_SREG] = sens_pop_sreg,
    [SENS_LSS] = sens_lss,
    [SENS_LFS] = sens_lfs,
    [SENS_LGS] = sens_lgs,
    [SENS_FNSTENV] = sens_x87_store,
    [SENS_FNSAVE] = sens_x87_store,
    [SENS_SGDT] = sens_sgdt,
    [SENS_SIDT] = sens_sidt,
    [SENS_SLDT] = sens_sldt,
    [SENS_STR] = sens_str,
    [SENS_SMSW] = sens_smsw,
    [SENS_LGDT] = sens_lgdt,
    [SENS_LIDT] = sens_lidt,
    [SENS_LLDT] = sens_lldt,
    [SENS_LTR] = sens_ltr,
    [SENS_LMSW] = sens_lmsw,
    [SENS_CLTS] = sens_clts,
    [SENS_LAR] = sens_lar,
    [SENS_LSL] = sens_lsl,
    [SENS_VERR] = sens_verr,
    [SENS_VERW] = sens_verw,
    [SENS_MOV_FROM_CR] = sens_mov_from_cr,
    [SENS_MOV_TO_CR] = sens_mov_to_cr,
    [SENS_MOV_FROM_DR] = sens_mov_from_dr,
    [SENS_MOV_TO_DR] = sens_mov_to_dr,
    [SENS_INVLPG] = sens_invlpg,
    [SENS_INVPCID] = sens_ud,
    [SENS_INVD] = sens_wbinvd,
    [SENS_WBINVD] = sens_wbinvd,
    [SENS_RDMSR] = sens_rdmsr,
    [SENS_WRMSR] = sens_wrmsr,
    [SENS_RDPMC] = sens_rdpmc,
    [SENS_CPUID] = sens_cpuid,
    [SENS_RDTSC] = sens_rdtsc,
    [SENS_RDTSCP] = sens_rdtscp,
    [SENS_RDPID] = sens_rdpid,
    [SENS_SWAPGS] = sens_swapgs,
    [SENS_XSETBV] = sens_xsetbv,
    [SENS_XGETBV] = sens_xgetbv,
    [SENS_CLAC] = sens_ud,
    [SENS_STAC] = sens_ud,
    [SENS_MONITOR] = sens_ud,
    [SENS_MWAIT] = sens_ud,
    [SENS_RSM] = sens_ud,
    [SENS_XSAVES] = sens_ud,
    [SENS_XRSTORS] = sens_ud,
    [SENS_RDPKRU] = sens_ud,
    [SENS_WRPKRU] = sens_ud,
    [SENS_RDFSBASE] = sens_rdbase,
    [SENS_RDGSBASE] = sens_rdbase,
    [SENS_WRFSBASE] = sens_wrbase,
    [SENS_WRGSBASE] = sens_wrbase,
    [SENS_VMCALL] = sens_ud,
    [SENS_VMMCALL] = sens_ud,
    [SENS_XBEGIN] = sens_ud,
    [SENS_XEND] = sens_ud,
    [SENS_XABORT] = sens_ud,
    [SENS_XTEST] = sens_ud,
};

/* Of a feature that the guest's CPU does not have: not what any guest needs, but what user code may
 * try, so it must not end the run. */
static int absent(struct CPUState *cpu, const struct insn *insn, const uint8_t *bytes)
{
    char text[80];

    insn_format(insn, bytes, cpu->env.eip, text, sizeof(text));
    LOG(CPU, "not in this CPU, #UD: %s at %#lx", text, cpu->env.eip);
    return raise_fault(cpu, EXCP06_ILLOP, 0);
}

int helper_sensitive(struct CPUState *cpu, const struct insn *insn, const uint8_t *bytes)
{
    sens_fn *handler = insn->sens < SENS_COUNT ? handlers[insn->sens] : NULL;

    if (!handler) {
        return absent(cpu, insn, bytes);
    }
    cpu->env.inhibit_irq =
        0; /* this instruction was the one in the shadow; sti and mov ss set it anew */
    switch ((enum sens_result)handler(cpu, insn)) {
    case SENS_RAISED:
        return 1;
    case SENS_NEXT:
        cpu->env.eip = insn_next(cpu, insn);
        return 0;
    case SENS_JUMPED:
        return 0;
    }
    return 0;
}
