/* SPDX-License-Identifier: MIT */
/*
 * Rule: an immediate, a displacement, or the distance of a branch may be patched before every execution, however often: the
 * instruction does what the same bytes do at a place where they were never patched, flags and memory included.
 */
#include "tests/payloads/lib/smc.h"

#define PASSES 40
#define DATA_BYTES 512u
#define ALL 0x8d5u      /* CF PF AF ZF SF OF */
#define LOGIC 0x8c5u    /* AF is undefined */
#define ROTATE 0x01u
#define SHIFT 0xc4u     /* CF is undefined where the count is beyond the operand, AF always, OF but for 1 */
#define PRODUCT 0x801u
#define REST 0x100u     /* offsets that stay in the data: multiples of 8 */

struct form {
    const char *name;
    uint8_t len, field, field_len; /* bytes; where the field is */
    uint16_t flags;                /* those that are defined; REST */
    uint8_t bytes[14];
};

/* rax, rdx: two values; rsi: data; rcx: 8. */
static const struct form forms[] = {
    {"add-sx8-q", 4, 3, 1, ALL, {0x48, 0x83, 0xc0, 0}},
    {"sub-sx8-l", 3, 2, 1, ALL, {0x83, 0xe8, 0}},
    {"and-sx8-w", 4, 3, 1, LOGIC, {0x66, 0x83, 0xe0, 0}},
    {"xor-sx8-r9", 10, 6, 1, LOGIC, {0x49, 0x89, 0xc1, 0x49, 0x83, 0xf1, 0, 0x4c, 0x89, 0xc8}},
    {"cmp-sx32-rax", 6, 2, 4, ALL, {0x48, 0x3d, 0, 0, 0, 0}},
    {"add-sx32-rax", 6, 2, 4, ALL, {0x48, 0x05, 0, 0, 0, 0}},
    {"test-sx32-rax", 6, 2, 4, LOGIC, {0x48, 0xa9, 0, 0, 0, 0}},
    {"sub-sx32-rdx", 10, 3, 4, ALL, {0x48, 0x81, 0xea, 0, 0, 0, 0, 0x48, 0x89, 0xd0}},
    {"test-sx32-rdx", 7, 3, 4, LOGIC, {0x48, 0xf7, 0xc2, 0, 0, 0, 0}},
    {"adc-b-ah", 3, 2, 1, ALL, {0x80, 0xd4, 0}},
    {"mov-b-m", 3, 2, 1, ALL, {0xc6, 0x06, 0}},
    {"mov-w-m", 5, 3, 2, ALL, {0x66, 0xc7, 0x06, 0, 0}},
    {"mov-l-m", 6, 2, 4, ALL, {0xc7, 0x06, 0, 0, 0, 0}},
    {"mov-q-m", 8, 4, 4, ALL, {0x48, 0xc7, 0x46, 0, 0, 0, 0, 0}},
    {"add-b-m", 5, 4, 1, ALL, {0x80, 0x44, 0x0e, 0, 0}},
    {"sbb-w-m", 6, 4, 2, ALL, {0x66, 0x81, 0x5e, 0x06, 0, 0}},
    {"lock-or-l-m", 7, 3, 4, LOGIC, {0xf0, 0x81, 0x0e, 0, 0, 0, 0}},
    {"xor-sx8-q-m", 6, 5, 1, LOGIC, {0x48, 0x83, 0x74, 0x0e, 0x10, 0}},
    {"cmp-sx32-q-m", 7, 3, 4, ALL, {0x48, 0x81, 0x3e, 0, 0, 0, 0}},
    {"test-b-m", 3, 2, 1, LOGIC, {0xf6, 0x06, 0}},
    {"test-q-m", 7, 3, 4, LOGIC, {0x48, 0xf7, 0x06, 0, 0, 0, 0}},
    {"push-8", 3, 1, 1, ALL, {0x6a, 0, 0x58}},
    {"push-32", 6, 1, 4, ALL, {0x68, 0, 0, 0, 0, 0x58}},
    {"imul-8-q", 4, 3, 1, PRODUCT, {0x48, 0x6b, 0xc2, 0}},
    {"imul-32-l", 6, 2, 4, PRODUCT, {0x69, 0xc0, 0, 0, 0, 0}},
    {"imul-16-w", 5, 3, 2, PRODUCT, {0x66, 0x69, 0xc2, 0, 0}},
    {"imul-32-q-m", 8, 4, 4, PRODUCT, {0x48, 0x69, 0x46, 0x08, 0, 0, 0, 0}},
    {"shl-q", 4, 3, 1, SHIFT, {0x48, 0xc1, 0xe0, 0}},
    {"sar-l-m", 3, 2, 1, SHIFT, {0xc1, 0x3e, 0}},
    {"rol-q-m", 4, 3, 1, ROTATE, {0x48, 0xc1, 0x06, 0}},
    {"disp8-load", 4, 3, 1, ALL | REST, {0x48, 0x8b, 0x46, 0}},
    {"disp32-load", 7, 3, 4, ALL | REST, {0x48, 0x8b, 0x86, 0, 0, 0, 0}},
    {"disp32-load-index", 8, 4, 4, ALL | REST, {0x48, 0x8b, 0x84, 0x0e, 0, 0, 0, 0}},
    {"disp32-load-rsp", 12, 8, 4, ALL | REST, {0x48, 0x87, 0xf4, 0x90, 0x48, 0x8b, 0x84, 0x24, 0, 0, 0, 0}},
    {"disp8-store", 4, 3, 1, ALL | REST, {0x48, 0x89, 0x46, 0}},
    {"disp32-add-store", 7, 3, 4, ALL | REST, {0x48, 0x01, 0x86, 0, 0, 0, 0}},
    {"disp32-imm-store", 11, 3, 4, ALL | REST, {0x48, 0xc7, 0x86, 0, 0, 0, 0, 0x78, 0x56, 0x34, 0x12}},
    {"disp32-lea", 7, 3, 4, ALL | REST, {0x48, 0x8d, 0x82, 0, 0, 0, 0}},
    {"disp32-cmpxchg", 9, 5, 4, ALL | REST, {0xf0, 0x48, 0x0f, 0xb1, 0x96, 0, 0, 0, 0}},
};

