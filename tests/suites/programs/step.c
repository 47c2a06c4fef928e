/* SPDX-License-Identifier: MIT */
/*
 * A debugger's tools: ptrace single-step over every instruction of a child, breakpoints patched into its code and taken out again,
 * registers read and written; and the trap flag set by the program itself.
 */
#include "check.h"

#include <signal.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* Sums 1..rdi into rax, with a call, a taken and a not taken branch, a string instruction and a push/pop in each turn. */
uint64_t work(uint64_t n);
extern const uint8_t work_loop[], work_add[], work_end[];
__asm__(".text\n"
        "work:\n"
        "    xorl %eax, %eax\n"
        "work_loop:\n"
        "    call 1f\n"
        "    testq %rax, %rax\n"
        "    js 2f\n"
        "    pushq %rax\n"
        "    popq %rdx\n"
        "    decq %rdi\n"
        "    jnz work_loop\n"
        "2:\n"
        "work_end:\n"
        "    ret\n"
        "1:\n"
        "work_add:\n"
        "    addq %rdi, %rax\n"
        "    ret\n");

#define TURN_INSNS 9 /* of one turn of the loop */

static void child(uint64_t n)
{
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    _exit(work(n) == n * (n + 1) / 2 ? 0 : 1);
}

static pid_t start(uint64_t n)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        child(n);
    }
    waitpid(pid, &status, 0);
    CHECK(WIFSTOPPED(status), "the child did not stop");
    return pid;
}

static uint64_t rip_of(pid_t pid, struct user_regs_struct *regs)
{
    ptrace(PTRACE_GETREGS, pid, 0, regs);
    return regs->rip;
}

static void set_breakpoint(pid_t pid, const uint8_t *at, long *saved)
{
    *saved = ptrace(PTRACE_PEEKTEXT, pid, at, 0);
    ptrace(PTRACE_POKETEXT, pid, at, (*saved & ~0xffl) | 0xcc);
}

static void run_to(pid_t pid, const uint8_t *at)
{
    struct user_regs_struct regs;
    long saved;
    int status;

    set_breakpoint(pid, at, &saved);
    ptrace(PTRACE_CONT, pid, 0, 0);
    waitpid(pid, &status, 0);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "status %x", status);
    CHECK_EQ(rip_of(pid, &regs), (uint64_t)at + 1);
    regs.rip = (uint64_t)at;
    ptrace(PTRACE_SETREGS, pid, 0, &regs);
    ptrace(PTRACE_POKETEXT, pid, at, saved);
}

static int finish(pid_t pid)
{
    int status;

    ptrace(PTRACE_CONT, pid, 0, 0);
    waitpid(pid, &status, 0);
    return status;
}

/* Every instruction of the loop is one step; rip and rax are what they must be. */
static void single_steps(void)
{
    const uint64_t n = 50;
    pid_t pid = start(n);
    struct user_regs_struct regs;
    unsigned steps = 0, adds = 0;
    uint64_t sum = 0, counter = n;
    int status;

    run_to(pid, work_loop);
    while (rip_of(pid, &regs) != (uint64_t)work_end) {
        if (regs.rip == (uint64_t)work_add) {
            sum += counter--;
            adds++;
        } else if (regs.rip == (uint64_t)work_loop) {
            CHECK_EQ(regs.rax, sum);
            CHECK_EQ(regs.rdi, counter);
        }
        ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
        waitpid(pid, &status, 0);
        if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP || ++steps > 100 * n) {
            CHECK(0, "step %u: status %x", steps, status);
            return;
        }
    }
    CHECK_EQ(adds, n);
    CHECK_EQ(steps, TURN_INSNS * n);
    CHECK_EQ(finish(pid), 0);
}

/* A breakpoint in hot code: set, hit, stepped over, set again, each turn. */
static void breakpoints(void)
{
    const uint64_t n = 40;
    pid_t pid = start(n);
    struct user_regs_struct regs;
    int status;

    for (uint64_t i = 0; i < n; i++) {
        run_to(pid, work_add);
        rip_of(pid, &regs);
        CHECK_EQ(regs.rdi, n - i);
        ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
        waitpid(pid, &status, 0);
        CHECK_EQ(rip_of(pid, &regs), (uint64_t)work_add + 3);
    }
    CHECK_EQ(finish(pid), 0);
}

/* What the debugger writes into a register counts. */
static void changed_register(void)
{
    pid_t pid = start(10);
    struct user_regs_struct regs;

    run_to(pid, work_add);
    rip_of(pid, &regs);
    regs.rax += 1;
    ptrace(PTRACE_SETREGS, pid, 0, &regs);
    CHECK(WEXITSTATUS(finish(pid)) == 1, "the child's sum should be wrong by one");
}

/* popf sets TF: a SIGTRAP behind each following instruction. */
static volatile unsigned traps;
static uint64_t trap_rip[64];

static void on_trap(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    if (traps < 64) {
        trap_rip[traps] = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    }
    traps++;
    (void)signal, (void)info;
}

extern const uint8_t own_first[], own_last[];
static void own_trap_flag(void)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    uint64_t count = 0;

    sigaction(SIGTRAP, &action, NULL);
    __asm__ volatile("subq $128, %%rsp\n"
                     "pushfq\n"
                     "orl $0x100, (%%rsp)\n"
                     "popfq\n"
                     "own_first: nop\n"
                     "incq %0\n"
                     "1: incq %0\n"
                     "cmpq $5, %0\n"
                     "jb 1b\n"
                     "pushfq\n"
                     "andl $0xfffffeff, (%%rsp)\n"
                     "popfq\n"
                     "own_last: addq $128, %%rsp\n"
                     : "+r"(count)::"memory", "cc");
    CHECK_EQ(count, 5);
    CHECK_EQ(traps, 1 + 1 + 4 * 3 + 3); /* behind nop, inc, four turns, pushf, and, popf (which clears TF, too late) */
    CHECK_EQ(trap_rip[0], (uint64_t)own_first + 1);
    CHECK_EQ(trap_rip[traps - 1], (uint64_t)own_last);
}

int main(void)
{
    single_steps();
    breakpoints();
    changed_register();
    own_trap_flag();
    return check_done();
}
