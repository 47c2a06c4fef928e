/* SPDX-License-Identifier: MIT */
/*
 * Rule: a store reaches a frame only while the page tables allow it. The frame holds code, so that the monitor completes stores to it
 * on a mapping of its own (an alias), of which the guest guesses the address; then permission is taken away, in each way there is.
 * Neither the same store at its address nor one at any alias address may reach the frame after that. At CPL 0 and 3.
 */
#include "tests/payloads/lib/snippet.h"

#include "tests/payloads/hostile/hostile.h"
#include "tests/payloads/lib/counters.h"
#include "tests/payloads/lib/smc.h"

#define TARGET      0x0000600000400000ull /* where the frame is mapped */
#define ALIAS_FIRST 0xffffffffffe90000ull /* mm/layout.h: STORE_ALIAS_ADDR */
#define ALIAS_PAGES 128u
#define DATA        0x800u /* in the page, beside its code */
#define RW          (PTE_P | PTE_W | PTE_U)

static uint8_t *frame, *other; /* the frame with code; one that is innocent */

/* mov %rax, (%rbx); int $0x80 */
static struct cpu_state store(uint64_t va, uint64_t value, bool user)
{
    struct cpu_state s;

    snippet_state(&s, user);
    s.rip += 0x200;
    s.gpr[RBX] = va;
    s.gpr[RAX] = value;
    cpu_run(&s);
    return s;
}

static uint64_t word_of(const uint8_t *page)
{
    return *(const volatile uint64_t *)(page + DATA);
}

/* Stores at every address where an alias of the frame might be. Returns how many reached it. */
static unsigned guess(bool user)
{
    unsigned reached = 0;

    for (unsigned i = 0; i < ALIAS_PAGES; i++) {
        uint64_t before = word_of(frame), value = 0xbad0000 + i;
        struct cpu_state s = store(ALIAS_FIRST + i * PAGE_SIZE + DATA, value, user);

        CHECK(s.vector == 0x80 || s.vector == VEC_PF);
        reached += word_of(frame) != before;
    }
    return reached;
}

static void set_wp(bool on)
{
    uint64_t cr0 = read_cr0();

    write_cr0(on ? cr0 | CR0_WP : cr0 & ~CR0_WP);
}

static uint64_t *copy_of(uint64_t table)
{
    return memcpy(page_alloc(), (const void *)(table & PTE_ADDR), PAGE_SIZE);
}

/* The current tables, but for the 2 MiB round TARGET, which are not mapped. */
static uint64_t root_without_target(void)
{
    uint64_t *root = copy_of(read_cr3()), *pdpt, *pd;

    pdpt = copy_of(root[TARGET >> 39 & 511]);
    pd = copy_of(pdpt[TARGET >> 30 & 511]);
    root[TARGET >> 39 & 511] = (uint64_t)pdpt | RW;
    pdpt[TARGET >> 30 & 511] = (uint64_t)pd | RW;
    pd[TARGET >> 21 & 511] = 0;
    return (uint64_t)root;
}

enum way { UNMAP, READ_ONLY, SUPERVISOR, REMAP, TABLE_READ_ONLY, NEW_CR3, WRITE_PROTECT, WAYS };

/* Take the permission away. Returns the #PF error code that a store now has, without U; ~0 if it succeeds elsewhere. */
static uint64_t withdraw(enum way way)
{
    uint64_t *entry;

    switch (way) {
    case UNMAP:
        page_map(TARGET, 0, 0);
        return PF_W;
    case READ_ONLY:
        page_map(TARGET, (uint64_t)frame, RW & ~PTE_W);
        return PF_W | PF_P;
    case SUPERVISOR:
        page_map(TARGET, (uint64_t)frame, RW & ~PTE_U);
        return PF_W | PF_P;
    case REMAP:
        page_map(TARGET, (uint64_t)other, RW);
        return ~0ull;
    case TABLE_READ_ONLY: /* one entry above, for 2 MiB */
        entry = page_entry(TARGET, 2);
        *(volatile uint64_t *)entry &= ~PTE_W;
        tlb_flush_all();
        return PF_W | PF_P;
    case NEW_CR3:
        write_cr3(root_without_target());
        return PF_W;
    default:
        set_wp(true);
        return PF_W | PF_P;
    }
}

static void restore(enum way way, uint64_t cr3)
{
    if (way == NEW_CR3) {
        write_cr3(cr3);
    } else if (way == TABLE_READ_ONLY) {
        *(volatile uint64_t *)page_entry(TARGET, 2) |= PTE_W;
        tlb_flush_all();
    }
    set_wp(true);
    page_map(TARGET, 0, 0);
}

static void one_way(enum way way, bool user)
{
    uint64_t cr3 = read_cr3(), before, error;
    struct cpu_state s;

    set_wp(way != WRITE_PROTECT);
    page_map(TARGET, (uint64_t)frame, way == WRITE_PROTECT ? RW & ~PTE_W : RW);
    CHECK_EQ(call(frame, 0, 0), 0x11); /* code: the frame traps stores */
    for (unsigned i = 0; i < 6; i++) {
        s = store(TARGET + DATA, i, user);
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(word_of(frame), i);
    }
    if (counters_present()) {
        CHECK(guess(user) > 0); /* else the rest shows nothing */
    }
    before = word_of(frame);
    error = withdraw(way);
    *(volatile uint64_t *)(other + DATA) = 0;
    s = store(TARGET + DATA, 0x5151, user);
    CHECK_EQ(word_of(frame), before);
    if (error == ~0ull) {
        CHECK_EQ(s.vector, 0x80);
        CHECK_EQ(word_of(other), 0x5151);
    } else {
        CHECK_EQ(s.vector, VEC_PF);
        CHECK_EQ(s.cr2, TARGET + DATA);
        CHECK_EQ(s.error, error | (user ? PF_U : 0));
    }
    CHECK_EQ(guess(user), 0);
    CHECK_EQ(word_of(frame), before);
    restore(way, cr3);
    CHECK_EQ(call(frame, 0, 0), 0x11);
}

static void stale(bool user)
{
    PUT(0x200, 0x48, 0x89, 0x03, 0xcd, 0x80);
    for (enum way way = 0; way < WAYS; way++) {
        if ((way == SUPERVISOR && !user) || (way == WRITE_PROTECT && user)) {
            continue; /* allows it; never allowed it */
        }
        frame = page_alloc();
        other = page_alloc();
        emit_return(frame, 0x11);
        one_way(way, user);
    }
    sanity("stale");
}

static void stale_kernel(void)
{
    stale(false);
}

static void stale_user(void)
{
    stale(true);
}

const struct test_case stale_cases[] = {{"stale-kernel", stale_kernel}, {"stale-user", stale_user}};
const unsigned stale_case_count = ARRAY_SIZE(stale_cases);
