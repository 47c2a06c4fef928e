/* SPDX-License-Identifier: MIT */
/*
 * The code cache: bump allocation of code, slots, TBs and search data, so that TBs are sorted by host address by
 * construction; look-up by host PC begins at the first TB of a granule of code and goes on linearly. Written through the
 * monitor's alias with 8-byte stores only, and no data lies beside code: a page of code is written once, in order. Does not
 * know what the code means.
 */
#include "dbt/code-buffer.h"

#include "dbt/link-set.h"
#include "dbt/translate-emit.h"
#include "dbt/store-site.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"

#define TB_CHUNK_SHIFT 9
#define TB_CHUNK       (1u << TB_CHUNK_SHIFT)
#define TB_CHUNKS      8192u
#define PAD_MAX        64u /* a landing pad before the TB */
#define GUEST_BYTES_MAX (TB_MAX_INSNS * INSN_MAX_LEN + 8)
#define GRANULE_SHIFT   7   /* 128 bytes of code: a few TBs, of at least 8 bytes each */

/* Owner: the CPU that translates, under the exclusive right to translate (one CPU now); lifetime: for ever. */
static struct {
    struct code_gen_region r;
    uint32_t code_used; /* bytes, multiple of 8 */
    uint32_t code_start; /* first byte after the fixed stubs */
    uint32_t slots_used;
    size_t nr_tbs;
    struct TranslationBlock *chunk[TB_CHUNKS];
    uint32_t *granule; /* 1 + index of the first TB with a byte in it; 0 = none */
    struct tb_run *runs;
    uint32_t runs_used, runs_max;
    uint64_t miss_stub, miss_exit;
} cb;

const struct code_gen_region *code_buffer_region(void)
{
    return &cb.r;
}

/* 8-byte stores: byte stores into a page that has run cost 8 times as much where the machine is itself emulated. */
static void write_code(uint32_t off, const uint8_t *code, uint32_t len)
{
    volatile uint64_t *dst = (volatile uint64_t *)(cb.r.code_rw + off);
    uint64_t v;

    for (; len >= 8; len -= 8, code += 8) {
        __builtin_memcpy(&v, code, 8);
        *dst++ = v;
    }
    if (len) { /* up to 7 bytes behind the code are read: there are (emit.h) */
        uint64_t mask = ~0ull << 8 * len;

        __builtin_memcpy(&v, code, 8);
        *dst = (v & ~mask) | (0xcccccccccccccccc & mask);
    }
}

uint64_t code_buffer_next(void)
{
    return cb.r.code_exec + cb.code_used;
}

void code_buffer_next_page(void)
{
    cb.code_used = ALIGN_UP(cb.code_used, (uint32_t)PAGE_SIZE);
}

uint32_t code_buffer_first_slot(void)
{
    return cb.slots_used;
}

uint64_t code_buffer_append(const struct emit *e)
{
    uint64_t at = code_buffer_next();

    if (e->overflow || cb.code_used + e->len + 8 > cb.r.code_size) {
        return 0;
    }
    write_code(cb.code_used, e->buf, e->len);
    cb.code_used += ALIGN_UP(e->len, CODE_ALIGN);
    return at;
}

/* The target is in the vCPU page, and guest rcx in its spill slot. */
static void emit_miss_stub(struct emit *e)
{
    if (cb.r.exit_by_syscall) {
        emit_store_abs(e, R_R11, cb.r.vcpu_addr + offsetof(struct vcpu_page, spill) + R_R11 * 8);
        emit8(e, 0x0f);
        emit8(e, 0x05);
    } else {
        emit8(e, 0xcc);
    }
}

int code_buffer_init(void)
{
    static struct emit e;
    int ret = code_gen_alloc(&cb.r);

    if (ret < 0) {
        return ret;
    }
    ASSERT(fits_simm32(cb.r.vcpu_addr) && fits_simm32(cb.r.table_addr));
    cb.runs_max = cb.r.code_size / 8;
    cb.runs = dbt_zalloc(cb.runs_max * sizeof(*cb.runs));
    cb.granule = dbt_zalloc((cb.r.code_size >> GRANULE_SHIFT) * sizeof(*cb.granule));
    if (!cb.runs || !cb.granule) {
        return -ENOMEM;
    }
    e.base = cb.r.code_exec;
    emit_miss_stub(&e);
    cb.miss_stub = code_buffer_append(&e);
    cb.miss_exit = cb.miss_stub + e.len;
    cb.code_start = ALIGN_UP(cb.code_used, 4096u);
    code_buffer_reset();
    return 0;
}

uint64_t code_buffer_miss_stub(void)
{
    return cb.miss_stub;
}

uint64_t code_buffer_miss_exit(void)
{
    return cb.miss_exit;
}

uint64_t code_buffer_used(void)
{
    return cb.code_used;
}

void code_buffer_reset(void)
{
    memset(cb.granule, 0, ((cb.code_used >> GRANULE_SHIFT) + 1) * sizeof(*cb.granule));
    cb.code_used = cb.code_start;
    cb.slots_used = 1 + STORE_SITE_SLOTS; /* slot 0 means "none" in TranslationBlock.jmp_slot */
    cb.nr_tbs = 0;
    cb.runs_used = 0;
}

/* To be written soon. Most are in no cache: a block takes longer to be written there than it takes to be made. */
static void prefetch_tb(const struct TranslationBlock *tb)
{
    for (unsigned i = 0; i < sizeof(*tb); i += 64) {
        __builtin_prefetch((const uint8_t *)tb + i, 1);
    }
}

struct TranslationBlock *tcg_tb_alloc(void)
{
    size_t i = cb.nr_tbs;

