/* SPDX-License-Identifier: MIT */
/* Files for the programs that measure the hosted build. */
#include "tests/bench/hosted/text.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void die(const char *what, const char *detail)
{
    fprintf(stderr, "bench: %s %s\n", what, detail);
    exit(1);
}

size_t load_file(const char *path, void *at, size_t max)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(at, 1, max, f) : 0;

    if (!n || n == max) {
        die("cannot use", path);
    }
    fclose(f);
    return n;
}

size_t load_text(const char *path, uint8_t *at, size_t max)
{
    static uint8_t file[128 << 20];
    size_t size = load_file(path, file, sizeof(file));
    const Elf64_Ehdr *eh = (const void *)file;

    if (size < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_shoff + eh->e_shnum * sizeof(Elf64_Shdr) > size) {
        die("not an ELF file with sections:", path);
    }
    const Elf64_Shdr *sh = (const void *)(file + eh->e_shoff);
    const char *names = (const char *)file + sh[eh->e_shstrndx].sh_offset;

    for (unsigned i = 0; i < eh->e_shnum; i++) {
        if (!strcmp(names + sh[i].sh_name, ".text") && sh[i].sh_offset + sh[i].sh_size <= size) {
            size_t n = sh[i].sh_size < max ? sh[i].sh_size : max;

            memcpy(at, file + sh[i].sh_offset, n);
            return n;
        }
    }
    die("no .text in", path);
}
