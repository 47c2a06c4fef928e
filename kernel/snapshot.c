/* SPDX-License-Identifier: MIT */
/*
 * Snapshot and return. Restoring goes through the funnel of all writers, page by page, and only pages that differ are
 * written, so translations of what has not changed stay. Time is the host's: devices go on from the moment of the snapshot,
 * the TSC does not go back.
 */
#include "kernel/snapshot.h"

#include "drivers/vdev/state.h"
#include "kernel/fp-state.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "kernel/run.h"
#include "kernel/vcpu/vcpu.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/ram.h"

/* What of struct CPUState belongs to the guest and not to the run. */
struct cpu_snapshot {
    struct CPUX86State env;
    int exception_index;
    uint64_t error_code;
    bool exception_is_int;
    uint64_t exception_next_eip;
    struct fp_state fp;
};

/* Owner: the monitor. pages: a frame each, 0 for a zero page; NULL: there is no snapshot. */
static struct {
    struct cpu_snapshot cpu;
    struct vmachine_state devices;
    hpa_t *pages;
    uint64_t kept;
} snapshot;

static uint64_t ram_pages(void)
{
    return guest_ram_size() >> PAGE_SHIFT;
}

static uint64_t index_frames(void)
{
    return ALIGN_UP(ram_pages() * sizeof(hpa_t), PAGE_SIZE) >> PAGE_SHIFT;
}

static bool is_zero(const uint64_t *p)
{
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*p); i++) {
        if (p[i]) {
            return false;
        }
    }
    return true;
}

static void snapshot_drop(void)
{
    if (!snapshot.pages) {
        return;
    }
    for (uint64_t i = 0; i < ram_pages(); i++) {
        if (snapshot.pages[i]) {
            frame_free(snapshot.pages[i]);
        }
    }
    frame_free_contig(virt_to_phys(snapshot.pages), index_frames());
    snapshot.pages = NULL;
}

/* ---- save ---- */

static void cpu_save(struct CPUState *cpu, struct cpu_snapshot *s)
{
    cpu_sync_fsgs_base(cpu);
    s->env = cpu->env;
    s->exception_index = cpu->exception_index;
    s->error_code = cpu->error_code;
    s->exception_is_int = cpu->exception_is_int;
    s->exception_next_eip = cpu->exception_next_eip;
    fp_state_save(cpu, &s->fp);
}

static int pages_save(void)
{
    hpa_t index = frame_alloc_contig(index_frames(), PAGE_SIZE);

    if (index == HPA_INVALID) {
        return -ENOMEM;
    }
    snapshot.pages = phys_to_virt(index);
    snapshot.kept = 0;
    for (uint64_t i = 0; i < ram_pages(); i++) {
        const void *page = ram_to_virt(i << PAGE_SHIFT);
        hpa_t frame;

        if (is_zero(page)) {
            continue;
        }
        frame = frame_alloc();
        if (frame == HPA_INVALID) {
            return -ENOMEM;
        }
        memcpy(phys_to_virt(frame), page, PAGE_SIZE);
        snapshot.pages[i] = frame;
        snapshot.kept++;
    }
    return 0;
}

void snapshot_save(void)
{
    snapshot_drop();
    if (pages_save() < 0) {
        snapshot_drop();
        printk("snapshot: not enough memory beside the guest's; nothing is saved\n");
        return;
    }
    cpu_save(vcpu0(), &snapshot.cpu);
    machine_save(&snapshot.devices);
    printk("snapshot: saved at pc %#lx, %lu of %lu pages are not zero\n", vcpu0()->env.eip, snapshot.kept, ram_pages());
}

/* ---- restore ---- */

static uint64_t pages_restore(void)
{
    uint64_t changed = 0;

    for (uint64_t i = 0; i < ram_pages(); i++) {
        ram_addr_t ram = i << PAGE_SHIFT;
        hpa_t frame = snapshot.pages[i];
        void *page = ram_to_virt(ram);

        if (frame ? memcmp(page, phys_to_virt(frame), PAGE_SIZE) == 0 : is_zero(page)) {
            continue;
        }
        if (frame) {
            memcpy(page, phys_to_virt(frame), PAGE_SIZE);
        } else {
            memset(page, 0, PAGE_SIZE);
        }
        guest_ram_written(ram, PAGE_SIZE);
        changed++;
    }
    return changed;
}

static void cpu_restore(struct CPUState *cpu, const struct cpu_snapshot *s)
{
    bool tsc_offset_changes = !cpu->env.tsc_offset != !s->env.tsc_offset;
    bool fsgsbase_cleared = cpu->env.cr[4] & ~s->env.cr[4] & CR4_FSGSBASE_MASK;

    cpu->env = s->env;
    cpu->exception_index = s->exception_index;
    cpu->error_code = s->error_code;
    cpu->exception_is_int = s->exception_is_int;
    cpu->exception_next_eip = s->exception_next_eip;
    cpu->old_exception = EXCP_NONE;
    for (unsigned seg = 0; seg < ARRAY_SIZE(cpu->env.segs); seg++) {
        vcpu_publish_selector(cpu, seg);
    }
    cpu_load_fs_base(cpu);
    cpu_load_gs_base(cpu);
    vcpu_publish_kernel_gs(cpu);
    vcpu_publish_cr2(cpu);
    cpu_apply_cr0_cr4(cpu);
    if (tsc_offset_changes) {
        cpu_tsc_offset_changed(cpu);
    }
    if (fsgsbase_cleared) {
        cpu_fsgsbase_cleared(cpu);
    }
    cpu_debug_regs_changed(cpu);
    tlb_flush_guest(cpu, TLB_FLUSH_MODES);
}

void snapshot_restore(void)
{
    struct CPUState *cpu = vcpu0();
    uint64_t changed;

    if (!snapshot.pages) {
        printk("snapshot: there is none; `snapshot save` makes one\n");
        return;
    }
    if (fp_state_load(cpu, &snapshot.cpu.fp) < 0 || machine_load(&snapshot.devices) < 0) {
        printk("snapshot: its state is not one that this machine can be in; nothing is restored\n");
        return;
    }
    changed = pages_restore();
    cpu_restore(cpu, &snapshot.cpu);
    printk("snapshot: restored to pc %#lx, %lu pages had changed\n", cpu->env.eip, changed);
}
