/* SPDX-License-Identifier: MIT */
/*
 * The seam of dbt/host.h for a Linux process: mmap, mprotect and signals in place of page tables and exceptions. The same
 * dbt/ objects as in the kernel run on it. Guest code is ring-3 code; what it cannot do here (ports, segments) raises #GP.
 */
#include "dbt/host.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include <x86intrin.h>

#include "dbt/code-buffer.h"
#include "dbt/cpu-exec.h"
#include "dbt/notdirty.h"
#include "dbt/page-state.h"
#include "dbt/translate-all.h"
#include "kernel/lib/log.h"
#include "tests/host/hosted-check.h"
#include "tests/host/hosted.h"

#define VCPU_ADDR  0x10000000ull
#define TABLE_ADDR 0x10100000ull
#define TABLE_SIZE 0x80000ull
#define CODE_ADDR  0x20000000ull
#define SLOTS_ADDR 0x21000000ull
#define SLOTS_SIZE 0x100000ull

void host_enter(const uint64_t *regs, void *fp);
extern const char host_leave[];

uint8_t hosted_guest_fp[HOSTED_XSAVE_SIZE] __attribute__((aligned(64)));
uint64_t hosted_faults;
size_t hosted_code_size = HOSTED_CODE_SIZE;
bool hosted_patch_code = true;
void (*hosted_on_interrupt)(struct CPUState *cpu);
uint64_t hosted_interrupted[4];

/* Owner: the one thread of the process; the signal handler writes them while host_run waits. */
static struct CPUState cpu0;
static struct host_event *pending;
static bool stepping;
static bool step_first;
static uint64_t enter_rip;
static bool irq_pending;
static unsigned irq_every, irq_left; /* host instructions between pretended interrupts (0 = none), and to the next one */
static unsigned irq_stuck;           /* how often in a row the same instruction was interrupted */
static uint64_t irq_eip;
static struct hosted_result *result;
static uint64_t *table_rw;
static uint8_t *low_alias, *far_alias; /* the guest's windows once more, never protected */

static void *map_fixed(uint64_t addr, size_t len, int prot, int fd)
{
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *p = mmap((void *)addr, len, prot, flags | (addr ? MAP_FIXED_NOREPLACE : 0), fd, 0);

    if (p == MAP_FAILED || (addr && p != (void *)addr)) {
        panic("mmap %llx: %s", (unsigned long long)addr, strerror(errno));
    }
    return p;
}

/* One memory object, seen by the guest at exec_addr with exec_prot and by us read-write elsewhere. */
static void *map_twice(uint64_t exec_addr, size_t len, int exec_prot)
{
    int fd = memfd_create("notdirty", 0);

    if (fd < 0 || ftruncate(fd, (off_t)len) < 0) {
        panic("memfd: %s", strerror(errno));
    }
    map_fixed(exec_addr, len, exec_prot, fd);
    void *rw = map_fixed(0, len, PROT_READ | PROT_WRITE, fd);
    close(fd);
    return rw;
}

/* ---- memory ---- */

int code_gen_alloc(struct code_gen_region *r)
{
    *r = (struct code_gen_region){
        .code_exec = CODE_ADDR,
        .code_rw = map_twice(CODE_ADDR, hosted_code_size, PROT_READ | PROT_EXEC),
        .code_size = hosted_code_size,
        .slots_exec = SLOTS_ADDR,
        .slots_rw = map_twice(SLOTS_ADDR, SLOTS_SIZE, PROT_READ),
        .slots_count = SLOTS_SIZE / 8,
        .vcpu_addr = VCPU_ADDR,
        .table_addr = TABLE_ADDR,
        .store_table_addr = HOSTED_STORE_TABLE,
        .patch_code = hosted_patch_code,
    };
    return 0;
}

uint64_t *jump_table_rw(void)
{
    return table_rw;
}

/* A process has one address space, so links_count is 0 and there is one set, in whose table jump_table_rw() is not looked up: all
 * guest code is user code. */
bool link_set_alloc(unsigned set, uint64_t **table, uint64_t **slots)
{
    *table = set == 0 ? table_rw : NULL;
    *slots = NULL;
    return *table;
}

