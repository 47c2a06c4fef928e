/* SPDX-License-Identifier: MIT */
/*
 * The stores by which generated programs patch themselves: of 1 to 32 bytes, by every kind of instruction that writes memory.
 * The bytes stored keep the program valid, whatever part of them a store writes.
 */
#include "tests/host/smc-internal.h"

/* The bytes that a patch writes to, and the registers or instructions by which they are addressed. */
struct target {
    unsigned site, off, len;
    bool via_r12;
};

/* [prefix] REX opcode ModRM for a memory operand at the target; imm bytes of immediate follow and are the caller's. */
static void put_mem_insn(struct gen *g, const struct target *t, unsigned prefix, bool rex_w, const char *opcode,
                         size_t opcode_len, unsigned reg, unsigned imm)
{
    unsigned rex = (rex_w ? 8 : 0) | (reg >= 8 ? 4 : 0) | (t->via_r12 ? 1 : 0);

    if (prefix) {
        put(g, 1, prefix);
    }
    if (rex || reg >= 4) {
        put(g, 1, 0x40 | rex);
    }
    put_bytes(g, opcode, opcode_len);
    if (t->via_r12) {
        put(g, 1, 4 | (reg & 7) << 3);
        put(g, 1, 0x24);
    } else {
        put(g, 1, 5 | (reg & 7) << 3);
        fix(g, FIX_REL32, false, t->site, (int)t->off, g->at + 4 + imm);
    }
}
#define MEM_INSN(g, t, prefix, w, opcode, reg, imm) put_mem_insn(g, t, prefix, w, opcode, sizeof(opcode) - 1, reg, imm)

/* An instruction with byte and word forms: opcode and opcode + 1, operand size by len. */
static void put_sized(struct gen *g, const struct target *t, const char *map, size_t map_len, uint8_t opcode, unsigned reg,
                      unsigned imm)
{
    char op[4];

    memcpy(op, map, map_len);
    op[map_len] = (char)(t->len == 1 ? opcode : opcode + 1);
    put_mem_insn(g, t, t->len == 2 ? 0x66 : 0, t->len == 8, op, map_len + 1, reg, imm);
}

/* A value that may be stored there. */
static uint64_t target_value(struct gen *g, const struct target *t)
{
    const struct site *s = &g->site[t->site];

    switch (s->kind) {
    case SITE_BLOCK:
        return alphabet8(g);
    case SITE_BYTE:
        return s->first + s->step * below(g, s->count);
    default:
        return rnd(g);
    }
}

/* Stores of 1, 2, 4 or 8 bytes whose value is what is stored; rax has it. */
static void put_plain_store(struct gen *g, const struct target *t)
{
    switch (below(g, t->len < 4 ? 5 : 8)) {
    case 0:
    case 1:
        put_sized(g, t, "", 0, 0x88, R_EAX, 0); /* mov */
        break;
    case 2:
        put_sized(g, t, "", 0, 0x86, R_EAX, 0); /* xchg */
        break;
    case 3:
        put(g, 1, 0x50); /* push %rax; mov the old value to rax; pop %rdx; lock cmpxchg: succeeds */
        put_sized(g, t, "", 0, 0x8a, R_EAX, 0);
        put(g, 1, 0x5a);
        put(g, 1, 0xf0);
        put_sized(g, t, "\x0f", 1, 0xb0, R_EDX, 0);
        break;
    case 4: /* stos */
        put_lea(g, R_EDI, false, t->site, (int)t->off);
        if (t->len == 2) {
            put(g, 1, 0x66);
        } else if (t->len == 8) {
            put(g, 1, 0x48);
        }
        put(g, 1, t->len == 1 ? 0xaa : 0xab);
        break;
    case 5:
        MEM_INSN(g, t, 0, t->len == 8, "\x0f\xc3", R_EAX, 0); /* movnti */
        break;
    case 6: /* movq or movd %rax, %xmm5; store */
        PUT(g, "\x66\x48\x0f\x6e\xe8");
        MEM_INSN(g, t, 0x66, t->len == 8, "\x0f\x7e", 5, 0);
        break;
    default: /* vmovq or vmovd %rax, %xmm6, then pextr */
        PUT(g, "\xc4\xe1\xf9\x6e\xf0");
        MEM_INSN(g, t, 0x66, t->len == 8, "\x0f\x3a\x16", 6, 1);
        put(g, 1, 0);
        break;
    }
}

