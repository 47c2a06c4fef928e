/* SPDX-License-Identifier: MIT */
/*
 * The code cache runs full, many times, while results stay those of the CPU: by more code than it holds, by code that is made
 * again and again because it patches itself, and, with a tiny cache, in the middle of random self-modifying programs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dbt/tb.h"
#include "dbt/translate-all.h"
#include "kernel/lib/log.h"
#include "tests/host/smc-run.h"

#define DATA_OFF   0x10000u
#define STACK_OFF  0x20000u
#define BIG_OFF    0x30000u
#define AREA_SIZE  0x1000u

static uint64_t flushes(void)
{
    return hosted_cpu()->stat[STAT_tb_flush];
}

/* ---- more code than the cache holds ---- */

static uint8_t *put_bytes(uint8_t *p, const char *bytes, size_t n)
{
    memcpy(p, bytes, n);
    return p + n;
}
#define PUT(p, bytes) put_bytes(p, bytes, sizeof(bytes) - 1)

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
    return p + 4;
}

/* An instruction with a RIP-relative operand in the data; op ends with ModRM. */
static uint8_t *put_rip(uint8_t *p, const char *op, size_t n, uint64_t data)
{
    p = put_bytes(p, op, n);
    return put32(p, (uint32_t)(data - ((uint64_t)p + 4)));
}

/*
 * A few instructions that leave their mark in rbx, rax and the data: far RIP-relative operands, which take most room, a call of
 * what follows, jumps, conditional or not, over a byte that is no instruction.
 */
static uint8_t *put_block(uint8_t *p, uint64_t data)
{
    static const char ops[][4] = {"\x48\x03\x1d", "\x48\x31\x1d", "\x48\x2b\x05", "\x48\x13\x1d", "\x48\x01\x05"};
    static const char *const ends[] = {"\xeb\x01\x06", "\x72\x01\xf8", "\x74\x01\x90"};

    for (unsigned i = 2 + (diff_rng() & 7); i; i--) {
        p = put_rip(p, ops[diff_rng() % ARRAY_SIZE(ops)], 3, data + (diff_rng() & 0xff8));
        p = PUT(p, "\x48\xc1\xc3\x05"); /* rol $5, %rbx */
    }
    if (diff_rng() % 4 == 0) {
        p = PUT(p, "\xe8\x00\x00\x00\x00\x59"); /* call 1f; 1: pop %rcx */
        p = PUT(p, "\x48\x8d\x49\x09\xff\xe1\x06\x06"); /* lea 9(%rcx), %rcx; jmp *%rcx: to behind this */
    }
    const char *end = ends[diff_rng() % ARRAY_SIZE(ends)];
    return put_bytes(p, end, 3);
}

static void set_state(uint64_t base)
{
    struct CPUX86State *env = &hosted_cpu()->env;

    diff_rng_state = 77;
    for (unsigned i = 0; i < AREA_SIZE; i += 8) {
        *(uint64_t *)(base + DATA_OFF + i) = diff_rng();
    }
    memset((void *)(base + STACK_OFF), 0, AREA_SIZE);
    for (unsigned i = 0; i < 16; i++) {
        env->regs[i] = diff_rng();
    }
    env->regs[R_ESP] = base + STACK_OFF + AREA_SIZE / 2;
    env->eflags = 2 | IF_MASK;
    env->eip = base + BIG_OFF;
    memset(hosted_guest_fp, 0, diff_fp_size());
}

