/* SPDX-License-Identifier: MIT */
/*
 * Delivery of exceptions and interrupts through the guest's 64-bit IDT (SDM vol. 3 6.14), and the
 * instructions that ask for it. Nothing of env changes before the whole frame is on the new stack.
 *
 *      SS        +40 (+32 without an error code)
 *      RSP
 *      RFLAGS
 *      CS
 *      RIP
 *      error     <- new RSP; only vectors 8, 10-14, 17 as exceptions
 */
#include "kernel/vcpu/internal.h"

#include "kernel/lib/log.h"

#define ERR_EXT 1u /* error code: raised while an event external to the program was delivered */
#define ERR_IDT 2u /* error code: the index is a vector */

enum event_kind { EVENT_EXCEPTION, EVENT_SOFT, EVENT_ICEBP, EVENT_HARD };

struct event {
    int vector;
    enum event_kind kind;
    uint64_t error_code;
    uint64_t return_rip;
};

/* A gate that passed its checks, and where it leads. */
struct gate_target {
    uint64_t rip;
    uint16_t selector; /* RPL replaced by the new CPL */
    uint8_t cpl;
    uint8_t ist;
    bool clear_if;
    struct desc cs;
};

static unsigned event_ext(const struct event *ev)
{
    return ev->kind == EVENT_SOFT ? 0 : ERR_EXT;
}

static bool event_has_error_code(const struct event *ev)
{
    switch (ev->vector) {
    case EXCP08_DBLE:
    case EXCP0A_TSS:
    case EXCP0B_NOSEG:
    case EXCP0C_STACK:
    case EXCP0D_GPF:
    case EXCP0E_PAGE:
    case EXCP11_ALGN:
        return ev->kind == EVENT_EXCEPTION;
    default:
        return false;
    }
}

/* Faults push RF = 1, so that an instruction breakpoint does not fire again; traps, aborts and
 * interrupts do not. */
static bool event_sets_rf(const struct event *ev)
{
    switch (ev->vector) {
    case EXCP01_DB:
    case EXCP02_NMI:
    case EXCP03_INT3:
    case EXCP04_INTO:
    case EXCP08_DBLE:
    case EXCP12_MCHK:
        return false;
    default:
        return ev->kind == EVENT_EXCEPTION;
    }
}

/* The new code segment: 64-bit code at CPL or more privileged. */
static int check_gate_cs(struct CPUState *cpu, uint16_t selector, unsigned ext,
                         struct gate_target *t)
{
    unsigned dpl;

    if (SEL_NULL(selector)) {
        return raise_fault(cpu, EXCP0D_GPF, ext);
    }
    if (load_segment_gp(cpu, selector, ext, &t->cs)) {
        return 1;
    }
    dpl = DESC_DPL(t->cs.e2);
    if (!desc_is_code(t->cs.e2) || dpl > cpu->env.cpl) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(selector) | ext);
    }
    if (!(t->cs.e2 & DESC_P_MASK)) {
        return raise_fault(cpu, EXCP0B_NOSEG, SEL_ERR(selector) | ext);
    }
    if (!desc_is_code64(t->cs.e2)) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(selector) | ext);
    }
    t->cpl = t->cs.e2 & DESC_C_MASK ? cpu->env.cpl : (uint8_t)dpl;
    t->selector = (uint16_t)((selector & ~3u) | t->cpl);
    return 0;
}

static int load_gate(struct CPUState *cpu, const struct event *ev, struct gate_target *t)
{
    const struct segment_cache *idt = &cpu->env.idt;
    unsigned ext = event_ext(ev), type;
    uint64_t err = (uint64_t)ev->vector * 8 + ERR_IDT + ext;
    uint32_t e[4];

    if ((unsigned)ev->vector * 16 + 15 > idt->limit) {
        return raise_fault(cpu, EXCP0D_GPF, err);
    }
    if (system_load(cpu, idt->base + (unsigned)ev->vector * 16, e, sizeof(e), err)) {
        return 1;
    }
    type = DESC_TYPE(e[1]);
    if ((e[1] & DESC_S_MASK) || (type != SYS_INT_GATE && type != SYS_TRAP_GATE)) {
        return raise_fault(cpu, EXCP0D_GPF, err);
    }
    if (ev->kind == EVENT_SOFT && DESC_DPL(e[1]) < cpu->env.cpl) {
        return raise_fault(cpu, EXCP0D_GPF, err);
    }
    if (!(e[1] & DESC_P_MASK)) {
        return raise_fault(cpu, EXCP0B_NOSEG, err);
    }
    t->rip = (uint64_t)e[2] << 32 | (e[1] & 0xffff0000u) | (e[0] & 0xffff);
    t->ist = e[1] & 7;
    t->clear_if = type == SYS_INT_GATE;
    return check_gate_cs(cpu, (uint16_t)(e[0] >> 16), ext, t);
}

