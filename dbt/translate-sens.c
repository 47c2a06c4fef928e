/* SPDX-License-Identifier: MIT */
/*
 * Sensitive instructions: most leave for the monitor; cli, sti and pushf of the guest's kernel are done inline on the
 * virtual IF, a byte in the vCPU page; selectors and CR2 are read from there, too, and swapgs exchanges the GS base with a word of it.
 */
#include "dbt/translate-emit.h"

void emit_exit_fast(struct DisasContext *s, enum run_kind kind, uint32_t goff)
{
    if (!s->region->exit_by_syscall) {
        emit_exit_trap(s, kind, 0, goff);
        return;
    }
    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_ECX);
    emit_spill(s, R_R11);
    add_run(s, kind, 0, goff, BIT(R_ECX) | BIT(R_R11));
    emit8(&s->e, 0x0f);
    emit8(&s->e, 0x05);
}

static uint64_t vp_addr(const struct DisasContext *s, size_t offset)
{
    return s->region->vcpu_addr + offset;
}

/* movb $v, vif */
static void emit_set_vif(struct DisasContext *s, uint8_t v)
{
    emit_bytes(&s->e, "\xc6\x04\x25", 3);
    emit32(&s->e, (uint32_t)vp_addr(s, offsetof(struct vcpu_page, vif)));
    emit8(&s->e, v);
}

/* movzbl byte, %ecx */
static void emit_load_byte_rcx(struct DisasContext *s, size_t offset)
{
    emit_bytes(&s->e, "\x0f\xb6\x0c\x25", 4);
    emit32(&s->e, (uint32_t)vp_addr(s, offset));
}

/* jrcxz forward; end_short() fills in where to. */
static uint32_t begin_jrcxz(struct DisasContext *s)
{
    emit_bytes(&s->e, "\xe3", 2);
    return s->e.len;
}

static void end_short(struct DisasContext *s, uint32_t from)
{
    if (!s->e.overflow) {
        s->e.buf[from - 1] = (uint8_t)(s->e.len - from);
    }
}

static void emit_reload_rcx(struct DisasContext *s)
{
    emit_load_abs(&s->e, R_ECX, spill_addr(s, R_ECX));
}

static void emit_cli(struct DisasContext *s, uint32_t goff)
{
    add_copy_run(s, goff);
    emit_set_vif(s, 0);
}

/* Set IF; if an interrupt waits, leave. The next instruction is executed before it is taken (SDM vol. 2, STI). */
static void emit_sti(struct DisasContext *s, uint32_t goff, uint32_t next_off)
{
    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_set_vif(s, 1);
    add_run(s, RUN_TAIL, 0, goff, 0);
    emit_spill(s, R_ECX);
    emit_load_byte_rcx(s, offsetof(struct vcpu_page, irq_pending));
    uint32_t quiet = begin_jrcxz(s);
    emit_reload_rcx(s);
    add_run(s, RUN_EXIT_IRQ, 0, next_off, 0);
    emit8(&s->e, 0xcc);
    add_run(s, RUN_TAIL, 0, goff, BIT(R_ECX));
    end_short(s, quiet);
    emit_reload_rcx(s);
    s->shadow_off = (uint16_t)next_off;
}

/*
 * pushfq stores the hardware's flags, in which IF is 1 and the virtual bits are 0. If vif is 0, take IF (bit 9) out of
 * the image; if virtual bits are set, let the monitor do it.
 */
