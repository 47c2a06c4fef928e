/* SPDX-License-Identifier: MIT */
/* Far call and jmp through memory, to code segments and 64-bit call gates (SDM vol. 2 CALL, JMP;
 * vol. 3 5.8.3.1). */
#include "kernel/vcpu/internal.h"

struct far_target {
    uint64_t rip;
    uint16_t selector; /* of the code segment, RPL still as given */
    uint8_t cpl;       /* after the transfer */
    bool gate;
    struct desc cs;
};

static int load_far_operand(struct CPUState *cpu, const struct insn *insn, struct far_target *t)
{
    unsigned size = insn_osz(insn);
    uint8_t buf[10];

    if (!insn->is_mem) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (operand_load(cpu, insn, buf, size + 2)) {
        return 1;
    }
    __builtin_memcpy(&t->rip, buf, size);
    __builtin_memcpy(&t->selector, buf + size, 2);
    return 0;
}

/* A code segment named directly: the privilege level stays. */
static int check_direct(struct CPUState *cpu, struct far_target *t, const char *what)
{
    unsigned dpl = DESC_DPL(t->cs.e2), cpl = cpu->env.cpl;
    bool ok = t->cs.e2 & DESC_C_MASK ? dpl <= cpl : SEL_RPL(t->selector) <= cpl && dpl == cpl;

    if (!ok) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(t->selector));
    }
    if (!(t->cs.e2 & DESC_P_MASK)) {
        return raise_fault(cpu, EXCP0B_NOSEG, SEL_ERR(t->selector));
    }
    if (!(t->cs.e2 & DESC_L_MASK)) {
        if (refuse_cs32(cpu, what, t->selector, cpl)) {
            return 1;
        }
        t->rip = (uint32_t)t->rip;
        if (t->rip > desc_limit(&t->cs)) {
            return raise_fault(cpu, EXCP0D_GPF, 0);
        }
    } else if (t->cs.e2 & DESC_B_MASK) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(t->selector));
    }
    t->cpl = (uint8_t)cpl;
    return 0;
}

/* The code segment behind a call gate. Only calls may go inwards. */
static int check_gate_target(struct CPUState *cpu, struct far_target *t, bool call)
{
    unsigned dpl, cpl = cpu->env.cpl;
    bool conforming;

    if (SEL_NULL(t->selector)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (load_segment_gp(cpu, t->selector, 0, &t->cs)) {
        return 1;
    }
    dpl = DESC_DPL(t->cs.e2);
    conforming = t->cs.e2 & DESC_C_MASK;
    if (!desc_is_code(t->cs.e2) || dpl > cpl || (!call && !conforming && dpl != cpl) ||
        !desc_is_code64(t->cs.e2)) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(t->selector));
    }
    if (!(t->cs.e2 & DESC_P_MASK)) {
        return raise_fault(cpu, EXCP0B_NOSEG, SEL_ERR(t->selector));
    }
    t->cpl = (uint8_t)(conforming ? cpl : dpl);
    return 0;
}

static int follow_gate(struct CPUState *cpu, struct far_target *t, bool call)
{
    struct desc gate = t->cs;
    uint16_t sel = t->selector;

    if (DESC_TYPE(gate.e2) != SYS_CALL_GATE || DESC_DPL(gate.e2) < cpu->env.cpl ||
        DESC_DPL(gate.e2) < SEL_RPL(sel)) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(sel));
    }
    if (!(gate.e2 & DESC_P_MASK)) {
        return raise_fault(cpu, EXCP0B_NOSEG, SEL_ERR(sel));
    }
    switch (load_system_upper(cpu, sel, &gate)) {
    case DESC_LIMIT:
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(sel));
    case DESC_RAISED:
        return 1;
    case DESC_OK:
        break;
    }
    if ((gate.e4 >> 8) & 0x1f) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(sel));
    }
    t->gate = true;
    t->rip = (uint64_t)gate.e3 << 32 | (gate.e2 & 0xffff0000u) | (gate.e1 & 0xffff);
    t->selector = (uint16_t)(gate.e1 >> 16);
    return check_gate_target(cpu, t, call);
}

static int resolve(struct CPUState *cpu, const struct insn *insn, struct far_target *t, bool call)
{
    if (load_far_operand(cpu, insn, t)) {
        return 1;
    }
    if (SEL_NULL(t->selector)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (load_segment_gp(cpu, t->selector, 0, &t->cs)) {
        return 1;
    }
    if (t->cs.e2 & DESC_S_MASK) {
        if (!desc_is_code(t->cs.e2)) {
            return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(t->selector));
        }
        if (check_direct(cpu, t, call ? "far call" : "far jmp")) {
            return 1;
        }
    } else if (follow_gate(cpu, t, call)) {
        return 1;
    }
    return is_canonical(t->rip) ? 0 : raise_fault(cpu, EXCP0D_GPF, 0);
}

static int enter_target(struct CPUState *cpu, const struct far_target *t, const char *what)
{
    cpu->env.cpl = t->cpl;
    load_seg_desc(cpu, R_CS, (uint16_t)((t->selector & ~3u) | t->cpl), &t->cs);
    cpu->env.eip = t->rip;
    return t->cs.e2 & DESC_L_MASK ? SENS_JUMPED : entered_cs32(cpu, what);
}

int sens_jmp_far(struct CPUState *cpu, const struct insn *insn)
{
    struct far_target t = {0};

    if (resolve(cpu, insn, &t, false) || set_accessed(cpu, &t.cs)) {
        return SENS_RAISED;
    }
    return enter_target(cpu, &t, "far jmp");
}

/* Through a gate to an inner level: the TSS's stack gets SS, RSP, CS, RIP; SS becomes null. */
static int call_inner(struct CPUState *cpu, struct far_target *t, uint64_t return_rip)
{
    const struct CPUX86State *env = &cpu->env;
    uint64_t frame[4] = {return_rip, env->segs[R_CS].selector, env->regs[R_ESP],
                         env->segs[R_SS].selector};
    uint64_t rsp;

    if (tss_load_rsp(cpu, TSS_RSP(t->cpl), 0, &rsp)) {
        return 1;
    }
    rsp -= sizeof(frame);
    if (!is_canonical_range(rsp, sizeof(frame))) {
        return raise_fault(cpu, EXCP0C_STACK, 0);
    }
    if (cpu_stub(cpu, rsp, frame, sizeof(frame), false)) {
        return 1;
    }
    cpu->env.regs[R_ESP] = rsp;
    cpu->env.cpl = t->cpl;
    load_null_ss(cpu, t->cpl);
    return 0;
}

static int call_same(struct CPUState *cpu, const struct far_target *t, uint64_t return_rip,
                     unsigned size)
{
    uint64_t cs = cpu->env.segs[R_CS].selector;
    uint8_t frame[2 * 8];

    __builtin_memcpy(frame, &return_rip, size);
    __builtin_memcpy(frame + size, &cs, size);
    return stack_push(cpu, frame, 2 * size);
}

int sens_call_far(struct CPUState *cpu, const struct insn *insn)
{
    struct far_target t = {0};
    uint64_t next = insn_next(cpu, insn);
    int raised;

    if (resolve(cpu, insn, &t, true) || set_accessed(cpu, &t.cs)) {
        return SENS_RAISED;
    }
    if (t.cpl < cpu->env.cpl) {
        raised = call_inner(cpu, &t, next);
    } else {
        raised = call_same(cpu, &t, next, t.gate ? 8 : insn_osz(insn));
    }
    if (raised) {
        return SENS_RAISED;
    }
    return enter_target(cpu, &t, "far call");
}
