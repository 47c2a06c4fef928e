/* SPDX-License-Identifier: MIT */
/*
 * Which memory an instruction touches, from its decoding and live registers: the exact ranges that
 * the #PF funnel needs. It must not touch that memory.
 */
#include "dbt/decode.h"

struct access_list {
    const struct insn *insn;
    const struct insn_regs *regs;
    struct insn_access *out;
    int n;
};

static void add(struct access_list *l, uint64_t addr, uint64_t len, uint8_t acc)
{
    l->out[l->n++] = (struct insn_access){
        .addr = addr, .len = len, .acc = acc, .first = addr, .elem = (uint32_t)len};
}

/* Effective address to linear: truncated to the address size, then the segment base (only FS and GS
 * have one). */
static uint64_t linear(const struct access_list *l, uint64_t offset, uint8_t seg)
{
    if (l->insn->addr_size == 4) {
        offset = (uint32_t)offset;
    }
    return offset + (seg == R_FS || seg == R_GS ? l->regs->seg_base[seg] : 0);
}

/* The offset that ModRM names, not truncated; sp_bias is added to rsp as a base (pop). */
static uint64_t modrm_offset(const struct access_list *l, uint64_t next_pc, uint64_t sp_bias)
{
    const struct insn *in = l->insn;
    uint64_t offset = (uint64_t)in->disp;

    if (in->base == R_RIP) {
        offset += next_pc;
    } else if (in->base != R_NONE) {
        offset += l->regs->gpr[in->base] + (in->base == R_ESP ? sp_bias : 0);
    }
    if (in->index != R_NONE) {
        offset += l->regs->gpr[in->index] * in->scale;
    }
    return offset;
}

/* push, call: below rsp. The source of push r/m and call r/m is read first. */
static void add_push(struct access_list *l, uint64_t modrm)
{
    const struct insn *in = l->insn;

    if (in->is_mem) {
        add(l, linear(l, modrm, in->seg), in->op_size, ACC_R);
    }
    add(l, l->regs->gpr[R_ESP] - in->mem_size, in->mem_size, ACC_W);
}

/* pop, ret, iret. The destination of pop r/m is addressed with rsp already incremented (SDM, POP).
 */
static void add_pop(struct access_list *l, uint64_t next_pc)
{
    const struct insn *in = l->insn;
    unsigned items = in->sens == SENS_IRET ? 5 : in->sens == SENS_RETF ? 2 : 1;

    add(l, l->regs->gpr[R_ESP], (uint64_t)items * in->mem_size, ACC_R);
    if (in->is_mem) {
        add(l, linear(l, modrm_offset(l, next_pc, in->op_size), in->seg), in->op_size, ACC_W);
    }
}

/* enter: pushes rbp, copies level - 1 frame pointers from below rbp, pushes the new frame pointer.
 */
static void add_enter(struct access_list *l)
{
    unsigned level = l->insn->imm2 & 31, size = l->insn->op_size;
    uint64_t pushed = (uint64_t)size * (level ? level + 1 : 1);

    add(l, l->regs->gpr[R_ESP] - pushed, pushed, ACC_W);
    if (level > 1) {
        add(l, l->regs->gpr[R_EBP] - (uint64_t)size * (level - 1), (uint64_t)size * (level - 1),
            ACC_R);
    }
}

/* One operand of a string instruction: count elements from `offset` on, up or down. */
static void add_string_operand(struct access_list *l, uint64_t offset, uint64_t count, uint8_t seg,
                               uint8_t acc)
{
    const struct insn *in = l->insn;
    bool down = l->regs->rflags & (1u << 10);
    uint64_t elem = in->mem_size, mask = in->addr_size == 4 ? UINT32_MAX : UINT64_MAX;
    uint64_t room, first, lowest;

    offset &= mask;
    room = (down ? offset : mask - offset) / elem + (down ? 1 : 0);
    if (count > room && in->addr_size == 4) {
        /* wraps around at 4 GiB: everything may be touched */
        first = linear(l, offset, seg);
        l->out[l->n++] =
            (struct insn_access){linear(l, 0, seg), BIT(32) + elem, acc, first, (uint32_t)elem};
        return;
    }
    count = MIN(count, MAX(room, 1ull));
    first = linear(l, offset, seg);
    lowest = down ? first - (count - 1) * elem : first;
    l->out[l->n++] = (struct insn_access){lowest, count * elem, acc, first, (uint32_t)elem};
}

