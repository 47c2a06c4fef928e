/* SPDX-License-Identifier: MIT */
/* iret and far ret in 64-bit mode, to the same and to outer privilege levels (SDM vol. 2 IRET,
 * RET). */
#include "kernel/vcpu/internal.h"

/* Where a return goes: values popped, checked by check_return_*(). */
struct far_return {
    uint64_t rip, rsp;
    uint16_t cs, ss;
    struct desc cs_desc, ss_desc; /* ss_desc only if ss is not null */
    bool loads_ss;
};

static uint64_t frame_slot(const uint8_t *frame, unsigned n, unsigned size)
{
    uint64_t value = 0;

    __builtin_memcpy(&value, frame + n * size, size);
    return value;
}

static int check_return_cs(struct CPUState *cpu, struct far_return *r, const char *what)
{
    unsigned rpl = SEL_RPL(r->cs), dpl;

    if (SEL_NULL(r->cs)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (load_segment_gp(cpu, r->cs, 0, &r->cs_desc)) {
        return 1;
    }
    dpl = DESC_DPL(r->cs_desc.e2);
    if (!desc_is_code(r->cs_desc.e2) || rpl < cpu->env.cpl ||
        (r->cs_desc.e2 & DESC_C_MASK ? dpl > rpl : dpl != rpl)) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(r->cs));
    }
    if (!(r->cs_desc.e2 & DESC_P_MASK)) {
        return raise_fault(cpu, EXCP0B_NOSEG, SEL_ERR(r->cs));
    }
    if (!(r->cs_desc.e2 & DESC_L_MASK)) {
        return refuse_cs32(cpu, what, r->cs, rpl);
    }
    if (r->cs_desc.e2 & DESC_B_MASK) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(r->cs)); /* L and D both set is reserved */
    }
    return 0;
}

/* rip outside of the code segment: not canonical, or beyond the limit of one that is not 64-bit. */
static int check_return_rip(struct CPUState *cpu, struct far_return *r)
{
    bool code64 = r->cs_desc.e2 & DESC_L_MASK;

    if (!code64) {
        r->rip = (uint32_t)r->rip;
    }
    if (code64 ? !is_canonical(r->rip) : r->rip > desc_limit(&r->cs_desc)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    return 0;
}

static int check_return_ss(struct CPUState *cpu, struct far_return *r)
{
    unsigned rpl = SEL_RPL(r->cs);

    if (SEL_NULL(r->ss)) {
        return rpl == 3 || SEL_RPL(r->ss) != rpl ? raise_fault(cpu, EXCP0D_GPF, 0) : 0;
    }
    if (load_segment_gp(cpu, r->ss, 0, &r->ss_desc)) {
        return 1;
    }
    if (SEL_RPL(r->ss) != rpl || !(r->ss_desc.e2 & DESC_S_MASK) || (r->ss_desc.e2 & DESC_CS_MASK) ||
        !(r->ss_desc.e2 & DESC_W_MASK) || DESC_DPL(r->ss_desc.e2) != rpl) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(r->ss));
    }
    if (!(r->ss_desc.e2 & DESC_P_MASK)) {
        return raise_fault(cpu, EXCP0C_STACK, SEL_ERR(r->ss));
    }
    return 0;
}

/* Data segments that the outer level may not use become null. Null ones keep their hidden base (FS,
 * GS). */
static void validate_seg(struct CPUState *cpu, unsigned seg)
{
    const struct segment_cache *sc = &cpu->env.segs[seg];
    bool conforming = desc_is_code(sc->flags) && (sc->flags & DESC_C_MASK);

    if (!SEL_NULL(sc->selector) && !conforming && DESC_DPL(sc->flags) < cpu->env.cpl) {
        cpu_x86_load_seg_cache(cpu, seg, 0, 0, 0, 0);
    }
}

