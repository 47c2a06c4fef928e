/* SPDX-License-Identifier: MIT */
/*
 * Code for test-dbt.c: position-independent snippets, each ended by hlt (#GP at CPL 3). rsi points to 64 KiB of data, rsp into
 * a stack, the other registers hold pseudo-random values.
 */
    .macro CASE name
    .pushsection .data.rel.ro.cases, "aw"
    .quad 901f, 902f, 903f
    .popsection
901:
    .pushsection .rodata
903: .asciz "\name"
    .popsection
    .endm
    .macro END
    hlt
902:
    .endm

    .section .data.rel.ro.cases, "aw"
    .globl dbt_cases
dbt_cases:

    .text
CASE alu
    add %rax, %rbx
    adc $77, %ecx
    imul %rdx, %r8
    shl %cl, %r9
    setc (%rsi)
    lock xadd %r10, 8(%rsi)
    bsf %r11, %r12
    pushfq
    popq 16(%rsi)
    END

CASE loop_down
    mov $1000, %ecx
1:  add %rcx, %rax
    rol $3, %rax
    dec %ecx
    jnz 1b
    END

CASE loop_insns
    mov $50, %ecx
1:  inc %rax
    loop 1b
    mov $9, %ecx
2:  cmp $3, %ecx
    loopne 2b
    jrcxz 3f
    add $5, %rdx
3:  xor %ecx, %ecx
    jecxz 4f
    ud2
4:  mov $4, %ecx
5:  cmp %ecx, %ecx
    loope 5b
    END

CASE calls
    mov $20, %edi
    call fib
    jmp 9f
fib:
    cmp $2, %edi
    jb 1f
    push %rdi
    dec %edi
    call fib
    pop %rdi
    push %rax
    sub $2, %edi
    call fib
    pop %rdx
    add %rdx, %rax
    ret
1:  mov %edi, %eax
    ret
9:
    END

CASE ret_imm
    push $1
    push $2
    call 1f
    jmp 2f
1:  mov 8(%rsp), %rax
    ret $16
2:
    END

CASE indirect
    lea 1f(%rip), %rax
    call *%rax
    lea 2f(%rip), %rcx
    call *%rcx
    lea 3f(%rip), %rdx
    mov %rdx, (%rsi)
    call *(%rsi)
    mov %rdx, %r13
    call *%r13
    push %rdx
    call *(%rsp)
    pop %rdx
    mov $3, %ecx
    call *-24(%rsi,%rcx,8)
    lea 4f(%rip), %r15
    jmp *%r15
1:  add $1, %rbx
    ret
2:  sub $3, %rdx
    ret
3:  xor %rcx, %rbx
    ret
4:  stc
    jmp *5f(%rip)
    .balign 8
5:  .quad 0          /* filled in by the next snippet's writer: patched below */
    END

CASE rip_data
    mov 1f(%rip), %rax
    add 1f+8(%rip), %ebx
    cmpq $5, 1f(%rip)
    movb $0x5a, 1f+3(%rip)
    movdqu 1f(%rip), %xmm9
    vmovdqu 1f(%rip), %ymm10
    vpaddd 1f(%rip), %ymm10, %ymm11
    vpaddd 1f(%rip), %xmm2, %xmm12
    xchg %r14, 1f+16(%rip)
    lock cmpxchg %r9, 1f+24(%rip)
    push 1f(%rip)
    pop 1f+8(%rip)
    shll %cl, 1f(%rip)
    imul $1000, 1f(%rip), %r10
    mulq 1f+8(%rip)
    movzwl 1f(%rip), %r11d
    lea 1f(%rip), %rbp
    lea 1f(%rip), %r12d
    sub %rsp, %rbp
    xor %r12d, %r12d
    setc 1f(%rip)
    jmp 2f
    .balign 32
1:  .quad 0x1122334455667788, 0x99aabbccddeeff00, 3, 4
2:
    END

CASE strings
    mov %rsi, %rdi
    add $4096, %rdi
    mov $1000, %ecx
    mov $0x41, %al
    rep stosb
    lea 4096(%rsi), %rdi
    mov $300, %ecx
    repe scasb
    std
    lea 9000(%rsi), %rdi
    mov $64, %ecx
    rep movsq
    cld
    END

