/* SPDX-License-Identifier: MIT */
/*
 * Random instruction sequences, native against translated. Candidates are made of random prefixes, opcode maps, opcodes and
 * operands, and kept if the decoder calls them copyable and their memory operand is one that we can steer: [rsi+disp],
 * RIP-relative into the code page's neighbourhood, or the stack. Every other sequence has conditional jumps over some of them.
 * Exceptions end a sequence and are compared too. One half runs with exits that are patched, the other with exits through slots.
 *
 * Usage: test-dbt-random [sequences] [seed]; prints a closing count and the bytes of what failed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dbt/decode.h"
#include "kernel/lib/log.h"
#include "tests/host/diff.h"

#define MAX_SEQ 12

static uint64_t gen_state;

static uint64_t gen(void)
{
    gen_state ^= gen_state << 13;
    gen_state ^= gen_state >> 7;
    gen_state ^= gen_state << 17;
    return gen_state;
}

/* Not reproducible, or able to break the process that tests. */
static bool name_excluded(const char *name)
{
    static const char *const bad[] = {"rdrand",  "rdseed", "rdtsc", "xrstor", "umonitor", "umwait",
                                      "tpause",  "ptwrite", "serialize", "xsave", "fxsave", "fxrstor",
                                      "frstor", "fldenv"};

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        if (!strncmp(name, bad[i], strlen(bad[i]))) {
            return true;
        }
    }
    return false;
}

static unsigned put_operands(uint8_t *p, bool rip_ok)
{
    unsigned n = 0;
    unsigned reg = gen() & 0x38;

    switch (gen() % (rip_ok ? 4 : 3)) {
    case 0: /* register */
        p[n++] = 0xc0 | reg | (gen() & 7);
        break;
    case 1: /* [rsi + disp8] */
        p[n++] = 0x46 | reg;
        p[n++] = gen() & 0x7f;
        break;
    case 2: /* [rsi + disp32] */
        p[n++] = 0x86 | reg;
        p[n++] = gen();
        p[n++] = gen() & 0x7f;
        p[n++] = 0;
        p[n++] = 0;
        break;
    default: { /* [rip + disp32], in the data, which is about 1 MiB on */
        uint32_t disp = DIFF_DATA_OFF - DIFF_CODE_OFF + (gen() & 0x7fff);

        p[n++] = 0x05 | reg;
        memcpy(p + n, &disp, 4);
        n += 4;
        break;
    }
    }
    return n;
}

/* A candidate of at most 15 bytes at p, zero-padded behind. */
static void candidate(uint8_t *p)
{
    unsigned n = 0;

    memset(p, 0, 16);
    if (gen() % 4 == 0) { /* VEX */
        bool two = gen() & 1;
        p[n++] = two ? 0xc5 : 0xc4;
        if (!two) {
            p[n++] = 0x60 | (gen() & 0x80) | (1 + gen() % 3); /* B inverted = 1: rsi stays rsi */
        }
        p[n++] = gen();
        p[n++] = gen();
        n += put_operands(p + n, true);
    } else {
        static const uint8_t pfx[] = {0x66, 0xf2, 0xf3, 0xf0};
        if (gen() % 3 == 0) {
            p[n++] = pfx[gen() % 4];
        }
        if (gen() & 1) {
            p[n++] = 0x40 | (gen() & 0x0c) | (gen() % 8 == 0); /* mostly without B */
        }
        unsigned map = gen() % 8;
        if (map >= 3) {
            p[n++] = 0x0f;
            if (map == 6) {
                p[n++] = 0x38;
            } else if (map == 7) {
                p[n++] = 0x3a;
            }
        }
        p[n++] = gen();
        n += put_operands(p + n, true);
    }
    for (unsigned i = 0; i < 4 && n < 15; i++) {
        p[n++] = gen();
    }
}

/* Does the displacement lead into the data that diff_run() sets up? */
static bool steered(const struct insn *insn)
{
    int64_t low = insn->base == R_RIP ? DIFF_DATA_OFF - DIFF_CODE_OFF : 0;

    return insn->disp >= low && insn->disp < low + 0x8000;
}

