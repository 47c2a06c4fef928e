/* SPDX-License-Identifier: MIT */
/*
 * PVH entry (QEMU -kernel; Xen docs/misc/pvh.pandoc): 32-bit protected mode, flat segments, paging
 * off, EBX = physical address of struct hvm_start_info, no stack. Builds the page tables that
 * boot/boot-info.h promises, enters long mode, has pvh_boot_info() convert the start info and goes
 * on at _start. Runs where it is loaded; nothing here survives early_main().
 *
 *   PML4[0], PML4[258] -> pdpt_ram: the first PVH_MAP_GIB GiB, by 1 GiB pages if the CPU has them,
 *                         else by 2 MiB pages (pd_ram)
 *   PML4[256]          -> pdpt_image -> pd_image: 1 GiB from LMA on, where the image is
 */
#include "mm/layout.h"

#define PVH_MAP_GIB     64
#define XEN_ELFNOTE_PHYS32_ENTRY 18

/* SDM 3A 4.5 */
#define PTE_PW          0x003
#define PTE_PW_LARGE    0x083
#define CR0_PE_PG       0x80000001
#define CR4_PAE         0x20
#define MSR_EFER        0xc0000080
#define EFER_LME        0x100
#define CPUID_PDPE1GB   (1 << 26) /* 80000001h EDX */

#define PML4_SLOT(va)   ((((va) >> 39) & 511) * 8)

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_entry32

    .section .boot32, "ax"
    .code32
    .globl pvh_entry32
pvh_entry32:
    cli
    cld
    mov %ebx, %ebp              /* cpuid needs ebx */
    mov $boot32_stack_top, %esp

    /* pdpt_ram: PVH_MAP_GIB large pages, or as many pointers to directories of 2 MiB pages. */
    mov $0x80000001, %eax
    cpuid
    test $CPUID_PDPE1GB, %edx
    jz 1f
    mov $pdpt_ram, %edi
    mov $PTE_PW_LARGE, %eax
    mov $0x40000000, %esi
    mov $PVH_MAP_GIB, %ecx
    call fill_table
    jmp 2f
1:  mov $pdpt_ram, %edi
    mov $pd_ram + PTE_PW, %eax
    mov $0x1000, %esi
    mov $PVH_MAP_GIB, %ecx
    call fill_table
    mov $pd_ram, %edi
    mov $PTE_PW_LARGE, %eax
    mov $0x200000, %esi
    mov $PVH_MAP_GIB * 512, %ecx
    call fill_table

2:  mov $pd_image, %edi
    mov $LMA + PTE_PW_LARGE, %eax
    mov $0x200000, %esi
    mov $512, %ecx
    call fill_table
    movl $pd_image + PTE_PW, pdpt_image
    movl $pdpt_ram + PTE_PW, pml4
    movl $pdpt_ram + PTE_PW, pml4 + PML4_SLOT(PHYSMAP_BASE)
    movl $pdpt_image + PTE_PW, pml4 + PML4_SLOT(KERNEL_VMA)

    mov %cr4, %eax
    or $CR4_PAE, %eax
    mov %eax, %cr4
    mov $pml4, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    rdmsr
    or $EFER_LME, %eax
    wrmsr
    mov %cr0, %eax
    or $CR0_PE_PG, %eax
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $pvh_entry64

/* Fill ecx entries of 8 bytes at edi with eax, eax + esi, ... (64-bit sums). Clobbers edx. */
fill_table:
    xor %edx, %edx
1:  mov %eax, (%edi)
    mov %edx, 4(%edi)
    add $8, %edi
    add %esi, %eax
    adc $0, %edx
    dec %ecx
    jnz 1b
    ret

    .code64
pvh_entry64:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %ebp, %edi              /* start info, zero-extended */
    movabs $pvh_start, %rax
    jmp *%rax

    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff    /* 64-bit code */
    .quad 0x00cf93000000ffff    /* data */
gdt_pointer:
    .word . - gdt - 1
    .long gdt

    .section .text
pvh_start:
    lea boot_stack_top(%rip), %rsp
    xor %ebp, %ebp
    call pvh_boot_info
    mov %rax, %rdi
    jmp _start

    .section .rodata
    .balign 8
    /* struct pvh_layout of pvh.c: linker symbols that RIP-relative addressing does not reach. */
    .globl pvh_layout
pvh_layout:
    .quad boot32_start, boot32_end, LMA

    .section .boot32.bss, "aw", @nobits
    .balign 4096
pml4:
    .skip 4096
pdpt_ram:
    .skip 4096
pdpt_image:
    .skip 4096
pd_image:
    .skip 4096
pd_ram:
    .skip 4096 * PVH_MAP_GIB
    .skip 64
boot32_stack_top:

    .section .note.GNU-stack, "", @progbits