CASE flags_live
    xor %eax, %eax
    stc
    call 1f
    adc %rax, %rax
    cmp %rax, %rax
    lea 2f(%rip), %rdi
    jmp *%rdi
1:  ret
2:  sete %bl
    lahf
    seto %al
    END

CASE pushf_live
    mov $200, %edi
1:  add %rdi, %rax
    pushfq
    pop %rbx
    xor %rbx, %rcx
    stc
    pushfq
    adc %rdx, %rdx
    popfq
    sbb %r8, %r9
    dec %edi
    jnz 1b
    END

CASE fp
    fninit
    fldpi
    fld1
    faddp
    fstpt (%rsi)
    cvtsi2sd %rax, %xmm0
    sqrtsd %xmm0, %xmm1
    movsd %xmm1, 16(%rsi)
    vbroadcastsd %xmm1, %ymm3
    END

CASE fip
    fninit
    fldpi
    fnstenv (%rsi)
    fld1
    nop
    fnstenv 32(%rsi)
    fldl 64(%rsi)
    jmp 1f
1:  fnsave 128(%rsi)
    fnstenv 256(%rsi)
    fldz
    .byte 0x66 /* 16-bit image; clang has no mnemonic */
    fnstenv 288(%rsi)
    fldz
    fnstcw 304(%rsi)
    cpuid
    .byte 0x66
    fnsave 320(%rsi)
    END

CASE fip_far
    fninit
    faddl 0x8000(%rip)
    fnstenv (%rsi)
    fstpt 32(%rsi)
    fnstenv 64(%rsi)
    END

CASE fnsave_fault
    fninit
    fld1
    mov $0x7000, %edx
    fnsave (%rdx)
    END

CASE page_fault
    mov $0x1234, %ebx
    mov $0x7000, %edx
    add $1, %rbx
    mov %rbx, (%rdx)
    END

CASE divide
    mov $5, %ebx
    xor %edx, %edx
    xor %ecx, %ecx
    mov $7, %eax
    div %ecx
    END

CASE push_fault
    mov $0x7008, %esp
    lea 1f(%rip), %rcx
    mov $77, %edx
    call *%rcx
1:  nop
    END

CASE ret_fault
    mov $0x7008, %esp
    mov $1, %ecx
    ret
    END

CASE ud
    mov $3, %eax
    ud2
    END

CASE too_long
    mov $3, %eax
    .fill 15, 1, 0x66
    nop
    END

CASE smc_next
    movb $0x22, 1f+1(%rip)
1:  mov $0x11, %eax
    END

CASE smc_ahead
    movl $0x33333333, 1f+1(%rip)
    .fill 20, 1, 0x90
    nop
1:  mov $0x11, %ebx
    END

CASE smc_imm_loop
    mov $3000, %ecx
1:  mov $0, %eax
    incl 1b+1(%rip)
    dec %ecx
    jnz 1b
    END

CASE smc_self
    movb $0xb0, %al
    mov $2, %ecx
1:  movw $0xc0ff, 1b(%rip)
    dec %ecx
    jnz 1b
    END

CASE smc_rep_stos
    lea 1f(%rip), %rdi
    mov $40, %ecx
    mov $0x90, %al
1:  rep stosb
    .fill 60, 1, 0xf8
    END

CASE smc_call
    mov $200, %ebx
1:  call 3f
    add %rax, %rdx
    mov %ebx, 3f+1(%rip)
    dec %ebx
    jnz 1b
    jmp 4f
3:  mov $7, %eax
    ret
4:
    END

CASE smc_push
    lea 1f+8(%rip), %rax
    xchg %rax, %rsp
    mov $0x9090909090909090, %rcx
    push %rcx
1:  .fill 8, 1, 0xf9
    mov %rax, %rsp
    END

CASE data_beside
    mov $500, %ecx
1:  addq %rcx, 2f(%rip)
    dec %ecx
    jnz 1b
    mov 2f(%rip), %rax
    jmp 3f
    .balign 8
2:  .quad 0
3:
    END

    .section .data.rel.ro.cases, "aw"
    .quad 0, 0, 0
    .section .note.GNU-stack, "", @progbits