/* Stores of 8 bytes through the stack instructions: the stack is in the code for a moment. */
static void put_stack_store(struct gen *g, const struct target *t, bool any)
{
    switch (below(g, any ? 4 : 3)) {
    case 0: /* push %rax; pop target */
        put(g, 1, 0x50);
        MEM_INSN(g, t, 0, false, "\x8f", 0, 0);
        break;
    case 1:
    case 2:
        PUT(g, "\x49\x89\xe3"); /* mov %rsp, %r11 */
        put_lea(g, R_ESP, false, t->site, (int)t->off + 8);
        put(g, 1, 0x50);
        PUT(g, "\x4c\x89\xdc");
        break;
    default:
        PUT(g, "\x49\x89\xe3");
        put_lea(g, R_ESP, false, t->site, (int)t->off + 8);
        PUT(g, "\xe8\x00\x00\x00\x00"); /* call the next instruction: the return address is what is stored */
        PUT(g, "\x4c\x89\xdc");
        break;
    }
}

/* Read-modify-write, and stores of whatever there is: for bytes that may become anything. */
static void put_any_store(struct gen *g, const struct target *t)
{
    switch (below(g, 9)) {
    case 0:
        put(g, 1, 0xf0);
        put_sized(g, t, "\x0f", 1, 0xc0, R_EAX, 0); /* lock xadd */
        break;
    case 1:
        put_sized(g, t, "", 0, (uint8_t)(below(g, 7) * 8), R_EAX, 0); /* add, or, adc ... xor */
        break;
    case 2:
        put(g, 1, 0xf0);
        put_sized(g, t, "", 0, 0xf6, 2 + below(g, 2), 0); /* lock not, neg */
        break;
    case 3:
        put_sized(g, t, "", 0, 0xfe, below(g, 2), 0); /* inc, dec */
        break;
    case 4:
        put_sized(g, t, "", 0, 0xc0, below(g, 6), 1); /* rol ... shr */
        put(g, 1, 1 + below(g, 7));
        break;
    case 5:
        put(g, 1, 0xf0);
        put_sized(g, t, "\x0f", 1, 0xb0, R_EDX, 0); /* lock cmpxchg: fails, and writes the old value */
        break;
    case 6: /* the address comes from the bit number: bts %rax, (%rsi) */
        PUT(g, "\x48\xb8");
        fix(g, FIX_BIT64, false, t->site, (int)(t->off * 8 + below(g, 8)), 0);
        PUT(g, "\x48\x0f\xab\x06");
        break;
    case 7:
        MEM_INSN(g, t, 0, false, "\x0f\x92", 0, 0); /* setc: one byte */
        break;
    default:
        if (t->len >= 4) {
            MEM_INSN(g, t, 0, false, "\x0f\xae", 3, 0); /* stmxcsr */
        } else {
            put_sized(g, t, "", 0, 0xc6, 0, t->len);
            put(g, t->len, rnd(g));
        }
        break;
    }
}

/* Stores of 16 bytes of xmm0 element by element, whose extent only the vector registers tell. */
static void put_masked_store(struct gen *g, const struct target *t)
{
    uint32_t mask = below(g, 0x700);

    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && t->via_r12 && below(g, 2)) {
        if (below(g, 2)) {
            PUT(g, "\xc5\xf8\x90\x8e"); /* kmovw disp32(%rsi), %k1 */
            put(g, 4, mask);
            PUT(g, "\x62\xd1\x7f\x09\x7f\x04\x24"); /* vmovdqu8 %xmm0, (%r12){%k1} */
        } else {
            PUT(g, "\xf3\x0f\x6f\x9e"); /* movdqu index(%rsi), %xmm3 */
            put(g, 4, SMC_INDEX_OFF);
            PUT(g, "\xc5\xf4\x46\xc9\x62\xd2\x7d\x09\xa0\x04\x1c"); /* kxnorw; vpscatterdd %xmm0, (%r12,%xmm3){%k1} */
        }
        return;
    }
    PUT(g, "\xf3\x0f\x6f\x8e"); /* movdqu disp32(%rsi), %xmm1: the signs are the mask */
    put(g, 4, mask);
    if (t->via_r12) {
        PUT(g, "\xc4\xc2\x71\x2e\x04\x24"); /* vmaskmovps %xmm0, %xmm1, (%r12) */
    } else {
        put_lea(g, R_EDI, false, t->site, (int)t->off);
        PUT(g, "\x66\x0f\xf7\xc1"); /* maskmovdqu */
    }
}

