/* SPDX-License-Identifier: MIT */
/* From the entry stub to main(): the command line. Also builds what a loader would hand over when QEMU starts us by PVH. */
#include "tests/payloads/lib/payload.h"

#include "kernel/payload-abi.h"

/* QEMU's include/standard-headers/xen start-of-day structure, version 1: only what is used here. */
struct hvm_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist, cmdline, rsdp;
};

static const char *command_line = "";

void payload_start(const struct payload_info *info);
const struct payload_info *pvh_boot_info(const struct hvm_start_info *start);

const struct payload_info *pvh_boot_info(const struct hvm_start_info *start)
{
    static struct payload_info info = {.magic = PAYLOAD_MAGIC, .version = PAYLOAD_VERSION, .size = sizeof(info)};
    static const char empty[] = "";

    info.cmdline = start->cmdline ? start->cmdline : (uint64_t)empty;
    info.rsdp = start->rsdp;
    return &info;
}

void payload_start(const struct payload_info *info)
{
    if (info->magic != PAYLOAD_MAGIC || info->version < PAYLOAD_VERSION || !info->cmdline) {
        fatal("RDI = %p: no struct payload_info there", (const void *)info);
    }
    command_line = (const char *)info->cmdline;
    exit_run((unsigned)main());
}

const char *cmdline(void)
{
    return command_line;
}

/* The text after `key` where it starts a word of the command line, or NULL. */
static const char *find_key(const char *key)
{
    size_t len = strlen(key);

    for (const char *s = command_line; (s = strstr(s, key)); s += len) {
        if (s == command_line || s[-1] == ' ') {
            return s + len;
        }
    }
    return NULL;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return 16;
}

uint64_t cmdline_number(const char *key, uint64_t dflt)
{
    const char *s = find_key(key);
    int base = 10;
    uint64_t v = 0;

    if (!s || digit(*s) >= 10) {
        return dflt;
    }
    if (s[0] == '0' && s[1] == 'x') {
        base = 16;
        s += 2;
    }
    for (; digit(*s) < base; s++) {
        v = v * (uint64_t)base + (uint64_t)digit(*s);
    }
    return v;
}

bool cmdline_lists(const char *key, const char *item, bool *present)
{
    const char *s = find_key(key);
    size_t len = strlen(item);

    *present = s != NULL;
    while (s && *s && *s != ' ') {
        if (!strncmp(s, item, len) && (s[len] == ',' || s[len] == ' ' || !s[len])) {
            return true;
        }
        while (*s && *s != ' ' && *s++ != ',') {
        }
    }
    return false;
}
