/* SPDX-License-Identifier: MIT */
/*
 * kernel/guest-memory.c: what writes guest memory and is no store of translated code comes to the one funnel, with its true
 * extent: exception frames and operands (cpu_stub), accessed and dirty bits (the page walk), the loader and the monitor's `mem`
 * (guest_ram_written). TBs that overlap die, their neighbours live. And the TLB for such accesses ends where a CPU's does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dbt/host.h"
#include "kernel/debug.h"
#include "kernel/guest-memory.h"
#include "kernel/lib/errno.h"
#include "kernel/run.h"
#include "kernel/vcpu/vcpu.h"
#include "mm/dirty-log.h"
#include "mm/frame.h"
#include "mm/ram.h"
#include "mm/shadow-priv.h"
#include "mm/track.h"
#include "tests/host/mm-host.h"
#include "tests/host/tb-fake.h"

#define ARENA     0x1000000ull
#define GUEST_RAM 0x800000ull


/* The guest's tables. The page table lies on a page that can hold code (tb-fake.h has the lowest 64). */
#define PML4      0x100000u
#define PDPT      0x101000u
#define PD        0x102000u
#define PD1       0x103000u
#define PT        P(40) /* maps 0 to 2 MiB to itself, user, writable */
#define LARGE_VA  0x40000000ull
#define LARGE_RAM 0x400000ull

static struct CPUState *const cpu = &fake_cpu[0];

/* ---- what the file needs of the kernel ---- */

struct CPUState *vcpu0(void)
{
    return cpu;
}

void vcpu_paging(const struct CPUX86State *env, struct guest_paging *gp)
{
    *gp = (struct guest_paging){.cr0 = 0x80010001, .cr3 = PML4, .cr4 = 0x20, .efer = 0x500, .maxphyaddr = 40};
}

void raise_exception_err(struct CPUState *c, int vector, uint64_t error_code)
{
    c->exception_index = vector;
    c->error_code = error_code;
}

void cpu_check_watchpoint(struct CPUState *c, uint64_t va, uint64_t len, unsigned flags)
{
}

void debug_remember(struct CPUState *c)
{
}

/* ---- the guest ---- */

static uint64_t *word(ram_addr_t ram)
{
    return ram_to_virt(ram);
}

static void map(unsigned page, uint64_t to, uint64_t bits)
{
    word(PT)[page] = to | bits | PTE_P;
}

/* A TB at va = ram, on a page that is tracked from now on. */
static struct TranslationBlock *code(uint64_t at, unsigned size)
{
    struct TranslationBlock *tb = gen(at, size);

    for (uint64_t page = at & PAGE_MASK; page < at + size; page += PAGE_SIZE) {
        track_set(page, TRACK_CODE);
    }
    return tb;
}

static int setup(void **state)
{
    fake_reset();
    guest_tlb_flush();
    cpu->exception_index = EXCP_NONE;
    for (unsigned i = 0; i < FAKE_PAGES; i++) {
        track_clear(P(i), TRACK_CODE);
    }
    memset(word(0), 0, GUEST_RAM);
    word(PML4)[0] = PDPT | PTE_P | PTE_W | PTE_U;
    word(PDPT)[0] = PD | PTE_P | PTE_W | PTE_U;
    word(PD)[0] = PT | PTE_P | PTE_W | PTE_U;
    word(PDPT)[1] = PD1 | PTE_P | PTE_W | PTE_U;
    word(PD1)[0] = LARGE_RAM | PTE_P | PTE_W | PTE_U | PTE_PS;
    for (unsigned i = 0; i < 512; i++) {
        map(i, P(i), PTE_W | PTE_U);
    }
    return 0;
}

/* ---- the funnel ---- */

/* A frame of 40 bytes whose lower part is on one page and whose upper is on the next. */
static void test_frame_on_code(void **state)
{
    uint8_t frame[40];

    memset(frame, 0xab, sizeof(frame));
    for (unsigned remembered = 0; remembered < 2; remembered++) {
        if (remembered) { /* the pages are known by plain accesses before they hold code */
            assert_int_equal(cpu_stub(cpu, P(11) - 0x200, frame, 8, false), 0);
            assert_int_equal(cpu_stub(cpu, P(11) + 0x200, frame, 8, false), 0);
        }
        struct TranslationBlock *before = code(P(11) - 24, 8), *low = code(P(11) - 16, 8), *last = code(P(11) + 23, 1);
        struct TranslationBlock *after = code(P(11) + 24, 8), *other = code(P(12), 8);

        assert_int_equal(cpu_stub(cpu, P(11) - 16, frame, sizeof(frame), false), 0);
        assert_memory_equal(ram_to_virt(P(11) - 16), frame, sizeof(frame));
        assert_false(fake_live(low));
        assert_false(fake_live(last));
        assert_true(fake_live(before) && fake_live(after) && fake_live(other));
        assert_int_equal(tb_maint_check(cpu), 0);
        setup(NULL);
    }
}

