/* SPDX-License-Identifier: MIT */
/*
 * The seam of dbt/ (dbt/host.h) on bare metal, as far as it is memory and running: code cache frames, instruction fetch
 * through the guest's page tables, write protection through mm/track, and the way into ring 3. Faults: kernel/fault.c.
 */
#include "dbt/host.h"

#include "dbt/link-set.h"
#include "dbt/page-state.h"
#include "dbt/store-table.h"
#include "dbt/translate-all.h"
#include "kernel/enter.h"
#include "kernel/irq.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "kernel/profile.h"
#include "kernel/run.h"
#include "kernel/vcpu/vcpu.h"
#include "kernel/x86.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/layout.h"
#include "mm/pte.h"
#include "mm/ram.h"
#include "mm/shadow.h"
#include "mm/track.h"

/* Owner: boot; constant afterwards. */
static struct code_gen_region region;
static uint64_t *kernel_table_rw;
/* Of the guest-user view, by link set. Owner: the vCPU loop. */
static struct {
    uint64_t *table, *slots;
} link_memory[LINK_SETS];
static uint64_t *store_table[VIEW_COUNT]; /* NULL: smc = protect */

/* Frames for a window of both views, one copy. Returns its alias in the physmap, NULL if out of memory. */
static void *shared_window(gva_t va, uint64_t size, unsigned flags)
{
    hpa_t hpa = frame_alloc_contig(size / PAGE_SIZE, MIN(size, (uint64_t)0x200000));

    if (hpa == HPA_INVALID || shadow_map_window(VIEW_KERNEL, va, hpa, size / PAGE_SIZE, flags) < 0 ||
        shadow_map_window(VIEW_USER, va, hpa, size / PAGE_SIZE, flags) < 0) {
        return NULL;
    }
    return phys_to_virt(hpa);
}

/* Frames for a window of one view, with pages of 4 KiB. Returns its alias, NULL if out of memory. */
static void *private_window(enum view view, gva_t va, uint64_t size)
{
    hpa_t hpa = frame_alloc_contig(size / PAGE_SIZE, PAGE_SIZE);

    return hpa == HPA_INVALID || shadow_map_window(view, va, hpa, size / PAGE_SIZE, 0) < 0 ? NULL : phys_to_virt(hpa);
}

/* QEMU's TCG says so in the leaf for hypervisors. Patching code that has run makes it translate that code anew. */
static bool is_emulated_cpu(void)
{
    uint32_t r[4];

    cpuid(1, 0, r);
    if (!(r[2] & BIT(31))) {
        return false;
    }
    cpuid(0x40000000, 0, r);
    return !memcmp(&r[1], "TCGTCGTCGTCG", 12);
}

/* smc = check: the tables that translated stores look at. 0 or -ENOMEM. */
static int store_tables_init(void)
{
    for (enum view v = 0; v < VIEW_COUNT; v++) {
        store_table[v] = private_window(v, STORE_TABLE_ADDR, STORE_TABLE_SIZE);
        if (!store_table[v]) {
            return -ENOMEM;
        }
    }
    region.store_table_addr = STORE_TABLE_ADDR;
    store_table_init();
    return 0;
}