/* rax = rdi, rcx = 8, the flags those of xor; the form; the stack pointer, if exchanged, again; pushf; pop (%r8) */
static uint8_t *make(uint8_t *p, const struct form *f, uint32_t field)
{
    bool stack = f->bytes[1] == 0x87 && f->bytes[2] == 0xf4;

    p = EMIT(p, 0x48, 0x89, 0xf8, 0x49, 0x89, 0xc8, 0x31, 0xc9, 0xb1, 0x08); /* mov rdi, rax; mov rcx, r8; xor ecx, ecx; mov 8, cl */
    uint8_t *insn = p;
    memcpy(p, f->bytes, f->len);
    memcpy(p + f->field, &field, f->field_len);
    p += f->len;
    if (stack) {
        p = EMIT(p, 0x48, 0x87, 0xf4); /* xchg rsi, rsp */
    }
    EMIT(p, 0x9c, 0x41, 0x8f, 0x00, INSN_RET);
    return insn;
}

#define FORM_BYTES 48u

static uint64_t random_state;
static uint64_t next_random(void)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return random_state >> 24;
}

struct outcome {
    uint64_t rax, flags;
    uint8_t data[DATA_BYTES];
};

static void execute(const void *code, uint64_t a, uint64_t b, uint64_t seed, struct outcome *o)
{
    for (unsigned i = 0; i < DATA_BYTES; i++) {
        o->data[i] = (uint8_t)(seed * (i + 1) >> 3);
    }
    o->rax = ((code_fn *)(uint64_t)code)(a, (uint64_t)o->data + 128, b, (uint64_t)&o->flags);
}

static void compare(const struct form *f, const struct outcome *got, const struct outcome *expected)
{
    uint64_t diff = 0;

    if (f->bytes[1] == 0x8d) { /* lea of rdx */
        CHECK_EQ(got->rax, expected->rax);
        return;
    }
    for (unsigned i = 0; i < DATA_BYTES; i++) {
        diff += got->data[i] != expected->data[i];
    }
    CHECK_EQ(diff, 0);
    CHECK_EQ(got->rax, expected->rax);
    CHECK_EQ(got->flags & f->flags & ALL, expected->flags & f->flags & ALL);
}

/* The same data for both, so that addresses are the same. */
static struct outcome now, got;

static struct input {
    uint64_t a, b, seed;
    uint32_t field;
} input[PASSES];

static void make_inputs(const struct form *f)
{
    random_state = (uint64_t)(f - forms) + 1;
    for (unsigned i = 0; i < PASSES; i++) {
        uint64_t high = next_random() << 24;
        struct input in = {high ^ next_random(), next_random(), next_random(), (uint32_t)next_random()};

        if (f->flags & REST) {
            in.field = f->field_len == 1 ? (uint8_t)(in.field % 24 * 8 - 96) : in.field % 40 * 8;
        }
        input[i] = in;
    }
}

static void patch_form(const struct form *f)
{
    uint8_t *code = page_alloc(), *fresh = page_alloc();
    uint8_t *insn = make(code, f, 0);

    make_inputs(f);
    for (unsigned i = 0; i < PASSES; i++) {
        make(fresh + i * FORM_BYTES, f, input[i].field);
    }
    for (unsigned i = 0; i < PASSES; i++) {
        const struct input *in = &input[i];

        memcpy(insn + f->field, &in->field, f->field_len);
        execute(code, in->a, in->b, in->seed, &now);
        got = now;
        execute(fresh + i * FORM_BYTES, in->a, in->b, in->seed, &now);
        compare(f, &got, &now);
    }
    smc_stores(PASSES * 4);
}

