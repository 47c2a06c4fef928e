/* SPDX-License-Identifier: MIT */
/*
 * One function for each form of store. On entry rdi = value, rsi = address of the target. Each ends in the same block as the store with
 *     movabs $0x1111111111111111, %rax; ret      the target is this immediate, 16-byte aligned
 * and returns the immediate that was executed. rcx, rdx, r8-r11 and xmm0 may be used.
 */
    .macro FORM name
    .balign 64
    .globl form_\name
form_\name:
    .endm
    .macro TARGET
    .balign 16, 0x90
    .fill 14, 1, 0x90
    .byte 0x48, 0xb8
    .quad 0x1111111111111111
    ret
    .fill 31, 1, 0xcc
    .endm

    .data /* copied before it is run */
    .balign 4096

    FORM mov8
    mov %dil, (%rsi)
    TARGET
    FORM mov16
    mov %di, (%rsi)
    TARGET
    FORM mov32
    mov %edi, (%rsi)
    TARGET
    FORM mov64
    mov %rdi, (%rsi)
    TARGET
    FORM mov64_sib
    mov $3, %ecx
    lea -24(%rsi), %rdx
    mov %rdi, (%rdx, %rcx, 8)
    TARGET
    FORM mov8_imm
    movb $0x5a, (%rsi)
    TARGET
    FORM movnti
    movnti %rdi, (%rsi)
    TARGET
    FORM movbe
    mov %rdi, %rcx
    bswap %rcx
    movbe %rcx, (%rsi)
    TARGET
    FORM stosb
    mov %dil, %al
    mov %rsi, %rdi
    stosb
    TARGET
    FORM stosq
    mov %rdi, %rax
    mov %rsi, %rdi
    stosq
    TARGET
    FORM rep_stosb
    mov %dil, %al
    mov %rsi, %rdi
    mov $8, %ecx
    rep stosb
    TARGET
    FORM movsq
    push %rdi
    mov %rsi, %rdi
    mov %rsp, %rsi
    movsq
    pop %rdi
    TARGET
    FORM rep_movsb
    push %rdi
    mov %rsi, %rdi
    mov %rsp, %rsi
    mov $8, %ecx
    rep movsb
    pop %rdi
    TARGET
    FORM push
    mov %rsp, %r9
    lea 8(%rsi), %rsp
    push %rdi
    mov %r9, %rsp
    TARGET
    FORM pop_mem
    push %rdi
    pop (%rsi)
    TARGET
    FORM xchg
    mov %rdi, %rcx
    xchg %rcx, (%rsi)
    TARGET
    FORM xadd
    mov %rdi, %rcx
    lock xadd %rcx, (%rsi)
    TARGET
    FORM add
    add %rdi, (%rsi)
    TARGET
    FORM lock_add
    lock add %rdi, (%rsi)
    TARGET
    FORM lock_sub
    lock sub %rdi, (%rsi)
    TARGET
    FORM xor
    xor %rdi, (%rsi)
    TARGET
    FORM inc
    incq (%rsi)
    TARGET
    FORM neg
    lock negq (%rsi)
    TARGET
    FORM not
    notq (%rsi)
    TARGET
    FORM shl
    shlq $3, (%rsi)
    TARGET
    FORM shld
    mov $5, %ecx
    shld %cl, %rdi, (%rsi)
    TARGET
    FORM cmpxchg
    mov (%rsi), %rax
    lock cmpxchg %rdi, (%rsi)
    TARGET
    FORM cmpxchg_fail
    mov (%rsi), %rax
    inc %rax
    lock cmpxchg %rdi, (%rsi)
    TARGET
    FORM cmpxchg8b
    push %rbx
    mov (%rsi), %eax
    mov 4(%rsi), %edx
    mov %edi, %ebx
    mov %rdi, %rcx
    shr $32, %rcx
    clc /* with flags not yet computed, QEMU 7.2's cmpxchg8b leaves them wrong for a trap right behind it */
    lock cmpxchg8b (%rsi)
    pop %rbx
    TARGET
    FORM cmpxchg16b
    push %rbx
    mov (%rsi), %rax
    mov 8(%rsi), %rdx
    mov %rdi, %rbx
    mov %rdx, %rcx
    lock cmpxchg16b (%rsi)
    pop %rbx
    TARGET
    FORM cmpxchg8b_fail
    push %rbx
    mov (%rsi), %eax
    mov 4(%rsi), %edx
    inc %edx
    mov %edi, %ebx
    mov %edi, %ecx
    clc /* as above */
    lock cmpxchg8b (%rsi)
    pop %rbx
    TARGET
    FORM cmpxchg16b_fail
    push %rbx
    mov (%rsi), %rax
    mov 8(%rsi), %rdx
    inc %rdx
    mov %rdi, %rbx
    mov %rdi, %rcx
    lock cmpxchg16b (%rsi)
    pop %rbx
    TARGET
    FORM setz
    xor %ecx, %ecx
    setz (%rsi)
    TARGET
    FORM seta /* QEMU 7.2's TCG spoils flags that it has yet to compute if the store faults */
    mov $0x7fffffff, %ecx
    shl $3, %ecx
    seta (%rsi)
    TARGET
    FORM bts_far /* the bit lies 64 bytes beyond the operand's address */
    lea -64(%rsi), %rcx
    mov %edi, %edx
    and $63, %edx
    add $512, %edx
    bts %rdx, (%rcx)
    TARGET
    FORM movq_xmm
    movq %rdi, %xmm0
    movq %xmm0, (%rsi)
    TARGET
    FORM movups
    movq %rdi, %xmm0
    movhps 8(%rsi), %xmm0
    movups %xmm0, (%rsi)
    TARGET
    FORM movaps
    movq %rdi, %xmm0
    movhps 8(%rsi), %xmm0
    movaps %xmm0, (%rsi)
    TARGET
    FORM movntdq
    movq %rdi, %xmm0
    movhps 8(%rsi), %xmm0
    movntdq %xmm0, (%rsi)
    TARGET
    FORM maskmovdqu /* the low 8 bytes only */
    movq %rdi, %xmm0
    mov $-1, %rcx
    movq %rcx, %xmm1
    mov %rsi, %rdi
    maskmovdqu %xmm1, %xmm0
    TARGET
    FORM movmmx
    movq %rdi, %mm0
    movq %mm0, (%rsi)
    emms
    TARGET
    FORM fistp
    push %rdi
    fildq (%rsp)
    fistpq (%rsi)
    pop %rdi
    TARGET
    FORM pextrq
    movq %rdi, %xmm0
    pextrq $0, %xmm0, (%rsi)
    TARGET
    FORM vmovdqu
    movq %rdi, %xmm0
    movhps 8(%rsi), %xmm0
    movdqu 16(%rsi), %xmm1
    vinserti128 $1, %xmm1, %ymm0, %ymm0
    vmovdqu %ymm0, (%rsi)
    vzeroupper
    TARGET
    FORM call /* the return address is the new immediate */
    mov %rsp, %r9
    lea 8(%rsi), %rsp
    call 1f
