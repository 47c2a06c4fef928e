/* SPDX-License-Identifier: MIT */
/* What the guest calls its addresses, if its symbols are at hand (`symbols` of notdirty.conf, or an ELF guest's own). */
#ifndef KERNEL_GUEST_SYMBOLS_H
#define KERNEL_GUEST_SYMBOLS_H

#include "boot/boot-info.h"
#include "dbt/cpu.h"
#include "kernel/lib/conf.h"

/* Find them; a file that has none is one line on the console and no more. */
void guest_symbols_init(const struct boot_info *bi, const struct conf *conf);
/* " function+0x12" with its leading blank, or nothing, if no symbol is near. buf is always NUL-terminated. */
void guest_symbol(const struct CPUState *cpu, gva_t pc, char *buf, size_t size);
/* The address of a symbol, as the guest runs now. False if there is none of that name. */
bool guest_symbol_address(const struct CPUState *cpu, const char *name, gva_t *va);
/* Has the guest's Linux panicked? False if it is not Linux or there are no symbols. */
bool guest_panicked(const struct CPUState *cpu);

#endif
