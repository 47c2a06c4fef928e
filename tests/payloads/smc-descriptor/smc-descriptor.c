/* SPDX-License-Identifier: MIT */
/*
 * Rule: descriptor tables and stacks of the system may lie on a page with code, and what the processor itself writes there
 * (accessed bit, busy bit, exception frames) is seen when it is executed (SMC case 41).
 */
#include "tests/payloads/lib/smc.h"
#include "tests/payloads/lib/snippet.h"

#define SEL_TEST 0x40 /* a data segment, in our own GDT */
#define SEL_TSS2 0x50
#define GDT_SIZE 0x60
#define GATE     0x7f /* the vector that is tested */

struct __attribute__((packed)) table_register {
    uint16_t limit;
    uint64_t base;
};

extern const uint8_t trap_stubs[]; /* 16 bytes a vector: trap-entry.S */

static struct table_register old_gdt, old_idt; /* trap_init's */

/* Own GDT at `at`, whose first entries are the old ones. */
static void use_gdt(uint8_t *at)
{
    struct table_register r = {GDT_SIZE - 1, (uint64_t)at};

    memcpy(at, (void *)old_gdt.base, old_gdt.limit + 1u);
    __asm__ volatile("lgdt %0" : : "m"(r));
}

static void restore_gdt(void)
{
    __asm__ volatile("lgdt %0" : : "m"(old_gdt));
}

/*
 * A descriptor whose bytes 1 to 6 are code: byte 0 is the limit's, then
 *     b8 | base 0-23 | access byte       mov $imm32, %eax
 *     c3                                 ret: G, D, limit 16-19
 * so that the code returns the access byte as its topmost.
 */
static void put_descriptor(uint8_t *at, uint64_t base, uint8_t access)
{
    EMIT(at, 0xff, 0xb8, (uint8_t)base, (uint8_t)(base >> 8), (uint8_t)(base >> 16), access, 0xc3, (uint8_t)(base >> 24));
}

static unsigned runs_before(enum heat heat)
{
    return heat == COLD ? 0 : heat == WARM ? 1 : 20;
}

/* Loading a segment register sets the accessed bit, which is in the immediate of an instruction. */
static void accessed_bit(void)
{
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        uint8_t *page = page_alloc();
        uint8_t *gdt = page + 0x100;
        uint8_t *far = page_alloc();

        use_gdt(gdt);
        emit_jmp(far, gdt + SEL_TEST + 1);
        smc_guard(page + 0x200);
        put_descriptor(gdt + SEL_TEST, 0x345678, 0x92);
        for (unsigned i = 0; i < runs_before(heat); i++) {
            CHECK_EQ(call(far, 0, 0), 0x92345678);
        }
        for (unsigned i = 0; i < 5; i++) {
            put_descriptor(gdt + SEL_TEST, 0x345678, 0x92);
            CHECK_EQ(i & 1 ? call(far, 0, 0) : 0x92345678, 0x92345678);
            __asm__ volatile("mov %0, %%es" : : "r"(SEL_TEST) : "memory");
            CHECK_EQ(gdt[SEL_TEST + 5], 0x93);
            CHECK_EQ(call(far, 0, 0), 0x93345678);
            __asm__ volatile("mov %0, %%fs; mov %0, %%es" : : "r"(SEL_TEST) : "memory"); /* is set already */
            CHECK_EQ(call(gdt + SEL_TEST + 1, 0, 0), 0x93345678);
            __asm__ volatile("mov %0, %%es; mov %0, %%fs" : : "r"(SEL_KDATA) : "memory");
            smc_stores(4);
        }
        restore_gdt();
        smc_check_guards();
    }
}

