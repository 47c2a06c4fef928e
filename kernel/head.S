/* SPDX-License-Identifier: MIT */
/* The kernel's first instructions. State at entry: boot/boot-info.h; RDI = struct boot_info. */
#include "mm/layout.h"

    .globl layout_kernel_vma /* for the assertion in linker.ld */
    .set layout_kernel_vma, KERNEL_VMA

#define BOOT_STACK_SIZE 0x4000

    .section .text.entry, "ax"
    .globl _start
_start:
    cli
    cld
    lea boot_stack_top(%rip), %rsp
    xor %ebp, %ebp              /* backtraces end here */
    call early_main             /* returns the top of a stack with guard pages, outside the image */
    mov %rax, %rsp
    xor %ebp, %ebp
    call kernel_main            /* does not return */
    ud2

    .section .bss
    .balign 16
    .globl boot_stack_top
    .skip BOOT_STACK_SIZE
boot_stack_top:

    .section .note.GNU-stack, "", @progbits
