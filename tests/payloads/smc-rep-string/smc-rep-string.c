/* SPDX-License-Identifier: MIT */
/*
 * Rule: a repeated string instruction that overwrites itself may go on or be fetched again between two iterations, but rcx,
 * rsi, rdi and memory agree, and what follows is what was written (SMC cases 6, 7). Hardware completes short ones:
 * case `completes`, which QEMU's TCG up to 9 does not (`skip=completes` when QEMU runs us).
 */
#include "tests/payloads/lib/smc.h"

struct result {
    uint64_t rcx, rsi, rdi, executed;
};

/* run(result, code, dst, src, count, flags): loads registers, calls code, stores them. */
static void run_string(struct result *r, const void *code, void *dst, const void *src, uint64_t n,
                       uint8_t al)
{
    uint64_t rdi = (uint64_t)dst, rsi = (uint64_t)src, rcx = n, rdx = 0, rax = al;

    __asm__ volatile("call *%[code]\n\tcld"
                     : "+D"(rdi), "+S"(rsi), "+c"(rcx), "+d"(rdx), "+a"(rax)
                     : [code] "r"(code)
                     : "memory", "cc");
    *r = (struct result){rcx, rsi, rdi, rdx};
}

#define SLED 64 /* bytes of `inc %edx` after the string instruction: those that are left over count */

/* [std] rep <op>; sled of `inc %edx`; ret. Returns the address of the rep. */
static uint8_t *make(uint8_t *code, uint8_t op, bool down)
{
    uint8_t *p = down ? EMIT(code, 0xfd) : EMIT(code, 0xfc);
    uint8_t *rep = p;

    p = EMIT(p, 0xf3, op);
    for (unsigned i = 0; i < SLED; i += 2) {
        p = EMIT(p, 0xff, 0xc2);
    }
    *p = INSN_RET;
    return rep;
}

/* Executed with nothing to do, which leaves all of the sled: not at all, once, or until it is linked. */
static void warm_up(const uint8_t *code, enum heat heat)
{
    uint8_t *far = heat == HOT ? page_alloc() : NULL;
    struct result r;

    if (heat == HOT) {
        emit_jmp(far, code);
    }
    for (unsigned i = 0; i < (heat == COLD ? 0 : heat == WARM ? 1 : 20); i++) {
        run_string(&r, heat == HOT ? far : code, far, far, 0, 0);
        CHECK_EQ(r.executed, SLED / 2);
    }
}

/* Fill [rep, rep + bytes) upwards with nops; returns the iterations that were left over. */
static uint64_t over_itself_at(uint8_t op, unsigned size, unsigned bytes, enum heat heat)
{
    static uint8_t nops[64];
    uint8_t *code = page_alloc();
    uint8_t *rep = make(code, op, false);
    struct result r;

    smc_guard(code + 1024);
    memset(nops, INSN_NOP, sizeof(nops));
    warm_up(code, heat);
    smc_stores(1);
    run_string(&r, code, rep, nops, bytes / size, INSN_NOP);
    uint64_t done = bytes - r.rcx * size;

    CHECK_EQ(r.rdi, (uint64_t)rep + done);
    CHECK_EQ(r.rsi, (uint64_t)nops + (op == 0xaa ? 0 : done));
    for (unsigned i = 0; i < bytes; i++) {
        CHECK_EQ(rep[i] == INSN_NOP, i < done);
    }
    CHECK(done >= 2 || r.rcx == 0);
    if (done % 2 == 0) { /* else it begins with half an instruction */
        CHECK_EQ(r.executed, (SLED + 2 - done) / 2);
    }
    smc_check_guards();
    return r.rcx;
}

/* For each heat; returns the iterations that were left over in all. */
static uint64_t over_itself(uint8_t op, unsigned size, unsigned bytes)
{
    uint64_t left = 0;

    for (enum heat heat = COLD; heat <= HOT; heat++) {
        left += over_itself_at(op, size, bytes, heat);
    }
    return left;
}

static void stosb_itself(void)
{
    for (unsigned n = 2; n <= 64; n += 2) {
        over_itself(0xaa, 1, n);
    }
}

static void movsb_itself(void)
{
    for (unsigned n = 2; n <= 64; n += 2) {
        over_itself(0xa4, 1, n);
    }
}

static void movsd_itself(void)
{
    for (unsigned n = 4; n <= 64; n += 4) {
        over_itself(0xa5, 4, n);
    }
}

static void completes(void)
{
    for (unsigned n = 4; n <= 64; n += 4) {
        CHECK_EQ(over_itself(0xaa, 1, n), 0);
        CHECK_EQ(over_itself(0xa4, 1, n), 0);
        CHECK_EQ(over_itself(0xa5, 4, n), 0);
    }
}

