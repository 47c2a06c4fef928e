/* SPDX-License-Identifier: MIT */
/* Programs that decode themselves, position-independent, copied before they are run. See smc-decoder.c. */
    .macro SNIPPET name
    .globl \name\()_start
\name\()_start:
    .endm
    .macro END name
    .globl \name\()_end
\name\()_end:
    .endm

    .data
    /*
     * The body of a polymorphic decoder: rbx = its address, eax = key, ecx = number of dwords. The first dword to be decoded
     * holds the displacement of the very `loop` that comes next, so it must be right the first time.
     */
    .macro DECODER_LOOP base
1:  xor %eax, (2f - \base)(%rbx)
    add (2f - \base)(%rbx), %eax
    add $4, %rbx
    .byte 0xe2 /* loop 1b */
2:  .byte 1b - (2b + 1)
    .endm

    SNIPPET decoder_fnstenv /* edi = key, esi = dwords; finds itself by the FPU's last instruction pointer */
    mov %edi, %eax
    mov %esi, %ecx
    push %rbx
    sub $32, %rsp
10: fldz
    fnstenv -0xc(%rsp)
    pop %rbx
    add $24, %rsp
    fstp %st
    mov %ebx, %ebx
    DECODER_LOOP 10b
    END decoder_fnstenv

    SNIPPET decoder_call /* edi = key, esi = dwords; finds itself by call */
    mov %edi, %eax
    mov %esi, %ecx
    push %rbx
    call 10f
10: pop %rbx
    DECODER_LOOP 10b
    END decoder_call

    SNIPPET unpack_ahead
    /* esi = bytes: decodes what follows it on its own page, upwards, and falls into it */
    mov %esi, %ecx
    lea 2f(%rip), %rdx
1:  xorb $0x5a, (%rdx)
    inc %rdx
    dec %ecx
    jnz 1b
    xor %eax, %eax
2:
    END unpack_ahead

    /*
     * rdi = address of the last byte of the output, rsi = that of the packed bytes, ecx = more than enough: goes downwards
     * until the output reaches the loop and replaces `jne` by `nop; pause`, and so ends it.
     */
    SNIPPET unpack_down
    std
1:  lodsb
    xor $0x5a, %al
    stosb
    .fill 5, 1, 0x90
    dec %ecx
    jne 1b
    END unpack_down
    .section .note.GNU-stack, "", @progbits
