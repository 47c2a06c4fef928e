/* SPDX-License-Identifier: MIT */
/*
 * The generator works in two steps: plan the items of all functions, which fixes what can be patched (sites); then emit, and
 * fill in the addresses of sites and functions at the end. It must not run anything.
 *
 * Registers: rsi data, rsp stack, r13 to r15 loop counters, r12 address of a patch, r10 and r11 saved rsi and rsp, rax the
 * value of a patch; rbx collects results; rcx, rdx, rbp, r8, r9 are free.
 */
#include "tests/host/smc-internal.h"

enum item_kind {
    ITEM_ALU,      /* not patched */
    ITEM_IMM64,    /* movabs imm64 */
    ITEM_IMM32,    /* op imm32 with a register: the immediate and the operation are sites */
    ITEM_SELF,     /* a store into its own immediate */
    ITEM_TWICE,    /* the same, and then the changed store somewhere else */
    ITEM_DISP,     /* a load, whose displacement is a site */
    ITEM_BLOCK,    /* one-byte instructions */
    ITEM_SKIP,     /* a short jump into a block */
    ITEM_COND,     /* a conditional jump over an instruction: the condition is a site */
    ITEM_CALL,     /* the target is a site */
    ITEM_CALL_REG, /* indirect */
    ITEM_PATCH,
    ITEM_LOOP,
    ITEM_LOOP_END,
};

/* ---- plan ---- */

static uint16_t plan_site(struct gen *g, enum site_kind kind, unsigned len, unsigned first, unsigned step, unsigned count)
{
    g->site[g->sites] = (struct site){.kind = kind, .len = (uint8_t)len, .first = (uint8_t)first, .step = (uint8_t)step,
                                      .count = (uint8_t)count};
    return (uint16_t)g->sites++;
}

static void plan_item(struct gen *g, enum item_kind kind, unsigned function)
{
    struct item *it = &g->item[g->items++];

    *it = (struct item){.kind = (uint8_t)kind, .function = (uint8_t)function, .random = (uint32_t)rnd(g)};
    switch (kind) {
    case ITEM_IMM64:
        it->site = plan_site(g, SITE_ANY, 8, 0, 0, 0);
        break;
    case ITEM_IMM32:
        it->second = plan_site(g, SITE_BYTE, 1, 0xc1, 8, 8); /* ModRM: add, or, adc ... with ecx */
        it->site = plan_site(g, SITE_ANY, 4, 0, 0, 0);
        break;
    case ITEM_SELF:
    case ITEM_TWICE:
        it->site = plan_site(g, SITE_ANY, 4, 0, 0, 0);
        break;
    case ITEM_DISP:
        it->site = plan_site(g, SITE_ANY, 1, 0, 0, 0);
        break;
    case ITEM_BLOCK:
        it->site = plan_site(g, SITE_BLOCK, 2 + it->random % 40, 0, 0, 0);
        break;
    case ITEM_SKIP:
        it->site = plan_site(g, SITE_BLOCK, 8 + it->random % 24, 0, 0, 0);
        it->second = plan_site(g, SITE_BYTE, 1, 0, 1, g->site[it->site].len);
        break;
    case ITEM_COND:
        it->site = plan_site(g, SITE_BYTE, 1, 0x70, 1, 16);
        break;
    case ITEM_CALL:
        it->site = plan_site(g, SITE_CALL, 4, function + 1, 1, g->functions - function - 1);
        break;
    default:
        break;
    }
}

static void plan_function(struct gen *g, unsigned function, unsigned size)
{
    static const uint8_t plain[] = {ITEM_ALU,  ITEM_IMM64, ITEM_IMM32, ITEM_SELF,  ITEM_DISP,  ITEM_BLOCK, ITEM_BLOCK,
                                    ITEM_TWICE, ITEM_SKIP, ITEM_COND,  ITEM_PATCH, ITEM_PATCH, ITEM_PATCH, ITEM_PATCH};
    unsigned calls = function + 1 < g->functions ? 1 + below(g, 2) : 0;

    for (unsigned i = 2 + below(g, 4 * size); i; i--) {
        unsigned in_loop = below(g, 6) ? 1 : 1 + below(g, 4);

        if (in_loop > 1) {
            plan_item(g, ITEM_LOOP, function);
        }
        for (unsigned k = 0; k < in_loop; k++) {
            plan_item(g, plain[below(g, ARRAY_SIZE(plain))], function);
        }
        if (in_loop > 1) {
            plan_item(g, ITEM_LOOP_END, function);
        }
        if (calls && !below(g, 2)) {
            plan_item(g, below(g, 4) ? ITEM_CALL : ITEM_CALL_REG, function);
            calls--;
        }
    }
    if (calls) {
        plan_item(g, ITEM_CALL, function);
    }
}

