/* SPDX-License-Identifier: MIT */
/*
 * The enumeration of test-dbt-operands.c: prefixes x opcodes x ModRM.reg x operand shapes, filtered by the decoder. It must not
 * know opcodes: what an encoding is, the decoder says, and the CPU judges.
 */
#include "tests/host/operand-forms.h"

#include <string.h>

const char *const operand_shape_name[SHAPE_COUNT] = {
    [SHAPE_NONE] = "no ModRM",          [SHAPE_REG] = "register",         [SHAPE_DISP8] = "[rsi+disp8]",
    [SHAPE_DISP32] = "[rsi+disp32]",    [SHAPE_SIB] = "[rsi+rcx*scale]",  [SHAPE_STACK] = "[rsp+disp8]",
    [SHAPE_ABS] = "[disp32]",           [SHAPE_RIP_LOW] = "[rip] low",    [SHAPE_RIP_FAR] = "[rip] far",
    [SHAPE_RIP_REACH] = "[rip] in reach",
};

const char *const operand_exclude_reason[EXCLUDE_COUNT] = {
    [EXCLUDE_NOT] = "",
    [EXCLUDE_SENSITIVE] = "sensitive: the monitor's",
    [EXCLUDE_RANDOM] = "random or time-dependent result",
    [EXCLUDE_HISTORY] = "result depends on history",
    [EXCLUDE_HOST] = "would take FS or GS from the host",
    [EXCLUDE_VENDOR] = "near branch with 66: vendors differ",
    [EXCLUDE_STACK] = "branch to rsp",
    [EXCLUDE_UNDEFINED] = "undefined encoding",
    [EXCLUDE_REPEAT] = "left out of a partial run",
};

/* Work in progress. */
struct enumeration {
    void (*fn)(const struct operand_form *form);
    unsigned long *excluded;
    unsigned part;
    unsigned long serial;
    uint8_t head[8]; /* bytes up to and including the opcode */
    unsigned head_len;
};

#define MAX_ROWS 4096
static bool seen[MAX_ROWS][SHAPE_COUNT][3]; /* by encoding too */

static bool name_begins(const struct insn *insn, const char *const *names)
{
    for (; *names; names++) {
        if (!strncmp(insn_name(insn), *names, strlen(*names))) {
            return true;
        }
    }
    return false;
}

static enum operand_exclude classify(const struct insn *insn)
{
    static const char *const random[] = {"rdrand", "rdseed", "rdtsc", "rdpru", "umwait", "tpause", NULL};
    static const char *const history[] = {"xsaveopt", NULL};
    static const char *const host[] = {"wrfsbase", "wrgsbase", NULL};
    bool branch = insn->kind != INSN_COPY && insn->kind != INSN_SENS && insn->kind != INSN_UD;

    if (name_begins(insn, random)) {
        return EXCLUDE_RANDOM;
    }
    if (name_begins(insn, history)) {
        return EXCLUDE_HISTORY;
    }
    if (name_begins(insn, host)) {
        return EXCLUDE_HOST;
    }
    if (insn->kind == INSN_SENS && insn->sens != SENS_XGETBV && insn->sens != SENS_RDFSBASE && insn->sens != SENS_RDGSBASE &&
        insn->sens != SENS_FNSTENV && insn->sens != SENS_FNSAVE) {
        return EXCLUDE_SENSITIVE;
    }
    if (branch && insn->pfx & PFX_OSZ) {
        return EXCLUDE_VENDOR;
    }
    if ((insn->kind == INSN_JMP_IND || insn->kind == INSN_CALL_IND) && !insn->is_mem && insn->rm == R_ESP) {
        return EXCLUDE_STACK;
    }
    return EXCLUDE_NOT;
}

static void offer(struct enumeration *en, const struct operand_form *form, int decoded)
{
    enum operand_exclude why;

    if (decoded != DECODE_OK) {
        if (en->serial++ % (UNDEFINED_PART * en->part)) {
            en->excluded[EXCLUDE_UNDEFINED]++;
            return;
        }
        en->fn(form);
        return;
    }
    why = classify(&form->insn);
    if (why != EXCLUDE_NOT) {
        en->excluded[why]++;
        return;
    }
    bool *first = &seen[form->insn.row % MAX_ROWS][form->shape][MIN(form->insn.enc, ENC_EVEX)];
    if (*first && en->serial++ % en->part) {
        en->excluded[EXCLUDE_REPEAT]++;
        return;
    }
    *first = true;
    en->fn(form);
}

