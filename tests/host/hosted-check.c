/* SPDX-License-Identifier: MIT */
/* The part of the seam that smc = check needs, for a Linux process. */
#include "tests/host/hosted-check.h"

#include <asm/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dbt/host.h"
#include "dbt/page-state.h"
#include "tests/host/hosted.h"

uint64_t *hosted_store_table;

uint64_t *store_table_rw(bool user)
{
    return hosted_store_table; /* guest code is user code, always */
}

void cpu_sync_fsgs_base(struct CPUState *cpu)
{
    syscall(SYS_arch_prctl, ARCH_GET_FS, &cpu->env.segs[R_FS].base);
    syscall(SYS_arch_prctl, ARCH_GET_GS, &cpu->env.segs[R_GS].base);
    vcpu_sync_kernel_gs(cpu);
}

void hosted_set_gs_base(uint64_t base)
{
    syscall(SYS_arch_prctl, ARCH_SET_GS, base);
}

bool hosted_page_traps(const struct PageDesc *pd)
{
    return pd && pd->is_protected && !smc_policy.check;
}

void hosted_check_stores(bool on)
{
    hosted_forget(HOSTED_LOW_BASE, HOSTED_WINDOW_SIZE);
    hosted_forget(HOSTED_FAR_BASE, HOSTED_WINDOW_SIZE);
    smc_policy.check = on;
    if (on) {
        cpu_sync_fsgs_base(hosted_cpu()); /* nobody changes them */
        store_table_init();
    }
}
