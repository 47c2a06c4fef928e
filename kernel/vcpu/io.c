/* SPDX-License-Identifier: MIT */
/* in, out, ins, outs: permission by IOPL and the I/O bitmap, restartable string forms. Ports are
 * the environment's. */
#include "kernel/vcpu/internal.h"

#define TSS_IOMAP_BASE 0x66

/* SDM vol. 1 19.5.2: below IOPL the bits of all bytes of the access must be clear; two bytes of the
 * map are read. */
static int check_io(struct CPUState *cpu, uint16_t port, unsigned size)
{
    const struct segment_cache *tr = &cpu->env.tr;
    uint16_t base, bits;
    uint32_t offset;

    if (cpu->env.cpl <= cpu_iopl(cpu)) {
        return 0;
    }
    if (!(tr->flags & DESC_P_MASK) || tr->limit < TSS_IOMAP_BASE + 1) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (system_load(cpu, tr->base + TSS_IOMAP_BASE, &base, sizeof(base), 0)) {
        return 1;
    }
    offset = (uint32_t)base + (port >> 3);
    if (offset + 1 > tr->limit) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (system_load(cpu, tr->base + offset, &bits, sizeof(bits), 0)) {
        return 1;
    }
    if (bits >> (port & 7) & ((1u << size) - 1)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    return 0;
}

/* The byte forms have an even opcode. REX.W does not widen I/O. */
static unsigned io_size(const struct insn *insn)
{
    return !(insn->opcode & 1) ? 1 : insn->pfx & PFX_OSZ ? 2 : 4;
}

/* E4-E7: imm8; EC-EF: dx */
static uint16_t io_port(const struct CPUState *cpu, const struct insn *insn)
{
    return insn->opcode & 8 ? (uint16_t)cpu->env.regs[R_EDX] : (uint16_t)(insn->imm & 0xff);
}

/* A port access may have ended the run; the instruction is complete nevertheless. */
static int io_done(struct CPUState *cpu, const struct insn *insn)
{
    if (cpu->exit_request == CPU_RUNNING) {
        return SENS_NEXT;
    }
    cpu->env.eip = insn_next(cpu, insn);
    cpu->exception_index = EXCP_EXIT;
    return SENS_RAISED;
}

int sens_in(struct CPUState *cpu, const struct insn *insn)
{
    unsigned size = io_size(insn);
    uint16_t port = io_port(cpu, insn);

    if (check_io(cpu, port, size)) {
        return SENS_RAISED;
    }
    gpr_write(cpu, R_EAX, size, cpu_inport(cpu, port, size));
    return io_done(cpu, insn);
}

int sens_out(struct CPUState *cpu, const struct insn *insn)
{
    unsigned size = io_size(insn);
    uint16_t port = io_port(cpu, insn);
    uint64_t mask = (1ull << (8 * size)) - 1;

    if (check_io(cpu, port, size)) {
        return SENS_RAISED;
    }
    cpu_outport(cpu, port, size, (uint32_t)(cpu->env.regs[R_EAX] & mask));
    return io_done(cpu, insn);
}

/* ---- string forms ---- */

/* Elements moved in one call before the main loop gets to look at interrupts. */
#define IO_BURST 256

/* An address or count register, as wide as the address size. */
static uint64_t addr_reg(const struct CPUState *cpu, const struct insn *insn, unsigned reg)
{
    return insn->addr_size == 4 ? (uint32_t)cpu->env.regs[reg] : cpu->env.regs[reg];
}

static void advance(struct CPUState *cpu, const struct insn *insn, unsigned reg, unsigned size)
{
    uint64_t step = cpu->env.eflags & DF_MASK ? 0 - (uint64_t)size : size;

    gpr_write(cpu, reg, insn->addr_size, cpu->env.regs[reg] + step);
}

/*
 * Writability is proven before the port is read: what a device has delivered must not be lost to a
 * #PF. What cannot be read cannot be written either, so a failed load is left to the store, which
 * reports it as a write.
 */
static int prove_writable(struct CPUState *cpu, gva_t va, unsigned size)
{
    uint32_t old = 0;

    (void)cpu_ldub(cpu, va, &old, size, is_user(cpu));
    return cpu_stub(cpu, va, &old, size, is_user(cpu)) != 0;
}

static int ins_once(struct CPUState *cpu, const struct insn *insn, unsigned size)
{
    gva_t va = addr_reg(cpu, insn, R_EDI);
    uint32_t value;

    if (!is_canonical_range(va, size)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (prove_writable(cpu, va, size)) {
        return 1;
    }
    value = cpu_inport(cpu, (uint16_t)cpu->env.regs[R_EDX], size);
    if (cpu_stub(cpu, va, &value, size, is_user(cpu))) {
        return 1;
    }
    advance(cpu, insn, R_EDI, size);
    return 0;
}

static int outs_once(struct CPUState *cpu, const struct insn *insn, unsigned size)
{
    gva_t va = addr_reg(cpu, insn, R_ESI);
    uint32_t value = 0;

    if (insn->seg == R_FS || insn->seg == R_GS) {
        cpu_sync_fsgs_base(cpu);
        va += cpu->env.segs[insn->seg].base;
    }
    if (!is_canonical_range(va, size)) {
        return raise_fault(cpu, EXCP0D_GPF, 0);
    }
    if (cpu_ldub(cpu, va, &value, size, is_user(cpu))) {
        return 1;
    }
    cpu_outport(cpu, (uint16_t)cpu->env.regs[R_EDX], size, value);
    advance(cpu, insn, R_ESI, size);
    return 0;
}

typedef int io_once_fn(struct CPUState *cpu, const struct insn *insn, unsigned size);

/* Does the main loop have something to do between two elements: an interrupt to deliver, a
 * single-step trap? */
static bool io_pause(const struct CPUState *cpu)
{
    return (cpu->env.eflags & TF_MASK) || (cpu->interrupt_request && (cpu->env.eflags & IF_MASK));
}

/* Registers are exact after each element; leaving with eip unchanged restarts the rest. */
static int io_string(struct CPUState *cpu, const struct insn *insn, io_once_fn *once)
{
    unsigned size = io_size(insn);
    bool rep = insn->pfx & (PFX_REP | PFX_REPNE);

    if (check_io(cpu, (uint16_t)cpu->env.regs[R_EDX], size)) {
        return SENS_RAISED;
    }
    if (!rep) {
        return once(cpu, insn, size) ? SENS_RAISED : io_done(cpu, insn);
    }
    for (unsigned n = 0; addr_reg(cpu, insn, R_ECX) != 0; n++) {
        if (n == IO_BURST || (n && io_pause(cpu))) {
            return SENS_JUMPED;
        }
        if (once(cpu, insn, size)) {
            return SENS_RAISED;
        }
        gpr_write(cpu, R_ECX, insn->addr_size, cpu->env.regs[R_ECX] - 1);
        if (cpu->exit_request != CPU_RUNNING) {
            cpu->exception_index = EXCP_EXIT;
            return SENS_RAISED;
        }
    }
    return SENS_NEXT;
}

int sens_ins(struct CPUState *cpu, const struct insn *insn)
{
    return io_string(cpu, insn, ins_once);
}

int sens_outs(struct CPUState *cpu, const struct insn *insn)
{
    return io_string(cpu, insn, outs_once);
}
