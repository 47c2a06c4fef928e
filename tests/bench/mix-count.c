/* SPDX-License-Identifier: MIT */
/*
 * A TCG plugin: what the instructions executed in the code cache are: the guest's own, or which kind of glue. Counted between
 * two marks that the guest executes (timed.c, bench-work: MARK_BEGIN, MARK_END of tests/bench/mark.h, a nop that is copied), and
 * written at each end: `segment`, `mix <kind> <instructions>`, and `at <address> <instructions> <entered>` of each of QEMU's blocks outside of
 * the cache. Glue is known by its bytes, and by where its operands lie: arguments code=, slots=, links=, spill=, last-spill=
 * (addresses), out= (file). The plugin interface is declared here as in tb-count.c.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/mark.h"

#define EXPORT __attribute__((visibility("default")))
#define SLOTS (1u << 20)
#define ADD_U64 0 /* QEMU_PLUGIN_INLINE_ADD_U64 */
#define NO_REGS 0 /* QEMU_PLUGIN_CB_NO_REGS */

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*cb)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *ptr, uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *ptr, uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*cb)(unsigned, void *), int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv);

EXPORT int qemu_plugin_version = 1;

#define KINDS(X)                                                                                                        \
    X(OWN, "guest's own")             /* copied, re-addressed; the push of a call; the pop of a ret */                 \
    X(TAKEN, "taken: jmp *slot")      /* behind a jcc that is taken: an instruction more */                             \
    X(TAKEN_LINK, "taken: jmp *link") /* the same between pages of user code */                                         \
    X(NOT_TAKEN, "not taken: jmp")    /* behind a jcc that ends its block: one more */                                  \
    X(CALL, "call: jmp")              /* behind the push of a call: one more */                                         \
    X(JMP, "jmp or end of block")     /* the guest's own jump, or a block's fall-through: one more */                   \
    X(SPILL, "spill") X(RELOAD, "reload") X(LOOKUP, "look-up") X(PAD, "pad: compare") X(PAD_JMP, "pad: jmp") X(LEAVE, "leave")
enum kind {
#define X(name, text) name,
    KINDS(X)
#undef X
    NR_KINDS
};
static const char *const kind_text[] = {
#define X(name, text) text,
    KINDS(X)
#undef X
};

struct counter {
    uint64_t vaddr; /* 0 = free */
    uint64_t insns, entered;
};

/* QEMU's generated code adds to the counters in place, so they never move. */
static struct counter *counters;
static uint64_t *behind_jcc; /* open addressing: addresses behind a jcc rel32 in the cache */
static uint64_t mix[NR_KINDS];
static uint64_t code, slots, links, spill, last_spill;
static FILE *out;

static size_t probe(uint64_t key, const uint64_t *first, size_t stride)
{
    size_t i = (key * 0x9e3779b97f4a7c15ull) >> 44, tried = 0;

    while (first[i * stride] && first[i * stride] != key) {
        i = (i + 1) % SLOTS;
        if (++tried == SLOTS) {
            fprintf(stderr, "mix-count: table full\n");
            abort();
        }
    }
    return i;
}

static struct counter *find(uint64_t vaddr)
{
    struct counter *c = &counters[probe(vaddr, &counters[0].vaddr, sizeof(*counters) / sizeof(uint64_t))];

    c->vaddr = vaddr;
    return c;
}

/* ---- what an instruction is ---- */

struct look {
    const uint8_t *b;
    size_t len;
    uint64_t va;
};

static struct look look_at(const struct qemu_plugin_tb *tb, size_t i)
{
    const struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

    return (struct look){qemu_plugin_insn_data(insn), qemu_plugin_insn_size(insn), qemu_plugin_insn_vaddr(insn)};
}

/* Without the prefixes that align a jump. */
static struct look bare(struct look l)
{
    while (l.len > 5 && (l.b[0] == 0x2e || (l.b[0] == 0x48 && (l.b[1] == 0x48 || l.b[1] == 0xe9)))) {
        l.b++;
        l.len--;
    }
    return l;
}

static bool begins(const struct look *l, const char *bytes, size_t n)
{
    return l->len >= n && !memcmp(l->b, bytes, n);
}

static int64_t disp_at_end(const struct look *l)
{
    int32_t disp;

    memcpy(&disp, l->b + l->len - 4, 4);
    return disp;
}

/* mov between a register and its place in the vCPU page: opcode 89 or 8b, absolute address */
static bool is_spill(const struct look *l, uint8_t opcode)
{
    uint64_t at = l->len == 8 ? (uint64_t)disp_at_end(l) : 0;

    return l->len == 8 && (l->b[0] & 0xfb) == 0x48 && l->b[1] == opcode && (l->b[2] & 0xc7) == 4 && l->b[3] == 0x25 && at >= spill &&
           at <= last_spill;
}

/* mov between rcx and the target that is looked up, or what follows its low 16 bits */
static bool is_target(const struct look *l, uint8_t opcode)
{
    uint64_t at = l->len == 8 ? (uint64_t)disp_at_end(l) : 0;

    return l->len == 8 && l->b[0] == 0x48 && l->b[1] == opcode && l->b[2] == 0x0c && l->b[3] == 0x25 &&
           (at == last_spill + 8 || at == last_spill + 10);
}

static bool is_jcc(const struct look *insn)
{
    const struct look jump = bare(*insn), *l = &jump;

    return l->len == 6 && l->b[0] == 0x0f && (l->b[1] & 0xf0) == 0x80;
}

