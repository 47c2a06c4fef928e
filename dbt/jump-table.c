/* SPDX-License-Identifier: MIT */
/*
 * The inline look-up tables and their landing pads. A pad is reached with the guest's target, whose low 16 bits are those of the pad's pc, in
 * the vCPU page, and the guest's rcx in its spill slot:
 *
 *     pad:  mov   target, %rcx         (pc >= 2 GiB, below 2^47: target + 2, which is target >> 16, and that of pc below)
 *           lea   -pc(%rcx), %rcx      (another pc: spill rdx; mov $-pc, %rdx; lea (%rcx,%rdx), %rcx; reload rdx)
 *           jrcxz ok
 *           jmp   miss
 *     ok:   mov   spill.rcx, %rcx
 *           jmp   tb               (not if the TB was made for this look-up: then the pad stands in front of it)
 *
 * No flags, no guest memory, cannot fault.
 */
#include "dbt/jump-table.h"

#include "dbt/code-buffer.h"
#include "dbt/emit.h"
#include "dbt/link-set.h"
#include "kernel/lib/log.h"

#define LOG_MAX 8192u

/* Of the guest-kernel view; the guest-user view's are in the link sets. Owner: the CPU that translates. The entries in use, so that
 * a flush need not touch more: [1] those of global TBs. */
static struct {
    struct TranslationBlock *tb[LOG_MAX];
    unsigned used; /* > LOG_MAX: overflowed, sweep all */
} filled[2];

void jump_table_init(void)
{
    uint64_t *table = jump_table_rw();

    for (unsigned i = 0; i < JUMP_TABLE_ENTRIES; i++) {
        table[i] = code_buffer_miss_stub();
    }
    filled[0].used = filled[1].used = 0;
}

static void flush_log(bool global)
{
    uint64_t *table = jump_table_rw();

    if (filled[global].used > LOG_MAX) {
        jump_table_init();
        return;
    }
    for (unsigned i = 0; i < filled[global].used; i++) {
        const struct TranslationBlock *tb = filled[global].tb[i];

        if (table[(uint16_t)tb->pc] == tb->pad) {
            table[(uint16_t)tb->pc] = code_buffer_miss_stub();
        }
    }
    filled[global].used = 0;
}

void jump_table_flush(bool all)
{
    flush_log(false);
    if (all) {
        flush_log(true);
    }
}

static uint64_t vcpu_field(size_t offset)
{
    return code_buffer_region()->vcpu_addr + offset;
}

/* lea disp32(%rcx), %rcx */
static void emit_lea_rcx(struct emit *e, int32_t disp)
{
    emit_bytes(e, "\x48\x8d\x89", 3);
    emit32(e, (uint32_t)disp);
}

/* rcx = 0 if the target is pc, given that its low 16 bits are. */
static void emit_compare(struct emit *e, uint64_t pc)
{
    uint64_t target = vcpu_field(offsetof(struct vcpu_page, target));
    uint64_t spilled = vcpu_field(offsetof(struct vcpu_page, spill) + R_EDX * 8);

    if (fits_simm32(-pc)) {
        emit_load_abs(e, R_ECX, target);
        emit_lea_rcx(e, (int32_t)-pc);
    } else if (fits_simm32(pc >> 16)) {
        emit_load_abs(e, R_ECX, target + 2);
        emit_lea_rcx(e, -(int32_t)(pc >> 16));
    } else {
        emit_store_abs(e, R_EDX, spilled);
        emit_load_abs(e, R_ECX, target);
        emit_bytes(e, "\x48\xba", 2); /* mov imm64, %rdx */
        emit64(e, -pc);
        emit_bytes(e, "\x48\x8d\x0c\x11", 4); /* lea (%rcx,%rdx), %rcx */
        emit_load_abs(e, R_EDX, spilled);
    }
}

#define RELOAD_LEN 8u /* bytes of the load behind ok */

/* A pad for pc: it ends with a jump to `entry`, or, if that is 0, falls into what is appended next. */
static uint64_t make_pad(uint64_t pc, uint64_t entry)
{
    static struct emit e; /* owner: the CPU that translates; too large for the stack */

    e.base = code_buffer_next();
    e.len = 0;
    e.overflow = false;
    emit_compare(&e, pc);
    emit8(&e, 0xe3);
    uint32_t at = e.len;
    emit8(&e, 0);
    emit_jmp(&e, code_buffer_miss_stub());
    while (!entry && (e.len + RELOAD_LEN) % CODE_ALIGN) {
        emit8(&e, 0xcc);
    }
    e.buf[at] = (uint8_t)(e.len - (at + 1));
    emit_load_abs(&e, R_ECX, vcpu_field(offsetof(struct vcpu_page, spill) + R_ECX * 8));
    if (entry) {
        emit_jmp(&e, entry);
    }
    return code_buffer_append(&e);
}

uint64_t jump_table_pad_before(uint64_t pc)
{
    return make_pad(pc, 0);
}

static void kernel_table_add(struct TranslationBlock *tb)
{
    jump_table_rw()[(uint16_t)tb->pc] = tb->pad;
    if (filled[tb->global].used < LOG_MAX) {
        filled[tb->global].tb[filled[tb->global].used] = tb;
    }
    if (filled[tb->global].used <= LOG_MAX) {
        filled[tb->global].used++;
    }
}

void jump_table_add(struct TranslationBlock *tb)
{
    if (tb_cflags(tb) & (CF_INVALID | CF_COUNT_MASK)) {
        return;
    }
    if (!tb->pad) {
        tb->pad = make_pad(tb->pc, tb->tc.ptr);
        if (!tb->pad) {
            return;
        }
    }
    if (tb_is_user(tb)) {
        link_table_add(tb);
    } else {
        kernel_table_add(tb);
    }
}

void jump_table_remove(struct TranslationBlock *tb)
{
    if (tb_is_user(tb)) {
        link_table_remove(tb);
        return;
    }
    uint64_t *entry = &jump_table_rw()[(uint16_t)tb->pc];

    if (tb->pad && *entry == tb->pad) {
        *entry = code_buffer_miss_stub();
    }
}

int jump_table_check(void)
{
    const uint64_t *table = jump_table_rw();
    int errors = 0;

    for (unsigned global = 0; global < 2; global++) {
        for (unsigned i = 0; i < MIN(filled[global].used, LOG_MAX); i++) {
            const struct TranslationBlock *tb = filled[global].tb[i];

            if (tb->pad && table[(uint16_t)tb->pc] == tb->pad && (!tb->hashed || tb_cflags(tb) & CF_INVALID)) {
                log_line("tb", "violated: I3: the look-up table leads to dead TB pc=%#llx", (unsigned long long)tb->pc);
                errors++;
            }
        }
    }
    return errors;
}
