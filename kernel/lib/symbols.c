/* SPDX-License-Identifier: MIT */
/* Reads System.map and ELF64 symbol tables. Pure; every offset is checked against the file. */
#include "kernel/lib/symbols.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"

#define DISTANCE_MAX 0x100000u
#define ADDRESS_DIGITS 16

/* ELF64: offsets in the file header, in a section header, in a symbol (gabi 4.1, "Sections", "Symbol Table"). */
#define EH_SHOFF     40
#define EH_SHENTSIZE 58
#define EH_SHNUM     60
#define EH_SIZE      64
#define SH_TYPE      4
#define SH_OFFSET    24
#define SH_SIZE      32
#define SH_LINK      40
#define SH_ENTSIZE   56
#define SH_HEADER    64
#define SHT_SYMTAB   2
#define SYM_SIZE     24
#define SYM_INFO     4
#define SYM_SHNDX    6
#define SYM_VALUE    8
#define STT_FUNC     2 /* 0: no type, 1: object; others are sections and files */
#define SHN_ABS      0xfff1

struct symbol {
    const char *name;
    size_t name_len;
    uint64_t value;
    bool function; /* surely */
};

static uint64_t get(const struct symbols *s, uint64_t offset, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, s->data + offset, size);
    return v;
}

static bool inside(const struct symbols *s, uint64_t offset, uint64_t len)
{
    return offset <= s->len && len <= s->len - offset;
}

/* ---- ELF ---- */

static int open_elf(struct symbols *s)
{
    uint64_t shoff = get(s, EH_SHOFF, 8), shentsize = get(s, EH_SHENTSIZE, 2), shnum = get(s, EH_SHNUM, 2);

    if (shentsize < SH_HEADER || !inside(s, shoff, shnum * shentsize)) {
        return -ENOENT;
    }
    for (uint64_t i = 0; i < shnum; i++) {
        uint64_t sh = shoff + i * shentsize, link = get(s, sh + SH_LINK, 4), strsh = shoff + link * shentsize;

        if (get(s, sh + SH_TYPE, 4) != SHT_SYMTAB || get(s, sh + SH_ENTSIZE, 8) != SYM_SIZE || link >= shnum) {
            continue;
        }
        s->symtab = get(s, sh + SH_OFFSET, 8);
        s->count = get(s, sh + SH_SIZE, 8) / SYM_SIZE;
        s->strtab = get(s, strsh + SH_OFFSET, 8);
        s->strlen = get(s, strsh + SH_SIZE, 8);
        return inside(s, s->symtab, s->count * SYM_SIZE) && inside(s, s->strtab, s->strlen) ? 0 : -ENOENT;
    }
    return -ENOENT;
}

/* Symbol number *next, which becomes the one to continue with; false at the end. A name that is empty means: skip it. */
static bool next_elf(const struct symbols *s, uint64_t *next, struct symbol *sym)
{
    uint64_t at = s->symtab + *next * SYM_SIZE, name, shndx;

    if (*next >= s->count) {
        return false;
    }
    ++*next;
    sym->name_len = 0;
    name = get(s, at, 4);
    shndx = get(s, at + SYM_SHNDX, 2);
    if ((get(s, at + SYM_INFO, 1) & 15) > STT_FUNC || shndx == 0 || shndx == SHN_ABS || name >= s->strlen) {
        return true;
    }
    sym->value = get(s, at + SYM_VALUE, 8);
    sym->function = (get(s, at + SYM_INFO, 1) & 15) == STT_FUNC;
    sym->name = (const char *)s->data + s->strtab + name;
    while (name + sym->name_len < s->strlen && sym->name[sym->name_len]) {
        sym->name_len++;
    }
    return true;
}

/* ---- System.map ---- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The line at *next, as next_elf(). */
static bool next_map(const struct symbols *s, uint64_t *next, struct symbol *sym)
{
    const uint8_t *p = s->data + *next, *end = s->data + s->len;
    unsigned digits = 0;

    if (p >= end) {
        return false;
    }
    sym->name_len = 0;
    sym->function = false;
    for (sym->value = 0; p < end && digits < ADDRESS_DIGITS && hex_digit(*p) >= 0; p++, digits++) {
        sym->value = sym->value << 4 | (unsigned)hex_digit(*p);
    }
    if (digits && end - p > 3 && p[0] == ' ' && p[1] > ' ' && p[2] == ' ') {
        sym->name = (const char *)p + 3;
        for (p += 3; p < end && *p > ' '; p++) {
            sym->name_len++;
        }
    }
    while (p < end && *p != '\n') {
        p++;
    }
    *next = (uint64_t)(p - s->data) + 1;
    return true;
}

/* ---- both ---- */

static bool next_symbol(const struct symbols *s, uint64_t *next, struct symbol *sym)
{
    return s->elf ? next_elf(s, next, sym) : next_map(s, next, sym);
}

int symbols_open(struct symbols *s, const void *data, size_t len)
{
    struct symbol sym;
    uint64_t next = 0;

    *s = (struct symbols){.data = data, .len = len};
    if (len >= EH_SIZE && memcmp(data, "\177ELF\2\1", 6) == 0) {
        s->elf = true;
        return open_elf(s);
    }
    return next_map(s, &next, &sym) && sym.name_len ? 0 : -ENOEXEC;
}

bool symbols_find(const struct symbols *s, uint64_t address, const char **name, size_t *name_len, uint64_t *offset)
{
    struct symbol sym;
    uint64_t next = 0;
    bool found = false;

    while (next_symbol(s, &next, &sym)) {
        uint64_t distance = address - sym.value;

        if (!sym.name_len || sym.value > address || distance > DISTANCE_MAX) {
            continue;
        }
        if (!found || distance < *offset || (distance == *offset && sym.function)) {
            *name = sym.name;
            *name_len = sym.name_len;
            *offset = distance;
            found = true;
        }
    }
    return found;
}

bool symbols_value(const struct symbols *s, const char *name, uint64_t *value)
{
    size_t len = strlen(name);
    struct symbol sym;
    uint64_t next = 0;

    while (next_symbol(s, &next, &sym)) {
        if (sym.name_len == len && memcmp(sym.name, name, len) == 0) {
            *value = sym.value;
            return true;
        }
    }
    return false;
}
