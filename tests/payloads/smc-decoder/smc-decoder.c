/* SPDX-License-Identifier: MIT */
/*
 * Rule: a program that decodes or unpacks itself runs as what it has become, at the very next instruction: decoders whose
 * loop decodes its own branch (shikata-ga-nai), unpackers on their own page, one that ends by overwriting itself
 * (SMC cases 22, 62).
 */
#include "tests/payloads/lib/smc.h"

SNIPPET(decoder_call);
SNIPPET(decoder_fnstenv);
SNIPPET(unpack_ahead);
SNIPPET(unpack_down);

#define BODY_MAX 3600
#define PACK_KEY 0x5a /* decoders.S */

/* `add $imm32, %eax` n times; adds the sum to *sum. */
static uint8_t *emit_sum(uint8_t *p, unsigned n, uint32_t seed, uint32_t *sum)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t v = seed * 0x9e3779b9u + i * 0x10001u;

        p = emit32(EMIT(p, 0x05), v);
        *sum += v;
    }
    return p;
}

/* ---- decoders ---- */

static const uint8_t *decoder_start, *decoder_end;

static uint8_t *make_nothing(uint8_t *page)
{
    return page;
}

/* Encode a body behind the decoder with a key made of `value`, run it, compare memory and result. */
static unsigned check_decoder(const struct smc_code *c, uint64_t value)
{
    static uint8_t plain[512], image[512];
    size_t head = (size_t)(decoder_end - decoder_start) - 1; /* the last byte is encoded, too */
    uint32_t key = (uint32_t)value * 0x01234567u + 0x89abcdefu, k = key, sum = (uint32_t)value;
    uint8_t *p = plain + head + 1;

    memset(plain, INSN_NOP, sizeof(plain));
    memcpy(plain, decoder_start, head + 1);
    p = emit32(EMIT(p, INSN_MOV_EAX), (uint32_t)value);
    p = emit_sum(p, 20, (uint32_t)value, &sum);
    p = EMIT(p, 0x5b, INSN_RET); /* pop %rbx */
    unsigned dwords = (unsigned)(p - plain - head + 3) / 4;

    memcpy(image, plain, sizeof(image));
    for (unsigned i = 0; i < dwords; i++) {
        uint32_t d;

        memcpy(&d, plain + head + 4 * i, 4);
        emit32(image + head + 4 * i, d ^ k);
        k += d;
    }
    memcpy(c->code, image, sizeof(image));
    CHECK_EQ((uint32_t)run_code(c, key, dwords), sum);
    CHECK_EQ(memcmp(c->code, plain, sizeof(plain)), 0);
    return 1 + dwords;
}

static void finds_itself_by_call(void)
{
    decoder_start = decoder_call_start;
    decoder_end = decoder_call_end;
    each_heat(make_nothing, check_decoder);
}

static void finds_itself_by_fpu(void)
{
    decoder_start = decoder_fnstenv_start;
    decoder_end = decoder_fnstenv_end;
    each_heat(make_nothing, check_decoder);
}

/* ---- unpackers ---- */

static unsigned body_insns; /* of what is unpacked */

/* The unpacker and what it unpacks, all on one page; returns its sum. */
static uint32_t put_packed(uint8_t *code, uint32_t seed, size_t *len)
{
    static uint8_t text[BODY_MAX];
    size_t head = (size_t)(unpack_ahead_end - unpack_ahead_start);
    uint32_t sum = 0;
    uint8_t *p = emit_sum(text + head, body_insns, seed, &sum);

    memcpy(text, unpack_ahead_start, head);
    *p++ = INSN_RET;
    *len = (size_t)(p - text) - head;
    for (size_t i = 0; i < *len; i++) {
        text[head + i] ^= PACK_KEY;
    }
    memcpy(code, text, head + *len);
    return sum;
}

static unsigned check_ahead(const struct smc_code *c, uint64_t value)
{
    size_t len;
    uint32_t sum = put_packed(c->code, (uint32_t)value, &len);

    CHECK_EQ((uint32_t)run_code(c, 0, len), sum);
    CHECK_EQ((uint32_t)call(c->code + (unpack_ahead_end - unpack_ahead_start) - 2, 0, 0), sum); /* xor %eax, %eax */
    return 1 + (unsigned)len;
}

static void own_page(void)
{
    body_insns = 30;
    each_heat(make_nothing, check_ahead);
}

/* A full page, in one pass. */
static void own_page_large(void)
{
    struct smc_code c = {.code = page_alloc()};

    c.entry = c.code;
    body_insns = 700;
    smc_stores(check_ahead(&c, 5));
}

/* Packed bytes at the page's upper half, output from the loop's own `jne` on. */
static unsigned check_down(const struct smc_code *c, uint64_t value)
{
    static uint8_t out[512];
    size_t head = (size_t)(unpack_down_end - unpack_down_start) - 2; /* jne is output as well */
    uint8_t *packed = c->code + 2048;
    uint32_t sum = (uint32_t)value;
    uint8_t *p = EMIT(out, 0x90, c->code[head + 1], 0x90, 0xfc); /* nop; f3 90 = pause; cld */

    memcpy(c->code, unpack_down_start, head + 2);
    out[1] = c->code[head + 1]; /* while the loop goes on, its displacement must stay */
    p = emit32(EMIT(p, INSN_MOV_EAX), (uint32_t)value);
    p = emit_sum(p, 30, (uint32_t)value, &sum);
    *p++ = INSN_RET;
    size_t len = (size_t)(p - out);

    for (size_t i = 0; i < len; i++) {
        out[i] ^= PACK_KEY;
    }
    memcpy(packed, out, len);
    uint64_t got = ((code_fn *)(uint64_t)c->entry)((uint64_t)c->code + head + len - 1, (uint64_t)packed + len - 1, 0,
                                                   len + 1000);

    CHECK_EQ((uint32_t)got, sum);
    CHECK_EQ(c->code[head], 0x90);
    return 2 + (unsigned)len;
}

static void overwrites_itself(void)
{
    each_heat(make_nothing, check_down);
}

int main(void)
{
    static const struct test_case cases[] = {
        {"finds-itself-by-call", finds_itself_by_call},
        {"finds-itself-by-fpu", finds_itself_by_fpu},
        {"own-page", own_page},
        {"own-page-large", own_page_large},
        {"overwrites-itself", overwrites_itself},
    };
    fpu_enable();
    return run_smc_cases("smc-decoder", cases, ARRAY_SIZE(cases));
}
