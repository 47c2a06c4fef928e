/* SPDX-License-Identifier: MIT */
/*
 * Checks and reads static x86-64 ELF64 executables in memory. Pure; every field comes from an
 * untrusted file and is checked here, once, so that users of struct elf_image need no checks of
 * their own. Fields are read with memcpy: the file may lie at any address.
 */
#include "kernel/lib/elf.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"

/* ELF-64 Object File Format, version 1.5 */
struct elf64_ehdr {
    uint8_t ident[16];
    uint16_t type;
    uint16_t machine;
    uint32_t version;
    uint64_t entry;
    uint64_t phoff;
    uint64_t shoff;
    uint32_t flags;
    uint16_t ehsize;
    uint16_t phentsize;
    uint16_t phnum;
    uint16_t shentsize;
    uint16_t shnum;
    uint16_t shstrndx;
};
_Static_assert(sizeof(struct elf64_ehdr) == 64, "ELF64 header");

struct elf64_phdr {
    uint32_t type;
    uint32_t flags;
    uint64_t offset;
    uint64_t vaddr;
    uint64_t paddr;
    uint64_t filesz;
    uint64_t memsz;
    uint64_t align;
};
_Static_assert(sizeof(struct elf64_phdr) == 56, "ELF64 program header");

#define IDENT_CLASS    4
#define IDENT_DATA     5
#define IDENT_VERSION  6
#define CLASS_32       1
#define CLASS_64       2
#define DATA_LSB       1
#define TYPE_REL       1
#define TYPE_EXEC      2
#define TYPE_DYN       3
#define MACHINE_X86_64 62
#define PT_LOAD        1
#define PT_DYNAMIC     2
#define PT_INTERP      3
#define PT_NOTE        4

struct elf64_nhdr {
    uint32_t namesz; /* with the NUL */
    uint32_t descsz;
    uint32_t type;
};
_Static_assert(sizeof(struct elf64_nhdr) == 12, "note header");

bool elf_is_elf(const void *data, size_t len)
{
    return len >= 4 && memcmp(data, "\177ELF", 4) == 0;
}

static void read_phdr(const struct elf_image *elf, uint64_t phoff, unsigned index,
                      struct elf64_phdr *ph)
{
    memcpy(ph, elf->data + phoff + index * sizeof(*ph), sizeof(*ph));
}

/* What is wrong with the file header, or NULL. */
static const char *check_header(const struct elf64_ehdr *eh, size_t len)
{
    if (eh->ident[IDENT_CLASS] == CLASS_32) {
        return "32-bit ELF file: an x86-64 one is needed";
    }
    if (eh->ident[IDENT_CLASS] != CLASS_64) {
        return "bad ELF class";
    }
    if (eh->ident[IDENT_DATA] != DATA_LSB) {
        return "big-endian ELF file: wrong machine type";
    }
    if (eh->ident[IDENT_VERSION] != 1 || eh->version != 1) {
        return "unknown ELF version";
    }
    if (eh->machine != MACHINE_X86_64) {
        return "wrong machine type: not an x86-64 ELF file";
    }
    if (eh->type == TYPE_REL) {
        return "ELF object file: it must be linked first";
    }
    if (eh->type == TYPE_DYN) {
        return "position-independent ELF file: a static one with fixed addresses is needed";
    }
    if (eh->type != TYPE_EXEC) {
        return "ELF file is not an executable";
    }
    if (eh->phnum == 0) {
        return "ELF file has no program headers";
    }
    if (eh->phentsize != sizeof(struct elf64_phdr)) {
        return "ELF program headers have a wrong size";
    }
    if (eh->phoff > len || (uint64_t)eh->phnum * sizeof(struct elf64_phdr) > len - eh->phoff) {
        return "ELF program headers lie outside the file (truncated?)";
    }
    return NULL;
}

static const char *check_load(const struct elf64_phdr *ph, size_t len)
{
    if (ph->filesz > ph->memsz) {
        return "ELF segment is larger in the file than in memory";
    }
    if (ph->offset > len || ph->filesz > len - ph->offset) {
        return "ELF segment lies outside the file (truncated?)";
    }
    if (ph->vaddr + ph->memsz - 1 < ph->vaddr || ph->paddr + ph->memsz - 1 < ph->paddr) {
        return "ELF segment wraps round the end of the address space";
    }
    return NULL;
}

static bool ranges_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a <= b + b_len - 1 && b <= a + a_len - 1;
}