/* ModRM, SIB and displacement; returns their length. */
static unsigned put_modrm(uint8_t *p, enum operand_shape shape, unsigned reg, unsigned rm, unsigned scale)
{
    static const struct {
        uint8_t len, modrm, sib, disp;
    } form[SHAPE_COUNT] = {
        [SHAPE_REG] = {1, 0xc0, 0, 0},          [SHAPE_DISP8] = {2, 0x46, 0, 0},
        [SHAPE_DISP32] = {5, 0x86, 0x40, 0},    [SHAPE_SIB] = {2, 0x04, 0x0e, 0},
        [SHAPE_STACK] = {3, 0x44, 0x24, 0x20},  [SHAPE_ABS] = {6, 0x04, 0x25, 0},
        [SHAPE_RIP_LOW] = {5, 0x05, 0, 0},      [SHAPE_RIP_FAR] = {5, 0x05, 0, 0},
        [SHAPE_RIP_REACH] = {5, 0x05, 0, 0},
    };

    memset(p, 0, 8);
    p[0] = (uint8_t)(form[shape].modrm | reg << 3 | (shape == SHAPE_REG ? rm : 0));
    p[1] = form[shape].sib;
    p[2] = form[shape].disp;
    if (shape == SHAPE_SIB) {
        p[1] |= (uint8_t)(scale << 6);
    }
    return form[shape].len;
}