static void emit_pushf(struct DisasContext *s, uint32_t goff)
{
    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_ECX);
    add_run(s, RUN_GLUE, 0, goff, BIT(R_ECX));
    emit_load_byte_rcx(s, offsetof(struct vcpu_page, flags_special));
    uint32_t plain = begin_jrcxz(s);
    emit_reload_rcx(s);
    emit_exit_trap(s, RUN_EXIT_SENS, 0, goff);
    add_run(s, RUN_GLUE, 0, goff, BIT(R_ECX));
    end_short(s, plain);
    emit8(&s->e, 0x9c);
    add_run(s, RUN_TAIL, 0, goff, BIT(R_ECX));
    emit_load_byte_rcx(s, offsetof(struct vcpu_page, vif));
    uint32_t off = begin_jrcxz(s);
    emit_reload_rcx(s);
    emit_bytes(&s->e, "\xeb", 2); /* jmp short */
    uint32_t done = s->e.len;
    end_short(s, off);
    emit_bytes(&s->e, "\x0f\xb6\x4c\x24\x01", 5); /* movzbl 1(%rsp), %ecx */
    emit_bytes(&s->e, "\x8d\x49\xfe", 3);         /* lea -2(%rcx), %ecx */
    emit_bytes(&s->e, "\x88\x4c\x24\x01", 4);     /* mov %cl, 1(%rsp) */
    emit_reload_rcx(s);
    end_short(s, done);
}

/* The GS base is the hardware's, the other one is in the vCPU page. A guest that has put nonsense there gets #GP from wrgsbase. */
static void emit_swapgs(struct DisasContext *s, uint32_t goff)
{
    uint64_t other = vp_addr(s, offsetof(struct vcpu_page, kernelgsbase));

    add_run(s, RUN_GLUE, RUN_BOUNDARY, goff, 0);
    emit_spill(s, R_EAX);
    add_run(s, RUN_GLUE, 0, goff, BIT(R_EAX));
    emit_spill(s, R_ECX);
    add_run(s, RUN_GLUE, 0, goff, BIT(R_EAX) | BIT(R_ECX));
    emit_bytes(&s->e, "\xf3\x48\x0f\xae\xc8", 5); /* rdgsbase %rax */
    emit_load_abs(&s->e, R_ECX, other);
    emit_bytes(&s->e, "\xf3\x48\x0f\xae\xd9", 5); /* wrgsbase %rcx */
    add_run(s, RUN_TAIL, 0, goff, BIT(R_EAX) | BIT(R_ECX));
    emit_store_abs(&s->e, R_EAX, other);
    emit_load_abs(&s->e, R_EAX, spill_addr(s, R_EAX));
    emit_reload_rcx(s);
}

/* mov %sreg, %reg: a load of the selector from the vCPU page; with a prefix 66 only the low 16 bits are written. */
static void emit_mov_from_sreg(struct DisasContext *s, const struct insn *insn, uint32_t goff)
{
    unsigned seg = insn->modrm >> 3 & 7;

    add_copy_run(s, goff);
    if (insn->pfx & PFX_OSZ && !(insn->rex & 8)) {
        emit8(&s->e, 0x66);
    }
    if (insn->rm >= 8) {
        emit8(&s->e, 0x44);
    }
    emit8(&s->e, 0x8b);
    emit8(&s->e, (uint8_t)((insn->rm & 7) << 3 | 4));
    emit8(&s->e, 0x25);
    emit32(&s->e, (uint32_t)vp_addr(s, offsetof(struct vcpu_page, sel) + seg * sizeof(uint64_t)));
}

void emit_sens(struct DisasContext *s, unsigned i)
{
    const struct insn *insn = &s->insn[i];
    uint32_t goff = s->insn_off[i];

    if (!sens_is_inline(s, insn) || (insn->sens == SENS_STI && i + 1 == s->num_insns)) { /* whose shadow ends with the TB */
        emit_exit_fast(s, RUN_EXIT_SENS, goff);
    } else if (insn->sens == SENS_MOV_FROM_SREG) {
        emit_mov_from_sreg(s, insn, goff);
    } else if (insn->sens == SENS_CLI) {
        emit_cli(s, goff);
    } else if (insn->sens == SENS_SWAPGS) {
        emit_swapgs(s, goff);
    } else if (insn->sens == SENS_MOV_FROM_CR) { /* cr2 */
        add_copy_run(s, goff);
        emit_load_abs(&s->e, (insn->modrm & 7) | (insn->rex & 1 ? 8 : 0), vp_addr(s, offsetof(struct vcpu_page, cr2)));
    } else if (insn->sens == SENS_STI) {
        emit_sti(s, goff, goff + insn->len);
    } else {
        emit_pushf(s, goff);
    }
}