/* Within one page, by an entry of the TLB: the page is tracked, so the entry does not hide the write. */
static void test_word_on_code(void **state)
{
    uint64_t v = 1;

    assert_int_equal(cpu_stub(cpu, P(5) + 0x800, &v, 8, false), 0);
    struct TranslationBlock *hit = code(P(5) + 0x107, 1), *miss = code(P(5) + 0x108, 4);

    assert_int_equal(cpu_stub(cpu, P(5) + 0x100, &v, 8, false), 0);
    assert_false(fake_live(hit));
    assert_true(fake_live(miss));
}

/* The walk writes the entry's eight bytes, if it writes them. */
static void test_accessed_bits_on_code(void **state)
{
    struct TranslationBlock *before = code(PT + 3 * 8 - 4, 4), *on = code(PT + 3 * 8 + 7, 1), *after = code(PT + 4 * 8, 8);
    uint64_t v;

    assert_int_equal(cpu_ldub(cpu, P(3), &v, 8, false), 0);
    assert_int_equal(word(PT)[3] & (PTE_A | PTE_D), PTE_A);
    assert_false(fake_live(on));
    assert_true(fake_live(before) && fake_live(after));
    on = code(PT + 3 * 8, 8);
    guest_tlb_flush();
    assert_int_equal(cpu_ldub(cpu, P(3), &v, 8, false), 0);
    assert_true(fake_live(on)); /* nothing to set: not written */
    assert_int_equal(cpu_stub(cpu, P(3), &v, 8, false), 0);
    assert_int_equal(word(PT)[3] & (PTE_A | PTE_D), PTE_A | PTE_D);
    assert_false(fake_live(on));
    assert_true(fake_live(before) && fake_live(after));
}

/* The loader, a restored snapshot, `mem`: ranges of any length. */
static void test_monitor_on_code(void **state)
{
    struct TranslationBlock *before = code(P(20) + 0xfe0, 16), *first = code(P(20) + 0xff0, 1), *mid = code(P(21) + 0x400, 8);
    struct TranslationBlock *last = code(P(23) + 0xf, 1), *after = code(P(23) + 0x10, 4);

    guest_ram_written(P(20) + 0xff0, P(23) + 0x10 - (P(20) + 0xff0));
    assert_false(fake_live(first));
    assert_false(fake_live(mid));
    assert_false(fake_live(last));
    assert_true(fake_live(before) && fake_live(after));
    assert_int_equal(tb_maint_check(cpu), 0);
}

/* What is remembered must not hide a page from a dirty log that begins later. */
static void test_dirty_log(void **state)
{
    uint64_t v = 7;

    assert_int_equal(cpu_stub(cpu, P(30), &v, 8, false), 0);
    dirty_log_start(TRACK_MIGRATION, 0, GUEST_RAM);
    assert_int_equal(cpu_stub(cpu, P(30), &v, 8, false), 0);
    assert_int_equal(dirty_log_count(TRACK_MIGRATION), 1);
    guest_ram_written(P(31) + 0xffc, 8);
    assert_int_equal(dirty_log_count(TRACK_MIGRATION), 3);
    dirty_log_stop(TRACK_MIGRATION);
}

/* ---- the TLB ---- */

static uint64_t load(gva_t va)
{
    uint64_t v = 0;

    assert_int_equal(cpu_ldub(cpu, va, &v, 8, false), 0);
    return v;
}

static void test_ends_as_a_tlb(void **state)
{
    word(P(50))[0] = 50;
    word(P(51))[0] = 51;
    map(7, P(50), PTE_W);
    assert_int_equal(load(P(7)), 50);
    map(7, P(51), PTE_W);
    guest_tlb_drop(P(8));
    assert_int_equal(load(P(7)), 50); /* not yet invalidated: as a CPU may */
    guest_tlb_drop(P(7) + 5);
    assert_int_equal(load(P(7)), 51);
    map(7, P(50), PTE_W);
    guest_tlb_flush();
    assert_int_equal(load(P(7)), 50);
}

