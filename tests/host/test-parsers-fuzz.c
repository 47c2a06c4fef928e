/* SPDX-License-Identifier: MIT */
/*
 * Mutated files through every parser, under the sanitizers: no step outside the buffer (which is
 * exactly as long as the file), and what a parser accepts keeps the promises of its header. The
 * seed is fixed; FUZZ_ROUNDS and FUZZ_SEED override.
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
#include "kernel/lib/conf.h"
#include "kernel/lib/cpio.h"
#include "kernel/lib/elf.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/symbols.h"
#include "kernel/lib/types.h"
#include "tests/host/sample-files.h"

#define ROUNDS 100000

static uint64_t rng;

static uint64_t next_random(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

static unsigned below(unsigned n)
{
    return (unsigned)(next_random() % n);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 0) : otherwise;
}

/* Values at which arithmetic goes wrong. */
static uint64_t nasty_value(void)
{
    static const uint64_t values[] = {
        0,      1,         0x7f,       0x80,         0xff,       0x100,      0x7fff,
        0xffff, 0x10000,   0x7fffffff, 0xffffffff,   1ull << 32, 1ull << 47, 1ull << 63,
        ~0ull,  ~0ull - 1, ~0ull - 55, ~0ull - 4095, 0x3c0,      0x400,      0x38};

    return values[below(ARRAY_SIZE(values))] + below(3) - 1;
}

static void mutate(uint8_t *file, size_t *len)
{
    for (unsigned n = 1 + below(4); n > 0 && *len > 0; n--) {
        size_t at = below((unsigned)*len);
        uint64_t value = nasty_value();
        size_t size = (size_t)1 << below(4);

        size = MIN(size, *len - at);
        switch (below(6)) {
        case 0:
            file[at] ^= (uint8_t)(1u << below(8));
            break;
        case 1:
            file[at] = (uint8_t)next_random();
            break;
        case 2:
            *len = at;
            break;
        case 3: /* copy a piece of the file elsewhere */
            memmove(file + at, file + below((unsigned)*len - (unsigned)size + 1), size);
            break;
        default: /* aligned, where fields are */
            at &= ~(size - 1);
            memcpy(file + at, &value, MIN(size, *len - at));
            break;
        }
    }
}

/* One line of text, not empty: what the console can show. */
static void assert_message(const char *text)
{
    assert_non_null(text);
    assert_true(strlen(text) > 0);
    assert_null(strchr(text, '\n'));
}

static void check_elf(const uint8_t *file, size_t len)
{
    struct elf_image elf;
    const char *why = NULL;
    int err = elf_open(&elf, file, len, &why);

    if (err) {
        assert_int_equal(err, -ENOEXEC);
        assert_message(why);
        return;
    }
    assert_in_range(elf.load_count, 1, ELF_LOAD_MAX);
    for (unsigned i = 0; i < elf.load_count; i++) {
        struct elf_segment seg, other;
        volatile uint8_t sum = 0; /* the reads themselves are the test */

        elf_load_segment(&elf, i, &seg);
        assert_true(seg.memsz >= seg.filesz && seg.memsz > 0);
        assert_true(seg.vaddr + seg.memsz - 1 >= seg.vaddr &&
                    seg.paddr + seg.memsz - 1 >= seg.paddr);
        for (uint64_t j = 0; j < seg.filesz; j++) {
            sum = sum ^ seg.data[j];
        }
        for (unsigned j = 0; j < i; j++) {
            elf_load_segment(&elf, j, &other);
            assert_true(seg.paddr > other.paddr + other.memsz - 1 ||
                        other.paddr > seg.paddr + seg.memsz - 1);
            assert_true(seg.vaddr > other.vaddr + other.memsz - 1 ||
                        other.vaddr > seg.vaddr + seg.memsz - 1);
        }
    }
    assert_true(elf_find(&elf, ELF_VIRTUAL, elf.entry) < (int)elf.load_count);
    elf_has_note(&elf, "Linux"); /* the sanitizer sees what it reads */
}

static void check_bzimage(const uint8_t *file, size_t len)
{
    struct bzimage bz;
    const char *why = NULL;
    int err = bzimage_open(&bz, file, len, &why);

    if (err) {
        assert_int_equal(err, -ENOEXEC);
        assert_message(why);
        return;
    }
    assert_true(bz.payload == file + bz.setup_size && bz.payload + bz.payload_len == file + len);
    assert_true(bz.payload_len > BZIMAGE_ENTRY64);
    assert_in_range(bz.hdr_len, 0x268 - 0x1f1, BZIMAGE_HDR_MAX);
    assert_true(BZIMAGE_HDR_OFFSET + bz.hdr_len <= len);
    assert_true(bz.alignment && !(bz.alignment & (bz.alignment - 1)));
    assert_true(bz.pref_address + bz.init_size > bz.pref_address);
}

