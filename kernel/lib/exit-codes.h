/* SPDX-License-Identifier: MIT */
/*
 * Values written to port 0xf4 (QEMU isa-debug-exit) when a run ends; QEMU's exit status is (value << 1) | 1. A guest's own
 * value passes through as it is; the values here are the monitor's. boot/machine.py knows the same list (tests/setup
 * compares them), docs/boot.md explains it.
 */
#ifndef KERNEL_LIB_EXIT_CODES_H
#define KERNEL_LIB_EXIT_CODES_H

#include <stdint.h>

#define EXIT_PORT 0xf4

#define EXIT_SUCCESS_VALUE 0x00
#define EXIT_TRIPLE_FAULT  0x70 /* the guest */
#define EXIT_UNSUPPORTED   0x71 /* the guest did something that the monitor cannot do (yet) */
#define EXIT_LOAD_ERROR    0x72 /* configuration, guest image or memory: the guest never started */
#define EXIT_HALTED        0x73 /* HLT with interrupts off: the guest can never wake */
#define EXIT_TIMEOUT       0x74 /* `timeout` of notdirty.conf */
#define EXIT_RESET         0x75 /* the guest reset the machine */
#define EXIT_PANIC         0x76 /* our bug */
#define EXIT_USER_QUIT     0x77 /* the monitor's quit command */
#define EXIT_GUEST_PANIC   0x78 /* the guest's Linux panicked, as its symbols show */
#define EXIT_NOWHERE       0x79 /* the guest executes where it has no memory */
#define EXIT_GUEST_OTHER   0x7f /* a guest value that would read as success, see below */

/*
 * The value to write for a guest that ended with `value`. A process status has eight bits, so a value such as 0x80 would
 * arrive as (0x100 | 1) & 0xff = 1, which means success: such values are replaced.
 */
static inline uint8_t exit_value_of_guest(uint32_t value)
{
    if (value != 0 && (value & 0x7f) == 0) {
        return EXIT_GUEST_OTHER;
    }
    return (uint8_t)value;
}

#endif
