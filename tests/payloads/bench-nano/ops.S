/* SPDX-License-Identifier: MIT */
/*
 * The measured instruction sequences: void op_<name>(uint64_t n) executes its sequence n * OP_UNROLL times (ops.h), with two
 * instructions of loop every OP_UNROLL times; and the shortest possible handlers. Nothing is checked here.
 */
#include "tests/payloads/bench-nano/ops.h"

    .macro op name:req, body:req
    .balign 64
    .globl op_\name
op_\name:
    push %rbx
    push %r12
    push %r13
    mov %rdi, %r12
    mov bench_pages(%rip), %r13
    .balign 16
1:
    .rept OP_UNROLL
    \body
    .endr
    dec %r12
    jnz 1b
    pop %r13
    pop %r12
    pop %rbx
    cli
    ret
    .endm

    .macro faulting_access
    mov (%r13), %eax
    .endm

    .text
    op cli_sti, "cli; sti"
    op pushf_popf, "pushfq; popfq"
    op in_port, "in $0x61, %al"
    op cpuid, "xor %eax, %eax; cpuid"
    op rdtsc, "rdtsc"
    op call_ret, "call leaf0"
    op indirect_call, "mov %ebx, %eax; inc %ebx; and $7, %eax; call *leaves(, %rax, 8)"
    op int_iret, "int $0x80"
    op page_fault, "faulting_access"
    op invlpg, "invlpg (%r13); mov (%r13), %rax"

/* 16 pages are touched after each CR3 write. */
    .balign 64
    .globl op_cr3
op_cr3:
    mov bench_pages(%rip), %rdx
1:  mov %cr3, %rax
    mov %rax, %cr3
    .set page, 0
    .rept 16
    mov page * 4096(%rdx), %rax
    .set page, page + 1
    .endr
    dec %rdi
    jnz 1b
    ret

/* An empty loop: what all counts contain. */
    .balign 64
    .globl op_empty
op_empty:
1:  dec %rdi
    jnz 1b
    ret

/* n times 1000 instructions with no branch. */
    .balign 64
    .globl op_alu
op_alu:
    mov $1, %eax
    xor %ecx, %ecx
1:
    .rept 200
    add %rax, %rcx
    xor %rcx, %rdx
    lea 3(%rdx, %rcx, 2), %rsi
    shr $3, %rsi
    sub %esi, %eax
    .endr
    dec %rdi
    jnz 1b
    ret

/* n times fib(20): 21891 calls, few instructions each. */
    .balign 64
    .globl op_fib
op_fib:
    push %r12
    mov %rdi, %r12
1:  mov $20, %edi
    call fib
    dec %r12
    jnz 1b
    pop %r12
    ret

fib:
    mov %edi, %eax
    cmp $2, %edi
    jb 2f
    push %rbx
    mov %edi, %ebx
    dec %edi
    call fib
    lea -2(%rbx), %edi
    mov %eax, %ebx
    call fib
    add %ebx, %eax
    pop %rbx
2:  ret

/* n copies of 1 MiB. */
    .globl op_movsb
op_movsb:
    mov %rdi, %rdx
1:  mov copy_dst(%rip), %rdi
    mov copy_src(%rip), %rsi
    mov $COPY_BYTES, %ecx
    rep movsb
    dec %rdx
    jnz 1b
    ret

    .balign 64
    .globl op_sse_copy
op_sse_copy:
    mov %rdi, %rdx
1:  mov copy_dst(%rip), %rdi
    mov copy_src(%rip), %rsi
    mov $COPY_BYTES / 64, %ecx
2:  movups (%rsi), %xmm0
    movups 16(%rsi), %xmm1
    movups 32(%rsi), %xmm2
    movups 48(%rsi), %xmm3
    movups %xmm0, (%rdi)
    movups %xmm1, 16(%rdi)
    movups %xmm2, 32(%rdi)
    movups %xmm3, 48(%rdi)
    add $64, %rsi
    add $64, %rdi
    dec %ecx
    jnz 2b
    dec %rdx
    jnz 1b
    ret

/* ---- handlers ---- */
    .globl handle_int
handle_int:
    iretq

    .globl handle_syscall
handle_syscall:
    sysretq

/* #PF: skip the access. */
    .globl handle_fault_skip
handle_fault_skip:
    add $8, %rsp
    addq $2f - 1f, (%rsp)
    iretq
1:  faulting_access
2:

/* #PF: make the page present and retry, as demand paging does. */
    .globl handle_fault_map
handle_fault_map:
    push %rax
    push %rcx
    mov fault_pte(%rip), %rax
    mov fault_value(%rip), %rcx
    mov %rcx, (%rax)
    pop %rcx
    pop %rax
    add $8, %rsp
    iretq

    .set leaf, 0
    .rept 8
    .balign 64
    .if leaf == 0
leaf0:
    .endif
    ret
    .set leaf, leaf + 1
    .endr

    .section .rodata
    .balign 8
leaves:
    .set leaf, 0
    .rept 8
    .quad leaf0 + leaf * 64
    .set leaf, leaf + 1
    .endr
    .section .note.GNU-stack, "", @progbits
