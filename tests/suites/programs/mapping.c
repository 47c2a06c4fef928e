/* SPDX-License-Identifier: MIT */
/*
 * Memory calls take effect at once: what mmap, mprotect, mremap, madvise, munmap and fork give or take away is there or gone for the
 * very next access, by this program and by the kernel on its behalf.
 */
#include "check.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul

static sigjmp_buf leave;
static volatile uintptr_t fault_address;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    fault_address = (uintptr_t)info->si_addr;
    (void)signal, (void)context;
    siglongjmp(leave, 1);
}

/* 'r', 'w', or 0 if neither is possible: what an access of this program finds. */
static int access_of(volatile uint8_t *p)
{
    volatile int possible = 0; /* kept over the jump */

    if (!sigsetjmp(leave, 1)) {
        (void)*p;
        possible = 'r';
        *p = *p;
        possible = 'w';
    } else {
        CHECK_EQ(fault_address, (uintptr_t)p);
    }
    return possible;
}

/* The same question to the kernel: read(2) into it. */
static int kernel_may_write(uint8_t *p)
{
    int ends[2];
    ssize_t n;

    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    n = read(ends[0], p, 1);
    CHECK(n == 1 || errno == EFAULT, "read: %zd", n);
    close(ends[0]);
    close(ends[1]);
    return n == 1;
}

static void protections(void)
{
    static const int prots[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC};
    static const int want[] = {0, 'r', 'w', 'r'};
    uint8_t *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    memset(p, 1, 8 * PAGE);
    for (unsigned i = 0; i < 200; i++) {
        unsigned k = i * 7 % 4, page = i % 8;

        CHECK_EQ(mprotect(p + page * PAGE, PAGE, prots[k]), 0);
        CHECK_EQ(access_of(p + page * PAGE + i), want[k]);
        CHECK_EQ(kernel_may_write(p + page * PAGE + i), want[k] == 'w');
    }
    CHECK_EQ(mprotect(p, 8 * PAGE, PROT_READ | PROT_WRITE), 0);
    CHECK_EQ(munmap(p + 3 * PAGE, PAGE), 0);
    CHECK_EQ(access_of(p + 3 * PAGE), 0);
    CHECK_EQ(access_of(p + 4 * PAGE), 'w');
    munmap(p, 8 * PAGE);
    for (unsigned i = 0; i < 8; i++) {
        CHECK_EQ(access_of(p + i * PAGE), 0);
    }
}

static void moves(void)
{
    uint8_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    p[0] = 42;
    for (unsigned size = 2; size < 300; size += 3) {
        uint8_t *old = p;

        p = mremap(p, (size == 2 ? 1 : size - 3) * PAGE, size * PAGE, MREMAP_MAYMOVE);
        CHECK(p != MAP_FAILED, "mremap");
        CHECK_EQ(p[0], 42);
        p[size * PAGE - 1] = (uint8_t)size;
        if (p != old) {
            CHECK_EQ(access_of(old), 0);
        }
    }
    for (unsigned size = 2; size < 300; size += 3) {
        CHECK_EQ(p[size * PAGE - 1], (uint8_t)size);
    }
    munmap(p, 299 * PAGE);
}

/* The same memory at two addresses, and a hole that comes back as zeros. */
static void sharing(void)
{
    int fd = memfd_create("share", 0);
    uint8_t *a, *b;

    CHECK_EQ(ftruncate(fd, 4 * PAGE), 0);
    a = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    b = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (unsigned i = 0; i < 4 * PAGE; i += 97) {
        a[i] = (uint8_t)i;
        CHECK_EQ(b[i], (uint8_t)i);
    }
    CHECK_EQ(madvise(a, 4 * PAGE, MADV_REMOVE), 0);
    CHECK_EQ(b[97], 0);
    munmap(a, 4 * PAGE);
    munmap(b, 4 * PAGE);
    a = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(a, 7, 4 * PAGE);
    CHECK_EQ(madvise(a + PAGE, PAGE, MADV_DONTNEED), 0);
    CHECK_EQ(a[PAGE - 1], 7);
    CHECK_EQ(a[PAGE], 0);
    CHECK_EQ(a[2 * PAGE], 7);
    munmap(a, 4 * PAGE);
    close(fd);
}

/* Copy on write keeps parent and child apart, page by page, and huge pages too. */
static void forks(void)
{
    size_t length = 4ul << 20;
    uint8_t *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    madvise(p, length, MADV_HUGEPAGE);
    memset(p, 1, length);
    for (unsigned round = 0; round < 8; round++) {
        pid_t pid = fork();
        int status;

        for (size_t i = round; i < length; i += 64 * PAGE) {
            p[i] = pid ? 2 : 3;
        }
        for (size_t i = round; i < length; i += 64 * PAGE) {
            if (p[i] != (pid ? 2 : 3)) {
                CHECK(0, "byte %zx is another process's", i);
            }
        }
        if (pid == 0) {
            _exit(check_failures != 0);
        }
        waitpid(pid, &status, 0);
        CHECK_EQ(status, 0);
    }
    munmap(p, length);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &action, NULL);
    protections();
    moves();
    sharing();
    forks();
    return check_done();
}
