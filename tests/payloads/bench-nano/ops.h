/* SPDX-License-Identifier: MIT */
/* What bench-nano.c and ops.S agree on. For both C and assembly. */
#ifndef BENCH_NANO_OPS_H
#define BENCH_NANO_OPS_H

#define OP_UNROLL  16
#define COPY_BYTES 0x100000

#ifndef __ASSEMBLER__
#include "kernel/lib/types.h"

typedef void op_fn(uint64_t n);
op_fn op_empty, op_cli_sti, op_pushf_popf, op_in_port, op_cpuid, op_rdtsc, op_call_ret, op_indirect_call, op_int_iret,
    op_page_fault, op_invlpg, op_cr3, op_alu, op_fib, op_movsb, op_sse_copy;
void handle_int(void), handle_syscall(void), handle_fault_skip(void), handle_fault_map(void);

/* Set by bench-nano.c for the sequences: 16 pages; the buffers; what handle_fault_map stores where. */
extern uint8_t *bench_pages, *copy_src, *copy_dst;
extern uint64_t *fault_pte, fault_value;
#endif
#endif
