/* SPDX-License-Identifier: MIT */
/*
 * Differential test of the decoder against Zydis and Capstone.
 *   decode-diff                    a sample of all encodings, then random ones: seconds
 *   decode-diff enum               every map, prefix, opcode and ModRM form
 *   decode-diff random <n> <seed>  random bytes and random well-formed encodings
 *   decode-diff elf <file>         linear sweep over the executable sections
 *   decode-diff speed <file>       cycles per instruction, no comparison
 * Every difference is either explained (decode-explained.c) and counted, or printed, and the exit
 * status is 1.
 */
#include <capstone/capstone.h>
#include <elf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include "tests/host/decode-diff.h"

#define MAX_PRINTED 100
#define CODE_MAX 16

static ZydisDecoder zydis;
static csh capstone;
static cs_insn *cs_out;
static unsigned long compared, valid_both, plain_seen, unexplained, by_kind[DIFF_KINDS];
/* One example for each row (or Zydis mnemonic, if we see no instruction) and kind, MAX_PRINTED in
 * all. */
static bool was_printed[8192][DIFF_KINDS];
static unsigned printed;

static void print_difference(const struct views *v, unsigned kind, const char *detail)
{
    unsigned key = v->err ? 4096u + (v->z_valid ? (unsigned)v->z.mnemonic : v->c_id) : v->in.row;
    char ours[200], theirs[200] = "(bad)";
    ZydisFormatter f;

    if (printed >= MAX_PRINTED || was_printed[key % 8192][kind]) {
        return;
    }
    was_printed[key % 8192][kind] = true;
    printed++;
    insn_format(&v->in, v->bytes, 0, ours, sizeof(ours));
    if (v->z_valid) {
        ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
        ZydisFormatterFormatInstruction(&f, &v->z, v->ops, v->z.operand_count_visible, theirs,
                                        sizeof(theirs), 0, NULL);
    }
    printf("%s:", diff_names[kind]);
    for (unsigned i = 0; i < v->avail && i < (v->z_valid ? v->z.length : 15u); i++) {
        printf(" %02x", v->bytes[i]);
    }
    printf("\n    ours   %d %2u %s\n    zydis  %d %2u %s\n    capst. %d %2u %s\n    %s\n", !v->err,
           v->in.len, ours, v->z_valid, v->z_valid ? v->z.length : 0, theirs, v->c_valid, v->c_len,
           v->c_valid ? cs_out->mnemonic : "", detail);
}

static bool explain(const struct views *v, unsigned kind)
{
    for (size_t i = 0; i < explained_count; i++) {
        if (explained[i].kind == kind && (!explained[i].what || explained[i].what(v))) {
            explained[i].count++;
            return true;
        }
    }
    return false;
}

/* Decode with all three and compare. Returns how far a linear sweep goes on. */
static unsigned check(const uint8_t *bytes, size_t avail)
{
    struct views v = {.bytes = bytes, .avail = avail};
    const uint8_t *code = bytes;
    size_t left = avail;
    uint64_t address = 0;
    char detail[256];
    unsigned diffs;

    v.err = insn_decode(&v.in, bytes, avail);
    v.z_valid = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis, bytes, avail, &v.z, v.ops));
    v.c_valid = cs_disasm_iter(capstone, &code, &left, &address, cs_out);
    v.c_len = v.c_valid ? cs_out->size : 0;
    v.c_id = v.c_valid ? cs_out->id : 0;
    compared++;
    valid_both += !v.err && v.z_valid;
    diffs = compare_views(&v, detail, sizeof(detail));
    struct insn quick;
    unsigned plain = insn_decode_quick(&quick, bytes, avail);
    plain_seen += plain != 0;
    if (plain && (v.err || plain != v.in.len || quick.len != plain || quick.kind != v.in.kind ||
                  (quick.kind == INSN_COPY ? v.in.is_rip_rel : memcmp(&quick, &v.in, sizeof(quick)) != 0))) {
        snprintf(detail, sizeof(detail), "quick, length %u", plain);
        diffs |= 1u << DIFF_PLAIN;
    }
    for (unsigned k = 0; k < DIFF_KINDS; k++) {
        if (!(diffs & (1u << k))) {
            continue;
        }
        by_kind[k]++;
        if (!explain(&v, k)) {
            unexplained++;
            print_difference(&v, k, detail);
        }
    }
    return v.z_valid ? v.z.length : 1;
}

