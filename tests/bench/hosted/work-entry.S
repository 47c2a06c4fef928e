/* SPDX-License-Identifier: MIT */
/* Head of the flat image of workloads that the hosted build runs: enter at its first byte, ends with int3. */
    .section .text.entry, "ax"
    .globl work_entry
work_entry:
    call work_by_index
    int3
    .section .note.GNU-stack, "", @progbits
