/* SPDX-License-Identifier: MIT */
/*
 * Signal handlers see the exact state of the faulting instruction: every register, the flags, si_addr, trap number and error code;
 * and what they write into it is what the program goes on with. One snippet per kind of fault, run with known registers.
 */
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define CODE_SIZE 4096
#define CARRY     1u
#define FLAGS     0x8d5u /* CF PF AF ZF SF OF */

enum { TRAP_DE = 0, TRAP_BP = 3, TRAP_UD = 6, TRAP_GP = 13, TRAP_PF = 14, TRAP_MF = 16, TRAP_XF = 19 };

static const int reg_index[15] = {REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
                                  REG_RDI, REG_RSI, REG_RBP, REG_RBX, REG_RDX, REG_RAX, REG_RCX};

static struct {
    int signal, code;
    uint64_t address;
    greg_t gregs[NGREG];
    uint64_t xmm0[2];
} seen;
static sigjmp_buf leave;
static uint8_t *code;

static void handler(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    seen.signal = signal;
    seen.code = info->si_code;
    seen.address = (uint64_t)info->si_addr;
    memcpy(seen.gregs, uc->uc_mcontext.gregs, sizeof(seen.gregs));
    memcpy(seen.xmm0, uc->uc_mcontext.fpregs->_xmm, sizeof(seen.xmm0));
    siglongjmp(leave, 1);
}

/* Load r8-r15, rdi, rsi, rbp, rbx, rdx, rax, rcx and flags (at +120) and go to the code (at +128); rsp stays. */
void enter(const uint64_t *state);
__asm__(".text\n"
        "enter:\n"
        "    movq %rdi, %r15\n"
        "    movq 0(%r15), %r8\n    movq 8(%r15), %r9\n    movq 16(%r15), %r10\n    movq 24(%r15), %r11\n"
        "    movq 32(%r15), %r12\n    movq 40(%r15), %r13\n    movq 48(%r15), %r14\n"
        "    movq 72(%r15), %rsi\n    movq 80(%r15), %rbp\n    movq 88(%r15), %rbx\n"
        "    movq 96(%r15), %rdx\n    movq 104(%r15), %rax\n    movq 112(%r15), %rcx\n"
        "    movq 64(%r15), %rdi\n"
        "    pushq 128(%r15)\n"
        "    pushq 120(%r15)\n"
        "    movq 56(%r15), %r15\n"
        "    popfq\n"
        "    ret\n");

struct snippet {
    const char *name;
    uint8_t bytes[16];
    unsigned len;
    unsigned fault_at;      /* offset of the faulting instruction */
    int signal, code, trap;
    uint64_t error, emulated; /* error code; the one of QEMU's TCG, where it is another */
    int64_t address;        /* si_addr: -1 = rip of the fault, else relative to rbx's value if `relative` */
    int relative;
    unsigned rip_after;     /* added to fault_at for the rip that the handler sees */
};

static uint64_t data_page; /* page 0: read-write, 1: read-only, 2: no access */

static void run(const struct snippet *s, unsigned offset, uint64_t rbx)
{
    uint64_t state[17], start = (uint64_t)code + offset;

    for (int i = 0; i < 15; i++) {
        state[i] = 0x1111111111111111ull * (unsigned)(i + 1);
    }
    state[8] = data_page + 0x100;  /* rdi */
    state[9] = data_page + 0x200;  /* rsi */
    state[11] = rbx;
    state[12] = 0;                 /* rdx */
    state[14] = 16;                /* rcx */
    state[15] = 0x202 | FLAGS;
    state[16] = start;
    memset(code, 0xcc, CODE_SIZE);
    memcpy(code + offset, s->bytes, s->len);
    memset(&seen, 0, sizeof(seen));
    if (!sigsetjmp(leave, 1)) {
        enter(state);
    }
    CHECK(seen.signal == s->signal, "%s: signal %d, expected %d", s->name, seen.signal, s->signal);
    CHECK(seen.code == s->code, "%s: code %d, expected %d", s->name, seen.code, s->code);
    CHECK(seen.gregs[REG_TRAPNO] == s->trap, "%s: trap %lld", s->name, seen.gregs[REG_TRAPNO]);
    CHECK((uint64_t)seen.gregs[REG_ERR] == s->error || (uint64_t)seen.gregs[REG_ERR] == s->emulated, "%s: error %llx, expected %lx", s->name, seen.gregs[REG_ERR], s->error);
    CHECK((uint64_t)seen.gregs[REG_RIP] == start + s->fault_at + s->rip_after, "%s: rip %llx, code at %lx", s->name,
          seen.gregs[REG_RIP], start);
    uint64_t address = s->relative ? rbx + (uint64_t)s->address : s->address == -1 ? start + s->fault_at : (uint64_t)s->address;

    CHECK(seen.address == address, "%s: address %lx, expected %lx", s->name, seen.address, address);
    CHECK((seen.gregs[REG_EFL] & FLAGS) == FLAGS, "%s: flags %llx", s->name, seen.gregs[REG_EFL]);
    for (int i = 0; i < 15; i++) {
        CHECK((uint64_t)seen.gregs[reg_index[i]] == state[i], "%s: register %d = %llx, expected %lx", s->name, i,
              seen.gregs[reg_index[i]], state[i]);
    }
}

