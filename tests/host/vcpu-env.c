/* SPDX-License-Identifier: MIT */
/* See vcpu-env.h. Implements the environment of kernel/vcpu/vcpu.h; knows nothing of what
 * instructions should do. */
#include "tests/host/vcpu-env.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/x87-ip.h"

struct vcpu_env venv;
struct CPUState vcpu;
struct vcpu_page vcpu_vp;
unsigned env_cases;

const uint16_t env_code_sel[4] = {SEL_KCODE, SEL_CODE1 | 1, SEL_CODE2 | 2, SEL_UCODE | 3};
const uint16_t env_data_sel[4] = {SEL_KDATA, SEL_DATA1 | 1, SEL_DATA2 | 2, SEL_UDATA | 3};

/* ---- memory ---- */

/* Pages used since env_reset(), so that it clears only those: tests reset tens of thousands of
 * times. */
static bool touched[ENV_MEM_SIZE / 4096];

static uint8_t *byte_at(uint64_t va, uint8_t **perm)
{
    if (va < ENV_MEM_SIZE) {
        touched[va >> 12] = true;
        *perm = &venv.perm[va >> 12];
        return &venv.mem[va];
    }
    if (va >= ENV_HIGH_BASE && va < ENV_HIGH_BASE + ENV_HIGH_SIZE) {
        *perm = &venv.high_perm[(va - ENV_HIGH_BASE) >> 12];
        return &venv.high[va - ENV_HIGH_BASE];
    }
    *perm = NULL;
    return NULL;
}

static int access_check(struct CPUState *cpu, gva_t va, size_t len, bool write, bool user)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t *perm;
        bool present = byte_at(va + i, &perm) && (*perm & PERM_P);

        if (!is_canonical(va + i)) {
            fail_msg("non-canonical access to %#lx reached the environment", va + i);
        }
        if (present && (!write || (*perm & PERM_W)) && (!user || (*perm & PERM_U))) {
            continue;
        }
        cpu->env.cr[2] = va + i;
        raise_exception_err(cpu, EXCP0E_PAGE,
                            (present ? 1u : 0) | (write ? 2u : 0) | (user ? 4u : 0));
        return -EFAULT;
    }
    return 0;
}

int cpu_ldub(struct CPUState *cpu, gva_t va, void *buf, size_t len, bool user)
{
    uint8_t *perm;

    if (access_check(cpu, va, len, false, user)) {
        return -EFAULT;
    }
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)buf)[i] = *byte_at(va + i, &perm);
    }
    return 0;
}

int cpu_stub(struct CPUState *cpu, gva_t va, const void *buf, size_t len, bool user)
{
    uint8_t *perm;

    if (access_check(cpu, va, len, true, user)) {
        return -EFAULT;
    }
    for (size_t i = 0; i < len; i++) {
        *byte_at(va + i, &perm) = ((const uint8_t *)buf)[i];
    }
    return 0;
}

uint64_t env_read(uint64_t va, unsigned size)
{
    uint64_t value = 0;
    uint8_t *perm;

    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)*byte_at(va + i, &perm) << (8 * i);
    }
    return value;
}

void env_write(uint64_t va, unsigned size, uint64_t value)
{
    uint8_t *perm;

    for (unsigned i = 0; i < size; i++) {
        *byte_at(va + i, &perm) = (uint8_t)(value >> (8 * i));
    }
}

void env_protect(uint64_t va, unsigned perm)
{
    uint8_t *p;

    byte_at(va, &p);
    *p = (uint8_t)perm;
}

/* ---- ports, flushes, mirrors ---- */

uint32_t cpu_inport(struct CPUState *cpu, uint16_t port, unsigned size)
{
    uint32_t value = venv.in_value++;

    assert_true(venv.in_count < ARRAY_SIZE(venv.in));
    venv.in[venv.in_count++] = (struct port_access){port, (uint8_t)size, value};
    return value;
}

