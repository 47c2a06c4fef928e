/* SPDX-License-Identifier: MIT */
/*
 * The monitor's debugger: breakpoints, watchpoints, steps, disassembly. It decides what to show; stopping exactly is the work
 * of dbt/debug.c and, for watchpoints, of the frames' TRACK_WATCH.
 */
#include "dbt/cpu.h"
#include "dbt/host.h"
#include "kernel/debug.h"
#include "kernel/guest-symbols.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/monitor.h"
#include "kernel/run.h"
#include "mm/ram.h"
#include "mm/watch.h"

#define POINTS_MAX   12 /* of either kind: the guest's four debug registers always have room */
#define WATCH_LEN_MAX 0x100000
#define SHOWN_BYTES  8  /* of a watched range: old and new value */
#define STEP_MAX     1000000000ull
#define DISAS_MAX    64
#define INSN_TEXT    96

_Static_assert(POINTS_MAX + 4 <= CPU_BREAKPOINT_MAX && POINTS_MAX + 4 <= CPU_WATCHPOINT_MAX, "room for DR0-DR3");
_Static_assert(POINTS_MAX <= WATCH_MAX, "every watchpoint can be tracked");

/* What the user has set, numbered from 1 on, in one sequence. Owner: the monitor. */
struct point {
    unsigned id;   /* 0 = free */
    bool is_watch, reads;
    gva_t va;
    uint64_t len;  /* of a watch */
    uint64_t hits;
    uint8_t old[SHOWN_BYTES]; /* watch: its first bytes before the store that is being made */
    bool old_valid;
};
static struct point points[POINTS_MAX];

static struct point *point_find(unsigned id)
{
    for (unsigned i = 0; i < POINTS_MAX; i++) {
        if (points[i].id == id) {
            return &points[i];
        }
    }
    return NULL;
}

static struct point *point_new(void)
{
    struct point *p = point_find(0);
    unsigned id = 1;

    if (!p) {
        printk("no more than %u breakpoints and watchpoints\n", POINTS_MAX);
        return NULL;
    }
    while (point_find(id)) {
        id++;
    }
    *p = (struct point){.id = id};
    return p;
}

/* ---- guest memory and code, without any effect on the guest ---- */

/* Bytes at va as the guest's present page tables map them; returns how many could be read. */
static size_t peek(struct CPUState *cpu, gva_t va, uint8_t *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        tb_page_addr_t ram = probe_page_addr_data(cpu, va + done);
        size_t n = MIN(len - done, (size_t)(PAGE_SIZE - ((va + done) & ~PAGE_MASK)));

        if (ram == TB_PAGE_ADDR_INVALID) {
            break;
        }
        memcpy(buf + done, ram_to_virt(ram), n);
        done += n;
    }
    return done;
}

/* One line of disassembly; returns the instruction's length, 0 if there is nothing to decode. */
static unsigned print_insn(struct CPUState *cpu, gva_t pc)
{
    uint8_t bytes[INSN_MAX_LEN + 1];
    size_t avail = peek(cpu, pc, bytes, INSN_MAX_LEN);
    char text[INSN_TEXT];
    struct insn insn;

    if (!avail || insn_decode(&insn, bytes, avail) == DECODE_TRUNCATED) {
        printk("%016lx: not mapped\n", pc);
        return 0;
    }
    insn_format(&insn, bytes, pc, text, sizeof(text));
    printk("%016lx: %s\n", pc, text);
    return insn.len;
}

static void print_value(const uint8_t *bytes, uint64_t len)
{
    for (uint64_t i = MIN(len, (uint64_t)SHOWN_BYTES); i-- > 0;) {
        printk("%02x", bytes[i]);
    }
}

static void print_point(const struct point *p)
{
    if (p->is_watch) {
        printk("%s %u at %#lx, %lu bytes, %lu hits\n", p->reads ? "awatch" : "watch", p->id, p->va, p->len, p->hits);
    } else {
        printk("break %u at %#lx, %lu hits\n", p->id, p->va, p->hits);
    }
}