/* ---- emit ---- */

static void put_block(struct gen *g, unsigned site)
{
    struct site *s = &g->site[site];

    s->off = g->at;
    for (unsigned i = 0; i < s->len; i++) {
        put(g, 1, alphabet(g));
    }
    put(g, 1, 0x90); /* takes a prefix at the end */
}

static void put_alu(struct gen *g)
{
    static const char *const ops[] = {
        "\x48\x01\xcb", "\x48\x11\xd3", "\x48\x31\xeb", "\x48\xc1\xc3\x07", "\x48\x0f\xaf\xcb",
        "\x48\x8d\x5c\x4b\x11" /* lea */, "\x53\x5d" /* push, pop */, "\x9c\x9d" /* pushf, popf */, "\x48\x03\x1e",
        "\x48\x29\x5e\x08", "\xc5\xf5\xfe\xc8", "\x0f\x42\xca", "\xf0\x48\x0f\xc1\x5e\x10" /* lock xadd */,
    };
    const char *op = ops[below(g, ARRAY_SIZE(ops))];

    put_bytes(g, op, strlen(op));
}

static void put_item(struct gen *g, const struct item *it, uint32_t *loop)
{
    struct site *s = &g->site[it->site];

    switch ((enum item_kind)it->kind) {
    case ITEM_ALU:
        put_alu(g);
        break;
    case ITEM_IMM64:
        put_const(g, R_R8, rnd(g));
        s->off = g->at - 8;
        PUT(g, "\x4c\x01\xc3\x48\xc1\xc3\x05"); /* add %r8, %rbx; rol $5, %rbx */
        break;
    case ITEM_IMM32:
        PUT(g, "\x81\xc1"); /* add $imm, %ecx */
        g->site[it->second].off = g->at - 1;
        s->off = g->at;
        put(g, 4, rnd(g));
        PUT(g, "\x48\x11\xcb"); /* adc %rcx, %rbx */
        break;
    case ITEM_SELF: /* mov, xor, add or sub $imm, with the immediate as the operand; add it to ebx */
        if (below(g, 2)) {
            PUT(g, "\xc7\x05\xfc\xff\xff\xff");
        } else {
            static const uint8_t modrm[] = {0x35, 0x05, 0x2d};

            put(g, 1, 0x81);
            put(g, 1, modrm[below(g, sizeof(modrm))]);
            put(g, 4, 0xfffffffc);
        }
        s->off = g->at;
        put(g, 4, rnd(g));
        PUT(g, "\x03\x1d\xf6\xff\xff\xff");
        break;
    case ITEM_TWICE: /* add or xor $imm, (%r12): on the immediate, then on site 0, which takes any bytes */
        put_lea(g, R_R12, false, it->site, 0);
        PUT(g, "\x41\xbe\x02\x00\x00\x00\x41\x81"); /* mov $2, %r14d */
        put(g, 1, below(g, 2) ? 0x04 : 0x34);
        put(g, 1, 0x24);
        s->off = g->at;
        put(g, 4, rnd(g));
        put_lea(g, R_R12, false, 0, (int)below(g, 5));
        PUT(g, "\x41\xff\xce\x75\xec"); /* dec %r14d; jnz to the add */
        break;
    case ITEM_DISP:
        PUT(g, "\x48\x33\x9e"); /* xor disp32(%rsi), %rbx */
        s->off = g->at;
        put(g, 4, below(g, 256));
        break;
    case ITEM_SKIP:
        put(g, 1, 0xeb);
        g->site[it->second].off = g->at;
        put(g, 1, below(g, s->len));
        put_block(g, it->site);
        break;
    case ITEM_BLOCK:
        put_block(g, it->site);
        PUT(g, "\x48\x11\xc3"); /* adc %rax, %rbx */
        break;
    case ITEM_COND:
        s->off = g->at;
        put(g, 1, 0x70 + below(g, 16));
        PUT(g, "\x04\x48\x8d\x5b\x55"); /* over lea 0x55(%rbx), %rbx */
        break;
    case ITEM_CALL:
        put(g, 1, 0xe8);
        s->off = g->at;
        fix(g, FIX_REL32, true, s->first + below(g, s->count), 0, g->at + 4);
        break;
    case ITEM_CALL_REG:
        put_lea(g, R_R9, true, it->function + 1 + below(g, g->functions - it->function - 1), 0);
        PUT(g, "\x41\xff\xd1");
        break;
    case ITEM_PATCH:
        smc_put_patch(g);
        break;
    case ITEM_LOOP:
        PUT(g, "\x41\xbd"); /* mov $n, %r13d */
        put(g, 4, 2 + below(g, 3));
        *loop = g->at;
        break;
    case ITEM_LOOP_END:
        PUT(g, "\x41\xff\xcd\x0f\x85"); /* dec %r13d; jnz */
        put(g, 4, *loop - (g->at + 4));
        break;
    }
}

