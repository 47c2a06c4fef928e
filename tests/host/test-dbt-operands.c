/* SPDX-License-Identifier: MIT */
/*
 * Enumerated differential test: every encoding that the decoder knows and that ring 3 can execute deterministically, in every
 * form of operand, alone: native against translated. Registers, flags, x87/SSE/AVX/AVX-512 state, memory and the exception that
 * ends the run must agree. Then one of each (table row, operand form) is put across a page boundary, and those that are not
 * merely copied are interrupted at each host instruction. At last their operands are put beside code: what they store faults, is
 * completed while the page stays protected, and must come to the same. What each changes natively must lie within the extent
 * that insn_accesses() tells beforehand.
 *
 * Usage: test-dbt-operands [part]: one in `part` of the forms, but every (row, form) at least once; 1 = all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/host.h"
#include "dbt/page-state.h"
#include "dbt/store-site.h"
#include "dbt/tb.h"
#include "kernel/lib/log.h"
#include "tests/host/diff.h"
#include "tests/host/operand-forms.h"
#include "tests/host/operand-images.h"

/* Layout in a window. */
#define DATA_OFF  0x100000u
#define STACK_OFF 0x180000u
#define CODE_OFF  0x200000u
#define AREA_SIZE 4096u  /* of data and of stack */
#define NEIGHBOUR 0xfc0u /* in both: code that is executed, in the pass beside code */
#define POINTER   0x400u /* where rsi and rsp point to, in their areas */
#define OPERAND   0x440u /* the operand in the data: rsi + 0x40 */
#define REACH_ADDR 0x90000440ull /* not mapped; within 2 GiB of the code cache and above the lowest 2 GiB */

#define BATCH      256u
#define SLOT_SIZE  32u
#define LANDING    24u /* in a slot: where its branches go, an int3 */
#define MAX_REPORT 20u

struct slot {
    struct operand_form form;
    uint64_t base, addr;
    struct diff_outcome native;
};

/* Owner: the one thread. */
static struct slot slots[BATCH];
static unsigned nr_slots;
static bool crossing;    /* the pass that places instructions across pages */
static bool beside;      /* the pass with code on the pages of data and stack */
static unsigned long nr_hot, nr_stores, nr_windows, nr_store_faults, nr_extents; /* in that pass; forms whose extent was compared */
static bool interrupted; /* the pass that interrupts everything that has glue, at each of its host instructions */
static unsigned long nr_run, nr_bad, nr_fault, nr_by_shape[SHAPE_COUNT], nr_by_enc[3], nr_crossing;
static unsigned long excluded[EXCLUDE_COUNT];
static unsigned part = 8;
static uint8_t data_image[AREA_SIZE];
static uint8_t fp_image[NR_FP_IMAGES + 1][HOSTED_XSAVE_SIZE]; /* the last: small vector elements, for gather and scatter */

/* ---- initial state ---- */

/* The registers every run starts with, but for what steer_registers() changes. */
static void initial_registers(const struct slot *s, unsigned serial)
{
    struct CPUX86State *env = &hosted_cpu()->env;
    uint64_t data = s->base + DATA_OFF, stack = s->base + STACK_OFF;

    diff_rng_state = 0x9e3779b97f4a7c15 * (serial + 1);
    for (unsigned i = 0; i < 16; i++) {
        env->regs[i] = diff_rng();
    }
    env->regs[R_ECX] = serial & 1 ? 64 : 3;
    env->regs[R_EDX] = 5;
    env->regs[R_EBX] = data + 0x600;
    env->regs[R_ESP] = env->regs[R_R12] = stack + POINTER;
    env->regs[R_EBP] = stack + POINTER + 0x40;
    env->regs[R_ESI] = env->regs[R_R14] = data + POINTER;
    env->regs[R_EDI] = env->regs[R_R13] = data + 0x800;
    env->regs[R_R9] = 32;
    env->eflags = (diff_rng() & (CC_ALL | DF_MASK)) | 2 | IF_MASK;
    env->eip = s->addr;
}

/* Where the guest finds a branch target; not written again when it is there, for the page may be protected by now. */
static void put_target(uint64_t addr, uint64_t target)
{
    if (memcmp((void *)addr, &target, sizeof(target))) {
        memcpy((void *)addr, &target, sizeof(target));
    }
}

