/* SPDX-License-Identifier: MIT */
/*
 * The bzImage header: samples, spoilt samples, and the real files that make has fetched into
 * build/guests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/lib/bzimage.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/types.h"
#include "tests/host/sample-files.h"

static struct bzimage bz;
static const char *why;

static int open_copy(const uint8_t *file, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    int err;

    memcpy(copy, file, len);
    why = NULL;
    err = bzimage_open(&bz, copy, len, &why);
    free(copy);
    return err;
}

static void test_good(void **state)
{
    uint8_t file[SAMPLE_BZIMAGE_LEN];

    make_sample_bzimage(file);
    assert_true(bzimage_is_bzimage(file, sizeof(file)));
    assert_int_equal(bzimage_open(&bz, file, sizeof(file), &why), 0);
    assert_int_equal(bz.setup_size, 4 * 512);
    assert_ptr_equal(bz.payload, file + 4 * 512);
    assert_int_equal(bz.payload_len, SAMPLE_BZIMAGE_LEN - 4 * 512);
    assert_int_equal(bz.hdr_len, 0x26c - 0x1f1);
    assert_int_equal(bz.version, 0x020f);
    assert_int_equal(bz.pref_address, 0x1000000);
    assert_int_equal(bz.init_size, 0x3378000);
    assert_int_equal(bz.alignment, 0x200000);
    assert_true(bz.relocatable);
    assert_true(bz.above_4g);
    assert_int_equal(bz.cmdline_max, 2047);
    assert_int_equal(bz.initrd_max, 0x7fffffff);
}

/* setup_sects = 0 means 4. */
static void test_old_setup_size(void **state)
{
    uint8_t file[SAMPLE_BZIMAGE_LEN];

    make_sample_bzimage(file);
    put_field(file, 0x1f1, 0, 1);
    put_field(file, 0x1f4, 1, 4);
    assert_int_equal(open_copy(file, sizeof(file)), 0);
    assert_int_equal(bz.setup_size, 5 * 512);
}

static void test_each_reason(void **state)
{
    static const struct {
        size_t offset;
        unsigned size;
        uint64_t value;
        const char *part;
    } spoils[] = {
        {0x1fe, 2, 0, "not a bzImage"},
        {0x202, 1, 'h', "not a bzImage"},
        {0x206, 2, 0x020b, "too old"},
        {0x206, 2, 0x0000, "too old"},
        {0x211, 1, 0, "zImage"},
        {0x236, 2, 0x7e, "no 64-bit entry"},
        {0x201, 1, 0x20, "shorter"},
        {0x201, 1, 0xff, "longer"},
        {0x1f1, 1, 7, "truncated"},
        {0x1f1, 1, 255, "truncated"},
        {0x1f4, 4, 0xffffffff, "truncated"},
        {0x1f4, 4, (SAMPLE_BZIMAGE_LEN - 4 * 512) / 16 + 1, "truncated"},
        {0x230, 4, 0, "alignment"},
        {0x230, 4, 0x200001, "alignment"},
        {0x260, 4, 0, "load address or size"},
        {0x258, 8, ~0ull - 0x1000, "load address or size"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(spoils); i++) {
        uint8_t file[SAMPLE_BZIMAGE_LEN];

        make_sample_bzimage(file);
        put_field(file, spoils[i].offset, spoils[i].value, spoils[i].size);
        assert_int_equal(open_copy(file, sizeof(file)), -ENOEXEC);
        assert_non_null(why);
        if (!strstr(why, spoils[i].part)) {
            fail_msg("spoil %zu: '%s' does not say '%s'", i, why, spoils[i].part);
        }
    }
}

/*
 * syssize may be rounded up by less than a paragraph, so the last 15 bytes may be missing: nothing
 * more.
 */
static void test_every_truncation(void **state)
{
    uint8_t file[SAMPLE_BZIMAGE_LEN];

    make_sample_bzimage(file);
    for (size_t len = 0; len <= SAMPLE_BZIMAGE_LEN - 16; len++) {
        assert_int_equal(open_copy(file, len), -ENOEXEC);
    }
    assert_int_equal(open_copy(file, SAMPLE_BZIMAGE_LEN - 15), 0);
}

static uint8_t *read_guest(const char *name, size_t *len)
{
    static uint8_t file[32 << 20];
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "build/guests/%s", name);
    f = fopen(path, "rb");
    if (!f) {
        skip(); /* not fetched: make test does that first */
    }
    *len = fread(file, 1, sizeof(file), f);
    fclose(f);
    return file;
}

static void test_debian_kernel(void **state)
{
    size_t len;
    uint8_t *file = read_guest("vmlinuz-cloud", &len);

    assert_int_equal(bzimage_open(&bz, file, len, &why), 0);
    assert_true(bz.version >= 0x020f);
    assert_true(bz.relocatable);
    assert_int_equal(bz.pref_address, 0x1000000);
    assert_true(bz.init_size > bz.payload_len);
    assert_int_equal(bz.alignment, 0x200000);
    assert_int_equal(bzimage_open(&bz, file, len / 2, &why), -ENOEXEC);
}

static void test_memtest(void **state)
{
    size_t len;
    uint8_t *file = read_guest("memtest86+x64.bin", &len);

    assert_int_equal(bzimage_open(&bz, file, len, &why), 0);
    assert_int_equal(bz.version, 0x020c);
    assert_false(bz.relocatable);
    assert_int_equal(bz.pref_address, 0x100000);
    assert_int_equal(bz.cmdline_max, 255);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),          cmocka_unit_test(test_old_setup_size),
        cmocka_unit_test(test_each_reason),   cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_debian_kernel), cmocka_unit_test(test_memtest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
