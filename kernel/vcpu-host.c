/* SPDX-License-Identifier: MIT */
/* What kernel/vcpu/ needs of the machine: flushes, ports, and the hardware's mirrors of guest state. */
#include "dbt/host.h"
#include "dbt/page-state.h"
#include "dbt/store-site.h"
#include "dbt/store-table.h"
#include "dbt/translate-all.h"
#include "dbt/x87-ip.h"
#include "kernel/debug.h"
#include "kernel/fp-state.h"
#include "kernel/guest-memory.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/run.h"
#include "kernel/vcpu/vcpu.h"
#include "kernel/x86.h"
#include "mm/dirty-log.h"
#include "mm/host.h"
#include "mm/layout.h"
#include "mm/ram.h"
#include "mm/shadow.h"
#include "mm/walk.h"

void cpu_x87_image(struct CPUState *cpu, uint8_t *image)
{
    uint32_t fip;

    fp_x87_image(cpu, image);
    memcpy(&fip, image + X87_FIP_OFFSET, sizeof(fip));
    fip = x87_ip_to_guest(fip);
    memcpy(image + X87_FIP_OFFSET, &fip, sizeof(fip));
}

void cpu_x87_stored(struct CPUState *cpu, bool fnsave)
{
    fp_x87_stored(cpu, fnsave);
}

uint32_t host_fip(struct CPUState *cpu)
{
    uint8_t image[X87_STATE_SIZE];
    uint32_t fip;

    fp_x87_image(cpu, image);
    memcpy(&fip, image + X87_FIP_OFFSET, sizeof(fip));
    return fip;
}

uint32_t cpu_inport(struct CPUState *cpu, uint16_t port, unsigned size)
{
    guest_debug_io(cpu, port, size);
    return machine_inport(port, size);
}

void cpu_outport(struct CPUState *cpu, uint16_t port, unsigned size, uint32_t value)
{
    guest_debug_io(cpu, port, size);
    machine_outport(port, size, value);
}

/* mm/host.h */
void mm_mapping_changed(void)
{
    if (smc_policy.check) {
        store_table_flush();
    }
}

/* mm/host.h */
void mm_alias_dropped(void)
{
    store_sites_disarm();
}

/*
 * Writes to the windows that ring 3 sees of the monitor fault and are refused (fault.c), but reads do not. A guest that maps
 * something there may never look at it, so this is a warning, once.
 */
static void warn_if_windows_mapped(const struct guest_paging *gp)
{
    static const gva_t windows[] = {CODE_CACHE_BASE, SLOTS_BASE, LINKS_BASE, JUMP_TABLE_ADDR, VCPU_PAGE_ADDR, STORE_TABLE_ADDR};
    static bool warned;
    static uint64_t seen[64]; /* address spaces are looked at when they are new: CR3 is written often */
    uint64_t *last = &seen[(gp->cr3 >> PAGE_SHIFT) % ARRAY_SIZE(seen)];
    struct walk_result res;

    if (*last == gp->cr3 + 1) {
        return;
    }
    *last = gp->cr3 + 1;
    for (unsigned i = 0; i < ARRAY_SIZE(windows) && !warned; i++) {
        bool used = smc_policy.check || windows[i] != STORE_TABLE_ADDR;

        if (used && guest_walk(gp, windows[i], WALK_PROBE, &res) == 0) {
            warned = true;
            printk("notdirty: warning: the guest maps %#lx, where the monitor keeps translations; data it reads there is "
                   "not its own\n",
                   windows[i]);
        }
    }
}

/* The shadow tables are a virtual TLB: dropping more than the guest asked for is always right. So it is for what dbt/ keys by
 * guest virtual address. */
void tlb_flush_guest(struct CPUState *cpu, enum tlb_flush kind)
{
    struct guest_paging gp;

    vcpu_paging(&cpu->env, &gp);
    warn_if_windows_mapped(&gp);
    guest_tlb_flush();
    shadow_set_paging(&gp); /* drops what has changed, on global pages, too */
    if (kind == TLB_FLUSH_MODES) {
        shadow_flush();
    }
    dbt_tlb_flushed(cpu, kind);
    CPU_STAT(cpu, shadow_flush);
}

void tlb_flush_page_guest(struct CPUState *cpu, gva_t va)
{
    guest_tlb_drop(va);
    shadow_flush_page(va);
    dbt_tlb_page_flushed(cpu, va);
}

/* ---- hardware mirrors. In ring 0 the guest's GS base waits in MSR_KERNEL_GS_BASE for swapgs. ---- */

void cpu_load_fs_base(struct CPUState *cpu)
{
    wrmsr(MSR_FS_BASE, cpu->env.segs[R_FS].base);
}

void cpu_load_gs_base(struct CPUState *cpu)
{
    wrmsr(MSR_KERNEL_GS_BASE, cpu->env.segs[R_GS].base);
}

void cpu_sync_fsgs_base(struct CPUState *cpu)
{
    cpu->env.segs[R_FS].base = rdmsr(MSR_FS_BASE);
    cpu->env.segs[R_GS].base = rdmsr(MSR_KERNEL_GS_BASE);
    vcpu_sync_kernel_gs(cpu);
}

/* TSD binds the guest's user code only, and in hardware all of the guest is user code: on while that runs. */
static uint64_t time_stamp_disable(const struct CPUState *cpu)
{
    return cpu->env.cpl ? cpu->env.cr[4] & CR4_TSD_MASK : 0;
}

void cpu_apply_tsd(struct CPUState *cpu)
{
    uint64_t cr4 = read_cr4(), wanted = (cr4 & ~(uint64_t)CR4_TSD_MASK) | time_stamp_disable(cpu);

    if (cr4 != wanted) {
        write_cr4(wanted);
    }
}

/*
 * What must trap or work in ring 3 as in the guest: FPU availability (TS, EM, MP, NE), SSE and XSAVE enables, FSGSBASE, TSD.
 * WP and AM stay the monitor's own: 1 and 0.
 */
void cpu_apply_cr0_cr4(struct CPUState *cpu)
{
    const uint64_t cr0_bits = CR0_TS_MASK | CR0_EM_MASK | CR0_MP_MASK | CR0_NE_MASK;
    uint64_t cr4_bits = CR4_OSFXSR_MASK | CR4_OSXMMEXCPT_MASK | CR4_OSXSAVE_MASK | CR4_FSGSBASE_MASK;

    write_cr0((read_cr0() & ~cr0_bits) | (cpu->env.cr[0] & cr0_bits));
    write_cr4((read_cr4() & ~(cr4_bits | CR4_TSD_MASK)) | (cpu->env.cr[4] & cr4_bits) | time_stamp_disable(cpu));
    if (cpu->env.cr[4] & CR4_OSXSAVE_MASK) {
        xsetbv(0, cpu->env.xcr0);
    }
}

void cpu_tsc_offset_changed(struct CPUState *cpu)
{
    tb_flush(cpu);
}

void cpu_fsgsbase_cleared(struct CPUState *cpu)
{
    tb_flush(cpu);
}

void host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    cpuid(leaf, subleaf, out);
}

uint64_t cpu_host_tsc(struct CPUState *cpu)
{
    return rdtsc();
}