static void patch_forms(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        patch_form(&forms[i]);
    }
}

static void sign_extended(void)
{
    patch_forms(0, 10);
}

static void to_memory(void)
{
    patch_forms(10, 11);
}

static void push_and_multiply(void)
{
    patch_forms(21, 6);
}

static void shift_counts(void)
{
    patch_forms(27, 3);
}

static void displacements(void)
{
    patch_forms(30, (unsigned)ARRAY_SIZE(forms) - 30);
}

/* ---- operands relative to RIP, of which the immediate is patched ---- */

static void beside_rip(void)
{
    uint8_t *code = page_alloc(), *data = page_alloc();
    uint32_t sum = 0, found;

    /* addl $0, data(%rip); ret */
    uint8_t *p = EMIT(code, 0x81, 0x05);
    p = emit32(p, (uint32_t)(data - (code + 10)));
    EMIT(emit32(p, 0), INSN_RET);
    for (uint32_t i = 1; i <= PASSES; i++) {
        emit32(code + 6, i * 0x10203);
        sum += i * 0x10203;
        call(code, 0, 0);
        memcpy(&found, data, 4);
        CHECK_EQ(found, sum);
    }
    smc_stores(2 * PASSES);
}

/* ---- branches ---- */

#define TARGETS 16u

/* Functions that return their number, behind 1 KiB of the page. */
static void make_targets(uint8_t *page)
{
    for (unsigned i = 0; i < TARGETS; i++) {
        emit_return(page + 1024 + 16 * i, 1000 + i);
    }
}

/* insn: its rel32 is its last four bytes, the first at rel. */
static void patch_branch(uint8_t *page, uint8_t *rel, uint64_t a, uint64_t not_taken)
{
    make_targets(page);
    for (unsigned i = 0; i < 2 * PASSES; i++) {
        unsigned target = i * 7 % TARGETS;

        emit32(rel, (uint32_t)(page + 1024 + 16 * target - (rel + 4)));
        CHECK_EQ(call(page, a, 0), 1000 + target);
        if (not_taken) {
            CHECK_EQ(call(page, 0, 0), not_taken);
        }
    }
    smc_stores(4 * PASSES + 2 * TARGETS + 16);
}

static void call_rel32(void)
{
    uint8_t *page = page_alloc();

    EMIT(emit32(EMIT(page, 0x48, 0x31, 0xc9, 0xe8), 0), 0x48, 0x01, 0xc8, INSN_RET); /* xor rcx, rcx; call; add rcx, rax; ret */
    patch_branch(page, page + 4, 0, 0);
}

static void jmp_rel32(void)
{
    uint8_t *page = page_alloc();

    emit32(EMIT(page, INSN_JMP), 0);
    patch_branch(page, page + 1, 0, 0);
}

static void jcc_rel32(void)
{
    uint8_t *page = page_alloc();

    emit_return(emit32(EMIT(page, 0x85, 0xff, 0x0f, 0x85), 0), 77); /* test edi, edi; jnz; mov $77, eax; ret */
    patch_branch(page, page + 4, 1, 77);
}

/* ---- faults ---- */

/* mov $imm, (%rsi) beside its data: the store is one to a page with code, at every pass. */
static void store_beside(void)
{
    uint8_t *code = page_alloc();
    uint32_t found;

    EMIT(emit32(EMIT(code, 0xc7, 0x06), 0), INSN_RET);
    for (uint32_t i = 1; i <= PASSES; i++) {
        emit32(code + 2, i);
        call(code, 0, (uint64_t)(code + 512));
        memcpy(&found, code + 512, 4);
        CHECK_EQ(found, i);
    }
    smc_stores(2 * PASSES);
}

/* addl $imm, (%rsi) with its own immediate as the operand: it doubles. */
static void doubles_itself(void)
{
    uint8_t *code = page_alloc();
    uint32_t expected = 3, found;

    EMIT(emit32(EMIT(code, 0x81, 0x06), expected), INSN_RET);
    for (uint32_t i = 1; i <= PASSES; i++) {
        call(code, 0, (uint64_t)(code + 2));
        expected = expected * 2 + (i % 8 == 0);
        memcpy(&found, code + 2, 4);
        CHECK_EQ(found + (i % 8 == 0), expected);
        if (i % 8 == 0) {
            emit32(code + 2, expected);
        }
    }
    smc_stores(2 * PASSES);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"sign-extended", sign_extended}, {"to-memory", to_memory}, {"push-and-multiply", push_and_multiply},
        {"shift-counts", shift_counts},   {"displacements", displacements}, {"beside-rip", beside_rip},
        {"call-rel32", call_rel32},       {"jmp-rel32", jmp_rel32},         {"jcc-rel32", jcc_rel32},
        {"store-beside", store_beside},   {"doubles-itself", doubles_itself},
    };
    return run_smc_cases("smc-fields", cases, ARRAY_SIZE(cases));
}
