/* SPDX-License-Identifier: MIT */
/* ELF64: what a good file yields, and one reason for each way to be bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/lib/elf.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/types.h"
#include "tests/host/sample-files.h"

static struct elf_image elf;
static const char *why;

/* Parse a copy of exactly `len` bytes, so that the sanitizer sees any step beyond. */
static int open_copy(const uint8_t *file, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    int err;

    memcpy(copy, file, len);
    why = NULL;
    err = elf_open(&elf, copy, len, &why);
    free(copy);
    return err;
}

static void test_good(void **state)
{
    uint8_t file[SAMPLE_ELF_LEN];
    struct elf_segment seg;

    make_sample_elf(file);
    assert_true(elf_is_elf(file, sizeof(file)));
    assert_int_equal(elf_open(&elf, file, sizeof(file), &why), 0);
    assert_int_equal(elf.entry, 0xffff800000000010);
    assert_int_equal(elf.load_count, 2);
    elf_load_segment(&elf, 1, &seg);
    assert_ptr_equal(seg.data, file + 0x300);
    assert_int_equal(seg.filesz, 0x80);
    assert_int_equal(seg.memsz, 0x2000);
    assert_int_equal(seg.vaddr, 0xffff800000001000);
    assert_int_equal(seg.paddr, 0x201000);
    assert_int_equal(seg.flags, ELF_FLAG_R | ELF_FLAG_W);
}

static void test_find(void **state)
{
    uint8_t file[SAMPLE_ELF_LEN];

    make_sample_elf(file);
    assert_int_equal(elf_open(&elf, file, sizeof(file), &why), 0);
    assert_int_equal(elf_find(&elf, ELF_VIRTUAL, elf.entry), 0);
    assert_int_equal(elf_find(&elf, ELF_VIRTUAL, 0xffff800000001000), 1);
    assert_int_equal(elf_find(&elf, ELF_VIRTUAL, 0xffff800000000100), -ENOENT);
    assert_int_equal(elf_find(&elf, ELF_VIRTUAL, 0x200000), -ENOENT);
    assert_int_equal(elf_find(&elf, ELF_PHYSICAL, 0x202fff), 1);
    assert_int_equal(elf_find(&elf, ELF_PHYSICAL, 0x203000), -ENOENT);
    assert_int_equal(elf_find(&elf, ELF_PHYSICAL, 0x1fffff), -ENOENT);
}

/* Two notes where the sample's note segment is: found behind another, not by half a name, not behind one that is cut off. */
static void test_notes(void **state)
{
    uint8_t file[SAMPLE_ELF_LEN];

    make_sample_elf(file);
    assert_int_equal(elf_open(&elf, file, sizeof(file), &why), 0);
    assert_false(elf_has_note(&elf, "Linux"));
    memcpy(file + 0x200, "\4\0\0\0\1\0\0\0\7\0\0\0Xen\0x\0\0", 20);
    memcpy(file + 0x200 + 20, "\6\0\0\0\0\0\0\0\1\1\0\0Linux\0\0", 20);
    put_field(file, ELF_PHDR(1) + PHDR_FILESZ, 40, 8);
    assert_true(elf_has_note(&elf, "Linux"));
    assert_true(elf_has_note(&elf, "Xen"));
    assert_false(elf_has_note(&elf, "Linu"));
    assert_false(elf_has_note(&elf, "GNU"));
    put_field(file, ELF_PHDR(1) + PHDR_FILESZ, 39, 8);
    assert_false(elf_has_note(&elf, "Linux"));
    put_field(file, ELF_PHDR(1) + PHDR_FILESZ, 40, 8);
    put_field(file, 0x204, 0xffffffff, 4);
    assert_false(elf_has_note(&elf, "Linux"));
    put_field(file, 0x204, 1, 4);
    put_field(file, ELF_PHDR(1) + PHDR_OFFSET, sizeof(file) - 39, 8);
    assert_false(elf_has_note(&elf, "Linux"));
    put_field(file, ELF_PHDR(1) + PHDR_OFFSET, ~0ull, 8);
    assert_false(elf_has_note(&elf, "Linux"));
}