/* ---- stops ---- */

void debug_remember(struct CPUState *cpu)
{
    for (unsigned i = 0; i < POINTS_MAX; i++) {
        struct point *p = &points[i];
        size_t len = MIN(p->len, (uint64_t)SHOWN_BYTES);

        if (p->id && p->is_watch) {
            p->old_valid = peek(cpu, p->va, p->old, len) == len;
        }
    }
}

static void print_watch_hit(struct CPUState *cpu, struct point *p, gva_t pc)
{
    uint8_t now[SHOWN_BYTES];
    size_t len = MIN(p->len, (uint64_t)SHOWN_BYTES);

    printk("%s %u at %#lx, %lu bytes: ", p->reads ? "awatch" : "watch", p->id, p->va, p->len);
    if (p->old_valid && peek(cpu, p->va, now, len) == len) {
        printk("old ");
        print_value(p->old, len);
        printk(" new ");
        print_value(now, len);
        printk(", ");
    }
    printk("%s by\n", p->reads ? "accessed" : "written");
    print_insn(cpu, pc);
}

void debug_stopped(struct CPUState *cpu)
{
    enum debug_stop why = (enum debug_stop)cpu->debug.stop;
    struct point *p = point_find(cpu->debug.stop_id);

    cpu->debug.stop = DEBUG_NONE;
    cpu->debug.step_left = 0;
    printk("\n");
    if (why == DEBUG_WATCH && p) {
        p->hits++;
        print_watch_hit(cpu, p, cpu->debug.stop_pc);
        printk("next ");
    } else if (why == DEBUG_BREAK && p) {
        p->hits++;
        printk("break %u at ", p->id);
    } else {
        printk("step: ");
    }
    print_insn(cpu, cpu->env.eip);
    monitor_enter();
    cpu->debug.resume = cpu_debug_active(&cpu->debug);
}

/* ---- commands ---- */

/* Cut the next word off *args: a number, or a symbol of the guest's, with or without "+number". As monitor_number(). */
static bool address_argument(char **args, gva_t *va)
{
    char *word = *args, *end = word, *plus = NULL;
    uint64_t offset = 0;

    if (monitor_number(args, va)) {
        return true;
    }
    for (; *end && *end != ' ' && *end != '\t'; end++) {
        plus = *end == '+' ? end : plus;
    }
    char *rest = plus ? plus + 1 : end;
    if (plus && !monitor_number(&rest, &offset)) {
        return false;
    }
    char *name_end = plus ? plus : end, was = *name_end;
    *name_end = '\0';
    bool found = *word && guest_symbol_address(vcpu0(), word, va);
    *name_end = was;
    if (!found) {
        return false;
    }
    *va += offset;
    while (*rest == ' ' || *rest == '\t') {
        rest++;
    }
    *args = rest;
    return true;
}

static void cmd_break(char *args)
{
    gva_t va;
    struct point *p;

    if (!address_argument(&args, &va) || *args) {
        printk("break: expected a guest virtual address or a symbol, found '%s'\n", args);
        return;
    }
    p = point_new();
    if (p) {
        p->va = va;
        cpu_breakpoint_insert(vcpu0(), va, BP_MONITOR, p->id);
        printk("break %u at ", p->id);
        print_insn(vcpu0(), va);
    }
}

