/* SPDX-License-Identifier: MIT */
/* The newc reader: names, kinds, damage. tests/system boots what boot/mkbundle.py writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/lib/cpio.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/types.h"
#include "tests/host/sample-files.h"

static uint8_t file[SAMPLE_CPIO_MAX];
static size_t file_len;
static const void *data;
static size_t size;

static int setup(void **state)
{
    file_len = make_sample_cpio(file);
    return 0;
}

static void test_find(void **state)
{
    assert_int_equal(cpio_find(file, file_len, "notdirty.conf", &data, &size), 0);
    assert_int_equal(size, 12);
    assert_memory_equal(data, "guest = d/g\n", 12);
    assert_int_equal(cpio_find(file, file_len, "d/g", &data, &size), 0);
    assert_int_equal(size, 5);
    assert_int_equal(cpio_find(file, file_len, "/d/g", &data, &size), 0);
    assert_int_equal(cpio_find(file, file_len, "empty", &data, &size), 0);
    assert_int_equal(size, 0);
}

/* As on FAT, which the stick has. */
static void test_names_as_fat(void **state)
{
    static const char *const same[] = {"D/G", "\\d\\g", "./D\\g"};
    static const char *const others[] = {"d/", "d/g/", "d/gg", "d//g", "", "dAg"};

    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        assert_int_equal(cpio_find(file, file_len, same[i], &data, &size), 0);
        assert_int_equal(size, 5);
    }
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        assert_int_equal(cpio_find(file, file_len, others[i], &data, &size), -ENOENT);
    }
}

static void test_not_there(void **state)
{
    assert_int_equal(cpio_find(file, file_len, "nothing", &data, &size), -ENOENT);
    assert_int_equal(cpio_find(file, file_len, "d", &data, &size), -ENOENT); /* a directory */
    assert_int_equal(cpio_find(file, file_len, "TRAILER!!!", &data, &size), -ENOENT);
    assert_int_equal(cpio_find(file, 0, "d/g", &data, &size), -ENOENT);
}

/* What lies behind the damage is not found; what lies before it is. */
static void test_damage(void **state)
{
    int err;

    assert_int_equal(cpio_find(file, file_len, "d/g", &data, &size), 0);
    file[(const uint8_t *)data - file + 8] = 'x'; /* in the header of "empty" */
    assert_int_equal(cpio_find(file, file_len, "d/g", &data, &size), 0);
    assert_int_equal(cpio_find(file, file_len, "empty", &data, &size), -EINVAL);
    setup(NULL);
    memset(file + 6 + 6 * 8, 'f', 8); /* the file size of "d" */
    assert_int_equal(cpio_find(file, file_len, "d/g", &data, &size), -EINVAL);
    setup(NULL);
    memset(file + 6 + 11 * 8, '0', 8); /* its name size */
    err = cpio_find(file, file_len, "d/g", &data, &size);
    assert_int_equal(err, -EINVAL);
}

static void test_every_truncation(void **state)
{
    for (size_t len = 1; len < file_len; len++) {
        uint8_t *copy = malloc(len);
        int err;

        memcpy(copy, file, len);
        err = cpio_find(copy, len, "nothing", &data, &size);
        assert_true(err == -EINVAL || err == -ENOENT);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_find, setup),
        cmocka_unit_test_setup(test_names_as_fat, setup),
        cmocka_unit_test_setup(test_not_there, setup),
        cmocka_unit_test_setup(test_damage, setup),
        cmocka_unit_test_setup(test_every_truncation, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
