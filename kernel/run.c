/* SPDX-License-Identifier: MIT */
/*
 * mode = translate: puts the virtual CPU together from mm/, dbt/ and the devices, runs it, and says in one line why it
 * ended. Everything the guest can do ends here, never in panic().
 */
#include "kernel/run.h"

#include "dbt/cpu-exec.h"
#include "dbt/host.h"
#include "dbt/kernel-links.h"
#include "dbt/link-set.h"
#include "dbt/page-state.h"
#include "dbt/store-site.h"
#include "dbt/translate-all.h"
#include "kernel/cpu.h"
#include "kernel/debug.h"
#include "kernel/exit.h"
#include "kernel/framebuffer.h"
#include "kernel/guest-symbols.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/profile.h"
#include "kernel/self-check.h"
#include "kernel/snapshot.h"
#include "kernel/stat.h"
#include "kernel/vcpu/vcpu.h"
#include "mm/dirty-log.h"
#include "mm/frame.h"
#include "mm/kmap.h"
#include "mm/shadow.h"

#define SHADOW_TABLES_MAX 2048u /* 24 MiB of shadow tables */

static struct CPUState cpu0; /* owner: the host CPU that runs the guest */

struct CPUState *vcpu0(void)
{
    return &cpu0;
}

/* Guest FP state as after FNINIT with all vector registers zero; from here on it lives in the hardware. */
static void reset_fp_state(void)
{
    static uint8_t area[4096] __attribute__((aligned(64)));

    area[0] = 0x7f; /* FCW = 0x37f */
    area[1] = 0x03;
    area[24] = 0x80; /* MXCSR = 0x1f80 */
    area[25] = 0x1f;
    if (cpu_features.osxsave) {
        __asm__ volatile("xrstor64 %0" : : "m"(area), "a"(-1), "d"(-1) : "memory");
    } else {
        __asm__ volatile("fxrstor64 %0" : : "m"(area) : "memory");
    }
}

static void load_segment(struct CPUState *cpu, int reg, uint16_t selector, uint32_t type)
{
    struct segment_cache *seg = &cpu->env.segs[reg];

    seg->selector = selector;
    seg->base = 0;
    seg->limit = 0xffffffff;
    seg->flags = DESC_G_MASK | DESC_P_MASK | DESC_S_MASK | DESC_A_MASK | type;
    vcpu_publish_selector(cpu, (unsigned)reg);
}

static void set_start(struct CPUState *cpu, const struct guest_start *start)
{
    struct CPUX86State *env = &cpu->env;
    static const int data_segs[] = {R_DS, R_ES, R_SS, R_FS, R_GS};

    memcpy(env->regs, start->gpr, sizeof(env->regs));
    env->eip = start->rip;
    env->eflags = start->rflags | 2;
    env->cr[0] = start->cr0;
    env->cr[3] = start->cr3;
    env->cr[4] = start->cr4;
    env->efer = start->efer;
    env->gdt.base = start->gdt_base;
    env->gdt.limit = start->gdt_limit;
    env->idt.base = 0;
    env->idt.limit = 0;
    load_segment(cpu, R_CS, start->cs, DESC_L_MASK | DESC_CS_MASK | DESC_R_MASK);
    for (unsigned i = 0; i < ARRAY_SIZE(data_segs); i++) {
        load_segment(cpu, data_segs[i], start->ds, DESC_B_MASK | DESC_W_MASK);
    }
}

static void register_stats(struct CPUState *cpu)
{
#define X(n) stat_register(#n, &cpu->stat[STAT_##n]);
    STAT_LIST(X)
#undef X
    stat_register("link_hits", &link_stats.hits);
    stat_register("link_misses", &link_stats.misses);
    stat_register("link_changed", &link_stats.changed);
    stat_register("link_resets", &link_stats.resets);
    stat_register("link_jumps", &link_stats.jumps);
    stat_register("kernel_links_kept", &kernel_link_stats.kept);
    stat_register("kernel_links_lost", &kernel_link_stats.lost);
    stat_register("kernel_links_pages", &kernel_link_stats.pages);
    stat_register("shadow_fills", &shadow_stats.fills);
    stat_register("shadow_flushes", &shadow_stats.flushes);
    stat_register("shadow_large", &shadow_stats.large_maps);
    stat_register("shadow_splits", &shadow_stats.splits);
    stat_register("shadow_pool_flushes", &shadow_stats.pool_flushes);
    stat_register("shadow_roots", &shadow_stats.roots);
    stat_register("shadow_root_hits", &shadow_stats.root_hits);
    stat_register("shadow_root_evictions", &shadow_stats.root_evictions);
    stat_register("pt_resyncs", &shadow_stats.resyncs);
    stat_register("pt_sync_drops", &shadow_stats.sync_drops);
    stat_register("pt_synced", &shadow_stats.synced);
    stat_register("pt_unsynced", &shadow_stats.unsynced);
}

