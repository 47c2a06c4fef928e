/* SPDX-License-Identifier: MIT */
/*
 * cpu_enter(): ring 3 and back. Ring 3 traps onto the very stack that cpu_enter() left:
 *
 *     ...            caller's frame
 *     return address
 *     rbp rbx r12 r13 r14 r15
 *     -              alignment
 *     r              struct vcpu_regs *
 *     gpr            uint64_t *                  <- tss.rsp0, 16-byte aligned
 *     ss rsp rflags cs rip                          CPU
 *     error code, vector                            trap stub
 *     rdi                                           user_trap
 *
 * so both ways out find r there, fill it, and return to cpu_enter()'s caller. GS: swapped exactly
 * once on the way in, just before iretq, and once on each way out, before anything else; nothing
 * between can fault.
 */
#include "asm-offsets.h"

#define GPR(n) (8 * (n))

    .text
    .globl cpu_enter
    .balign 16
cpu_enter:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    push %rax
    push %rdi
    push %rsi
    mov %rsp, %gs:PC_RSP0
    pushq $SEL_USER_SS
    pushq GPR(4)(%rsi)
    mov VR_RFLAGS(%rdi), %rax
    and $USER_RFLAGS_ALLOWED, %eax
    or $USER_RFLAGS_FIXED, %eax
    push %rax
    pushq $SEL_USER_CS
    pushq VR_RIP(%rdi)
    mov %rsi, %rdi
    mov GPR(0)(%rdi), %rax
    mov GPR(1)(%rdi), %rcx
    mov GPR(2)(%rdi), %rdx
    mov GPR(3)(%rdi), %rbx
    mov GPR(5)(%rdi), %rbp
    mov GPR(6)(%rdi), %rsi
    mov GPR(8)(%rdi), %r8
    mov GPR(9)(%rdi), %r9
    mov GPR(10)(%rdi), %r10
    mov GPR(11)(%rdi), %r11
    mov GPR(12)(%rdi), %r12
    mov GPR(13)(%rdi), %r13
    mov GPR(14)(%rdi), %r14
    mov GPR(15)(%rdi), %r15
    mov GPR(7)(%rdi), %rdi
    swapgs
    iretq

/* All but rsp and rdi to *rdi; rdi itself was pushed and is popped. Clobbers rax. */
.macro SAVE_GPRS
    mov %rax, GPR(0)(%rdi)
    mov %rcx, GPR(1)(%rdi)
    mov %rdx, GPR(2)(%rdi)
    mov %rbx, GPR(3)(%rdi)
    mov %rbp, GPR(5)(%rdi)
    mov %rsi, GPR(6)(%rdi)
    mov %r8, GPR(8)(%rdi)
    mov %r9, GPR(9)(%rdi)
    mov %r10, GPR(10)(%rdi)
    mov %r11, GPR(11)(%rdi)
    mov %r12, GPR(12)(%rdi)
    mov %r13, GPR(13)(%rdi)
    mov %r14, GPR(14)(%rdi)
    mov %r15, GPR(15)(%rdi)
    popq GPR(7)(%rdi)
.endm

    .globl user_trap            /* from the stubs of trap-entry.S */
    .balign 16
user_trap:
    swapgs
    push %rdi
    mov 64(%rsp), %rdi          /* gpr */
    SAVE_GPRS
    mov 64(%rsp), %rsi          /* r */
    popq VR_VECTOR(%rsi)
    popq VR_ERROR_CODE(%rsi)
    popq VR_RIP(%rsi)
    add $8, %rsp                /* cs */
    popq VR_RFLAGS(%rsi)
    popq GPR(4)(%rdi)
    add $8, %rsp                /* ss */
    mov %cr2, %rax
    mov %rax, VR_CR2(%rsi)
    mov VR_VECTOR(%rsi), %eax
    jmp leave

    .globl syscall_entry        /* rcx = rip, r11 = rflags; FMASK has cleared IF, TF, DF and AC */
    .balign 16
syscall_entry:
    swapgs
    mov %rsp, %gs:PC_SCRATCH
    mov %gs:PC_RSP0, %rsp
    push %rdi
    mov 8(%rsp), %rdi           /* gpr */
    SAVE_GPRS
    mov 8(%rsp), %rsi           /* r */
    mov %rcx, VR_RIP(%rsi)
    mov %r11, VR_RFLAGS(%rsi)
    mov %gs:PC_SCRATCH, %rax
    mov %rax, GPR(4)(%rdi)
    mov $CPU_ENTER_SYSCALL, %eax
    mov %rax, VR_VECTOR(%rsi)

leave:
    cld
    add $24, %rsp               /* gpr, r, alignment */
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret

    .section .note.GNU-stack, "", @progbits
