/* SPDX-License-Identifier: MIT */
/* Descriptor tables and trap dispatch of a payload. See trap.h. */
#include "tests/payloads/lib/trap.h"

#include "tests/payloads/lib/payload.h"

#define STACK_SIZE 16384

struct __attribute__((packed)) tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t iomap;
};
_Static_assert(sizeof(struct tss) == 104, "SDM 3A figure 8-11");

struct gate {
    uint16_t offset0, selector;
    uint8_t ist, type;
    uint16_t offset1;
    uint32_t offset2, reserved;
};

struct __attribute__((packed)) table_register {
    uint16_t limit;
    uint64_t base;
};

_Static_assert(offsetof(struct trap_frame, rip) == 18 * 8, "trap-entry.S");
_Static_assert(offsetof(struct cpu_state, rip) == 16 * 8, "trap-entry.S");
_Static_assert(offsetof(struct cpu_state, ss) == 19 * 8, "trap-entry.S");

/* The machine's descriptor tables; written by trap_init and the trap_set functions only. */
static uint64_t gdt[] = {
    0,
    0x00af9a000000ffff, /* SEL_KCODE */
    0x00cf92000000ffff, /* SEL_KDATA */
    0x00cffa000000ffff, /* SEL_UCODE32 */
    0x00cff2000000ffff, /* SEL_UDATA */
    0x00affa000000ffff, /* SEL_UCODE */
    0, 0,               /* SEL_TSS */
};
static struct gate idt[256] __attribute__((aligned(16)));
static struct tss tss;
static uint8_t stacks[3][STACK_SIZE] __attribute__((aligned(16))); /* rsp0, IST 1, IST 2 */

/* Dispatch state; one CPU, and traps do not nest while it is touched. */
static trap_fn *handlers[256];
static struct cpu_state *running;
static uint64_t last_sp;

extern const uint8_t trap_stubs[];
void cpu_run_enter(struct cpu_state *s);
_Noreturn void cpu_run_leave(void);
void reload_segments(void);
void trap_dispatch(struct trap_frame *f);

void trap_init(void)
{
    uint64_t base = (uint64_t)&tss;

    tss.rsp[0] = (uint64_t)stacks[0] + STACK_SIZE;
    tss.ist[0] = (uint64_t)stacks[1] + STACK_SIZE;
    tss.ist[1] = (uint64_t)stacks[2] + STACK_SIZE;
    tss.iomap = sizeof(tss);
    gdt[6] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    gdt[7] = base >> 32;
    for (unsigned v = 0; v < 256; v++) {
        uint64_t stub = (uint64_t)trap_stubs + v * 16;

        idt[v] = (struct gate){(uint16_t)stub, SEL_KCODE, 0, 0x8e, (uint16_t)(stub >> 16),
                               (uint32_t)(stub >> 32), 0};
    }
    trap_set_dpl(VEC_BP, 3);
    trap_set_dpl(0x80, 3);

    struct table_register gdtr = {sizeof(gdt) - 1, (uint64_t)gdt};
    struct table_register idtr = {sizeof(idt) - 1, (uint64_t)idt};

    __asm__ volatile("lgdt %0" : : "m"(gdtr));
    reload_segments();
    __asm__ volatile("lidt %0" : : "m"(idtr));
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

void trap_handler(unsigned vector, trap_fn *fn)
{
    handlers[vector] = fn;
}

void trap_set_ist(unsigned vector, unsigned ist)
{
    idt[vector].ist = (uint8_t)ist;
}

void trap_set_dpl(unsigned vector, unsigned dpl)
{
    idt[vector].type = (uint8_t)(0x8e | dpl << 5);
}

bool trap_on_stack(unsigned ist, uint64_t addr)
{
    return addr - (uint64_t)stacks[ist] < STACK_SIZE;
}

uint64_t trap_last_sp(void)
{
    return last_sp;
}

static void dump(const struct trap_frame *f, uint64_t cr2)
{
    printf("unexpected trap %lu error %lx rip %lx cs %lx rflags %lx rsp %lx ss %lx cr2 %lx\n",
           f->vector, f->error, f->rip, f->cs, f->rflags, f->rsp, f->ss, cr2);
    for (int i = 0; i < GPR_COUNT; i++) {
        printf("  r%d=%016lx%s", i, f->gpr[i], i % 4 == 3 ? "\n" : "");
    }
}

/* From trap-entry.S, for every vector. */
void trap_dispatch(struct trap_frame *f)
{
    uint64_t cr2 = read_cr2();
    struct cpu_state *s = running;

    f->gpr[RSP] = f->rsp;
    last_sp = (uint64_t)f;
    if (handlers[f->vector]) {
        handlers[f->vector](f);
        return;
    }
    if (!s) {
        dump(f, cr2);
        fatal("no handler for vector %lu", f->vector);
    }
    memcpy(s->gpr, f->gpr, sizeof(s->gpr));
    s->rip = f->rip;
    s->cs = f->cs;
    s->rflags = f->rflags;
    s->ss = f->ss;
    s->vector = f->vector;
    s->error = f->error;
    s->cr2 = cr2;
    running = NULL;
    cpu_run_leave();
}

void cpu_state_init(struct cpu_state *s, const void *code, uint64_t rsp, bool user)
{
    memset(s, 0, sizeof(*s));
    s->rip = (uint64_t)code;
    s->gpr[RSP] = rsp;
    s->cs = user ? SEL_UCODE : SEL_KCODE;
    s->ss = user ? SEL_UDATA : SEL_KDATA;
    s->rflags = FLAG_FIXED;
}

void cpu_run(struct cpu_state *s)
{
    if (running) {
        fatal("cpu_run is not re-entrant");
    }
    running = s;
    cpu_run_enter(s);
}

void syscall_enable(void (*entry)(void), uint64_t fmask)
{
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    wrmsr(MSR_STAR, (uint64_t)SEL_KCODE << 32 | (uint64_t)SEL_UCODE32 << 48);
    wrmsr(MSR_LSTAR, (uint64_t)entry);
    wrmsr(MSR_FMASK, fmask);
}