static void sweep(const uint8_t *code, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t left = size - at;

        at += check(code + at, left < 15 ? left : 15);
    }
}

/* Call fn for each executable section of an ELF64 file. False: cannot be read. */
static bool for_each_text(const char *path, void (*fn)(const uint8_t *code, size_t size))
{
    FILE *f = fopen(path, "rb");
    uint8_t *file;
    long size;
    const Elf64_Ehdr *eh;
    const Elf64_Shdr *sh;

    if (!f) {
        return false;
    }
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    file = malloc((size_t)size + 1);
    if (!file || size < (long)sizeof(*eh) || fread(file, 1, (size_t)size, f) != (size_t)size ||
        memcmp(file, ELFMAG, SELFMAG)) {
        free(file);
        fclose(f);
        return false;
    }
    fclose(f);
    eh = (const Elf64_Ehdr *)file;
    sh = (const Elf64_Shdr *)(file + eh->e_shoff);
    for (unsigned i = 0; i < eh->e_shnum; i++) {
        if (sh[i].sh_type == SHT_PROGBITS && (sh[i].sh_flags & SHF_EXECINSTR)) {
            fn(file + sh[i].sh_offset, sh[i].sh_size);
        }
    }
    free(file);
    return true;
}

/* Of the enumerated encodings, check each stride-th: 1 is all of them. A prime, so that no field is
 * favoured. */
static unsigned long stride = 1, enumerated;

/* Check a code up to ModRM, with SIB, displacement and immediate bytes of some variety behind it.
 */
static void check_with_tail(uint8_t *code, unsigned n)
{
    static const uint8_t tails[4][10] = {
        {0x10, 0x80, 0x00, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde},
        {0x25, 0xff, 0x0f, 0xf0, 0x01, 0x83, 0x44, 0x05, 0x06, 0x77},
        {0xe3, 0x7f, 0x1f, 0x00, 0x80, 0x02, 0x03, 0x04, 0x05, 0x06},
        {0x64, 0x00, 0x9e, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70},
    };
    const uint8_t *tail = tails[(enumerated / stride) % 4];

    if (enumerated++ % stride) {
        return;
    }
    for (unsigned i = n; i < CODE_MAX; i++) {
        code[i] = i - n < 10 ? tail[i - n] : 0;
    }
    check(code, 15);
}

/* All ModRM values for one opcode. */
static void enum_modrm(uint8_t *code, unsigned n)
{
    for (unsigned modrm = 0; modrm < 256; modrm++) {
        code[n] = modrm;
        check_with_tail(code, n + 1);
    }
}

static void enum_legacy(void)
{
    static const char *const prefixes[] = {
        "",         "\x66",         "\xf3",     "\xf2",     "\x48",     "\x66\x48",
        "\xf3\x48", "\xf2\x48",     "\x66\xf3", "\x66\xf2", "\x67",     "\x64",
        "\x41",     "\x44",         "\x4f",     "\xf0",     "\xf0\x48", "\xf0\x66",
        "\x65\x67", "\x66\xf3\x48", "\xf2\xf3", "\xf3\x67", "\x2e",     "\x40",
    };
    static const char *const maps[] = {"", "\x0f", "\x0f\x38", "\x0f\x3a"};
    uint8_t code[CODE_MAX + 4];

    for (size_t p = 0; p < sizeof(prefixes) / sizeof(prefixes[0]); p++) {
        for (size_t m = 0; m < 4; m++) {
            unsigned n = (unsigned)strlen(prefixes[p]);

            memcpy(code, prefixes[p], n);
            memcpy(code + n, maps[m], strlen(maps[m]));
            n += (unsigned)strlen(maps[m]);
            for (unsigned op = 0; op < 256; op++) {
                code[n] = op;
                enum_modrm(code, n + 1);
            }
        }
    }
}

