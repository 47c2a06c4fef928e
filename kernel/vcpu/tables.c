/* SPDX-License-Identifier: MIT */
/* GDTR, IDTR, LDTR and TR: sgdt sidt sldt str lgdt lidt lldt ltr, in their 64-bit forms. */
#include "kernel/vcpu/internal.h"

/* CR4.UMIP forbids the storing forms (and smsw) at CPL > 0. */
static int check_umip(struct CPUState *cpu)
{
    return cpu->env.cpl && (cpu->env.cr[4] & CR4_UMIP_MASK) ? raise_fault(cpu, EXCP0D_GPF, 0) : 0;
}

static int store_table(struct CPUState *cpu, const struct insn *insn,
                       const struct segment_cache *dt)
{
    uint16_t limit = (uint16_t)dt->limit;
    uint8_t buf[10];

    if (!insn->is_mem) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    __builtin_memcpy(buf, &limit, 2);
    __builtin_memcpy(buf + 2, &dt->base, 8);
    return check_umip(cpu) || operand_store(cpu, insn, buf, sizeof(buf));
}

int sens_sgdt(struct CPUState *cpu, const struct insn *insn)
{
    return store_table(cpu, insn, &cpu->env.gdt);
}

int sens_sidt(struct CPUState *cpu, const struct insn *insn)
{
    return store_table(cpu, insn, &cpu->env.idt);
}

int sens_sldt(struct CPUState *cpu, const struct insn *insn)
{
    return check_umip(cpu) || operand_store_rm16(cpu, insn, cpu->env.ldt.selector);
}

int sens_str(struct CPUState *cpu, const struct insn *insn)
{
    return check_umip(cpu) || operand_store_rm16(cpu, insn, cpu->env.tr.selector);
}

int sens_smsw(struct CPUState *cpu, const struct insn *insn)
{
    return check_umip(cpu) || operand_store_rm16(cpu, insn, cpu->env.cr[0]);
}

static int load_table(struct CPUState *cpu, const struct insn *insn, struct segment_cache *dt)
{
    uint16_t limit;
    uint64_t base;
    uint8_t buf[10];

    if (!insn->is_mem) {
        return raise_fault(cpu, EXCP06_ILLOP, 0);
    }
    if (require_cpl0(cpu) || operand_load(cpu, insn, buf, sizeof(buf))) {
        return SENS_RAISED;
    }
    __builtin_memcpy(&limit, buf, 2);
    __builtin_memcpy(&base, buf + 2, 8);
    if (!is_canonical(base)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    dt->limit = limit;
    dt->base = base;
    return SENS_NEXT;
}

int sens_lgdt(struct CPUState *cpu, const struct insn *insn)
{
    return load_table(cpu, insn, &cpu->env.gdt);
}

int sens_lidt(struct CPUState *cpu, const struct insn *insn)
{
    return load_table(cpu, insn, &cpu->env.idt);
}

/* A 16-byte system descriptor of the given type in the GDT, present, with a canonical base; *sc is
 * its cache. */
static int load_system_desc(struct CPUState *cpu, uint16_t selector, unsigned type, struct desc *d,
                            struct segment_cache *sc)
{
    uint64_t err = SEL_ERR(selector);

    if (selector & 4) {
        return raise_fault(cpu, EXCP0D_GPF, err);
    }
    if (load_segment_gp(cpu, selector, 0, d)) {
        return 1;
    }
    switch (load_system_upper(cpu, selector, d)) {
    case DESC_LIMIT:
        return raise_fault(cpu, EXCP0D_GPF, err);
    case DESC_RAISED:
        return 1;
    case DESC_OK:
        break;
    }
    if ((d->e2 & DESC_S_MASK) || DESC_TYPE(d->e2) != type || ((d->e4 >> 8) & 0x1f)) {
        return raise_fault(cpu, EXCP0D_GPF, err);
    }
    if (!(d->e2 & DESC_P_MASK)) {
        return raise_fault(cpu, EXCP0B_NOSEG, err);
    }
    sc->selector = selector;
    sc->base = (uint64_t)d->e3 << 32 | desc_base32(d);
    sc->limit = desc_limit(d);
    sc->flags = d->e2 & DESC_CACHE_MASK;
    return is_canonical(sc->base) ? 0 : raise_fault(cpu, EXCP0D_GPF, err);
}

int sens_lldt(struct CPUState *cpu, const struct insn *insn)
{
    struct segment_cache sc = {0};
    struct desc d;
    uint16_t selector;

    if (require_cpl0(cpu) || operand_load16(cpu, insn, &selector)) {
        return SENS_RAISED;
    }
    if (SEL_NULL(selector)) {
        sc.selector = selector; /* limit 0: every use of the LDT is beyond it */
    } else if (load_system_desc(cpu, selector, SYS_LDT, &d, &sc)) {
        return SENS_RAISED;
    }
    cpu->env.ldt = sc;
    return SENS_NEXT;
}

int sens_ltr(struct CPUState *cpu, const struct insn *insn)
{
    struct segment_cache sc = {0};
    struct desc d;
    uint16_t selector;
    uint8_t byte;

    if (require_cpl0(cpu) || operand_load16(cpu, insn, &selector)) {
        return SENS_RAISED;
    }
    if (SEL_NULL(selector)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (load_system_desc(cpu, selector, SYS_TSS_AVAIL, &d, &sc)) {
        return SENS_RAISED;
    }
    byte = (uint8_t)((d.e2 | DESC_TSS_BUSY_MASK) >> 8);
    if (system_store(cpu, d.addr + 5, &byte, 1, SEL_ERR(selector))) {
        return SENS_RAISED;
    }
    sc.flags |= DESC_TSS_BUSY_MASK;
    cpu->env.tr = sc;
    return SENS_NEXT;
}