int dbt_host_init(struct CPUState *cpu, uint64_t cache_size)
{
    uint64_t slots_size = cache_size / 4; /* as many as blocks of 32 bytes could need */

    region = (struct code_gen_region){
        .code_exec = CODE_CACHE_BASE,
        .code_rw = shared_window(CODE_CACHE_BASE, cache_size, SHADOW_MAP_X),
        .code_size = cache_size,
        .slots_exec = SLOTS_BASE,
        .slots_rw = shared_window(SLOTS_BASE, slots_size, 0),
        .slots_count = slots_size / 8,
        .links_exec = LINKS_BASE,
        .links_count = LINKS_SIZE / 8,
        .vcpu_addr = VCPU_PAGE_ADDR,
        .table_addr = JUMP_TABLE_ADDR,
        .patch_code = !is_emulated_cpu(),
        .exit_by_syscall = true,
    };
    for (enum view v = 0; v < VIEW_COUNT; v++) {
        hpa_t vp = frame_alloc();

        if (vp == HPA_INVALID || shadow_map_window(v, VCPU_PAGE_ADDR, vp, 1, SHADOW_MAP_W) < 0) {
            return -ENOMEM;
        }
        cpu->vp_view[v == VIEW_USER] = phys_to_virt(vp);
    }
    cpu->vp = cpu->vp_view[0];
    kernel_table_rw = private_window(VIEW_KERNEL, JUMP_TABLE_ADDR, JUMP_TABLE_SIZE);
    link_memory[0].table = private_window(VIEW_USER, JUMP_TABLE_ADDR, JUMP_TABLE_SIZE);
    link_memory[0].slots = private_window(VIEW_USER, LINKS_BASE, LINKS_SIZE);
    if (!kernel_table_rw || !link_memory[0].table || !link_memory[0].slots ||
        (smc_policy.check && store_tables_init() < 0)) {
        return -ENOMEM;
    }
    return region.code_rw && region.slots_rw && shadow_alias_init() == 0 ? 0 : -ENOMEM;
}

int code_gen_alloc(struct code_gen_region *r)
{
    *r = region;
    return region.code_rw ? 0 : -ENOMEM;
}

uint64_t *jump_table_rw(void)
{
    return kernel_table_rw;
}

bool link_set_alloc(unsigned set, uint64_t **table, uint64_t **slots)
{
    if (set) {
        link_memory[set].table = dbt_zalloc(JUMP_TABLE_SIZE);
        link_memory[set].slots = dbt_zalloc(LINKS_SIZE);
    }
    *table = link_memory[set].table;
    *slots = link_memory[set].slots;
    return *table && *slots;
}

void link_set_use(unsigned set)
{
    shadow_remap_window(VIEW_USER, JUMP_TABLE_ADDR, virt_to_phys(link_memory[set].table));
    shadow_remap_window(VIEW_USER, LINKS_BASE, virt_to_phys(link_memory[set].slots));
}

uint64_t *store_table_rw(bool user)
{
    return store_table[user ? VIEW_USER : VIEW_KERNEL];
}

void *dbt_zalloc(size_t size)
{
    hpa_t hpa = frame_alloc_contig(ALIGN_UP(size, PAGE_SIZE) / PAGE_SIZE, PAGE_SIZE);

    return hpa == HPA_INVALID ? NULL : phys_to_virt(hpa);
}

/* ---- guest memory ---- */

void vcpu_paging(const struct CPUX86State *env, struct guest_paging *gp)
{
    *gp = (struct guest_paging){
        .cr0 = env->cr[0], .cr3 = env->cr[3], .cr4 = env->cr[4], .efer = env->efer, .maxphyaddr = cpu_maxphyaddr()};
}

static tb_page_addr_t probe(struct CPUState *cpu, uint64_t va, unsigned access)
{
    struct guest_paging gp;
    struct walk_result res;
    ram_addr_t ram;

    vcpu_paging(&cpu->env, &gp);
    if (!is_canonical(va) || guest_walk(&gp, va, access | WALK_PROBE, &res) < 0 || !gpa_to_ram(res.gpa, &ram)) {
        return TB_PAGE_ADDR_INVALID;
    }
    return ram;
}

tb_page_addr_t probe_page_addr_code(struct CPUState *cpu, uint64_t pc)
{
    return probe(cpu, pc, WALK_FETCH | (cpu->env.cpl == 3 ? WALK_USER : 0));
}

tb_page_addr_t probe_page_addr_data(struct CPUState *cpu, uint64_t va)
{
    return probe(cpu, va, 0);
}

tb_page_addr_t probe_page_addr_store(struct CPUState *cpu, uint64_t va)
{
    return probe(cpu, va, WALK_WRITE | (cpu->env.cpl == 3 ? WALK_USER : 0));
}

/* What of an entry decides where code is fetched from, and whether that outlives a write to CR3: all but W, D and ignored bits. A must be set for the walk to be one
 * that the guest could not tell from the CPU's. */
#define CODE_PATH_MASK (PTE_P | PTE_U | PTE_A | PTE_PS | PTE_G | PTE_ADDR | PTE_NX)