    if (cb.code_used + EMIT_MAX + PAD_MAX + PAGE_SIZE > cb.r.code_size || cb.slots_used + TB_MAX_SLOTS > cb.r.slots_count ||
        cb.runs_used + TB_MAX_RUNS + GUEST_BYTES_MAX / sizeof(*cb.runs) > cb.runs_max || i >= (size_t)TB_CHUNKS * TB_CHUNK) {
        return NULL;
    }
    struct TranslationBlock **chunk = &cb.chunk[i >> TB_CHUNK_SHIFT];
    if (!*chunk) {
        *chunk = dbt_zalloc(TB_CHUNK * sizeof(**chunk));
        if (!*chunk) {
            return NULL;
        }
    }
    struct TranslationBlock *tb = *chunk + (i & (TB_CHUNK - 1));
    __builtin_memset(tb, 0, sizeof(*tb)); /* constant: no call on bare metal */
    prefetch_tb(tb + 2);
    tb->tc.ptr = code_buffer_next();
    return tb;
}

/* The newest TB has its code at [off, off + len). */
static void granule_mark(uint32_t off, uint32_t len)
{
    for (uint32_t g = off >> GRANULE_SHIFT; g <= (off + len - 1) >> GRANULE_SHIFT; g++) {
        if (!cb.granule[g]) {
            cb.granule[g] = (uint32_t)cb.nr_tbs;
        }
    }
}

void code_buffer_commit(struct TranslationBlock *tb, struct DisasContext *s)
{
    ASSERT(tb == tb_at(cb.nr_tbs) && tb->tc.ptr == code_buffer_next());
    tb->tc.size = s->e.len;
    tb->search_off = cb.runs_used;
    tb->search_len = s->nr_runs;
    memcpy(cb.runs + cb.runs_used, s->run, s->nr_runs * sizeof(s->run[0]));
    cb.runs_used += s->nr_runs;
    memcpy(cb.runs + cb.runs_used, insn_bytes(s, 0), tb->size);
    cb.runs_used += ALIGN_UP((uint32_t)tb->size, (uint32_t)sizeof(s->run[0])) / sizeof(s->run[0]);
    cb.slots_used = s->next_slot;
    link_slots_commit(s->next_link);
    cb.nr_tbs++;
    granule_mark((uint32_t)(tb->tc.ptr - cb.r.code_exec), tb->tc.size);
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        if (tb->jmp_slot[n] && !exit_is_link(tb, n)) {
            cb.r.slots_rw[tb->jmp_slot[n]] = tb->tc.ptr + tb->jmp_reset_offset[n];
        }
    }
    link_slots_own(tb);
    code_buffer_append(&s->e);
}

size_t tb_capacity(void)
{
    return cb.r.code_size / 32; /* few blocks are shorter */
}

size_t tb_count(void)
{
    return cb.nr_tbs;
}

struct TranslationBlock *tb_at(size_t i)
{
    return cb.chunk[i >> TB_CHUNK_SHIFT] + (i & (TB_CHUNK - 1));
}

struct TranslationBlock *tcg_tb_lookup(uint64_t host_pc)
{
    uint64_t off = host_pc - cb.r.code_exec;

    if (off >= cb.code_used) {
        return NULL;
    }
    for (size_t i = cb.granule[off >> GRANULE_SHIFT]; i && i <= cb.nr_tbs; i++) {
        struct TranslationBlock *tb = tb_at(i - 1);

        if (host_pc < tb->tc.ptr) {
            break; /* between TBs: a landing pad, a stub */
        }
        if (host_pc - tb->tc.ptr < tb->tc.size) {
            return tb;
        }
    }
    return NULL;
}

const struct tb_run *tb_find_run(const struct TranslationBlock *tb, uint64_t host_pc)
{
    const struct tb_run *run = cb.runs + tb->search_off;
    uint32_t off = (uint32_t)(host_pc - tb->tc.ptr);
    size_t lo = 0;
    size_t hi = tb->search_len;

    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (run[mid].host_off <= off) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return &run[lo];
}

const uint8_t *tb_guest_bytes(const struct TranslationBlock *tb)
{
    return (const uint8_t *)(cb.runs + tb->search_off + tb->search_len);
}

/* The quadword of code at offset off, if it is not v already. */
static void patch_quad(uint64_t off, uint64_t v)
{
    uint64_t *word = (uint64_t *)(cb.r.code_rw + off);

    if (*word != v) {
        __atomic_store_n(word, v, __ATOMIC_RELEASE);
    }
}

/* The rel32 field of a direct exit: one store, if it lies in one quadword. Those that do not (TB_JMP_OFFSET_LATER) are patched by the one
 * CPU that runs them. */
static void patch_rel32(struct TranslationBlock *tb, int n, uint64_t addr)
{
    uint64_t at = tb->tc.ptr + tb->jmp_insn_offset[n], first = (at - cb.r.code_exec) & ~7ull;
    uint32_t rel = (uint32_t)(addr - (at + 4));
    uint8_t code[16];
    uint64_t quad[2];

    memcpy(code, cb.r.code_rw + first, sizeof(code));
    memcpy(code + (at & 7), &rel, sizeof(rel));
    memcpy(quad, code, sizeof(quad));
    patch_quad(first, quad[0]);
    if ((at & 7) > 4) {
        patch_quad(first + 8, quad[1]);
    }
}

void tb_set_jmp_target(struct TranslationBlock *tb, int n, uint64_t addr)
{
    if (tb->jmp_slot[n] && !exit_is_link(tb, (unsigned)n)) {
        __atomic_store_n(&cb.r.slots_rw[tb->jmp_slot[n]], addr, __ATOMIC_RELEASE);
    }
    if (tb_exit_is_direct(tb, (unsigned)n)) {
        patch_rel32(tb, n, addr);
    }
}
