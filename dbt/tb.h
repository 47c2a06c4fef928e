/* SPDX-License-Identifier: MIT */
/*
 * Translation blocks and their maintenance. Structure and names are QEMU's (accel/tcg/tb-maint.c, translate-all.c,
 * include/exec/exec-all.h of 5.2 to 7.2); invariants I1-I8 are in docs/tb-life.md.
 */
#ifndef DBT_TB_H
#define DBT_TB_H

#include "dbt/cpu.h"
#include "kernel/lib/spinlock.h"
#include "kernel/lib/types.h"

typedef ram_addr_t tb_page_addr_t; /* offset in guest RAM; in the hosted build offset in the guest window */
#define TB_PAGE_ADDR_INVALID (~(tb_page_addr_t)0)

/* cflags: part of the look-up key except CF_INVALID. */
#define CF_COUNT_MASK  0x000001ffu /* most guest instructions in the TB; 0 = no limit */
#define CF_NO_GOTO_TB  0x00000200u /* exits are never chained */
#define CF_NO_GOTO_PTR 0x00000400u /* indirect exits leave the cache */
#define CF_INVALID     0x00004000u
#define CF_NOIRQ       0x00010000u /* redo TB: no interrupt is taken before it (QEMU issue 245) */
#define CF_ALIAS       0x00020000u /* redo TB: its one store goes to the alias that the vCPU page names */
#define CF_CHECKED     0x00040000u /* redo TB under smc = check: its store has been through the funnel, and is not checked again */
#define CF_REDO        (1 | CF_NO_GOTO_TB | CF_NO_GOTO_PTR | CF_NOIRQ)
#define CF_HASH_MASK   (~CF_INVALID)

/* tb->flags: what translation depends on besides the bytes. */
#define HF_CPL_MASK    0x3u
#define HF_CS64_MASK   0x8u

#define TB_MAX_INSNS 64u
#define TB_MAX_HOLES 4u
#define TB_MAX_JMP   4u /* exits: a conditional jump amid the block has one, the last instruction up to two */

/* Bytes that a TB loads when it is executed: a write to nothing else hits it not. Only in a TB of one page; ascending. */
struct tb_hole {
    uint16_t off; /* from tb->pc */
    uint8_t len;
};

/*
 * A tagged TB pointer, (uintptr_t)tb | n: which of the pointed-to TB's links (page 0/1, jump 0 to 3) continues the list.
 * For jmp_dest, bit 0 means "being unlinked, do not chain".
 */
struct TranslationBlock {
    uint64_t pc;              /* guest virtual address of the first byte */
    uint32_t flags;           /* HF_* */
    uint32_t cflags;          /* CF_*; written under jmp_lock, read atomically */
    struct __attribute__((packed, aligned(4))) {
        uint64_t ptr;         /* address in the code cache where translated code is entered */
        uint32_t size;        /* host bytes */
    } tc;
    uint16_t size;            /* guest bytes, at least 1 */
    uint16_t icount;          /* guest instructions */
    uint64_t pad;             /* landing pad for inline look-ups (jump-table.c), 0 = none yet */
    uint32_t search_off;      /* per-instruction table in the search buffer (translate.h), then the guest bytes (tb_guest_bytes) */
    uint16_t search_len;
    uint16_t body_off;        /* host offset of the first guest instruction: behind a check (of its bytes; of the store of a single
                                 instruction), if there is one */
    struct tb_hole hole[TB_MAX_HOLES];

    struct TranslationBlock *hash_next; /* tb_htable bucket; valid while the TB is in the table */

    uintptr_t page_next[2];   /* lock: that page's PageDesc.lock */
    tb_page_addr_t page_addr[2]; /* page-aligned addr of page 0 plus offset is not kept: see tb_page_start(); [1] may be
                                    TB_PAGE_ADDR_INVALID. page_addr[0] is the exact address of the first byte. */

    uint8_t self_check;       /* bit n: its bytes on page n are compared with memory at every entry (page-state.h) */
    uint8_t nr_holes;
    bool hashed;
    bool global;              /* page 0 is mapped global: survives flushes that leave global pages alone */
    struct spinlock jmp_lock; /* protects jmp_list_head and incoming jumps; order: page locks, then jmp_lock */
    uintptr_t jmp_list_head;  /* incoming: tagged (TB, n) */
    uintptr_t jmp_list_next[TB_MAX_JMP];
    uintptr_t jmp_dest[TB_MAX_JMP];        /* outgoing: TB or 0; bit 0 as above */
    uint16_t jmp_reset_offset[TB_MAX_JMP]; /* offset from tc.ptr of exit n's stub; TB_JMP_OFFSET_INVALID = no such exit */
    uint16_t jmp_insn_offset[TB_MAX_JMP];  /* offset of a patchable rel32; with TB_JMP_OFFSET_LATER, of one that leads to a jump through
                                              the slot and is patched when tb is hot; TB_JMP_OFFSET_INVALID if there is only that */
    uint32_t jmp_slot[TB_MAX_JMP];         /* index of the data slot (code-buffer.h); JMP_SLOT_LINK: in the link sets */
    uint64_t jmp_target_pc[TB_MAX_JMP];    /* guest pc of exit n */
    uint32_t link_head;                    /* jumps of link sets that lead here (link-jmp.c) */
    uint16_t table_sets;                   /* bit per link set whose look-up table may lead here */
    uint8_t jmp_logged;                    /* which exits are in which cross-page log (tb-jmp.c) */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct TranslationBlock) == 256, "memory: 256 bytes for each block");
