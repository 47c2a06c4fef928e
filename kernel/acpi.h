/* SPDX-License-Identifier: MIT */
/* The virtual machine's ACPI tables, in its memory below 1 MiB. */
#ifndef KERNEL_ACPI_H
#define KERNEL_ACPI_H

#include "kernel/lib/types.h"

#define ACPI_BASE 0xe0000 /* reserved in the guest's memory map; where guests without a pointer search */
#define ACPI_SIZE 0x1000

/* Write all tables; area: ACPI_SIZE bytes, which the guest sees at ACPI_BASE, where the RSDP is. */
void acpi_build(uint8_t *area);

#endif