static void add_watch(const char *command, char *args, bool reads)
{
    uint64_t len = 8;
    struct point *p;
    gva_t va;

    if (!address_argument(&args, &va) || (*args && !monitor_number(&args, &len)) || *args) {
        printk("%s: expected a guest virtual address or a symbol, and a length, found '%s'\n", command, args);
        return;
    }
    if (!len || len > WATCH_LEN_MAX || va + len - 1 < va) {
        printk("%s: expected 1 to %u bytes that do not wrap, found %lu at %#lx\n", command, WATCH_LEN_MAX, len, va);
        return;
    }
    p = point_new();
    if (p) {
        *p = (struct point){.id = p->id, .is_watch = true, .reads = reads, .va = va, .len = len};
        watch_add(va, len, reads);
        cpu_watchpoint_insert(vcpu0(), va, len, BP_MONITOR | (reads ? BP_MEM_ACCESS : BP_MEM_WRITE), p->id);
        print_point(p);
    }
}

static void cmd_watch(char *args)
{
    add_watch("watch", args, false);
}

static void cmd_awatch(char *args)
{
    add_watch("awatch", args, true);
}

static void point_delete(struct point *p)
{
    if (p->is_watch) {
        cpu_watchpoint_remove(vcpu0(), BP_MONITOR, (int)p->id);
        watch_remove(p->va, p->len, p->reads);
    } else {
        cpu_breakpoint_remove(vcpu0(), BP_MONITOR, (int)p->id);
    }
    p->id = 0;
}

static void cmd_delete(char *args)
{
    struct point *p;
    uint64_t id;

    if (!monitor_number(&args, &id) || *args) {
        printk("delete: expected the number of a breakpoint or watchpoint, found '%s'\n", args);
        return;
    }
    p = id && id <= POINTS_MAX ? point_find((unsigned)id) : NULL;
    if (!p) {
        printk("delete: there is no %lu; `info` lists them\n", id);
        return;
    }
    point_delete(p);
    printk("delete: %lu is gone\n", id);
}

static void print_guest_registers(const struct CPUX86State *env)
{
    printk("guest: dr0 %lx dr1 %lx dr2 %lx dr3 %lx dr6 %lx dr7 %lx\n", env->dr[0], env->dr[1], env->dr[2], env->dr[3],
           env->dr[6], env->dr[7]);
}

static void cmd_info(char *args)
{
    for (unsigned id = 1; id <= POINTS_MAX; id++) {
        const struct point *p = point_find(id);

        if (p) {
            print_point(p);
        }
    }
    print_guest_registers(&vcpu0()->env);
}

static void cmd_step(char *args)
{
    uint64_t n = 1;

    if ((*args && !monitor_number(&args, &n)) || *args || !n || n > STEP_MAX) {
        printk("step: expected a number of instructions, 1 to %llu\n", STEP_MAX);
        return;
    }
    if (monitor_resume("step")) {
        cpu_single_step(vcpu0(), (uint32_t)n);
    }
}

static void cmd_disas(char *args)
{
    gva_t pc = vcpu0()->env.eip;
    uint64_t n = 8;

    if ((*args && !address_argument(&args, &pc)) || (*args && !monitor_number(&args, &n)) || *args || n > DISAS_MAX) {
        printk("disas: expected a guest virtual address or a symbol, and a number up to %u, found '%s'\n", DISAS_MAX, args);
        return;
    }
    while (n-- > 0) {
        unsigned len = print_insn(vcpu0(), pc);

        if (!len) {
            break;
        }
        pc += len;
    }
}

void monitor_debug_init(void)
{
    static const struct monitor_command commands[] = {
        {"break", "<va>|<symbol>", "stop before the instruction there", cmd_break},
        {"watch", "<va>|<symbol> [<len>]", "stop after a write to these bytes (8)", cmd_watch},
        {"awatch", "<va>|<symbol> [<len>]", "stop after a read of or a write to these bytes (8)", cmd_awatch},
        {"delete", "<n>", "remove a breakpoint or watchpoint", cmd_delete},
        {"info", "", "breakpoints, watchpoints, debug registers", cmd_info},
        {"step", "[<n>]", "execute n instructions (1)", cmd_step},
        {"disas", "[<va>|<symbol> [<n>]]", "disassemble, from rip on", cmd_disas},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        monitor_register(&commands[i]);
    }
}
