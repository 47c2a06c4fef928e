/* SPDX-License-Identifier: MIT */
/* Classifies stores by how they can be sent to an alias of their target. Looks at the decoded instruction only. */
#include "dbt/store-form.h"

static enum store_form modrm_form(const struct insn *in)
{
    return in->acc & ACC_W ? STORE_OPERAND : STORE_NONE;
}

static enum store_form push_form(const struct insn *in)
{
    if (in->kind == INSN_CALL || in->kind == INSN_CALL_IND) {
        return STORE_CALL;
    }
    return in->mem_size == 8 ? STORE_PUSH : STORE_NO_ALIAS; /* 66 push: nobody uses it */
}

static enum store_form string_form(const struct insn *in)
{
    unsigned op = in->opcode & 0xfe;

    if (op != 0xa4 && op != 0xaa) {
        return STORE_NONE; /* reads only; ins is executed by the monitor */
    }
    return in->addr_size == 8 ? STORE_STRING : STORE_NO_ALIAS; /* edi cannot hold an address of ours */
}

/* movdir64b: the source may be addressed by the same register, and is copied as it is. */
static enum store_form dir64_form(const struct insn *in)
{
    bool own = in->base != in->reg && in->index != in->reg && in->reg != R_ESP;

    return own && in->addr_size == 8 && !in->is_rip_rel ? STORE_POINTER : STORE_NO_ALIAS;
}

enum store_form store_form(const struct insn *in)
{
    if (in->kind == INSN_SENS || in->kind == INSN_UD) {
        return STORE_NONE;
    }
    switch ((enum insn_mem)in->mem) {
    case MEM_MODRM:
    case MEM_MASKED:
    case MEM_XSAVE:
    case MEM_BT:
        return modrm_form(in);
    case MEM_POP:
        return in->is_mem && in->kind == INSN_COPY ? STORE_OPERAND : STORE_NONE;
    case MEM_MOFFS:
        return in->acc & ACC_W ? STORE_MOFFS : STORE_NONE;
    case MEM_PUSH:
        return push_form(in);
    case MEM_ENTER:
        return in->op_size == 8 ? STORE_ENTER : STORE_NO_ALIAS;
    case MEM_STRING:
        return string_form(in);
    case MEM_VSIB: /* each element has an address of its own */
        return in->acc & ACC_W ? STORE_NO_ALIAS : STORE_NONE;
    case MEM_MASKMOV:
        return STORE_POINTER;
    case MEM_DIR64:
        return dir64_form(in);
    case MEM_ES_RDI_OTHER:
        return in->acc & ACC_W ? STORE_POINTER : STORE_NONE;
    default:
        return STORE_NONE;
    }
}

unsigned store_pointer_reg(const struct insn *in)
{
    return in->mem == MEM_MASKMOV ? R_EDI : in->mem == MEM_DIR64 ? in->reg : R_EAX;
}
