/* SPDX-License-Identifier: MIT */
/*
 * Translation of one TB, and the table by which any host PC finds its guest state again. The table is emission's own
 * output, so fault recovery cannot drift from emission.
 */
#ifndef DBT_TRANSLATE_H
#define DBT_TRANSLATE_H

#include "dbt/emit.h"
#include "dbt/tb.h"

/*
 * One stretch of host code. host_off ascends; a stretch ends where the next begins.
 *   RUN_COPY  verbatim (or re-addressed) guest instructions, one host instruction each: every host instruction start is a
 *             guest instruction boundary, host_off + k <-> guest_off + k.
 *   RUN_GLUE  inside the guest instruction at guest_off: a fault here happens before any of its effects; GPRs in
 *             `spilled` have their guest value in the vCPU page. RUN_BOUNDARY: its first host instruction starts the
 *             guest instruction with all state in place.
 *   RUN_TAIL  inside the guest instruction at guest_off, after its effects: cannot fault, is only ever rolled forward.
 *   RUN_EXIT_*  one exit (int3, or the syscall of a spilling stub). RUN_EXIT_IRQ: guest_off is the next instruction; an
 *             interrupt has become deliverable after it. RUN_EXIT_STALE: the guest's bytes are no longer what was translated.
 *             RUN_EXIT_CHECK: before a store that may meet code; the run may go on behind it.
 */
enum run_kind { RUN_COPY, RUN_GLUE, RUN_TAIL, RUN_EXIT_JMP, RUN_EXIT_SENS, RUN_EXIT_UD, RUN_EXIT_IRQ, RUN_EXIT_STALE, RUN_EXIT_CHECK };
/* run.arg of RUN_COPY and RUN_GLUE */
#define RUN_BOUNDARY 1 /* RUN_GLUE: its first host instruction begins the guest instruction */
#define RUN_SHADOW   2 /* the guest instruction at guest_off is in the interrupt shadow of sti */
#define RUN_STRING   4 /* RUN_GLUE: a string instruction on an alias: rdi and rcx have moved since they were exchanged */
#define RUN_FETCH    8 /* RUN_GLUE: reads the guest's code: a fault here is one of instruction fetch */

struct tb_run {
    uint16_t host_off;
    uint16_t guest_off;
    uint16_t spilled; /* bit n: GPR n is in vcpu_page.spill[n] */
    uint8_t kind;     /* enum run_kind */
    uint8_t arg;      /* RUN_BOUNDARY | RUN_SHADOW | RUN_FETCH; RUN_EXIT_JMP: exit number */
};
_Static_assert(sizeof(struct tb_run) == 8, "search data is counted in 8-byte units");

#define TB_MAX_RUNS 512
_Static_assert(TB_MAX_INSNS <= 64, "a bit for each in DisasContext.plain");
#define TB_SELF_CHECK_BYTES 128u /* guest bytes of a self-checking TB at most */

struct DisasContext {
    struct CPUState *cpu;
    struct TranslationBlock *tb;
    const struct code_gen_region *region;
    const uint8_t *page0;  /* bytes of the first page from tb->pc */
    uint32_t page0_avail;
    uint8_t cross[INSN_MAX_LEN + 1]; /* copy of a first instruction that crosses the page end */
    uint8_t clean[INSN_MAX_LEN + 1]; /* insn_host_bytes() */
    uint8_t snapshot[TB_SELF_CHECK_BYTES]; /* page0 of a self-checking TB: what is compared is what was decoded */
    unsigned num_insns;
    uint64_t plain;        /* bit i: of insn[i] only len and kind are known, it is copied as it is and nothing else is asked of it */
    unsigned nr_runs;
    uint16_t shadow_off;   /* insn_off of the instruction behind sti; 0 = none */
    uint32_t next_slot;    /* next free data slot */
    uint32_t next_link;    /* next free slot of the link sets */
    uint32_t slot_limit;
    unsigned nr_exits;     /* of tb's, given out so far */
    struct {
        uint32_t insn_at;  /* offset of the rel32 that leads to it from before; 0 = none */
        uint16_t goff;     /* guest instruction that it belongs to */
    } exit[TB_MAX_JMP];
    uint64_t miss_stub;    /* common tail of indirect branches whose look-up missed */
    struct insn insn[TB_MAX_INSNS];
    uint16_t insn_off[TB_MAX_INSNS];
    struct tb_run run[TB_MAX_RUNS];
    struct emit e;
};

/* Slots a TB may use at most: its exits, one literal. */
#define TB_MAX_SLOTS (TB_MAX_JMP + 1)

/*
 * Pass 1: decode from the guest's bytes (the page is protected already). Sets tb->size and icount. Returns 0, or -EFAULT
 * with cpu->exception_index raised by fetching the second page of the first instruction.
 */
int translator_decode(struct DisasContext *s);
/* Pass 2: emit into s->e and s->run. Returns 0, or -ENOSPC if the TB must be cut (s->num_insns is then halved: call again). */
int translator_emit(struct DisasContext *s);

/* Re-encode insn (bytes) so that its RIP-relative operand, at guest address target, works at the present emission
 * address; returns true if it could without a scratch register, else emits nothing. */
bool emit_rip_relative(struct emit *e, const struct insn *insn, const uint8_t *bytes, uint64_t target);
/* The same operand through [scratch], low register other than rsp and rbp, which holds the target. */
void emit_rip_scratch(struct emit *e, const struct insn *insn, const uint8_t *bytes, unsigned scratch);

/* translate-check.c: compare the guest bytes of a self-checking TB with memory, before its first instruction. */
void emit_self_check(struct DisasContext *s);
/* Can the instruction write to memory? */
bool insn_may_store(const struct insn *insn);

/* Address of the guest operand of a RIP-relative instruction. */
static inline uint64_t insn_rip_target(const struct insn *insn, uint64_t next_pc)
{
    uint64_t target = next_pc + (uint64_t)insn->disp;

    return insn->addr_size == 4 ? (uint32_t)target : target;
}

#endif