void cpu_outport(struct CPUState *cpu, uint16_t port, unsigned size, uint32_t value)
{
    assert_true(venv.out_count < ARRAY_SIZE(venv.out));
    venv.out[venv.out_count++] = (struct port_access){port, (uint8_t)size, value};
    if (venv.irq_at_out == venv.out_count) {
        cpu->interrupt_request = 1;
    }
    if (venv.exit_on_out) {
        cpu->exit_request = CPU_EXIT_PORT;
        cpu->exit_code = value;
    }
}

void tlb_flush_guest(struct CPUState *cpu, enum tlb_flush kind)
{
    venv.flush_all += kind != TLB_FLUSH_LOCAL;
    venv.flush_some += kind == TLB_FLUSH_LOCAL;
}

void cpu_debug_regs_changed(struct CPUState *cpu)
{
    venv.debug_changes++;
}

void tlb_flush_page_guest(struct CPUState *cpu, gva_t va)
{
    venv.flush_page++;
    venv.flushed_page = va;
}

void cpu_load_fs_base(struct CPUState *cpu)
{
    venv.hw_fs = cpu->env.segs[R_FS].base;
}

void cpu_load_gs_base(struct CPUState *cpu)
{
    venv.hw_gs = cpu->env.segs[R_GS].base;
}

void cpu_sync_fsgs_base(struct CPUState *cpu)
{
    cpu->env.segs[R_FS].base = venv.hw_fs;
    cpu->env.segs[R_GS].base = venv.hw_gs;
    vcpu_sync_kernel_gs(cpu);
}

/* An FPU of which byte i of the image is i + 1. */
void cpu_x87_image(struct CPUState *cpu, uint8_t *image)
{
    for (unsigned i = 0; i < X87_STATE_SIZE; i++) {
        image[i] = (uint8_t)(i + 1);
    }
}

void cpu_x87_stored(struct CPUState *cpu, bool fnsave)
{
    venv.x87_stored[fnsave]++;
}

void cpu_apply_cr0_cr4(struct CPUState *cpu)
{
    venv.applies++;
}

void cpu_tsc_offset_changed(struct CPUState *cpu)
{
    venv.tsc_offset_changes++;
}

void cpu_fsgsbase_cleared(struct CPUState *cpu)
{
    venv.fsgsbase_cleared++;
}

uint64_t cpu_host_tsc(struct CPUState *cpu)
{
    return venv.tsc;
}

/* Every feature bit set, but for the test's fields: a bit missing from a mask shows. */
static void fake_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
    r[0] = r[1] = r[2] = r[3] = 0xffffffff;
    if (leaf == 0 || leaf == 0x80000000) {
        r[0] = leaf + 0x20;
        r[1] = venv.cpuid_vendor;
    } else if (leaf == 1) {
        r[2] = venv.cpuid_l1_ecx;
    } else if (leaf == 7) {
        r[1] = venv.cpuid_l7_ebx;
        r[2] = venv.cpuid_l7_ecx;
    } else if (leaf == 0x80000001) {
        r[3] = venv.cpuid_x1_edx;
    } else if (leaf == 0xd && subleaf == 0) {
        r[0] = venv.cpuid_xcr0;
    } else if (leaf == 0xd && subleaf == 2) {
        r[0] = 256;
        r[1] = 576;
        r[2] = r[3] = 0;
    } else if (leaf == 0x80000008) {
        r[0] = 0x3028;
    }
}

void host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    if (venv.cpuid_host) {
        __asm__ volatile("cpuid"
                         : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                         : "0"(leaf), "2"(subleaf));
    } else {
        fake_cpuid(leaf, subleaf, out);
    }
}

/* ---- descriptors ---- */

/* s_type: S in bit 4, type in bits 0-3. Base 0, limit 4 GiB. */
uint64_t desc_make(unsigned s_type, unsigned dpl, bool present, bool l, bool d)
{
    uint64_t high = 0x008f0000u | s_type << 8 | dpl << 13 | (present ? 1u << 15 : 0) |
                    (l ? 1u << 21 : 0) | (d ? 1u << 22 : 0);

    return high << 32 | 0xffff;
}

