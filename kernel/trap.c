/* SPDX-License-Identifier: MIT */
/* The IDT and the policy of ring-0 traps, in a fixed order: host interrupt, NMI, exception table,
 * panic. */
#include "kernel/trap.h"

#include "kernel/irq.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/nmi-samples.h"
#include "kernel/panic.h"
#include "kernel/percpu.h"

/* SDM 3A 6.14.1, figure 6-8 */
struct idt_gate {
    uint16_t offset_0;
    uint16_t selector;
    uint8_t ist;
    uint8_t type; /* P, DPL, type */
    uint16_t offset_16;
    uint32_t offset_32;
    uint32_t reserved;
};
_Static_assert(sizeof(struct idt_gate) == 16, "SDM 3A 6.14.1");
#define GATE_INTERRUPT 0x8e /* present, DPL 0, clears IF */
#define GATE_DPL3      0x60

extern const char trap_stubs[], trap_stubs_last[]; /* trap-entry.S */

/* Shared by all CPUs, constant after trap_init(). */
static struct idt_gate idt[256];

/* Written by NMI handlers only. */
uint64_t nmi_count;

static void set_gate(unsigned vector, uint8_t ist, uint8_t dpl)
{
    uintptr_t stub = (uintptr_t)trap_stubs + vector * TRAP_STUB_SIZE;

    idt[vector] = (struct idt_gate){
        .offset_0 = (uint16_t)stub,
        .selector = SEL_KERNEL_CS,
        .ist = ist,
        .type = GATE_INTERRUPT | dpl,
        .offset_16 = (uint16_t)(stub >> 16),
        .offset_32 = (uint32_t)(stub >> 32),
    };
}

void trap_init(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) idtr = {sizeof(idt) - 1, (uintptr_t)idt};

    ASSERT(trap_stubs_last - trap_stubs == 256 * TRAP_STUB_SIZE);
    for (unsigned v = 0; v < 256; v++) {
        set_gate(v, 0, 0);
    }
    set_gate(TRAP_NMI, IST_NMI, 0);
    set_gate(TRAP_DF, IST_DF, 0);
    set_gate(TRAP_MC, IST_MC, 0);
    set_gate(TRAP_BP, 0,
             GATE_DPL3); /* exit stubs may use int3; all other `int n` of ring 3 is #GP */
    __asm__ volatile("lidt %0" : : "m"(idtr));
}

const char *trap_name(unsigned vector)
{
    static const char names[][4] = {
        "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9?",  "#TS",
        "#NP", "#SS", "#GP", "#PF", "15?", "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
    };

    if (vector < ARRAY_SIZE(names)) {
        return names[vector];
    }
    return vector < TRAP_IRQ_FIRST ? "reserved" : "irq";
}

/* --- the exception table: instructions that may fault, and where to go on --- */

/* Offsets from the entry's own two words, so that the table needs no relocation. */
struct extable_entry {
    int32_t insn;
    int32_t fixup;
};
extern const struct extable_entry extable_start[], extable_end[];

/* One row. The fixup finds rax = -EFAULT. */
#define EXTABLE(insn, fixup)                                                                       \
    ".pushsection .extable, \"a\"\n .balign 4\n .long " insn " - ., " fixup " - .\n .popsection\n"

static bool fixup_exception(struct trap_frame *f)
{
    if (f->vector != TRAP_GP && f->vector != TRAP_PF) {
        return false;
    }
    for (const struct extable_entry *e = extable_start; e < extable_end; e++) {
        if ((uintptr_t)&e->insn + (uintptr_t)(intptr_t)e->insn == f->rip) {
            f->rip = (uintptr_t)&e->fixup + (uintptr_t)(intptr_t)e->fixup;
            f->gpr[0] = (uint64_t)-EFAULT;
            return true;
        }
    }
    return false;
}

int peek64(uint64_t va, uint64_t *value)
{
    int64_t err = 0;
    uint64_t v = 0;

    __asm__ volatile("1: mov (%2), %1\n"
                     "2:\n" EXTABLE("1b", "2b")
                     : "+a"(err), "+r"(v)
                     : "r"(va)
                     : "memory");
    *value = v;
    return (int)err;
}

void trap_dispatch(struct trap_frame *f)
{
    if (f->vector >= TRAP_IRQ_FIRST) { /* only in cpu_idle() are interrupts on in ring 0 */
        host_irq((unsigned)f->vector);
        return;
    }
    if (f->vector == TRAP_NMI) {
        nmi_count++;
        nmi_sample(f->rip, (f->cs & 3) != 0);
        return;
    }
    if ((f->cs & 3) == 0 && fixup_exception(f)) {
        return;
    }
    panic_trap(f);
}
