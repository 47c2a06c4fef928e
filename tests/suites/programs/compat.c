/* SPDX-License-Identifier: MIT */
/*
 * Whoever asks for 32-bit code gets it, or dies of it alone: a far jump into the 32-bit code segment, and a 32-bit program. On a CPU
 * (or monitor) without 32-bit code both end by SIGILL; the system goes on. int $0x80 in 64-bit code works everywhere.
 */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* mov $1, %eax; mov $42, %ebx; int $0x80 */
static const uint8_t exit_42[] = {0xb8, 1, 0, 0, 0, 0xbb, 42, 0, 0, 0, 0xcd, 0x80};

static void far_jump(void)
{
    uint8_t *code = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) target = {(uint32_t)(uintptr_t)code, 0x23};

    memcpy(code, exit_42, sizeof(exit_42));
    __asm__ volatile("ljmpl *%0" ::"m"(target));
    _exit(99);
}

/* An ELF32 file of one segment at 8048000h. */
static void program(void)
{
    static const char name[] = "./program32";
    uint8_t file[0x54 + sizeof(exit_42)] = {0x7f, 'E', 'L', 'F', 1, 1, 1};
    static const uint32_t fields[][2] = {{16, 2 | 3 << 16}, {20, 1}, {24, 0x8048054}, {28, 0x34}, {40, 0x34 | 0x20 << 16},
                                         {44, 1}, {52, 1}, {60, 0x8048000}, {64, 0x8048000}, {68, sizeof(file)},
                                         {72, sizeof(file)}, {76, 5}, {80, 0x1000}};
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0755);

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        memcpy(file + fields[i][0], &fields[i][1], 4);
    }
    memcpy(file + 0x54, exit_42, sizeof(exit_42));
    if (write(fd, file, sizeof(file)) != sizeof(file)) {
        _exit(98);
    }
    close(fd);
    execl(name, name, (char *)NULL);
    _exit(97);
}

static int status_of(void (*body)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        body();
    }
    waitpid(pid, &status, 0);
    return status;
}

static int int80(void)
{
    int pid;

    __asm__ volatile("int $0x80" : "=a"(pid) : "a"(20 /* getpid */) : "memory");
    return pid;
}

int main(void)
{
    for (int i = 0; i < 5; i++) {
        int jump = status_of(far_jump), run = status_of(program);

        CHECK((WIFEXITED(jump) && WEXITSTATUS(jump) == 42) || (WIFSIGNALED(jump) && WTERMSIG(jump) == SIGILL),
              "far jump: status %x", jump);
        CHECK((WIFEXITED(run) && WEXITSTATUS(run) == 42) || (WIFSIGNALED(run) && WTERMSIG(run) == SIGILL),
              "32-bit program: status %x", run);
    }
    CHECK_EQ(int80(), getpid());
    return check_done();
}
