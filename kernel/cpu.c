/* SPDX-License-Identifier: MIT */
/* Sets up the host CPU once; afterwards only the vCPU code touches control registers (CR3, CR0.TS,
 * CR4.OSXSAVE ...). */
#include "kernel/cpu.h"

#include "kernel/enter.h"
#include "kernel/lib/log.h"
#include "kernel/percpu.h"
#include "kernel/x86.h"
#include "mm/kmap.h"

/* SDM 3A 2.5 */
#define CR0_MP         (1u << 1)
#define CR0_EM         (1u << 2)
#define CR0_TS         (1u << 3)
#define CR0_NE         (1u << 5)
#define CR0_WP         (1u << 16)
#define CR0_AM         (1u << 18)
#define CR0_NW         (1u << 29)
#define CR0_CD         (1u << 30)
#define CR4_PAE        (1u << 5)
#define CR4_MCE        (1u << 6)
#define CR4_PGE        (1u << 7)
#define CR4_OSFXSR     (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP       (1u << 11)
#define CR4_LA57       (1u << 12)
#define CR4_FSGSBASE   (1u << 16)
#define CR4_OSXSAVE    (1u << 18)
#define CR4_SMEP       (1u << 20)
#define CR4_SMAP       (1u << 21)
#define EFER_SCE       (1u << 0)
#define EFER_NXE       (1u << 11)

/* SDM 2A, CPUID */
#define CPUID_1_EDX_PGE       (1u << 13)
#define CPUID_1_EDX_FXSR      (1u << 24)
#define CPUID_1_ECX_XSAVE     (1u << 26)
#define CPUID_7_EBX_FSGSBASE  (1u << 0)
#define CPUID_7_EBX_SMEP      (1u << 7)
#define CPUID_7_EBX_SMAP      (1u << 20)
#define CPUID_7_ECX_UMIP      (1u << 2)
#define CPUID_80000001_EDX_NX (1u << 20)

/* Long-mode descriptors, SDM 3A 3.4.5: type, S, DPL and P in bits 40 to 47, L in bit 53 */
#define DESC_KERNEL_CODE    0x00af9b000000ffff
#define DESC_KERNEL_DATA    0x00cf93000000ffff
#define DESC_USER_DATA      0x00cff3000000ffff
#define DESC_USER_CODE      0x00affb000000ffff
#define DESC_TSS_TYPE       0x89ull /* present, available 64-bit TSS */

#define RFLAGS_SYSCALL_MASK 0x47700 /* AC NT IOPL DF IF TF */
#define IST_STACK_PAGES     2

struct cpu_features cpu_features;

/* The boot CPU's; further CPUs would bring their own. */
static struct percpu boot_percpu;

extern const char syscall_entry[]; /* enter.S */

static void init_paging(void)
{
    uint32_t r[4];

    cpuid(0x80000001, 0, r);
    if (!(r[3] & CPUID_80000001_EDX_NX)) {
        panic("this CPU has no NX bit (CPUID 80000001h EDX bit 20), which notdirty needs");
    }
    if (read_cr4() & CR4_LA57) {
        panic("the boot stage left 5-level paging on, expected 4-level");
    }
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
    write_cr0((read_cr0() & ~(uint64_t)(CR0_EM | CR0_TS | CR0_AM | CR0_NW | CR0_CD)) | CR0_MP |
              CR0_NE | CR0_WP);
}

static void init_cr4(void)
{
    uint32_t one[4], seven[4] = {0}, max[4];
    uint64_t cr4 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

    cpuid(0, 0, max);
    cpuid(1, 0, one);
    if (max[0] >= 7) {
        cpuid(7, 0, seven);
    }
    cpu_features.osxsave = one[2] & CPUID_1_ECX_XSAVE;
    cpu_features.fsgsbase = seven[1] & CPUID_7_EBX_FSGSBASE;
    cpu_features.smep = seven[1] & CPUID_7_EBX_SMEP;
    cpu_features.smap = seven[1] & CPUID_7_EBX_SMAP;
    cpu_features.umip = seven[2] & CPUID_7_ECX_UMIP;
    cr4 |= one[3] & CPUID_1_EDX_PGE ? CR4_PGE : 0;
    cr4 |= cpu_features.osxsave ? CR4_OSXSAVE : 0;
    cr4 |= cpu_features.fsgsbase ? CR4_FSGSBASE : 0;
    cr4 |= cpu_features.smep ? CR4_SMEP : 0;
    cr4 |= cpu_features.smap ? CR4_SMAP : 0;
    cr4 |= cpu_features.umip ? CR4_UMIP : 0;
    write_cr4(cr4); /* whatever else the firmware had on goes off */
}