#define TB_JMP_OFFSET_INVALID 0xffffu
#define TB_JMP_OFFSET_LATER   0x8000u
#define JMP_SLOT_LINK 0x80000000u

/*
 * How stores to a page with translations are noticed (page-state.h):
 *   PAGE_PROTECTED   they trap
 *   PAGE_SELF_CHECK  they do not: every TB on the page compares its bytes when it is entered
 */
enum page_state_kind { PAGE_PROTECTED, PAGE_SELF_CHECK };

/* What page-state.c knows of a page. All zero: protected, never written. Lock: PageDesc.lock. */
struct page_state {
    uint8_t kind;       /* enum page_state_kind */
    uint8_t returns;    /* times it went back to PAGE_PROTECTED, saturating: the next return takes longer */
    uint8_t pinned;     /* self-checks cannot work here: stays protected */
    uint8_t data_imm;   /* some immediate on the page has become data (data-imm.h) */
    uint8_t ascending;  /* write faults in a row, each beginning where the last one ended */
    uint8_t rearms;     /* times in a row that it was protected again soon after it was given back, saturating */
    uint8_t lingers;    /* writes that it has met protected without a TB */
    uint16_t misses, hits; /* write faults, halved at every host tick */
    uint16_t next_off;  /* where the last write fault ended */
    uint16_t quiet;     /* host ticks in a row without a write, or without any TB */
    uint32_t tick;      /* when misses and hits were last halved */
    uint32_t given_back; /* the host tick after that of the last time it was given back; 0: it never was */
    struct PageDesc *next; /* list of self-checking pages; lock: tb_invalidate_lock */
    tb_page_addr_t addr;   /* of the page; valid on that list */
};

/* Per guest page; the index "physical page -> TBs" (QEMU PageDesc). */
#define SMC_BITMAP_USE_THRESHOLD 10
struct PageDesc {
    uintptr_t first_tb;        /* tagged list of TBs that have bytes on the page, while there is no index; lock: lock */
    uintptr_t *tb_index;       /* TB_INDEX_LISTS such lists instead, by where in the page a TB's bytes begin; or NULL */
    uint32_t nr_tbs;           /* links on these lists */
    uint8_t tb_reach;          /* lists in a row, at most, in the ranges of which one TB has bytes, less one; may be too large */
    struct spinlock lock;      /* order: ascending page index */
    uint32_t code_write_count; /* slow-path writes since the byte map was dropped */
    uint8_t *code_bitmap;      /* superset byte map, PAGE_SIZE bits, or NULL */
    bool is_protected;         /* we asked for write protection (tlb_protect_code; smc = check: for stores to be checked) and have
                                  not given it back */
    uint16_t code_granules;    /* smc = check: bit n is clear in no page with code in granule n that store-table.c knows; lock: lock */
    struct page_state state;
};

/* ---- tb-maint.c ---- */

/* Set up the empty page index and hash table. 0 or -ENOMEM. */
int tb_maint_init(void);
/* Make a CPU's jump cache known, so that dead TBs are removed from it. Before its first look-up; again is harmless. */
void tb_maint_register_cpu(struct CPUState *cpu);
struct PageDesc *page_find(tb_page_addr_t index);
/* index = address >> PAGE_SHIFT. With alloc, NULL means out of memory. Lock-free insertion by compare-and-swap. */
struct PageDesc *page_find_alloc(tb_page_addr_t index, bool alloc);

/* tb, whose key is set (pc, flags, cflags, page_addr[0]), will be linked: bring in its bucket. */
void tb_htable_prefetch(const struct TranslationBlock *tb);
/* Look up by key; NULL if absent. phys_pc is the ram address of the first byte; *phys_page2 resolves the second page of a
 * crossing TB lazily through tb_phys_page2() and compares it with page_addr[1]. */
struct TranslationBlock *tb_htable_lookup(struct CPUState *cpu, uint64_t pc, tb_page_addr_t phys_pc, uint32_t flags,
                                          uint32_t cflags);

/*
 * tb_gen_code's protocol, in this order: page_prepare() for page 0 (and for page 1 before the first byte of it is read):
 * creates the PageDesc and write-protects the page, so that the bytes are read only after protection. Then tb_link_page().
 */
