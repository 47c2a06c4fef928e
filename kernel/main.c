/* SPDX-License-Identifier: MIT */
/* Start-up, in the order in which things become possible. Nothing else decides that order. */
#include "boot/boot-info.h"
#include "drivers/serial.h"
#include "kernel/config.h"
#include "kernel/cpu.h"
#include "kernel/exit.h"
#include "kernel/guest-symbols.h"
#include "kernel/irq.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "kernel/load.h"
#include "kernel/memory.h"
#include "kernel/monitor.h"
#include "kernel/native.h"
#include "kernel/run.h"
#include "kernel/stat.h"
#include "kernel/trap.h"
#include "kernel/x86.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/kmap.h"
#include "mm/ram.h"

#define KERNEL_STACK_PAGES 16

uint64_t early_main(hpa_t boot_info_hpa);
_Noreturn void kernel_main(void);

/* The boot stage's report, copied out of its memory, and what was made of it. */
static struct boot_info boot_info;
static struct conf conf;
static struct load load;

static void copy_boot_info(hpa_t hpa)
{
    const struct boot_info *bi = phys_to_virt(hpa);

    if (bi->magic != BOOT_INFO_MAGIC || bi->version != BOOT_INFO_VERSION ||
        bi->size < sizeof(*bi)) {
        panic("boot information at %#lx: magic %#x version %u size %u, expected %#x, %u, %zu", hpa,
              bi->magic, bi->version, bi->size, BOOT_INFO_MAGIC, BOOT_INFO_VERSION, sizeof(*bi));
    }
    boot_info = *bi;
}

/* Called by head.S on the boot stack and the boot stage's page tables. Returns the top of the stack
 * for kernel_main(). */
uint64_t early_main(hpa_t boot_info_hpa)
{
    uint64_t stack;

    serial_init(SERIAL_COM1);
    cpu_init_early();
    trap_init();
    copy_boot_info(boot_info_hpa);
    memory_init(&boot_info);
    stack = kmap_stack_alloc(KERNEL_STACK_PAGES);
    if (!stack) {
        panic("no memory for the kernel stack");
    }
    return stack;
}

static void banner(void)
{
    printk("notdirty: booted by %s, kernel at %#lx, %lu MiB free\n",
           boot_info.source == 1 ? "UEFI" : "PVH", boot_info.kernel_base,
           frames_free() >> (20 - PAGE_SHIFT));
}

/* What is wrong was printed: the guest cannot start. */
static _Noreturn void load_failed(void)
{
    machine_exit(EXIT_LOAD_ERROR, conf.exit);
}

static void configure(void)
{
    char msg[CONFIG_MSG_MAX];

    if (config_read(&boot_info, &conf, msg) < 0) {
        printk("%s\n", msg);
        load_failed();
    }
    if (log_parse(conf.log, &log_mask) < 0) {
        printk("notdirty.conf: log: unknown channel in '%s'; known: tb, smc, exec, int, mmu, io, "
               "cpu, boot, asm, all\n",
               conf.log);
        load_failed();
    }
}

static void create_guest_memory(void)
{
    int err = guest_ram_init(conf.memory);

    if (err < 0) {
        printk("guest: no %lu MiB of contiguous memory (%lu MiB free in all); lower `memory`\n",
               conf.memory >> 20, frames_free() >> (20 - PAGE_SHIFT));
        load_failed();
    }
}

static void load_the_guest(void)
{
    create_guest_memory();
    if (load_guest(&load, &boot_info, &conf) < 0) {
        load_failed();
    }
}

_Noreturn void kernel_main(void)
{
    int value;

    cpu_init();
    banner();
    configure();
    irq_init();
    load_the_guest();
    printk("guest: starts when the TSC is %lu\n", rdtsc());
    if (conf.mode == CONF_MODE_NATIVE) {
        if (native_run(&load) < 0) {
            load_failed();
        }
    }
    guest_symbols_init(&boot_info, &conf);
    value = run_guest(&conf, &load, &boot_info.fb);
    stat_print();
    if (conf.exit == CONF_EXIT_MONITOR) {
        monitor_prompt(value);
    }
    machine_exit(value, conf.exit);
}