void link_set_use(unsigned set)
{
    if (set) {
        panic("link set %u", set);
    }
}


void *dbt_zalloc(size_t size)
{
    return calloc(1, size);
}

static tb_page_addr_t va_to_ram(uint64_t va)
{
    if (va - HOSTED_LOW_BASE < HOSTED_WINDOW_SIZE) {
        return va - HOSTED_LOW_BASE;
    }
    if (va - HOSTED_FAR_BASE < HOSTED_WINDOW_SIZE) {
        return va - HOSTED_FAR_BASE + FAR_RAM_BASE;
    }
    return TB_PAGE_ADDR_INVALID;
}

static void *ram_to_ptr(tb_page_addr_t ram)
{
    return (void *)(ram >= FAR_RAM_BASE ? ram - FAR_RAM_BASE + HOSTED_FAR_BASE : ram + HOSTED_LOW_BASE);
}

/* Nothing changes where code is fetched from. */
int code_page_path(struct CPUState *cpu, uint64_t va, tb_page_addr_t ram, struct code_path_entry path[CODE_PATH_MAX])
{
    return va_to_ram(va) == ram ? 0 : -1;
}

bool code_path_same(const struct code_path_entry *path, unsigned n)
{
    return true;
}

tb_page_addr_t get_page_addr_code(struct CPUState *cpu, uint64_t pc, const uint8_t **hostp)
{
    tb_page_addr_t ram = va_to_ram(pc);

    if (ram == TB_PAGE_ADDR_INVALID) {
        cpu->env.cr[2] = pc;
        raise_exception_err(cpu, EXCP0E_PAGE, PG_ERROR_U_MASK | PG_ERROR_I_D_MASK);
    }
    *hostp = (const uint8_t *)pc;
    return ram;
}

tb_page_addr_t probe_page_addr_code(struct CPUState *cpu, uint64_t pc)
{
    return va_to_ram(pc);
}

tb_page_addr_t probe_page_addr_data(struct CPUState *cpu, uint64_t va)
{
    return va_to_ram(va);
}

tb_page_addr_t probe_page_addr_store(struct CPUState *cpu, uint64_t va)
{
    return va_to_ram(va);
}

uint64_t store_alias(struct CPUState *cpu, uint64_t va, uint64_t len)
{
    bool low = va - HOSTED_LOW_BASE < HOSTED_WINDOW_SIZE;
    uint64_t off = va - (low ? HOSTED_LOW_BASE : HOSTED_FAR_BASE);

    if (off >= HOSTED_WINDOW_SIZE || len > HOSTED_WINDOW_SIZE - off || (off & ~PAGE_MASK) + len > 2 * PAGE_SIZE) {
        return 0;
    }
    return (uint64_t)(low ? low_alias : far_alias) + off;
}

bool store_alias_may_last(tb_page_addr_t ram)
{
    return true;
}

static void protect(tb_page_addr_t page, int prot)
{
    if (mprotect(ram_to_ptr(page & PAGE_MASK), PAGE_SIZE, prot) < 0) {
        panic("mprotect: %s", strerror(errno));
    }
}

void tlb_protect_code(tb_page_addr_t page_addr)
{
    protect(page_addr, PROT_READ);
}

void tlb_unprotect_code(tb_page_addr_t page_addr)
{
    protect(page_addr, PROT_READ | PROT_WRITE);
}

const uint8_t *code_page_bytes(tb_page_addr_t addr)
{
    return ram_to_ptr(addr);
}

/* ---- running ---- */

static bool native; /* running guest code itself, not a translation */

static bool in_cache(uint64_t rip)
{
    return native ? va_to_ram(rip) != TB_PAGE_ADDR_INVALID : rip - CODE_ADDR < hosted_code_size;
}

/* Host registers in ucontext order for SDM numbers 0..15. */
static const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

