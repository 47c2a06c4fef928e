/* SPDX-License-Identifier: MIT */
/*
 * Compilers at run time: code written and run in turns, in all the ways that real ones use. One mapping both writable and
 * executable; two mappings of one memory, patched through the other; one mapping switched by mprotect; code moved by mremap;
 * munmap and mmap of other code at the same address. Each call must run the newest code. Argument: how long (default 1).
 */
#include "check.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
typedef uint64_t (*function)(uint64_t);
static uint32_t scale = 1;

/* x -> x + n, or x * n: mov $n, %eax; add %rdi, %rax | imul %rdi, %rax; ret */
static void write_function(uint8_t *at, uint32_t n, int multiply)
{
    uint8_t bytes[] = {0xb8, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24),
                       0x48, 0x01, 0xf8, 0xc3, 0x90};
    static const uint8_t imul[] = {0x48, 0x0f, 0xaf, 0xc7, 0xc3};

    memcpy(at, bytes, sizeof(bytes));
    if (multiply) {
        memcpy(at + 5, imul, sizeof(imul));
    }
}

static uint64_t call(const uint8_t *at, uint64_t x)
{
    return ((function)(uintptr_t)at)(x);
}

static void one_mapping(void)
{
    uint8_t *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    for (uint32_t i = 0; i < 300 * scale; i++) {
        uint8_t *at = p + i * 61 % (4 * PAGE - 16);

        write_function(at, i, i & 1);
        CHECK_EQ(call(at, 3), i & 1 ? 3 * i : 3 + i);
    }
    /* One byte of an immediate, the code hot. */
    write_function(p, 0, 0);
    for (uint32_t i = 0; i < 300 * scale; i++) {
        p[1] = (uint8_t)i;
        CHECK_EQ(call(p, 5), 5 + (i & 0xff));
    }
    munmap(p, 4 * PAGE);
}

/* W^X by two mappings: the executable one is never writable. */
static void two_mappings(void)
{
    int fd = memfd_create("jit", 0);
    uint8_t *w, *x;

    CHECK_EQ(ftruncate(fd, 4 * PAGE), 0);
    w = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    x = mmap(NULL, 4 * PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    CHECK(w != MAP_FAILED && x != MAP_FAILED, "mmap");
    for (uint32_t i = 0; i < 300 * scale; i++) {
        unsigned at = i * 101 % (4 * PAGE - 16);

        write_function(w + at, i, i & 1);
        CHECK_EQ(call(x + at, 7), i & 1 ? 7 * i : 7 + i);
    }
    write_function(w + 100, 0, 0);
    for (uint32_t i = 0; i < 300 * scale; i++) {
        memcpy(w + 101, &i, 4);
        CHECK_EQ(call(x + 100, 1), i + 1);
    }
    /* A child writes, the parent runs. */
    for (uint32_t i = 1; i < 20; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            write_function(w + 100, 1000 * i, 0);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
        CHECK_EQ(call(x + 100, 1), 1000 * i + 1);
    }
    /* By system call: the kernel is the writer. */
    for (uint32_t i = 0; i < 60 * scale; i++) {
        CHECK_EQ(pwrite(fd, &i, 4, 101), 4);
        CHECK_EQ(call(x + 100, 2), i + 2);
    }
    munmap(w, 4 * PAGE);
    munmap(x, 4 * PAGE);
    close(fd);
}

static void by_mprotect(void)
{
    uint8_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    for (uint32_t i = 0; i < 60 * scale; i++) {
        write_function(p + i, i, i & 1);
        CHECK_EQ(mprotect(p, PAGE, PROT_READ | PROT_EXEC), 0);
        CHECK_EQ(call(p + i, 9), i & 1 ? 9 * i : 9 + i);
        CHECK_EQ(mprotect(p, PAGE, PROT_READ | PROT_WRITE), 0);
    }
    munmap(p, PAGE);
}

/* Other code at the same address, without any store there. */
static void remapped(void)
{
    uint8_t *a = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *place = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    munmap(a, PAGE);
    for (uint32_t i = 0; i < 40 * scale; i++) {
        a = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        write_function(a, i, 0);
        CHECK_EQ(call(a, 4), 4 + i);
        CHECK(mremap(a, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place, "mremap");
        CHECK_EQ(call(place, 4), 4 + i);
        CHECK(mmap(place, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place, "mmap");
    }
}

/* fork: the child's code is its own from its first store on. */
static void copy_on_write(void)
{
    uint8_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    for (uint32_t i = 1; i < 30; i++) {
        int status;
        pid_t pid;

        write_function(p, i, 0);
        CHECK_EQ(call(p, 0), i);
        pid = fork();
        if (pid == 0) {
            if (call(p, 0) != i) {
                _exit(1);
            }
            write_function(p, i + 50, 0);
            _exit(call(p, 0) == i + 50 ? 0 : 2);
        }
        waitpid(pid, &status, 0);
        CHECK_EQ(status, 0);
        CHECK_EQ(call(p, 0), i);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        scale = (uint32_t)atoi(argv[1]);
    }
    one_mapping();
    two_mappings();
    by_mprotect();
    remapped();
    copy_on_write();
    return check_done();
}
