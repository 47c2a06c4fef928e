/* SPDX-License-Identifier: MIT */
/*
 * The guest's CPUID: the host's, through masks of what translated code and the monitor can keep
 * (docs/guest-cpu.md). Feature words are computed once; copied leaves ask the host each time.
 */
#include "kernel/vcpu/internal.h"

#include "kernel/lib/string.h"

enum { EAX, EBX, ECX, EDX };

#define MAX_BASIC 0x16u
#define MAX_EXT   0x80000008u
#define HV_LEAF   0x40000000u

/* Leaf 1 */
#define L1_ECX_XSAVE   BIT(26)
#define L1_ECX_OSXSAVE BIT(27)
#define L1_ECX_HYPER   BIT(31)
#define L1_ECX_AVX     (BIT(12) | BIT(28) | BIT(29)) /* FMA AVX F16C: need AVX state */
/* SSE3 PCLMULQDQ SSSE3 CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE RDRAND */
#define L1_ECX                                                                                     \
    (BIT(0) | BIT(1) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(25) |        \
     L1_ECX_XSAVE | BIT(30) | L1_ECX_AVX)
/* FPU DE PSE TSC MSR PAE CX8 SEP PGE CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 */
#define L1_EDX                                                                                     \
    (BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(11) | BIT(13) | BIT(15) |  \
     BIT(16) | BIT(17) | BIT(19) | BIT(23) | BIT(24) | BIT(25) | BIT(26))
/* Leaf 7.0 */
#define L7_EBX_AVX BIT(5) /* AVX2 */
/* FSGSBASE BMI1 FDP_EXCPTN_ONLY SMEP BMI2 ERMS no-FCS/FDS RDSEED ADX CLFLUSHOPT CLWB SHA */
#define L7_EBX                                                                                     \
    (BIT(0) | BIT(3) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(13) | BIT(18) | BIT(19) | BIT(23) | \
     BIT(24) | BIT(29) | L7_EBX_AVX)
#define L7_ECX_AVX (BIT(9) | BIT(10)) /* VAES VPCLMULQDQ */
/* GFNI RDPID CLDEMOTE MOVDIRI MOVDIR64B */
#define L7_ECX (BIT(8) | BIT(22) | BIT(25) | BIT(27) | BIT(28) | L7_ECX_AVX)
/* FSRM SERIALIZE */
#define L7_EDX (BIT(4) | BIT(14))
/* Leaf 80000001 */
/* LAHF LZCNT SSE4A MisAlignSse PREFETCHW. The decoder knows neither XOP, FMA4 and TBM nor 3DNow!: they are #UD. */
#define X1_ECX (BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8))
/* AMD's copies of leaf 1, then SYSCALL NX MMXEXT RDTSCP LM */
#define X1_EDX_COPY                                                                                \
    (BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(15) | BIT(16) |  \
     BIT(17) | BIT(23) | BIT(24))
#define X1_EDX (X1_EDX_COPY | BIT(11) | BIT(20) | BIT(22) | BIT(27) | BIT(29))

/* Owner: cpuid_init(), which the first cpu_reset() calls before the guest runs; constant
 * afterwards. */
static struct {
    uint32_t max_basic, max_ext;
    uint32_t l1_ecx, l1_edx, l7_ebx, l7_ecx, l7_edx, x1_ecx, x1_edx;
    uint32_t xcr0;       /* 0: no XSAVE */
    uint32_t xsave_size; /* with every bit of xcr0 set */
    uint32_t phys_bits;
    bool sysenter64;
} guest;

/* AuthenticAMD, HygonGenuine: EBX of leaf 0. */
#define VENDOR_AMD   0x68747541u
#define VENDOR_HYGON 0x6f677948u