/* Complete head[] with one operand, decode. */
static int make_form(const struct enumeration *en, struct operand_form *form, enum operand_shape shape, unsigned reg,
                     unsigned rm, bool evex)
{
    static const uint8_t imm[] = {0x13, 0x22, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    uint8_t p[32] = {0};
    unsigned n = en->head_len;

    memcpy(p, en->head, n);
    if (shape != SHAPE_NONE) {
        n += put_modrm(p + n, shape, reg, rm, (unsigned)en->serial & 3);
        if (shape == SHAPE_DISP8) {
            p[n - 1] = evex ? 1 : 0x40; /* times the operand's size */
        }
    }
    memcpy(p + n, imm, sizeof(imm));
    form->shape = (uint8_t)shape;
    memcpy(form->bytes, p, INSN_MAX_LEN);
    return insn_decode(&form->insn, form->bytes, INSN_MAX_LEN);
}

/* What the decoder finds behind head[] with any ModRM. */
struct head_facts {
    bool exists;    /* some row */
    bool reg_group; /* the row depends on ModRM.reg */
};

static struct head_facts find_facts(const struct enumeration *en, bool evex)
{
    struct head_facts facts = {0};
    struct operand_form form;
    unsigned row[2] = {0, 0};

    for (unsigned reg = 0; reg < 8; reg++) {
        for (unsigned k = 0; k < 2; k++) {
            make_form(en, &form, k ? SHAPE_SIB : SHAPE_REG, reg, 3, evex);
            facts.exists |= form.insn.row != 0;
            facts.reg_group |= reg && form.insn.row != row[k];
            row[k] = form.insn.row;
        }
    }
    return facts;
}

/* Does the row depend on ModRM.rm of a register form? */
static bool is_rm_group(const struct enumeration *en, unsigned reg, bool evex)
{
    struct operand_form form;
    unsigned row = 0;

    for (unsigned rm = 0; rm < 8; rm++) {
        make_form(en, &form, SHAPE_REG, reg, rm, evex);
        if (rm && form.insn.row != row) {
            return true;
        }
        row = form.insn.row;
    }
    return false;
}

static void shapes_of_reg(struct enumeration *en, unsigned reg, bool evex)
{
    struct operand_form form;
    bool rm_group = is_rm_group(en, reg, evex);

    for (unsigned rm = 0; rm < 8; rm++) {
        if (rm_group || rm == 3 || rm == 4) {
            offer(en, &form, make_form(en, &form, SHAPE_REG, reg, rm, evex));
        }
    }
    for (enum operand_shape shape = SHAPE_DISP8; shape < SHAPE_COUNT; shape++) {
        offer(en, &form, make_form(en, &form, shape, reg, 0, evex));
    }
}

/* All forms of head[]. False if the decoder knows none. */
static bool forms_of_head(struct enumeration *en, bool evex)
{
    struct operand_form form;
    struct head_facts facts;
    int decoded = make_form(en, &form, SHAPE_REG, 0, 3, evex);

    if (decoded == DECODE_OK && !form.insn.has_modrm) {
        offer(en, &form, make_form(en, &form, SHAPE_NONE, 0, 0, evex));
        return true;
    }
    facts = find_facts(en, evex);
    if (!facts.exists) {
        offer(en, &form, decoded);
        return false;
    }
    for (unsigned reg = 0; reg < 8; reg++) {
        if (facts.reg_group || reg == 2 || (reg == 5 && !evex)) {
            shapes_of_reg(en, reg, evex);
        }
    }
    return true;
}

static void legacy_forms(struct enumeration *en, unsigned map, unsigned opcode)
{
    static const struct {
        uint8_t len, bytes[2];
        bool all_rex;
    } prefixes[] = {
        {0, {0}, true},     {1, {0x66}, true},        {1, {0xf2}, false},       {1, {0xf3}, false},   {1, {0x67}, false},
        {1, {0x65}, false}, {2, {0x66, 0xf2}, false}, {2, {0x66, 0xf3}, false}, {1, {0xf0}, false},   {2, {0x67, 0x66}, false},
    };
    static const uint8_t rexes[] = {0, 0x48, 0x41, 0x44, 0x42, 0x4f, 0x40};
    static const uint8_t escape[4][2] = {{0}, {0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}};
    static const uint8_t escape_len[4] = {0, 1, 2, 2};

    for (unsigned i = 0; i < ARRAY_SIZE(prefixes); i++) {
        for (unsigned r = 0; r < (prefixes[i].all_rex ? ARRAY_SIZE(rexes) : 2); r++) {
            unsigned n = prefixes[i].len;

            memcpy(en->head, prefixes[i].bytes, n);
            if (rexes[r]) {
                en->head[n++] = rexes[r];
            }
            memcpy(en->head + n, escape[map], escape_len[map]);
            n += escape_len[map];
            en->head[n++] = (uint8_t)opcode;
            en->head_len = n;
            forms_of_head(en, false);
        }
    }
}

static bool is_prefix_or_escape(unsigned map, unsigned op)
{
    static const uint8_t map0[] = {0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x62, 0x64, 0x65, 0x66, 0x67, 0xc4, 0xc5, 0xf0, 0xf2, 0xf3};

    if (map == 1) {
        return op == 0x38 || op == 0x3a;
    }
    return map == 0 && (memchr(map0, (int)op, sizeof(map0)) || (op & 0xf0) == 0x40);
}

/* VEX.vvvv or EVEX.vvvv as encoded: register 2, or none. */
static uint8_t vvvv_bits(bool used)
{
    return (uint8_t)((used ? ~2u & 15 : 15) << 3);
}

/* One W and pp; bits: L, RXB extended, vvvv used. Some with 67 or gs before. False if there are none. */
static bool vex_forms(struct enumeration *en, unsigned map, unsigned opcode, unsigned w, unsigned pp)
{
    static const uint8_t before[] = {0, 0, 0, 0x67, 0, 0, 0, 0x65};
    bool any = false;

    for (unsigned bits = 0; bits < 8; bits++) {
        unsigned l = bits & 1, ext = bits & 2;
        uint8_t last = (uint8_t)(vvvv_bits(bits & 4) | l << 2 | pp);
        unsigned n = 0;

        if (before[opcode & 7]) {
            en->head[n++] = before[opcode & 7];
        }
        if (map == 1 && !w && !ext && (opcode & 1)) {
            en->head[n++] = 0xc5;
            en->head[n++] = 0x80 | last;
        } else {
            en->head[n++] = 0xc4;
            en->head[n++] = (uint8_t)((ext ? 0 : 0xe0) | map);
            en->head[n++] = (uint8_t)(w << 7 | last);
        }
        en->head[n++] = (uint8_t)opcode;
        en->head_len = n;
        any |= forms_of_head(en, false);
    }
    return any;
}

/* One W and pp; bits: L'L (0..2), b, registers extended, vvvv used; no mask, merging, zeroing. False if there are none. */
static bool evex_forms(struct enumeration *en, unsigned map, unsigned opcode, unsigned w, unsigned pp)
{
    static const uint8_t masks[] = {0x00, 0x01, 0x81};
    bool any = false;

    for (unsigned bits = 0; bits < 8 * 9; bits++) {
        unsigned ll = bits / 8 % 3, b = bits & 1, mask = masks[bits / 24];

        en->head[0] = 0x62;
        en->head[1] = (uint8_t)((bits & 2 ? 0 : 0xf0) | map);
        en->head[2] = (uint8_t)(w << 7 | vvvv_bits(bits & 4) | 4 | pp);
        en->head[3] = (uint8_t)(mask | ll << 5 | b << 4 | 8);
        en->head[4] = (uint8_t)opcode;
        en->head_len = 5;
        any |= forms_of_head(en, true);
    }
    return any;
}

void operand_forms(unsigned part, bool evex, void (*fn)(const struct operand_form *form),
                   unsigned long excluded[EXCLUDE_COUNT])
{
    static const uint8_t evex_maps[] = {1, 2, 3, 5, 6};
    static bool empty[8][256][8]; /* places found to have no encodings, in an earlier enumeration: 3 VEX maps, 5 EVEX maps */
    struct enumeration en = {.fn = fn, .excluded = excluded, .part = part};

    memset(seen, 0, sizeof(seen));
    for (unsigned op = 0; op < 256; op++) {
        for (unsigned map = 0; map < 4; map++) {
            if (!is_prefix_or_escape(map, op)) {
                legacy_forms(&en, map, op);
            }
        }
        for (unsigned w_pp = 0; w_pp < 8; w_pp++) {
            for (unsigned i = 0; i < (evex ? 8 : 3); i++) {
                if (!empty[i][op][w_pp]) {
                    empty[i][op][w_pp] = !(i < 3 ? vex_forms(&en, i + 1, op, w_pp & 1, w_pp >> 1)
                                                 : evex_forms(&en, evex_maps[i - 3], op, w_pp & 1, w_pp >> 1));
                }
            }
        }
    }
}