/* Take the registers out of the interrupted guest and make the signal return to host_run. */
static void leave_guest(ucontext_t *uc, enum host_event_kind kind)
{
    greg_t *g = uc->uc_mcontext.gregs;
    struct CPUX86State *env = &cpu0.env;

    for (int i = 0; i < 16; i++) {
        env->regs[i] = (uint64_t)g[greg_of[i]];
    }
    env->eflags = (env->eflags & ~(uint64_t)EFLAGS_HW_MASK) | ((uint64_t)g[REG_EFL] & EFLAGS_HW_MASK);
    pending->kind = kind;
    pending->host_pc = (uint64_t)g[REG_RIP];
    g[REG_RIP] = (greg_t)host_leave;
    g[REG_EFL] &= ~(greg_t)(TF_MASK | DF_MASK);
}

static void interrupt_guest(ucontext_t *uc)
{
    uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP], pc;
    uint16_t spilled;

    if (!native) {
        hosted_interrupted[tb_guest_pc(tcg_tb_lookup(rip), rip, &pc, &spilled)]++;
    }
    page_state_tick();
    irq_pending = true;
    cpu0.interrupt_request = 1;
    leave_guest(uc, HOST_EV_INTERRUPT);
}

static void on_fault(int sig, siginfo_t *si, void *ctx)
{
    ucontext_t *uc = ctx;
    greg_t *g = uc->uc_mcontext.gregs;

    if (g[REG_TRAPNO] == EXCP0E_PAGE && g[REG_ERR] & PG_ERROR_W_MASK && hosted_sample_written((uint64_t)si->si_addr)) {
        return;
    }
    if (!in_cache((uint64_t)g[REG_RIP])) {
        signal(sig, SIG_DFL); /* our own bug: crash where it is */
        return;
    }
    pending->vector = (uint8_t)g[REG_TRAPNO];
    pending->error_code = (uint32_t)g[REG_ERR];
    pending->fault_addr = pending->vector == EXCP0E_PAGE ? (uint64_t)si->si_addr : 0;
    leave_guest(uc, HOST_EV_FAULT);
}

static void on_trap(int sig, siginfo_t *si, void *ctx)
{
    ucontext_t *uc = ctx;
    greg_t *g = uc->uc_mcontext.gregs;
    uint64_t rip = (uint64_t)g[REG_RIP];

    if (g[REG_TRAPNO] == EXCP03_INT3) {
        leave_guest(uc, HOST_EV_EXIT);
        return;
    }
    if (!in_cache(rip) || step_first) {
        step_first = step_first && !(in_cache(rip) && rip == enter_rip);
        return; /* still in host_enter, or at its last jump's target: TF stays on */
    }
    if (stepping) {
        leave_guest(uc, HOST_EV_STEP);
    } else if (irq_left && --irq_left == 0) {
        irq_left = irq_every;
        interrupt_guest(uc);
    }
}

static void on_alarm(int sig, siginfo_t *si, void *ctx)
{
    ucontext_t *uc = ctx;

    irq_pending = true;
    if (in_cache((uint64_t)uc->uc_mcontext.gregs[REG_RIP])) {
        interrupt_guest(uc);
    }
}

void host_run(struct CPUState *cpu, uint64_t host_pc, bool step, struct host_event *ev)
{
    struct CPUX86State *env = &cpu->env;
    uint64_t regs[18];

    memcpy(regs, env->regs, sizeof(env->regs));
    bool trap = step || (irq_left && !native);

    regs[16] = (env->eflags & EFLAGS_HW_MASK) | 0x202 | (trap ? TF_MASK : 0);
    regs[17] = host_pc;
    pending = ev;
    stepping = step;
    step_first = trap;
    enter_rip = host_pc;
    host_enter(regs, hosted_guest_fp);
    stepping = false;
}

enum fault_result handle_fault(struct CPUState *cpu, const struct host_event *ev, struct TranslationBlock *tb)
{
    if (ev->vector == EXCP0E_PAGE && ev->error_code & PG_ERROR_W_MASK &&
        va_to_ram(ev->fault_addr) != TB_PAGE_ADDR_INVALID) {
        hosted_faults++;
        switch (page_unprotect(cpu, ev->fault_addr, va_to_ram(ev->fault_addr), tb, ev->host_pc)) {
        case UNPROTECT_RETRY:
            return FAULT_RETRY;
        case UNPROTECT_LEAVE:
            return FAULT_REDO;
        case UNPROTECT_NOT_OURS:
            break;
        }
    }
    if (ev->vector == EXCP0E_PAGE) {
        cpu->env.cr[2] = ev->fault_addr;
    }
    if (tb_fault_is_fetch(tb, ev->host_pc)) {
        cpu->env.cr[2] = (ev->fault_addr ^ cpu->env.eip) & PAGE_MASK ? ev->fault_addr & PAGE_MASK : cpu->env.eip;
        raise_exception_err(cpu, ev->vector, ev->error_code | PG_ERROR_I_D_MASK);
        return FAULT_EXCEPTION;
    }
    raise_exception_err(cpu, ev->vector, ev->error_code);
    return FAULT_EXCEPTION;
}