#define B(...) {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})
static const struct snippet at_rbx[] = {
    {"load", B(0x48, 0x8b, 0x43, 0x08), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 4, 4, 8, 1, 0},
    {"load behind two", B(0x66, 0x90, 0x0f, 0x1f, 0x00, 0x8b, 0x03), 5, SIGSEGV, SEGV_ACCERR, TRAP_PF, 4, 4, 0, 1, 0},
    {"store", B(0x48, 0x89, 0x03), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 6, 6, 0, 1, 0},
    {"add to memory", B(0x01, 0x03), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 6, 4, 0, 1, 0},
    {"lock xadd", B(0xf0, 0x48, 0x0f, 0xc1, 0x03), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 6, 4, 0, 1, 0},
    {"call memory", B(0xff, 0x13), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 4, 4, 0, 1, 0},
    {"jmp memory", B(0xff, 0x23), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 4, 4, 0, 1, 0},
    {"push memory", B(0xff, 0x33), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 4, 4, 0, 1, 0},
    {"pop to memory", B(0x8f, 0x03), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 6, 6, 0, 1, 0},
    {"movups load", B(0x0f, 0x10, 0x03), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 4, 4, 0, 1, 0},
    {"movups store", B(0x0f, 0x11, 0x03), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 6, 6, 0, 1, 0},
    {"cmpxchg16b", B(0x48, 0x0f, 0xc7, 0x0b), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 6, 4, 0, 1, 0},
};
static const struct snippet others[] = {
    {"ud2", B(0x0f, 0x0b), 0, SIGILL, ILL_ILLOPN, TRAP_UD, 0, 0, -1, 0, 0},
    {"nop; ud2", B(0x90, 0x0f, 0x0b), 1, SIGILL, ILL_ILLOPN, TRAP_UD, 0, 0, -1, 0, 0},
    {"int3", B(0xcc), 0, SIGTRAP, SI_KERNEL, TRAP_BP, 0, 0, 0, 0, 1},
    {"nop; int3", B(0x90, 0xcc), 1, SIGTRAP, SI_KERNEL, TRAP_BP, 0, 0, 0, 0, 1},
    {"hlt", B(0xf4), 0, SIGSEGV, SI_KERNEL, TRAP_GP, 0, 0, 0, 0, 0},
    {"cli", B(0xfa), 0, SIGSEGV, SI_KERNEL, TRAP_GP, 0, 0, 0, 0, 0},
    {"mov cr3", B(0x0f, 0x20, 0xd8), 0, SIGSEGV, SI_KERNEL, TRAP_GP, 0, 0, 0, 0, 0},
    {"in", B(0xe4, 0x60), 0, SIGSEGV, SI_KERNEL, TRAP_GP, 0, 0, 0, 0, 0},
    {"int 3 of two bytes", B(0xcd, 0x21), 0, SIGSEGV, SI_KERNEL, TRAP_GP, 0x21 * 8 + 2, 0x21 * 16 + 2, 0, 0, 0},
    {"div by zero", B(0xf7, 0xf2), 0, SIGFPE, FPE_INTDIV, TRAP_DE, 0, 0, -1, 0, 0},
    {"idiv by zero", B(0x48, 0xf7, 0xfa), 0, SIGFPE, FPE_INTDIV, TRAP_DE, 0, 0, -1, 0, 0},
    {"clac", B(0x0f, 0x01, 0xca), 0, SIGILL, ILL_ILLOPN, TRAP_UD, 0, 0, -1, 0, 0},
};

static void faults(void)
{
    const struct snippet not_mapped = {"not mapped", B(0x48, 0x8b, 0x03), 0, SIGSEGV, SEGV_MAPERR, TRAP_PF, 4, 4, 0, 1, 0};
    const struct snippet non_canonical = {"not canonical", B(0x48, 0x8b, 0x03), 0, SIGSEGV, SI_KERNEL, TRAP_GP, 0, 0, 0, 0, 0};
    const struct snippet read_only = {"read-only", B(0x48, 0x89, 0x03), 0, SIGSEGV, SEGV_ACCERR, TRAP_PF, 7, 7, 0, 1, 0};

    /* Again and again: cold and warm, at several places, across the page's end. */
    for (unsigned round = 0; round < 6; round++) {
        unsigned offset = round < 3 ? 64 * round : 4000 + 16 * round;

        for (size_t i = 0; i < sizeof(at_rbx) / sizeof(at_rbx[0]); i++) {
            run(&at_rbx[i], offset, data_page + 0x2000 + 16 * i);
        }
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
            run(&others[i], offset, data_page);
        }
        run(&read_only, offset, data_page + 0x1000);
        run(&not_mapped, offset, 0x1000);
        run(&non_canonical, offset, 1ull << 62);
    }
}

