/* SPDX-License-Identifier: MIT */
/*
 * Trap stubs and cpu_run. One frame layout for all vectors, struct trap_frame (trap.h):
 *
 *   high   ss rsp rflags cs rip   by the CPU
 *          error                  by the CPU, or 0
 *          vector
 *   low    r15 ... rcx rax        gpr[15] ... gpr[0]
 */
/* Vectors whose exception pushes an error code: 8, 10-14, 17, 21, 29, 30 (SDM 3A 6.13, APM 2 8.2). */
#define HAS_ERROR_CODE 0x60227d00

    .macro push_gprs
    push %r15
    push %r14
    push %r13
    push %r12
    push %r11
    push %r10
    push %r9
    push %r8
    push %rdi
    push %rsi
    push %rbp
    push %rsp
    push %rbx
    push %rdx
    push %rcx
    push %rax
    .endm

    .text
    .set vector, 0
    .align 16
    .globl trap_stubs
trap_stubs: /* 16 bytes each */
    .rept 256
    .align 16
    .set has_error_code, 0
    .if vector < 32
    .set has_error_code, (HAS_ERROR_CODE >> vector) & 1
    .endif
    .if !has_error_code
    push $0
    .endif
    push $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

trap_common:
    push_gprs
    cld
    mov %rsp, %rdi
    mov %rsp, %rbx
    and $-16, %rsp
    call trap_dispatch
    mov %rbx, %rsp
    pop %rax
    pop %rcx
    pop %rdx
    pop %rbx
    add $8, %rsp
    pop %rbp
    pop %rsi
    pop %rdi
    pop %r8
    pop %r9
    pop %r10
    pop %r11
    pop %r12
    pop %r13
    pop %r14
    pop %r15
    add $16, %rsp
    iretq

/* void cpu_run_enter(struct cpu_state *s): offsets checked in trap.c. */
    .globl cpu_run_enter
cpu_run_enter:
    pushfq
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, cpu_run_sp(%rip)
    pushq 19*8(%rdi) /* ss */
    pushq 4*8(%rdi)  /* rsp */
    pushq 18*8(%rdi) /* rflags */
    pushq 17*8(%rdi) /* cs */
    pushq 16*8(%rdi) /* rip */
    mov 0*8(%rdi), %rax
    mov 1*8(%rdi), %rcx
    mov 2*8(%rdi), %rdx
    mov 3*8(%rdi), %rbx
    mov 5*8(%rdi), %rbp
    mov 6*8(%rdi), %rsi
    mov 8*8(%rdi), %r8
    mov 9*8(%rdi), %r9
    mov 10*8(%rdi), %r10
    mov 11*8(%rdi), %r11
    mov 12*8(%rdi), %r12
    mov 13*8(%rdi), %r13
    mov 14*8(%rdi), %r14
    mov 15*8(%rdi), %r15
    mov 7*8(%rdi), %rdi
    iretq

/* Leave a trap for the caller of cpu_run_enter, on its stack. SS may be null after a trap from CPL 3. */
    .globl cpu_run_leave
cpu_run_leave:
    mov cpu_run_sp(%rip), %rsp
    mov $0x10, %eax
    mov %eax, %ss
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    popfq
    ret

/* void reload_segments(void): after lgdt */
    .globl reload_segments
reload_segments:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    pop %rax
    pushq $0x08
    push %rax
    lretq

    .bss
    .align 8
cpu_run_sp: .skip 8
    .section .note.GNU-stack, "", @progbits
