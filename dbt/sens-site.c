/* SPDX-License-Identifier: MIT */
/*
 * The decoded sensitive instructions: filled when an exit is taken for the first time, executed by the host's helper_sensitive(). Must not
 * know what any of them does.
 */
#include "dbt/sens-site.h"

#include "kernel/lib/string.h"

struct sens_site sens_sites[SENS_SITES];

const struct sens_site *sens_site_make(struct CPUState *cpu, const struct TranslationBlock *tb, const struct tb_run *run,
                                       uint64_t host_pc)
{
    struct sens_site *site = sens_site_slot(host_pc);
    uint8_t copy[INSN_MAX_LEN];
    const uint8_t *bytes;

    site->host_pc = 0;
    if (!cpu_fetch_insn(cpu, cpu->env.eip, &site->insn, copy, &bytes) || site->insn.kind != INSN_SENS) {
        return NULL;
    }
    memcpy(site->bytes, bytes, site->insn.len);
    site->host_pc = host_pc;
    site->flushes = tb_flush_count();
    site->guest_pc = cpu->env.eip;
    site->fast_exit = run->spilled == (BIT(R_ECX) | BIT(R_R11));
    site->tb = tb;
    site->run = run;
    return site;
}

void sens_site_restore(struct CPUState *cpu, const struct sens_site *site, uint64_t host_pc)
{
    if (unlikely(!site->fast_exit)) {
        cpu_restore_state_from(cpu, site->tb, site->run, host_pc - 1);
        return;
    }
    cpu->env.eip = site->guest_pc;
    cpu->env.regs[R_ECX] = cpu->vp->spill[R_ECX];
    cpu->env.regs[R_R11] = cpu->vp->spill[R_R11];
}

bool sens_site_run(struct CPUState *cpu, const struct sens_site *site)
{
    CPU_STAT(cpu, exit_sens);
    return site && !helper_sensitive(cpu, &site->insn, site->bytes) && site->insn.sens != SENS_SYSCALL; /* which clears TF first */
}
