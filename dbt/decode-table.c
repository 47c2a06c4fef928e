/* SPDX-License-Identifier: MIT */
/*
 * The opcode table: expands the list in decode-rows.inc into rows, names and the index. It must not decide anything
 * about a particular instruction's bytes; that is decode.c's.
 *
 * The list is read several times with ROW() meaning something else each time. A row is identified by its file (LIST), its
 * line and a letter (for macros that make several rows), so that the index can name rows before the array exists.
 */
#include "dbt/decode-table.h"

#define PASTE_(a, b, c) a##_##b##_##c
#define PASTE(a, b, c)  PASTE_(a, b, c)
#define ID(x)           PASTE(LIST, __LINE__, x)

#define FIELD(name, v) ((uint64_t)(v) << OP_SHIFT_##name)
#include "dbt/decode-words.inc"

/* Group numbers: in the order of their X() lines. */
#define ROW(x, slots, name, kind, sens, spec, gr, gw, fr, fw)
#define X(slots, group, sel) g_##group,
enum opc_group {
#include "dbt/decode-rows.inc"
    OPC_GROUPS
};
#undef ROW
#undef X

/* Row numbers; row 0 is "no such instruction". */
#define ROW(x, slots, name, kind, sens, spec, gr, gw, fr, fw) ID(x),
#define X(slots, group, sel)                                  ID(a),
enum opc_row {
    OPC_ROW_INVALID,
#include "dbt/decode-rows.inc"
    OPC_ROWS
};
#undef ROW
#undef X

/*
 * Names: one string pool without pointers, hence without relocations. Every name has a "v" before it, so that both names
 * of a row for legacy and VEX encodings are there.
 */
#define ROW(x, slots, name, kind, sens, spec, gr, gw, fr, fw) char ID(x)[sizeof("v" name)];
#define X(slots, group, sel)
struct name_pool {
    char invalid[sizeof("v(bad)")];
#include "dbt/decode-rows.inc"
};
#undef ROW
_Static_assert(sizeof(struct name_pool) <= UINT16_MAX, "opc.name is 16 bits");

#define ROW(x, slots, name, kind, sens, spec, gr, gw, fr, fw) "v" name,
static const struct name_pool names = {
    "v(bad)",
#include "dbt/decode-rows.inc"
};
#undef ROW
#undef X

#define ROW(x, slots, name, kind, sens, spec, gr, gw, fr, fw)                                      \
    { (spec), offsetof(struct name_pool, ID(x)), (kind), (sens), (gr), (gw), (fr), (fw) },
#define X(slots, group, sel) { (g_##group), 0, OPC_GROUP, (sel), 0, 0, 0, 0 },
const struct opc opc_rows[] = {
    { 0, 0, INSN_UD, SENS_NONE, 0, 0, 0, 0 },
#include "dbt/decode-rows.inc"
};
#undef ROW
#undef X
_Static_assert(ARRAY_SIZE(opc_rows) == OPC_ROWS, "one row per line");

#define ROW(x, slots, name, kind, sens, spec, gr, gw, fr, fw) slots
#define X(slots, group, sel)                                  slots
#define AT(x, place)                                          [place] = ID(x),
const uint16_t opc_index[OPC_GROUP_BASE + 8 * OPC_GROUPS] = {
#include "dbt/decode-rows.inc"
};

const char *opc_name(unsigned row)
{
    return (const char *)&names + opc_rows[row < OPC_ROWS ? row : OPC_ROW_INVALID].name;
}