static void enum_vex(void)
{
    /* R.X.B and vvvv: none extended, all extended */
    static const uint8_t rxbs[] = {0xe0, 0x00};
    static const uint8_t vvvvs[] = {0x78, 0x00, 0x28};
    uint8_t code[CODE_MAX + 4] = {0xc4};

    for (unsigned map = 0; map < 8; map++) {
        for (unsigned b2 = 0; b2 < 16 * 2 * 3; b2++) {
            code[1] = rxbs[(b2 >> 4) & 1] | map;
            code[2] = (b2 & 8) << 4 | vvvvs[b2 >> 5] | (b2 & 7);
            for (unsigned op = 0; op < 256; op++) {
                code[3] = op;
                enum_modrm(code, 4);
            }
        }
    }
}

static void enum_evex(void)
{
    /* byte 3: z L'L b V' aaa */
    static const uint8_t controls[] = {
        0x08, 0x28, 0x48, 0x68, 0x09, 0x2a, 0x4b, 0x18, 0x38, 0x58,
        0x78, 0x8c, 0xad, 0xcf, 0x88, 0x00, 0x41, 0x99, 0xdb,
    };
    static const uint8_t modrms[] = {
        0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x04, 0x05, 0x44,
        0x4a, 0x83, 0xac, 0xc0, 0xc9, 0xd2, 0xdb, 0xe4, 0xed, 0xf6, 0xff,
    };
    uint8_t code[CODE_MAX + 4] = {0x62};

    for (unsigned map = 0; map < 8; map++) {
        for (unsigned b2 = 0; b2 < 8 * 3; b2++) {
            for (size_t c = 0; c < sizeof(controls); c++) {
                code[1] = (b2 / 8 == 2 ? 0x90 : 0xf0) | map;
                code[2] = (b2 & 4) << 5 | (b2 / 8 == 0 ? 0x78 : 0x28) | 4 | (b2 & 3);
                code[3] = controls[c];
                for (unsigned op = 0; op < 256; op++) {
                    code[4] = op;
                    for (size_t m = 0; m < sizeof(modrms); m++) {
                        code[5] = modrms[m];
                        check_with_tail(code, 6);
                    }
                }
            }
        }
    }
}

/* xorshift64*, so that a seed gives the same bytes everywhere */
static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1dull;
}

/* Random prefixes, then a random legacy, VEX or EVEX opcode; all else random. */
static void random_encoding(uint8_t *code)
{
    static const uint8_t prefixes[] = {0x66, 0x66, 0xf2, 0xf3, 0x67, 0x64, 0x65,
                                       0x2e, 0x3e, 0xf0, 0x48, 0x41, 0x44, 0x4d};
    unsigned n = 0, form = next_random() % 8;

    while (n < 6 && next_random() % 3 == 0) {
        code[n++] = prefixes[next_random() % sizeof(prefixes)];
    }
    switch (form) {
    case 0:
    case 1:
        code[n++] = 0xc4;
        code[n] = (code[n] & 0xe0) | (1 + next_random() % 3);
        code[n + 1] |= next_random() % 2 ? 0x78 : 0;
        break;
    case 2:
        code[n++] = 0xc5;
        code[n] |= next_random() % 2 ? 0x78 : 0;
        break;
    case 3:
    case 4:
        code[n++] = 0x62;
        code[n] = (code[n] & 0xf0) | (1 + next_random() % 6);
        code[n + 1] |= next_random() % 2 ? 0x7c : 4;
        code[n + 2] |= 8;
        break;
    case 5:
    case 6:
        code[n++] = 0x0f;
        if (next_random() % 3 == 0) {
            code[n++] = next_random() % 2 ? 0x38 : 0x3a;
        }
        break;
    default:
        break;
    }
}