/* Registers and memory that the instruction takes an address or a branch target from. */
static void steer_registers(const struct slot *s)
{
    struct CPUX86State *env = &hosted_cpu()->env;
    const struct insn *insn = &s->form.insn;
    uint64_t landing = s->addr + LANDING;
    struct insn_access acc[INSN_MAX_ACCESS];
    uint64_t seg_base[6] = {0};
    bool exact;

    if (insn->mem == MEM_BT && insn->reg != R_ESI && insn->reg != R_ESP) {
        env->regs[insn->reg] = 100;
    } else if (insn->mem == MEM_DIR64) {
        env->regs[insn->reg] = s->base + DATA_OFF + 0x800;
    } else if (insn->kind == INSN_RET) {
        put_target(env->regs[R_ESP], landing);
    } else if (insn->kind == INSN_JMP_IND || insn->kind == INSN_CALL_IND) {
        struct insn_regs regs = {.gpr = env->regs, .seg_base = seg_base, .rflags = env->eflags, .xcr0 = env->xcr0};

        if (!insn->is_mem) {
            env->regs[insn->rm] = landing;
        } else if (insn_accesses(insn, &regs, s->addr + insn->len, acc, &exact) > 0 &&
                   acc[0].addr - s->base < HOSTED_WINDOW_SIZE) {
            put_target(acc[0].addr, landing);
        }
    }
}

/* All that is not memory, once memory is set. */
static void set_registers(const struct slot *s, unsigned serial)
{
    unsigned image = s->form.insn.mem == MEM_VSIB ? NR_FP_IMAGES : serial % NR_FP_IMAGES;

    memcpy(hosted_guest_fp, fp_image[image], diff_fp_size());
    initial_registers(s, serial);
    steer_registers(s);
}

static void set_state(const struct slot *s, unsigned serial)
{
    memcpy((void *)(s->base + DATA_OFF), data_image, AREA_SIZE);
    memset((void *)(s->base + STACK_OFF), 0x5a, AREA_SIZE);
    *(uint8_t *)(s->base + DATA_OFF + NEIGHBOUR) = 0xcc;
    *(uint8_t *)(s->base + STACK_OFF + NEIGHBOUR) = 0xcc;
    set_registers(s, serial);
}

/* ---- placing code ---- */

static void put_at(struct operand_form *f, unsigned off, unsigned size, uint64_t v)
{
    memcpy(f->bytes + off, &v, size);
}

/* Fill in the displacements and immediates that name an address, now that the instruction has one. */
static void steer_bytes(struct slot *s)
{
    struct operand_form *f = &s->form;
    const struct insn *insn = &f->insn;
    uint64_t next = s->addr + insn->len, operand = s->base + DATA_OFF + OPERAND;

    if (insn->is_rip_rel) {
        put_at(f, insn->disp_off, 4, (f->shape == SHAPE_RIP_REACH ? REACH_ADDR : operand) - next);
    } else if (f->shape == SHAPE_ABS || insn->mem == MEM_MOFFS) {
        put_at(f, insn->disp_off, insn->disp_size, operand);
    } else if (insn->mem == MEM_ENTER) {
        put_at(f, insn->imm_off, 2, 0x40);
        put_at(f, insn->imm_off + 2u, 1, 3);
    }
    if (insn->imm_is_rel) { /* ahead to the slot's landing, or back to the int3 before the slot */
        uint64_t target = nr_slots & 1 ? s->addr + LANDING : s->addr - 3;
        put_at(f, insn->imm_off, insn->imm_size, target - next);
    }
    insn_decode(&f->insn, f->bytes, INSN_MAX_LEN);
}

static uint64_t slot_addr(const struct slot *s)
{
    uint64_t code = s->base + CODE_OFF;
    unsigned len = s->form.insn.len;

    if (crossing) {
        return code + (nr_slots + 1) * PAGE_SIZE - (1 + nr_run % (MAX(len, 2u) - 1));
    }
    return code + 64 + nr_slots * SLOT_SIZE;
}

/* Where there is no instruction, all bytes that might have been one. */
static unsigned placed_len(const struct operand_form *form)
{
    return form->insn.kind == INSN_UD ? INSN_MAX_LEN : form->insn.len;
}

