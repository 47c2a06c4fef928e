/* SPDX-License-Identifier: MIT */
/* The command prompt on the serial line. It knows no other part: commands are rows in a table that
 * others add to. */
#include "kernel/monitor.h"

#include "kernel/console.h"
#include "kernel/exit.h"
#include "kernel/irq.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "kernel/nmi-samples.h"
#include "kernel/stat.h"
#include "mm/ram.h"

#define LINE_MAX    256
#define COMMAND_MAX 32
#define DUMP_MAX    4096 /* bytes that one `mem` shows */
#define DUMP_LINE   16

/* Written at start-up only; the built-in commands come first. */
static const struct monitor_command *commands[COMMAND_MAX];
static unsigned command_count;
/* What poweroff and reboot report; set when the prompt begins. */
static int run_value;
/* The guest is only paused: monitor_enter() is waiting for `continue`. */
static bool live;

void monitor_register(const struct monitor_command *command)
{
    ASSERT(command_count < COMMAND_MAX);
    commands[command_count++] = command;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static char *skip_blanks(char *s)
{
    while (is_blank(*s)) {
        s++;
    }
    return s;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

bool monitor_number(char **args, uint64_t *value)
{
    char *p = skip_blanks(*args);
    unsigned base = 10, digits = 0;
    uint64_t v = 0;
    bool fits = true;

    if (p[0] == '0' && (p[1] | 0x20) == 'x') {
        base = 16;
        p += 2;
    }
    for (; (unsigned)digit_value(*p) < base; p++, digits++) {
        fits = fits && !__builtin_mul_overflow(v, base, &v) && !__builtin_add_overflow(v, digit_value(*p), &v);
    }
    if (!fits || !digits || (*p && !is_blank(*p))) {
        return false;
    }
    *value = v;
    *args = skip_blanks(p);
    return true;
}

/* --- commands --- */

static void cmd_help(char *args)
{
    for (unsigned i = 0; i < command_count; i++) {
        const struct monitor_command *c = commands[i];

        printk("%s%s%-*s %s\n", c->name, *c->usage ? " " : "", (int)(34 - strlen(c->name)),
               c->usage, c->help);
    }
}

static void cmd_stat(char *args)
{
    stat_print();
}

static void dump_line(gpa_t gpa, const uint8_t *bytes, uint64_t len)
{
    printk("%010lx ", gpa);
    for (uint64_t i = 0; i < DUMP_LINE; i++) {
        if (i < len) {
            printk(" %02x", bytes[i]);
        } else {
            printk("   ");
        }
    }
    printk("  ");
    for (uint64_t i = 0; i < len; i++) {
        printk("%c", bytes[i] >= 0x20 && bytes[i] < 0x7f ? bytes[i] : '.');
    }
    printk("\n");
}

static void dump_memory(gpa_t gpa, uint64_t len)
{
    ram_addr_t ram;

    if (!gpa_range_is_ram(gpa, len) || !gpa_to_ram(gpa, &ram)) {
        printk("mem: %#lx, %lu bytes: not guest RAM\n", gpa, len);
        return;
    }
    for (uint64_t done = 0; done < len; done += DUMP_LINE) {
        dump_line(gpa + done, (const uint8_t *)ram_to_virt(ram) + done,
                  MIN(len - done, (uint64_t)DUMP_LINE));
    }
}

static void write_memory(gpa_t gpa, char *args)
{
    uint8_t bytes[LINE_MAX / 2];
    size_t len = 0;
    uint64_t v;

    while (monitor_number(&args, &v)) {
        if (v > 0xff) {
            printk("mem: %#lx is not a byte\n", v);
            return;
        }
        bytes[len++] = (uint8_t)v;
    }
    if (*args || !len) {
        printk("mem: expected bytes, found '%s'\n", args);
    } else if (guest_mem_write(gpa, bytes, len) < 0) {
        printk("mem: %#lx, %zu bytes: not guest RAM\n", gpa, len);
    } else {
        printk("mem: %zu bytes written at %#lx\n", len, gpa);
    }
}

static void cmd_mem(char *args)
{
    uint64_t gpa, len = 64;

    if (!monitor_number(&args, &gpa)) {
        printk("mem: expected a guest physical address, found '%s'\n", args);
        return;
    }
    if (*args == '=') {
        write_memory(gpa, args + 1);
        return;
    }
    if (*args && (!monitor_number(&args, &len) || *args || !len || len > DUMP_MAX)) {
        printk("mem: expected a length of 1 to %u, or '=' and bytes\n", DUMP_MAX);
        return;
    }
    dump_memory(gpa, len);
}

static _Noreturn void cmd_reboot(char *args)
{
    machine_exit(run_value, CONF_EXIT_REBOOT);
}

static _Noreturn void cmd_poweroff(char *args)
{
    machine_exit(run_value, CONF_EXIT_POWEROFF);
}

static _Noreturn void cmd_quit(char *args)
{
    machine_exit(EXIT_USER_QUIT, CONF_EXIT_POWEROFF);
}

bool monitor_resume(const char *command)
{
    bool was_live = live;

    if (!live) {
        printk("%s: the run is over\n", command);
    }
    live = false;
    return was_live;
}

static void cmd_continue(char *args)
{
    monitor_resume("continue");
}

static const struct monitor_command builtin[] = {
    {"help", "", "this list", cmd_help},
    {"stat", "", "event counters", cmd_stat},
    {"mem", "<gpa> [<len>] | <gpa> = <byte>...", "show or write guest memory", cmd_mem},
    {"continue", "", "resume the guest", cmd_continue},
    {"poweroff", "", "end the machine with the run's result", cmd_poweroff},
    {"reboot", "", "restart the machine", cmd_reboot},
    {"quit", "", "end the machine; the result says that the user did it", cmd_quit},
};

/* --- the line editor and the loop --- */

static char read_char(void)
{
    int c;

    while ((c = console_getc()) < 0) {
        cpu_idle(); /* the tick wakes us; the UART's FIFO holds more than comes in a millisecond */
    }
    return (char)c;
}

/* What follows the escape character means here what it means while the guest runs: x quits, c switches, now back to the guest.
 * True if the prompt is over. */
static bool run_escape(char c)
{
    if (c == 'x') {
        printk("\n");
        cmd_quit(NULL);
    }
    if (c == 'c') {
        printk("\n");
        return monitor_resume("Ctrl-A c");
    }
    return false;
}

/* One line without its end, echoed; backspace works, other control characters are dropped, as is
 * what does not fit. Empty if an escape has ended the prompt. */
static void read_line(char *line)
{
    size_t len = 0;
    bool escaped = false;

    for (;;) {
        char c = read_char();

        if (escaped) {
            escaped = false;
            if (run_escape(c)) {
                line[0] = '\0';
                return;
            }
            continue;
        }
        escaped = c == MONITOR_ESCAPE;
        if (c == '\r' || c == '\n') {
            break;
        }
        if ((c == '\b' || c == 0x7f) && len) {
            len--;
            printk("\b \b");
        } else if (c >= ' ' && c < 0x7f && len < LINE_MAX - 1) {
            line[len++] = c;
            printk("%c", c);
        }
    }
    while (len && is_blank(line[len - 1])) {
        len--;
    }
    line[len] = '\0';
    printk("\n");
}

static void run_line(char *line)
{
    char *name = skip_blanks(line), *args = name;

    while (*args && !is_blank(*args)) {
        args++;
    }
    if (*args) {
        *args++ = '\0';
    }
    if (!*name) {
        return;
    }
    for (unsigned i = 0; i < command_count; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            commands[i]->run(skip_blanks(args));
            return;
        }
    }
    printk("unknown command '%s'; try help\n", name);
}

static void register_builtin(void)
{
    static bool done;

    if (done) {
        return;
    }
    done = true;
    ASSERT(command_count + ARRAY_SIZE(builtin) <= COMMAND_MAX);
    memmove(&commands[ARRAY_SIZE(builtin)], &commands[0], command_count * sizeof(commands[0]));
    for (unsigned i = 0; i < ARRAY_SIZE(builtin); i++) {
        commands[i] = &builtin[i];
    }
    command_count += ARRAY_SIZE(builtin);
}

static void one_command(void)
{
    char line[LINE_MAX];

    printk("(nd) ");
    read_line(line);
    run_line(line);
}

void monitor_prompt(int value)
{
    run_value = value;
    live = false;
    nmi_samples_pause(true);
    register_builtin();
    printk("notdirty monitor; `help` lists the commands\n");
    for (;;) {
        one_command();
    }
}

void monitor_enter(void)
{
    register_builtin();
    run_value = EXIT_USER_QUIT;
    live = true;
    nmi_samples_pause(true);
    printk("\nnotdirty monitor; the guest is paused, `continue` resumes it\n");
    while (live) {
        one_command();
    }
    nmi_samples_pause(false);
}