int code_page_path(struct CPUState *cpu, uint64_t va, tb_page_addr_t ram, struct code_path_entry path[CODE_PATH_MAX])
{
    struct guest_paging gp;
    struct walk_result res;
    gpa_t table = cpu->env.cr[3] & PTE_ADDR;
    ram_addr_t at;
    unsigned n = 0;

    vcpu_paging(&cpu->env, &gp);
    if (!is_canonical(va) || guest_walk(&gp, va, WALK_FETCH | (cpu->env.cpl == 3 ? WALK_USER : 0), &res) < 0 ||
        !gpa_to_ram(res.gpa, &at) || at != ram) {
        return -1;
    }
    for (unsigned level = PT_LEVELS; level >= res.level; level--) {
        bool in_ram = gpa_to_ram(table + pt_index(va, level) * sizeof(uint64_t), &at);

        ASSERT(in_ram); /* or the walk would have failed */
        path[n++] = (struct code_path_entry){.entry = ram_to_virt(at), .value = res.entry[level] & CODE_PATH_MASK};
        table = res.entry[level] & PTE_ADDR;
    }
    return (int)n;
}

bool code_path_same(const struct code_path_entry *path, unsigned n)
{
    uint64_t differ = 0;

    for (unsigned i = 0; i < n; i++) {
        differ |= (pte_read(path[i].entry) ^ path[i].value) & CODE_PATH_MASK;
    }
    return !differ;
}

void tlb_protect_code(tb_page_addr_t page_addr)
{
    track_set(page_addr & PAGE_MASK, TRACK_CODE);
}

void tlb_unprotect_code(tb_page_addr_t page_addr)
{
    track_clear(page_addr & PAGE_MASK, TRACK_CODE);
}

const uint8_t *code_page_bytes(tb_page_addr_t addr)
{
    return ram_to_virt(addr);
}

void tlb_sample_dirty(tb_page_addr_t page_addr, bool on)
{
    track_sample(page_addr & PAGE_MASK, on);
}

bool tlb_test_and_clear_dirty(tb_page_addr_t page_addr)
{
    return track_test_and_clear_dirty(page_addr & PAGE_MASK);
}

/* ---- running ---- */

void host_run(struct CPUState *cpu, uint64_t host_pc, bool step, struct host_event *ev)
{
    static struct vcpu_regs r; /* owner: this CPU */
    struct CPUX86State *env = &cpu->env;

    host_load_root(shadow_root(env->cpl == 3 ? VIEW_USER : VIEW_KERNEL));
    if (unlikely(env->cr[4] & CR4_TSD_MASK)) { /* if not, neither has the hardware: cpu_apply_cr0_cr4() */
        cpu_apply_tsd(cpu);
    }
    r.rip = host_pc;
    r.rflags = (env->eflags & EFLAGS_HW_MASK) | USER_RFLAGS_FIXED | (step ? TF_MASK : 0);
    int vector = cpu_enter(&r, env->regs);
    env->eflags = (env->eflags & ~(uint64_t)EFLAGS_HW_MASK) | (r.rflags & EFLAGS_HW_MASK);
    ev->host_pc = r.rip;
    if (vector == CPU_ENTER_SYSCALL || vector == EXCP03_INT3) {
        ev->kind = HOST_EV_EXIT;
    } else if (vector == EXCP01_DB) {
        ev->kind = HOST_EV_STEP;
    } else if (vector >= 32) {
        ev->kind = HOST_EV_INTERRUPT;
        profile_tick(cpu, host_pc, r.rip);
        host_irq(vector);
    } else {
        ev->kind = HOST_EV_FAULT;
        ev->vector = (uint8_t)vector;
        ev->error_code = (uint32_t)r.error_code;
        ev->fault_addr = r.cr2;
    }
    LOG(EXEC, "%llx -> %llx vector %x", (unsigned long long)host_pc, (unsigned long long)r.rip, vector);
}

/* ---- one CPU: nobody else to stop ---- */

void start_exclusive(void)
{
}

void end_exclusive(void)
{
}
