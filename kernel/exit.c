/* SPDX-License-Identifier: MIT */
/* Ends the machine. Works at any time after serial_init(), from any context; takes no lock. */
#include "kernel/exit.h"

#include "drivers/io.h"
#include "kernel/console.h"
#include "kernel/lib/log.h"
#include "kernel/x86.h"

#define PORT_RESET_CONTROL 0xcf9 /* ICH and later: 1 = hard reset selected, 2 = do it */
#define PORT_I8042_COMMAND 0x64
#define I8042_PULSE_RESET  0xfe

static void reset_delay(void)
{
    uint64_t start = rdtsc();

    while (rdtsc() - start < 1000000000ull) { /* a fraction of a second on anything with a TSC */
        __builtin_ia32_pause();
    }
}

static void machine_reset(void)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) no_idt;

    outb(PORT_RESET_CONTROL, 0x02);
    outb(PORT_RESET_CONTROL, 0x06);
    reset_delay();
    outb(PORT_I8042_COMMAND, I8042_PULSE_RESET);
    reset_delay();
    __asm__ volatile("lidt %0; int3" : : "m"(no_idt)); /* triple fault */
}

void machine_exit(int value, enum conf_exit how)
{
    interrupts_off();
    console_flush();
    outb(EXIT_PORT, (uint8_t)value);
    if (how == CONF_EXIT_REBOOT) {
        machine_reset();
    }
    console_break_lock();
    printk("notdirty: halted; power off now\n");
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}
