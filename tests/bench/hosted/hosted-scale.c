/* SPDX-License-Identifier: MIT */
/*
 * What costs grow with, in the hosted build, in ns of CPU time for one operation (least of the rounds):
 *
 *     inval <TBs on the page> <a write that hits none> <a write that kills one>
 *     lookup <TBs in the cache> <one look-up by physical address>
 *     memory <guest bytes> <code cache> <state tables> <slots> <TB structures>      bytes, of the ELF's .text
 *
 * hosted-scale [ELF]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dbt/code-buffer.h"
#include "dbt/translate-all.h"
#include "tests/bench/hosted/text.h"
#include "tests/host/hosted.h"

#define STRIDE  8u /* bytes of one function: mov $imm, %eax; ret */
#define ROUNDS  9
#define REPEAT  200
#define FLAGS   (3 | HF_CS64_MASK)

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void put_functions(uint64_t base, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        memcpy((uint8_t *)base + i * STRIDE, "\xb8\x01\x00\x00\x00\xc3\xcc\xcc", STRIDE);
    }
}

static struct TranslationBlock *make(uint64_t pc)
{
    return tb_gen_code(hosted_cpu(), pc, FLAGS, 0);
}

static void forget_all(uint64_t len)
{
    tb_flush(hosted_cpu());
    hosted_forget(HOSTED_LOW_BASE, len);
}

static void bench_inval(unsigned tbs)
{
    struct CPUState *cpu = hosted_cpu();
    double miss = 1e9, hit = 1e9, clock = 1e9;

    put_functions(HOSTED_LOW_BASE, tbs);
    for (unsigned i = 0; i < tbs; i++) {
        make(HOSTED_LOW_BASE + i * STRIDE);
    }
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t spent = 0, start = cpu_ns();
        bool any;

        for (int i = 0; i < REPEAT; i++) {
            tb_invalidate_phys_page_fast(cpu, PAGE_SIZE - 8, 8, 0, &any);
        }
        miss = MIN(miss, (double)(cpu_ns() - start) / REPEAT);
        for (int i = 0; i < REPEAT; i++) {
            unsigned victim = (unsigned)rand() % tbs;

            start = cpu_ns();
            tb_invalidate_phys_page_fast(cpu, victim * STRIDE, 1, 0, &any); /* the opcode: an immediate becomes data */
            spent += cpu_ns() - start;
            if (!any) {
                abort();
            }
            make(HOSTED_LOW_BASE + victim * STRIDE);
        }
        hit = MIN(hit, (double)spent / REPEAT);
        start = cpu_ns();
        for (int i = 0; i < REPEAT; i++) {
            cpu_ns();
        }
        clock = MIN(clock, (double)(cpu_ns() - start) / REPEAT);
    }
    printf("inval %u %.1f %.1f\n", tbs, miss, hit - clock); /* what reading the clock costs is not the invalidation's */
    forget_all(PAGE_SIZE);
}

static void bench_lookup(unsigned tbs)
{
    struct CPUState *cpu = hosted_cpu();
    double best = 1e9;

    put_functions(HOSTED_LOW_BASE, tbs);
    for (unsigned i = 0; i < tbs; i++) {
        make(HOSTED_LOW_BASE + i * STRIDE);
    }
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = cpu_ns();

        for (unsigned i = 0; i < 20000; i++) {
            uint64_t at = (uint64_t)(i * 7919u % tbs) * STRIDE;

            if (!tb_htable_lookup(cpu, HOSTED_LOW_BASE + at, at, FLAGS, 0)) {
                abort();
            }
        }
        best = MIN(best, (double)(cpu_ns() - start) / 20000);
    }
    printf("lookup %u %.1f\n", tbs, best);
    forget_all((uint64_t)tbs * STRIDE);
}

static void bench_memory(const char *path)
{
    size_t len = load_text(path, (uint8_t *)HOSTED_FAR_BASE, 8 << 20);
    uint64_t pc = HOSTED_FAR_BASE, bytes = 0, cache = 0, runs = 0;

    while (pc < HOSTED_FAR_BASE + len && code_buffer_used() < hosted_code_size / 2) { /* short of a flush */
        if (*(const uint8_t *)pc == 0xcc) {
            pc++;
            continue;
        }
        const struct TranslationBlock *tb = make(pc);

        bytes += tb->size;
        cache += ALIGN_UP(tb->tc.size, CODE_ALIGN);
        runs += tb->search_len;
        pc += tb->size;
    }
    printf("memory %llu %llu %llu %llu %llu\n", (unsigned long long)bytes, (unsigned long long)cache,
           (unsigned long long)(runs * sizeof(struct tb_run)), (unsigned long long)code_buffer_first_slot() * 8,
           (unsigned long long)(tb_count() * sizeof(struct TranslationBlock)));
}

int main(int argc, char **argv)
{
    hosted_code_size = 16 << 20;
    hosted_init();
    for (unsigned tbs = 1; tbs <= 500; tbs = tbs < 500 && tbs * 3 > 500 ? 500 : tbs * 3) {
        bench_inval(tbs);
        if (tbs == 500) {
            break;
        }
    }
    for (unsigned tbs = 256; tbs <= 65536; tbs *= 4) {
        bench_lookup(tbs);
    }
    if (argc > 1) {
        bench_memory(argv[1]);
    }
    return 0;
}