/* A string instruction stops in the middle, with its registers there. */
static void string_fault(void)
{
    static const uint8_t bytes[] = {0xf3, 0x48, 0xab}; /* rep stosq */
    uint64_t state[17] = {0};

    memcpy(code, bytes, sizeof(bytes));
    state[8] = data_page + 0x1000 - 8 * 5;
    state[13] = 0xabcdef;
    state[14] = 100;
    state[15] = 0x202;
    state[16] = (uint64_t)code;
    if (!sigsetjmp(leave, 1)) {
        enter(state);
    }
    CHECK_EQ(seen.gregs[REG_RCX], 95);
    CHECK_EQ(seen.gregs[REG_RDI], data_page + 0x1000);
    CHECK_EQ(seen.gregs[REG_RIP], (uint64_t)code);
    CHECK_EQ(seen.address, data_page + 0x1000);
    CHECK_EQ(*(uint64_t *)(data_page + 0xff8), 0xabcdef);
}

/* A handler that repairs the cause and changes registers; the vector registers survive it. */
static volatile int repaired;

static void repair(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    mprotect((void *)((uint64_t)info->si_addr & ~4095ull), 4096, PROT_READ | PROT_WRITE);
    uc->uc_mcontext.gregs[REG_RDX] += 7;
    uc->uc_mcontext.gregs[REG_EFL] ^= CARRY;
    __asm__ volatile("pxor %%xmm0, %%xmm0; pxor %%xmm7, %%xmm7" ::: "xmm0", "xmm7");
    repaired++;
    (void)signal;
}

static void repair_and_go_on(void)
{
    struct sigaction action = {.sa_sigaction = repair, .sa_flags = SA_SIGINFO}, old;
    uint8_t *page = mmap(NULL, 4096 * 64, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    sigaction(SIGSEGV, &action, &old);
    for (int i = 0; i < 64; i++) {
        uint64_t rdx = 100, carry = 0, x0, x7;

        __asm__ volatile("movq %5, %%xmm0; movq %5, %%xmm7; clc; movb $1, (%4); setc %b1; movq %%xmm0, %2; movq %%xmm7, %3"
                         : "+d"(rdx), "+q"(carry), "=r"(x0), "=r"(x7)
                         : "r"(page + 4096 * i + i), "r"(0x123456789abcdefull)
                         : "xmm0", "xmm7", "memory", "cc");
        CHECK_EQ(rdx, 107);
        CHECK_EQ(carry, 1);
        CHECK_EQ(x0, 0x123456789abcdefull);
        CHECK_EQ(x7, 0x123456789abcdefull);
        CHECK_EQ(page[4096 * i + i], 1);
    }
    CHECK_EQ(repaired, 64);
    sigaction(SIGSEGV, &old, NULL);
}

/* SIGFPE by SSE and x87, with the masks open. */
static void float_faults(void)
{
    uint32_t mxcsr = 0x1f80 & ~0x200u; /* divide by zero unmasked */
    uint16_t control = 0x037f & ~4u;
    volatile float zero = 0;

    if (!sigsetjmp(leave, 1)) {
        __asm__ volatile("ldmxcsr %0; movss %1, %%xmm1; movss %2, %%xmm2; divss %%xmm1, %%xmm2" ::"m"(mxcsr), "m"(zero),
                         "m"(*(const float *)&(const uint32_t){0x3f800000})
                         : "xmm1", "xmm2");
        printf("this CPU raises no #XM\n"); /* QEMU's TCG */
        seen.signal = 0;
    }
    if (seen.signal) {
        CHECK_EQ(seen.signal, SIGFPE);
        CHECK_EQ(seen.code, FPE_FLTDIV);
        CHECK_EQ(seen.gregs[REG_TRAPNO], TRAP_XF);
    }
    mxcsr = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
    if (!sigsetjmp(leave, 1)) {
        __asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" ::"m"(control));
        CHECK(0, "fdiv did not fault");
    }
    CHECK_EQ(seen.signal, SIGFPE);
    CHECK_EQ(seen.code, FPE_FLTDIV);
    CHECK_EQ(seen.gregs[REG_TRAPNO], TRAP_MF);
    __asm__ volatile("fninit");
}

int main(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    static uint8_t alternate[65536];
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    uint8_t *data = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = sizeof(alternate)}, NULL);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaction(signals[i], &action, NULL);
    }
    code = mmap(NULL, 2 * CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(data, 0, 3 * 4096);
    mprotect(data + 4096, 4096, PROT_READ);
    mprotect(data + 8192, 4096, PROT_NONE);
    data_page = (uint64_t)data;
    faults();
    string_fault();
    repair_and_go_on();
    float_faults();
    return check_done();
}
