/* SPDX-License-Identifier: MIT */
/* Shared by the loader's files only. Each function prints one line when it fails. */
#ifndef KERNEL_LOAD_PRIV_H
#define KERNEL_LOAD_PRIV_H

#include "kernel/load.h"

#define LOAD_GDT         0x01000
#define LOAD_PML4        0x02000
#define LOAD_PDPT        0x03000
#define LOAD_PD          0x04000
#define LOAD_INFO        0x08000
#define LOAD_CMDLINE     0x09000
#define LOAD_CMDLINE_MAX 4096
#define LOAD_STACK       0x10000
#define LOAD_STACK_SIZE  0x10000
#define LOAD_HIGH        0x100000 /* the guest's own files go here and above */
#define LOAD_CS          0x10     /* __BOOT_CS, __BOOT_DS of the Linux boot protocol */
#define LOAD_DS          0x18

/*
 * Claim guest memory [gpa, gpa + len) for `what` and return it, zeroed and contiguous. NULL if it
 * is not all RAM, larger than memory, or claimed already.
 */
void *load_claim(struct load *ld, gpa_t gpa, uint64_t len, const char *what);
/* Is [gpa, gpa + len) RAM that nobody has claimed? Prints nothing. */
bool load_is_free(const struct load *ld, gpa_t gpa, uint64_t len);
/* Lowest free multiple of align at or above `from`, which is LOAD_HIGH or more, with room for len; 0 if there is none. Prints
 * nothing. */
gpa_t load_find_low(const struct load *ld, gpa_t from, uint64_t len, uint64_t align);
/* Copy the initial RAM disk, if there is one, as high as possible below `limit`. 0 with *gpa = 0 if
 * there is none. */
int load_initrd(struct load *ld, uint64_t limit, gpa_t *gpa);
/* Copy the command line to LOAD_CMDLINE; max: longest one that the guest takes, without the NUL. */
int load_cmdline(struct load *ld, uint64_t max);
/* Copy a file's bytes into claimed memory. */
int load_bytes(struct load *ld, gpa_t gpa, const void *data, uint64_t filesz, uint64_t memsz,
               const char *what);

/* Open the ELF file and put its segments at their physical addresses. */
struct elf_image;
int load_elf_segments(struct load *ld, const void *data, size_t len, struct elf_image *elf);

/* By format: data[0..len) is the file. They change the common state at entry where it differs. */
int load_elf(struct load *ld, const void *data, size_t len);
int load_linux(struct load *ld, const void *data, size_t len);
int load_vmlinux(struct load *ld, const void *data, size_t len);

#endif
