/* SPDX-License-Identifier: MIT */
/* Descriptors, segment register caches and the instructions that move selectors. Code segments:
 * far.c, iret.c, int.c. */
#include "kernel/vcpu/internal.h"

/* The table that a selector indexes; an unloaded LDT has limit 0, which no descriptor fits. */
static const struct segment_cache *selector_table(const struct CPUState *cpu, uint16_t selector)
{
    return selector & 4 ? &cpu->env.ldt : &cpu->env.gdt;
}

enum desc_status load_segment(struct CPUState *cpu, uint16_t selector, struct desc *d)
{
    const struct segment_cache *dt = selector_table(cpu, selector);
    uint32_t index = selector & ~7u;
    uint32_t e[2];

    *d = (struct desc){.addr = dt->base + index};
    if (index + 7 > dt->limit) {
        return DESC_LIMIT;
    }
    if (system_load(cpu, d->addr, e, sizeof(e), SEL_ERR(selector))) {
        return DESC_RAISED;
    }
    d->e1 = e[0];
    d->e2 = e[1];
    return DESC_OK;
}

enum desc_status load_system_upper(struct CPUState *cpu, uint16_t selector, struct desc *d)
{
    const struct segment_cache *dt = selector_table(cpu, selector);
    uint32_t e[2];

    if ((selector & ~7u) + 15 > dt->limit) {
        return DESC_LIMIT;
    }
    if (system_load(cpu, d->addr + 8, e, sizeof(e), SEL_ERR(selector))) {
        return DESC_RAISED;
    }
    d->e3 = e[0];
    d->e4 = e[1];
    return DESC_OK;
}

int load_segment_gp(struct CPUState *cpu, uint16_t selector, unsigned ext, struct desc *d)
{
    switch (load_segment(cpu, selector, d)) {
    case DESC_OK:
        return 0;
    case DESC_LIMIT:
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(selector) | ext);
    default:
        return 1;
    }
}

int set_accessed(struct CPUState *cpu, struct desc *d)
{
    uint8_t byte;

    if (d->e2 & DESC_A_MASK) {
        return 0;
    }
    byte = (uint8_t)((d->e2 | DESC_A_MASK) >> 8);
    if (system_store(cpu, d->addr + 5, &byte, 1, 0)) {
        return 1;
    }
    d->e2 |= DESC_A_MASK;
    return 0;
}

void cpu_x86_load_seg_cache(struct CPUState *cpu, unsigned seg, uint16_t selector, uint64_t base,
                            uint32_t limit, uint32_t flags)
{
    cpu->env.segs[seg] = (struct segment_cache){selector, limit, flags & DESC_CACHE_MASK, base};
    vcpu_publish_selector(cpu, seg);
    if (seg == R_FS) {
        cpu_load_fs_base(cpu);
    } else if (seg == R_GS) {
        cpu_load_gs_base(cpu);
    }
}

void load_seg_desc(struct CPUState *cpu, unsigned seg, uint16_t selector, const struct desc *d)
{
    cpu_x86_load_seg_cache(cpu, seg, selector, desc_base32(d), desc_limit(d), d->e2);
}

void load_null_ss(struct CPUState *cpu, unsigned cpl)
{
    cpu_x86_load_seg_cache(cpu, R_SS, (uint16_t)cpl, 0, 0, cpl << DESC_DPL_SHIFT);
}

int tss_load_rsp(struct CPUState *cpu, unsigned offset, unsigned ext, uint64_t *rsp)
{
    const struct segment_cache *tr = &cpu->env.tr;

    if (offset + 7 > tr->limit) {
        return raise_fault(cpu, EXCP0A_TSS, SEL_ERR(tr->selector) | ext);
    }
    if (system_load(cpu, tr->base + offset, rsp, sizeof(*rsp), SEL_ERR(tr->selector) | ext)) {
        return 1;
    }
    return is_canonical(*rsp) ? 0 : raise_fault(cpu, EXCP0C_STACK, ext);
}

/* SDM vol. 2 MOV, "64-bit mode": SS may be null below CPL 3 if its RPL is the CPL. */
static int load_ss(struct CPUState *cpu, uint16_t selector)
{
    unsigned cpl = cpu->env.cpl;
    struct desc d;

    if (SEL_NULL(selector)) {
        if (cpl == 3 || SEL_RPL(selector) != cpl) {
            return raise_fault(cpu, EXCP0D_GPF, 0);
        }
        load_null_ss(cpu, cpl);
        return 0;
    }
    if (load_segment_gp(cpu, selector, 0, &d)) {
        return 1;
    }
    if (SEL_RPL(selector) != cpl || DESC_DPL(d.e2) != cpl || !(d.e2 & DESC_S_MASK) ||
        (d.e2 & DESC_CS_MASK) || !(d.e2 & DESC_W_MASK)) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(selector));
    }
    if (!(d.e2 & DESC_P_MASK)) {
        return raise_fault(cpu, EXCP0C_STACK, SEL_ERR(selector));
    }
    if (set_accessed(cpu, &d)) {
        return 1;
    }
    load_seg_desc(cpu, R_SS, selector, &d);
    return 0;
}