static void random_mode(unsigned long n, uint64_t seed)
{
    random_state = seed * 2 + 1;
    for (unsigned long i = 0; i < n; i++) {
        uint64_t words[3] = {next_random(), next_random(), next_random()};
        uint8_t code[24];

        memcpy(code, words, sizeof(code));
        if (i & 1) {
            random_encoding(code);
        }
        check(code, i % 16 == 0 ? 1 + (i >> 4) % 15 : 15);
    }
}

static unsigned long speed_insns, speed_cycles;

/* TSC cycles to decode 4 KiB or so of code, the best of several tries: other processes do not
 * count. */
static void measure_piece(const uint8_t *code, size_t size)
{
    unsigned long best = ULONG_MAX;

    for (int try = 0; try < 5; try++) {
        unsigned long long start = __rdtsc();
        struct insn in;

        for (size_t at = 0; at < size; at += in.len) {
            if (insn_decode(&in, code + at, size - at) != DECODE_OK) {
                in.len = 1;
            }
            speed_insns += try == 0;
        }
        best = MIN(best, (unsigned long)(__rdtsc() - start));
    }
    speed_cycles += best;
}

/* Decode a section without comparing; runs of int3 padding are skipped, they would flatter the
 * figure. */
static void measure(const uint8_t *code, size_t size)
{
    size_t start = 0;
    struct insn in;

    for (size_t at = 0; at < size;) {
        at += insn_decode(&in, code + at, size - at) == DECODE_OK ? in.len : 1;
        if (at - start >= 4096 || at >= size || code[at] == 0xcc) {
            measure_piece(code + start, MIN(at, size) - start);
            while (at < size && code[at] == 0xcc) {
                at++;
            }
            start = at;
        }
    }
}

static int report(const char *mode)
{
    for (size_t i = 0; i < explained_count; i++) {
        if (explained[i].count) {
            printf("explained %9lu %-17s %s\n", explained[i].count, diff_names[explained[i].kind],
                   explained[i].why);
        }
    }
    printf("decode-diff %s: compared=%lu valid=%lu plain=%lu", mode, compared, valid_both, plain_seen);
    for (unsigned k = 0; k < DIFF_KINDS; k++) {
        printf("%s%s=%lu", k ? " " : " ", diff_names[k], by_kind[k]);
    }
    printf(" unexplained=%lu: %s\n", unexplained, unexplained ? "FAIL" : "PASS");
    printf("%d passed, %d failed\n", unexplained == 0, unexplained != 0);
    return unexplained != 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "quick";

    ZydisDecoderInit(&zydis, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &capstone) != CS_ERR_OK) {
        return 2;
    }
    cs_out = cs_malloc(capstone);
    if (!strcmp(mode, "enum") || !strcmp(mode, "quick")) {
        stride = !strcmp(mode, "quick") ? 97 : 1;
        enum_legacy();
        enum_vex();
        enum_evex();
    }
    if (!strcmp(mode, "quick")) {
        random_mode(200000, 1);
    } else if (!strcmp(mode, "random") && argc == 4) {
        random_mode(strtoul(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
    } else if (!strcmp(mode, "elf") && argc == 3) {
        if (!for_each_text(argv[2], sweep)) {
            fprintf(stderr, "%s: not a readable ELF file\n", argv[2]);
            return 2;
        }
    } else if (!strcmp(mode, "speed") && argc == 3) {
        if (!for_each_text(argv[2], measure) || !speed_insns) {
            return 2;
        }
        printf("decode-diff speed: insns=%lu cycles/insn=%.1f\n", speed_insns,
               (double)speed_cycles / (double)speed_insns);
    } else if (strcmp(mode, "enum")) {
        fprintf(stderr,
                "usage: decode-diff [enum | random <n> <seed> | elf <file> | speed <file>]\n");
        return 2;
    }
    cs_free(cs_out, 1);
    cs_close(&capstone);
    return !strcmp(mode, "speed") ? 0 : report(mode);
}
