/* SPDX-License-Identifier: MIT */
/* See tb-model.h. Knows nothing of the structures under test except how TBs are numbered. */
#include "tests/host/tb-model.h"

struct tb_model model;
uint64_t path[PATH_COUNT];
const char *const path_name[] = {
#define X(name) #name,
    PATHS(X)
#undef X
};
uint64_t rng_state;

uint64_t rnd(uint64_t below)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state % below;
}

static uint64_t model_byte_addr(unsigned i, unsigned b)
{
    unsigned off = (model.pc[i] & ~PAGE_MASK) + b;

    return off < PAGE_SIZE ? model.page[i][0] * PAGE_SIZE + off
                           : model.page[i][1] * PAGE_SIZE + (off - PAGE_SIZE);
}

static void model_own(unsigned i, bool own)
{
    for (unsigned b = 0; b < model.size[i]; b++) {
        uint64_t *word = &model.owner[model_byte_addr(i, b)][i / 64];
        *word = own ? *word | BIT(i % 64) : *word & ~BIT(i % 64);
    }
}

bool model_has_code(unsigned page)
{
    for (unsigned i = 0; i < fake.tbs; i++) {
        if (model.live[i] && (model.page[i][0] == page || model.page[i][1] == page)) {
            return true;
        }
    }
    return false;
}

int model_lookup(uint64_t pc, unsigned flags, unsigned cflags)
{
    unsigned va = pc >> PAGE_SHIFT;

    for (unsigned i = 0; i < fake.tbs; i++) {
        if (model.live[i] && model.pc[i] == pc && model.flags[i] == flags &&
            model.cflags[i] == cflags && model.page[i][0] == fake.va_to_page[va]) {
            if (!model.crosses[i] || model.page[i][1] == fake.va_to_page[va + 1]) {
                return (int)i;
            }
            TOOK(lookup_wrong_page2);
        }
    }
    return NONE;
}

void model_kill(unsigned i)
{
    model_own(i, false);
    model.live[i] = false;
    model.killed++;
    for (unsigned j = 0; j < fake.tbs; j++) {
        for (unsigned n = 0; n < TB_MAX_JMP; n++) {
            if (model.dest[j][n] == (int)i) {
                model.dest[j][n] = NONE;
                TOOK(jump_in_undone);
            }
        }
    }
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        TOOK_IF(jump_out_undone, model.dest[i][n] != NONE);
        model.dest[i][n] = NONE;
    }
}

void model_unprotect_if_empty(unsigned page)
{
    if (model.is_protected[page] && !model_has_code(page)) {
        model.is_protected[page] = false;
        TOOK(unprotect);
    }
}

static void note_hit(unsigned i, unsigned page)
{
    unsigned other = model.page[i][0] == page ? model.page[i][1] : model.page[i][0];

    if (model.crosses[i]) {
        TOOK_IF(hit_by_second_half, model.page[i][1] == page && other != page);
        TOOK_IF(hit_other_page_lower, other < page);
        TOOK_IF(hit_other_page_higher, other > page);
        TOOK_IF(hit_twice_on_page, other == page);
        TOOK_IF(left_lazily_protected, other != page && !model_has_code(other));
    }
}

/* A write to bytes of one page. Returns the number of TBs it kills; *current tells whether that one
 * was among them. */
unsigned model_write(uint64_t start, uint64_t last, int current, bool *current_hit)
{
    uint64_t victims[WORDS] = {0};
    unsigned hits = 0;

    for (uint64_t addr = start; addr <= last; addr++) {
        for (unsigned w = 0; w < WORDS; w++) {
            victims[w] |= model.owner[addr][w];
        }
    }
    for (unsigned i = 0; i < TBS; i++) {
        if (victims[i / 64] & BIT(i % 64)) {
            model_kill(i);
            note_hit(i, start >> PAGE_SHIFT);
            *current_hit |= (int)i == current;
            hits++;
        }
    }
    model_unprotect_if_empty(start >> PAGE_SHIFT);
    return hits;
}

