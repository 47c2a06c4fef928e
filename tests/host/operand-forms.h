/* SPDX-License-Identifier: MIT */
/* Enumerates the encodings that the decoder knows, in every form of operand. Runs nothing. */
#ifndef TESTS_HOST_OPERAND_FORMS_H
#define TESTS_HOST_OPERAND_FORMS_H

#include "dbt/decode.h"

enum operand_shape {
    SHAPE_NONE,      /* no ModRM */
    SHAPE_REG,       /* ModRM register */
    SHAPE_DISP8,     /* [rsi + disp8] */
    SHAPE_DISP32,    /* [rsi + disp32] */
    SHAPE_SIB,       /* [rsi + rcx * scale] */
    SHAPE_STACK,     /* [rsp + disp8] */
    SHAPE_ABS,       /* [disp32] */
    SHAPE_RIP_LOW,   /* [rip + disp32] in the low window: becomes [disp32] */
    SHAPE_RIP_FAR,   /* in the far window: needs a scratch register */
    SHAPE_RIP_REACH, /* within 2 GiB of the code cache, but not in the lowest 2 GiB: a new displacement */
    SHAPE_COUNT
};
extern const char *const operand_shape_name[SHAPE_COUNT];

/* Why an encoding is not run; EXCLUDE_NOT: it is. */
enum operand_exclude {
    EXCLUDE_NOT,
    EXCLUDE_SENSITIVE, /* executed by the monitor, of which the hosted build has none */
    EXCLUDE_RANDOM,    /* rdrand and the like */
    EXCLUDE_HISTORY,   /* xsaveopt: what it stores depends on when the state was loaded */
    EXCLUDE_HOST,      /* would take FS or GS from the host program */
    EXCLUDE_VENDOR,    /* near branches with 66: Intel and AMD differ */
    EXCLUDE_STACK,     /* branches to rsp */
    EXCLUDE_UNDEFINED, /* no such instruction: one in UNDEFINED_PART is run, and must be #UD */
    EXCLUDE_REPEAT,    /* left out of a partial run */
    EXCLUDE_COUNT
};
extern const char *const operand_exclude_reason[EXCLUDE_COUNT];
#define UNDEFINED_PART 16

struct operand_form {
    struct insn insn; /* displacements of RIP and absolute operands, and what else names an address, are still 0 */
    uint8_t bytes[INSN_MAX_LEN];
    uint8_t shape;
};

/*
 * Call fn for each form to be run. part: one in so many is, but each (table row, shape) at least once; 1 = all. evex: this
 * CPU has EVEX encodings. excluded[] counts the others.
 */
void operand_forms(unsigned part, bool evex, void (*fn)(const struct operand_form *form),
                   unsigned long excluded[EXCLUDE_COUNT]);

#endif