static int load_data_seg(struct CPUState *cpu, unsigned seg, uint16_t selector)
{
    struct desc d;
    bool conforming;

    if (SEL_NULL(selector)) {
        /* The base of FS and GS is cleared too, as on Intel CPUs. */
        cpu_x86_load_seg_cache(cpu, seg, selector, 0, 0, 0);
        return 0;
    }
    if (load_segment_gp(cpu, selector, 0, &d)) {
        return 1;
    }
    if (!(d.e2 & DESC_S_MASK) || (d.e2 & (DESC_CS_MASK | DESC_R_MASK)) == DESC_CS_MASK) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(selector));
    }
    conforming = desc_is_code(d.e2) && (d.e2 & DESC_C_MASK);
    if (!conforming && (SEL_RPL(selector) > DESC_DPL(d.e2) || cpu->env.cpl > DESC_DPL(d.e2))) {
        return raise_fault(cpu, EXCP0D_GPF, SEL_ERR(selector));
    }
    if (!(d.e2 & DESC_P_MASK)) {
        return raise_fault(cpu, EXCP0B_NOSEG, SEL_ERR(selector));
    }
    if (set_accessed(cpu, &d)) {
        return 1;
    }
    load_seg_desc(cpu, seg, selector, &d);
    return 0;
}

int load_sreg(struct CPUState *cpu, unsigned seg, uint16_t selector)
{
    return seg == R_SS ? load_ss(cpu, selector) : load_data_seg(cpu, seg, selector);
}

int sens_mov_from_sreg(struct CPUState *cpu, const struct insn *insn)
{
    unsigned seg = insn_reg3(insn);

    if (seg > R_GS) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    return operand_store_rm16(cpu, insn, cpu->env.segs[seg].selector);
}

int sens_mov_to_sreg(struct CPUState *cpu, const struct insn *insn)
{
    unsigned seg = insn_reg3(insn);
    uint16_t selector;

    if (seg > R_GS || seg == R_CS) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (operand_load16(cpu, insn, &selector) || load_sreg(cpu, seg, selector)) {
        return SENS_RAISED;
    }
    if (seg == R_SS) {
        cpu->env.inhibit_irq = INHIBIT_SS; /* SDM vol. 3 6.8.3 */
    }
    return SENS_NEXT;
}

/* push/pop fs (0F A0, 0F A1) and gs (0F A8, 0F A9) are the only forms in 64-bit mode. */
static unsigned stack_sreg(const struct insn *insn)
{
    return insn->opcode & 8 ? R_GS : R_FS;
}

int sens_push_sreg(struct CPUState *cpu, const struct insn *insn)
{
    uint64_t value = cpu->env.segs[stack_sreg(insn)].selector;

    return stack_push(cpu, &value, insn_osz64(insn));
}

int sens_pop_sreg(struct CPUState *cpu, const struct insn *insn)
{
    unsigned size = insn_osz64(insn);
    uint64_t value = 0;

    if (stack_peek(cpu, 0, &value, size) || load_sreg(cpu, stack_sreg(insn), (uint16_t)value)) {
        return SENS_RAISED;
    }
    cpu->env.regs[R_ESP] += size;
    return SENS_NEXT;
}

/* m16:16, m16:32, m16:64 */
static int load_far_pointer(struct CPUState *cpu, const struct insn *insn, unsigned seg)
{
    unsigned size = insn_osz(insn);
    uint8_t buf[10];
    uint64_t offset = 0;
    uint16_t selector;

    if (!insn->is_mem) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (operand_load(cpu, insn, buf, size + 2)) {
        return SENS_RAISED;
    }
    __builtin_memcpy(&offset, buf, size);
    __builtin_memcpy(&selector, buf + size, 2);
    if (load_sreg(cpu, seg, selector)) {
        return SENS_RAISED;
    }
    gpr_write(cpu, insn_reg4(insn), size, offset);
    return SENS_NEXT;
}

int sens_lss(struct CPUState *cpu, const struct insn *insn)
{
    return load_far_pointer(cpu, insn, R_SS);
}

int sens_lfs(struct CPUState *cpu, const struct insn *insn)
{
    return load_far_pointer(cpu, insn, R_FS);
}

int sens_lgs(struct CPUState *cpu, const struct insn *insn)
{
    return load_far_pointer(cpu, insn, R_GS);
}