/* ltr sets the busy bit. */
static void busy_bit(void)
{
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        uint8_t *page = page_alloc();
        uint8_t *gdt = page + 0x100;
        uint8_t *far = page_alloc();
        uint64_t tss = (uint64_t)page_alloc();

        use_gdt(gdt);
        emit_jmp(far, gdt + SEL_TSS2 + 1);
        smc_guard(page + 0x200);
        for (unsigned i = 0; i < 3; i++) {
            uint32_t low = (uint32_t)tss & 0xffffff;

            put_descriptor(gdt + SEL_TSS2, tss, 0x89);
            for (unsigned n = 0; n < runs_before(heat); n++) {
                CHECK_EQ(call(far, 0, 0), 0x89000000u | low);
            }
            __asm__ volatile("ltr %w0" : : "r"(SEL_TSS2) : "memory");
            CHECK_EQ(call(far, 0, 0), 0x8b000000u | low);
            smc_stores(3);
        }
        gdt[SEL_TSS + 5] = 0x89; /* back to the old TSS */
        __asm__ volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
        ((uint8_t *)old_gdt.base)[SEL_TSS + 5] = gdt[SEL_TSS + 5];
        restore_gdt();
        smc_check_guards();
    }
}

static void set_gate(uint8_t *idt, unsigned vector, unsigned stub)
{
    uint64_t to = (uint64_t)trap_stubs + stub * 16;
    uint8_t *gate = idt + vector * 16;

    EMIT(gate, (uint8_t)to, (uint8_t)(to >> 8));
    EMIT(gate + 6, (uint8_t)(to >> 16), (uint8_t)(to >> 24));
}

/* The IDT's gates are patched among code: functions lie in the gates' own reserved bytes. */
static void idt_among_code(void)
{
    uint8_t *idt = page_alloc();
    struct table_register r = {0x81 * 16 - 1, (uint64_t)idt};

    memcpy(idt, (void *)old_idt.base, 0x81 * 16);
    for (unsigned v = 0; v <= 0x80; v++) {
        EMIT(idt + v * 16 + 12, 0xb0, (uint8_t)v, INSN_RET, INSN_NOP); /* mov $v, %al; ret */
    }
    idt[GATE * 16 + 5] |= 3 << 5;
    smc_guard(idt + 0x900);
    __asm__ volatile("lidt %0" : : "m"(r));
    for (unsigned i = 0; i < 40; i++) {
        struct cpu_state s;
        unsigned stub = i & 2 ? 5 : 6; /* exceptions without error code */

        set_gate(idt, GATE, stub);
        PUT(0, 0xcd, GATE);
        snippet_state(&s, i & 1);
        cpu_run(&s);
        CHECK_EQ(s.vector, stub);
        CHECK_EQ(s.rip, SNIPPET_CODE + 2);
        for (unsigned v = 0x70; v <= 0x80; v++) {
            CHECK_EQ(call(idt + v * 16 + 12, 0, 0) & 0xff, v);
        }
        smc_stores(2 + 1);
    }
    __asm__ volatile("lidt %0" : : "m"(old_idt));
}

/* mov $v, %eax; ret; nop; nop as a value for rsp, which a frame saves whole. */
static uint64_t code_in_rsp(uint32_t v)
{
    return 0x9090c30000000000 | (uint64_t)v << 8 | INSN_MOV_EAX;
}

/*
 * The stack of CPL 0 lies on a code page, and so does the TSS that says so: the frame that int pushes is code, made of the
 * interrupted rsp. What lies below the frame is written by the handler.
 */
