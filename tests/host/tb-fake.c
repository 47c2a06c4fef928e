/* SPDX-License-Identifier: MIT */
/* The fakes of tb-fake.h: what TB maintenance needs from translation and from its host. */
#include "tests/host/tb-fake.h"

#include <stdlib.h>
#include <string.h>

#include "dbt/data-imm.h"
#include "dbt/host.h"
#include "dbt/jump-table.h"
#include "dbt/link-set.h"
#include "dbt/store-site.h"
#include "dbt/store-table.h"

struct fake fake;
struct CPUState fake_cpu[2];

static void
    *allocated[1 << 18]; /* keeps memory that tests abandon reachable for the leak checker */
static unsigned nr_allocated;

void fake_reset(void)
{
    memset(&fake, 0, sizeof(fake));
    memset(fake_cpu, 0, sizeof(fake_cpu));
    fake.pool_size = FAKE_TBS;
    fake.allocs_left = -1;
    for (unsigned i = 0; i < FAKE_PAGES; i++) {
        fake.va_to_page[i] = i;
    }
    ASSERT(tb_maint_init() == 0);
    const struct code_gen_region region = {.links_count = FAKE_LINKS};
    ASSERT(link_sets_init(&region, 0) == 0);
    tb_cross_page_limit = TB_CROSS_PAGE_LOG;
    tb_maint_register_cpu(&fake_cpu[0]);
    tb_maint_register_cpu(&fake_cpu[1]);
    tb_maint_register_cpu(&fake_cpu[0]);
    ASSERT(tb_cpu_count == 2);
}

struct TranslationBlock *fake_tb(uint64_t pc, unsigned size, uint32_t flags, uint32_t cflags)
{
    size_t i = fake.tbs++;
    struct TranslationBlock *tb = &fake.pool[i];

    ASSERT(i < fake.pool_size);
    memset(tb, 0xa5, sizeof(*tb)); /* tb_link_page() must not rely on zeros */
    tb->global = false;
    tb->pc = pc;
    tb->flags = flags;
    tb->cflags = cflags;
    tb->size = size;
    tb->hashed = false;
    tb->self_check = 0;
    tb->nr_holes = 0;
    tb->pad = 0;
    tb->link_head = 0;
    tb->table_sets = 0;
    memset(tb->jmp_slot, 0, sizeof(tb->jmp_slot));
    tb->tc.ptr = 0x40000000 + i * 256;
    tb->tc.size = 128;
    for (unsigned n = 0; n < TB_MAX_JMP; n++) {
        tb->jmp_reset_offset[n] = 0x40 + 0x10 * n;
        fake.jmp[i][n] = 0;
    }
    return tb;
}

struct TranslationBlock *fake_gen(uint64_t pc, unsigned size, uint32_t flags, uint32_t cflags)
{
    tb_page_addr_t phys_pc = probe_page_addr_code(NULL, pc);
    tb_page_addr_t phys_page2 = TB_PAGE_ADDR_INVALID;

    ASSERT(phys_pc != TB_PAGE_ADDR_INVALID && tb_page_prepare(phys_pc) == 0);
    if ((pc & ~PAGE_MASK) + size > PAGE_SIZE) {
        phys_page2 = probe_page_addr_code(NULL, (pc & PAGE_MASK) + PAGE_SIZE);
        ASSERT(phys_page2 != TB_PAGE_ADDR_INVALID && tb_page_prepare(phys_page2) == 0);
    }
    struct TranslationBlock *tb = fake_tb(pc, size, flags, cflags);
    tb->global = fake.va_global[pc >> PAGE_SHIFT] && fake.va_global[(pc + size - 1) >> PAGE_SHIFT];
    tb->self_check = (uint8_t)(tb_page_self_checks(phys_pc) |
                               (phys_page2 != TB_PAGE_ADDR_INVALID && tb_page_self_checks(phys_page2)) << 1);
    struct TranslationBlock *linked = tb_link_page(tb, phys_pc, phys_page2);
    if (linked != tb) {
        memset(tb, 0x5a, sizeof(*tb));
        tb->global = false;
        fake.tbs--;
    }
    return linked;
}

struct TranslationBlock *fake_gen_user(uint64_t pc, unsigned size)
{
    struct TranslationBlock *tb = fake_gen(pc, size, 3, 0);

    if (link_slots_left() >= TB_MAX_JMP && !exit_is_link(tb, 0)) {
        uint32_t slot = link_first_slot();

        for (unsigned n = 0; n < TB_MAX_JMP; n++) {
            tb->jmp_slot[n] = slot++ | JMP_SLOT_LINK;
        }
        link_slots_commit(slot);
        link_slots_own(tb);
    }
    return tb;
}

void fake_flush(void)
{
    tb_maint_flush();
    link_sets_flush();
    memset(fake.pool, 0x77, fake.tbs * sizeof(fake.pool[0]));
    fake.tbs = 0;
}

/* ---- translation ---- */

size_t tb_capacity(void)
{
    return FAKE_TBS;
}

size_t tb_count(void)
{
    return fake.tbs;
}

struct TranslationBlock *tb_at(size_t i)
{
    return &fake.pool[i];
}

struct TranslationBlock *tcg_tb_lookup(uint64_t host_pc)
{
    size_t i = (host_pc - 0x40000000) / 256;