static void place(const struct operand_form *form)
{
    struct slot *s = &slots[nr_slots];
    struct diff_outcome keep = s->native;

    *s = (struct slot){.form = *form, .native = keep};
    s->base = form->shape == SHAPE_RIP_FAR || ((form->shape <= SHAPE_REG || form->insn.kind != INSN_COPY) && nr_run & 1 &&
                                               form->shape != SHAPE_RIP_REACH && form->shape != SHAPE_ABS)
                  ? HOSTED_FAR_BASE
                  : HOSTED_LOW_BASE;
    s->addr = slot_addr(s);
    steer_bytes(s);
    memset((void *)(s->addr - 8), 0xcc, SLOT_SIZE + 8);
    memcpy((void *)s->addr, s->form.bytes, placed_len(&s->form));
}

/* ---- running ---- */

static unsigned pieces(const struct slot *s, struct diff_mem mem[3])
{
    mem[0] = (struct diff_mem){s->base + DATA_OFF, AREA_SIZE};
    mem[1] = (struct diff_mem){s->base + STACK_OFF, AREA_SIZE};
    mem[2] = (struct diff_mem){s->addr, SLOT_SIZE};
    return 3;
}

static void report(const struct slot *s)
{
    char text[96];

    insn_format(&s->form.insn, s->form.bytes, s->addr, text, sizeof(text));
    fprintf(stderr, "  form: %s, at %llx%s:", operand_shape_name[s->form.shape], (unsigned long long)s->addr,
            crossing ? ", across a page" : "");
    for (unsigned i = 0; i < placed_len(&s->form); i++) {
        fprintf(stderr, " %02x", s->form.bytes[i]);
    }
    fprintf(stderr, "  %s\n", text);
}

static void count(const struct slot *s)
{
    nr_fault += s->native.res.vector != EXCP03_INT3;
    nr_by_shape[s->form.shape]++;
    nr_by_enc[MIN(s->form.insn.enc, ENC_EVEX)]++;
    nr_crossing += crossing;
}

/* ---- beside code ---- */

/* Is the byte in one of the write accesses? */
static bool is_written(uint64_t va, const struct insn_access *acc, int n)
{
    for (int i = 0; i < n; i++) {
        if (acc[i].acc & ACC_W && va - acc[i].addr < acc[i].len) {
            return true;
        }
    }
    return false;
}

/* Run the form natively, and see that it writes nowhere but where its accesses say; state is set. */
static void run_native(struct slot *s, const struct diff_mem *mem)
{
    static uint8_t before[2][AREA_SIZE];
    const struct CPUX86State *env = &hosted_cpu()->env;
    uint64_t seg_base[6] = {0};
    uint64_t gpr[16];
    struct insn_regs regs = {.gpr = gpr, .seg_base = seg_base, .rflags = env->eflags, .xcr0 = env->xcr0};
    struct insn_access acc[INSN_MAX_ACCESS];
    bool exact;
    int n;

    memcpy(gpr, env->regs, sizeof(gpr));
    n = insn_accesses(&s->form.insn, &regs, s->addr + s->form.insn.len, acc, &exact);
    for (unsigned p = 0; p < 2; p++) {
        memcpy(before[p], (void *)mem[p].addr, AREA_SIZE);
    }
    hosted_native_run(false, &s->native.res);
    nr_extents += exact;
    for (unsigned p = 0; p < 2 && exact; p++) {
        for (unsigned i = 0; i < AREA_SIZE; i++) {
            if (before[p][i] != ((const uint8_t *)mem[p].addr)[i] && !is_written(mem[p].addr + i, acc, n)) {
                fprintf(stderr, "written at %llx, outside of the extent\n", (unsigned long long)mem[p].addr + i);
                report(s);
                nr_bad++;
                return;
            }
        }
    }
}

/* Have code on the pages of data and stack, which are then protected. */
static void run_neighbours(const struct slot *s)
{
    static const uint64_t area[] = {DATA_OFF, STACK_OFF};
    struct hosted_result res;

    for (unsigned i = 0; i < 2; i++) {
        hosted_cpu()->env.eip = s->base + area[i] + NEIGHBOUR;
        hosted_run(&res);
        assert_int_equal(res.vector, EXCP03_INT3);
    }
}

/* Memory as set_state() leaves it, past the protection. */
static void restore_memory(const struct slot *s, uint8_t before[2][AREA_SIZE])
{
    memcpy((void *)store_alias(hosted_cpu(), s->base + DATA_OFF, AREA_SIZE), before[0], AREA_SIZE);
    memcpy((void *)store_alias(hosted_cpu(), s->base + STACK_OFF, AREA_SIZE), before[1], AREA_SIZE);
}

/* The form's site has become hot. Once more: now its store passes without a fault, with the same result. It may have been disarmed meanwhile by
 * what the host does to the process; then the time after. */