/* Stores of 16 or 32 bytes from the pool of instruction bytes. */
static void put_vector_store(struct gen *g, const struct target *t)
{
    uint32_t pool = SMC_POOL_OFF + below(g, 0x100);
    struct target high = {.site = t->site, .off = t->off + 8, .len = 8, .via_r12 = t->via_r12};

    PUT(g, "\xc5\xfe\x6f\x86"); /* vmovdqu pool(%rsi), %ymm0 */
    put(g, 4, pool);
    if (t->len == 32 && t->via_r12) {
        PUT(g, "\xc4\xc1\x7c\x11\x04\x24"); /* vmovups %ymm0, (%r12) */
        return;
    }
    if (t->len == 32) {
        PUT(g, "\xc5\xfc\x11\x05");
        fix(g, FIX_REL32, false, t->site, (int)t->off, g->at + 4);
        return;
    }
    switch (below(g, 4)) {
    case 0:
        MEM_INSN(g, t, 0, false, "\x0f\x11", 0, 0); /* movups */
        break;
    case 1:
        MEM_INSN(g, t, 0xf3, false, "\x0f\x7f", 0, 0); /* movdqu */
        break;
    case 2:
        put_masked_store(g, t);
        break;
    default:
        MEM_INSN(g, t, 0, false, "\x0f\x17", 0, 0); /* movhps, and movlps at the other half */
        MEM_INSN(g, &high, 0, false, "\x0f\x13", 0, 0);
        break;
    }
}

/* rep stos of one instruction, rep movs from the pool; up or down. */
static void put_string_store(struct gen *g, const struct target *t)
{
    bool down = !below(g, 3);
    bool movs = below(g, 2);
    int first = (int)t->off + (down ? (int)t->len - 1 : 0);

    put_lea(g, R_EDI, false, t->site, first);
    put(g, 1, 0xb9);
    put(g, 4, t->len);
    if (movs) {
        PUT(g, "\x49\x89\xf2\x48\x81\xc6"); /* mov %rsi, %r10; add $pool, %rsi */
        put(g, 4, SMC_POOL_OFF + 64 + below(g, 0x100));
    } else { /* not a prefix: so many of them would be no instruction */
        put(g, 1, 0xb0);
        put(g, 1, one_byte_insn(g));
    }
    if (down) {
        put(g, 1, 0xfd);
    }
    put(g, 1, 0xf3);
    put(g, 1, movs ? 0xa4 : 0xaa);
    if (down) {
        put(g, 1, 0xfc);
    }
    if (movs) {
        PUT(g, "\x4c\x89\xd6");
    }
}

/* Choose which bytes of a site, by what kinds of store there are. */
static struct target choose_target(struct gen *g, unsigned site)
{
    static const uint8_t sizes[] = {1, 2, 4, 8, 16, 32};
    const struct site *s = &g->site[site];
    struct target t = {.site = site, .via_r12 = below(g, 2)};
    unsigned n = 1;

    if (s->kind == SITE_CALL) {
        t.len = 4;
        return t;
    }
    while (n < ARRAY_SIZE(sizes) && sizes[n] <= s->len) {
        n++;
    }
    t.len = sizes[below(g, n)];
    t.off = below(g, s->len - t.len + 1u);
    return t;
}

void smc_put_patch(struct gen *g)
{
    unsigned site = below(g, g->sites);
    struct target t = choose_target(g, site);
    const struct site *s = &g->site[site];

    g->p->patches++;
    if (t.via_r12 && below(g, 2)) {
        PUT(g, "\x49\xbc"); /* movabs */
        fix(g, FIX_ABS64, false, site, (int)t.off, 0);
    } else if (t.via_r12) {
        put_lea(g, R_R12, false, site, (int)t.off);
    }
    if (s->kind == SITE_CALL) {
        put(g, 1, 0xb8);
        fix(g, FIX_CALL32, true, s->first + below(g, s->count), 0, site);
    } else {
        put_const(g, R_EAX, target_value(g, &t));
    }
    if (t.len >= 16) {
        put_vector_store(g, &t);
    } else if (s->kind == SITE_ANY && below(g, 2)) {
        put_any_store(g, &t);
    } else if (s->kind <= SITE_BLOCK && t.len == 8 && below(g, 2)) {
        put_stack_store(g, &t, s->kind == SITE_ANY);
    } else if (s->kind == SITE_BLOCK && !below(g, 4)) {
        t.len = 1 + below(g, s->len - t.off);
        put_string_store(g, &t);
    } else if (s->kind != SITE_CALL && t.len < 8 && !below(g, 4)) {
        put_sized(g, &t, "", 0, 0xc6, 0, t.len);
        put(g, t.len, target_value(g, &t));
    } else {
        put_plain_store(g, &t);
    }
    switch (below(g, 4)) { /* what the manual asks for between patch and use, or nothing */
    case 0:
        PUT(g, "\xeb\x00");
        break;
    case 1:
        PUT(g, "\x53\x31\xc0\x0f\xa2\x5b"); /* cpuid, leaf 0; rbx kept */
        break;
    default:
        break;
    }
}
