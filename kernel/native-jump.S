/* SPDX-License-Identifier: MIT */
/*
 * The last instructions before a native guest. The trampoline is copied to low memory and needs
 * nothing of the kernel: what it moves may overwrite the kernel. Every range goes down by the same
 * distance, and ranges ascend, so nothing is overwritten before it has been moved.
 */
#include "asm-offsets.h"

#define MSR_EFER 0xc0000080

    .text
    .globl native_jump
native_jump:
    mov %rdx, %rbx
    mov %rdi, %cr3
    jmp *%rsi

    .section .rodata
    .globl native_trampoline
native_trampoline:
    cld
    mov NA_RANGE_COUNT(%rbx), %rdx
    lea NA_RANGES(%rbx), %rbp
    movabs $NATIVE_WINDOW, %rax
1:  test %rdx, %rdx
    jz 2f
    mov RANGE_BASE(%rbp), %rdi
    lea (%rax, %rdi), %rsi
    mov RANGE_LEN(%rbp), %rcx
    shr $3, %rcx
    rep movsq
    mov RANGE_LEN(%rbp), %rcx
    and $7, %ecx
    rep movsb
    add $RANGE_SIZE, %rbp
    dec %rdx
    jmp 1b

2:  mov NA_CR4(%rbx), %rax      /* PGE goes off: no translation of ours survives */
    mov %rax, %cr4
    mov NA_CR3(%rbx), %rax
    mov %rax, %cr3
    mov $MSR_EFER, %ecx
    mov NA_EFER(%rbx), %eax
    xor %edx, %edx
    wrmsr
    mov NA_CR0(%rbx), %rax
    mov %rax, %cr0
    lgdt NA_GDTR(%rbx)
    lidt NA_IDTR(%rbx)
    mov NA_DS(%rbx), %ax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov NA_GPR + 8 * 4(%rbx), %rsp
    pushq NA_RFLAGS(%rbx)
    popfq
    movzwl NA_CS(%rbx), %eax
    push %rax
    pushq NA_RIP(%rbx)
    mov NA_GPR + 8 * 0(%rbx), %rax
    mov NA_GPR + 8 * 1(%rbx), %rcx
    mov NA_GPR + 8 * 2(%rbx), %rdx
    mov NA_GPR + 8 * 5(%rbx), %rbp
    mov NA_GPR + 8 * 6(%rbx), %rsi
    mov NA_GPR + 8 * 7(%rbx), %rdi
    mov NA_GPR + 8 * 8(%rbx), %r8
    mov NA_GPR + 8 * 9(%rbx), %r9
    mov NA_GPR + 8 * 10(%rbx), %r10
    mov NA_GPR + 8 * 11(%rbx), %r11
    mov NA_GPR + 8 * 12(%rbx), %r12
    mov NA_GPR + 8 * 13(%rbx), %r13
    mov NA_GPR + 8 * 14(%rbx), %r14
    mov NA_GPR + 8 * 15(%rbx), %r15
    mov NA_GPR + 8 * 3(%rbx), %rbx
    lretq
    .globl native_trampoline_end
native_trampoline_end:

    .section .note.GNU-stack, "", @progbits
