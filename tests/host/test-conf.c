/* SPDX-License-Identifier: MIT */
/* notdirty.conf: every key, every kind of bad line, and the place that an error names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/lib/conf.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/types.h"

static struct conf conf;
static unsigned line;
static char msg[160];

static int parse(const char *text)
{
    conf_defaults(&conf);
    line = 0;
    msg[0] = '\0';
    return conf_parse(&conf, text, strlen(text), &line, msg, sizeof(msg));
}

static void test_defaults(void **state)
{
    assert_int_equal(parse(""), 0);
    assert_string_equal(conf.guest, "guest");
    assert_string_equal(conf.initrd, "");
    assert_string_equal(conf.cmdline, "");
    assert_int_equal(conf.memory, 256ull << 20);
    assert_int_equal(conf.mode, CONF_MODE_TRANSLATE);
    assert_int_equal(conf.smc, CONF_SMC_PROTECT);
    assert_string_equal(conf.log, "");
    assert_int_equal(conf.exit, CONF_EXIT_POWEROFF);
    assert_int_equal(conf.timeout, 0);
    assert_int_equal(conf.smc_store_sites, CONF_SMC_STORE_SITES);
}

static void test_every_key(void **state)
{
    assert_int_equal(parse("# a comment\n"
                           "\n"
                           "guest = boot/vmlinuz\n"
                           "  initrd=initrd.img  \n"
                           "cmdline = console=ttyS0 a=\"b c\" # not a comment\n"
                           "memory = 1G\n"
                           "mode = native\n"
                           "smc = check\n"
                           "log = smc,tb\n"
                           "exit = monitor\n"
                           "timeout\t=\t90"),
                     0);
    assert_string_equal(conf.guest, "boot/vmlinuz");
    assert_string_equal(conf.initrd, "initrd.img");
    assert_string_equal(conf.cmdline, "console=ttyS0 a=\"b c\" # not a comment");
    assert_int_equal(conf.memory, 1ull << 30);
    assert_int_equal(conf.mode, CONF_MODE_NATIVE);
    assert_int_equal(conf.smc, CONF_SMC_CHECK);
    assert_string_equal(conf.log, "smc,tb");
    assert_int_equal(conf.exit, CONF_EXIT_MONITOR);
    assert_int_equal(conf.timeout, 90);
}

static void test_smc_policy(void **state)
{
    assert_int_equal(parse(""), 0);
    assert_int_equal(conf.adaptive, CONF_ON);
    assert_int_equal(conf.pause, CONF_OFF);
    assert_int_equal(conf.precise, CONF_ON);
    assert_int_equal(conf.smc_self_check_faults, CONF_SMC_SELF_CHECK_FAULTS);
    assert_int_equal(parse("adaptive = off\nprecise = off\nsmc_self_check_faults = 3\nsmc_self_check_hits = 4\n"
                           "smc_quiet_ticks = 0\nsmc_bulk_faults = 10000\nsmc_data_imm_hits = 2\nsmc_disarm_faults = 7\n"),
                     0);
    assert_int_equal(conf.adaptive, CONF_OFF);
    assert_int_equal(conf.precise, CONF_OFF);
    assert_int_equal(conf.smc_self_check_faults, 3);
    assert_int_equal(conf.smc_self_check_hits, 4);
    assert_int_equal(conf.smc_quiet_ticks, 0);
    assert_int_equal(conf.smc_bulk_faults, 10000);
    assert_int_equal(conf.smc_data_imm_hits, 2);
    assert_int_equal(conf.smc_disarm_faults, 7);
    assert_true(parse("smc_quiet_ticks = 10001\n") != 0);
    assert_true(parse("smc_quiet_ticks = -1\n") != 0);
    assert_true(parse("smc_quiet_ticks = 1s\n") != 0);
    assert_true(parse("adaptive = maybe\n") != 0);
}

static void test_every_choice(void **state)
{
    assert_int_equal(parse("mode = translate\nsmc = protect\nexit = poweroff\n"), 0);
    assert_int_equal(conf.exit, CONF_EXIT_POWEROFF);
    assert_int_equal(parse("pause = on\n"), 0);
    assert_int_equal(conf.pause, CONF_ON);
    assert_int_equal(parse("exit = reboot\n"), 0);
    assert_int_equal(conf.exit, CONF_EXIT_REBOOT);
}

static void test_editors(void **state)
{
    /* Windows line ends and byte order mark */
    assert_int_equal(parse("\xef\xbb\xbfguest = a.elf\r\nmemory = 64M\r\n"), 0);
    assert_string_equal(conf.guest, "a.elf");
    assert_int_equal(conf.memory, 64ull << 20);
    assert_int_equal(parse("cmdline =\n"), 0);
    assert_string_equal(conf.cmdline, "");
    assert_int_equal(parse("cmdline = gr\xc3\xbc\xc3\x9f"
                           "e\n"),
                     0);
}

static void test_cache(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: refused */
    } sizes[] = {{"1M", 1ull << 20}, {"1048576", 1ull << 20}, {"256M", 256ull << 20}, {"3072k", 3ull << 20},
                 {"0", 0},           {"257M", 0},             {"512K", 0},            {"1G", 0},
                 {"1536K", 0},       {"", 0},                 {"16 M", 0}};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {

        conf_defaults(&conf);
        assert_int_equal(conf.cache, 16ull << 20);
        assert_int_equal(conf_set(&conf, "cache", sizes[i].text, msg, sizeof(msg)), sizes[i].bytes ? 0 : -EINVAL);
        assert_int_equal(conf.cache, sizes[i].bytes ? sizes[i].bytes : 16ull << 20);
    }
}