void fault_window_open(struct CPUState *cpu)
{
    for (unsigned i = 0; i < cpu->nr_smc_ranges; i++) {
        if (va_to_ram(cpu->smc_range[i].va) != TB_PAGE_ADDR_INVALID) {
            hosted_sample_written(cpu->smc_range[i].va);
            protect(va_to_ram(cpu->smc_range[i].va), PROT_READ | PROT_WRITE);
        }
    }
}

void fault_window_close(struct CPUState *cpu)
{
    for (unsigned i = 0; i < cpu->nr_smc_ranges; i++) {
        tb_page_addr_t ram = va_to_ram(cpu->smc_range[i].va);
        const struct PageDesc *pd = ram == TB_PAGE_ADDR_INVALID ? NULL : page_find(ram >> PAGE_SHIFT);

        if (hosted_page_traps(pd)) {
            protect(ram, PROT_READ);
        }
    }
}

/* ---- exceptions: all end the run and are reported ---- */

void raise_exception_err(struct CPUState *cpu, int vector, uint64_t error_code)
{
    cpu->exception_index = vector;
    cpu->error_code = error_code;
}

void raise_exception(struct CPUState *cpu, int vector)
{
    raise_exception_err(cpu, vector, 0);
}

void do_interrupt(struct CPUState *cpu)
{
    *result = (struct hosted_result){.vector = cpu->exception_index,
                                     .error_code = cpu->error_code,
                                     .cr2 = cpu->exception_index == EXCP0E_PAGE ? cpu->env.cr[2] : 0};
    cpu->exception_index = EXCP_NONE;
    cpu->exit_request = CPU_EXIT_USER;
}

/* At CPL 0 IF decides; the tests at CPL 3 are interrupted always. */
static bool interruptible(const struct CPUState *cpu)
{
    return irq_pending && (cpu->env.cpl != 0 || cpu->env.eflags & IF_MASK);
}

bool cpu_irq_attends(struct CPUState *cpu)
{
    return interruptible(cpu);
}

bool cpu_exec_interrupt(struct CPUState *cpu)
{
    if (!interruptible(cpu)) {
        return false;
    }
    if (irq_every) { /* an instruction interrupted in its glue begins again: the next one must come later, or nothing moves */
        irq_stuck = cpu->env.eip == irq_eip ? irq_stuck + 1 : 0;
        irq_eip = cpu->env.eip;
        irq_left = irq_every + irq_stuck;
    }
    if (hosted_on_interrupt) {
        hosted_on_interrupt(cpu);
    }
    irq_pending = false; /* now: what came meanwhile is the same interrupt, however slow the callback */
    cpu->interrupt_request = 0;
    return true;
}

bool cpu_has_work(struct CPUState *cpu)
{
    return interruptible(cpu);
}

void cpu_halt_wait(struct CPUState *cpu)
{
}

void start_exclusive(void)
{
}

void end_exclusive(void)
{
}

/* ---- for tests ---- */

static void catch_signal(int sig, void (*fn)(int, siginfo_t *, void *))
{
    struct sigaction sa = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigfillset(&sa.sa_mask);
    sigaction(sig, &sa, NULL);
}

/* Before every run: a test framework may have put its own handlers in place. */
static void catch_signals(void)
{
    catch_signal(SIGSEGV, on_fault);
    catch_signal(SIGBUS, on_fault);
    catch_signal(SIGFPE, on_fault);
    catch_signal(SIGILL, on_fault);
    catch_signal(SIGTRAP, on_trap);
    catch_signal(SIGALRM, on_alarm);
}

