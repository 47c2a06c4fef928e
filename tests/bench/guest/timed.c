/* SPDX-License-Identifier: MIT */
/*
 * In a Linux guest: the TSC around a piece of work, one line each, `bench <name> <cycles>`.
 *
 *     timed NAME now                the TSC itself
 *     timed NAME run PROGRAM ...    from fork to the end of the program, whose output is dropped
 *     timed NAME syscall|context|fork|exec|fault N     N system calls, round trips through two pipes, forks, forks with
 *                                                      exec, first touches of pages; the best of three
 *     timed NAME stamp              standard input to standard output; each STAMP in it becomes a line with the TSC
 *
 * A guest whose TSC is not the machine's has `stamp=` on its kernel's command line, which Linux makes part of the environment: then STAMP is
 * printed at the begin and end of each piece of work, and whoever reads it, outside, has the time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <x86intrin.h>

#include "tests/bench/mark.h"

#define STAMP '\001'

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static void await(pid_t pid)
{
    int status;

    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status)) {
        fprintf(stderr, "timed: the program failed, status %#x\n", (unsigned)status);
        exit(1);
    }
}

static void run_program(char **argv)
{
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, 0);
        dup2(null, 1);
        execvp(argv[0], argv);
        die(argv[0]);
    }
    await(pid);
}

/* The TSC, when what was printed before has left the machine. */
static unsigned long long now(void)
{
    if (getenv("stamp")) {
        putchar(STAMP);
        fflush(stdout);
        tcdrain(1);
    }
    return __rdtsc();
}

static void stamp(void)
{
    char c;

    while (read(0, &c, 1) == 1) {
        if (c == STAMP) {
            printf("stamp %llu\n", __rdtsc());
            fflush(stdout);
        } else if (write(1, &c, 1) != 1) {
            die("write");
        }
    }
}

static void do_syscall(long n)
{
    for (long i = 0; i < n; i++) {
        syscall(SYS_getppid);
    }
}

static void do_context(long n)
{
    int to[2], from[2];
    char c = 0;

    if (pipe(to) || pipe(from)) {
        die("pipe");
    }
    pid_t pid = fork();

    if (pid == 0) {
        for (long i = 0; i < n; i++) {
            if (read(to[0], &c, 1) != 1 || write(from[1], &c, 1) != 1) {
                _exit(1);
            }
        }
        _exit(0);
    }
    for (long i = 0; i < n; i++) {
        if (write(to[1], &c, 1) != 1 || read(from[0], &c, 1) != 1) {
            die("pipe");
        }
    }
    await(pid);
}

static void do_fork(long n)
{
    for (long i = 0; i < n; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            _exit(0);
        }
        await(pid);
    }
}

static void do_exec(long n)
{
    char *argv[] = {"/proc/self/exe", "nothing", "now", NULL};

    for (long i = 0; i < n; i++) {
        run_program(argv);
    }
}

static void do_fault(long n)
{
    size_t len = (size_t)n * 4096;
    char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        die("mmap");
    }
    for (size_t i = 0; i < len; i += 4096) {
        p[i] = 1;
    }
    munmap(p, len);
}

static const struct {
    const char *name;
    void (*run)(long n);
} built_in[] = {{"syscall", do_syscall}, {"context", do_context}, {"fork", do_fork}, {"exec", do_exec}, {"fault", do_fault}};

static unsigned long long best_of_three(void (*run)(long), long n)
{
    unsigned long long best = ~0ull;

    for (int i = 0; i < 3; i++) {
        unsigned long long start = now();

        run(n);
        unsigned long long cycles = now() - start;

        best = cycles < best ? cycles : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: timed NAME now|run|... [...]\n");
        return 1;
    }
    if (!strcmp(argv[2], "stamp")) {
        stamp();
        return 0;
    }
    unsigned long long cycles = 0;

    if (!strcmp(argv[2], "now")) {
        cycles = now();
    } else if (!strcmp(argv[2], "run") && argc > 3) {
        unsigned long long start = now();

        mark_begin();
        run_program(argv + 3);
        mark_end();
        cycles = now() - start;
    }
    for (size_t i = 0; i < sizeof(built_in) / sizeof(built_in[0]); i++) {
        if (!strcmp(argv[2], built_in[i].name) && argc > 3) {
            cycles = best_of_three(built_in[i].run, atol(argv[3]));
        }
    }
    printf("bench %s %llu\n", argv[1], cycles);
    return 0;
}
