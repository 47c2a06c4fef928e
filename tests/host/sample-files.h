/* SPDX-License-Identifier: MIT */
/* Small valid files, built in memory, that the parser tests start from and spoil. */
#ifndef TESTS_HOST_SAMPLE_FILES_H
#define TESTS_HOST_SAMPLE_FILES_H

#include <stddef.h>
#include <stdint.h>

/* Offsets of ELF64 fields, for spoiling. */
#define ELF_CLASS          4
#define ELF_DATA           5
#define ELF_TYPE           16
#define ELF_MACHINE        18
#define ELF_ENTRY          24
#define ELF_PHOFF          32
#define ELF_PHENTSIZE      54
#define ELF_PHNUM          56
#define ELF_PHDR(i)        (64 + (i)*56)
#define PHDR_TYPE          0
#define PHDR_OFFSET        8
#define PHDR_VADDR         16
#define PHDR_PADDR         24
#define PHDR_FILESZ        32
#define PHDR_MEMSZ         40

#define SAMPLE_ELF_LEN     0x400
#define SAMPLE_BZIMAGE_LEN 0x1000
#define SAMPLE_CPIO_MAX    1024

/* All values are little-endian; `size` bytes of v at file + offset. */
void put_field(uint8_t *file, size_t offset, uint64_t v, unsigned size);

/*
 * Program headers: text at offset 0x200, 0x100 bytes, vaddr 0xffff800000000000, paddr 0x200000; a
 * note; data at offset 0x300, 0x80 bytes in the file and 0x2000 in memory, vaddr + 0x1000, paddr
 * 0x201000. Entry: text + 0x10.
 */
void make_sample_elf(uint8_t file[SAMPLE_ELF_LEN]);

/* Protocol 2.15, 3 set-up sectors, relocatable, prefers 16 MiB. */
void make_sample_bzimage(uint8_t file[SAMPLE_BZIMAGE_LEN]);

/*
 * A directory "d", files "notdirty.conf" ("guest = d/g\n"), "./d/g" (5 bytes), "empty". Returns the
 * length.
 */
size_t make_sample_cpio(uint8_t file[SAMPLE_CPIO_MAX]);

/*
 * An ELF64 file with a symbol table: a section, a file and an undefined symbol below 0x200010,
 * function "start" there, object "inner" at 0x200020.
 */
#define SAMPLE_SYMBOLS_LEN   (64 + 2 * 64 + 6 * 24 + 32)
#define SAMPLE_SYMTAB_HEADER 64
void make_sample_symbols(uint8_t file[SAMPLE_SYMBOLS_LEN]);

#endif