int tb_page_prepare(tb_page_addr_t addr); /* 0 or -ENOMEM */
/* Must TBs on this page, which has been prepared, check their bytes themselves? It is then not protected. */
bool tb_page_self_checks(tb_page_addr_t addr);
/* Put the finished TB on its page lists and into the hash table. Returns tb, or an equal one that was there first. */
struct TranslationBlock *tb_link_page(struct TranslationBlock *tb, tb_page_addr_t phys_pc, tb_page_addr_t phys_page2);

/* Chain exit n of tb to tb_next (QEMU tb_add_jump), unless either forbids it. A jump to another guest page, or
 * to a TB with a second page, is remembered and undone by tb_unlink_cross_page(). */
void tb_add_jump(struct TranslationBlock *tb, int n, struct TranslationBlock *tb_next);
/* tb is hot: conditional jumps that are taken through a slot lead to their TBs directly from now on. Returns how many. */
unsigned tb_settle_jumps(struct TranslationBlock *tb);
/* Undo the jumps between different guest pages, because mappings have changed: all, or those not between global pages. */
void tb_unlink_cross_page(bool all);

/* Invalidate all TBs overlapping [start, last]; any number of pages. host_pc: the store's address in the code cache, 0 if
 * the writer is not translated code. Returns true if the TB that contains host_pc was among them. */
bool tb_invalidate_phys_range(struct CPUState *cpu, tb_page_addr_t start, tb_page_addr_t last, uint64_t host_pc);
/* The #PF funnel's entry: like tb_invalidate_phys_range() on one page, with the byte map in front.
 * *hit tells whether any TB overlapped. */
bool tb_invalidate_phys_page_fast(struct CPUState *cpu, tb_page_addr_t start, unsigned len, uint64_t host_pc, bool *hit);
void tb_phys_invalidate(struct TranslationBlock *tb, tb_page_addr_t page_addr);

/* Forget every TB; only when no CPU is inside the code cache. Pages stay protected (the next write takes one spurious
 * fault). The caller resets the code buffer. */
void tb_maint_flush(void);

/* Do stores to the page trap still? Gives protection back if no TB has bytes there, unless the page lingers (page-state.h). */
bool tb_page_stays_protected(tb_page_addr_t addr);

/* The bytes round [addr, addr + len), within their page, that no TB has: [*first, *last] as offsets. Builds the byte map, a
 * superset. False if a TB has some of them, or nothing is known. */
bool tb_page_free_gap(tb_page_addr_t addr, unsigned len, unsigned *first, unsigned *last);

/* Check invariants I1-I3, I6 and I8 (docs/tb-life.md) over all TBs and pages; returns the number of violations, each logged. For tests and `check`. */
int tb_maint_check(struct CPUState *cpu);
/* Call fn for each TB on the page holding addr. Debugging aid (monitor prompt). */
void tb_for_each_on_page(tb_page_addr_t addr, void (*fn)(const struct TranslationBlock *tb, void *opaque), void *opaque);

/* ---- what tb-maint.c needs from translation ---- */

/* TBs in creation order (ascending tc.ptr), for iteration: 0 <= i < tb_count(). */
size_t tb_count(void);
/* About how many TBs there can be between two flushes: sizes the hash table. Constant. */
size_t tb_capacity(void);
struct TranslationBlock *tb_at(size_t i);
/* The guest bytes that tb was made from, tb->size of them; valid as long as the TB. */
const uint8_t *tb_guest_bytes(const struct TranslationBlock *tb);
/* The TB whose host code (pad excluded) contains host_pc, or NULL (QEMU tcg_tb_lookup). */
struct TranslationBlock *tcg_tb_lookup(uint64_t host_pc);
/* Point exit n at addr in the code cache: writes the slot or patches the rel32. */
void tb_set_jmp_target(struct TranslationBlock *tb, int n, uint64_t addr);
/* Code has been linked that has the bytes [first, last] of RAM: no store may pass there unseen. Page locks are held. */
void store_site_linked(tb_page_addr_t first, tb_page_addr_t last);
/* Drop the TB from the inline look-up tables, if it is there. */
void jump_table_remove(struct TranslationBlock *tb);

/* Is exit n a rel32 that tb_set_jmp_target() patches? */
static inline bool tb_exit_is_direct(const struct TranslationBlock *tb, unsigned n)
{
    return !(tb->jmp_insn_offset[n] & TB_JMP_OFFSET_LATER);
}

static inline uint32_t tb_cflags(const struct TranslationBlock *tb)
{
    return __atomic_load_n(&tb->cflags, __ATOMIC_RELAXED);
}

/* To be exclusive-ored into a hash of pc: TBs of one instruction, redo TBs above all, do not take the places of those that they
 * were made of. */
static inline unsigned tb_jmp_cache_salt(uint32_t cflags)
{
    return (cflags & 1) << 8;
}

static inline unsigned tb_jmp_cache_hash_func(uint64_t pc, uint32_t cflags)
{
    return ((pc ^ (pc >> TB_JMP_CACHE_BITS)) & (TB_JMP_CACHE_SIZE - 1)) ^ tb_jmp_cache_salt(cflags);
}

#endif