/* Native and translated, from the code that is in place; the number of things that went wrong. */
static int run_both(const char *name, uint64_t base, unsigned us)
{
    static struct diff_outcome n, t;
    const struct diff_mem mem[] = {{base + DATA_OFF, AREA_SIZE}, {base + STACK_OFF, AREA_SIZE}, {base + BIG_OFF, AREA_SIZE}};
    static uint8_t first_page[AREA_SIZE];

    if (!n.mem) {
        diff_outcome_init(&n, mem, ARRAY_SIZE(mem));
        diff_outcome_init(&t, mem, ARRAY_SIZE(mem));
    }
    memcpy(first_page, (void *)(base + BIG_OFF), AREA_SIZE); /* of the code, which may change itself there */
    set_state(base);
    hosted_run_native(&n.res);
    diff_collect(&n, mem, ARRAY_SIZE(mem));
    memcpy((void *)(base + BIG_OFF), first_page, AREA_SIZE);
    set_state(base);
    hosted_interrupts(us);
    hosted_run(&t.res);
    hosted_interrupts(0);
    diff_collect(&t, mem, ARRAY_SIZE(mem));
    return (n.res.vector != EXCP03_INT3) + diff_compare(name, &n, &t, mem, ARRAY_SIZE(mem)) + tb_maint_check(hosted_cpu());
}

/* Code on two pages is slow where the machine is emulated: only what begins a page, behind its pad at most, may go on on the next. */
static unsigned on_two_pages(void)
{
    unsigned n = 0;

    for (size_t i = 0; i < tb_count(); i++) {
        const struct TranslationBlock *tb = tb_at(i);
        uint64_t start = tb->pad && tb->pad < tb->tc.ptr ? tb->pad : tb->tc.ptr;

        n += ((start ^ (tb->tc.ptr + tb->tc.size - 1)) & PAGE_MASK) && start & ~PAGE_MASK;
    }
    return n;
}

static void big_code(uint64_t base, size_t size, unsigned us)
{
    uint8_t *start = (uint8_t *)(base + BIG_OFF), *p = start, *loop;
    uint64_t before = flushes();

    hosted_forget(base, HOSTED_WINDOW_SIZE);
    diff_rng_state = size + us + 1;
    p = PUT(p, "\x41\xbf\x02\x00\x00\x00"); /* mov $2, %r15d */
    loop = p;
    while ((size_t)(p - start) < size) {
        p = put_block(p, base + DATA_OFF);
    }
    p = PUT(p, "\x41\xff\xcf\x0f\x85"); /* dec %r15d; jnz loop; int3 */
    p = put32(p, (uint32_t)(loop - (p + 4)));
    p = PUT(p, "\xcc");
    assert_int_equal(run_both("big", base, us), 0);
    printf("%zu KiB of code, twice: %llu flushes\n", size >> 10, (unsigned long long)(flushes() - before));
    assert_true(flushes() >= before + 2);
    assert_true(tb_count() > 1000);
    assert_int_equal(on_two_pages(), 0);
}

static void test_big_far(void **state)
{
    big_code(HOSTED_FAR_BASE, 0x400000, 0);
}

static void test_big_low_storm(void **state)
{
    big_code(HOSTED_LOW_BASE, 0x400000, 200);
}

/* ---- code that is made anew by patching itself ---- */

/* mov $n, %ecx; 1: mov $0, %eax; add %rax, %rbx; incl 1b+1(%rip); dec %ecx; jnz 1b; int3 */
static int patch_loop(uint64_t base, uint32_t count, unsigned us)
{
    uint8_t *p = (uint8_t *)(base + BIG_OFF), *loop;

    hosted_forget(base, HOSTED_WINDOW_SIZE);
    p = PUT(p, "\xb9");
    p = put32(p, count);
    loop = p;
    p = PUT(p, "\xb8\x00\x00\x00\x00\x48\x01\xc3\xff\x05");
    p = put32(p, (uint32_t)(loop + 1 - (p + 4)));
    p = PUT(p, "\xff\xc9\x75");
    *p = (uint8_t)(loop - (p + 1));
    p = PUT(p + 1, "\xcc");
    return run_both("patch loop", base, us);
}

/* ---- a tiny cache, in a process of its own ---- */

#define TINY_FLUSHES 20u

