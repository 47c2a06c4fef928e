/* SPDX-License-Identifier: MIT */
/*
 * Rule: whatever the instruction that stores (size, locked or not, string, stack, x87, SSE, AVX, bit offset beyond its
 * operand, what the monitor stores for sgdt or a far call), the next instruction executed is the new one and the store is applied
 * once (SMC cases 16, 17, 19, 20, 23-25).
 */
#include "tests/payloads/lib/smc.h"
#include "tests/payloads/lib/trap.h"

/* What the target becomes, from its old value and rdi. */
typedef uint64_t model_fn(uint64_t old, uint64_t v);

static uint64_t whole(uint64_t old, uint64_t v) { return v; }
static uint64_t low8(uint64_t old, uint64_t v) { return (old & ~0xffull) | (v & 0xff); }
static uint64_t low16(uint64_t old, uint64_t v) { return (old & ~0xffffull) | (v & 0xffff); }
static uint64_t low32(uint64_t old, uint64_t v) { return (old & ~0xffffffffull) | (uint32_t)v; }
static uint64_t imm8(uint64_t old, uint64_t v) { return (old & ~0xffull) | 0x5a; }
static uint64_t one(uint64_t old, uint64_t v) { return (old & ~0xffull) | 1; }
static uint64_t zero(uint64_t old, uint64_t v) { return old & ~0xffull; }
static uint64_t repeated(uint64_t old, uint64_t v) { return (v & 0xff) * 0x0101010101010101ull; }
static uint64_t sum(uint64_t old, uint64_t v) { return old + v; }
static uint64_t difference(uint64_t old, uint64_t v) { return old - v; }
static uint64_t exclusive(uint64_t old, uint64_t v) { return old ^ v; }
static uint64_t plus_one(uint64_t old, uint64_t v) { return old + 1; }
static uint64_t negated(uint64_t old, uint64_t v) { return -old; }
static uint64_t inverted(uint64_t old, uint64_t v) { return ~old; }
static uint64_t shifted(uint64_t old, uint64_t v) { return old << 3; }
static uint64_t double_shift(uint64_t old, uint64_t v) { return old << 5 | v >> 59; }
static uint64_t kept(uint64_t old, uint64_t v) { return old; }
static uint64_t control_word(uint64_t old, uint64_t v) { return (old & ~0xffffull) | 0x37f | (v & 0xc00); }
static uint64_t mxcsr(uint64_t old, uint64_t v) { return (old & ~0xffffffffull) | 0x1f80 | (v & 0x603f); }
static uint64_t flags(uint64_t old, uint64_t v) { return (v & 0x8d5) | 2; }
static uint64_t double_of(uint64_t old, uint64_t v) { return v << 12 >> 12 | 0x3ffull << 52; }
static uint64_t base(uint64_t old, uint64_t v) { return (uint64_t)((int64_t)(v << 16) >> 16); }
static uint64_t at_offset(uint64_t old, uint64_t v, uint16_t word)
{
    return (old & ~(0xffffull << (v & 6) * 8)) | (uint64_t)word << (v & 6) * 8;
}
static uint64_t word_tr(uint64_t old, uint64_t v) { return at_offset(old, v, SEL_TSS); }
static uint64_t word_ldt(uint64_t old, uint64_t v) { return at_offset(old, v, 0); }
static uint64_t word_cr0(uint64_t old, uint64_t v) { return at_offset(old, v, (uint16_t)read_cr0()); }
static uint64_t word_cs(uint64_t old, uint64_t v) { return at_offset(old, v, SEL_KCODE); }
static uint64_t bit_set(uint64_t old, uint64_t v) { return old | 1ull << (v & 63); }