/* Top of the stack for the frame, aligned. */
static int gate_stack(struct CPUState *cpu, const struct gate_target *t, unsigned ext,
                      uint64_t *rsp)
{
    *rsp = cpu->env.regs[R_ESP];
    if (t->ist) {
        if (tss_load_rsp(cpu, TSS_IST(t->ist), ext, rsp)) {
            return 1;
        }
    } else if (t->cpl < cpu->env.cpl) {
        if (tss_load_rsp(cpu, TSS_RSP(t->cpl), ext, rsp)) {
            return 1;
        }
    }
    *rsp &= ~15ull;
    return 0;
}

/* Bytes [from, from + len) of a frame, all in one page. CR2 of a fault is that of the first push that falls into the page, which
 * is the highest one: the order in SDM vol. 2, INT n, "Operation". */
static int push_part(struct CPUState *cpu, uint64_t from, const uint8_t *bytes, uint64_t len, bool user)
{
    if (!cpu_stub(cpu, from, bytes, (unsigned)len, user)) {
        return 0;
    }
    if (cpu->exception_index == EXCP0E_PAGE) {
        cpu->env.cr[2] = from + len - 8;
    }
    return 1;
}

/* Write the frame, the upper page first, as pushes do. */
static int push_frame(struct CPUState *cpu, uint64_t rsp, const uint64_t *frame, unsigned len,
                      bool user)
{
    const uint8_t *bytes = (const uint8_t *)frame;
    uint64_t low = MIN((uint64_t)len, PAGE_SIZE - (rsp & ~PAGE_MASK));

    if (low < len && push_part(cpu, rsp + low, bytes + low, len - low, user)) {
        return 1;
    }
    return push_part(cpu, rsp, bytes, low, user);
}

static void enter_gate(struct CPUState *cpu, const struct event *ev, const struct gate_target *t,
                       uint64_t rsp)
{
    struct CPUX86State *env = &cpu->env;

    if (t->cpl != env->cpl) {
        env->cpl = t->cpl;
        load_null_ss(cpu, t->cpl);
    }
    load_seg_desc(cpu, R_CS, t->selector, &t->cs);
    env->regs[R_ESP] = rsp;
    env->eip = t->rip;
    env->eflags &= ~(uint64_t)(TF_MASK | NT_MASK | RF_MASK | VM_MASK);
    if (t->clear_if) {
        env->eflags &= ~(uint64_t)IF_MASK;
    }
    env->inhibit_irq = 0;
    if (ev->vector == EXCP01_DB && ev->kind != EVENT_SOFT) {
        env->dr[7] &= ~(uint64_t)DR7_GD; /* SDM vol. 3 17.2.4 */
    }
}

/* One attempt. 0, or 1 with the exception that it met. */
static int deliver(struct CPUState *cpu, const struct event *ev)
{
    const struct CPUX86State *env = &cpu->env;
    unsigned ext = event_ext(ev), n = 0;
    struct gate_target t = {0};
    uint64_t frame[6], rsp;

    if (load_gate(cpu, ev, &t) || gate_stack(cpu, &t, ext, &rsp)) {
        return 1;
    }
    if (!is_canonical(t.rip)) {
        return raise_fault(cpu, EXCP0D_GPF, ext);
    }
    if (event_has_error_code(ev)) {
        frame[n++] = ev->error_code;
    }
    frame[n++] = ev->return_rip;
    frame[n++] = env->segs[R_CS].selector;
    frame[n++] = env->eflags | (event_sets_rf(ev) ? RF_MASK : 0);
    frame[n++] = env->regs[R_ESP];
    frame[n++] = env->segs[R_SS].selector;
    rsp -= n * 8;
    if (!is_canonical_range(rsp, n * 8)) {
        return raise_fault(cpu, EXCP0C_STACK, ext);
    }
    if (push_frame(cpu, rsp, frame, n * 8, t.cpl == 3) || set_accessed(cpu, &t.cs)) {
        return 1;
    }
    enter_gate(cpu, ev, &t, rsp);
    return 0;
}