static void run_hot(struct slot *s, unsigned serial, uint8_t memory[2][AREA_SIZE], struct diff_outcome *t,
                    const struct diff_mem *mem)
{
    const struct CPUState *cpu = hosted_cpu();
    bool faulted = true;

    for (unsigned tries = 0; tries < 3 && faulted; tries++) {
        uint64_t armed = cpu->stat[STAT_store_site_armed], faults = hosted_faults;

        restore_memory(s, memory);
        set_registers(s, serial);
        hosted_run(&t->res);
        diff_collect(t, mem, 3);
        if (diff_compare("hot", &s->native, t, mem, 3)) {
            report(s);
            nr_bad++;
            return;
        }
        faulted = hosted_faults != faults && cpu->stat[STAT_store_site_armed] == armed;
    }
    nr_hot++;
    if (faulted) {
        fprintf(stderr, "a hot site faulted\n");
        report(s);
        nr_bad++;
    }
}

/*
 * Which components xsave finds in use depends on when the host last switched to another process. Both again, close together: true if
 * they are the same then.
 */
static bool same_again(struct slot *s, unsigned serial, struct diff_outcome *t, const struct diff_mem *mem)
{
    bool same = false;

    for (unsigned tries = 0; tries < 3 && !same && s->form.insn.mem == MEM_XSAVE; tries++) {
        hosted_native(true);
        set_state(s, serial);
        run_native(s, mem);
        diff_collect(&s->native, mem, 3);
        hosted_native(false);
        set_state(s, serial);
        hosted_run(&t->res);
        diff_collect(t, mem, 3);
        same = !diff_compare("again", &s->native, t, mem, 3);
    }
    return same;
}

static void count_stores(const struct slot *s, const uint64_t *before)
{
    const uint64_t *stat = hosted_cpu()->stat;

    nr_store_faults += stat[STAT_smc_fault] - before[STAT_smc_fault];
    nr_stores += stat[STAT_redo_tb] != before[STAT_redo_tb];
    if (stat[STAT_redo_window] != before[STAT_redo_window]) {
        nr_windows++;
        if (getenv("PRINT")) {
            report(s);
        }
    }
}

static void run_batch(void)
{
    static struct diff_outcome t;
    struct diff_mem mem[3];
    uint64_t len = (BATCH + 2) * (crossing ? PAGE_SIZE : SLOT_SIZE);
    unsigned long first = nr_run - nr_slots;

    hosted_native(true);
    for (unsigned i = 0; i < nr_slots; i++) {
        struct slot *s = &slots[i];

        pieces(s, mem);
        if (!s->native.mem) {
            diff_outcome_init(&s->native, mem, 3);
        }
        set_state(s, (unsigned)(first + i));
        run_native(s, mem);
        diff_collect(&s->native, mem, 3);
    }
    hosted_native(false);
    if (!t.mem) {
        diff_outcome_init(&t, mem, 3);
    }
    for (unsigned i = 0; i < nr_slots; i++) {
        struct slot *s = &slots[i];

        pieces(s, mem);
        static uint8_t memory[2][AREA_SIZE];
        uint64_t before[STAT_COUNT];

        if (beside) {
            hosted_forget(s->base + DATA_OFF, AREA_SIZE);
            hosted_forget(s->base + STACK_OFF, AREA_SIZE);
        }
        set_state(s, (unsigned)(first + i));
        if (beside) {
            memcpy(memory[0], (void *)mem[0].addr, AREA_SIZE);
            memcpy(memory[1], (void *)mem[1].addr, AREA_SIZE);
            run_neighbours(s);
            set_registers(s, (unsigned)(first + i));
        }
        memcpy(before, hosted_cpu()->stat, sizeof(before));
        hosted_interrupt_every(interrupted);
        hosted_run(&t.res);
        hosted_interrupt_every(0);
        diff_collect(&t, mem, 3);
        count_stores(s, before);
        count(s);
        bool wrong_ud = s->form.insn.kind == INSN_UD && s->native.res.vector != EXCP06_ILLOP;
        if (wrong_ud) {
            fprintf(stderr, "undefined for the decoder, but native ended by %d\n", s->native.res.vector);
        }
        if (wrong_ud || (diff_compare("operand", &s->native, &t, mem, 3) && !same_again(s, (unsigned)(first + i), &t, mem))) {
            report(s);
            nr_bad++;
        } else if (hosted_cpu()->stat[STAT_store_site_armed] != before[STAT_store_site_armed]) {
            run_hot(s, (unsigned)(first + i), memory, &t, mem);
        }
    }
    nr_bad += (unsigned long)tb_maint_check(hosted_cpu());
    hosted_forget(HOSTED_LOW_BASE + CODE_OFF, len);
    hosted_forget(HOSTED_FAR_BASE + CODE_OFF, len);
    nr_slots = 0;
}

