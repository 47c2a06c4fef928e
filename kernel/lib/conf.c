/* SPDX-License-Identifier: MIT */
/*
 * Parser of notdirty.conf. Pure: no allocation, no output. Its input is whatever lies on the stick,
 * so every byte is checked; a '#' opens a comment only as the first character of a line, because a
 * command line may contain one.
 */
#include "kernel/lib/conf.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"

#define CONF_LINE_MAX  2200 /* the longest value (cmdline) with its key; comments may be longer */
#define MEMORY_GRANULE (2ull << 20)
#define MEMORY_MAX     (1ull << 42) /* what the physmap can hold, mm/layout.h */
#define CACHE_GRANULE  (1ull << 20)
#define CACHE_MAX      (256ull << 20)
#define TIMEOUT_MAX    (30u * 24 * 3600)
#define COUNT_MAX      10000u /* of a threshold */

enum conf_kind { KIND_PATH, KIND_TEXT, KIND_CHANNELS, KIND_SIZE, KIND_CACHE, KIND_CHOICE, KIND_SECONDS, KIND_COUNT };

struct conf_key {
    const char *name;
    enum conf_kind kind;
    uint16_t offset;        /* of the field in struct conf */
    uint16_t size;          /* of a text field, with its NUL */
    const char *choices[3]; /* KIND_CHOICE: by enum value */
};

#define TEXT_FIELD(f) offsetof(struct conf, f), sizeof(((struct conf *)0)->f)
static const struct conf_key keys[] = {
    {"guest", KIND_PATH, TEXT_FIELD(guest), {NULL}},
    {"initrd", KIND_PATH, TEXT_FIELD(initrd), {NULL}},
    {"symbols", KIND_PATH, TEXT_FIELD(symbols), {NULL}},
    {"cmdline", KIND_TEXT, TEXT_FIELD(cmdline), {NULL}},
    {"memory", KIND_SIZE, offsetof(struct conf, memory), 0, {NULL}},
    {"cache", KIND_CACHE, offsetof(struct conf, cache), 0, {NULL}},
    {"mode", KIND_CHOICE, offsetof(struct conf, mode), 0, {"translate", "native"}},
    {"smc", KIND_CHOICE, offsetof(struct conf, smc), 0, {"protect", "check"}},
    {"log", KIND_CHANNELS, TEXT_FIELD(log), {NULL}},
    {"exit", KIND_CHOICE, offsetof(struct conf, exit), 0, {"poweroff", "reboot", "monitor"}},
    {"timeout", KIND_SECONDS, offsetof(struct conf, timeout), 0, {NULL}},
    {"pause", KIND_CHOICE, offsetof(struct conf, pause), 0, {"on", "off"}},
    {"adaptive", KIND_CHOICE, offsetof(struct conf, adaptive), 0, {"on", "off"}},
    {"precise", KIND_CHOICE, offsetof(struct conf, precise), 0, {"on", "off"}},
    {"smc_self_check_faults", KIND_COUNT, offsetof(struct conf, smc_self_check_faults), 0, {NULL}},
    {"smc_self_check_hits", KIND_COUNT, offsetof(struct conf, smc_self_check_hits), 0, {NULL}},
    {"smc_quiet_ticks", KIND_COUNT, offsetof(struct conf, smc_quiet_ticks), 0, {NULL}},
    {"smc_bulk_faults", KIND_COUNT, offsetof(struct conf, smc_bulk_faults), 0, {NULL}},
    {"smc_disarm_faults", KIND_COUNT, offsetof(struct conf, smc_disarm_faults), 0, {NULL}},
    {"smc_store_sites", KIND_COUNT, offsetof(struct conf, smc_store_sites), 0, {NULL}},
    {"smc_data_imm_hits", KIND_COUNT, offsetof(struct conf, smc_data_imm_hits), 0, {NULL}},
};
#undef TEXT_FIELD
#define KNOWN_KEYS "guest, initrd, symbols, cmdline, memory, cache, mode, smc, log, exit, timeout, pause, adaptive, precise, " \
                   "smc_self_check_faults, smc_self_check_hits, smc_quiet_ticks, smc_bulk_faults, smc_data_imm_hits, " \
                   "smc_store_sites, smc_disarm_faults"

_Static_assert(CONF_MODE_TRANSLATE == 0 && CONF_MODE_NATIVE == 1, "order of the choices of mode");
_Static_assert(CONF_SMC_PROTECT == 0 && CONF_SMC_CHECK == 1, "order of the choices of smc");
_Static_assert(CONF_EXIT_POWEROFF == 0 && CONF_EXIT_REBOOT == 1 && CONF_EXIT_MONITOR == 2,
               "order of the choices of exit");
