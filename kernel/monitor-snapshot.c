/* SPDX-License-Identifier: MIT */
/* Monitor commands about the guest's state as a whole: the dirty log and the snapshot. The work is done in mm/dirty-log.c and
 * kernel/snapshot.c. */
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "kernel/monitor.h"
#include "kernel/snapshot.h"
#include "mm/dirty-log.h"
#include "mm/ram.h"
#include "mm/track.h"

#define RANGES_SHOWN 32

static bool log_on; /* owner: the monitor */

static void dirty_start(void)
{
    dirty_log_start(TRACK_MIGRATION, 0, guest_ram_size());
    log_on = true;
    printk("dirty: logging %lu pages\n", guest_ram_size() >> PAGE_SHIFT);
}

/* Pages written since the last time, as ranges; they are clean afterwards. */
static void dirty_read(void)
{
    uint64_t pages = dirty_log_count(TRACK_MIGRATION);
    ram_addr_t at = 0, start = 0, last = 0;
    unsigned ranges = 0;
    bool open = false;

    while (dirty_log_next(TRACK_MIGRATION, &at)) {
        if (open && at == last + PAGE_SIZE) {
            last = at;
            continue;
        }
        if (open && ranges++ < RANGES_SHOWN) {
            printk("dirty: %#lx-%#lx\n", ram_to_gpa(start), ram_to_gpa(last) + PAGE_SIZE - 1);
        }
        start = last = at;
        open = true;
    }
    if (open && ranges++ < RANGES_SHOWN) {
        printk("dirty: %#lx-%#lx\n", ram_to_gpa(start), ram_to_gpa(last) + PAGE_SIZE - 1);
    }
    printk("dirty: %lu pages in %u ranges%s\n", pages, ranges, ranges > RANGES_SHOWN ? ", the first shown" : "");
}

static void cmd_dirty(char *args)
{
    if (strcmp(args, "start") == 0) {
        dirty_start();
    } else if (strcmp(args, "read") != 0 && strcmp(args, "stop") != 0) {
        printk("dirty: expected start, read or stop, found '%s'\n", args);
    } else if (!log_on) {
        printk("dirty: the log is off; `dirty start` begins\n");
    } else if (strcmp(args, "read") == 0) {
        dirty_read();
    } else {
        dirty_log_stop(TRACK_MIGRATION);
        log_on = false;
        printk("dirty: the log is off\n");
    }
}

static void cmd_snapshot(char *args)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } verbs[] = {
        {"save", snapshot_save},
        {"restore", snapshot_restore},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (strcmp(args, verbs[i].name) == 0) {
            verbs[i].run();
            return;
        }
    }
    printk("snapshot: expected save or restore, found '%s'\n", args);
}

void monitor_snapshot_init(void)
{
    static const struct monitor_command commands[] = {
        {"dirty", "start|read|stop", "which pages the guest has written", cmd_dirty},
        {"snapshot", "save|restore", "keep the guest's whole state in memory; go back to it", cmd_snapshot},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        monitor_register(&commands[i]);
    }
}
