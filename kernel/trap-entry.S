/* SPDX-License-Identifier: MIT */
/*
 * The 256 trap stubs. One frame for all vectors (struct trap_frame, kernel/trap.h), offsets from
 * its low end:
 *
 *     +184 ss          \
 *     +176 rsp          |
 *     +168 rflags       | pushed by the CPU, which aligned rsp to 16 before
 *     +160 cs           |
 *     +152 rip         /
 *     +144 error code    by the CPU, or 0 by the stub
 *     +136 vector        by the stub
 *     +128 cr2
 *       +0 to +127    rax rcx rdx rbx (rsp) rbp rsi rdi r8 ... r15, in the order of their numbers
 *
 * From ring 3 all vectors but those with a stack of their own (NMI, #DF, #MC) go to user_trap in
 * enter.S with the part down to the vector. The path here never touches GS: ring 0 may be
 * interrupted by NMI or #MC with either GS base loaded.
 */
#include "asm-offsets.h"

#define VECTOR_NMI 2
#define VECTOR_DF  8
#define VECTOR_MC  18
/* These push an error code: #DF #TS #NP #SS #GP #PF #AC #CP (SDM 3A table 6-1), AMD's #VC #SX. */
#define ERROR_CODE_VECTORS                                                                         \
    (1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30)
#define OWN_STACK_VECTORS  (1 << VECTOR_NMI | 1 << VECTOR_DF | 1 << VECTOR_MC)

    .text
    .balign 16
    .globl trap_stubs           /* stub n is at trap_stubs + n * TRAP_STUB_SIZE */
trap_stubs:
    .set vector, 0
    .rept 256
    .balign TRAP_STUB_SIZE
    .if vector >= 32 || !((ERROR_CODE_VECTORS >> (vector & 31)) & 1)
    pushq $0
    .endif
    pushq $vector
    .if vector < 32 && ((OWN_STACK_VECTORS >> (vector & 31)) & 1)
    jmp trap_common
    .else
    jmp trap_entry
    .endif
    .set vector, vector + 1
    .endr
    .globl trap_stubs_last
    .balign TRAP_STUB_SIZE
trap_stubs_last:

trap_entry:
    testb $3, 24(%rsp)          /* cs */
    jnz user_trap
trap_common:
    sub $8, %rsp                /* cr2 */
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
    push %rsp                   /* fills the slot */
    push %rbx
    push %rdx
    push %rcx
    push %rax
    mov %cr2, %rax
    mov %rax, TF_CR2(%rsp)
    cld
    mov %rsp, %rdi
    call trap_dispatch
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
    add $24, %rsp               /* cr2, vector, error code */
    iretq

    .section .note.GNU-stack, "", @progbits