_Static_assert(CONF_ON == 0 && CONF_OFF == 1, "order of the choices of switches");

void conf_defaults(struct conf *conf)
{
    memset(conf, 0, sizeof(*conf));
    memcpy(conf->guest, "guest", sizeof("guest"));
    conf->memory = 256ull << 20;
    conf->cache = 16ull << 20;
    conf->pause = CONF_OFF;
    conf->smc_self_check_faults = CONF_SMC_SELF_CHECK_FAULTS;
    conf->smc_self_check_hits = CONF_SMC_SELF_CHECK_HITS;
    conf->smc_quiet_ticks = CONF_SMC_QUIET_TICKS;
    conf->smc_bulk_faults = CONF_SMC_BULK_FAULTS;
    conf->smc_store_sites = CONF_SMC_STORE_SITES;
    conf->smc_data_imm_hits = CONF_SMC_DATA_IMM_HITS;
    conf->smc_disarm_faults = CONF_SMC_DISARM_FAULTS;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool is_comment(const char *line)
{
    while (is_blank(*line)) {
        line++;
    }
    return *line == '#';
}

/*
 * Digits of s as a decimal number not above max; *rest = first character after them. False if none,
 * or too large.
 */
static bool parse_decimal(const char *s, uint64_t max, uint64_t *value, const char **rest)
{
    uint64_t v = 0;

    if (*s < '0' || *s > '9') {
        return false;
    }
    for (; *s >= '0' && *s <= '9'; s++) {
        uint64_t digit = (uint64_t)(*s - '0');

        if (v > (max - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *value = v;
    *rest = s;
    return true;
}

/* "256M", "1G", "262144K" or bytes, at most max. False if it is no such thing. */
static bool parse_size(const char *value, uint64_t max, uint64_t *size)
{
    const char *rest;
    uint64_t v;
    unsigned shift = 0;

    if (!parse_decimal(value, max, &v, &rest)) {
        return false;
    }
    switch (*rest) {
    case 'K':
    case 'k':
        shift = 10;
        break;
    case 'M':
    case 'm':
        shift = 20;
        break;
    case 'G':
    case 'g':
        shift = 30;
        break;
    }
    if (rest[shift != 0] != '\0' || v > max >> shift) {
        return false;
    }
    *size = v << shift;
    return true;
}

/* A positive multiple of 2 MiB. */
static int set_size(uint64_t *field, const char *value, char *msg, size_t msg_size)
{
    uint64_t v;

    if (!parse_size(value, MEMORY_MAX, &v)) {
        snprintf(msg, msg_size, "bad memory size '%.40s': expected e.g. 256M or 2G, 4096G at most",
                 value);
        return -EINVAL;
    }
    if (v == 0 || v % MEMORY_GRANULE != 0) {
        snprintf(msg, msg_size, "memory '%.40s' is not a positive multiple of 2M", value);
        return -EINVAL;
    }
    *field = v;
    return 0;
}

static int set_cache(uint64_t *field, const char *value, char *msg, size_t msg_size)
{
    uint64_t v;

    if (!parse_size(value, CACHE_MAX, &v) || v == 0 || v % CACHE_GRANULE != 0) {
        snprintf(msg, msg_size, "bad cache size '%.40s': expected 1M to 256M", value);
        return -EINVAL;
    }
    *field = v;
    return 0;
}

static int set_seconds(uint32_t *field, const char *value, char *msg, size_t msg_size)
{
    const char *rest;
    uint64_t v;

    if (!parse_decimal(value, TIMEOUT_MAX, &v, &rest) || *rest != '\0') {
        snprintf(msg, msg_size, "bad timeout '%.40s': expected seconds, 0 to %u", value,
                 TIMEOUT_MAX);
        return -EINVAL;
    }
    *field = (uint32_t)v;
    return 0;
}

static int set_count(uint32_t *field, const char *key, const char *value, char *msg, size_t msg_size)
{
    const char *rest;
    uint64_t v;

    if (!parse_decimal(value, COUNT_MAX, &v, &rest) || *rest != '\0') {
        snprintf(msg, msg_size, "bad value '%.40s' of %s: expected 0 to %u", value, key, COUNT_MAX);
        return -EINVAL;
    }
    *field = (uint32_t)v;
    return 0;
}

static int set_choice(uint32_t *field, const struct conf_key *key, const char *value, char *msg,
                      size_t msg_size)
{
    for (uint32_t i = 0; i < ARRAY_SIZE(key->choices) && key->choices[i]; i++) {
        if (strcmp(key->choices[i], value) == 0) {
            *field = i;
            return 0;
        }
    }
    snprintf(msg, msg_size, "bad value '%.40s' of %s: expected %s, %s%s%s", value, key->name,
             key->choices[0], key->choices[1], key->choices[2] ? ", " : "",
             key->choices[2] ? key->choices[2] : "");
    return -EINVAL;
}

static int set_text(char *field, const struct conf_key *key, const char *value, char *msg,
                    size_t msg_size)
{
    size_t len = strlen(value);
    uint32_t mask;

    if (len >= key->size) {
        snprintf(msg, msg_size, "value of %s is too long: %zu characters, %d at most", key->name,
                 len, key->size - 1);
        return -EINVAL;
    }
    if (key->kind == KIND_CHANNELS && log_parse(value, &mask) < 0) {
        snprintf(msg, msg_size,
                 "bad value '%.40s' of %s: expected log channels, e.g. smc,tb or all", value,
                 key->name);
        return -EINVAL;
    }
    if (len == 0 && strcmp(key->name, "guest") == 0) {
        snprintf(msg, msg_size, "guest names no file");
        return -EINVAL;
    }
    memcpy(field, value, len + 1);
    return 0;
}

static const struct conf_key *find_key(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (strcmp(keys[i].name, name) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

int conf_set(struct conf *conf, const char *name, const char *value, char *msg, size_t msg_size)
{
    const struct conf_key *key = find_key(name);
    char *field;

    if (!key) {
        snprintf(msg, msg_size, "unknown key '%.40s'; known keys: " KNOWN_KEYS, name);
        return -EINVAL;
    }
    field = (char *)conf + key->offset;
    switch (key->kind) {
    case KIND_SIZE:
        return set_size((uint64_t *)(void *)field, value, msg, msg_size);
    case KIND_CACHE:
        return set_cache((uint64_t *)(void *)field, value, msg, msg_size);
    case KIND_SECONDS:
        return set_seconds((uint32_t *)(void *)field, value, msg, msg_size);
    case KIND_COUNT:
        return set_count((uint32_t *)(void *)field, key->name, value, msg, msg_size);
    case KIND_CHOICE:
        return set_choice((uint32_t *)(void *)field, key, value, msg, msg_size);
    case KIND_PATH:
    case KIND_TEXT:
    case KIND_CHANNELS:
        break;
    }
    return set_text(field, key, value, msg, msg_size);
}

/*
 * One line, already copied and NUL-terminated; it is cut into key and value in place. `seen` has
 * one bit per key, so that a second value for a key is an error and not a riddle.
 */
static int parse_line(struct conf *conf, char *line, uint32_t *seen, char *msg, size_t msg_size)
{
    char *equals, *key = line, *value, *end;
    const struct conf_key *known;
    uint32_t bit;

    while (is_blank(*key)) {
        key++;
    }
    if (*key == '\0' || *key == '#') {
        return 0;
    }
    equals = strchr(key, '=');
    if (!equals) {
        snprintf(msg, msg_size, "expected 'key = value', found '%.40s'", key);
        return -EINVAL;
    }
    for (end = equals; end > key && is_blank(end[-1]); end--) {
    }
    *end = '\0';
    for (value = equals + 1; is_blank(*value); value++) {
    }
    for (end = value + strlen(value); end > value && is_blank(end[-1]); end--) {
    }
    *end = '\0';

    known = find_key(key);
    if (known) {
        bit = 1u << (known - keys);
        if (*seen & bit) {
            snprintf(msg, msg_size, "key '%s' is given twice", key);
            return -EINVAL;
        }
        *seen |= bit;
    }
    return conf_set(conf, key, value, msg, msg_size);
}

int conf_parse(struct conf *conf, const char *text, size_t len, unsigned *line, char *msg,
               size_t msg_size)
{
    static const char byte_order_mark[3] = {'\xef', '\xbb', '\xbf'};
    char copy[CONF_LINE_MAX];
    uint32_t seen = 0;
    size_t pos = 0;

    if (len >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
        pos = 3;
    }
    for (*line = 1; pos < len; ++*line) {
        size_t n = 0;
        int err;

        for (; pos < len && text[pos] != '\n'; pos++) {
            if (((unsigned char)text[pos] < ' ' && !is_blank(text[pos])) || text[pos] == 0x7f) {
                snprintf(msg, msg_size, "byte 0x%02x is not text", (unsigned char)text[pos]);
                return -EINVAL;
            }
            if (n == sizeof(copy) - 1 && is_comment(copy)) {
                continue;
            }
            if (n == sizeof(copy) - 1) {
                snprintf(msg, msg_size, "line is too long: more than %zu characters",
                         sizeof(copy) - 1);
                return -EINVAL;
            }
            copy[n++] = text[pos];
        }
        pos++;
        copy[n] = '\0';
        err = parse_line(conf, copy, &seen, msg, msg_size);
        if (err) {
            return err;
        }
    }
    return 0;
}
