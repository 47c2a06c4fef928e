/* SPDX-License-Identifier: MIT */
/* Symbol look-up in a System.map and in an ELF64 symbol table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/lib/errno.h"
#include "kernel/lib/symbols.h"
#include "tests/host/sample-files.h"

static void expect(const struct symbols *s, uint64_t address, const char *expected)
{
    const char *name;
    size_t len;
    uint64_t offset;
    char text[100] = "none";

    if (symbols_find(s, address, &name, &len, &offset)) {
        snprintf(text, sizeof(text), "%.*s+0x%lx", (int)len, name, (unsigned long)offset);
    }
    assert_string_equal(text, expected);
}

static void test_map(void **state)
{
    static const char map[] = "0000000000000000 A fixed_percpu\n"
                              "ffffffff81000000 T _text\n"
                              "not a line\n"
                              "ffffffff81000400 t later\t[module]\n"
                              "ffffffff81000100 T middle\r\n"
                              "ffffffff82000000 D panic_cpu";
    struct symbols s;
    uint64_t value;

    assert_int_equal(symbols_open(&s, map, sizeof(map) - 1), 0);
    expect(&s, 0xffffffff81000000, "_text+0x0");
    expect(&s, 0xffffffff810000ff, "_text+0xff");
    expect(&s, 0xffffffff81000104, "middle+0x4");
    expect(&s, 0xffffffff81000500, "later+0x100");
    expect(&s, 0xffffffff81100400, "later+0x100000");
    expect(&s, 0xffffffff81100401, "none"); /* too far away to be of it */
    expect(&s, 0xffffffff80ffffff, "none");
    assert_true(symbols_value(&s, "panic_cpu", &value));
    assert_int_equal(value, 0xffffffff82000000);
    assert_true(symbols_value(&s, "later", &value));
    assert_false(symbols_value(&s, "panic", &value));
    assert_false(symbols_value(&s, "a", &value));
}

static void test_neither(void **state)
{
    static const char *const texts[] = {"", "hello\n", "ffff", "ffff T", "ffff T ", "\xff\xfe"};
    struct symbols s;

    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(symbols_open(&s, texts[i], strlen(texts[i])), -ENOEXEC);
    }
}

static void test_elf(void **state)
{
    uint8_t file[SAMPLE_SYMBOLS_LEN];
    struct symbols s;
    uint64_t value;

    make_sample_symbols(file);
    assert_int_equal(symbols_open(&s, file, sizeof(file)), 0);
    expect(&s, 0x200010, "start+0x0");
    expect(&s, 0x200025, "inner+0x5");
    expect(&s, 0x20000f, "none"); /* below it are only a section, a file and an undefined symbol */
    assert_true(symbols_value(&s, "inner", &value));
    assert_int_equal(value, 0x200020);
    assert_false(symbols_value(&s, "file.c", &value));
}

static void test_elf_without(void **state)
{
    uint8_t file[SAMPLE_SYMBOLS_LEN];
    struct symbols s;

    make_sample_symbols(file);
    put_field(file, 60, 0, 2); /* no section headers: stripped */
    assert_int_equal(symbols_open(&s, file, sizeof(file)), -ENOENT);
    make_sample_symbols(file);
    put_field(file, 60, 6, 2); /* more of them than the file holds */
    assert_int_equal(symbols_open(&s, file, sizeof(file)), -ENOENT);
    make_sample_symbols(file);
    put_field(file, SAMPLE_SYMTAB_HEADER + 32, 0x100000, 8); /* a table beyond the end */
    assert_int_equal(symbols_open(&s, file, sizeof(file)), -ENOENT);
    make_sample_symbols(file);
    put_field(file, SAMPLE_SYMTAB_HEADER + 40, 7, 4); /* names in a section that is not there */
    assert_int_equal(symbols_open(&s, file, sizeof(file)), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_neither),
        cmocka_unit_test(test_elf),
        cmocka_unit_test(test_elf_without),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
