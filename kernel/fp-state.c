/* SPDX-License-Identifier: MIT */
/*
 * Saving and loading the FP state. The control registers mirror the guest's while it is paused, so CR0.TS, EM and CR4.OSXSAVE
 * may be in the way: they are set aside and put back by cpu_apply_cr0_cr4().
 */
#include "kernel/fp-state.h"

#include "dbt/x87-ip.h"
#include "kernel/cpu.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/vcpu/vcpu.h"
#include "kernel/x86.h"

#define XCR0_GUEST   7u /* x87, SSE, AVX: all that the guest can have (docs/guest-cpu.md) */
#define XSAVE_HEADER 512
#define MXCSR_OFFSET 24
#define MXCSR_MASK   28
#define ST_OFFSET    32

/* FP instructions work in ring 0 from here on. Returns the components that XSAVE knows, 0 without XSAVE. */
static uint32_t fp_open(void)
{
    uint32_t r[4];

    write_cr0(read_cr0() & ~(uint64_t)(CR0_TS_MASK | CR0_EM_MASK));
    write_cr4(read_cr4() | CR4_OSFXSR_MASK);
    if (!cpu_features.osxsave) {
        return 0;
    }
    write_cr4(read_cr4() | CR4_OSXSAVE_MASK);
    cpuid(0xd, 0, r);
    xsetbv(0, r[0] & XCR0_GUEST);
    return r[0] & XCR0_GUEST;
}

void fp_state_save(struct CPUState *cpu, struct fp_state *fp)
{
    uint32_t components = fp_open();

    memset(fp, 0, sizeof(*fp));
    if (components) {
        __asm__ volatile("xsave64 %0" : "+m"(*fp) : "a"(components), "d"(0));
    } else {
        __asm__ volatile("fxsave64 %0" : "+m"(*fp));
    }
    cpu_apply_cr0_cr4(cpu);
}

/* XRSTOR and FXRSTOR raise #GP for reserved bits of MXCSR and of the header (SDM 1 13.8). */
static bool image_valid(const struct fp_state *fp, uint32_t components)
{
    uint32_t mxcsr, mask;
    uint64_t header[8];

    memcpy(&mxcsr, fp->area + MXCSR_OFFSET, sizeof(mxcsr));
    memcpy(&mask, fp->area + MXCSR_MASK, sizeof(mask));
    memcpy(header, fp->area + XSAVE_HEADER, sizeof(header));
    for (unsigned i = 1; i < ARRAY_SIZE(header); i++) {
        if (components && header[i]) {
            return false;
        }
    }
    return !(mxcsr & ~(mask ? mask & 0xffff : 0xffbf)) && !(header[0] & ~(uint64_t)components);
}

int fp_state_load(struct CPUState *cpu, const struct fp_state *fp)
{
    uint32_t components = fp_open();
    bool valid = image_valid(fp, components);

    if (valid && components) {
        __asm__ volatile("xrstor64 %0" : : "m"(*fp), "a"(components), "d"(0));
    } else if (valid) {
        __asm__ volatile("fxrstor64 %0" : : "m"(*fp));
    }
    cpu_apply_cr0_cr4(cpu);
    return valid ? 0 : -EINVAL;
}

/*
 * fnsave would initialize the FPU, and QEMU's fxsave shows no FIP: so the environment is fnstenv's and the registers are fxsave's,
 * which has them in the same order. fxrstor undoes what fnstenv does to the control word.
 */
void fp_x87_image(struct CPUState *cpu, uint8_t *image)
{
    struct fp_state fx;

    fp_open();
    __asm__ volatile("fxsave64 %0\n\tfnstenv %1\n\tfxrstor64 %0" : "+m"(fx), "=m"(*(uint8_t(*)[X87_ENV_SIZE])image));
    for (unsigned i = 0; i < 8; i++) {
        memcpy(image + X87_ENV_SIZE + 10 * i, fx.area + ST_OFFSET + 16 * i, 10);
    }
    cpu_apply_cr0_cr4(cpu);
}

void fp_x87_stored(struct CPUState *cpu, bool fnsave)
{
    uint8_t unused[X87_ENV_SIZE];

    fp_open();
    if (fnsave) {
        __asm__ volatile("fninit");
    } else {
        __asm__ volatile("fnstenv %0" : "=m"(unused));
    }
    cpu_apply_cr0_cr4(cpu);
}