void model_link(unsigned i, uint64_t pc, unsigned size, unsigned flags, unsigned cflags)
{
    unsigned va = pc >> PAGE_SHIFT;

    model.live[i] = true;
    model.pc[i] = pc;
    model.size[i] = size;
    model.flags[i] = flags;
    model.cflags[i] = cflags;
    model.crosses[i] = (pc & ~PAGE_MASK) + size > PAGE_SIZE;
    model.page[i][0] = fake.va_to_page[va];
    model.page[i][1] = model.crosses[i] ? fake.va_to_page[va + 1] : model.page[i][0];
    model.global[i] = fake.va_global[va] && (!model.crosses[i] || fake.va_global[va + 1]);
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        model.dest[i][n] = NONE;
        model.logged[0][i][n] = model.logged[1][i][n] = false;
    }
    model_own(i, true);
    TOOK(link);
    TOOK_IF(link_crossing, model.crosses[i]);
    TOOK_IF(link_twice_on_page, model.crosses[i] && model.page[i][0] == model.page[i][1]);
}

static unsigned random_size(void)
{
    return rnd(16) ? 1 + rnd(40) : 1 + rnd(600);
}

/* Of a new TB. The bytes of its first page decide whether it runs on into the second: as long as one of them lives, others do too. */
unsigned model_size(uint64_t pc, unsigned flags, unsigned cflags)
{
    for (unsigned i = 0; i < fake.tbs; i++) {
        if (model.live[i] && model.pc[i] == pc && model.flags[i] == flags && model.cflags[i] == cflags &&
            model.page[i][0] == fake.va_to_page[pc >> PAGE_SHIFT]) {
            return model.size[i];
        }
    }
    return random_size();
}

/* Is all of the TB on pages that are global as they are mapped now? */
bool model_global_now(unsigned i)
{
    unsigned va = model.pc[i] >> PAGE_SHIFT;

    return fake.va_global[va] && (!model.crosses[i] || fake.va_global[va + 1]);
}

/* Would the TB be found where the mapping is now? */
bool model_reachable(unsigned i)
{
    unsigned va = model.pc[i] >> PAGE_SHIFT;

    return model.page[i][0] == fake.va_to_page[va] &&
           (!model.crosses[i] || model.page[i][1] == fake.va_to_page[va + 1]);
}

bool model_may_chain(unsigned from, unsigned n, unsigned to)
{
    TOOK_IF(chain_to_dead, !model.live[to]);
    TOOK_IF(chain_from_dead, !model.live[from]);
    if (!model.live[from] || !model.live[to] || model.dest[from][n] != NONE ||
        ((model.cflags[from] | model.cflags[to]) & CF_NO_GOTO_TB)) {
        TOOK(chain_refused);
        return false;
    }
    if (model.pc[from] >> PAGE_SHIFT == model.pc[to] >> PAGE_SHIFT &&
        model.page[from][0] == model.page[to][0] && !model.crosses[to]) {
        return true;
    }
    bool global = model.global[from] && model.global[to];

    if (!model.logged[global][from][n]) {
        if (model.nr_logged[global] == LOG_LIMIT) {
            TOOK(chain_log_full);
            return false;
        }
        TOOK_IF(chain_in_both_logs, model.logged[!global][from][n]);
        model.logged[global][from][n] = true;
        model.nr_logged[global]++;
    }
    TOOK_IF(chain_global, global);
    TOOK(chain_cross_page);
    return true;
}

void model_unlink(unsigned log)
{
    for (unsigned i = 0; i < fake.tbs; i++) {
        for (unsigned n = 0; n < TB_MAX_JMP; n++) {
            if (model.logged[log][i][n]) {
                TOOK_IF(unlinked_jump, model.dest[i][n] != NONE);
                TOOK_IF(unlinked_dead_entry, !model.live[i]);
                model.dest[i][n] = NONE;
                model.logged[log][i][n] = false;
            }
        }
    }
    model.nr_logged[log] = 0;
}