/* Downwards: starts above the instruction and runs over it; may stop with the opcode's first byte (F3: pause) left. */
static void down(uint8_t op)
{
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        static uint8_t nops[64];
        uint8_t *code = page_alloc();
        uint8_t *rep = make(code, op, true);
        struct result r;

        smc_guard(code + 1024);
        memset(nops, INSN_NOP, sizeof(nops));
        warm_up(code, heat);
        smc_stores(1);
        run_string(&r, code, rep + 31, nops + 31, 32, INSN_NOP);
        CHECK(r.rcx <= 1);
        CHECK_EQ(r.rdi, (uint64_t)rep - 1 + r.rcx);
        CHECK_EQ(rep[0], r.rcx ? 0xf3 : INSN_NOP);
        CHECK_EQ(r.executed, (SLED + 2 - 32) / 2);
        smc_check_guards();
    }
}

static void stosb_down(void)
{
    down(0xaa);
}

static void movsb_down(void)
{
    down(0xa4);
}

/* A whole page, the instruction in its middle. */
static void page_over_itself(void)
{
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        uint8_t *code = pages_alloc(2);
        struct result r;

        memset(code, INSN_NOP, 4096);
        memset(code + 4096, INSN_RET, 16);
        uint8_t *rep = make(code + 0x7c0, 0xaa, false);

        warm_up(code + 0x7c0, heat);
        rep[2 + SLED] = INSN_NOP;
        smc_stores(2);
        run_string(&r, code + 0x7c0, code, code, 4096, INSN_NOP);
        uint64_t done = 4096 - r.rcx;

        CHECK_EQ(r.rdi, (uint64_t)code + done);
        CHECK(done >= 0x7c2);
        for (unsigned i = 0x7c0; i < 0x7c0 + SLED; i++) {
            CHECK(code[i] == INSN_NOP || i >= done);
        }
    }
}

/* Overwrite code ahead of the instruction only: every engine must do this right. */
static void stosb_ahead(void)
{
    for (enum heat heat = COLD; heat <= HOT; heat++) {
        for (unsigned n = 1; n <= 32; n++) {
            uint8_t *code = page_alloc();
            uint8_t *rep = make(code, 0xaa, false);
            struct result r;

            warm_up(code, heat);
            smc_stores(1);
            run_string(&r, code, rep + 2, rep, n * 2, INSN_NOP);
            CHECK_EQ(r.rcx, 0);
            CHECK_EQ(r.executed, SLED / 2 - n);
        }
    }
}

/* A copy downwards of the sled onto itself, 8 bytes further: what was nops there before executes as the copied bytes. */
static void copy_overlapping(void)
{
    for (unsigned n = 8; n <= 48; n += 8) {
        uint8_t *code = page_alloc();
        uint8_t *rep = make(code, 0xa4, true);
        struct result r;

        warm_up(code, HOT);
        memset(rep + 2 + n, INSN_NOP, 8);
        smc_stores(2);
        run_string(&r, code, rep + 2 + n + 7, rep + 2 + n - 1, n, 0);
        CHECK_EQ(r.rcx, 0);
        CHECK_EQ(r.executed, SLED / 2);
    }
}

/* Other code on a page that a string instruction fills from outside, again and again. */
static void fill_code_page(void)
{
    uint8_t *page = page_alloc();
    uint8_t *text = page_alloc();

    for (unsigned v = 0; v < 100; v++) {
        for (unsigned i = 0; i < 4096; i += 8) {
            emit_return(text + i, v * 4096 + i);
        }
        memcpy(page, text, 4096);
        smc_stores(1);
        CHECK_EQ(call(page, 0, 0), v * 4096);
        CHECK_EQ(call(page + 4088, 0, 0), v * 4096 + 4088);
        CHECK_EQ(call(page + 8 * v, 0, 0), v * 4096 + 8 * v);
    }
}

int main(void)
{
    static const struct test_case cases[] = {
        {"stosb-ahead", stosb_ahead},   {"fill-code-page", fill_code_page},
        {"stosb-itself", stosb_itself}, {"movsb-itself", movsb_itself},
        {"movsd-itself", movsd_itself}, {"stosb-down", stosb_down},
        {"movsb-down", movsb_down},     {"copy-overlapping", copy_overlapping},
        {"page-over-itself", page_over_itself}, {"completes", completes},
    };
    return run_smc_cases("smc-rep-string", cases, ARRAY_SIZE(cases));
}
