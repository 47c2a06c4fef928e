/* SPDX-License-Identifier: MIT */
/* SYSCALL target: rax = rdi + rsi, one more in syscall_count. On entry rcx = user rip, r11 = user rflags, user rsp. */
    .text
    .globl syscall_entry
syscall_entry:
    mov %rsp, user_sp(%rip)
    lea syscall_stack_top(%rip), %rsp
    pushfq
    testl $0x40600, (%rsp) /* IF, DF, AC must have been cleared by FMASK */
    lea 8(%rsp), %rsp
    jnz 1f
    incq syscall_count(%rip)
1:  lea (%rdi, %rsi), %rax
    mov user_sp(%rip), %rsp
    sysretq

    .bss
    .balign 16
    .skip 4096
syscall_stack_top:
user_sp: .skip 8
    .globl syscall_count
syscall_count: .skip 8
    .section .note.GNU-stack, "", @progbits