/* XSAVE only if the monitor enabled it, and with a layout that we know: x87 and SSE, then AVX. */
static void init_xsave(uint32_t host_max, uint32_t l1_ecx)
{
    uint32_t r[4];

    guest.xcr0 = 0;
    guest.xsave_size = 0;
    if ((l1_ecx & (L1_ECX_XSAVE | L1_ECX_OSXSAVE)) != (L1_ECX_XSAVE | L1_ECX_OSXSAVE) ||
        host_max < 0xd) {
        return;
    }
    host_cpuid(0xd, 0, r);
    if ((r[EAX] & (XCR0_X87 | XCR0_SSE)) != (XCR0_X87 | XCR0_SSE)) {
        return;
    }
    guest.xcr0 = r[EAX] & (XCR0_X87 | XCR0_SSE | XCR0_AVX);
    guest.xsave_size = 576;
    if (!(l1_ecx & BIT(28))) {
        guest.xcr0 &= ~XCR0_AVX;
    }
    if (guest.xcr0 & XCR0_AVX) {
        host_cpuid(0xd, 2, r);
        guest.xsave_size = r[EBX] + r[EAX];
    }
}

static void drop_vector_features(void)
{
    if (!(guest.xcr0 & XCR0_AVX)) {
        guest.l1_ecx &= ~(uint32_t)L1_ECX_AVX;
        guest.l7_ebx &= ~(uint32_t)L7_EBX_AVX;
        guest.l7_ecx &= ~(uint32_t)L7_ECX_AVX;
    }
    if (!guest.xcr0) {
        guest.l1_ecx &= ~(uint32_t)L1_ECX_XSAVE;
    }
}

void cpuid_init(void)
{
    uint32_t r[4], host_max, host_max_ext;

    memset(&guest, 0, sizeof(guest));
    host_cpuid(0, 0, r);
    host_max = r[EAX];
    guest.max_basic = MIN(host_max, MAX_BASIC);
    guest.sysenter64 = r[EBX] != VENDOR_AMD && r[EBX] != VENDOR_HYGON;
    host_cpuid(0x80000000, 0, r);
    host_max_ext = r[EAX];
    guest.max_ext = MIN(host_max_ext, MAX_EXT);
    host_cpuid(1, 0, r);
    guest.l1_ecx = (r[ECX] & L1_ECX) | L1_ECX_HYPER;
    guest.l1_edx = r[EDX] & L1_EDX;
    init_xsave(host_max, r[ECX]);
    if (host_max >= 7) {
        host_cpuid(7, 0, r);
        guest.l7_ebx = r[EBX] & L7_EBX;
        guest.l7_ecx = r[ECX] & L7_ECX;
        guest.l7_edx = r[EDX] & L7_EDX;
    }
    host_cpuid(0x80000001, 0, r);
    guest.x1_ecx = r[ECX] & X1_ECX;
    guest.x1_edx = r[EDX] & X1_EDX;
    guest.phys_bits = 36;
    if (host_max_ext >= 0x80000008) {
        host_cpuid(0x80000008, 0, r);
        guest.phys_bits = MIN(MAX(r[EAX] & 0xff, 32u), 52u);
    }
    drop_vector_features();
}

unsigned cpu_maxphyaddr(void)
{
    return guest.phys_bits;
}

uint64_t cpu_xcr0_supported(void)
{
    return guest.xcr0;
}

bool cpu_has_feature(enum cpuid_feature feature)
{
    switch (feature) {
    case CPUID_FEAT_FSGSBASE:
        return guest.l7_ebx & BIT(0);
    case CPUID_FEAT_SMEP:
        return guest.l7_ebx & BIT(7);
    case CPUID_FEAT_XSAVE:
        return guest.l1_ecx & L1_ECX_XSAVE;
    case CPUID_FEAT_RDTSCP:
        return guest.x1_edx & BIT(27);
    case CPUID_FEAT_RDPID:
        return guest.l7_ecx & BIT(22);
    case CPUID_FEAT_NX:
        return guest.x1_edx & BIT(20);
    case CPUID_FEAT_PGE:
        return guest.l1_edx & BIT(13);
    case CPUID_FEAT_SYSENTER64:
        return guest.sysenter64;
    }
    return false;
}

static void leaf_1(struct CPUState *cpu, uint32_t r[4])
{
    r[EBX] = (r[EBX] & 0xffff) | 1u << 16; /* brand, CLFLUSH line; one logical CPU with APIC id 0 */
    r[ECX] = guest.l1_ecx | (cpu->env.cr[4] & CR4_OSXSAVE_MASK ? L1_ECX_OSXSAVE : 0);
    r[EDX] = guest.l1_edx;
}

