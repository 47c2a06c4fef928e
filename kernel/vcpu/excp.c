/* SPDX-License-Identifier: MIT */
/* Raising exceptions, ending the run, and what two exceptions in a row become. Delivery: int.c. */
#include "kernel/vcpu/internal.h"

#include <stdarg.h>

#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"

void raise_exception_err(struct CPUState *cpu, int vector, uint64_t error_code)
{
    cpu->exception_index = vector;
    cpu->error_code = error_code;
    cpu->exception_is_int = false;
    cpu->exception_next_eip = 0;
}

void raise_exception(struct CPUState *cpu, int vector)
{
    raise_exception_err(cpu, vector, 0);
}

int raise_fault(struct CPUState *cpu, int vector, uint64_t error_code)
{
    raise_exception_err(cpu, vector, error_code);
    return 1;
}

int cpu_end_run(struct CPUState *cpu, enum cpu_exit_request why, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(cpu->exit_msg, sizeof(cpu->exit_msg), fmt, ap);
    va_end(ap);
    cpu->exit_request = why;
    cpu->exception_index = EXCP_EXIT;
    LOG(CPU, "run ends: %s", cpu->exit_msg);
    return 1;
}

int refuse_cs32(struct CPUState *cpu, const char *what, uint16_t selector, unsigned cpl)
{
    if (cpl == 3) {
        return 0;
    }
    return cpu_end_run(cpu, CPU_EXIT_UNSUPPORTED,
                       "32-bit code segment not supported: %s to cs %#x at %#lx", what, selector,
                       cpu->env.eip);
}

int entered_cs32(struct CPUState *cpu, const char *what)
{
    LOG(CPU, "%s to 32-bit code segment %#x at %#lx: not supported, #UD", what,
        cpu->env.segs[R_CS].selector, cpu->env.eip);
    return raise_fault(cpu, EXCP06_ILLOP, 0);
}

const char *exception_name(int vector)
{
    static const char *const name[] = {
        "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "int",
        "#TS", "#NP", "#SS", "#GP", "#PF", "int", "#MF", "#AC", "#MC", "#XM",
    };

    return vector >= 0 && (size_t)vector < ARRAY_SIZE(name) ? name[vector] : "int";
}

/* SDM vol. 3 table 6-4 */
enum excp_class { EXCP_BENIGN, EXCP_CONTRIBUTORY, EXCP_PAGE };

static enum excp_class excp_class(int vector)
{
    switch (vector) {
    case EXCP00_DIVZ:
    case EXCP0A_TSS:
    case EXCP0B_NOSEG:
    case EXCP0C_STACK:
    case EXCP0D_GPF:
        return EXCP_CONTRIBUTORY;
    case EXCP0E_PAGE:
        return EXCP_PAGE;
    default:
        return EXCP_BENIGN;
    }
}

int check_exception(int first, int second)
{
    enum excp_class c1 = excp_class(first), c2 = excp_class(second);

    if (c2 == EXCP_BENIGN) {
        return second;
    }
    if (first == EXCP08_DBLE) {
        return -1;
    }
    /* Table 6-5: contributory then page fault is handled serially, every other pair of the two
     * classes is not. */
    if ((c1 == EXCP_CONTRIBUTORY && c2 == EXCP_CONTRIBUTORY) || c1 == EXCP_PAGE) {
        return EXCP08_DBLE;
    }
    return second;
}
