/* SPDX-License-Identifier: MIT */
/*
 * The naive model that TB maintenance is compared with: no lists and no extents, only which TBs own which byte of memory, and
 * where each jump leads. Operations change it as they should change the real thing. Every path that is interesting has a
 * counter.
 */
#ifndef TESTS_HOST_TB_MODEL_H
#define TESTS_HOST_TB_MODEL_H

#include "tests/host/tb-fake.h"

#define TBS       128u /* before the code buffer is full and must be flushed */
#define PHYS      10u  /* physical pages */
#define VIRT      24u  /* virtual pages on them */
#define WORDS     (TBS / 64)
#define NONE      (-1)
#define LOG_LIMIT 32u

/* What the model knows. Indices are those of the pool. */
struct tb_model {
    bool live[TBS];
    uint64_t pc[TBS];
    unsigned size[TBS], flags[TBS], cflags[TBS];
    unsigned page[TBS][2]; /* physical page of the first byte and of the last */
    bool crosses[TBS];
    int dest[TBS][TB_MAX_JMP];
    bool executed[TBS][TB_MAX_JMP]; /* the jump was made as an executor makes it: between TBs that were just looked up */
    bool global[TBS];
    bool logged[2][TBS][TB_MAX_JMP]; /* [1]: as a jump between global pages */
    unsigned nr_logged[2];
    uint64_t owner[PHYS * PAGE_SIZE][WORDS]; /* for each byte: the live TBs it is part of */
    bool is_protected[PHYS];
    uint64_t killed;
};
extern struct tb_model model;

/* Proof that the interesting paths were taken. */
#define PATHS(X)                                                                                   \
    X(link)                                                                                        \
    X(link_crossing)                                                                               \
    X(link_twice_on_page) X(link_equal) X(lookup_hit) X(lookup_wrong_page2) X(chain)               \
        X(chain_cross_page) X(chain_refused) X(chain_log_full) X(chain_to_dead) X(chain_from_dead) \
            X(fast_hit) X(fast_many) X(fast_map_miss) X(fast_map_false_positive) X(fast_walk_miss) \
                X(fast_no_tb) X(fast_no_memory) X(range_hit) X(range_many_pages) X(range_miss)     \
                    X(hit_by_second_half) X(hit_other_page_lower) X(hit_other_page_higher)         \
                        X(hit_twice_on_page) X(current_hit) X(current_missed) X(jump_in_undone)    \
                            X(jump_out_undone) X(unlink_cross_page) X(unlinked_jump)               \
                                X(unlinked_dead_entry) X(left_lazily_protected) X(unprotect) X(lingers) \
                                    X(kill_one) X(has_code) X(has_no_code) X(flush) X(remap)       \
                                        X(reboot) X(switch_space) X(chain_global)                  \
                                            X(chain_in_both_logs) X(unlink_spares_global)          \
                                                X(no_longer_global) X(chain_executed)         \
                                                X(index_hit) X(index_no_memory)        \
                                                X(self_check_entered) X(self_check_left)      \
                                                X(self_check_link) X(self_check_written)     \
                                                X(bulk) X(pinned) X(state_kills_current)
enum path {
#define X(name) PATH_##name,
    PATHS(X)
#undef X
        PATH_COUNT
};
extern const char *const path_name[PATH_COUNT];
extern uint64_t path[PATH_COUNT];
#define TOOK(name)        (path[PATH_##name]++)
#define TOOK_IF(name, by) (path[PATH_##name] += (by))

/* Uniform enough in [0, below); rng_state must not be 0. */
extern uint64_t rng_state;
uint64_t rnd(uint64_t below);

/* Does any TB have bytes on the page? */
bool model_has_code(unsigned page);
/* The live TB with this key in the present mapping, or NONE. */
int model_lookup(uint64_t pc, unsigned flags, unsigned cflags);
/* TB i exists now; the size that a new one must have; it dies. */
void model_link(unsigned i, uint64_t pc, unsigned size, unsigned flags, unsigned cflags);
unsigned model_size(uint64_t pc, unsigned flags, unsigned cflags);
void model_kill(unsigned i);
void model_unprotect_if_empty(unsigned page);
unsigned model_write(uint64_t start, uint64_t last, int current, bool *current_hit);
bool model_global_now(unsigned i);
bool model_reachable(unsigned i);
/* May exit n of `from` be chained to `to`? If so, it is logged where it has to be. */
bool model_may_chain(unsigned from, unsigned n, unsigned to);
/* Undo the jumps of a log: 1 = those between global pages. */
void model_unlink(unsigned log);

#endif