/* The XSAVE area with the components of XCR0 as it is now. */
static uint32_t xsave_size(uint64_t xcr0)
{
    return xcr0 & XCR0_AVX ? guest.xsave_size : 576;
}

static void leaf_d(struct CPUState *cpu, uint32_t subleaf, uint32_t r[4])
{
    uint32_t host[4] = {r[EAX], r[EBX], r[ECX], r[EDX]};

    memset(r, 0, 4 * sizeof(r[0]));
    if (!guest.xcr0) {
        return;
    }
    switch (subleaf) {
    case 0:
        r[EAX] = guest.xcr0;
        r[EBX] = xsave_size(cpu->env.xcr0);
        r[ECX] = guest.xsave_size;
        break;
    case 1:
        r[EAX] = host[EAX] & 1; /* XSAVEOPT; no XSAVEC, XGETBV(1), XSAVES */
        break;
    case 2:
        if (guest.xcr0 & XCR0_AVX) {
            r[EAX] = host[EAX];
            r[EBX] = host[EBX];
        }
        break;
    default:
        break;
    }
}

static void leaf_basic(struct CPUState *cpu, uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
    host_cpuid(leaf, subleaf, r);
    switch (leaf) {
    case 0:
        r[EAX] = guest.max_basic;
        break;
    case 1:
        leaf_1(cpu, r);
        break;
    case 2:
    case 0x15:
    case 0x16:
        break; /* caches, TSC and core frequency: the host's */
    case 4:
        r[EAX] &= 0x3fff; /* each cache belongs to the one CPU of one core */
        break;
    case 7:
        r[EAX] = 0; /* no subleaf but 0 */
        r[EBX] = subleaf ? 0 : guest.l7_ebx;
        r[ECX] = subleaf ? 0 : guest.l7_ecx;
        r[EDX] = subleaf ? 0 : guest.l7_edx;
        break;
    case 0xd:
        leaf_d(cpu, subleaf, r);
        break;
    default:
        memset(r, 0, 4 * sizeof(r[0])); /* monitor, thermal, PMU, topology, RDT, SGX, PT, ... */
        break;
    }
}

static void leaf_ext(uint32_t leaf, uint32_t r[4])
{
    host_cpuid(leaf, 0, r);
    switch (leaf) {
    case 0x80000000:
        r[EAX] = guest.max_ext;
        break;
    case 0x80000001:
        r[ECX] = guest.x1_ecx;
        r[EDX] = guest.x1_edx;
        break;
    case 0x80000007:
        r[EAX] = r[EBX] = r[ECX] = 0;
        r[EDX] &= BIT(8); /* invariant TSC */
        break;
    case 0x80000008:
        r[EAX] = guest.phys_bits | 48 << 8;
        r[EBX] = r[ECX] = r[EDX] = 0;
        break;
    default:
        break; /* brand string, AMD's cache leaves */
    }
}

static void leaf_hypervisor(uint32_t r[4])
{
    static const char signature[12] = "notdirtyVMM";

    r[EAX] = HV_LEAF;
    memcpy(&r[EBX], signature, sizeof(signature));
}

/* Leaves beyond the maximum read as zero, as on AMD. */
int sens_cpuid(struct CPUState *cpu, const struct insn *insn)
{
    struct CPUX86State *env = &cpu->env;
    uint32_t leaf = (uint32_t)env->regs[R_EAX], subleaf = (uint32_t)env->regs[R_ECX];
    uint32_t r[4] = {0};

    if (leaf <= guest.max_basic) {
        leaf_basic(cpu, leaf, subleaf, r);
    } else if (leaf >= 0x80000000 && leaf <= guest.max_ext) {
        leaf_ext(leaf, r);
    } else if (leaf == HV_LEAF) {
        leaf_hypervisor(r);
    }
    env->regs[R_EAX] = r[EAX];
    env->regs[R_EBX] = r[EBX];
    env->regs[R_ECX] = r[ECX];
    env->regs[R_EDX] = r[EDX];
    return SENS_NEXT;
}
