/* SPDX-License-Identifier: MIT */
/*
 * host_enter(regs): load guest FP state, the 16 GPRs and flags, jump into the code cache. A signal handler comes back by
 * resuming at host_leave with the host's rsp. Only one guest CPU, so the context is static.
 */
    .data
    .globl host_rsp
host_rsp: .quad 0
enter_target: .quad 0

    .text
    .globl host_enter, host_leave
/* rdi = uint64_t regs[18]: 16 GPRs in SDM order, rflags, target. rsi = XSAVE area. */
host_enter:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    push %rsi
    mov %rsp, host_rsp(%rip)
    mov $-1, %eax
    mov $-1, %edx
    xrstor64 (%rsi)
    mov 17*8(%rdi), %rax
    mov %rax, enter_target(%rip)
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
    pushq 16*8(%rdi)
    mov 4*8(%rdi), %rsp
    mov 7*8(%rdi), %rdi
    /* rflags from the host stack, without the guest's */
    xchg %rsp, host_rsp(%rip)
    sub $8, %rsp
    popfq
    xchg %rsp, host_rsp(%rip)
    jmp *enter_target(%rip)

host_leave:
    mov host_rsp(%rip), %rsp
    mov (%rsp), %rsi
    mov $-1, %eax
    mov $-1, %edx
    xsave64 (%rsi)
    cld
    fninit
    vzeroupper
    pushq $0x1f80
    ldmxcsr (%rsp)
    pop %rax
    pop %rsi
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret

    .section .note.GNU-stack, "", @progbits
