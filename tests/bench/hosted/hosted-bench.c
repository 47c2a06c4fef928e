/* SPDX-License-Identifier: MIT */
/*
 * The hosted build against the CPU it runs on, in ns of CPU time (others may use the CPU in between):
 *
 *     work <name> <native least> <native median> <translated least> <translated median> <median of the rounds' ratios> <checksum>
 *     cold <guest bytes> <guest insns> <TBs> <cache bytes> <ns, least of the rounds>
 *     decode <insns> <ns, least of the rounds> <ns as translation decodes, which asks only what it wants to know>
 *
 * hosted-bench IMAGE ROUNDS [ELF [name ...]]: IMAGE: the flat workloads; ELF: whose .text is translated cold. Both sides of a ratio
 * run in turns, so that both see the same load of the machine. Results that differ end the program.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dbt/decode.h"
#include "dbt/translate-all.h"
#include "tests/bench/hosted/text.h"
#include "tests/bench/workloads/work.h"
#include "tests/host/hosted.h"

#define IMAGE_AT   (HOSTED_LOW_BASE + 0x100000)
#define STACK_TOP  (HOSTED_LOW_BASE + 0xff0000)
#define ROUNDS_MAX 101
#define COLD_ROUNDS 5
#define TEXT_MAX   (HOSTED_WINDOW_SIZE - 0x2000)

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- workloads ---- */

/* Run workload `index` of size n; its time, and *sum. */
static uint64_t run_once(unsigned index, uint64_t n, bool native, uint64_t *sum)
{
    struct CPUState *cpu = hosted_cpu();
    struct hosted_result result;

    memset(cpu->env.regs, 0, sizeof(cpu->env.regs));
    cpu->env.regs[R_EDI] = index;
    cpu->env.regs[R_ESI] = n;
    cpu->env.regs[R_ESP] = STACK_TOP;
    cpu->env.eip = IMAGE_AT;
    uint64_t start = cpu_ns();

    if (native) {
        hosted_native_run(false, &result);
    } else {
        hosted_run(&result);
    }
    uint64_t ns = cpu_ns() - start;

    if (result.vector != 3) {
        fprintf(stderr, "vector %d at %llx\n", result.vector, (unsigned long long)cpu->env.eip);
        die("no normal end of", works[index].name);
    }
    *sum = cpu->env.regs[R_EAX];
    return ns;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double middle(double *v, int n)
{
    qsort(v, (size_t)n, sizeof(*v), by_value);
    return v[n / 2];
}

static void bench_work(unsigned index, int rounds)
{
    static double native[ROUNDS_MAX], ours[ROUNDS_MAX], ratio[ROUNDS_MAX];
    uint64_t expected, sum;

    for (int i = 0; i < rounds; i++) {
        hosted_native(true);
        native[i] = (double)run_once(index, works[index].n, true, &expected);
        hosted_native(false);
        run_once(index, works[index].small, false, &sum); /* translates */
        ours[i] = (double)run_once(index, works[index].n, false, &sum);
        ratio[i] = ours[i] / native[i];
        if (sum != expected) {
            die("wrong result of", works[index].name);
        }
    }
    double m = middle(ratio, rounds), a = middle(native, rounds), b = middle(ours, rounds);

    printf("work %s %.0f %.0f %.0f %.0f %.4f %llx\n", works[index].name, native[0], a, ours[0], b, m,
           (unsigned long long)sum);
    fflush(stdout);
}

/* ---- cold translation ---- */

struct cold {
    uint64_t bytes, insns, tbs, cache, ns;
};

/* Translate all of [base, base + len), block after block; what fills the room between functions is left out. */
static struct cold translate_all_of(uint64_t base, size_t len)
{
    struct CPUState *cpu = hosted_cpu();
    struct cold c = {0};
    uint64_t pc = base, start = cpu_ns();

    while (pc < base + len) {
        if (*(const uint8_t *)pc == 0xcc) {
            pc++;
            continue;
        }
        const struct TranslationBlock *tb = tb_gen_code(cpu, pc, 3 | HF_CS64_MASK, 0);

        c.tbs++;
        c.bytes += tb->size;
        c.insns += tb->icount;
        c.cache += tb->tc.size;
        pc += tb->size;
    }
    c.ns = cpu_ns() - start;
    return c;
}

static uint64_t decode_all_of(const uint8_t *text, size_t len, bool plain, uint64_t *insns)
{
    struct insn insn;
    uint64_t start = cpu_ns();
    size_t at = 0;

    for (*insns = 0; at + INSN_MAX_LEN < len; ++*insns) {
        if (text[at] == 0xcc) {
            at++;
            --*insns;
            continue;
        }
        unsigned n = plain ? insn_decode_quick(&insn, text + at, INSN_MAX_LEN) : 0;

        if (!n) {
            insn_decode(&insn, text + at, INSN_MAX_LEN);
            n = insn.len;
        }
        at += n;
    }
    return cpu_ns() - start;
}

static void bench_cold(const char *path, int rounds)
{
    size_t len = load_text(path, (uint8_t *)HOSTED_FAR_BASE, TEXT_MAX);
    struct cold best = {.ns = ~0ull};
    uint64_t insns, decode[2] = {~0ull, ~0ull};

    for (int i = 0; i < rounds; i++) {
        struct cold c = translate_all_of(HOSTED_FAR_BASE, len);

        tb_flush(hosted_cpu());
        hosted_forget(HOSTED_FAR_BASE, len);
        best = c.ns < best.ns ? c : best;
        for (int plain = 0; plain < 2; plain++) {
            uint64_t d = decode_all_of((const uint8_t *)HOSTED_FAR_BASE, len, plain, &insns);

            decode[plain] = d < decode[plain] ? d : decode[plain];
        }
    }
    printf("cold %llu %llu %llu %llu %llu\n", (unsigned long long)best.bytes, (unsigned long long)best.insns,
           (unsigned long long)best.tbs, (unsigned long long)best.cache, (unsigned long long)best.ns);
    printf("decode %llu %llu %llu\n", (unsigned long long)insns, (unsigned long long)decode[0], (unsigned long long)decode[1]);
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 4; i < argc; i++) {
        if (!strcmp(argv[i], name)) {
            return true;
        }
    }
    return argc <= 4;
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 0;

    if (rounds < 1 || rounds > ROUNDS_MAX) {
        die("usage:", "hosted-bench IMAGE ROUNDS [ELF [name ...]]");
    }
    hosted_code_size = 16 << 20;
    hosted_init();
    hosted_guest_fp[24] = 0x80; /* MXCSR = 0x1f80 */
    hosted_guest_fp[25] = 0x1f;
    load_file(argv[1], (void *)IMAGE_AT, STACK_TOP - IMAGE_AT - 0x10000);
    for (unsigned i = 0; works[i].name; i++) {
        if ((!works[i].avx || __builtin_cpu_supports("avx2")) && wanted(works[i].name, argc, argv)) {
            bench_work(i, rounds);
        }
    }
    if (argc > 3 && *argv[3] && wanted("cold", argc, argv)) {
        bench_cold(argv[3], rounds < COLD_ROUNDS ? rounds : COLD_ROUNDS);
    }
    return 0;
}