void env_set_gdt(uint16_t selector, uint64_t low)
{
    env_write(ENV_GDT + (selector & ~7u), 8, low);
}

uint64_t env_get_gdt(uint16_t selector)
{
    return env_read(ENV_GDT + (selector & ~7u), 8);
}

void env_set_system(uint16_t selector, unsigned type, unsigned dpl, bool present, uint64_t base,
                    uint32_t limit)
{
    uint64_t low = (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)(limit >> 16 & 15) << 48 |
                   (base >> 24 & 0xff) << 56;

    low |= (uint64_t)(type | dpl << 5 | (present ? 0x80u : 0)) << 40;
    env_set_gdt(selector, low);
    env_write(ENV_GDT + (selector & ~7u) + 8, 8, base >> 32);
}

static void write_gate(uint64_t va, unsigned attr, uint16_t selector, uint64_t offset)
{
    uint64_t low = (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)attr << 32 |
                   (offset >> 16 & 0xffff) << 48;

    env_write(va, 8, low);
    env_write(va + 8, 8, offset >> 32);
}

void env_set_gate(unsigned vector, unsigned type, unsigned dpl, bool present, uint16_t selector,
                  uint64_t offset, unsigned ist)
{
    write_gate(ENV_IDT + vector * 16, ist | type << 8 | dpl << 13 | (present ? 0x8000u : 0),
               selector, offset);
}

void env_set_call_gate(uint16_t at, unsigned type, unsigned dpl, bool present, uint16_t selector,
                       uint64_t offset)
{
    write_gate(ENV_GDT + (at & ~7u), type << 8 | dpl << 13 | (present ? 0x8000u : 0), selector,
               offset);
}