/* Somewhere new for the next function: close by, or so that a page ends soon. */
static void choose_place(struct gen *g)
{
    if (below(g, 2)) {
        g->at = ALIGN_UP(g->at + 96, 4096u) - below(g, 96);
    } else {
        g->at += below(g, 24);
    }
}

static void apply_fixups(struct gen *g)
{
    uint64_t code = g->p->base + SMC_CODE_OFF;

    for (unsigned i = 0; i < g->fixups; i++) {
        const struct fixup *f = &g->fixup[i];
        uint32_t off = (f->function ? g->function_off[f->target] : g->site[f->target].off);
        uint64_t v = off;
        unsigned size = 8;

        switch ((enum fixup_kind)f->kind) {
        case FIX_REL32:
            v = off + (uint64_t)f->addend - f->next;
            size = 4;
            break;
        case FIX_ABS64:
            v = code + off + (uint64_t)f->addend;
            break;
        case FIX_BIT64:
            v = (code + off - (g->p->base + SMC_DATA_OFF)) * 8 + (uint64_t)f->addend;
            break;
        case FIX_CALL32:
            v = off - (g->site[f->next].off + 4);
            size = 4;
            break;
        }
        memcpy(g->p->code + f->at, &v, size);
    }
}

/* mov $n, %r15d; 1: call every function once; dec %r15d; jnz 1b; int3 */
static void put_main(struct gen *g)
{
    uint32_t loop;

    g->p->entry = g->p->base + SMC_CODE_OFF + g->at;
    PUT(g, "\x41\xbf");
    put(g, 4, 2 + below(g, 2));
    loop = g->at;
    for (unsigned i = 0; i < 2; i++) {
        put(g, 1, 0xe8);
        fix(g, FIX_REL32, true, i % g->functions, 0, g->at + 4);
    }
    PUT(g, "\x41\xff\xcf\x0f\x85");
    put(g, 4, loop - (g->at + 4));
    put(g, 1, 0xcc);
}

void smc_generate(struct smc_program *p, uint64_t base, uint64_t number, unsigned size)
{
    static struct gen gen; /* owner: the one thread */
    struct gen *g = &gen;
    bool stack_in_code;

    memset(g, 0, offsetof(struct gen, item));
    memset(p, 0, sizeof(*p));
    memset(p->code, 0xcc, sizeof(p->code));
    g->p = p;
    g->rng = 0x9e3779b97f4a7c15ull * (number + 1);
    p->base = base;
    rnd(g);
    g->functions = 2 + below(g, size + 1);
    plan_item(g, ITEM_IMM64, 0); /* there is always something to patch */
    for (unsigned f = 0; f < g->functions; f++) {
        plan_function(g, f, size);
    }
    stack_in_code = !below(g, 8);
    p->stack = stack_in_code ? base + SMC_CODE_OFF + 0x3f8 : base + SMC_STACK_OFF + SMC_STACK_SIZE / 2;
    g->at = stack_in_code ? 0x400 : below(g, 64);
    put_main(g);
    for (unsigned f = 0, i = 0; f < g->functions; f++) {
        uint32_t loop = 0;

        choose_place(g);
        g->function_off[f] = g->at;
        for (; i < g->items && g->item[i].function == f; i++) {
            if (g->at > SMC_CODE_MAX - 512) {
                abort();
            }
            put_item(g, &g->item[i], &loop);
            if (below(g, 2)) {
                PUT(g, "\xeb\x00"); /* ends the block: short ones make wrong extents of stores show */
            }
        }
        put(g, 1, 0xc3);
    }
    apply_fixups(g);
    for (unsigned i = 0; i < SMC_DATA_SIZE; i++) {
        p->data[i] = i >= SMC_POOL_OFF && i < SMC_POOL_OFF + 0x400 ? alphabet(g) : (uint8_t)rnd(g);
    }
    for (unsigned i = 0; i < 16; i++) {
        p->data[SMC_INDEX_OFF + i] = i & 3 ? 0 : (uint8_t)i;
        p->regs[i] = rnd(g);
    }
    p->regs[R_ESI] = base + SMC_DATA_OFF;
    p->regs[R_ESP] = p->stack;
}
