/* SPDX-License-Identifier: MIT */
/*
 * The guest's DR0-DR3 and DR7 (SDM 3B 17.2) put into effect. Instruction breakpoints are the translator's (dbt/debug.c). Data
 * breakpoints are watched pages (mm/watch.h): the access faults before it is made, with all registers at hand, so the bytes
 * are known exactly. The host's own debug registers are not used: QEMU's TCG reports unaligned stores beside the
 * watched bytes, and they see neither what the monitor does for the guest nor stores completed through another mapping.
 */
#include "kernel/debug.h"

#include "kernel/lib/log.h"
#include "kernel/vcpu/vcpu.h"
#include "mm/watch.h"

#define DEBUG_REGS 4

enum { DR7_RW_EXEC, DR7_RW_WRITE, DR7_RW_IO, DR7_RW_ACCESS };

/* One debug register with its part of DR7. */
struct debug_reg {
    bool enabled; /* L or G */
    unsigned rw;  /* DR7_RW_* */
    unsigned len; /* bytes: 1, 2, 4, 8 */
    gva_t va;     /* low bits that LEN makes the CPU ignore are 0 */
};

static struct debug_reg debug_reg(const struct CPUX86State *env, unsigned n)
{
    static const uint8_t lengths[] = {1, 2, 8, 4};
    struct debug_reg r = {
        .enabled = env->dr[7] >> (2 * n) & 3,
        .rw = env->dr[7] >> (16 + 4 * n) & 3,
        .len = lengths[env->dr[7] >> (18 + 4 * n) & 3],
    };

    r.va = r.rw == DR7_RW_EXEC ? env->dr[n] : env->dr[n] & ~(uint64_t)(r.len - 1);
    return r;
}

static bool is_data(const struct debug_reg *r)
{
    return r->enabled && (r->rw == DR7_RW_WRITE || r->rw == DR7_RW_ACCESS);
}

/* ---- what is in effect. Owner: this CPU ---- */

static struct debug_reg in_effect[DEBUG_REGS];

static void take_out(struct CPUState *cpu, unsigned n)
{
    const struct debug_reg *r = &in_effect[n];

    if (is_data(r)) {
        cpu_watchpoint_remove(cpu, BP_CPU, (int)n);
        watch_remove(r->va, r->len, r->rw == DR7_RW_ACCESS);
    } else if (r->enabled && r->rw == DR7_RW_EXEC) {
        cpu_breakpoint_remove(cpu, BP_CPU, (int)n);
    }
    in_effect[n].enabled = false;
}

static void put_in(struct CPUState *cpu, unsigned n, const struct debug_reg *r)
{
    bool reads = r->rw == DR7_RW_ACCESS;
    int err = 0;

    if (is_data(r)) {
        err |= watch_add(r->va, r->len, reads);
        err |= cpu_watchpoint_insert(cpu, r->va, r->len, BP_CPU | (reads ? BP_MEM_ACCESS : BP_MEM_WRITE), n);
    } else if (r->enabled && r->rw == DR7_RW_EXEC) {
        err |= cpu_breakpoint_insert(cpu, r->va, BP_CPU, n);
    }
    ASSERT(!err); /* monitor-debug.c leaves room for four of each */
    in_effect[n] = *r;
}

/* Linux writes these at context switches: only what is different costs anything. */
void cpu_debug_regs_changed(struct CPUState *cpu)
{
    for (unsigned n = 0; n < DEBUG_REGS; n++) {
        struct debug_reg r = debug_reg(&cpu->env, n);
        const struct debug_reg *old = &in_effect[n];

        if (r.enabled == old->enabled &&
            (!r.enabled || (r.rw == old->rw && r.len == old->len && r.va == old->va))) {
            continue;
        }
        take_out(cpu, n);
        put_in(cpu, n, &r);
        LOG(CPU, "dr%u: %s at %lx, r/w %u, %u bytes", n, r.enabled ? "on" : "off", r.va, r.rw, r.len);
    }
}

void guest_debug_io(struct CPUState *cpu, uint16_t port, unsigned size)
{
    const struct CPUX86State *env = &cpu->env;

    if (likely(!(env->cr[4] & CR4_DE_MASK) || !(env->dr[7] & 0xff))) {
        return;
    }
    for (unsigned n = 0; n < DEBUG_REGS; n++) {
        struct debug_reg r = debug_reg(env, n);

        if (r.enabled && r.rw == DR7_RW_IO && port < r.va + r.len && r.va < (uint64_t)port + size) {
            cpu->debug.hits |= (uint8_t)BIT(n);
        }
    }
}
