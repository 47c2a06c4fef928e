/* SPDX-License-Identifier: MIT */
/* The end of the kernel by its own fault: state, backtrace, exit code. Allocates nothing, takes no
 * lock, ignores GS. */
#include "kernel/panic.h"

#include "kernel/console.h"
#include "kernel/exit.h"
#include "kernel/kernel-symbols.h"
#include "kernel/lib/log.h"
#include "kernel/x86.h"

#define BACKTRACE_MAX 32

static void print_code_address(uint64_t addr)
{
    uint64_t offset;
    const char *name = kernel_symbol(addr, &offset);

    if (name) {
        printk("  %016lx %s+%#lx\n", addr, name, offset);
    } else {
        printk("  %016lx\n", addr);
    }
}

/* Frame pointers may be garbage by now: each is read through the exception table and must lie above
 * the one before. */
static void backtrace(uint64_t rbp)
{
    printk("backtrace:\n");
    for (unsigned i = 0; i < BACKTRACE_MAX && rbp; i++) {
        uint64_t next, ret;

        if (rbp % 8 || peek64(rbp, &next) < 0 || peek64(rbp + 8, &ret) < 0) {
            printk("  (bad frame pointer %016lx)\n", rbp);
            return;
        }
        print_code_address(ret);
        if (next <= rbp) {
            return;
        }
        rbp = next;
    }
}

static _Noreturn void panic_end(void)
{
    machine_exit(EXIT_PANIC, CONF_EXIT_POWEROFF);
}

/* A panic while panicking says only that. */
static void panic_begin(void)
{
    static bool panicking; /* owner: the first CPU to set it */

    interrupts_off();
    console_break_lock();
    if (__atomic_exchange_n(&panicking, true, __ATOMIC_RELAXED)) {
        printk("\npanic: panicked again while reporting\n");
        panic_end();
    }
}

void panic(const char *fmt, ...)
{
    va_list ap;

    panic_begin();
    printk("\npanic: ");
    va_start(ap, fmt);
    vprintk(fmt, ap);
    va_end(ap);
    printk("\n");
    backtrace((uintptr_t)__builtin_frame_address(0));
    panic_end();
}

/* SDM 3A 6.13 and 4.7 */
static void print_error_code(const struct trap_frame *f)
{
    uint64_t e = f->error_code;

    if (f->vector == TRAP_PF) {
        printk("cr2 %016lx: %s%s%s in ring %u%s\n", f->cr2,
               e & 1 ? "protection violation, " : "not present, ",
               e & 0x10 ? "fetch"
               : e & 2  ? "write"
                        : "read",
               e & 8 ? ", reserved bit" : "", e & 4 ? 3 : 0, e & 0x20 ? ", protection key" : "");
    } else if (e) {
        printk("selector index %#lx in %s%s\n", e >> 3,
               e & 2   ? "IDT"
               : e & 4 ? "LDT"
                       : "GDT",
               e & 1 ? ", external event" : "");
    }
}

static void print_registers(const struct trap_frame *f)
{
    static const char names[16][4] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                      "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15"};

    for (unsigned i = 0; i < 16; i++) {
        printk("%s %016lx%s", names[i], i == 4 ? f->rsp : f->gpr[i], i % 4 == 3 ? "\n" : "  ");
    }
    printk("rip %016lx  cs %04lx  ss %04lx  rflags %08lx\n", f->rip, f->cs, f->ss, f->rflags);
    printk("cr0 %08lx  cr3 %016lx  cr4 %08lx\n", read_cr0(), read_cr3(), read_cr4());
}

void panic_trap(const struct trap_frame *f)
{
    panic_begin();
    printk("\npanic: unexpected %s (vector %lu, error code %#lx) in ring %lu at\n",
           trap_name((unsigned)f->vector), f->vector, f->error_code, f->cs & 3);
    print_code_address(f->rip);
    print_error_code(f);
    print_registers(f);
    backtrace(f->gpr[5]);
    panic_end();
}
