/* SPDX-License-Identifier: MIT */
/* Reads the configuration from the boot information. Uses physmap only, so it also serves the PVH
 * entry code. */
#include "kernel/config.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "mm/host.h"

#define MISTAKE_MAX (CONFIG_MSG_MAX - 40) /* what a mistake is, less where */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/*
 * Cut the next word off *text: key=value, where parts of the value may stand in double quotes
 * (which are dropped). Works in place. False at the end of the text.
 */
static bool next_word(char **text, char **word)
{
    char *p = *text, *out;
    bool quoted = false;

    while (is_blank(*p)) {
        p++;
    }
    if (!*p) {
        return false;
    }
    *word = out = p;
    for (; *p && (quoted || !is_blank(*p)); p++) {
        if (*p == '"') {
            quoted = !quoted;
        } else {
            *out++ = *p;
        }
    }
    *text = *p ? p + 1 : p;
    *out = '\0';
    return true;
}

static int apply_cmdline(const struct boot_info *bi, struct conf *conf, char msg[CONFIG_MSG_MAX])
{
    char text[sizeof(bi->cmdline)], why[MISTAKE_MAX];
    char *rest = text, *word;

    memcpy(text, bi->cmdline, sizeof(text));
    text[sizeof(text) - 1] = '\0';
    while (next_word(&rest, &word)) {
        char *eq = strchr(word, '=');

        if (!eq) {
            snprintf(msg, CONFIG_MSG_MAX, "command line: '%.40s' is not key=value", word);
            return -EINVAL;
        }
        *eq = '\0';
        if (conf_set(conf, word, eq + 1, why, sizeof(why)) < 0) {
            snprintf(msg, CONFIG_MSG_MAX, "command line: %s", why);
            return -EINVAL;
        }
    }
    return 0;
}

int config_read(const struct boot_info *bi, struct conf *conf, char msg[CONFIG_MSG_MAX])
{
    char why[MISTAKE_MAX];
    unsigned line;

    conf_defaults(conf);
    if (bi->config.addr && conf_parse(conf, phys_to_virt(bi->config.addr), bi->config.len, &line,
                                      why, sizeof(why)) < 0) {
        snprintf(msg, CONFIG_MSG_MAX, "notdirty.conf:%u: %s", line, why);
        return -EINVAL;
    }
    return apply_cmdline(bi, conf, msg);
}
