/* SPDX-License-Identifier: MIT */
/* Control transfers that no compiler makes. */
    .text
/* (fn, arg): an indirect call as Linux's retpoline does it */
    .globl retpoline_call
retpoline_call:
    mov %rdi, %rax
    mov %rsi, %rdi
    call 3f
    ret
3:  call 2f
1:  pause
    lfence
    jmp 1b
2:  mov %rax, (%rsp)
    ret

/* (fn, arg): push the target and return to it */
    .globl push_ret
push_ret:
    mov %rdi, %rax
    mov %rsi, %rdi
    lea 1f(%rip), %rcx
    push %rcx
    push %rax
    ret
1:  ret

/* the callee drops its own return address: control goes to the caller's caller */
    .globl skip_return
skip_return:
    lea 1(%rdi), %rax
    call 1f
    mov $-1, %rax
    ret
1:  add $8, %rsp
    ret

    .globl call_pop
call_pop:
    lea 1f(%rip), %rax
    mov %rax, call_pop_address(%rip)
    call 1f
1:  pop %rax
    ret

    .globl ret_imm
ret_imm:
    push %rbp
    mov %rsp, %rbp
    push %rsi
    push %rsi
    call 1f
    cmp %rsp, %rbp
    jne 2f
    pop %rbp
    ret
2:  mov $-1, %rax
    mov %rbp, %rsp
    pop %rbp
    ret
1:  lea (%rdi, %rsi), %rax
    ret $16

/* (n, stack): fill n slots with the address of an increment, return through all of them */
    .globl ret_chain
ret_chain:
    mov %rsp, %rdx
    lea 1f(%rip), %rax
    lea 2f(%rip), %r8
    mov %rdi, %rcx
    mov %rsi, %r9
0:  mov %rax, (%r9)
    add $8, %r9
    loop 0b
    mov %r8, (%r9)
    xor %eax, %eax
    mov %rsi, %rsp
    ret
1:  inc %rax
    ret
2:  mov %rdx, %rsp
    ret

    .globl far_return
far_return:
    lea 3(%rdi), %rax
    mov %cs, %ecx
    push %rcx
    lea 1f(%rip), %rcx
    push %rcx
    lretq
1:  ret

/* the callee changes its return address in memory */
    .globl return_to_changed
return_to_changed:
    call 1f
    mov $-1, %rax
    ret
2:  lea 100(%rdi), %rax
    ret
1:  lea 2b(%rip), %rcx
    mov %rcx, (%rsp)
    ret

    .globl context_save
context_save:
    mov %rbx, (%rdi)
    mov %rbp, 8(%rdi)
    mov %r12, 16(%rdi)
    mov %r13, 24(%rdi)
    mov %r14, 32(%rdi)
    mov %r15, 40(%rdi)
    lea 8(%rsp), %rax
    mov %rax, 48(%rdi)
    mov (%rsp), %rax
    mov %rax, 56(%rdi)
    xor %eax, %eax
    ret

    .globl context_jump
context_jump:
    mov (%rdi), %rbx
    mov 8(%rdi), %rbp
    mov 16(%rdi), %r12
    mov 24(%rdi), %r13
    mov 32(%rdi), %r14
    mov 40(%rdi), %r15
    mov 48(%rdi), %rsp
    mov %rsi, %rax
    jmp *56(%rdi)

/* (save_sp, load_sp) */
    .globl context_switch
context_switch:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .section .note.GNU-stack, "", @progbits
