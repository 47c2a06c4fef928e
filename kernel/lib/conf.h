/* SPDX-License-Identifier: MIT */
/* notdirty.conf: `key = value` lines, `#` comments. Used by the UEFI loader, the kernel and a fuzzer. */
#ifndef KERNEL_LIB_CONF_H
#define KERNEL_LIB_CONF_H

#include <stddef.h>
#include <stdint.h>

enum conf_mode { CONF_MODE_TRANSLATE, CONF_MODE_NATIVE };
enum conf_smc { CONF_SMC_PROTECT, CONF_SMC_CHECK };
enum conf_exit { CONF_EXIT_POWEROFF, CONF_EXIT_REBOOT, CONF_EXIT_MONITOR };

enum conf_switch { CONF_ON, CONF_OFF };

/* Defaults of the thresholds (docs/smc-states.md says how they were found). */
#define CONF_SMC_SELF_CHECK_FAULTS 16
#define CONF_SMC_SELF_CHECK_HITS   0
#define CONF_SMC_QUIET_TICKS       50
#define CONF_SMC_BULK_FAULTS       4
#define CONF_SMC_DATA_IMM_HITS     8
#define CONF_SMC_DISARM_FAULTS     4
#define CONF_SMC_STORE_SITES       64

struct conf {
    char guest[64];    /* path on the ESP; default "guest" */
    char initrd[64];   /* empty = none */
    char symbols[64];  /* System.map or ELF file of the guest; empty = none */
    char cmdline[2048]; /* what Linux takes, with its NUL */
    uint64_t memory;   /* guest RAM in bytes; default 256 MiB; multiple of 2 MiB */
    uint64_t cache;    /* code cache in bytes; default 16 MiB; 1 to 256 MiB */
    uint32_t mode;     /* enum conf_mode */
    uint32_t smc;      /* enum conf_smc */
    char log[64];      /* channels, as log_parse() takes them */
    uint32_t exit;     /* enum conf_exit */
    uint32_t timeout;  /* seconds; 0 = none (key `timeout`) */
    uint32_t pause;    /* enum conf_switch: the prompt opens before the guest's first instruction */
    uint32_t adaptive; /* enum conf_switch: pages of code may change state */
    uint32_t precise;  /* enum conf_switch: a store to the running block ends it */
    uint32_t smc_self_check_faults, smc_self_check_hits, smc_quiet_ticks, smc_bulk_faults, smc_data_imm_hits,
        smc_disarm_faults; /* dbt/page-state.h */
    uint32_t smc_store_sites; /* misses until a store site is hot; 0 = never (dbt/store-site.h) */
};

void conf_defaults(struct conf *conf);
/*
 * Parse text[0..len) into *conf (on top of what is there). 0, or -EINVAL with *line (1-based) and a one-line message in
 * msg ("unknown key 'foo'; known keys: guest, ...").
 */
int conf_parse(struct conf *conf, const char *text, size_t len, unsigned *line, char *msg, size_t msg_size);
/* Set one key from strings; as conf_parse for one line. */
int conf_set(struct conf *conf, const char *key, const char *value, char *msg, size_t msg_size);

#endif
