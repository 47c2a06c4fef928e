/* SPDX-License-Identifier: MIT */
/*
 * Static x86-64 ELF64 executables in memory: checked once, then iterated. Trusts nothing in the
 * file. Used by the UEFI loader (our kernel), the kernel (bare payloads) and a fuzzer.
 *
 *   struct elf_image elf;
 *   const char *why;
 *   if (elf_open(&elf, data, len, &why) < 0) { printk("guest: %s\n", why); ... }
 *   for (unsigned i = 0; i < elf.load_count; i++) {
 *       struct elf_segment seg;
 *       elf_load_segment(&elf, i, &seg);
 *       copy seg.filesz bytes from seg.data to seg.paddr, zero up to seg.memsz
 *   }
 */
#ifndef KERNEL_LIB_ELF_H
#define KERNEL_LIB_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_LOAD_MAX 64 /* PT_LOAD segments in one file */

#define ELF_FLAG_X   1u
#define ELF_FLAG_W   2u
#define ELF_FLAG_R   4u

struct elf_segment {
    const uint8_t *data; /* filesz bytes inside the file */
    uint64_t filesz;
    uint64_t memsz; /* >= filesz, > 0; the rest is zero */
    uint64_t vaddr;
    uint64_t paddr;
    uint32_t flags; /* ELF_FLAG_* */
};

struct elf_image {
    const uint8_t *data; /* borrowed: must outlive the image */
    size_t len;
    uint64_t entry;                    /* e_entry */
    unsigned load_count;               /* PT_LOADs with memsz > 0, at least 1 */
    uint16_t load_index[ELF_LOAD_MAX]; /* their program header numbers */
};

/* True if the buffer starts with the ELF magic (nothing else is checked). */
bool elf_is_elf(const void *data, size_t len);

/*
 * Check data[0..len) and fill *elf. 0, or -ENOEXEC with *why = a one-line reason (static text).
 * Afterwards every PT_LOAD lies in the file, no address range wraps, and none overlaps another,
 * neither by vaddr nor by paddr. Whether e_entry lies in a segment depends on which addresses the
 * caller uses: ask elf_find.
 */
int elf_open(struct elf_image *elf, const void *data, size_t len, const char **why);

/* The index-th PT_LOAD, index < elf->load_count. */
void elf_load_segment(const struct elf_image *elf, unsigned index, struct elf_segment *seg);

enum elf_space { ELF_VIRTUAL, ELF_PHYSICAL };

/*
 * The PT_LOAD that holds `addr` as a virtual or as a physical address. Returns its index, or
 * -ENOENT.
 */
int elf_find(const struct elf_image *elf, enum elf_space space, uint64_t addr);

/* Does an opened file carry a note of this owner ("Linux": a vmlinux)? Malformed notes are no notes. */
bool elf_has_note(const struct elf_image *elf, const char *owner);

#endif
