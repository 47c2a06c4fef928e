/* SPDX-License-Identifier: MIT */
/* The state in which a payload or Linux is entered (docs/guest-cpu.md, "At entry"). The loader adds
 * rip, rsp, cr3, ... */
#include "kernel/vcpu/internal.h"

#include "kernel/lib/string.h"

#define ENTRY_CS 0x10 /* Linux: __BOOT_CS, __BOOT_DS */
#define ENTRY_DS 0x18

static void reset_segments(struct CPUState *cpu)
{
    struct CPUX86State *env = &cpu->env;

    cpu_x86_load_seg_cache(cpu, R_CS, ENTRY_CS, 0, 0xffffffff, FLAT_CODE64(0));
    cpu_x86_load_seg_cache(cpu, R_SS, ENTRY_DS, 0, 0xffffffff, FLAT_DATA(0));
    cpu_x86_load_seg_cache(cpu, R_DS, ENTRY_DS, 0, 0xffffffff, FLAT_DATA(0));
    cpu_x86_load_seg_cache(cpu, R_ES, ENTRY_DS, 0, 0xffffffff, FLAT_DATA(0));
    cpu_x86_load_seg_cache(cpu, R_FS, 0, 0, 0, 0);
    cpu_x86_load_seg_cache(cpu, R_GS, 0, 0, 0, 0);
    env->tr.limit = 0xffff;
    env->tr.flags = DESC_P_MASK | SYS_TSS_BUSY << DESC_TYPE_SHIFT;
}

void cpu_reset(struct CPUState *cpu)
{
    struct CPUX86State *env = &cpu->env;

    if (!cpu_maxphyaddr()) {
        cpuid_init(); /* once: later the host's CR4.OSXSAVE is the guest's */
    }
    memset(env, 0, sizeof(*env));
    env->eflags = 2;
    env->cr[0] = CR0_PE_MASK | CR0_MP_MASK | CR0_ET_MASK | CR0_NE_MASK | CR0_WP_MASK | CR0_PG_MASK;
    env->cr[4] = CR4_PAE_MASK | CR4_OSFXSR_MASK | CR4_OSXMMEXCPT_MASK;
    env->efer = MSR_EFER_LME | MSR_EFER_LMA | (cpu_has_feature(CPUID_FEAT_NX) ? MSR_EFER_NXE : 0);
    env->xcr0 = XCR0_X87;
    env->dr[6] = DR6_FIXED_1;
    env->dr[7] = DR7_FIXED_1;
    env->pat = PAT_RESET;
    env->apicbase = 0xfee00100; /* BSP, APIC globally disabled */
    env->misc_enable = 0x1801;  /* fast strings; no BTS, no PEBS */
    cpu->exception_index = EXCP_NONE;
    cpu->old_exception = EXCP_NONE;
    cpu->error_code = 0;
    cpu->exception_is_int = false;
    cpu->exit_request = CPU_RUNNING;
    cpu->exit_code = 0;
    cpu->exit_msg[0] = 0;
    cpu->cflags_next_tb = (uint32_t)-1;
    reset_segments(cpu);
    vcpu_publish_kernel_gs(cpu);
    vcpu_publish_cr2(cpu);
    cpu_apply_cr0_cr4(cpu);
}