static bool acceptable(const struct insn *insn)
{
    if (insn->kind != INSN_COPY || insn->seg == R_FS || insn->seg == R_GS || insn->pfx & PFX_ASZ ||
        name_excluded(insn_name(insn))) {
        return false;
    }
    switch (insn->mem) {
    case MEM_NONE:
        if (insn->writes_sp) {
            return false;
        }
        break;
    case MEM_PUSH:
    case MEM_POP:
        break;
    case MEM_MODRM:
    case MEM_MASKED:
        if (insn->is_mem && insn->base != R_ESI && insn->base != R_RIP) {
            return false;
        }
        if (insn->is_mem && (insn->index != R_NONE || !steered(insn))) {
            return false;
        }
        break;
    default:
        return false;
    }
    uint32_t keep = (1u << R_ESI) | (insn->mem == MEM_PUSH || insn->mem == MEM_POP ? 0 : 1u << R_ESP);
    return !(insn->gpr_write & keep);
}

/* A conditional jump, its displacement still to come. */
static size_t put_jcc(uint8_t *code)
{
    if (gen() & 1) {
        code[0] = 0x70 | gen() % 16;
        return 2;
    }
    code[0] = 0x0f;
    code[1] = 0x80 | gen() % 16;
    memset(code + 2, 0, 4);
    return 6;
}

static size_t sequence(uint8_t *code, bool jumps)
{
    size_t len = 0, jump_end = 0;
    unsigned n = 1 + gen() % MAX_SEQ, over = 0;

    while (n) {
        uint8_t p[16];
        struct insn insn;

        if (jumps && !jump_end && gen() % 3 == 0) {
            len += put_jcc(code + len);
            jump_end = len;
            over = 1 + gen() % 2;
        }
        candidate(p);
        /* A jump that is written to may lead back: no end. */
        if (insn_decode(&insn, p, 15) == DECODE_OK && acceptable(&insn) && !(jumps && insn.is_rip_rel)) {
            memcpy(code + len, p, insn.len);
            len += insn.len;
            n--;
            if (jump_end && (--over == 0 || n == 0)) {
                bool near = code[jump_end - 2] >= 0x70 && code[jump_end - 2] < 0x80;

                code[jump_end - (near ? 1 : 4)] = (uint8_t)(len - jump_end);
                jump_end = 0;
            }
        }
    }
    code[len++] = 0xf4;
    return len;
}

static void print_sequence(const uint8_t *code, size_t len)
{
    char text[96];
    struct insn insn;

    for (size_t at = 0; at < len; at += insn.len) {
        insn_decode(&insn, code + at, 15);
        insn_format(&insn, code + at, at, text, sizeof(text));
        fprintf(stderr, "   ");
        for (unsigned i = 0; i < insn.len; i++) {
            fprintf(stderr, " %02x", code[at + i]);
        }
        fprintf(stderr, "  %s\n", text);
    }
}

/* Sequences first, first + 2, ... of count. Returns how many failed. */
static unsigned long run(unsigned long first, unsigned long count, unsigned long seed)
{
    unsigned long bad = 0;

    hosted_patch_code = !first;
    hosted_init();
    for (unsigned long i = first; i < count && bad < 10; i += 2) {
        static uint8_t code[MAX_SEQ * 24 + 16];

        gen_state = 0x9e3779b97f4a7c15ull * (seed * 1000003 + i + 1);
        size_t len = sequence(code, i / 2 & 1);
        int diffs = diff_run("random", code, len, i & 4 ? HOSTED_FAR_BASE : HOSTED_LOW_BASE, (unsigned)i, i / 4 % 8 == 0, 0);
        if (diffs) {
            fprintf(stderr, "sequence %lu of seed %lu:\n", i, seed);
            print_sequence(code, len);
            bad++;
        }
    }
    return bad;
}

int main(int argc, char **argv)
{
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 3000;
    unsigned long seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
    int status = 0;

    if (getenv("LOG")) {
        log_parse(getenv("LOG"), &log_mask);
    }
    pid_t child = fork();
    unsigned long bad = run(!child, count, seed);

    if (!child) {
        _exit((int)bad);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
        fprintf(stderr, "the other half did not end\n");
        bad++;
    }
    bad += WIFEXITED(status) ? (unsigned long)WEXITSTATUS(status) : 0;
    printf("[==========] dbt-random\n%lu passed, %lu failed\n", count - bad, bad);
    return bad != 0;
}
