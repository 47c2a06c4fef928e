/* SPDX-License-Identifier: MIT */
/*
 * The sampling profile: counts of ticks by where they found the CPU, and the guest addresses at which translated code was found
 * most. It costs nothing between ticks, so it is always on. Of the monitor it knows only what it was
 * busy with: the last event counted before ring 3 was entered again (CPU_STAT). Its functions are sampled by NMIs, on request
 * (kernel/nmi-samples.c).
 */
#include "kernel/profile.h"

#include "dbt/tb.h"
#include "kernel/guest-symbols.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "kernel/monitor.h"
#include "kernel/nmi-samples.h"
#include "kernel/run.h"
#include "kernel/stat.h"

#define SITES     1024u /* power of two */
#define PROBES    8u
#define TOP_LINES 20u

/* What the monitor was busy with, by the last event. */
enum busy { BUSY_TRANSLATE, BUSY_CHAIN, BUSY_LOOKUP, BUSY_SENS, BUSY_FILL, BUSY_SMC, BUSY_FAULT, BUSY_OTHER, BUSY_COUNT };
static const char *const busy_names[BUSY_COUNT] = {
    [BUSY_TRANSLATE] = "prof_translate", [BUSY_CHAIN] = "prof_chain",  [BUSY_LOOKUP] = "prof_lookup",
    [BUSY_SENS] = "prof_sens",           [BUSY_FILL] = "prof_fill",    [BUSY_SMC] = "prof_smc",
    [BUSY_FAULT] = "prof_fault",         [BUSY_OTHER] = "prof_other",
};
static const char *const busy_texts[BUSY_COUNT] = {
    [BUSY_TRANSLATE] = "translating",
    [BUSY_CHAIN] = "linking blocks",
    [BUSY_LOOKUP] = "looking up indirect targets",
    [BUSY_SENS] = "sensitive instructions",
    [BUSY_FILL] = "shadow fills",
    [BUSY_SMC] = "stores to code",
    [BUSY_FAULT] = "guest faults, devices",
    [BUSY_OTHER] = "interrupts and other",
};

struct site {
    uint64_t pc; /* of the TB */
    uint32_t count;
    uint32_t cpl;
};

/* Owner: the CPU that runs the guest. */
static struct {
    uint64_t ticks, idle, code[2]; /* code: guest kernel, guest user */
    uint64_t busy[BUSY_COUNT];
    uint64_t lost;                 /* samples of sites that have no place in the table */
    struct site site[SITES];
} prof;

static enum busy busy_with(enum stat_id last)
{
    switch (last) {
    case STAT_tb_gen:
    case STAT_tb_flush:
    case STAT_page_protect:
        return BUSY_TRANSLATE;
    case STAT_exit_chain:
        return BUSY_CHAIN;
    case STAT_exit_lookup:
        return BUSY_LOOKUP;
    case STAT_exit_sens:
    case STAT_shadow_flush:
        return BUSY_SENS;
    case STAT_shadow_fill:
        return BUSY_FILL;
    case STAT_smc_fault:
    case STAT_smc_fault_miss:
    case STAT_smc_check:
    case STAT_smc_check_vain:
    case STAT_smc_check_fill:
    case STAT_page_unprotect:
    case STAT_tb_invalidated:
    case STAT_redo_tb:
        return BUSY_SMC;
    case STAT_guest_fault:
    case STAT_mmio:
        return BUSY_FAULT;
    default:
        return BUSY_OTHER;
    }
}

/* Count the site; a full neighbourhood ages, so that what is hot now gets in. */
static void count_site(uint64_t pc, uint32_t cpl)
{
    unsigned at = (unsigned)((pc * 0x9e3779b97f4a7c15ull) >> 54);
    struct site *least = &prof.site[at];

    for (unsigned i = 0; i < PROBES; i++) {
        struct site *s = &prof.site[(at + i) & (SITES - 1)];

        if (s->count && s->pc == pc && s->cpl == cpl) {
            s->count++;
            return;
        }
        if (s->count < least->count) {
            least = s;
        }
    }
    if (least->count) {
        least->count--;
        prof.lost++;
    } else {
        *least = (struct site){.pc = pc, .count = 1, .cpl = cpl};
    }
}

void profile_tick(struct CPUState *cpu, uint64_t entry_pc, uint64_t host_pc)
{
    prof.ticks++;
    if (host_pc == entry_pc && cpu->last_stat != STAT_exit_irq) { /* else: the head of a loop, resumed after the last tick */
        prof.busy[busy_with(cpu->last_stat)]++;
        return;
    }
    const struct TranslationBlock *tb = tcg_tb_lookup(host_pc);

    prof.code[cpu->env.cpl == 3]++;
    if (tb) {
        count_site(tb->pc, cpu->env.cpl);
    }
}

void profile_idle(void)
{
    prof.ticks++;
    prof.idle++;
}

/* ---- the command ---- */

static void print_share(const char *text, uint64_t n)
{
    uint64_t tenths = prof.ticks ? n * 1000 / prof.ticks : 0;

    if (n) {
        printk("%4lu.%lu %%  %s\n", tenths / 10, tenths % 10, text);
    }
}

static void print_sites(void)
{
    static bool shown[SITES]; /* owner: the prompt */
    char symbol[96];

    memset(shown, 0, sizeof(shown));
    for (unsigned n = 0; n < TOP_LINES; n++) {
        unsigned best = SITES;

        for (unsigned i = 0; i < SITES; i++) {
            if (!shown[i] && prof.site[i].count && (best == SITES || prof.site[i].count > prof.site[best].count)) {
                best = i;
            }
        }
        if (best == SITES) {
            break;
        }
        shown[best] = true;
        uint64_t tenths = prof.site[best].count * 1000ull / prof.ticks;
        guest_symbol(vcpu0(), prof.site[best].pc, symbol, sizeof(symbol));
        printk("%4lu.%lu %%  block at %016lx%s, cpl %u\n", tenths / 10, tenths % 10, prof.site[best].pc, symbol,
               prof.site[best].cpl);
    }
}

static void cmd_top(char *args)
{
    if (!strcmp(args, "clear")) {
        memset(&prof, 0, sizeof(prof));
        nmi_samples_clear();
        return;
    }
    if (!strcmp(args, "nmi")) {
        if (!nmi_samples_start()) {
            printk("top: no local APIC to send NMIs; only the tick's samples\n");
        }
        return;
    }
    if (!strcmp(args, "nmi off")) {
        nmi_samples_stop();
        return;
    }
    if (*args) {
        printk("top: expected nothing, 'clear', 'nmi' or 'nmi off', found '%s'\n", args);
        return;
    }
    printk("%lu ticks\n", prof.ticks);
    print_share("translated code of the guest's kernel", prof.code[0]);
    print_share("translated code of the guest's programs", prof.code[1]);
    print_share("idle", prof.idle);
    for (unsigned i = 0; i < BUSY_COUNT; i++) {
        print_share(busy_texts[i], prof.busy[i]);
    }
    print_sites();
    nmi_samples_print();
}

static const struct monitor_command top = {"top", "[clear | nmi [off]]", "where the time goes, by samples of the tick; nmi: in the monitor, too", cmd_top};

void profile_init(void)
{
    stat_register("prof_ticks", &prof.ticks);
    stat_register("prof_kernel", &prof.code[0]);
    stat_register("prof_user", &prof.code[1]);
    stat_register("prof_idle", &prof.idle);
    for (unsigned i = 0; i < BUSY_COUNT; i++) {
        stat_register(busy_names[i], &prof.busy[i]);
    }
    monitor_register(&top);
}