1:  mov %r9, %rsp
    TARGET
    FORM vmaskmovps /* the low two elements; the others are the instructions behind */
    movq %rdi, %xmm0
    mov $-1, %rcx
    movq %rcx, %xmm1
    vmaskmovps %xmm0, %xmm1, (%rsi)
    TARGET
    FORM fstpl /* between 1 and 2 */
    mov $0x3ff, %ecx
    shl $12, %rdi
    shrd $12, %rcx, %rdi
    push %rdi
    fldl (%rsp)
    fstpl (%rsi)
    pop %rdi
    TARGET
    FORM fnstcw
    and $0xc00, %edi
    or $0x37f, %edi
    push %rdi
    fldcw (%rsp)
    fnstcw (%rsi)
    pop %rdi
    fninit
    TARGET
    FORM stmxcsr
    and $0x603f, %edi
    or $0x1f80, %edi
    push %rdi
    ldmxcsr (%rsp)
    stmxcsr (%rsi)
    pop %rdi
    TARGET
    FORM push_mem
    mov %rsp, %r9
    push %rdi
    mov %rsp, %rcx
    lea 8(%rsi), %rsp
    push (%rcx)
    mov %r9, %rsp
    TARGET
    FORM enter
    mov %rsp, %r9
    mov %rbp, %r8
    mov %rdi, %rbp
    lea 8(%rsi), %rsp
    enter $0, $0
    mov %r9, %rsp
    mov %r8, %rbp
    TARGET
    FORM pushfq
    and $0x8d5, %edi
    mov %rsp, %r9
    push %rdi
    popfq
    lea 8(%rsi), %rsp
    pushfq
    mov %r9, %rsp
    TARGET
    FORM call_mem
    mov %rsp, %r9
    lea 1f(%rip), %rcx
    push %rcx
    mov %rsp, %rdx
    lea 8(%rsi), %rsp
    call *(%rdx)
1:  mov %r9, %rsp
    TARGET
    FORM call_far /* m16:32: the frame is the selector and the return address, 4 bytes each */
    mov %rsp, %r9
    mov %cs, %ecx
    shl $32, %rcx
    lea 1f(%rip), %rdx
    or %rdx, %rcx
    push %rcx
    mov %rsp, %rdx
    lea 8(%rsi), %rsp
    lcall *(%rdx)
1:  mov %r9, %rsp
    TARGET
    FORM str /* two bytes that are always the same, so each time elsewhere in the immediate; so are the next three */
    and $6, %edi
    str (%rsi, %rdi)
    TARGET
    FORM sldt
    and $6, %edi
    sldt (%rsi, %rdi)
    TARGET
    FORM smsw
    and $6, %edi
    smsw (%rsi, %rdi)
    TARGET
    FORM mov_sreg
    and $6, %edi
    mov %cs, (%rsi, %rdi)
    TARGET
    FORM sidt /* the limit, 0xb848, is the opcode in front of the immediate; the base is the immediate */
    shl $16, %rdi
    sar $16, %rdi
    push %rdi
    pushw $0xb848
    lidt (%rsp)
    sidt -2(%rsi)
    add $10, %rsp
    TARGET
    FORM sgdt
    shl $16, %rdi
    sar $16, %rdi
    push %rdi
    pushw $0xb848
    lgdt (%rsp)
    sgdt -2(%rsi)
    add $10, %rsp
    TARGET
    FORM rip_relative
    mov %rdi, 1f(%rip)
    .balign 16, 0x90
    .fill 14, 1, 0x90
    .byte 0x48, 0xb8
1:  .quad 0x1111111111111111
    ret
    .fill 31, 1, 0xcc

    .globl forms_end
forms_end:
    .section .note.GNU-stack, "", @progbits
