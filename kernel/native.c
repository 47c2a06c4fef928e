/* SPDX-License-Identifier: MIT */
/*
 * mode = native. The loader has filled guest RAM, a block somewhere in host memory, as for
 * translation; here every range of it goes to the same physical address of the host. What lies
 * below 1 MiB (page tables, GDT, boot information, stack) is copied at once: nothing of ours is
 * there. The rest may overlap the kernel, so a trampoline in low memory moves it and jumps.
 */
#include "kernel/native.h"

#include "kernel/console.h"
#include "kernel/irq.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "kernel/load-priv.h"
#include "kernel/native-priv.h"
#include "kernel/x86.h"
#include "mm/host.h"
#include "mm/kmap.h"
#include "mm/layout.h"
#include "mm/ram.h"

#define PTE_PW       0x003
#define PTE_PW_LARGE 0x083
#define GIB          (1ull << 30)

/* Claims were checked against the host's memory map when the guest was loaded; what is left is the
 * trampoline's own place. */
static int check_room(const struct load *ld, unsigned pd_count)
{
    uint64_t len = NATIVE_PD + pd_count * PAGE_SIZE - NATIVE_CODE;

    if (pd_count > NATIVE_PD_MAX) {
        printk(
            "native: memory = %lu MiB is more than this mode can stage (%u GiB); lower `memory`\n",
            ld->conf->memory >> 20, NATIVE_PD_MAX);
        return -E2BIG;
    }
    if (!load_is_free(ld, NATIVE_CODE, len)) {
        printk("native: host memory at %#x, %#lx bytes, is not free RAM\n", NATIVE_CODE, len);
        return -EBUSY;
    }
    return 0;
}

static void copy_low(const struct load_range *r)
{
    ram_addr_t ram;

    ASSERT(gpa_to_ram(r->base, &ram));
    memcpy(phys_to_virt(r->base), ram_to_virt(ram), r->len);
}

/* The low 4 GiB by the guest's own page directories, guest RAM at NATIVE_WINDOW, and the kernel for
 * its last instruction. */
static void build_tables(unsigned pd_count)
{
    uint64_t *pml4 = phys_to_virt(NATIVE_PML4), *pdpt = phys_to_virt(NATIVE_PDPT),
             *pd = phys_to_virt(NATIVE_PD);
    const uint64_t *kernel_root = phys_to_virt(kmap_root());
    hpa_t ram = ram_to_hpa(0);

    memset(pml4, 0, PAGE_SIZE);
    memset(pdpt, 0, PAGE_SIZE);
    pml4[0] = NATIVE_PDPT | PTE_PW;
    pml4[MONITOR_PML4_FIRST] = kernel_root[MONITOR_PML4_FIRST];
    for (unsigned i = 0; i < 4; i++) {
        pdpt[i] = (LOAD_PD + i * PAGE_SIZE) | PTE_PW;
    }
    for (unsigned i = 0; i < pd_count; i++) {
        pdpt[NATIVE_WINDOW / GIB + i] = (NATIVE_PD + i * PAGE_SIZE) | PTE_PW;
    }
    for (unsigned i = 0; i < pd_count * 512; i++) {
        pd[i] = (ram + ((uint64_t)i << 21)) | PTE_PW_LARGE;
    }
}

static void build_args(const struct load *ld)
{
    struct native_args *args = phys_to_virt(NATIVE_ARGS);

    memset(args, 0, sizeof(*args));
    args->start = ld->start;
    args->gdtr.limit = ld->start.gdt_limit;
    args->gdtr.base = ld->start.gdt_base;
    for (unsigned i = 0; i < ld->range_count; i++) {
        if (ld->range[i].base < LOAD_HIGH) {
            copy_low(&ld->range[i]);
        } else {
            args->range[args->range_count++] = ld->range[i];
        }
    }
}

/* System call MSRs and the hidden GS base as after reset. */
static void reset_msrs(void)
{
    static const uint32_t msrs[] = {MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_FMASK, MSR_KERNEL_GS_BASE};

    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
        wrmsr(msrs[i], 0);
    }
}

int native_run(const struct load *ld)
{
    unsigned pd_count = (unsigned)((ld->conf->memory + GIB - 1) / GIB);
    int err = check_room(ld, pd_count);

    if (err < 0) {
        return err;
    }
    printk("native: leaving the machine to the guest at %#lx\n", ld->start.rip);
    console_flush();
    irq_shutdown();
    reset_msrs();
    build_args(ld);
    build_tables(pd_count);
    memcpy(phys_to_virt(NATIVE_CODE), native_trampoline,
           (size_t)(native_trampoline_end - native_trampoline));
    native_jump(NATIVE_PML4, NATIVE_CODE, NATIVE_ARGS);
}
