/* SPDX-License-Identifier: MIT */
/*
 * Entry of a payload. `_start` expects the contract of docs/payload-abi.md (long mode, CPL 0, IF=0, first 4 GiB mapped to
 * itself, RDI = struct payload_info). `pvh_entry` lets QEMU -kernel start the same file with no loader: it builds that state itself
 * and then enters `_start` like any loader. Nothing else may be set up here: a payload states what it needs.
 */
#define START_CR0 0x80010033 /* PG WP NE ET MP PE */
#define START_CR4 0x620      /* OSXMMEXCPT OSFXSR PAE */
#define MSR_EFER 0xc0000080
#define EFER_LME (1 << 8)
#define PTE_PW 0x03
#define PTE_LARGE 0x83

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 8, 18 /* namesz, descsz, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad pvh_entry

    .text
    .code64
    .globl _start
_start:
    mov %rsp, entry_rsp(%rip)
    mov %rdi, entry_rdi(%rip)
    pushfq
    pop entry_rflags(%rip)
    lea stack_top(%rip), %rsp
    xor %ebp, %ebp
    call payload_start
1:  hlt
    jmp 1b

/* 32-bit protected mode, paging off, flat segments, EBX = struct hvm_start_info. */
    .code32
    .globl pvh_entry
pvh_entry:
    cli
    cld
    mov $pvh_stack_top, %esp
    mov %ebx, %esi
    movl $pvh_pdpt + PTE_PW, pvh_pml4
    mov $pvh_pd + PTE_PW, %eax
    xor %ecx, %ecx
1:  mov %eax, pvh_pdpt(, %ecx, 8) /* four page directories */
    add $4096, %eax
    inc %ecx
    cmp $4, %ecx
    jb 1b
    mov $PTE_LARGE, %eax
    xor %ecx, %ecx
2:  mov %eax, pvh_pd(, %ecx, 8) /* 2048 pages of 2 MiB */
    add $0x200000, %eax
    inc %ecx
    cmp $2048, %ecx
    jb 2b
    mov $START_CR4, %eax
    mov %eax, %cr4
    mov $pvh_pml4, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    rdmsr
    or $EFER_LME, %eax
    wrmsr
    mov $START_CR0, %eax
    mov %eax, %cr0
    lgdt pvh_gdtr
    ljmp $0x10, $pvh_long

    .code64
pvh_long:
    mov $0x18, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    mov %esi, %edi
    fninit
    call pvh_boot_info /* returns what a loader would pass in RDI */
    mov %rax, %rdi
    mov $pvh_stack_top - 8, %esp
    movq $0, (%rsp)
    jmp _start

    .section .rodata
    .align 8
pvh_gdt:
    .quad 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff
pvh_gdtr:
    .word . - pvh_gdt - 1
    .quad pvh_gdt

    .bss
    .align 4096
pvh_pml4: .skip 4096
pvh_pdpt: .skip 4096
pvh_pd:   .skip 4 * 4096
    .skip 65536
pvh_stack_top:
    .skip 65536
    .globl stack_top
stack_top:
    .globl entry_rsp, entry_rdi, entry_rflags
entry_rsp:    .skip 8
entry_rdi:    .skip 8
entry_rflags: .skip 8
    .section .note.GNU-stack, "", @progbits
