/* SPDX-License-Identifier: MIT */
/*
 * Reads "newc" cpio archives (SVR4 without checksum). Pure; bounds are checked against the buffer
 * only, so a damaged archive ends the search with -EINVAL. Each member: 6 magic characters, 13
 * fields of 8 hexadecimal digits, the name with its NUL padded to 4 bytes, the content padded to 4
 * bytes. The member "TRAILER!!!" ends the archive.
 */
#include "kernel/lib/cpio.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"

#define HEADER_LEN     110
#define FIELD_MODE     1
#define FIELD_FILESIZE 6
#define FIELD_NAMESIZE 11
#define MODE_TYPE      0170000
#define MODE_REGULAR   0100000

struct member {
    const char *name;
    const uint8_t *data;
    uint32_t size;
    uint32_t mode;
    size_t next; /* offset of the next member */
};

static bool read_field(const char *header, unsigned index, uint32_t *value)
{
    const char *digits = header + 6 + index * 8;

    *value = 0;
    for (unsigned i = 0; i < 8; i++) {
        char c = digits[i];
        uint32_t digit;

        if (c >= '0' && c <= '9') {
            digit = (uint32_t)(c - '0');
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            digit = (uint32_t)((c | 0x20) - 'a') + 10;
        } else {
            return false;
        }
        *value = *value << 4 | digit;
    }
    return true;
}

/* Decode the member at `offset` (<= len); false if it is damaged. */
static bool read_member(const char *archive, size_t len, size_t offset, struct member *m)
{
    const char *header = archive + offset;
    uint32_t name_size;
    uint64_t data_offset;

    if (len - offset < HEADER_LEN || memcmp(header, "070701", 6) != 0 ||
        !read_field(header, FIELD_MODE, &m->mode) ||
        !read_field(header, FIELD_FILESIZE, &m->size) ||
        !read_field(header, FIELD_NAMESIZE, &name_size)) {
        return false;
    }
    if (name_size == 0 || name_size > len - offset - HEADER_LEN ||
        header[HEADER_LEN + name_size - 1] != '\0') {
        return false;
    }
    data_offset = ALIGN_UP((uint64_t)offset + HEADER_LEN + name_size, 4);
    if (data_offset > len || m->size > len - data_offset) {
        return false;
    }
    m->name = header + HEADER_LEN;
    m->data = (const uint8_t *)archive + data_offset;
    /* The last member may lack its padding. */
    m->next = (size_t)MIN(ALIGN_UP(data_offset + m->size, 4), (uint64_t)len);
    return true;
}

static const char *skip_root(const char *name)
{
    if (name[0] == '.' && name[1] == '/') {
        return name + 2;
    }
    return name[0] == '/' || name[0] == '\\' ? name + 1 : name;
}

static char fold(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c | 0x20);
    }
    return c == '\\' ? '/' : c;
}

static bool same_path(const char *a, const char *b)
{
    for (; fold(*a) == fold(*b); a++, b++) {
        if (!*a) {
            return true;
        }
    }
    return false;
}

int cpio_find(const void *archive, size_t len, const char *name, const void **data, size_t *size)
{
    struct member m;

    for (size_t offset = 0; offset < len; offset = m.next) {
        if (!read_member(archive, len, offset, &m)) {
            return -EINVAL;
        }
        if (strcmp(m.name, "TRAILER!!!") == 0) {
            break;
        }
        if ((m.mode & MODE_TYPE) == MODE_REGULAR &&
            same_path(skip_root(m.name), skip_root(name))) {
            *data = m.data;
            *size = m.size;
            return 0;
        }
    }
    return -ENOENT;
}