/* The model is NULL where the new value is only known to be what memory holds. */
#define FORMS(X) \
    X(mov8, low8) \
    X(mov16, low16) \
    X(mov32, low32) \
    X(mov64, whole) \
    X(mov64_sib, whole) \
    X(mov8_imm, imm8) \
    X(movnti, whole) \
    X(movbe, whole) \
    X(stosb, low8) \
    X(stosq, whole) \
    X(rep_stosb, repeated) \
    X(movsq, whole) \
    X(rep_movsb, whole) \
    X(push, whole) \
    X(pop_mem, whole) \
    X(xchg, whole) \
    X(xadd, sum) \
    X(add, sum) \
    X(lock_add, sum) \
    X(lock_sub, difference) \
    X(xor, exclusive) \
    X(inc, plus_one) \
    X(neg, negated) \
    X(not, inverted) \
    X(shl, shifted) \
    X(shld, double_shift) \
    X(cmpxchg, whole) \
    X(cmpxchg_fail, kept) \
    X(cmpxchg8b, whole) \
    X(cmpxchg16b, whole) \
    X(cmpxchg8b_fail, kept) \
    X(cmpxchg16b_fail, kept) \
    X(setz, one) \
    X(seta, zero) \
    X(bts_far, bit_set) \
    X(movq_xmm, whole) \
    X(movups, whole) \
    X(movaps, whole) \
    X(movntdq, whole) \
    X(maskmovdqu, whole) \
    X(movmmx, whole) \
    X(fistp, whole) \
    X(pextrq, whole) \
    X(vmovdqu, whole) \
    X(call, NULL) \
    X(vmaskmovps, whole) \
    X(fstpl, double_of) \
    X(fnstcw, control_word) \
    X(stmxcsr, mxcsr) \
    X(push_mem, whole) \
    X(enter, whole) \
    X(pushfq, flags) \
    X(call_mem, NULL) \
    X(call_far, NULL) \
    X(str, word_tr) \
    X(sldt, word_ldt) \
    X(smsw, word_cr0) \
    X(mov_sreg, word_cs) \
    X(sidt, base) \
    X(sgdt, base) \
    X(rip_relative, whole)

#define X(name, model) extern uint8_t form_##name[];
FORMS(X)
#undef X
extern uint8_t forms_end[];

struct form {
    const char *name;
    uint8_t *code;
    model_fn *model;
};
#define X(name, model) {#name, form_##name, model},
static const struct form forms[] = {FORMS(X){"", forms_end, NULL}};
#undef X

static bool have_avx2; /* set by main */

/* The immediate: the first 16-byte aligned address of the form after a `movabs` opcode. */
static uint64_t *find_target(uint8_t *code)
{
    uint8_t *p = (uint8_t *)ALIGN_UP((uint64_t)code + 2, 16);

    while (p[-2] != 0x48 || p[-1] != 0xb8) {
        p += 16;
    }
    return (uint64_t *)p;
}

/* Once: store `value` with the form that lies at `code`, entered at `entry`. */
static void run_form(const struct form *f, uint8_t *code, const void *entry, uint64_t value)
{
    uint64_t *target = find_target(code);
    uint64_t old = *target;
    uint8_t gdtr[10], idtr[10];

    smc_stores(1);
    __asm__ volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
    uint64_t got = ((code_fn *)(uint64_t)entry)(value, (uint64_t)target, 0, 0);
    if (f->model == base) {
        __asm__ volatile("lgdt %0; lidt %1" : : "m"(gdtr), "m"(idtr));
    }
    uint64_t expected = f->model ? f->model(old, value) : *target;

    check_eq(f->name, 0, "executed", got, expected);
    check_eq(f->name, 0, "memory", *target, expected);
    CHECK(got != old || expected == old);
}

/* On a page of its own that was not executed before; later runs are warm, and the last ones come by linked jumps. */
static void all_heats(const struct form *f)
{
    struct rng rng = {(uint64_t)(f - forms) + 1};
    uint8_t *page = page_alloc();
    uint8_t *far = page_alloc();

    if (f->name[0] == 'v' && !have_avx2) {
        printf("  %s: this CPU has no AVX2\n", f->name);
        smc_stores(0);
        return;
    }
    memcpy(page, f->code, (size_t)((f + 1)->code - f->code));
    emit_jmp(far, page);
    smc_guard(page + SMC_FREE);
    for (unsigned i = 0; i < 6; i++) {
        run_form(f, page, page, rng_next(&rng) | 1);
    }
    smc_check_guards();
    smc_guard(page + SMC_FREE - 2 * SMC_GUARD_SIZE);
    for (unsigned i = 0; i < 60; i++) {
        if (i % 8 == 0) { /* a form that always stores the same changes something again */
            smc_stores(1);
            *find_target(page) = rng_next(&rng);
        }
        run_form(f, page, far, rng_next(&rng) | 1);
    }
}

#define X(name, model) FORM_##name,
enum { FORMS(X) };
#undef X
#define X(name, model)                                                                             \
    static void case_##name(void)                                                                  \
    {                                                                                              \
        all_heats(&forms[FORM_##name]);                                                            \
    }
FORMS(X)
#undef X

int main(void)
{
#define X(name, model) {#name, case_##name},
    static const struct test_case cases[] = {FORMS(X)};
#undef X
    uint32_t r[4] = {0};

    trap_init();
    if (fpu_enable()) {
        cpuid(7, 0, r);
    }
    have_avx2 = r[1] >> 5 & 1;
    return run_smc_cases("smc-store-forms", cases, ARRAY_SIZE(cases));
}