static void test_each_reason(void **state)
{
    static const struct {
        size_t offset;
        unsigned size;
        uint64_t value;
        const char *part; /* of the reason */
    } spoils[] = {
        {0, 1, 'E', "not an ELF"},
        {ELF_CLASS, 1, 1, "32-bit"},
        {ELF_CLASS, 1, 3, "class"},
        {ELF_DATA, 1, 2, "big-endian"},
        {6, 1, 0, "version"},
        {20, 4, 2, "version"},
        {ELF_MACHINE, 2, 183, "wrong machine"},
        {ELF_MACHINE, 2, 3, "wrong machine"},
        {ELF_TYPE, 2, 1, "object file"},
        {ELF_TYPE, 2, 3, "position-independent"},
        {ELF_TYPE, 2, 4, "not an executable"},
        {ELF_PHNUM, 2, 0, "no program headers"},
        {ELF_PHENTSIZE, 2, 32, "wrong size"},
        {ELF_PHOFF, 8, SAMPLE_ELF_LEN - 100, "program headers lie outside"},
        {ELF_PHOFF, 8, ~0ull - 8, "program headers lie outside"},
        {ELF_PHNUM, 2, 0xffff, "program headers lie outside"},
        {ELF_PHDR(1) + PHDR_TYPE, 4, 3, "dynamically linked"},
        {ELF_PHDR(1) + PHDR_TYPE, 4, 2, "dynamically linked"},
        {ELF_PHDR(0) + PHDR_OFFSET, 8, SAMPLE_ELF_LEN - 0xff, "segment lies outside"},
        {ELF_PHDR(0) + PHDR_OFFSET, 8, ~0ull - 0x10, "segment lies outside"},
        {ELF_PHDR(0) + PHDR_FILESZ, 8, 0x101, "larger in the file"},
        {ELF_PHDR(0) + PHDR_MEMSZ, 8, 0, "larger in the file"},
        {ELF_PHDR(0) + PHDR_VADDR, 8, ~0ull - 0x80, "wraps"},
        {ELF_PHDR(2) + PHDR_PADDR, 8, ~0ull - 0x1000, "wraps"},
        {ELF_PHDR(2) + PHDR_MEMSZ, 8, ~0ull, "wraps"},
        {ELF_PHDR(2) + PHDR_VADDR, 8, 0xffff8000000000ff, "overlap"},
        {ELF_PHDR(2) + PHDR_PADDR, 8, 0x1fe001, "overlap"},
        {ELF_PHDR(0) + PHDR_MEMSZ, 8, 0x1001, "overlap"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(spoils); i++) {
        uint8_t file[SAMPLE_ELF_LEN];

        make_sample_elf(file);
        put_field(file, spoils[i].offset, spoils[i].value, spoils[i].size);
        assert_int_equal(open_copy(file, sizeof(file)), -ENOEXEC);
        assert_non_null(why);
        if (!strstr(why, spoils[i].part)) {
            fail_msg("spoil %zu: '%s' does not say '%s'", i, why, spoils[i].part);
        }
    }
}

/* Neighbours that touch are fine, as is a segment up to the last byte of the address space. */
static void test_edges_are_legal(void **state)
{
    uint8_t file[SAMPLE_ELF_LEN];

    make_sample_elf(file);
    put_field(file, ELF_PHDR(2) + PHDR_VADDR, 0xffff800000000100, 8);
    put_field(file, ELF_PHDR(2) + PHDR_PADDR, 0x200000 - 0x2000, 8);
    assert_int_equal(open_copy(file, sizeof(file)), 0);
    put_field(file, ELF_PHDR(2) + PHDR_VADDR, ~0ull - 0x1fff, 8);
    assert_int_equal(open_copy(file, sizeof(file)), 0);
    put_field(file, ELF_PHDR(0) + PHDR_OFFSET, SAMPLE_ELF_LEN - 0x100, 8);
    assert_int_equal(open_copy(file, sizeof(file)), 0);
}

static void test_nothing_to_load(void **state)
{
    uint8_t file[SAMPLE_ELF_LEN];

    make_sample_elf(file);
    put_field(file, ELF_PHDR(0) + PHDR_TYPE, 4, 4);
    put_field(file, ELF_PHDR(2) + PHDR_FILESZ, 0, 8);
    put_field(file, ELF_PHDR(2) + PHDR_MEMSZ, 0, 8); /* empty: ignored */
    assert_int_equal(open_copy(file, sizeof(file)), -ENOEXEC);
    assert_non_null(strstr(why, "nothing to load"));
}

/* Cut anywhere before the end of its last segment, a file is refused. */
static void test_every_truncation(void **state)
{
    uint8_t file[SAMPLE_ELF_LEN];

    make_sample_elf(file);
    for (size_t len = 0; len < 0x380; len++) {
        assert_int_equal(open_copy(file, len), -ENOEXEC);
    }
    assert_int_equal(open_copy(file, 0x380), 0);
}

static void test_too_many_segments(void **state)
{
    static uint8_t file[64 + 70 * 56];

    make_sample_elf(file);
    memset(file + 64, 0, sizeof(file) - 64);
    for (unsigned i = 0; i < 70; i++) {
        put_field(file, ELF_PHDR(i) + PHDR_TYPE, 1, 4);
        put_field(file, ELF_PHDR(i) + PHDR_VADDR, i * 0x1000, 8);
        put_field(file, ELF_PHDR(i) + PHDR_PADDR, i * 0x1000, 8);
        put_field(file, ELF_PHDR(i) + PHDR_MEMSZ, 0x1000, 8);
    }
    put_field(file, ELF_PHNUM, ELF_LOAD_MAX, 2);
    assert_int_equal(open_copy(file, sizeof(file)), 0);
    assert_int_equal(elf.load_count, ELF_LOAD_MAX);
    put_field(file, ELF_PHNUM, ELF_LOAD_MAX + 1, 2);
    assert_int_equal(open_copy(file, sizeof(file)), -ENOEXEC);
    assert_non_null(strstr(why, "more than 64"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_each_reason),
        cmocka_unit_test(test_edges_are_legal),
        cmocka_unit_test(test_nothing_to_load),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_too_many_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