static void build_tables(void)
{
    static const struct {
        uint16_t sel;
        uint8_t s_type, dpl;
        bool l;
    } seg[] = {
        {SEL_KCODE, 0x1b, 0, 1}, {SEL_KDATA, 0x13, 0, 0}, {SEL_UCODE32, 0x1b, 3, 0},
        {SEL_UDATA, 0x13, 3, 0}, {SEL_UCODE, 0x1b, 3, 1}, {SEL_CODE1, 0x1b, 1, 1},
        {SEL_DATA1, 0x13, 1, 0}, {SEL_CODE2, 0x1b, 2, 1}, {SEL_DATA2, 0x13, 2, 0},
        {SEL_CONF0, 0x1f, 0, 1}, {SEL_CONF3, 0x1f, 3, 1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(seg); i++) {
        env_set_gdt(seg[i].sel, desc_make(seg[i].s_type, seg[i].dpl, true, seg[i].l, !seg[i].l));
    }
    env_set_system(SEL_TSS, 9, 0, true, ENV_TSS, ENV_TSS_LIMIT);
    env_set_system(SEL_LDT, 2, 0, true, ENV_LDT, 0x7f);
    for (unsigned v = 0; v < 256; v++) {
        env_set_gate(v, 14, 0, true, SEL_KCODE, ENV_HANDLER(v), 0);
    }
    for (unsigned n = 0; n < 3; n++) {
        env_write(ENV_TSS + TSS_RSP(n), 8, ENV_RSP(n));
    }
    for (unsigned n = 1; n <= 7; n++) {
        env_write(ENV_TSS + TSS_IST(n), 8, ENV_IST(n));
    }
    env_write(ENV_TSS + 0x66, 2, 0x68);
}

/* Zero memory, then the tables, which are built once. */
static void reset_memory(void)
{
    static uint8_t tables[0x8000];
    static bool built;

    for (unsigned i = 0; i < ENV_MEM_SIZE / 4096; i++) {
        if (touched[i]) {
            memset(&venv.mem[i * 4096], 0, 4096);
            touched[i] = false;
        }
    }
    if (!built) {
        build_tables();
        memcpy(tables, venv.mem, sizeof(tables));
        built = true;
    }
    memcpy(venv.mem, tables, sizeof(tables));
}

void env_reset(void)
{
    struct CPUX86State *env = &vcpu.env;

    memset(&venv.high, 0, sizeof(venv) - offsetof(struct vcpu_env, high));
    reset_memory();
    memset(&vcpu.env, 0, sizeof(vcpu.env));
    vcpu.interrupt_request = 0;
    memset(&vcpu_vp, 0, sizeof(vcpu_vp));
    for (unsigned i = 1; i < ENV_MEM_SIZE / 4096; i++) {
        venv.perm[i] = PERM_P | PERM_W | (i * 4096 >= ENV_USER ? PERM_U : 0);
    }
    venv.high_perm[0] = venv.high_perm[1] = PERM_P | PERM_W | PERM_U;
    venv.cpuid_l1_ecx = venv.cpuid_l7_ebx = venv.cpuid_l7_ecx = venv.cpuid_x1_edx = 0xffffffff;
    venv.cpuid_xcr0 = 7;
    venv.cpuid_vendor = 0x756e6547; /* "Genu" */
    vcpu.vp = vcpu.vp_view[0] = &vcpu_vp;
    cpuid_init();
    cpu_reset(&vcpu);
    venv.applies = 0;
    venv.x87_stored[0] = venv.x87_stored[1] = 0;
    env->gdt = (struct segment_cache){.base = ENV_GDT, .limit = ENV_GDT_LIMIT};
    env->idt = (struct segment_cache){.base = ENV_IDT, .limit = 0xfff};
    env->tr = (struct segment_cache){SEL_TSS, ENV_TSS_LIMIT, DESC_P_MASK | 11 << 8, ENV_TSS};
    env->eip = ENV_CODE;
    for (unsigned i = 0; i < 16; i++) {
        env->regs[i] = 0x1111111111111111ull * i;
    }
    env->regs[R_ESP] = ENV_KSTACK;
}

void env_set_cpl(unsigned cpl)
{
    vcpu.env.cpl = (uint8_t)cpl;
    cpu_x86_load_seg_cache(&vcpu, R_CS, env_code_sel[cpl], 0, 0xffffffff, FLAT_CODE64(cpl));
    cpu_x86_load_seg_cache(&vcpu, R_SS, env_data_sel[cpl], 0, 0xffffffff, FLAT_DATA(cpl));
    vcpu.env.regs[R_ESP] = cpl == 3 ? ENV_USTACK : ENV_KSTACK;
}

int env_exec(const char *bytes, unsigned len)
{
    struct insn insn;
    int decoded = insn_decode(&insn, (const uint8_t *)bytes, len);

    vcpu.exception_index = EXCP_NONE;
    vcpu.exception_is_int = false;
    vcpu.error_code = 0;
    if (decoded == DECODE_INVALID) {
        return raise_fault(&vcpu, EXCP06_ILLOP, 0); /* as the main loop does */
    }
    assert_int_equal(decoded, DECODE_OK);
    assert_int_equal(insn.len, len);
    assert_int_equal(insn.kind, INSN_SENS);
    return helper_sensitive(&vcpu, &insn, (const uint8_t *)bytes);
}

void expect_ok(int result)
{
    if (result) {
        fail_msg("raised vector %d error %#lx (%s)", vcpu.exception_index, vcpu.error_code,
                 vcpu.exit_msg);
    }
    env_cases++;
}

void expect_fault(int result, int vector, uint64_t error_code)
{
    if (result != 1 || vcpu.exception_index != vector || vcpu.error_code != error_code ||
        vcpu.exception_is_int) {
        fail_msg("expected vector %d error %#lx; result %d vector %d error %#lx", vector,
                 error_code, result, vcpu.exception_index, vcpu.error_code);
    }
    assert_int_equal(vcpu.env.eip, ENV_CODE);
    env_cases++;
}

void expect_exit(int result, enum cpu_exit_request why)
{
    assert_int_equal(result, 1);
    assert_int_equal(vcpu.exit_request, why);
    assert_int_equal(vcpu.exception_index, EXCP_EXIT);
    env_cases++;
}
