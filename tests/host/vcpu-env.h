/* SPDX-License-Identifier: MIT */
/*
 * A machine for kernel/vcpu/ alone: flat guest memory with page permissions, a port log, counters
 * for everything that the vCPU asks of its environment, and a standard set of descriptors.
 * Instructions are given as bytes and go through the real decoder.
 */
#ifndef TESTS_HOST_VCPU_ENV_H
#define TESTS_HOST_VCPU_ENV_H

#include "dbt/cpu.h"
#include "kernel/vcpu/internal.h"

/* Guest memory: [0, ENV_MEM_SIZE), and the two pages below the canonical hole. */
#define ENV_MEM_SIZE   0x80000u
#define ENV_HIGH_BASE  0x00007fffffffe000ull
#define ENV_HIGH_SIZE  0x2000u

#define ENV_GDT        0x1000u
#define ENV_IDT        0x2000u
#define ENV_TSS        0x4000u /* 0x68 bytes and an I/O bitmap behind them */
#define ENV_LDT        0x7000u
#define ENV_KSTACK     0x10000u /* tops */
#define ENV_RSP(n)     (0x18000u + 0x1000u * (n))
#define ENV_IST(n)     (0x20000u + 0x1000u * (n))
#define ENV_USTACK     0x3f000u
#define ENV_CODE       0x40000u /* user pages from 0x30000 on */
#define ENV_DATA       0x50000u
#define ENV_USER       0x30000u
#define ENV_HANDLER(v) (0x60000u + 16u * (v))

#define ENV_GDT_LIMIT  0x1ffu
#define ENV_TSS_LIMIT  (0x68u + 0x2000u)

/* Selectors in the GDT */
enum {
    SEL_KCODE = 0x10,
    SEL_KDATA = 0x18,
    SEL_UCODE32 = 0x20,
    SEL_UDATA = 0x28,
    SEL_UCODE = 0x30,
    SEL_TSS = 0x38,
    SEL_LDT = 0x48,
    SEL_TEST = 0x60,
    SEL_CODE1 = 0x80,
    SEL_DATA1 = 0x88,
    SEL_CODE2 = 0x90,
    SEL_DATA2 = 0x98,
    SEL_CONF0 = 0xa0,
    SEL_CONF3 = 0xa8,
    SEL_BEYOND = 0x200, /* first selector beyond the table */
};
/* Code and data selectors by level, RPL included. */
extern const uint16_t env_code_sel[4], env_data_sel[4];

#define PERM_P 1
#define PERM_W 2
#define PERM_U 4

struct port_access {
    uint16_t port;
    uint8_t size;
    uint32_t value;
};

struct vcpu_env {
    uint8_t mem[ENV_MEM_SIZE];
    uint8_t high[ENV_HIGH_SIZE];
    uint8_t perm[ENV_MEM_SIZE / 4096], high_perm[2];
    uint64_t hw_fs, hw_gs;
    unsigned flush_all, flush_some, flush_page, applies, debug_changes, tsc_offset_changes, fsgsbase_cleared, x87_stored[2];
    uint64_t flushed_page;
    struct port_access out[1024], in[1024];
    unsigned out_count, in_count;
    uint32_t in_value; /* what ports give; counts up */
    bool exit_on_out;  /* a port write ends the run */
    uint64_t tsc;
    uint32_t
        irq_at_out;  /* raise interrupt_request when this many elements were written, 0 = never */
    bool cpuid_host; /* false: the fake CPU below */
    uint32_t cpuid_l1_ecx, cpuid_l7_ebx, cpuid_l7_ecx, cpuid_x1_edx,
        cpuid_xcr0, cpuid_vendor; /* of the fake CPU; the vendor's first four letters */
};
extern struct vcpu_env venv;
extern struct CPUState vcpu;
extern struct vcpu_page vcpu_vp;

/* Everything to its standard state: CPL 0, rip ENV_CODE, rsp ENV_KSTACK, all gates present with DPL
 * 0. */
void env_reset(void);
/* cs, ss, cpl and rsp for a level. */
void env_set_cpl(unsigned cpl);

uint64_t desc_make(unsigned s_type, unsigned dpl, bool present, bool l, bool d);
void env_set_gdt(uint16_t selector, uint64_t low);
uint64_t env_get_gdt(uint16_t selector);
/* A 16-byte system descriptor. */
void env_set_system(uint16_t selector, unsigned type, unsigned dpl, bool present, uint64_t base,
                    uint32_t limit);
/* A gate: type 14 or 15 in the IDT, 12 (call gate) with env_set_call_gate(). */
void env_set_gate(unsigned vector, unsigned type, unsigned dpl, bool present, uint16_t selector,
                  uint64_t offset, unsigned ist);
void env_set_call_gate(uint16_t at, unsigned type, unsigned dpl, bool present, uint16_t selector,
                       uint64_t offset);

uint64_t env_read(uint64_t va, unsigned size);
void env_write(uint64_t va, unsigned size, uint64_t value);
void env_protect(uint64_t va, unsigned perm);

/* Decode and execute at env.eip. The result of helper_sensitive(). */
int env_exec(const char *bytes, unsigned len);
#define EXEC(s) env_exec(s, sizeof(s) - 1)

/* Assert that the last instruction succeeded; or raised the vector with error code and nothing
 * moved rip. */
void expect_ok(int result);
void expect_fault(int result, int vector, uint64_t error_code);
void expect_exit(int result, enum cpu_exit_request why);

/* How many cases were checked, printed by each test's main(). */
extern unsigned env_cases;

#endif
