/* SPDX-License-Identifier: MIT */
/*
 * From FIP to the guest's address: the state table of the TB that has the address. A dead TB's table stays until the flush, so the
 * answer is exact as long as the FPU's state is that of this cache; over a flush, one address is remembered. FIP of FXSAVE and
 * XSAVE images is not looked at: it goes out and in unchanged.
 */
#include "dbt/x87-ip.h"

#include "dbt/code-buffer.h"
#include "dbt/host.h"
#include "dbt/translate-all.h"

/* FIP at the last flush at which it was the address of a translated instruction. Owner: the CPU that translates. */
static struct {
    bool valid;
    uint32_t fip, guest;
} flushed;

/* The guest's address of the translated x87 instruction at fip. */
static bool find_insn(uint32_t fip, uint32_t *guest)
{
    uint64_t base = code_buffer_region()->code_exec;
    uint64_t host_pc = base + (uint32_t)(fip - (uint32_t)base);
    const struct TranslationBlock *tb = tcg_tb_lookup(host_pc);
    uint16_t spilled;
    uint64_t pc;
    struct insn insn;

    if (tb_guest_pc(tb, host_pc, &pc, &spilled) == GUEST_PC_NONE || pc - tb->pc >= tb->size) {
        return false;
    }
    uint64_t off = pc - tb->pc;
    if (insn_decode(&insn, tb_guest_bytes(tb) + off, MIN(tb->size - off, (uint64_t)INSN_MAX_LEN)) != DECODE_OK ||
        insn.map != 0 || (insn.opcode & 0xf8) != 0xd8) {
        return false; /* an address from an earlier cache, or one that the guest has loaded */
    }
    *guest = (uint32_t)pc;
    return true;
}

uint32_t x87_ip_to_guest(uint32_t fip)
{
    uint32_t guest;

    if (find_insn(fip, &guest)) {
        return guest;
    }
    return flushed.valid && flushed.fip == fip ? flushed.guest : fip;
}

void x87_ip_before_flush(struct CPUState *cpu)
{
    uint32_t fip = host_fip(cpu), guest;

    if (find_insn(fip, &guest)) {
        flushed.valid = true;
        flushed.fip = fip;
        flushed.guest = guest;
    }
}