static void add_form(const struct operand_form *form)
{
    bool glue = form->shape == SHAPE_RIP_FAR || form->insn.kind != INSN_COPY;
    bool history = form->insn.mem == MEM_XSAVE; /* an interrupt or a fault, here a signal, changes which components are in use */

    if (nr_bad >= MAX_REPORT || (crossing && form->insn.len < 2) || (interrupted && !glue) ||
        ((interrupted || beside) && history)) {
        return;
    }
    place(form);
    nr_run++;
    if (++nr_slots == BATCH) {
        run_batch();
    }
}

/* ---- the tests ---- */

static bool have_avx512(void)
{
    return (hosted_cpu()->env.xcr0 & 0xe6) == 0xe6;
}

static void print_tables(void)
{
    printf("%lu forms run, %lu of them ended by an exception; %lu legacy, %lu VEX, %lu EVEX\n", nr_run, nr_fault, nr_by_enc[0],
           nr_by_enc[1], nr_by_enc[2]);
    for (unsigned i = 0; i < SHAPE_COUNT; i++) {
        printf("  %8lu %s\n", nr_by_shape[i], operand_shape_name[i]);
    }
    printf("not run:\n");
    for (unsigned i = EXCLUDE_NOT + 1; i < EXCLUDE_COUNT; i++) {
        printf("  %8lu %s\n", excluded[i], operand_exclude_reason[i]);
    }
    if (!have_avx512()) {
        printf("  all EVEX encodings: this CPU has no AVX-512\n");
    }
}

static void test_operands(void **state)
{
    operand_forms(part, have_avx512(), add_form, excluded);
    run_batch();
    print_tables();
    assert_int_equal(nr_bad, 0);
}

/* One of each (table row, operand form). */
static void one_of_each(void)
{
    unsigned long ignored[EXCLUDE_COUNT] = {0};

    operand_forms(~0u / UNDEFINED_PART, have_avx512(), add_form, ignored);
    run_batch();
}

static void test_crossing(void **state)
{
    crossing = true;
    one_of_each();
    crossing = false;
    printf("%lu forms across a page boundary\n", nr_crossing);
    assert_int_equal(nr_bad, 0);
}

static void test_interrupted(void **state)
{
    uint64_t before = hosted_cpu()->stat[STAT_irq];
    unsigned long ran = nr_run;

    interrupted = true;
    one_of_each();
    interrupted = false;
    printf("%lu forms interrupted at each host instruction: %llu interrupts\n", nr_run - ran,
           (unsigned long long)(hosted_cpu()->stat[STAT_irq] - before));
    assert_int_equal(nr_bad, 0);
}

static void test_beside(void **state)
{
    unsigned long ran = nr_run;
    struct smc_policy saved = smc_policy;

    nr_stores = nr_windows = nr_store_faults = 0;
    beside = true;
    store_site_threshold = 1;
    smc_policy.adaptive = false; /* the pages stay protected */
    one_of_each();
    smc_policy = saved;
    beside = false;
    printf("%lu forms executed again as hot store sites\n", nr_hot);
    assert_true(nr_hot > 300);
    printf("%lu forms beside code: %lu stored, in %lu faults; %lu of them not through an alias\n", nr_run - ran, nr_stores,
           nr_store_faults, nr_windows);
    printf("%lu forms wrote nothing outside of the extent computed\n", nr_extents);
    assert_true(nr_stores > 500);
    assert_int_equal(nr_bad, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_operands), cmocka_unit_test(test_crossing),
                                       cmocka_unit_test(test_interrupted), cmocka_unit_test(test_beside)};

    if (getenv("LOG")) {
        log_parse(getenv("LOG"), &log_mask);
    }
    if (argc > 1) {
        part = (unsigned)MAX(strtoul(argv[1], NULL, 0), 1ul);
    }
    hosted_init();
    diff_rng_state = 12345;
    make_data_image(data_image, sizeof(data_image));
    for (unsigned i = 0; i <= NR_FP_IMAGES; i++) {
        make_fp_image(fp_image[i], i);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