static uint64_t host_xcr0(void)
{
    uint32_t lo, hi;

    __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

void hosted_init(void)
{
    static uint8_t altstack[262144];
    stack_t ss = {.ss_sp = altstack, .ss_size = sizeof(altstack)};

    sigaltstack(&ss, NULL);
    low_alias = map_twice(HOSTED_LOW_BASE, HOSTED_WINDOW_SIZE, PROT_READ | PROT_WRITE);
    far_alias = map_twice(HOSTED_FAR_BASE, HOSTED_WINDOW_SIZE, PROT_READ | PROT_WRITE);
    cpu0.vp = map_fixed(VCPU_ADDR, PAGE_SIZE, PROT_READ | PROT_WRITE, -1);
    cpu0.vp_view[0] = cpu0.vp;
    cpu0.vp_view[1] = cpu0.vp;
    table_rw = map_twice(TABLE_ADDR, TABLE_SIZE, PROT_READ);
    hosted_store_table = map_twice(HOSTED_STORE_TABLE, STORE_TABLE_SIZE, PROT_READ);
    cpu0.env.cpl = 3;
    cpu0.env.eflags = 2 | IF_MASK;
    cpu0.env.xcr0 = host_xcr0();
    if (dbt_init(&cpu0) < 0) {
        panic("dbt_init failed");
    }
}

struct CPUState *hosted_cpu(void)
{
    return &cpu0;
}

void hosted_run(struct hosted_result *res)
{
    result = res;
    catch_signals();
    cpu0.exit_request = CPU_RUNNING;
    cpu_exec(&cpu0);
}

/* Make both windows accessible as a whole; sampled pages count as written from here on. */
static void protect_windows(int prot)
{
    hosted_samples_written();
    if (mprotect((void *)HOSTED_LOW_BASE, HOSTED_WINDOW_SIZE, prot) < 0 ||
        mprotect((void *)HOSTED_FAR_BASE, HOSTED_WINDOW_SIZE, prot) < 0) {
        panic("mprotect: %s", strerror(errno));
    }
}

void hosted_forget(uint64_t va, uint64_t len)
{
    tb_invalidate_phys_range(&cpu0, va_to_ram(va), va_to_ram(va + len - 1), 0);
    for (uint64_t page = va & PAGE_MASK; page < va + len; page += PAGE_SIZE) {
        struct PageDesc *pd = page_find(va_to_ram(page) >> PAGE_SHIFT);

        hosted_sample_written(page);
        if (pd && pd->is_protected) { /* left protected lazily: a write that hits nothing gives it back */
            bool hit;
            tb_invalidate_phys_page_fast(&cpu0, va_to_ram(page), 1, 0, &hit);
        }
    }
}

void hosted_native(bool on)
{
    if (on) {
        catch_signals();
        hosted_forget(HOSTED_LOW_BASE, HOSTED_WINDOW_SIZE);
        hosted_forget(HOSTED_FAR_BASE, HOSTED_WINDOW_SIZE);
    }
    protect_windows(PROT_READ | PROT_WRITE | (on ? PROT_EXEC : 0));
    native = on;
}

bool hosted_native_run(bool step, struct hosted_result *res)
{
    struct host_event ev;
    bool trap;

    host_run(&cpu0, cpu0.env.eip, step, &ev);
    cpu0.env.eip = ev.host_pc;
    trap = ev.kind == HOST_EV_EXIT;
    *res = (struct hosted_result){.vector = trap ? EXCP03_INT3 : ev.vector,
                                  .error_code = trap ? 0 : ev.error_code,
                                  .cr2 = trap ? 0 : ev.fault_addr};
    return ev.kind == HOST_EV_STEP;
}

void hosted_run_native(struct hosted_result *res)
{
    hosted_native(true);
    hosted_native_run(false, res);
    hosted_native(false);
}

void hosted_interrupt_every(unsigned n)
{
    irq_every = irq_left = n;
    irq_stuck = 0;
    irq_eip = 0;
    irq_pending = false;
}

void hosted_interrupts(unsigned us)
{
    struct itimerval it = {{0, us}, {0, us}};

    setitimer(ITIMER_REAL, &it, NULL);
    irq_pending = irq_pending && us;
}
