/* SPDX-License-Identifier: MIT */
/*
 * Names for guest addresses in the messages that end a run. Linux may have moved itself (KASLR); the system call entry, whose
 * address the CPU knows, tells by how much.
 */
#include "kernel/guest-symbols.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lib/symbols.h"
#include "kernel/run.h"
#include "mm/host.h"
#include "mm/ram.h"

#define NAME_MAX         80
#define PANIC_CPU_NOBODY UINT32_MAX /* Linux, PANIC_CPU_INVALID */

static struct symbols symbols; /* written by guest_symbols_init() only */
static bool have_symbols;

void guest_symbols_init(const struct boot_info *bi, const struct conf *conf)
{
    bool given = bi->symbols.addr && bi->symbols.len;
    const struct boot_module *m = given ? &bi->symbols : &bi->guest;
    int err = symbols_open(&symbols, phys_to_virt(m->addr), m->len);

    have_symbols = err == 0;
    if (conf->symbols[0] && !given) {
        printk("notdirty: warning: symbols: the file '%s' was not found or is empty\n", conf->symbols);
    }
    if (given && err < 0) {
        printk("notdirty: warning: symbols: '%s' is %s\n", m->name,
               err == -ENOENT ? "an ELF file without a symbol table" : "neither a System.map nor an ELF64 file");
    }
}

/* How far the guest lies above its link address. */
static uint64_t slide(const struct CPUState *cpu)
{
    uint64_t entry;

    return cpu->env.lstar && symbols_value(&symbols, "entry_SYSCALL_64", &entry) ? cpu->env.lstar - entry : 0;
}

void guest_symbol(const struct CPUState *cpu, gva_t pc, char *buf, size_t size)
{
    const char *name;
    char copy[NAME_MAX];
    size_t len;
    uint64_t offset;

    buf[0] = '\0';
    if (!have_symbols || !symbols_find(&symbols, pc - slide(cpu), &name, &len, &offset)) {
        return;
    }
    len = MIN(len, sizeof(copy) - 1);
    for (size_t i = 0; i < len; i++) {
        copy[i] = name[i] > ' ' && name[i] < 0x7f ? name[i] : '?';
    }
    copy[len] = '\0';
    snprintf(buf, size, " %s+0x%lx", copy, offset);
}

bool guest_symbol_address(const struct CPUState *cpu, const char *name, gva_t *va)
{
    if (!have_symbols || !symbols_value(&symbols, name, va)) {
        return false;
    }
    *va += slide(cpu);
    return true;
}

bool guest_panicked(const struct CPUState *cpu)
{
    struct guest_paging gp;
    struct walk_result res;
    ram_addr_t ram;
    uint64_t where;
    uint32_t panic_cpu;

    if (!have_symbols || !symbols_value(&symbols, "panic_cpu", &where)) {
        return false;
    }
    where += slide(cpu);
    vcpu_paging(&cpu->env, &gp);
    if (guest_walk(&gp, where, WALK_PROBE, &res) < 0 || !gpa_range_is_ram(res.gpa, sizeof(panic_cpu)) ||
        !gpa_to_ram(res.gpa, &ram)) {
        return false;
    }
    memcpy(&panic_cpu, ram_to_virt(ram), sizeof(panic_cpu));
    return panic_cpu != PANIC_CPU_NOBODY;
}