/* 0, or what went wrong. No assertion may fail in here: this is a child of the test program. */
static int tiny_cache(size_t code_size)
{
    unsigned bad = 0;

    hosted_code_size = code_size;
    hosted_init();
    bad += smc_compare(1, 150, 2, (struct smc_storm){0, 0});
    bad += smc_compare(1000, 150, 2, (struct smc_storm){50, 0});
    bad += smc_compare(2000, 8, 2, (struct smc_storm){0, 3});
    for (unsigned i = 0; i < 4; i++) {
        bad += (unsigned)patch_loop(i & 1 ? HOSTED_FAR_BASE : HOSTED_LOW_BASE, 1000, i & 2 ? 50 : 0);
    }
    printf("cache of %zu KiB: %llu flushes, %llu TBs made\n", code_size >> 10, (unsigned long long)flushes(),
           (unsigned long long)hosted_cpu()->stat[STAT_tb_gen]);
    fflush(stdout);
    return bad ? 1 : flushes() < TINY_FLUSHES ? 2 : 0;
}

static void tiny_in_child(size_t code_size)
{
    int status = -1;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        _exit(tiny_cache(code_size));
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_tiny(void **state)
{
    tiny_in_child(0x6000);
}

static void test_small(void **state)
{
    tiny_in_child(0xa000);
}

static int init(void **state)
{
    hosted_init();
    return 0;
}

/* ---- the last x87 instruction's address, when its translation is gone ---- */

static void run_code(uint64_t at, const char *bytes, size_t n)
{
    struct hosted_result res;

    hosted_forget(at & PAGE_MASK, PAGE_SIZE);
    memcpy((void *)at, bytes, n);
    hosted_cpu()->env.eip = at;
    hosted_cpu()->env.regs[R_ESI] = HOSTED_LOW_BASE + DATA_OFF;
    hosted_run(&res);
    assert_int_equal(res.vector, EXCP03_INT3);
}
#define RUN_CODE(at, bytes) run_code(at, bytes, sizeof(bytes) - 1)

static uint32_t stored_fip(void)
{
    memset((void *)(HOSTED_LOW_BASE + DATA_OFF), 0xee, 28);
    RUN_CODE(HOSTED_LOW_BASE + BIG_OFF + 0x5000, "\xd9\x36\xcc"); /* fnstenv (%rsi) */
    return *(uint32_t *)(HOSTED_LOW_BASE + DATA_OFF + 12);
}

static void test_fip(void **state)
{
    uint64_t at = HOSTED_LOW_BASE + BIG_OFF + 0x1230;

    set_state(HOSTED_LOW_BASE);
    RUN_CODE(at, "\x90\xd9\xeb\xdd\xd8\x90\xcc"); /* fldpi; fstp %st */
    assert_int_equal(stored_fip(), at + 3);
    RUN_CODE(at, "\x90\xd9\xeb\xdd\xd8\x90\xcc");
    hosted_forget(at & PAGE_MASK, PAGE_SIZE); /* its translation is dead */
    memset((void *)at, 0x90, 8);
    assert_int_equal(stored_fip(), at + 3);
    for (unsigned i = 0; i < 3; i++) { /* and gone, and another one, of no x87 instructions, is where it was */
        tb_flush(hosted_cpu());
        assert_int_equal(stored_fip(), at + 3);
        RUN_CODE(at + 0x1000, "\x90\x90\x90\x90\x90\x90\x90\xcc");
        assert_int_equal(stored_fip(), at + 3);
    }
    RUN_CODE(at + 0x2000, "\xd9\xee\xcc"); /* fldz */
    assert_int_equal(stored_fip(), at + 0x2000);
    assert_int_equal(stored_fip(), at + 0x2000);
    RUN_CODE(at, "\xdb\xe3\xcc"); /* fninit */
    assert_int_equal(stored_fip(), 0);
}

int main(void)
{
    const struct CMUnitTest children[] = {cmocka_unit_test(test_tiny), cmocka_unit_test(test_small)};
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fip), cmocka_unit_test(test_big_far), cmocka_unit_test(test_big_low_storm)};
    int failed;

    if (getenv("LOG")) {
        log_parse(getenv("LOG"), &log_mask);
    }
    failed = cmocka_run_group_tests(children, NULL, NULL); /* before this process has a cache of its own */
    return failed + cmocka_run_group_tests(tests, init, NULL);
}
