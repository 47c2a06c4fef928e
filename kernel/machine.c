/* SPDX-License-Identifier: MIT */
/*
 * The guest's devices (drivers/vdev) connected to ours: COM1 to the console, its clock to the TSC, its INTR pin to the
 * virtual CPU, its exits to the end of the run. The tick arrives between stays in the code cache, so nothing here is concurrent.
 *
 * The console's escape character is Ctrl-A, as in QEMU: Ctrl-A x quits, Ctrl-A c opens the monitor, Ctrl-A Ctrl-A types one.
 */
#include "drivers/vdev/machine.h"
#include "drivers/vdev/state.h"

#include "drivers/cmos-clock.h"
#include "dbt/host.h"
#include "dbt/page-state.h"
#include "kernel/console.h"
#include "kernel/framebuffer.h"
#include "kernel/irq.h"
#include "kernel/lib/exit-codes.h"
#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"
#include "kernel/monitor.h"
#include "kernel/profile.h"
#include "kernel/run.h"
#include "kernel/vcpu/vcpu.h"
#include "kernel/x86.h"
#include "mm/ram.h"

#define TICK_HZ    1000
#define FRAME_HZ   25
#define TYPED_MAX  (64u << 10) /* power of two */
#define READ_MAX   256 /* bytes from the console in a tick */
#define DEAF_TICKS 1000 /* a guest that takes nothing for so long, with TYPED_MAX waiting, does not read */

/* Owner: the CPU that runs the guest. */
static struct {
    struct vmachine vm;
    struct CPUState *cpu;
    uint64_t ns_per_tsc_q32; /* nanoseconds a TSC cycle, 32.32 fixed point */
    uint64_t tsc_start;
    uint64_t deadline_ns;    /* 0 = none */
    bool escaped;
    bool monitor_wanted;
    bool frame_due;          /* the framebuffer has been written, and it is time to show it */
    unsigned frame_ticks;
    bool console_taken;      /* by the monitor: what is typed is not the guest's */
    unsigned deaf_ticks;     /* since the guest took what is typed, while no more of it has room */
} machine;

/* Read from the console, not yet taken by the guest's UART: [taken, put), both counting for ever. Owner: as above. */
static struct {
    uint32_t put, taken;
    uint8_t bytes[TYPED_MAX];
} typed;

static uint64_t now_ns(void *opaque)
{
    return (uint64_t)(((unsigned __int128)(rdtsc() - machine.tsc_start) * machine.ns_per_tsc_q32) >> 32);
}

static void end_run(enum cpu_exit_request why, uint64_t code, const char *msg)
{
    struct CPUState *cpu = machine.cpu;

    if (cpu->exit_request == CPU_RUNNING) {
        cpu->exit_request = why;
        cpu->exit_code = code;
        snprintf(cpu->exit_msg, sizeof(cpu->exit_msg), "%s", msg);
    }
}

/* ---- outputs ---- */

static void serial_out(void *opaque, uint8_t byte)
{
    console_write((const char *)&byte, 1);
}

static void debug_exit(void *opaque, uint32_t value, unsigned size)
{
    end_run(CPU_EXIT_PORT, value, "guest ended the run");
}

static void reset(void *opaque, const char *reason)
{
    end_run(CPU_EXIT_RESET, 0, reason);
}

static void power_off(void *opaque)
{
    end_run(CPU_EXIT_POWEROFF, 0, "the guest switched the machine off (ACPI S5)");
}

static void irq_changed(void *opaque, int level)
{
    machine.cpu->interrupt_request = level != 0;
}

/* ---- input ---- */

/* Is the byte, just read from the console, one for the guest? Acts on escapes. */
static bool for_guest(int c)
{
    if (!machine.escaped) {
        machine.escaped = c == MONITOR_ESCAPE;
        return c != MONITOR_ESCAPE;
    }
    machine.escaped = false;
    if (c == 'x') {
        end_run(CPU_EXIT_USER, 0, "quit by the user");
    } else if (c == 'c') {
        machine.monitor_wanted = true;
    }
    return c == MONITOR_ESCAPE;
}

static bool typed_full(void)
{
    return typed.put - typed.taken >= TYPED_MAX;
}

/* What does not fit in TYPED_MAX stays with the host's UART, and with whoever sends, as long as the guest reads. If it does not, the
 * console is read all the same, and what is read is lost, or an escape would never be seen behind what a hung guest was sent. What
 * follows the escape that opens the monitor is the monitor's. */
static void poll_console(void)
{
    machine.deaf_ticks += typed_full();
    for (int i = 0, c; i < READ_MAX && !machine.monitor_wanted && (!typed_full() || machine.deaf_ticks > DEAF_TICKS) &&
                       (c = console_getc()) >= 0;
         i++) {
        if (for_guest(c) && !typed_full()) {
            typed.bytes[typed.put++ % TYPED_MAX] = (uint8_t)c;
        }
    }
    while (typed.taken != typed.put && vmachine_serial_in(&machine.vm, typed.bytes[typed.taken % TYPED_MAX])) {
        typed.taken++;
        machine.deaf_ticks = 0;
    }
}

/* Does the guest take interrupts where it is now? Kernel code that runs keeps its flag in the vCPU page. */
static bool interrupts_open(const struct CPUState *cpu)
{
    return cpu->env.cpl == 0 ? cpu->vp->vif & 1 : cpu->env.eflags & IF_MASK;
}

