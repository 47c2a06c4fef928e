/* SPDX-License-Identifier: MIT */
/*
 * What may stand between a store to code and the code: position-independent, copied before it is run. rax, rcx, rdx and r8-r11
 * may be changed; rsp must come back.
 */
    .macro BETWEEN name
    .globl between_\name\()_start
between_\name\()_start:
    .endm
    .macro END name
    .globl between_\name\()_end
between_\name\()_end:
    .endm

    .data
    BETWEEN nothing
    END nothing
    BETWEEN jmp
    jmp 1f
1:
    END jmp
    BETWEEN call_ret
    call 1f
    jmp 2f
1:  ret
2:
    END call_ret
    BETWEEN indirect_jmp
    lea 1f(%rip), %rcx
    jmp *%rcx
1:
    END indirect_jmp
    BETWEEN cpuid
    push %rbx
    xor %eax, %eax
    cpuid
    pop %rbx
    END cpuid
    BETWEEN serialize
    .byte 0x0f, 0x01, 0xe8
    END serialize
    BETWEEN iretq
    mov %rsp, %rax
    mov %ss, %ecx
    push %rcx
    push %rax
    pushfq
    mov %cs, %ecx
    push %rcx
    lea 1f(%rip), %rcx
    push %rcx
    iretq
1:
    END iretq
    BETWEEN lretq
    mov %cs, %ecx
    push %rcx
    lea 1f(%rip), %rcx
    push %rcx
    lretq
1:
    END lretq
    BETWEEN int80 /* the handler returns by iretq */
    int $0x80
    END int80
    BETWEEN ud2 /* the handler skips it */
    ud2
    END ud2
    BETWEEN mfence
    mfence
    END mfence
    BETWEEN sfence
    sfence
    END sfence
    BETWEEN lfence
    lfence
    END lfence
    BETWEEN lock_or
    lock orl $0, -8(%rsp)
    END lock_or
    BETWEEN xchg_mem
    xchg %rax, -8(%rsp)
    END xchg_mem
    BETWEEN pause
    pause
    END pause
    BETWEEN wbinvd
    wbinvd
    END wbinvd
    BETWEEN clflush
    clflush 1f(%rip)
1:
    END clflush
    BETWEEN clflushopt
    clflushopt 1f(%rip)
1:
    END clflushopt
    BETWEEN clwb
    clwb 1f(%rip)
1:
    END clwb
    BETWEEN prefetchw
    prefetchw 1f(%rip)
1:
    END prefetchw
    BETWEEN mov_cr0
    mov %cr0, %rax
    mov %rax, %cr0
    END mov_cr0
    BETWEEN mov_cr3
    mov %cr3, %rax
    mov %rax, %cr3
    END mov_cr3
    BETWEEN mov_cr4
    mov %cr4, %rax
    mov %rax, %cr4
    END mov_cr4
    BETWEEN mov_dr7
    mov %dr7, %rax
    mov %rax, %dr7
    END mov_dr7
    BETWEEN invlpg
    invlpg 1f(%rip)
1:
    END invlpg
    BETWEEN rdtscp
    rdtscp
    END rdtscp
    BETWEEN wrmsr /* IA32_FS_BASE as it is */
    mov $0xc0000100, %ecx
    rdmsr
    wrmsr
    END wrmsr
    BETWEEN in_port
    in $0x61, %al
    END in_port
    BETWEEN sti_cli
    cli
    pushfq
    popfq
    END sti_cli
    .section .note.GNU-stack, "", @progbits