/* movs, cmps, stos, lods, scas, ins, outs: by opcode, which registers point. */
static void add_string(struct access_list *l)
{
    const struct insn *in = l->insn;
    uint8_t op = in->opcode & 0xfe;
    uint64_t rsi = l->regs->gpr[R_ESI], rdi = l->regs->gpr[R_EDI], count = 1;

    if (in->pfx & (PFX_REP | PFX_REPNE)) {
        count = in->addr_size == 4 ? (uint32_t)l->regs->gpr[R_ECX] : l->regs->gpr[R_ECX];
    }
    if (count == 0) {
        return;
    }
    if (op == 0x6e || op == 0xa4 || op == 0xa6 || op == 0xac) {
        add_string_operand(l, rsi, count, in->seg, ACC_R);
    }
    if (op == 0x6c || op == 0xa4 || op == 0xa6 || op == 0xaa || op == 0xae) {
        add_string_operand(l, rdi, count, R_SEG_NONE, op == 0xa6 || op == 0xae ? ACC_R : ACC_W);
    }
}

/* bt family: the register is a signed bit offset from the operand's address, in units of the
 * operand (SDM, BT). */
int64_t insn_bt_displacement(const struct insn *in, const struct insn_regs *regs)
{
    unsigned bits = in->op_size * 8u;
    int64_t bit;

    if (in->mem != MEM_BT) {
        return 0;
    }
    bit = (int64_t)(regs->gpr[in->reg] << (64 - bits)) >> (64 - bits);
    return (bit - (bit & (int64_t)(bits - 1))) / 8;
}

static void add_bt(struct access_list *l, uint64_t modrm)
{
    const struct insn *in = l->insn;

    add(l, linear(l, modrm + (uint64_t)insn_bt_displacement(in, l->regs), in->seg), in->op_size,
        in->acc);
}

/*
 * End of the area that xsave or xrstor touches for the requested components. Offsets are Intel's
 * standard format (CPUID 0xd; other vendors pack more tightly, and so does the compacted format, so
 * this is a superset).
 */
static uint64_t xsave_size(uint64_t components)
{
    static const uint16_t ends[] = {
        [2] = 832,  [3] = 1024, [4] = 1088, [5] = 1152,  [6] = 1664,
        [7] = 2688, [8] = 2688, [9] = 2696, [17] = 2816, [18] = 11008,
    };
    uint64_t size = 576;

    for (unsigned i = 2; i < ARRAY_SIZE(ends); i++) {
        if (components & BIT(i)) {
            size = MAX(size, (uint64_t)ends[i]);
        }
    }
    return components >> ARRAY_SIZE(ends) ? 4 * PAGE_SIZE : size;
}

static void add_xsave(struct access_list *l, uint64_t modrm)
{
    const struct insn_regs *r = l->regs;
    uint64_t requested = (uint32_t)r->gpr[R_EAX] | r->gpr[R_EDX] << 32;

    add(l, linear(l, modrm, l->insn->seg), xsave_size(requested & r->xcr0), l->insn->acc);
}

int insn_accesses(const struct insn *in, const struct insn_regs *regs, uint64_t next_pc,
                  struct insn_access *out, bool *exact)
{
    struct access_list l = {.insn = in, .regs = regs, .out = out};
    uint64_t modrm = in->is_mem ? modrm_offset(&l, next_pc, 0) : 0;

    *exact = true;
    switch ((enum insn_mem)in->mem) {
    case MEM_NONE:
        break;
    case MEM_MODRM:
    case MEM_MASKED:
        add(&l, linear(&l, modrm, in->seg), in->mem_size, in->acc);
        if (in->sens == SENS_CALL_FAR) {
            add(&l, regs->gpr[R_ESP] - 2 * in->op_size, 2 * in->op_size, ACC_W);
        }
        break;
    case MEM_MOFFS:
        add(&l, linear(&l, (uint64_t)in->disp, in->seg), in->mem_size, in->acc);
        break;
    case MEM_PUSH:
        add_push(&l, modrm);
        break;
    case MEM_POP:
        add_pop(&l, next_pc);
        break;
    case MEM_ENTER:
        add_enter(&l);
        break;
    case MEM_LEAVE:
        add(&l, regs->gpr[R_EBP], in->op_size, ACC_R);
        break;
    case MEM_STRING:
        add_string(&l);
        break;
    case MEM_BT:
        add_bt(&l, modrm);
        break;
    case MEM_XSAVE:
        add_xsave(&l, modrm);
        break;
    case MEM_VSIB:
        *exact = false;
        break;
    case MEM_MASKMOV:
        add(&l, linear(&l, regs->gpr[R_EDI], in->seg), in->mem_size, in->acc);
        break;
    case MEM_XLAT:
        add(&l, linear(&l, regs->gpr[R_EBX] + (uint8_t)regs->gpr[R_EAX], in->seg), 1, ACC_R);
        break;
    case MEM_DIR64:
        add(&l, linear(&l, modrm, in->seg), 64, ACC_R);
        add(&l, linear(&l, regs->gpr[in->reg], R_SEG_NONE), 64, ACC_W);
        break;
    case MEM_ES_RDI_OTHER:
        add(&l, ALIGN_DOWN(linear(&l, regs->gpr[R_EAX], in->seg), 64ull), 64, in->acc);
        break;
    }
    return l.n;
}
