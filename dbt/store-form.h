/* SPDX-License-Identifier: MIT */
/* Which instructions store to memory from translated code, and how such a store can be sent to another address. */
#ifndef DBT_STORE_FORM_H
#define DBT_STORE_FORM_H

#include "dbt/decode.h"

/*
 * An alias is a second, always writable mapping of the bytes that an instruction writes (host.h: store_alias()). The form says
 * how the instruction is made to write there; translate-store.c does it.
 */
enum store_form {
    STORE_NONE,     /* writes nothing from translated code */
    STORE_OPERAND,  /* its ModRM operand becomes [scratch]; read-modify-write and lock included */
    STORE_MOFFS,    /* mov %al/%ax/%eax/%rax, moffs */
    STORE_PUSH,     /* push: a mov, then rsp is lowered */
    STORE_CALL,     /* call: the same with the return address */
    STORE_ENTER,
    STORE_STRING,   /* stos, movs: rdi and rcx are exchanged for the alias and a part of the count */
    STORE_POINTER,  /* the register that points to the operand is exchanged: maskmov, movdir64b, clzero */
    STORE_NO_ALIAS, /* a store that only its own address will do for; docs/fault-funnel.md says which and why */
};

enum store_form store_form(const struct insn *insn);
/* STORE_POINTER: the register. */
unsigned store_pointer_reg(const struct insn *insn);

#endif