static void frame_from_user(void)
{
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        uint8_t *page = page_alloc();
        uint8_t *tss = page + 0xe00;
        uint8_t *slot = page + 0xd00 - 16; /* of the saved rsp */
        uint8_t *far = page_alloc();
        uint8_t *gdt = page_alloc();

        use_gdt(gdt);
        put_descriptor(gdt + SEL_TSS2, (uint64_t)tss, 0x89);
        __asm__ volatile("ltr %w0" : : "r"(SEL_TSS2) : "memory");
        smc_guard(page + 0xf00);
        emit64(slot, code_in_rsp(0x11));
        emit_jmp(far, slot);
        for (unsigned i = 0; i < runs_before(heat); i++) {
            CHECK_EQ(call(far, 0, 0), 0x11);
        }
        for (uint32_t v = 0; v < 8; v++) {
            struct cpu_state s;

            emit64(tss + 4, (uint64_t)page + 0xd00); /* rsp0 */
            PUT(0, 0xcd, 0x80);
            snippet_state(&s, true);
            s.gpr[RSP] = code_in_rsp(v);
            smc_stores(2 + 60); /* trap-entry.S and C store below the frame */
            cpu_run(&s);
            CHECK_EQ(s.vector, 0x80);
            CHECK_EQ(s.gpr[RSP], code_in_rsp(v));
            CHECK_EQ(call(far, 0, 0), v);
        }
        gdt[SEL_TSS + 5] = 0x89;
        __asm__ volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
        restore_gdt();
        smc_check_guards();
    }
}

/* An exception of CPL 0 on an IST stack that lies on the page of the instruction that raises it. */
static void frame_beside_cause(void)
{
    uint8_t *page = page_alloc();
    uint8_t *tss = page_alloc();
    uint8_t *gdt = page_alloc();
    uint8_t *slot = page + 0xd00 - 16;

    use_gdt(gdt);
    put_descriptor(gdt + SEL_TSS2, (uint64_t)tss, 0x89);
    emit64(tss + 36, (uint64_t)page + 0xd00); /* IST 1 */
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS2) : "memory");
    trap_set_ist(VEC_UD, 1);
    EMIT(page + 0xd00, 0x0f, 0x0b); /* just above the stack's end */
    for (uint32_t v = 0; v < 20; v++) {
        struct cpu_state s;

        snippet_state(&s, false);
        s.rip = (uint64_t)page + 0xd00;
        s.gpr[RSP] = code_in_rsp(v);
        smc_stores(60);
        cpu_run(&s);
        CHECK_EQ(s.vector, VEC_UD);
        CHECK_EQ(s.rip, page + 0xd00);
        CHECK_EQ(call(slot, 0, 0), v);
    }
    trap_set_ist(VEC_UD, 0);
    gdt[SEL_TSS + 5] = 0x89;
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
    restore_gdt();
}

/* The walker sets A and D in a page table that lies on a page of code (case 40). */
static void accessed_in_page_table(void)
{
    for (unsigned i = 0; i < 20; i++) {
        uint64_t va = 0x0000630000000000ull + i * 0x200000;
        uint64_t *table_entry = page_entry(va, 2);
        uint8_t *table = page_alloc();
        uint8_t *data = page_alloc();
        uint64_t *pte = (uint64_t *)(table + 8 * (i & 7)); /* for pages 0 to 7 of va */

        *table_entry = (uint64_t)table | PTE_P | PTE_W | PTE_U;
        smc_guard(table + 0x800);
        *pte = (uint64_t)data | PTE_P | PTE_W;
        tlb_flush_all();
        volatile uint8_t *p = (volatile uint8_t *)(va + (uint64_t)(i & 7) * PAGE_SIZE);

        CHECK_EQ(*p, 0);
        CHECK_EQ(*(volatile uint64_t *)pte & (PTE_A | PTE_D), PTE_A);
        *p = 1;
        CHECK_EQ(*(volatile uint64_t *)pte & (PTE_A | PTE_D), PTE_A | PTE_D);
        smc_check_guards();
        smc_stores(2);
        *table_entry = 0;
        tlb_flush_all();
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"accessed-bit", accessed_bit},
        {"busy-bit", busy_bit},
        {"idt-among-code", idt_among_code},
        {"frame-from-user", frame_from_user},
        {"frame-beside-cause", frame_beside_cause},
        {"accessed-in-page-table", accessed_in_page_table},
    };
    paging_init();
    trap_init();
    snippet_init();
    __asm__ volatile("sgdt %0; sidt %1" : "=m"(old_gdt), "=m"(old_idt));
    return run_smc_cases("smc-descriptor", cases, ARRAY_SIZE(cases));
}