static bool is_exit_jmp(const struct look *insn)
{
    const struct look jump = bare(*insn), *l = &jump;

    return begins(l, "\xff\x25", 2) || (l->len == 5 && l->b[0] == 0xe9);
}

static enum kind kind_of_jmp(const struct look *l, const struct look *before)
{
    if (before && (begins(before, "\xff\x35", 2) || (before->len == 5 && before->b[0] == 0x68))) {
        return CALL;
    }
    if (before && is_spill(before, 0x8b)) {
        return PAD_JMP;
    }
    if (behind_jcc[probe(l->va, behind_jcc, 1)]) {
        return NOT_TAKEN;
    }
    if (before || l->b[0] != 0xff) {
        return JMP;
    }
    uint64_t to = l->va + l->len + (uint64_t)disp_at_end(l);
    return to >= links ? TAKEN_LINK : TAKEN;
}

static enum kind kind_of(const struct look *l, const struct look *before, const struct look *after)
{
    if (is_exit_jmp(l)) {
        return kind_of_jmp(l, before);
    }
    if (is_spill(l, 0x89)) {
        return SPILL;
    }
    if (is_spill(l, 0x8b)) {
        return RELOAD;
    }
    if (begins(l, "\xff\x24\xcd", 3) || is_target(l, 0x89) || (after && begins(after, "\xff\x24", 2) && begins(l, "\x0f\xb7", 2))) {
        return LOOKUP;
    }
    if (l->b[0] == 0xe3 || is_target(l, 0x8b) || (after && after->b[0] == 0xe3 && begins(l, "\x48\x8d", 2))) {
        return PAD;
    }
    if (begins(l, "\x0f\x05", 2) || l->b[0] == 0xcc) {
        return LEAVE;
    }
    return OWN;
}

static void classify(const struct qemu_plugin_tb *tb)
{
    size_t n = qemu_plugin_tb_n_insns(tb);

    for (size_t i = 0; i < n; i++) {
        struct look l = look_at(tb, i), before, after;

        if (i) {
            before = look_at(tb, i - 1);
        }
        if (i + 1 < n) {
            after = look_at(tb, i + 1);
        }
        enum kind kind = kind_of(&l, i ? &before : NULL, i + 1 < n ? &after : NULL);
        qemu_plugin_register_vcpu_insn_exec_inline(qemu_plugin_tb_get_insn(tb, i), ADD_U64, &mix[kind], 1);
        if (is_jcc(&l)) {
            behind_jcc[probe(l.va + l.len, behind_jcc, 1)] = l.va + l.len;
        }
    }
}

/* ---- marks ---- */

static void begin(unsigned cpu, void *data)
{
    (void)cpu;
    (void)data;
    memset(mix, 0, sizeof(mix));
    for (size_t i = 0; i < SLOTS; i++) {
        counters[i].insns = counters[i].entered = 0;
    }
}

static void end(unsigned cpu, void *data)
{
    (void)cpu;
    (void)data;
    fprintf(out, "segment\n");
    for (unsigned k = 0; k < NR_KINDS; k++) {
        fprintf(out, "mix %llu %s\n", (unsigned long long)mix[k], kind_text[k]);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        const struct counter *c = &counters[i];

        if (c->insns) {
            fprintf(out, "at %llx %llu %llu\n", (unsigned long long)c->vaddr, (unsigned long long)c->insns, (unsigned long long)c->entered);
        }
    }
    fflush(out);
}

static void look_for_marks(const struct qemu_plugin_tb *tb)
{
    static const uint8_t mark[2][8] = {{MARK_BEGIN}, {MARK_END}};

    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

        for (unsigned m = 0; m < 2; m++) {
            if (qemu_plugin_insn_size(insn) == MARK_LEN && !memcmp(qemu_plugin_insn_data(insn), mark[m], MARK_LEN)) {
                qemu_plugin_register_vcpu_insn_exec_cb(insn, m ? end : begin, NO_REGS, NULL);
            }
        }
    }
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
    uint64_t vaddr = qemu_plugin_tb_vaddr(tb);

    (void)id;
    look_for_marks(tb);
    if (vaddr >= code && vaddr < slots) {
        classify(tb);
        return;
    }
    struct counter *c = find(vaddr);

    qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &c->insns, qemu_plugin_tb_n_insns(tb));
    qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &c->entered, 1);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    static const struct {
        const char *name;
        uint64_t *value;
    } wanted[] = {{"code=", &code}, {"slots=", &slots}, {"links=", &links}, {"spill=", &spill}, {"last-spill=", &last_spill}};

    (void)info;
    for (int i = 0; i < argc; i++) {
        for (unsigned w = 0; w < sizeof(wanted) / sizeof(wanted[0]); w++) {
            if (!strncmp(argv[i], wanted[w].name, strlen(wanted[w].name))) {
                *wanted[w].value = strtoull(argv[i] + strlen(wanted[w].name), NULL, 16);
            }
        }
        if (!strncmp(argv[i], "out=", 4)) {
            out = fopen(argv[i] + 4, "w");
        }
    }
    counters = calloc(SLOTS, sizeof(*counters));
    behind_jcc = calloc(SLOTS, sizeof(*behind_jcc));
    if (!counters || !behind_jcc || !out || !code || !slots || !links || !spill || !last_spill) {
        fprintf(stderr, "mix-count: usage: -plugin file=mix-count.so,out=<file>,code=,slots=,links=,spill=,last-spill=<hex>\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
