/* SPDX-License-Identifier: MIT */
/* What must hold in every case of self-modifying code besides its result. Without counters only results are checked. */
#include "tests/payloads/lib/smc.h"

#define MARKERS    8 /* functions in a guard: mov $n, %al; ret */
#define GUARDS_MAX 32
#define FAULTS_PER_STORE 2

/* Owner: the running case. */
static struct {
    uint32_t faults, flushes, page_states; /* counters at its start */
    uint64_t stores;
    bool declared, unbounded;
    uint8_t *guard[GUARDS_MAX];
    unsigned nr_guards;
} now;

void smc_stores(uint64_t n)
{
    now.stores += n;
    now.declared = true;
}

void smc_unbounded(void)
{
    now.unbounded = true;
}

/* ---- guards ---- */

/* Execute all markers; returns how many translations that took, a few of which an interrupt of the host explains. */
static __attribute__((noinline)) uint32_t run_markers(void)
{
    uint32_t made = counter_read(PAYLOAD_COUNTER_TB_GEN);

    for (unsigned g = 0; g < now.nr_guards; g++) {
        for (unsigned i = 0; i < MARKERS; i++) {
            CHECK_EQ(call(now.guard[g] + 4 * i, 0, 0) & 0xff, 0x40 + i);
        }
    }
    return counter_read(PAYLOAD_COUNTER_TB_GEN) - made;
}

void smc_guard(uint8_t *p)
{
    if (now.nr_guards == GUARDS_MAX) {
        fatal("more than %u guards", GUARDS_MAX);
    }
    for (unsigned i = 0; i < MARKERS; i++) {
        EMIT(p + 4 * i, 0xb0, (uint8_t)(0x40 + i), INSN_RET);
    }
    now.guard[now.nr_guards++] = p;
    if (counters_present()) {
        now.flushes = counter_read(PAYLOAD_COUNTER_TB_FLUSH);
        now.page_states = counter_read(PAYLOAD_COUNTER_PAGE_STATE);
        run_markers();
        run_markers(); /* now its own blocks are there, too */
    }
}

void smc_check_guards(void)
{
    if (counters_present() && now.nr_guards) {
        uint32_t irqs = counter_read(PAYLOAD_COUNTER_EXIT_IRQ);
        uint32_t made = run_markers();

        irqs = counter_read(PAYLOAD_COUNTER_EXIT_IRQ) - irqs;
        if (now.flushes == counter_read(PAYLOAD_COUNTER_TB_FLUSH) &&
            now.page_states == counter_read(PAYLOAD_COUNTER_PAGE_STATE) && made > 2 * irqs) {
            check_eq(__FILE__, __LINE__, "translations of blocks that nobody wrote to", made, 0);
        }
    }
    now.nr_guards = 0;
}

/* ---- around each case ---- */

static void before_case(void)
{
    now.stores = 0;
    now.declared = now.unbounded = false;
    now.nr_guards = 0;
    if (counters_present()) {
        now.faults = counter_read(PAYLOAD_COUNTER_SMC_FAULT);
    }
}

static void after_case(void)
{
    if (!now.declared && !now.unbounded) {
        fatal("the case does not say how many stores to code it makes");
    }
    smc_check_guards();
    if (!counters_present()) {
        return;
    }
    uint64_t faults = counter_read(PAYLOAD_COUNTER_SMC_FAULT) - now.faults;

    if (!now.unbounded && faults > FAULTS_PER_STORE * now.stores) {
        check_eq(__FILE__, __LINE__, "faults beyond two a store", faults, FAULTS_PER_STORE * now.stores);
    }
    CHECK_EQ(counter_read(PAYLOAD_COUNTER_CHECK), 0);
}

int run_smc_cases(const char *payload, const struct test_case *cases, size_t count)
{
    printf("counters: %s\n", counters_present() ? "present" : "none");
    return run_cases_between(payload, cases, count, before_case, after_case);
}

/* ---- cold, warm, hot ---- */

#define CHAIN_RUNS 12 /* enough for jumps to be linked */

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i]) {
            return false;
        }
    }
    return true;
}

/* Fresh code, and the way into it: for HOT another page -> the end of the code's own page, if free -> the code. */
static struct smc_code new_code(uint8_t *(*make)(uint8_t *page), enum heat heat)
{
    uint8_t *far = heat == HOT ? page_alloc() : NULL;
    uint8_t *page = pages_alloc(2);
    struct smc_code c = {.code = make(page), .heat = heat};

    c.entry = c.code;
    c.guarded = all_zero(page + SMC_FREE, PAGE_SIZE - SMC_FREE);
    if (heat == HOT) {
        if (c.guarded) {
            emit_jmp(page + PAGE_SIZE - 8, c.code);
            c.entry = page + PAGE_SIZE - 8;
        }
        emit_jmp(far, c.entry);
        c.entry = far;
    }
    if (c.guarded) {
        smc_guard(page + SMC_FREE);
    }
    return c;
}

/* The bytes of fresh code, up to the guard or to the end of its two pages. */
static size_t save_code(const struct smc_code *c, uint8_t *image)
{
    uint8_t *page = (uint8_t *)((uint64_t)c->code & PAGE_MASK);
    const uint8_t *end = page + (c->guarded ? SMC_FREE : 2 * PAGE_SIZE);

    while (end > c->code && !end[-1]) {
        end--;
    }
    memcpy(image, c->code, (size_t)(end - c->code));
    return (size_t)(end - c->code);
}

static void heat_up(uint8_t *(*make)(uint8_t *page), unsigned (*check)(const struct smc_code *c, uint64_t value),
                    bool restore)
{
    static const uint8_t values[] = {0x11, 0x22, 0x22, 0x33, 0x11, 0x7f, 0};
    static uint8_t image[2 * PAGE_SIZE];

    for (enum heat heat = COLD; heat <= HOT; heat++) {
        struct smc_code c = new_code(make, heat);
        size_t size = save_code(&c, image);
        unsigned warm = heat == COLD ? 0 : heat == WARM ? 1 : CHAIN_RUNS;

        for (unsigned i = 0; i < warm + ARRAY_SIZE(values); i++) {
            if (restore && i > 0) {
                memcpy(c.code, image, size);
                smc_stores(2); /* on two pages at most */
            }
            smc_stores(check(&c, i < warm ? 0x11 : values[i - warm]));
        }
        smc_check_guards();
    }
}

void each_heat(uint8_t *(*make)(uint8_t *page), unsigned (*check)(const struct smc_code *c, uint64_t value))
{
    heat_up(make, check, false);
}

void each_heat_restored(uint8_t *(*make)(uint8_t *page), unsigned (*check)(const struct smc_code *c, uint64_t value))
{
    heat_up(make, check, true);
}
