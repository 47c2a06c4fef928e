/* SPDX-License-Identifier: MIT */
/* Names of the log channels. Pure: the same object logic serves the kernel and host tests. */
#include "kernel/lib/log.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"

static const struct {
    const char *name;
    uint32_t bit;
} channels[] = {
    {"tb", LOG_TB}, {"smc", LOG_SMC}, {"exec", LOG_EXEC}, {"int", LOG_INT}, {"mmu", LOG_MMU},
    {"io", LOG_IO}, {"cpu", LOG_CPU}, {"boot", LOG_BOOT}, {"asm", LOG_ASM}, {"all", ~0u},
};

static bool name_is(const char *word, size_t len, const char *name)
{
    return strlen(name) == len && memcmp(word, name, len) == 0;
}

static uint32_t channel_bit(const char *word, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(channels); i++) {
        if (name_is(word, len, channels[i].name)) {
            return channels[i].bit;
        }
    }
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

int log_parse(const char *names, uint32_t *mask)
{
    uint32_t bits = 0;
    const char *p = names;

    while (*p) {
        const char *comma, *next;
        size_t len;
        uint32_t bit;

        while (is_blank(*p)) { /* "smc , tb" */
            p++;
        }
        comma = strchr(p, ',');
        next = comma ? comma + 1 : p + strlen(p);
        len = comma ? (size_t)(comma - p) : strlen(p);
        while (len > 0 && is_blank(p[len - 1])) {
            len--;
        }
        bit = channel_bit(p, len);
        if (!bit) {
            return -EINVAL;
        }
        bits |= bit;
        p = next;
        if (comma && !*p) {
            return -EINVAL; /* nothing after the last comma */
        }
    }
    *mask = bits;
    return 0;
}