/* The event to deliver after `ev` met the exception in cpu. False: triple fault. */
static bool next_event(const struct CPUState *cpu, struct event *ev)
{
    int first = ev->kind == EVENT_EXCEPTION ? ev->vector : EXCP_NONE;
    int vector = check_exception(first, cpu->exception_index);

    if (vector < 0) {
        return false;
    }
    ev->error_code = vector == cpu->exception_index ? cpu->error_code : 0;
    ev->vector = vector;
    ev->kind = EVENT_EXCEPTION;
    ev->return_rip = cpu->env.eip;
    return true;
}

static void triple_fault(struct CPUState *cpu, const struct event *origin, const struct event *ev)
{
    cpu_end_run(cpu, CPU_EXIT_TRIPLE_FAULT,
                "%s (vector %d) while delivering %s; it began with %s (vector %d, error %#lx), cr2 %#lx",
                exception_name(cpu->exception_index), cpu->exception_index,
                exception_name(ev->vector),
                origin->kind == EVENT_EXCEPTION ? exception_name(origin->vector) : "int",
                origin->vector, origin->error_code, cpu->env.cr[2]);
}

/* Deliver, with the double-fault rules. A chain is at most benign, contributory, #PF, #DF long; the
 * bound is for environments that raise benign vectors from memory accesses. */
#define MAX_CHAIN 6
static void deliver_event(struct CPUState *cpu, struct event ev)
{
    const struct event origin = ev;

    for (unsigned depth = 0; depth < MAX_CHAIN; depth++) {
        LOG(INT, "vector %#x %s kind %d error %#lx rip %#lx rsp %#lx cpl %d cr2 %#lx",
            (unsigned)ev.vector, exception_name(ev.vector), (int)ev.kind, ev.error_code,
            ev.return_rip, cpu->env.regs[R_ESP], cpu->env.cpl, cpu->env.cr[2]);
        cpu->old_exception = ev.vector;
        cpu->exception_index = EXCP_NONE;
        cpu->exception_is_int = false;
        if (!deliver(cpu, &ev)) {
            cpu->old_exception = EXCP_NONE;
            return;
        }
        if (cpu->exit_request != CPU_RUNNING) {
            cpu->exception_index = EXCP_EXIT;
            cpu->old_exception = EXCP_NONE;
            return;
        }
        if (!next_event(cpu, &ev)) {
            break;
        }
    }
    triple_fault(cpu, &origin, &ev);
    cpu->old_exception = EXCP_NONE;
}

void do_interrupt(struct CPUState *cpu)
{
    struct event ev = {
        .vector = cpu->exception_index,
        .error_code = cpu->error_code,
        .return_rip = cpu->env.eip,
    };

    if (ev.vector < 0 || ev.vector > 255) {
        return; /* EXCP_HALTED, EXCP_EXIT: nothing to deliver */
    }
    if (cpu->exception_is_int) {
        ev.kind = cpu->error_code == SOFT_INT_ICEBP ? EVENT_ICEBP : EVENT_SOFT;
        ev.error_code = 0;
        ev.return_rip = cpu->exception_next_eip;
    }
    deliver_event(cpu, ev);
    vcpu_publish_cr2(cpu);
}

void do_interrupt_hard(struct CPUState *cpu, int vector)
{
    deliver_event(cpu, (struct event){
                           .vector = vector & 255, .kind = EVENT_HARD, .return_rip = cpu->env.eip});
    vcpu_publish_cr2(cpu);
}

static int raise_interrupt(struct CPUState *cpu, const struct insn *insn, int vector, unsigned kind)
{
    cpu->exception_index = vector;
    cpu->error_code = kind;
    cpu->exception_is_int = true;
    cpu->exception_next_eip = insn_next(cpu, insn);
    return SENS_RAISED;
}

int sens_int3(struct CPUState *cpu, const struct insn *insn)
{
    return raise_interrupt(cpu, insn, EXCP03_INT3, SOFT_INT_N);
}

int sens_int1(struct CPUState *cpu, const struct insn *insn)
{
    return raise_interrupt(cpu, insn, EXCP01_DB, SOFT_INT_ICEBP);
}

int sens_int_n(struct CPUState *cpu, const struct insn *insn)
{
    return raise_interrupt(cpu, insn, (int)(insn->imm & 0xff), SOFT_INT_N);
}

int sens_hlt(struct CPUState *cpu, const struct insn *insn)
{
    if (require_cpl0(cpu)) {
        return SENS_RAISED;
    }
    if (!(cpu->env.eflags & IF_MASK)) {
        return cpu_end_run(cpu, CPU_EXIT_HALTED, "hlt with interrupts off");
    }
    cpu->env.eip = insn_next(cpu, insn);
    cpu->exception_index = EXCP_HALTED;
    return SENS_RAISED;
}