static void test_memory(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* 0 = an error */
    } sizes[] = {
        {"2M", 2ull << 20},
        {"2097152", 2ull << 20},
        {"2048K", 2ull << 20},
        {"2048k", 2ull << 20},
        {"4096G", 4096ull << 30},
        {"300m", 300ull << 20},
        {"1g", 1ull << 30},
        {"", 0},
        {"0", 0},
        {"0M", 0},
        {"1M", 0},
        {"3M", 0},
        {"2MB", 0},
        {"-2M", 0},
        {"M", 0},
        {"2 M", 0},
        {"0x200000", 0},
        {"4097G", 0},
        {"2T", 0},
        {"18446744073709551616", 0},
        {"17592186044416G", 0},
        {"99999999999999999999999M", 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        char text[64];

        snprintf(text, sizeof(text), "memory = %s\n", sizes[i].text);
        if (sizes[i].bytes) {
            assert_int_equal(parse(text), 0);
            assert_int_equal(conf.memory, sizes[i].bytes);
        } else {
            assert_int_equal(parse(text), -EINVAL);
            assert_int_equal(conf.memory, 256ull << 20);
        }
    }
}

static void test_errors_name_line_and_cause(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
        const char *part; /* of the message */
    } bad[] = {
        {"foo = 1\n", 1, "unknown key 'foo'; known keys: guest, initrd,"},
        {"\n\n# x\nGuest = a\n", 4, "unknown key 'Guest'"},
        {"guest = a\nguest = b\n", 2, "'guest' is given twice"},
        {"memory 256M\n", 1, "expected 'key = value'"},
        {"= 3\n", 1, "unknown key ''"},
        {"mode = fast\n", 1, "bad value 'fast' of mode: expected translate, native"},
        {"smc = \n", 1, "of smc: expected protect, check"},
        {"exit = halt\n", 1, "poweroff, reboot, monitor"},
        {"smc_store_sites = many\n", 1, "bad value 'many' of smc_store_sites: expected 0 to"},
        {"timeout = ten\n", 1, "bad timeout 'ten'"},
        {"timeout = 10s\n", 1, "bad timeout '10s'"},
        {"timeout = 99999999\n", 1, "bad timeout"},
        {"log = SMC!\n", 1, "expected log channels"},
        {"log = smc,tbx\n", 1, "expected log channels"},
        {"guest =\n", 1, "names no file"},
        {"memory = 256M\nguest = a\x01"
         "b\n",
         2, "byte 0x01 is not text"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(parse(bad[i].text), -EINVAL);
        assert_int_equal(line, bad[i].line);
        if (!strstr(msg, bad[i].part)) {
            fail_msg("'%s' does not say '%s'", msg, bad[i].part);
        }
    }
}

static void test_binary_file(void **state)
{
    static const char nul[] = "guest = a\nmemory\0 = 1G\n";

    conf_defaults(&conf);
    assert_int_equal(conf_parse(&conf, nul, sizeof(nul) - 1, &line, msg, sizeof(msg)), -EINVAL);
    assert_int_equal(line, 2);
}

/* A value of `len` characters for the key. */
static int parse_long(const char *key, size_t len)
{
    char text[4096];
    int n = snprintf(text, sizeof(text), "%s = ", key);

    memset(text + n, 'a', len);
    text[(size_t)n + len] = '\0';
    return parse(text);
}

static void test_longest_values(void **state)
{
    assert_int_equal(parse_long("guest", sizeof(conf.guest) - 1), 0);
    assert_int_equal(strlen(conf.guest), sizeof(conf.guest) - 1);
    assert_int_equal(parse_long("guest", sizeof(conf.guest)), -EINVAL);
    assert_non_null(strstr(msg, "64 characters, 63 at most"));
    assert_int_equal(parse_long("cmdline", sizeof(conf.cmdline) - 1), 0);
    assert_int_equal(parse_long("cmdline", sizeof(conf.cmdline)), -EINVAL);
    assert_non_null(strstr(msg, "2048 characters, 2047 at most"));
    assert_int_equal(parse_long("cmdline", 2500), -EINVAL);
    assert_non_null(strstr(msg, "line is too long"));
    assert_int_equal(parse_long(" # a comment", 3500), 0); /* nothing in it is kept */
}

static void test_conf_set(void **state)
{
    conf_defaults(&conf);
    assert_int_equal(conf_set(&conf, "memory", "512M", msg, sizeof(msg)), 0);
    assert_int_equal(conf.memory, 512ull << 20);
    assert_int_equal(conf_set(&conf, "memory", "512M", msg, sizeof(msg)),
                     0); /* again: overriding is its purpose */
    assert_int_equal(conf_set(&conf, "nonsense", "1", msg, sizeof(msg)), -EINVAL);
    assert_int_equal(conf_set(&conf, "mode", "", msg, sizeof(msg)), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_every_choice), cmocka_unit_test(test_editors),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_smc_policy),
        cmocka_unit_test(test_memory),       cmocka_unit_test(test_errors_name_line_and_cause),
        cmocka_unit_test(test_binary_file),  cmocka_unit_test(test_longest_values),
        cmocka_unit_test(test_conf_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
