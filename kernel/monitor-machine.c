/* SPDX-License-Identifier: MIT */
/*
 * Monitor commands that show what surrounds the guest's CPU: its address spaces as the shadow tables have them, and its devices. They
 * change nothing: no register is read as the guest would read it, so nothing is acknowledged and no time passes.
 */
#include "drivers/vdev/machine.h"
#include "kernel/lib/log.h"
#include "kernel/monitor.h"
#include "kernel/run.h"
#include "mm/pte.h"
#include "mm/shadow.h"

#define ROOTS_SHOWN 8

static const char *const view_name[VIEW_COUNT] = {[VIEW_KERNEL] = "kernel", [VIEW_USER] = "user"};

/* ---- views ---- */

static void print_view(enum view view)
{
    struct shadow_view_info info;
    gpa_t cr3[ROOTS_SHOWN];
    unsigned roots = shadow_kept_roots(view, cr3, ROOTS_SHOWN);

    shadow_view_info(view, &info);
    printk("%s view: root %#lx%s; in all: %u tables, %lu pages of 4 KiB, %lu of 2 MiB\n", view_name[view], info.root,
           info.made ? "" : " (only the monitor's own)", info.tables, info.pages, info.large_pages);
    printk("  %u roots kept%s", roots, roots ? ", for cr3" : "");
    for (unsigned i = 0; i < MIN(roots, (unsigned)ROOTS_SHOWN); i++) {
        printk(" %lx", cr3[i]);
    }
    printk("%s\n", roots > ROOTS_SHOWN ? " ..." : "");
}

/* What one view maps at an address, and whether it would be filled. */
static void print_entry(enum view view, gva_t va)
{
    unsigned level = 0;
    uint64_t pte = shadow_entry(view, va, &level);

    if (pte) {
        printk("%s view: %s page at host %#lx, %s, entry %016lx\n", view_name[view], level == 1 ? "4 KiB" : "2 MiB",
               pte_leaf_addr(pte, level) + (va & (pt_span(level) - 1)), pte & PTE_W ? "writable" : "read-only", pte);
    } else {
        printk("%s view: %s\n", view_name[view], shadow_reserved(va) ? "the monitor's" : "not filled");
    }
}

static void print_address(gva_t va)
{
    struct guest_paging gp;
    struct walk_result res;

    vcpu_paging(&vcpu0()->env, &gp);
    if (guest_walk(&gp, va, WALK_PROBE, &res) == 0) {
        printk("guest: %#lx, %s, %s%s%s, leaf %016lx at level %u\n", res.gpa, res.user ? "user" : "kernel only",
               res.writable ? "writable" : "read-only", res.nx ? ", no execute" : "", res.global ? ", global" : "",
               res.entry[res.level], res.level);
    } else {
        printk("guest: not mapped\n");
    }
    for (unsigned view = 0; view < VIEW_COUNT; view++) {
        print_entry(view, va);
    }
}

static void cmd_views(char *args)
{
    gva_t va;

    if (!*args) {
        print_view(VIEW_KERNEL);
        print_view(VIEW_USER);
    } else if (!monitor_number(&args, &va) || *args) {
        printk("views: expected nothing or a guest virtual address, found '%s'\n", args);
    } else if (!is_canonical(va)) {
        printk("views: %#lx is not canonical\n", va);
    } else {
        print_address(va);
    }
}

/* ---- devices ---- */

static void print_pic(const char *name, const struct pic_chip *c)
{
    printk("%s: vectors from %02x, pins %02x irr %02x isr %02x imr %02x elcr %02x, INT %s%s\n", name, c->base, c->pins, c->irr,
           c->isr, c->imr, c->elcr, c->int_out ? "high" : "low", c->expect_icw ? ", being initialized" : "");
}

static void print_pit(const struct pit *pit)
{
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        const struct pit_channel *c = &pit->ch[i];

        printk("pit %u: mode %u%s, ", i, c->mode, c->gate ? "" : ", gate closed");
        if (!c->loaded || !c->n) {
            printk("no count\n");
        } else if (c->mode == 2 || c->mode == 3) {
            printk("%u ticks, %u Hz\n", c->n, PIT_HZ / c->n);
        } else {
            printk("once after %u ticks\n", c->n);
        }
    }
}

static void print_uart(const struct uart *u)
{
    printk("uart: divisor %u, lcr %02x mcr %02x ier %02x fcr %02x, %u bytes received and not read%s%s%s\n",
           u->dlm << 8 | u->dll, u->lcr, u->mcr, u->ier, u->fcr, u->rx_count, u->overrun ? ", overrun" : "",
           u->thre_pending ? ", THRE pending" : "", u->timeout_pending ? ", time-out pending" : "");
}

static void print_devices(const struct vmachine *m)
{
    const uint8_t *cmos = m->rtc.cmos;
    uint64_t next = vmachine_next_event_ns(m);

    print_pic("pic master", &m->pic.chip[0]);
    print_pic("pic slave", &m->pic.chip[1]);
    print_pit(&m->pit);
    print_uart(&m->uart);
    printk("rtc: registers %02x:%02x:%02x of %02x-%02x-%02x, a %02x b %02x c %02x, index %02x\n", cmos[4], cmos[2], cmos[0],
           cmos[9], cmos[8], cmos[7], cmos[10], cmos[11], cmos[12], m->rtc.index);
    printk("i8042: command byte %02x, output port %02x, %u bytes wait\n", m->i8042.ram[0], m->i8042.outport, m->i8042.queued);
    printk("acpi: pm1 status %04x enable %04x control %04x\n", m->acpi_pm.status, m->acpi_pm.enable, m->acpi_pm.control);
    printk("ports: 61 %02x, 92 %02x, cf8 %08x; address bit 20 %s\n", m->port61.control, m->port92.value, m->pci.address,
           vmachine_a20_open(m) ? "open" : "masked");
    printk("time: %lu us since power-on, next event ", m->last_ns / 1000);
    if (next == VDEV_NEVER) {
        printk("never\n");
    } else {
        printk("in %lu us\n", next > m->last_ns ? (next - m->last_ns) / 1000 : 0);
    }
}

static void cmd_devices(char *args)
{
    print_devices(machine_devices());
}

void monitor_machine_init(void)
{
    static const struct monitor_command commands[] = {
        {"views", "[<va>]", "the two views: roots and pages; what they map at an address", cmd_views},
        {"devices", "", "the guest's interrupt controllers, timers, serial line and the rest", cmd_devices},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        monitor_register(&commands[i]);
    }
}
