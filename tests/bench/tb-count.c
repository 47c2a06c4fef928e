/* SPDX-License-Identifier: MIT */
/*
 * A TCG plugin: for every address at which QEMU begins a block, how many instructions were executed in blocks from there,
 * how often they were entered and how often translated. At QEMU's exit, one line each to the file of the argument out=.
 * The plugin interface (docs/devel/tcg-plugins of QEMU, version 1) is declared here: distributions do not ship its header.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define SLOTS (1u << 22)
#define ADD_U64 0 /* QEMU_PLUGIN_INLINE_ADD_U64 */

typedef uint64_t plugin_id;
struct qemu_plugin_tb;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*cb)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *ptr, uint64_t imm);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*cb)(plugin_id, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv);

EXPORT int qemu_plugin_version = 1;

struct counter {
    uint64_t vaddr; /* 0 = free */
    uint64_t insns, entered, translated;
};

/* Open addressing by vaddr. QEMU's generated code adds to the counters in place, so they never move. */
static struct counter *counters;
static size_t used;
static FILE *out;

static struct counter *find(uint64_t vaddr)
{
    size_t i = (vaddr * 0x9e3779b97f4a7c15ull) >> 42;

    while (counters[i].vaddr && counters[i].vaddr != vaddr) {
        i = (i + 1) % SLOTS;
    }
    if (!counters[i].vaddr && ++used == SLOTS) {
        fprintf(stderr, "tb-count: table full\n");
        abort();
    }
    counters[i].vaddr = vaddr;
    return &counters[i];
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
    struct counter *c = find(qemu_plugin_tb_vaddr(tb));

    (void)id;
    c->translated++;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &c->insns, qemu_plugin_tb_n_insns(tb));
    qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &c->entered, 1);
}

static void at_exit(plugin_id id, void *data)
{
    (void)id;
    (void)data;
    for (size_t i = 0; i < SLOTS; i++) {
        const struct counter *c = &counters[i];

        if (c->vaddr) {
            fprintf(out, "%llx %llu %llu %llu\n", (unsigned long long)c->vaddr, (unsigned long long)c->insns,
                    (unsigned long long)c->entered, (unsigned long long)c->translated);
        }
    }
    fclose(out);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    counters = calloc(SLOTS, sizeof(*counters));
    out = argc == 1 && !strncmp(argv[0], "out=", 4) ? fopen(argv[0] + 4, "w") : NULL;
    if (!counters || !out) {
        fprintf(stderr, "tb-count: usage: -plugin file=tb-count.so,out=<file>\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, at_exit, NULL);
    return 0;
}
