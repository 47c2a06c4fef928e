/* SPDX-License-Identifier: MIT */
/* The command prompt on the serial line. Commands of other parts are registered in a table. */
#ifndef KERNEL_MONITOR_H
#define KERNEL_MONITOR_H

#include "kernel/lib/types.h"

#define MONITOR_ESCAPE 0x01 /* Ctrl-A: what follows it is for the monitor, while the guest runs and at the prompt */

/* args: what follows the command's name, without blanks at either end; may be modified. */
struct monitor_command {
    const char *name;
    const char *usage; /* of the arguments, "" if none */
    const char *help;  /* one line */
    void (*run)(char *args);
};

/* Add a command; the structure must live for ever. Start-up only. */
void monitor_register(const struct monitor_command *command);
/* Read and run commands until one ends the machine. value: the run's result, which `poweroff` and
 * `reboot` report. */
_Noreturn void monitor_prompt(int value);
/* The same prompt while the guest is paused, between two of its instructions; returns on
 * `continue` and on Ctrl-A c. */
void monitor_enter(void);
/* For commands that let the guest go on: the present prompt ends. False, with a line that names the command, if the run is
 * over. */
bool monitor_resume(const char *command);

/*
 * Cut the next blank-separated word off *args and parse it as a number (0x for hexadecimal, else
 * decimal). False, and nothing cut, if there is none or it needs more than 64 bits.
 */
bool monitor_number(char **args, uint64_t *value);

/* ---- provided by the virtual CPU's side ---- */

/* Write guest RAM [gpa, gpa + len) on behalf of the user, through the SMC funnel. 0, or -EFAULT if
 * it is not all RAM. */
int guest_mem_write(gpa_t gpa, const void *buf, size_t len);

#endif
