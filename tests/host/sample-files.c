/* SPDX-License-Identifier: MIT */
/* Builds the sample files. Knows the formats independently of the parsers under test. */
#include "tests/host/sample-files.h"

#include <stdio.h>
#include <string.h>

void put_field(uint8_t *file, size_t offset, uint64_t v, unsigned size)
{
    memcpy(file + offset, &v, size);
}

static void put_phdr(uint8_t *file, unsigned i, uint32_t type, uint32_t flags, uint64_t offset,
                     uint64_t vaddr, uint64_t paddr, uint64_t filesz, uint64_t memsz)
{
    uint64_t fields[7] = {
        type | (uint64_t)flags << 32, offset, vaddr, paddr, filesz, memsz, 0x1000};

    memcpy(file + ELF_PHDR(i), fields, sizeof(fields));
}

void make_sample_elf(uint8_t file[SAMPLE_ELF_LEN])
{
    static const uint8_t ident[16] = {0x7f, 'E', 'L', 'F', 2, 1, 1};

    memset(file, 0, SAMPLE_ELF_LEN);
    memcpy(file, ident, sizeof(ident));
    put_field(file, ELF_TYPE, 2, 2);
    put_field(file, ELF_MACHINE, 62, 2);
    put_field(file, 20, 1, 4);
    put_field(file, ELF_ENTRY, 0xffff800000000010, 8);
    put_field(file, ELF_PHOFF, 64, 8);
    put_field(file, 52, 64, 2);
    put_field(file, ELF_PHENTSIZE, 56, 2);
    put_field(file, ELF_PHNUM, 3, 2);
    put_phdr(file, 0, 1, 5, 0x200, 0xffff800000000000, 0x200000, 0x100, 0x100);
    put_phdr(file, 1, 4, 4, 0x200, 0, 0, 0x20, 0x20);
    put_phdr(file, 2, 1, 6, 0x300, 0xffff800000001000, 0x201000, 0x80, 0x2000);
    memset(file + 0x200, 0x90, 0x100);
    memset(file + 0x300, 0xdd, 0x80);
}

void make_sample_bzimage(uint8_t file[SAMPLE_BZIMAGE_LEN])
{
    memset(file, 0xcc, SAMPLE_BZIMAGE_LEN);
    memset(file + 0x1f1, 0, 0x400 - 0x1f1);
    put_field(file, 0x1f1, 3, 1);
    put_field(file, 0x1f4, (SAMPLE_BZIMAGE_LEN - 4 * 512) / 16, 4);
    put_field(file, 0x1fe, 0xaa55, 2);
    put_field(file, 0x200, 0x6aeb, 2);
    memcpy(file + 0x202, "HdrS", 4);
    put_field(file, 0x206, 0x020f, 2);
    put_field(file, 0x211, 1, 1);
    put_field(file, 0x214, 0x100000, 4);
    put_field(file, 0x22c, 0x7fffffff, 4);
    put_field(file, 0x230, 0x200000, 4);
    put_field(file, 0x234, 1, 1);
    put_field(file, 0x236, 0x7f, 2);
    put_field(file, 0x238, 2047, 4);
    put_field(file, 0x258, 0x1000000, 8);
    put_field(file, 0x260, 0x3378000, 4);
}

static size_t put_member(uint8_t *file, size_t at, const char *name, unsigned mode,
                         const char *data)
{
    char header[136];

    snprintf(header, sizeof(header), "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x",
             1, mode, 0, 0, 1, 0, strlen(data), 0, 0, 0, 0, strlen(name) + 1, 0);
    memcpy(file + at, header, 110);
    memcpy(file + at + 110, name, strlen(name) + 1);
    at = (at + 110 + strlen(name) + 1 + 3) & ~(size_t)3;
    memcpy(file + at, data, strlen(data));
    return (at + strlen(data) + 3) & ~(size_t)3;
}

size_t make_sample_cpio(uint8_t file[SAMPLE_CPIO_MAX])
{
    size_t at = 0;

    memset(file, 0, SAMPLE_CPIO_MAX);
    at = put_member(file, at, "d", 040755, "");
    at = put_member(file, at, "notdirty.conf", 0100644, "guest = d/g\n");
    at = put_member(file, at, "./d/g", 0100644,
                    "\x7f"
                    "ELF!");
    at = put_member(file, at, "empty", 0100644, "");
    return put_member(file, at, "TRAILER!!!", 0, "");
}

static void put_symbol(uint8_t *symbol, uint32_t name, uint8_t info, uint16_t section, uint64_t value)
{
    put_field(symbol, 0, name, 4);
    put_field(symbol, 4, info, 1);
    put_field(symbol, 6, section, 2);
    put_field(symbol, 8, value, 8);
}

void make_sample_symbols(uint8_t file[SAMPLE_SYMBOLS_LEN])
{
    static const char names[] = "\0start\0inner\0file.c";
    const unsigned symtab = 64 + 2 * 64, strtab = symtab + 6 * 24;
    uint8_t *header = file + SAMPLE_SYMTAB_HEADER;

    memset(file, 0, SAMPLE_SYMBOLS_LEN);
    memcpy(file, "\177ELF\2\1\1", 7);
    put_field(file, 40, 64, 8); /* section headers: offset, size, number */
    put_field(file, 58, 64, 2);
    put_field(file, 60, 2, 2);
    put_field(header, 4, 2, 4); /* SHT_SYMTAB */
    put_field(header, 24, symtab, 8);
    put_field(header, 32, 6 * 24, 8);
    put_field(header, 40, 1, 4); /* names: section 1 */
    put_field(header, 56, 24, 8);
    put_field(header + 64, 4, 3, 4); /* SHT_STRTAB */
    put_field(header + 64, 24, strtab, 8);
    put_field(header + 64, 32, sizeof(names), 8);
    memcpy(file + strtab, names, sizeof(names));
    put_symbol(file + symtab + 24, 0, 3, 1, 0x200000);       /* section */
    put_symbol(file + symtab + 48, 13, 4, 0xfff1, 0x200000); /* file */
    put_symbol(file + symtab + 72, 1, 2, 0, 0x200000);       /* undefined */
    put_symbol(file + symtab + 96, 1, 0x12, 1, 0x200010);
    put_symbol(file + symtab + 120, 7, 0x11, 1, 0x200020);
    put_symbol(file + symtab, 2, 0x10, 1, 0x200010); /* untyped "tart", where the function is */
}
