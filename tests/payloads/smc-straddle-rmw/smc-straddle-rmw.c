/* SPDX-License-Identifier: MIT */
/*
 * Rule: a read-modify-write that straddles into the page of the running block is applied exactly once, although the block
 * is left in its middle (SMC cases 14, 15). QEMU 7.2's TCG applies some of them twice: `skip=` them when it runs us.
 */
#include "tests/payloads/lib/smc.h"

#define OLD 0x90900304u /* 04 03 at the end of page 1, nop nop at the start of page 2 */

struct outcome {
    uint32_t mem, eax;
};

static enum heat heat; /* of the block when it stores to itself */

static uint64_t run_once(const void *block, uint8_t *operand, uint64_t rax, uint64_t rcx)
{
    uint64_t rdx = 0;

    __asm__ volatile("call *%[code]"
                     : "+a"(rax), "+c"(rcx), "+d"(rdx)
                     : [code] "r"(block), "S"(operand)
                     : "memory", "cc");
    return rax;
}

/*
 * Page 2: nop; nop; <insn on (%rsi)>; ret, with rsi = page 2 - 2: the block that runs holds the bytes that are written.
 * eax and ecx are inputs, eax the output. It is warmed up with rsi elsewhere.
 */
static struct outcome run(const uint8_t *insn, size_t len, uint32_t eax, uint32_t ecx)
{
    uint8_t *pages = pages_alloc(2);
    uint8_t *page2 = pages + 4096;
    uint8_t *elsewhere = page_alloc();
    uint8_t *far = page_alloc();
    uint32_t mem = OLD;
    uint64_t rax;

    memcpy(page2 - 2, &mem, 4);
    memcpy(page2 + 2, insn, len);
    page2[2 + len] = INSN_RET;
    emit_jmp(far, page2);
    smc_guard(page2 + 1024);
    smc_guard(pages + 1024);
    for (unsigned i = 0; i < (heat == COLD ? 0 : heat == WARM ? 1 : 20); i++) {
        run_once(heat == HOT ? far : page2, elsewhere, eax, ecx);
    }
    smc_stores(3); /* inc-neg has three */
    rax = run_once(heat == HOT ? far : page2, page2 - 2, eax, ecx);
    memcpy(&mem, page2 - 2, 4);
    smc_check_guards();
    return (struct outcome){mem, (uint32_t)rax};
}

#define RUN(eax, ecx, ...)                                                                         \
    run((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), (eax), (ecx))

static void add_once(void)
{
    struct outcome o = RUN(0, 0x101, 0x01, 0x0e); /* add %ecx, (%rsi) */

    CHECK_EQ(o.mem, OLD + 0x101);
}

static void lock_add_once(void)
{
    struct outcome o = RUN(0, 0x101, 0xf0, 0x01, 0x0e);

    CHECK_EQ(o.mem, OLD + 0x101);
}

static void xadd_once(void)
{
    struct outcome o = RUN(0x101, 0, 0x0f, 0xc1, 0x06);

    CHECK_EQ(o.mem, OLD + 0x101);
    CHECK_EQ(o.eax, OLD);
}

static void lock_xadd_once(void)
{
    struct outcome o = RUN(0x101, 0, 0xf0, 0x0f, 0xc1, 0x06);

    CHECK_EQ(o.mem, OLD + 0x101);
    CHECK_EQ(o.eax, OLD);
}

static void xchg_once(void)
{
    struct outcome o = RUN(0x90905555, 0, 0x87, 0x06);

    CHECK_EQ(o.mem, 0x90905555);
    CHECK_EQ(o.eax, OLD);
}

static void lock_cmpxchg_once(void)
{
    struct outcome o = RUN(OLD, 0x90907777, 0xf0, 0x0f, 0xb1, 0x0e);

    CHECK_EQ(o.mem, 0x90907777);
    CHECK_EQ(o.eax, OLD);
}

static void cmpxchg_fails_once(void)
{
    struct outcome o = RUN(1, 0x90907777, 0xf0, 0x0f, 0xb1, 0x0e);

    CHECK_EQ(o.mem, OLD);
    CHECK_EQ(o.eax, OLD);
}

static void lock_btc_once(void)
{
    struct outcome o = RUN(0, 5, 0xf0, 0x0f, 0xbb, 0x0e); /* lock btc %ecx, (%rsi) */

    CHECK_EQ(o.mem, OLD ^ 1 << 5);
}

static void inc_neg_once(void)
{
    struct outcome o = RUN(0, 0, 0xff, 0x06, 0xf7, 0x1e, 0xf7, 0x1e); /* incl; negl; negl */

    CHECK_EQ(o.mem, OLD + 1);
}

/* adc: the carry goes in once, too. */
static void adc_once(void)
{
    struct outcome o = RUN(0, 0x101, 0xf9, 0x11, 0x0e); /* stc; adc %ecx, (%rsi) */

    CHECK_EQ(o.mem, OLD + 0x102);
}

/* Each with a block that was never executed, once, often. */
#define X(name)                                                                                    \
    static void name(void)                                                                         \
    {                                                                                              \
        for (heat = COLD; heat <= HOT; heat++) {                                                   \
            name##_once();                                                                         \
        }                                                                                          \
    }
X(add)
X(lock_add)
X(xadd)
X(lock_xadd)
X(xchg)
X(lock_cmpxchg)
X(cmpxchg_fails)
X(lock_btc)
X(inc_neg)
X(adc)
#undef X

int main(void)
{
    static const struct test_case cases[] = {
        {"add", add},   {"lock-add", lock_add},         {"xadd", xadd},
        {"lock-xadd", lock_xadd}, {"xchg", xchg},       {"lock-cmpxchg", lock_cmpxchg},
        {"cmpxchg-fails", cmpxchg_fails}, {"lock-btc", lock_btc}, {"inc-neg", inc_neg}, {"adc", adc},
    };
    return run_smc_cases("smc-straddle-rmw", cases, ARRAY_SIZE(cases));
}
