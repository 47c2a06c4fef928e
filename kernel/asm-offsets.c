/* SPDX-License-Identifier: MIT */
/* Compiled to assembly only; kernel/list.mk turns the "->" lines into build/gen/asm-offsets.h. */
#include "kernel/enter.h"
#include "kernel/native-priv.h"
#include "kernel/percpu.h"
#include "kernel/trap.h"

void asm_offsets(void);

#define DEFINE(name, value) __asm__ volatile("\n.ascii \"->" #name " %0\"" : : "i"(value))

void asm_offsets(void)
{
    DEFINE(TF_CR2, offsetof(struct trap_frame, cr2));
    DEFINE(TRAP_STUB_SIZE, TRAP_STUB_SIZE);

    DEFINE(VR_RIP, offsetof(struct vcpu_regs, rip));
    DEFINE(VR_RFLAGS, offsetof(struct vcpu_regs, rflags));
    DEFINE(VR_CR2, offsetof(struct vcpu_regs, cr2));
    DEFINE(VR_ERROR_CODE, offsetof(struct vcpu_regs, error_code));
    DEFINE(VR_VECTOR, offsetof(struct vcpu_regs, vector));
    DEFINE(USER_RFLAGS_ALLOWED, USER_RFLAGS_ALLOWED);
    DEFINE(USER_RFLAGS_FIXED, USER_RFLAGS_FIXED);
    DEFINE(CPU_ENTER_SYSCALL, CPU_ENTER_SYSCALL);

    DEFINE(PC_SCRATCH, offsetof(struct percpu, scratch));
    DEFINE(PC_RSP0, offsetof(struct percpu, tss.rsp0));
    DEFINE(SEL_USER_CS, SEL_USER_CS);
    DEFINE(SEL_USER_SS, SEL_USER_SS);

    DEFINE(NA_GPR, offsetof(struct native_args, start.gpr));
    DEFINE(NA_RIP, offsetof(struct native_args, start.rip));
    DEFINE(NA_RFLAGS, offsetof(struct native_args, start.rflags));
    DEFINE(NA_CR0, offsetof(struct native_args, start.cr0));
    DEFINE(NA_CR3, offsetof(struct native_args, start.cr3));
    DEFINE(NA_CR4, offsetof(struct native_args, start.cr4));
    DEFINE(NA_EFER, offsetof(struct native_args, start.efer));
    DEFINE(NA_CS, offsetof(struct native_args, start.cs));
    DEFINE(NA_DS, offsetof(struct native_args, start.ds));
    DEFINE(NA_GDTR, offsetof(struct native_args, gdtr));
    DEFINE(NA_IDTR, offsetof(struct native_args, idtr));
    DEFINE(NA_RANGE_COUNT, offsetof(struct native_args, range_count));
    DEFINE(NA_RANGES, offsetof(struct native_args, range));
    DEFINE(RANGE_BASE, offsetof(struct load_range, base));
    DEFINE(RANGE_LEN, offsetof(struct load_range, len));
    DEFINE(RANGE_SIZE, sizeof(struct load_range));
    DEFINE(NATIVE_WINDOW, NATIVE_WINDOW);
}