/* Accessed bits may fault; after them nothing can. */
static int commit_return(struct CPUState *cpu, struct far_return *r)
{
    struct CPUX86State *env = &cpu->env;
    uint8_t old_cpl = env->cpl;

    if (set_accessed(cpu, &r->cs_desc)) {
        return 1;
    }
    if (r->loads_ss && !SEL_NULL(r->ss) && set_accessed(cpu, &r->ss_desc)) {
        return 1;
    }
    env->cpl = (uint8_t)SEL_RPL(r->cs);
    env->eip = r->rip;
    env->regs[R_ESP] = r->rsp;
    load_seg_desc(cpu, R_CS, r->cs, &r->cs_desc);
    if (r->loads_ss) {
        if (SEL_NULL(r->ss)) {
            load_null_ss(cpu, env->cpl);
        } else {
            load_seg_desc(cpu, R_SS, r->ss, &r->ss_desc);
        }
    }
    if (env->cpl > old_cpl) {
        validate_seg(cpu, R_ES);
        validate_seg(cpu, R_DS);
        validate_seg(cpu, R_FS);
        validate_seg(cpu, R_GS);
    }
    return 0;
}

/* RF is kept only while there is a breakpoint, because nothing else reads it and an instruction with
 * RF set runs alone. */
static void load_iret_flags(struct CPUState *cpu, uint64_t image, unsigned size, unsigned old_cpl)
{
    struct CPUX86State *env = &cpu->env;
    uint64_t writable = CC_ALL | TF_MASK | DF_MASK | NT_MASK;

    if (size > 2) {
        writable |= AC_MASK | ID_MASK | (cpu->debug.nr_bp ? RF_MASK : 0);
    }
    if (old_cpl <= cpu_iopl(cpu)) {
        writable |= IF_MASK;
    }
    if (old_cpl == 0) {
        writable |= IOPL_MASK;
    }
    env->eflags = (env->eflags & ~(writable | RF_MASK)) | (image & writable);
}

int sens_iret(struct CPUState *cpu, const struct insn *insn)
{
    struct far_return r = {.loads_ss = true};
    unsigned size = insn_osz(insn), old_cpl = cpu->env.cpl;
    uint64_t flags;
    uint8_t frame[5 * 8];

    if (cpu->env.eflags & NT_MASK) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (stack_peek(cpu, 0, frame, 5 * size)) {
        return SENS_RAISED;
    }
    r.rip = frame_slot(frame, 0, size);
    r.cs = (uint16_t)frame_slot(frame, 1, size);
    flags = frame_slot(frame, 2, size);
    r.rsp = frame_slot(frame, 3, size);
    r.ss = (uint16_t)frame_slot(frame, 4, size);
    if (check_return_cs(cpu, &r, "iret") || check_return_ss(cpu, &r)) {
        return SENS_RAISED;
    }
    if (check_return_rip(cpu, &r) || commit_return(cpu, &r)) {
        return SENS_RAISED;
    }
    load_iret_flags(cpu, flags, size, old_cpl);
    return r.cs_desc.e2 & DESC_L_MASK ? SENS_JUMPED : entered_cs32(cpu, "iret");
}

/* RSP and SS of an outer return lie behind the bytes that `ret imm16` releases. */
static int pop_outer_stack(struct CPUState *cpu, struct far_return *r, unsigned size,
                           unsigned release)
{
    uint8_t frame[2 * 8];

    if (stack_peek(cpu, 2 * size + release, frame, 2 * size)) {
        return 1;
    }
    r->rsp = frame_slot(frame, 0, size) + release;
    r->ss = (uint16_t)frame_slot(frame, 1, size);
    r->loads_ss = true;
    return check_return_ss(cpu, r);
}

int sens_retf(struct CPUState *cpu, const struct insn *insn)
{
    unsigned size = insn_osz(insn);
    unsigned release = insn->imm_size ? (unsigned)(insn->imm & 0xffff) : 0;
    struct far_return r = {.rsp = cpu->env.regs[R_ESP] + 2 * size + release};
    uint8_t frame[2 * 8];

    if (stack_peek(cpu, 0, frame, 2 * size)) {
        return SENS_RAISED;
    }
    r.rip = frame_slot(frame, 0, size);
    r.cs = (uint16_t)frame_slot(frame, 1, size);
    if (check_return_cs(cpu, &r, "far ret")) {
        return SENS_RAISED;
    }
    if (SEL_RPL(r.cs) > cpu->env.cpl && pop_outer_stack(cpu, &r, size, release)) {
        return SENS_RAISED;
    }
    if (check_return_rip(cpu, &r) || commit_return(cpu, &r)) {
        return SENS_RAISED;
    }
    return r.cs_desc.e2 & DESC_L_MASK ? SENS_JUMPED : entered_cs32(cpu, "far ret");
}