static const char *check_overlap(const struct elf_image *elf, const struct elf64_phdr *ph)
{
    for (unsigned i = 0; i < elf->load_count; i++) {
        struct elf_segment other;

        elf_load_segment(elf, i, &other);
        if (ranges_overlap(ph->vaddr, ph->memsz, other.vaddr, other.memsz) ||
            ranges_overlap(ph->paddr, ph->memsz, other.paddr, other.memsz)) {
            return "ELF segments overlap";
        }
    }
    return NULL;
}

/* Take up one program header, or say what is wrong with it. */
static const char *add_segment(struct elf_image *elf, const struct elf64_phdr *ph, unsigned index)
{
    const char *why;

    if (ph->type == PT_INTERP || ph->type == PT_DYNAMIC) {
        return "dynamically linked ELF file: a static one is needed";
    }
    if (ph->type != PT_LOAD || (ph->memsz == 0 && ph->filesz == 0)) {
        return NULL;
    }
    why = check_load(ph, elf->len);
    if (!why) {
        why = check_overlap(elf, ph);
    }
    if (why) {
        return why;
    }
    if (elf->load_count == ELF_LOAD_MAX) {
        return "ELF file has more than 64 segments";
    }
    elf->load_index[elf->load_count++] = (uint16_t)index;
    return NULL;
}

int elf_open(struct elf_image *elf, const void *data, size_t len, const char **why)
{
    struct elf64_ehdr eh;

    memset(elf, 0, sizeof(*elf));
    elf->data = data;
    elf->len = len;
    if (!elf_is_elf(data, len)) {
        *why = len == 0 ? "empty file" : "not an ELF file";
        return -ENOEXEC;
    }
    if (len < sizeof(eh)) {
        *why = "ELF header is truncated";
        return -ENOEXEC;
    }
    memcpy(&eh, data, sizeof(eh));
    *why = check_header(&eh, len);
    if (*why) {
        return -ENOEXEC;
    }
    elf->entry = eh.entry;
    for (unsigned i = 0; i < eh.phnum; i++) {
        struct elf64_phdr ph;

        read_phdr(elf, eh.phoff, i, &ph);
        *why = add_segment(elf, &ph, i);
        if (*why) {
            return -ENOEXEC;
        }
    }
    if (elf->load_count == 0) {
        *why = "ELF file has nothing to load";
        return -ENOEXEC;
    }
    return 0;
}

void elf_load_segment(const struct elf_image *elf, unsigned index, struct elf_segment *seg)
{
    struct elf64_ehdr eh;
    struct elf64_phdr ph;

    memcpy(&eh, elf->data, sizeof(eh));
    read_phdr(elf, eh.phoff, elf->load_index[index], &ph);
    seg->data = elf->data + ph.offset;
    seg->filesz = ph.filesz;
    seg->memsz = ph.memsz;
    seg->vaddr = ph.vaddr;
    seg->paddr = ph.paddr;
    seg->flags = ph.flags;
}

int elf_find(const struct elf_image *elf, enum elf_space space, uint64_t addr)
{
    for (unsigned i = 0; i < elf->load_count; i++) {
        struct elf_segment seg;

        elf_load_segment(elf, i, &seg);
        if (addr - (space == ELF_PHYSICAL ? seg.paddr : seg.vaddr) < seg.memsz) {
            return (int)i;
        }
    }
    return -ENOENT;
}

/* Name and descriptor follow the header, each padded to 4 bytes. */
static bool notes_name(const uint8_t *notes, uint64_t len, const char *owner)
{
    const size_t namesz = strlen(owner) + 1;
    struct elf64_nhdr note;

    while (len >= sizeof(note)) {
        uint64_t size;

        memcpy(&note, notes, sizeof(note));
        size = sizeof(note) + ALIGN_UP((uint64_t)note.namesz, 4) + ALIGN_UP((uint64_t)note.descsz, 4);
        if (size > len) {
            return false;
        }
        if (note.namesz == namesz && memcmp(notes + sizeof(note), owner, namesz) == 0) {
            return true;
        }
        notes += size;
        len -= size;
    }
    return false;
}

bool elf_has_note(const struct elf_image *elf, const char *owner)
{
    struct elf64_ehdr eh;

    memcpy(&eh, elf->data, sizeof(eh));
    for (unsigned i = 0; i < eh.phnum; i++) {
        struct elf64_phdr ph;

        read_phdr(elf, eh.phoff, i, &ph);
        if (ph.type == PT_NOTE && ph.offset <= elf->len && ph.filesz <= elf->len - ph.offset &&
            notes_name(elf->data + ph.offset, ph.filesz, owner)) {
            return true;
        }
    }
    return false;
}
