/* SPDX-License-Identifier: MIT */
/*
 * Does a store write what is there already? Answered for the plain stores by which code is patched: mov of a register or an
 * immediate, by ModRM or to an absolute address. Reads memory; must not write any.
 */
#include "dbt/store-value.h"

#include "dbt/host.h"
#include "kernel/lib/string.h"

/* The value that the instruction stores, little-endian; false if it is no plain store. */
static bool stored_value(const struct CPUState *cpu, const struct insn *insn, uint64_t *value)
{
    const uint64_t *gpr = cpu->env.regs;
    uint8_t op = insn->opcode;

    if (insn->kind != INSN_COPY || insn->enc != ENC_LEGACY || insn->map != 0 || insn->pfx & PFX_LOCK) {
        return false;
    }
    if (op == 0x88 && insn->is_mem && !(insn->pfx & PFX_REX) && insn->reg >= 4) {
        *value = gpr[insn->reg - 4] >> 8; /* ah, ch, dh, bh */
    } else if ((op == 0x88 || op == 0x89) && insn->is_mem) {
        *value = gpr[insn->reg];
    } else if ((op == 0xc6 || op == 0xc7) && insn->is_mem && insn->mem == MEM_MODRM) {
        *value = (uint64_t)insn->imm;
    } else if (op == 0xa2 || op == 0xa3) {
        *value = gpr[R_EAX];
    } else {
        return false;
    }
    return true;
}

bool store_changes_nothing(const struct CPUState *cpu, const struct insn *insn, const struct insn_access *write, gva_t va, uint64_t len,
                           tb_page_addr_t ram)
{
    uint64_t value, skip = va - write->addr;

    if (write->len > sizeof(value) || skip >= write->len || len > write->len - skip || !stored_value(cpu, insn, &value)) {
        return false;
    }
    const uint8_t *now = code_page_bytes(ram);
    for (value >>= 8 * skip; len; len--, value >>= 8) {
        if (*now++ != (uint8_t)value) {
            return false;
        }
    }
    return true;
}