static uint64_t alloc_ist_stack(void)
{
    uint64_t top = kmap_stack_alloc(IST_STACK_PAGES);

    if (!top) {
        panic("no memory for trap stacks");
    }
    return top;
}

static void init_ist(struct percpu *cpu)
{
    cpu->tss.ist[IST_NMI - 1] = alloc_ist_stack();
    cpu->tss.ist[IST_DF - 1] = alloc_ist_stack();
    cpu->tss.ist[IST_MC - 1] = alloc_ist_stack();
}

static void fill_gdt(struct percpu *cpu)
{
    uint64_t base = (uintptr_t)&cpu->tss, limit = sizeof(cpu->tss) - 1;

    cpu->gdt[SEL_KERNEL_CS / 8] = DESC_KERNEL_CODE;
    cpu->gdt[SEL_KERNEL_SS / 8] = DESC_KERNEL_DATA;
    cpu->gdt[SEL_USER_SS / 8] = DESC_USER_DATA;
    cpu->gdt[SEL_USER_CS / 8] = DESC_USER_CODE;
    cpu->gdt[SEL_TSS / 8] =
        limit | (base & 0xffffff) << 16 | DESC_TSS_TYPE << 40 | (base >> 24 & 0xff) << 56;
    cpu->gdt[SEL_TSS / 8 + 1] = base >> 32;
    cpu->tss.iomap_base = sizeof(cpu->tss); /* beyond the limit: ring 3 has no ports */
}

static void load_segments(struct percpu *cpu)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) gdtr = {sizeof(cpu->gdt) - 1, (uintptr_t)cpu->gdt};

    __asm__ volatile("lgdt %0\n"
                     "pushq %1\n"
                     "lea 1f(%%rip), %%rax\n"
                     "push %%rax\n"
                     "lretq\n"
                     "1:\n"
                     "mov %2, %%ss\n"
                     "mov %3, %%ds\n"
                     "mov %3, %%es\n"
                     "mov %3, %%fs\n"
                     "mov %3, %%gs\n"
                     "ltr %w4\n"
                     "lldt %w3"
                     :
                     : "m"(gdtr), "i"(SEL_KERNEL_CS), "r"(SEL_KERNEL_SS), "r"(0), "r"(SEL_TSS)
                     : "rax", "memory");
}

static void init_syscall(void)
{
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    wrmsr(MSR_STAR, (uint64_t)SEL_SYSRET_BASE << 48 | (uint64_t)SEL_KERNEL_CS << 32);
    wrmsr(MSR_LSTAR, (uintptr_t)syscall_entry);
    wrmsr(MSR_CSTAR, (uintptr_t)syscall_entry);
    wrmsr(MSR_FMASK, RFLAGS_SYSCALL_MASK);
}

/* The guest's FP state is the hardware's from the start: make it the documented one. */
static void init_fpu(void)
{
    static const uint32_t mxcsr = 0x1f80; /* SDM 1 10.2.3: default */

    __asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
}

void cpu_init_early(void)
{
    struct percpu *cpu = &boot_percpu;

    cpu->self = cpu;
    fill_gdt(cpu);
    load_segments(cpu);
    wrmsr(MSR_FS_BASE, 0);
    wrmsr(MSR_GS_BASE, (uintptr_t)cpu);
    wrmsr(MSR_KERNEL_GS_BASE, 0); /* ring 3's, while we are in ring 0 */
    init_paging();
}

void cpu_init(void)
{
    init_cr4();
    init_ist(this_cpu());
    init_syscall();
    init_fpu();
}