/* 0 or -ENOMEM. */
static int create_cpu(struct CPUState *cpu, const struct conf *conf, const struct guest_start *start)
{
    if (shadow_init(kmap_root(), SHADOW_TABLES_MAX) < 0 || dirty_log_init() < 0 || dbt_host_init(cpu, conf->cache) < 0 || fault_init() < 0 ||
        dbt_init(cpu) < 0) {
        return -ENOMEM;
    }
    reset_fp_state(); /* while the host's own CR4 still allows it */
    cpu_reset(cpu);
    set_start(cpu, start);
    cpu_apply_cr0_cr4(cpu);
    cpu_load_fs_base(cpu);
    cpu_load_gs_base(cpu);
    tlb_flush_guest(cpu, TLB_FLUSH_MODES);
    return 0;
}

/* One row a reason: what is said, and the value for port 0xf4. */
static const struct {
    const char *text;
    int value;
} endings[] = {
    [CPU_EXIT_TRIPLE_FAULT] = {"triple fault", EXIT_TRIPLE_FAULT},
    [CPU_EXIT_UNSUPPORTED] = {"unsupported", EXIT_UNSUPPORTED},
    [CPU_EXIT_HALTED] = {"halted", EXIT_HALTED},
    [CPU_EXIT_RESET] = {"reset", EXIT_RESET},
    [CPU_EXIT_POWEROFF] = {"power off", EXIT_SUCCESS_VALUE},
    [CPU_EXIT_TIMEOUT] = {"timeout", EXIT_TIMEOUT},
    [CPU_EXIT_USER] = {"quit", EXIT_USER_QUIT},
    [CPU_EXIT_ERROR] = {"error", EXIT_UNSUPPORTED},
    [CPU_EXIT_NOWHERE] = {"jump into nothing", EXIT_NOWHERE},
};

/* Endings that a panicking Linux may choose. */
static bool may_be_panic(enum cpu_exit_request why)
{
    return why == CPU_EXIT_RESET || why == CPU_EXIT_HALTED || why == CPU_EXIT_TRIPLE_FAULT || why == CPU_EXIT_TIMEOUT;
}

static int report_end(const struct CPUState *cpu)
{
    const char *text = endings[cpu->exit_request].text;
    int value = endings[cpu->exit_request].value;
    char symbol[112], after[40] = "";

    if (cpu->exit_request == CPU_EXIT_PORT) {
        printk("\nnotdirty: guest ended with value %lu\n", cpu->exit_code);
        return exit_value_of_guest((uint32_t)cpu->exit_code);
    }
    if (may_be_panic(cpu->exit_request) && guest_panicked(cpu)) {
        snprintf(after, sizeof(after), "its kernel gave up; then %s: ", text);
        text = "panic";
        value = EXIT_GUEST_PANIC;
    }
    guest_symbol(cpu, cpu->env.eip, symbol, sizeof(symbol));
    printk("\nnotdirty: guest %s: %s%s (pc %#lx%s, cpl %u)\n", text, after, cpu->exit_msg, cpu->env.eip, symbol,
           cpu->env.cpl);
    return value;
}

/* Until the run ends; breakpoints and the like only interrupt it. */
static void run_with_prompts(struct CPUState *cpu)
{
    for (;;) {
        cpu_exec(cpu);
        if (cpu->exit_request != CPU_EXIT_DEBUG) {
            return;
        }
        cpu->exit_request = CPU_RUNNING;
        machine_take_console(true);
        debug_stopped(cpu);
        machine_take_console(false);
    }
}

static void set_smc_policy(const struct conf *conf)
{
    bool check = conf->smc == CONF_SMC_CHECK; /* as QEMU's softmmu: no page is treated otherwise than others */

    smc_policy = (struct smc_policy){
        .adaptive = conf->adaptive == CONF_ON && conf->precise == CONF_ON && !check,
        .check = check,
        .precise = conf->precise == CONF_ON,
        .self_check_faults = conf->smc_self_check_faults,
        .self_check_hits = conf->smc_self_check_hits,
        .quiet_ticks = conf->smc_quiet_ticks,
        .bulk_faults = conf->smc_bulk_faults,
        .data_imm_hits = conf->smc_data_imm_hits,
        .disarm_faults = conf->smc_disarm_faults,
    };
    store_site_threshold = conf->adaptive == CONF_ON && !check ? conf->smc_store_sites : 0;
}

int run_guest(const struct conf *conf, const struct load *load, const struct boot_framebuffer *screen)
{
    struct CPUState *cpu = &cpu0;

    set_smc_policy(conf);
    if (create_cpu(cpu, conf, &load->start) < 0) {
        printk("guest: not enough memory for translation beside `memory` = %lu MiB with `cache` = %lu MiB; lower one\n",
               conf->memory >> 20, conf->cache >> 20);
        return EXIT_LOAD_ERROR;
    }
    register_stats(cpu);
    profile_init();
    self_check_init();
    if (load->fb.addr) {
        framebuffer_start(screen, load->fb.addr);
    }
    monitor_guest_init();
    monitor_machine_init();
    monitor_debug_init();
    monitor_snapshot_init();
    machine_init(cpu, conf);
    LOG(BOOT, "guest starts at %lx", cpu->env.eip);
    run_with_prompts(cpu);
    machine_stop();
    int value = report_end(cpu);
    if (self_check() > 0) {
        panic("the guest has changed the monitor, or its tables are inconsistent; expected neither");
    }
    printk("notdirty: self-check passed: monitor memory, TB lists and shadow tables are intact\n");
    return value;
}