/* Where code is has a TLB of its own, with the same ends; user code does not profit from what the kernel fetched. */
static void test_code_ends_as_a_tlb(void **state)
{
    const uint8_t *bytes;

    map(7, P(50), PTE_W);
    assert_int_equal(get_page_addr_code(cpu, P(7) + 9, &bytes), P(50) + 9);
    assert_ptr_equal(bytes, (uint8_t *)word(P(50)) + 9);
    map(7, P(51), PTE_W);
    assert_int_equal(load(P(7)), word(P(51))[0]); /* data: for the first time */
    guest_tlb_drop(P(8));
    assert_int_equal(get_page_addr_code(cpu, P(7), &bytes), P(50));
    cpu->env.cpl = 3;
    assert_int_equal(get_page_addr_code(cpu, P(7), &bytes), TB_PAGE_ADDR_INVALID);
    assert_int_equal(cpu->error_code, 0x5);
    cpu->env.cpl = 0;
    assert_int_equal(get_page_addr_code(cpu, P(7), &bytes), P(51)); /* the fault has dropped what was known */
    map(7, P(50), PTE_W);
    guest_tlb_drop(P(7) + 5);
    assert_int_equal(get_page_addr_code(cpu, P(7), &bytes), P(50));
    assert_false(cpu->code_page_global);
    map(7, P(51), PTE_W | PTE_G);
    guest_tlb_flush();
    assert_int_equal(get_page_addr_code(cpu, P(7), &bytes), P(51));
    assert_int_equal(get_page_addr_code(cpu, P(7), &bytes), P(51));
    assert_int_equal(cpu->code_page_global, (cpu->env.cr[4] & CR4_PGE_MASK) != 0);
}

static void test_large_page_goes_whole(void **state)
{
    for (unsigned i = 0; i < 16; i++) {
        word(LARGE_RAM + P(i))[0] = 100 + i;
        assert_int_equal(load(LARGE_VA + P(i)), 100 + i);
    }
    word(PD1)[0] = 0x600000 | PTE_P | PTE_W | PTE_PS;
    guest_tlb_drop(LARGE_VA + 0x1ff000); /* INVLPG with any address of the page */
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(load(LARGE_VA + P(i)), 0);
    }
}

/* A kind of access that was not checked yet is checked; a fault is exact, and writes nothing. */
static void test_kinds_and_faults(void **state)
{
    uint64_t v[2] = {1, 2};

    map(9, P(9), 0); /* read-only, supervisor */
    assert_int_equal(load(P(9)), 0);
    assert_int_equal(cpu_stub(cpu, P(9) + 8, v, 8, false), -EFAULT);
    assert_int_equal(cpu->exception_index, EXCP0E_PAGE);
    assert_int_equal(cpu->error_code, 3);
    assert_int_equal(cpu->env.cr[2], P(9) + 8);
    assert_int_equal(cpu_ldub(cpu, P(9), v, 8, true), -EFAULT);
    assert_int_equal(cpu->error_code, 5);
    assert_int_equal(cpu_stub(cpu, P(9) - 8, v, 16, false), -EFAULT);
    assert_int_equal(cpu->env.cr[2], P(9));
    assert_int_equal(word(P(9) - 8)[0], 0);
    map(9, P(9), PTE_W); /* the fault has dropped what was known: the handler need not invalidate */
    assert_int_equal(cpu_stub(cpu, P(9) - 8, v, 16, false), 0);
    assert_int_equal(word(P(9))[0], 2);
}

static int memory(void **state)
{
    mm_host_init(0x100000, ARENA);
    frames_add(0x100000, ARENA);
    assert_int_equal(guest_ram_init(GUEST_RAM), 0);
    assert_int_equal(rmap_init(GUEST_RAM), 0);
    assert_int_equal(track_init(GUEST_RAM), 0);
    assert_int_equal(dirty_log_init(), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_frame_on_code, setup),         cmocka_unit_test_setup(test_word_on_code, setup),
        cmocka_unit_test_setup(test_accessed_bits_on_code, setup), cmocka_unit_test_setup(test_monitor_on_code, setup),
        cmocka_unit_test_setup(test_dirty_log, setup),             cmocka_unit_test_setup(test_ends_as_a_tlb, setup),
        cmocka_unit_test_setup(test_code_ends_as_a_tlb, setup),    cmocka_unit_test_setup(test_large_page_goes_whole, setup),
        cmocka_unit_test_setup(test_kinds_and_faults, setup),
    };

    return cmocka_run_group_tests(tests, memory, NULL);
}