static void check_conf(const uint8_t *file, size_t len)
{
    struct conf conf;
    char msg[96] = "";
    unsigned line = 0;
    int err;

    conf_defaults(&conf);
    err = conf_parse(&conf, (const char *)file, len, &line, msg, sizeof(msg));
    if (err) {
        assert_int_equal(err, -EINVAL);
        assert_message(msg);
        assert_in_range(line, 1, len);
    }
    assert_true(strnlen(conf.guest, sizeof(conf.guest)) < sizeof(conf.guest) && conf.guest[0]);
    assert_true(strnlen(conf.initrd, sizeof(conf.initrd)) < sizeof(conf.initrd));
    assert_true(strnlen(conf.cmdline, sizeof(conf.cmdline)) < sizeof(conf.cmdline));
    assert_true(strnlen(conf.log, sizeof(conf.log)) < sizeof(conf.log));
    assert_true(conf.memory > 0 && conf.memory % (2 << 20) == 0);
    assert_true(conf.mode <= CONF_MODE_NATIVE && conf.smc <= CONF_SMC_CHECK &&
                conf.exit <= CONF_EXIT_MONITOR);
}

static void check_cpio(const uint8_t *file, size_t len)
{
    static const char *const names[] = {"notdirty.conf", "d/g", "empty", "nothing"};
    const void *data;
    size_t size;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int err = cpio_find(file, len, names[i], &data, &size);

        assert_true(err == 0 || err == -ENOENT || err == -EINVAL);
        if (err == 0) {
            assert_true((const uint8_t *)data >= file &&
                        (const uint8_t *)data + size <= file + len);
        }
    }
}

static void check_symbols(const uint8_t *file, size_t len)
{
    struct symbols s;
    const char *name;
    size_t name_len;
    uint64_t offset, value;
    int err = symbols_open(&s, file, len);

    assert_true(err == 0 || err == -ENOENT || err == -ENOEXEC);
    if (err == 0 && symbols_find(&s, 0x200025, &name, &name_len, &offset)) {
        assert_true((const uint8_t *)name >= file && (const uint8_t *)name + name_len <= file + len);
        assert_true(offset <= 0x100000);
    }
    if (err == 0) {
        symbols_value(&s, "inner", &value);
    }
}

static void fuzz(const uint8_t *sample, size_t sample_len,
                 void (*check)(const uint8_t *file, size_t len))
{
    uint64_t rounds = from_environment("FUZZ_ROUNDS", ROUNDS);

    rng = from_environment("FUZZ_SEED", 0x9e3779b97f4a7c15) | 1;
    for (uint64_t i = 0; i < rounds; i++) {
        uint8_t scratch[4096];
        size_t len = sample_len;
        uint8_t *file;

        memcpy(scratch, sample, sample_len);
        if (i > 0) { /* the sample itself comes first */
            mutate(scratch, &len);
        }
        file = malloc(len ? len : 1);
        memcpy(file, scratch, len);
        check(file, len);
        free(file);
    }
}

static void fuzz_elf(void **state)
{
    uint8_t file[SAMPLE_ELF_LEN];

    make_sample_elf(file);
    fuzz(file, sizeof(file), check_elf);
    fuzz(file, ELF_PHDR(3), check_elf); /* most mutations then hit the headers */
}

static void fuzz_bzimage(void **state)
{
    uint8_t file[SAMPLE_BZIMAGE_LEN];

    make_sample_bzimage(file);
    fuzz(file, sizeof(file), check_bzimage);
}

static void fuzz_conf(void **state)
{
    static const char text[] =
        "# comment\r\nguest = vmlinuz\ninitrd=i\n\ncmdline = a=b # c\nmemory = 1G\nmode = native\n"
        "smc = check\nlog = smc,tb\nexit = reboot\ntimeout = 4\n";

    fuzz((const uint8_t *)text, sizeof(text) - 1, check_conf);
}

static void fuzz_cpio(void **state)
{
    uint8_t file[SAMPLE_CPIO_MAX];
    size_t len = make_sample_cpio(file);

    fuzz(file, len, check_cpio);
}

static void fuzz_symbols(void **state)
{
    static const char map[] = "0000000000200000 T start\n0000000000200020 t inner\n";
    uint8_t file[SAMPLE_SYMBOLS_LEN];

    make_sample_symbols(file);
    fuzz(file, sizeof(file), check_symbols);
    fuzz((const uint8_t *)map, sizeof(map) - 1, check_symbols);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fuzz_elf),
        cmocka_unit_test(fuzz_bzimage),
        cmocka_unit_test(fuzz_conf),
        cmocka_unit_test(fuzz_cpio),
        cmocka_unit_test(fuzz_symbols),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
