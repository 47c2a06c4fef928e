/* SPDX-License-Identifier: MIT */
/*
 * Sensitive instructions in the hosted build: those that ring-3 code meets, as ring 3 has them; all others raise #GP. What they
 * store goes past protection, after invalidating what it hits.
 */
#include <string.h>

#include "dbt/host.h"
#include "dbt/x87-ip.h"
#include "tests/host/hosted.h"

static bool monitor_store(struct CPUState *cpu, uint64_t va, const void *buf, size_t len)
{
    const uint8_t *p = buf;

    for (size_t i = 0; i < len; i++) {
        if (probe_page_addr_data(cpu, va + i) == TB_PAGE_ADDR_INVALID) {
            cpu->env.cr[2] = va + i;
            raise_exception_err(cpu, EXCP0E_PAGE, PG_ERROR_W_MASK | PG_ERROR_U_MASK);
            return false;
        }
    }
    for (size_t i = 0; i < len; i++) {
        tb_page_addr_t ram = probe_page_addr_data(cpu, va + i);

        tb_invalidate_phys_range(cpu, ram, ram, 0);
        hosted_sample_written(va + i);
        *(uint8_t *)store_alias(cpu, va + i, 1) = p[i];
    }
    return true;
}

/* ---- x87: the guest's state is put on the CPU for a moment ---- */

static uint8_t own_fp[HOSTED_XSAVE_SIZE] __attribute__((aligned(64)));

#define WITH_GUEST_FP(insns, ...)                                                                                        \
    __asm__ volatile("xsave64 %[own]\n\txrstor64 %[guest]\n\t" insns "xsave64 %[guest]\n\txrstor64 %[own]"                 \
                     : [own] "+m"(own_fp), [guest] "+m"(hosted_guest_fp), ##__VA_ARGS__                                  \
                     : "a"(-1), "d"(-1)                                                                                  \
                     : "memory")

static void x87_image(uint8_t *image)
{
    static uint8_t fx[512] __attribute__((aligned(16)));
    uint8_t env[X87_ENV_SIZE];

    WITH_GUEST_FP("fxsave64 %[fx]\n\tfnstenv %[env]\n\tfxrstor64 %[fx]\n\t", [fx] "+m"(fx), [env] "=m"(env));
    memcpy(image, env, sizeof(env));
    for (unsigned i = 0; i < 8; i++) {
        memcpy(image + X87_ENV_SIZE + 10 * i, fx + 32 + 16 * i, 10);
    }
}

uint32_t host_fip(struct CPUState *cpu)
{
    uint8_t image[X87_STATE_SIZE];
    uint32_t fip;

    x87_image(image);
    memcpy(&fip, image + X87_FIP_OFFSET, sizeof(fip));
    return fip;
}

static uint64_t operand_address(struct CPUState *cpu, const struct insn *insn)
{
    uint64_t seg_base[6] = {0};
    struct insn_access access[INSN_MAX_ACCESS];
    const struct insn_regs regs = {cpu->env.regs, seg_base, cpu->env.eflags, 0};
    bool exact;

    insn_accesses(insn, &regs, cpu->env.eip + insn->len, access, &exact);
    return access[0].addr;
}

static bool x87_store(struct CPUState *cpu, const struct insn *insn)
{
    uint8_t image[X87_STATE_SIZE], out[X87_STATE_SIZE], unused[X87_ENV_SIZE];
    uint32_t fip;

    x87_image(image);
    memcpy(&fip, image + X87_FIP_OFFSET, sizeof(fip));
    fip = x87_ip_to_guest(fip);
    memcpy(image + X87_FIP_OFFSET, &fip, sizeof(fip));
    if (!monitor_store(cpu, operand_address(cpu, insn), out, x87_image_format(insn, image, out))) {
        return false;
    }
    if (insn->sens == SENS_FNSAVE) {
        WITH_GUEST_FP("fninit\n\t", [unused] "=m"(unused));
    } else {
        WITH_GUEST_FP("fnstenv %[unused]\n\t", [unused] "=m"(unused));
    }
    return true;
}

static void execute_cpuid(struct CPUState *cpu)
{
    uint32_t out[4];

    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "0"((uint32_t)cpu->env.regs[R_EAX]), "2"((uint32_t)cpu->env.regs[R_ECX]));
    cpu->env.regs[R_EAX] = out[0];
    cpu->env.regs[R_EBX] = out[1];
    cpu->env.regs[R_ECX] = out[2];
    cpu->env.regs[R_EDX] = out[3];
}

static bool execute_pushf(struct CPUState *cpu)
{
    uint64_t v = (cpu->env.eflags & ~(uint64_t)TF_MASK) | IF_MASK | 2;

    if (!monitor_store(cpu, cpu->env.regs[R_ESP] - 8, &v, sizeof(v))) {
        return false;
    }
    cpu->env.regs[R_ESP] -= 8;
    return true;
}

int helper_sensitive(struct CPUState *cpu, const struct insn *insn, const uint8_t *bytes)
{
    switch (insn->sens) {
    case SENS_CPUID:
        execute_cpuid(cpu);
        break;
    case SENS_PUSHF:
        if (!execute_pushf(cpu)) {
            return 1;
        }
        break;
    case SENS_POPF: {
        uint64_t mask = CC_ALL | DF_MASK;
        uint64_t v = *(uint64_t *)cpu->env.regs[R_ESP];

        cpu->env.eflags = (cpu->env.eflags & ~mask) | (v & mask);
        cpu->env.regs[R_ESP] += 8;
        break;
    }
    case SENS_FNSTENV:
    case SENS_FNSAVE:
        if (!x87_store(cpu, insn)) {
            return 1;
        }
        break;
    case SENS_INT3:
        cpu->env.eip += insn->len; /* a trap */
        raise_exception(cpu, EXCP03_INT3);
        return 1;
    default:
        raise_exception_err(cpu, EXCP0D_GPF, 0);
        return 1;
    }
    cpu->env.eip += insn->len;
    return 0;
}