static void tick(void)
{
    uint64_t now = now_ns(NULL);

    page_state_tick();
    vmachine_host_tick(&machine.vm, interrupts_open(machine.cpu));
    vmachine_tick(&machine.vm, now);
    if (++machine.frame_ticks >= TICK_HZ / FRAME_HZ) {
        machine.frame_ticks = 0;
        machine.frame_due = framebuffer_dirty();
    }
    if (!machine.console_taken) {
        poll_console();
    }
    if (machine.deadline_ns && now >= machine.deadline_ns) {
        end_run(CPU_EXIT_TIMEOUT, 0, "time limit reached; raise `timeout`");
    }
}

/* What the guest's clock shows at power-on. */
static struct rtc_date host_date(void)
{
    struct rtc_date date;

    if (!cmos_clock_read(&date)) {
        date = (struct rtc_date){.year = 2000, .month = 1, .day = 1};
        printk("notdirty: this machine's clock shows no date; the guest's begins with 2000\n");
    }
    return date;
}

/* The gate may have moved: all that was derived from the guest's page tables is void. */
static void a20_update(void)
{
    bool open = vmachine_a20_open(&machine.vm);

    if (unlikely(open != guest_ram_a20_open())) {
        LOG(MMU, "A20 %s", open ? "open" : "closed");
        guest_ram_set_a20(open);
        tlb_flush_guest(machine.cpu, TLB_FLUSH_MODES);
    }
}

/* ---- to the rest of the kernel ---- */

void machine_init(struct CPUState *cpu, const struct conf *conf)
{
    struct vmachine_config cfg = {
        .now_ns = now_ns,
        .serial_out = serial_out,
        .debugcon_out = serial_out,
        .debug_exit = debug_exit,
        .counter = guest_counter,
        .reset = reset,
        .power_off = power_off,
        .irq_changed = irq_changed,
        .date = host_date(),
        .ram_size = conf->memory,
    };

    machine.cpu = cpu;
    machine.ns_per_tsc_q32 = (1000000ull << 32) / tsc_khz;
    machine.tsc_start = rdtsc();
    machine.deadline_ns = conf->timeout * VDEV_NS_PER_SEC;
    vmachine_init(&machine.vm, &cfg);
    machine.monitor_wanted = conf->pause == CONF_ON;
    timer_start(TICK_HZ, tick);
}

int machine_irq_ack(void)
{
    return vmachine_irq_ack(&machine.vm);
}

const struct vmachine *machine_devices(void)
{
    return &machine.vm;
}

void machine_stop(void)
{
    framebuffer_update();
    machine.console_taken = true;
    machine.deadline_ns = 0;
}

void machine_save(struct vmachine_state *state)
{
    vmachine_idle(&machine.vm); /* no request waits outside of the devices' state */
    vmachine_save(&machine.vm, state);
}

int machine_load(const struct vmachine_state *state)
{
    vmachine_idle(&machine.vm);
    int err = vmachine_load(&machine.vm, state);

    if (err == 0) { /* now_ns() is last_ns again */
        const uint64_t ms = state->last_ns / 1000000, rest = state->last_ns % 1000000;

        machine.tsc_start = rdtsc() - (ms * tsc_khz + rest * tsc_khz / 1000000);
        machine.cpu->interrupt_request = vmachine_irq_pending(&machine.vm);
        a20_update();
    }
    return err;
}

void machine_take_console(bool taken)
{
    machine.console_taken = taken;
}

uint32_t machine_inport(uint16_t port, unsigned size)
{
    return vmachine_inport(&machine.vm, port, size);
}

void machine_outport(uint16_t port, unsigned size, uint32_t value)
{
    vmachine_outport(&machine.vm, port, size, value);
    a20_update();
}

/* ---- the CPU's side of interrupts (dbt/host.h) ---- */

static bool irq_due(const struct CPUState *cpu)
{
    return cpu->interrupt_request && cpu->env.eflags & IF_MASK;
}

bool cpu_has_work(struct CPUState *cpu)
{
    return irq_due(cpu) || machine.monitor_wanted || machine.frame_due;
}

bool cpu_irq_attends(struct CPUState *cpu)
{
    return irq_due(cpu) || machine.monitor_wanted || machine.frame_due || machine.vm.pace.handling;
}

/* What waits for the guest to be between two instructions, but is none of its business. */
static void serve_host(struct CPUState *cpu)
{
    if (machine.frame_due) {
        machine.frame_due = false;
        framebuffer_update();
    }
    if (machine.monitor_wanted) {
        machine.monitor_wanted = false;
        machine.console_taken = true;
        monitor_enter();
        machine.console_taken = false;
        cpu->debug.resume = cpu_debug_active(&cpu->debug);
    }
}

bool cpu_exec_interrupt(struct CPUState *cpu)
{
    if (unlikely(machine.monitor_wanted || machine.frame_due)) {
        bool replaced = machine.monitor_wanted; /* the state may be another one now */

        serve_host(cpu);
        if (replaced) {
            return true;
        }
    }
    if (unlikely(machine.vm.pace.handling) && cpu->env.eflags & IF_MASK) {
        vmachine_irq_open(&machine.vm);
    }
    if (!irq_due(cpu) || cpu_debug_holds_irq(&cpu->debug)) {
        return false;
    }
    int vector = machine_irq_ack();
    LOG(INT, "irq vector %x at pc %llx", vector, (unsigned long long)cpu->env.eip);
    do_interrupt_hard(cpu, vector);
    return true;
}

void cpu_halt_wait(struct CPUState *cpu)
{
    const uint64_t pc = cpu->env.eip;

    vmachine_idle(&machine.vm);
    while (!irq_due(cpu) && cpu->exit_request == CPU_RUNNING) {
        serve_host(cpu);
        if (cpu->env.eip != pc) {
            return; /* the monitor has put the guest elsewhere */
        }
        cpu_idle();
        profile_idle();
    }
}
