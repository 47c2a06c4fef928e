/* SPDX-License-Identifier: MIT */
/* What a guest may know of the monitor's work on it: the table behind the counter port. Owns no counter and changes none. */
#include "dbt/tb.h"
#include "drivers/vdev/misc.h"
#include "kernel/payload-abi.h"
#include "kernel/run.h"
#include "mm/shadow.h"

_Static_assert(COUNTER_PORT_BASE == PAYLOAD_COUNTER_PORT, "the machine has the port where payloads look for it");

uint32_t guest_counter(void *opaque, uint32_t index)
{
    const uint64_t *stat = vcpu0()->stat;

    switch (index) {
    case PAYLOAD_COUNTER_PROBE:
        return PAYLOAD_COUNTER_MAGIC;
    case PAYLOAD_COUNTER_CHECK:
        return (uint32_t)(tb_maint_check(vcpu0()) + shadow_check());
    case PAYLOAD_COUNTER_SMC_FAULT:
        return (uint32_t)(stat[STAT_smc_fault] + stat[STAT_smc_check]);
    case PAYLOAD_COUNTER_SMC_FAULT_MISS:
        return (uint32_t)(stat[STAT_smc_fault_miss] + stat[STAT_smc_check_miss]);
    case PAYLOAD_COUNTER_TB_GEN:
        return (uint32_t)stat[STAT_tb_gen];
    case PAYLOAD_COUNTER_TB_INVALIDATED:
        return (uint32_t)stat[STAT_tb_invalidated];
    case PAYLOAD_COUNTER_TB_FLUSH:
        return (uint32_t)stat[STAT_tb_flush];
    case PAYLOAD_COUNTER_REDO_TB:
        return (uint32_t)stat[STAT_redo_tb];
    case PAYLOAD_COUNTER_PAGE_PROTECT:
        return (uint32_t)stat[STAT_page_protect];
    case PAYLOAD_COUNTER_PAGE_UNPROTECT:
        return (uint32_t)stat[STAT_page_unprotect];
    case PAYLOAD_COUNTER_EXIT_IRQ:
        return (uint32_t)stat[STAT_exit_irq];
    case PAYLOAD_COUNTER_PAGE_STATE:
        return (uint32_t)(stat[STAT_page_self_check] + stat[STAT_page_reprotect] + stat[STAT_page_bulk]);
    case PAYLOAD_COUNTER_MMIO:
        return (uint32_t)stat[STAT_mmio];
    default:
        return UINT32_MAX;
    }
}
