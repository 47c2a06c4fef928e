/* SPDX-License-Identifier: MIT */
/*
 * Symbols of a program: a System.map (lines "address type name", in any order) or the symbol table of an ELF64 file. Nothing is
 * unpacked or sorted: every look-up reads it all, which is for the end of a run. Its input is whatever lies on the stick.
 */
#ifndef KERNEL_LIB_SYMBOLS_H
#define KERNEL_LIB_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbols {
    const uint8_t *data; /* the file */
    size_t len;
    bool elf;
    uint64_t symtab, count; /* ELF: offset of the table, entries */
    uint64_t strtab, strlen; /* and of its names, bytes */
};

/* Look at data[0..len), which must stay. 0; -ENOENT if it is an ELF file without a symbol table; -ENOEXEC if it is neither. */
int symbols_open(struct symbols *s, const void *data, size_t len);

/* The symbol at or below address that is nearest, at most 1 MiB away; of several, an ELF function. Its name (not NUL-terminated) and the distance. */
bool symbols_find(const struct symbols *s, uint64_t address, const char **name, size_t *name_len, uint64_t *offset);

/* The value of a symbol. */
bool symbols_value(const struct symbols *s, const char *name, uint64_t *value);

#endif