    return host_pc >= 0x40000000 && i < fake.tbs && (host_pc & 255) < 128 ? &fake.pool[i] : NULL;
}

const uint8_t *tb_guest_bytes(const struct TranslationBlock *tb)
{
    static const uint8_t zeros[2 * PAGE_SIZE];

    return zeros;
}

void tb_set_jmp_target(struct TranslationBlock *tb, int n, uint64_t addr)
{
    fake.jmp[fake_index(tb)][n] = addr;
}

void store_site_linked(tb_page_addr_t first, tb_page_addr_t last)
{
}

uint64_t *store_table_rw(bool user)
{
    static uint64_t table[2][STORE_TABLE_ENTRIES];

    return table[user];
}

void jump_table_remove(struct TranslationBlock *tb)
{
    link_table_remove(tb);
    tb->pad = 0;
}

/* No kernel look-up table and no store sites here. */
int jump_table_check(void)
{
    return 0;
}

int store_sites_check(void)
{
    return 0;
}

/* ---- host ---- */

bool link_set_alloc(unsigned set, uint64_t **table, uint64_t **slots)
{
    *table = dbt_zalloc(LINK_TABLE_ENTRIES * sizeof(**table));
    *slots = dbt_zalloc(FAKE_LINKS * sizeof(**slots));
    return *table && *slots;
}

void link_set_use(unsigned set)
{
    fake.set_shown = set;
}

int code_page_path(struct CPUState *cpu, uint64_t va, tb_page_addr_t ram, struct code_path_entry path[CODE_PATH_MAX])
{
    const uint64_t *leaf = &fake.leaf[fake.space][va >> PAGE_SHIFT];

    if (probe_page_addr_code(cpu, va) != ram) {
        return -1;
    }
    path[0] = (struct code_path_entry){.entry = &fake.upper[fake.space], .value = fake.upper[fake.space]};
    path[1] = (struct code_path_entry){.entry = &fake.middle[0], .value = fake.middle[0]};
    path[2] = (struct code_path_entry){.entry = &fake.middle[1], .value = fake.middle[1]};
    path[3] = (struct code_path_entry){.entry = leaf, .value = *leaf};
    return 4;
}

bool code_path_same(const struct code_path_entry *path, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (*(const uint64_t *)path[i].entry != path[i].value) {
            return false;
        }
    }
    return true;
}

void *dbt_zalloc(size_t size)
{
    if (fake.allocs_left == 0) {
        return NULL;
    }
    if (fake.allocs_left > 0) {
        fake.allocs_left--;
    }
    void *p = calloc(1, size);
    unsigned i = __atomic_fetch_add(&nr_allocated, 1, __ATOMIC_RELAXED);
    ASSERT(p && i < ARRAY_SIZE(allocated));
    allocated[i] = p;
    return p;
}

tb_page_addr_t probe_page_addr_code(struct CPUState *cpu, uint64_t pc)
{
    uint64_t page = pc >> PAGE_SHIFT;

    fake.probes++;
    if (page >= FAKE_PAGES || fake.va_to_page[page] == FAKE_UNMAPPED) {
        return TB_PAGE_ADDR_INVALID;
    }
    return (uint64_t)fake.va_to_page[page] << PAGE_SHIFT | (pc & ~PAGE_MASK);
}

/* The flag in PageDesc says who owns protection, so asking twice for the same is a defect of the
 * caller. */
void tlb_protect_code(tb_page_addr_t page_addr)
{
    ASSERT(!(page_addr & ~PAGE_MASK) && page_addr >> PAGE_SHIFT < FAKE_PAGES);
    ASSERT(!fake.is_protected[page_addr >> PAGE_SHIFT]);
    fake.is_protected[page_addr >> PAGE_SHIFT] = true;
    fake.protects++;
}

void tlb_unprotect_code(tb_page_addr_t page_addr)
{
    ASSERT(!(page_addr & ~PAGE_MASK) && page_addr >> PAGE_SHIFT < FAKE_PAGES);
    ASSERT(fake.is_protected[page_addr >> PAGE_SHIFT]);
    fake.is_protected[page_addr >> PAGE_SHIFT] = false;
    fake.unprotects++;
}

const uint8_t *code_page_bytes(tb_page_addr_t addr)
{
    return &fake.memory[addr >> PAGE_SHIFT][addr & ~PAGE_MASK];
}

void tlb_sample_dirty(tb_page_addr_t page_addr, bool on)
{
    ASSERT(fake.is_sampled[page_addr >> PAGE_SHIFT] != on);
    fake.is_sampled[page_addr >> PAGE_SHIFT] = on;
}

bool tlb_test_and_clear_dirty(tb_page_addr_t page_addr)
{
    bool dirty = fake.is_dirty[page_addr >> PAGE_SHIFT];

    ASSERT(fake.is_sampled[page_addr >> PAGE_SHIFT]);
    fake.is_dirty[page_addr >> PAGE_SHIFT] = false;
    return dirty;
}

/* The zeros that all TBs are made of have no immediates and no displacements. */
bool imm_can_be_loaded(const struct insn *insn)
{
    return false;
}

bool disp_can_be_loaded(const struct insn *insn)
{
    return false;
}
