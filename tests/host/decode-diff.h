/* SPDX-License-Identifier: MIT */
/* Between the two files of decode-diff: the comparison of one instruction, and the table of
 * explained differences. */
#ifndef TESTS_HOST_DECODE_DIFF_H
#define TESTS_HOST_DECODE_DIFF_H

#include <Zydis/Zydis.h>

#include "dbt/decode.h"

/* What can differ. */
enum diff_kind {
    DIFF_OURS_INVALID,  /* we reject, Zydis accepts */
    DIFF_ZYDIS_INVALID, /* we accept, Zydis rejects */
    DIFF_LENGTH,
    DIFF_LAYOUT,  /* opcode, ModRM, displacement, immediate: offset, size or value */
    DIFF_OPERAND, /* memory operand: base, index, scale, displacement, segment */
    DIFF_ACCESS,  /* insn_accesses(): address, size, direction, number */
    DIFF_BRANCH,
    DIFF_SENS,       /* privileged there but not sensitive here, or another sensitive instruction */
    DIFF_GPR,        /* a register that Zydis reads or writes is missing */
    DIFF_FLAGS,      /* flags_read not a superset, or flags_write not a subset */
    DIFF_VECTOR,     /* vector length, mask register */
    DIFF_TRUNCATION, /* a part of a valid instruction must be DECODE_TRUNCATED, nothing else */
    DIFF_PLAIN,      /* insn_decode_quick() against insn_decode() */
    DIFF_CAPSTONE_LENGTH,
    DIFF_CAPSTONE_INVALID, /* Capstone rejects, Zydis and we accept */
    DIFF_CAPSTONE_VALID,   /* Capstone accepts, Zydis and we reject */
    DIFF_KINDS
};
extern const char *const diff_names[DIFF_KINDS];

/* Two views of the same bytes. */
struct views {
    const uint8_t *bytes;
    size_t avail;
    int err;
    struct insn in;
    bool z_valid;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    bool c_valid;
    unsigned c_len, c_id;
};

/* A difference that is known and right: counted, not failed. `what` (may be NULL: any) narrows it.
 */
struct explained {
    enum diff_kind kind;
    bool (*what)(const struct views *v);
    const char *why;
    unsigned long count;
};
extern struct explained explained[];
extern const size_t explained_count;

/* All differences between the views, as a bit mask of enum diff_kind. `detail` gets one line for
 * the last one found. */
unsigned compare_views(const struct views *v, char *detail, size_t size);

#endif
