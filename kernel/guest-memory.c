/* SPDX-License-Identifier: MIT */
/*
 * Guest memory by guest virtual address, for what the monitor does in the guest's place: exception frames, descriptors,
 * operands of sensitive instructions; and where the code is that dbt/ fetches. Walks of the guest's tables are remembered as a TLB
 * remembers them; what dbt/ makes of a mapping has its own rules (link sets).
 */
#include "kernel/guest-memory.h"

#include "dbt/host.h"
#include "dbt/page-state.h"
#include "dbt/translate-all.h"
#include "kernel/debug.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/run.h"
#include "kernel/vcpu/vcpu.h"
#include "mm/dirty-log.h"
#include "mm/host.h"
#include "mm/pte.h"
#include "mm/ram.h"
#include "mm/shadow.h"
#include "mm/track.h"
#include "mm/walk.h"

#define MAX_PAGES 3 /* of one access by an instruction: a 4 KiB I/O bitmap read, a frame push */

/* ---- the TLB ---- */

/*
 * Found by address alone, filled by walks that succeeded for one kind of access (write or read, user or supervisor: the bit
 * 1 << access of `kinds`), with accessed and dirty bits set. A set is for 2 MiB of addresses, so that a large page that is dropped has
 * all of its pieces in one place: then the whole set is dropped.
 */
#define TLB_SETS 8u
#define TLB_WAYS 8u
struct tlb_entry {
    gva_t page;
    uint64_t epoch; /* of another flush: empty */
    ram_addr_t ram; /* of the page */
    uint8_t *bytes; /* the page */
    uint8_t kinds;
    bool global;
};

struct tlb {
    struct tlb_entry entry[TLB_SETS][TLB_WAYS];
    bool has_large[TLB_SETS]; /* the set may hold pieces of large pages */
};

/* Owner: the CPU that runs the guest. */
static struct tlb data_tlb, code_tlb;
static uint64_t tlb_epoch = 1;

static inline unsigned tlb_set(gva_t va)
{
    return ((va >> 21) ^ (va >> 24) ^ (va >> 30)) % TLB_SETS;
}

static inline struct tlb_entry *tlb_way(struct tlb *tlb, gva_t va)
{
    return &tlb->entry[tlb_set(va)][(va >> PAGE_SHIFT) % TLB_WAYS];
}

void guest_tlb_flush(void)
{
    tlb_epoch++;
}

static void tlb_drop(struct tlb *tlb, gva_t va)
{
    unsigned set = tlb_set(va);

    if (likely(!tlb->has_large[set])) {
        struct tlb_entry *e = tlb_way(tlb, va);

        if (e->page == (va & PAGE_MASK)) {
            e->epoch = 0;
        }
        return;
    }
    for (unsigned i = 0; i < TLB_WAYS; i++) {
        tlb->entry[set][i].epoch = 0;
    }
    tlb->has_large[set] = false;
}

void guest_tlb_drop(gva_t va)
{
    tlb_drop(&data_tlb, va);
    tlb_drop(&code_tlb, va);
}

/* Entries of 1 GiB would lie in many sets: not remembered, so that dropping a page need not look for them. */
static void tlb_fill(struct tlb *tlb, gva_t va, unsigned access, const struct walk_result *res, ram_addr_t ram)
{
    struct tlb_entry *e = tlb_way(tlb, va);
    bool same = e->epoch == tlb_epoch && e->page == (va & PAGE_MASK) && e->ram == (ram & PAGE_MASK);

    if (res->level > 2) {
        return;
    }
    *e = (struct tlb_entry){
        .page = va & PAGE_MASK,
        .epoch = tlb_epoch,
        .ram = ram & PAGE_MASK,
        .bytes = ram_to_virt(ram & PAGE_MASK),
        .kinds = (uint8_t)((same ? e->kinds : 0) | BIT(access)),
        .global = res->global,
    };
    if (res->level == 2) {
        tlb->has_large[tlb_set(va)] = true;
    }
}

/* ---- accesses ---- */

static int device_access(struct CPUState *cpu, gva_t va, gpa_t gpa)
{
    snprintf(cpu->exit_msg, sizeof(cpu->exit_msg),
             "guest uses device memory (va %llx, physical %llx) as a table or stack at pc %llx", (unsigned long long)va,
             (unsigned long long)gpa, (unsigned long long)cpu->env.eip);
    cpu->exit_request = CPU_EXIT_ERROR;
    cpu->exception_index = EXCP_EXIT;
    return -EFAULT;
}

/* The entry for all of [va, va + len), NULL if it is not on one page or a walk is needed. */
static inline const struct tlb_entry *tlb_hit(struct tlb *tlb, gva_t va, size_t len, unsigned access)
{
    const struct tlb_entry *e = tlb_way(tlb, va);
    bool hit = e->page == (va & PAGE_MASK) && e->epoch == tlb_epoch && e->kinds & BIT(access);

    return hit && len <= PAGE_SIZE - (va & ~PAGE_MASK) ? e : NULL;
}

/* Walk, and raise #PF if that is what it comes to. 0 or -EFAULT. */
static int walk(struct CPUState *cpu, gva_t va, unsigned access, struct walk_result *res)
{
    struct guest_paging gp;

    vcpu_paging(&cpu->env, &gp);
    if (likely(guest_walk(&gp, va, access, res) == 0)) {
        return 0;
    }
    CPU_STAT(cpu, guest_fault);
    cpu->env.cr[2] = va;
    guest_tlb_drop(va);
    raise_exception_err(cpu, EXCP0E_PAGE, res->error_code);
    return -EFAULT;
}

/* Where the byte at va is, by a walk. 0 or -EFAULT. */
static int translate(struct CPUState *cpu, gva_t va, unsigned access, ram_addr_t *ram)
{
    struct walk_result res;

    if (walk(cpu, va, access, &res) < 0) {
        return -EFAULT;
    }
    if (!gpa_to_ram(res.gpa, ram)) {
        return device_access(cpu, va, res.gpa);
    }
    tlb_fill(&data_tlb, va, access, &res, *ram);
    return 0;
}

tb_page_addr_t get_page_addr_code(struct CPUState *cpu, uint64_t pc, const uint8_t **hostp)
{
    unsigned access = WALK_FETCH | (cpu->env.cpl == 3 ? WALK_USER : 0);
    const struct tlb_entry *e = tlb_hit(&code_tlb, pc, 1, access);
    struct walk_result res;
    ram_addr_t ram;

    if (likely(e)) {
        cpu->code_page_global = e->global;
        *hostp = e->bytes + (pc & ~PAGE_MASK);
        return e->ram + (pc & ~PAGE_MASK);
    }
    if (!is_canonical(pc)) {
        raise_exception_err(cpu, EXCP0D_GPF, 0);
        return TB_PAGE_ADDR_INVALID;
    }
    if (walk(cpu, pc, access, &res) < 0) {
        return TB_PAGE_ADDR_INVALID;
    }
    if (!gpa_to_ram(res.gpa, &ram)) {
        snprintf(cpu->exit_msg, sizeof(cpu->exit_msg),
                 "it jumped to physical address %#llx, where it has no memory", (unsigned long long)res.gpa);
        cpu->exit_request = CPU_EXIT_NOWHERE;
        cpu->exception_index = EXCP_EXIT;
        return TB_PAGE_ADDR_INVALID;
    }
    tlb_fill(&code_tlb, pc, access, &res, ram);
    cpu->code_page_global = res.global; /* without CR4.PGE, writes to CR3 compare what is global */
    *hostp = ram_to_virt(ram);
    return ram;
}

/* Find the RAM behind [va, va + len), page by page, before anything is touched. */
static int translate_range(struct CPUState *cpu, gva_t va, size_t len, unsigned access, ram_addr_t *ram, unsigned *pages)
{
    *pages = 0;
    for (gva_t at = va; len && at <= va + len - 1; at = (at & PAGE_MASK) + PAGE_SIZE) {
        if (*pages == MAX_PAGES) {
            return device_access(cpu, at, 0);
        }
        if (translate(cpu, at, access, &ram[(*pages)++]) < 0) {
            return -EFAULT;
        }
        if ((at & PAGE_MASK) == (~(uint64_t)0 & PAGE_MASK)) {
            break; /* the last page of the address space */
        }
    }
    return 0;
}

/* What is accessed most is one word, or a few. */
static void copy(uint8_t *dst, const uint8_t *src, size_t n)
{
    for (; n >= 8 && n <= 64; n -= 8, dst += 8, src += 8) {
        __builtin_memcpy(dst, src, 8);
    }
    if (n) {
        memcpy(dst, src, n);
    }
}

/* Has anyone asked to hear of writes to the page? If not, translated code writes it unnoticed, too. */
static bool is_tracked(ram_addr_t page)
{
    return smc_policy.check || track_reasons(page);
}

int cpu_ldub(struct CPUState *cpu, gva_t va, void *buf, size_t len, bool user)
{
    unsigned access = user ? WALK_USER : 0, pages;
    const struct tlb_entry *e = tlb_hit(&data_tlb, va, len, access);
    ram_addr_t ram[MAX_PAGES];
    uint8_t *p = buf;

    if (likely(e && !cpu->debug.nr_wp)) {
        copy(p, e->bytes + (va & ~PAGE_MASK), len);
        return 0;
    }
    if (translate_range(cpu, va, len, access, ram, &pages) < 0) {
        return -EFAULT;
    }
    if (unlikely(cpu->debug.nr_wp && len)) {
        cpu_check_watchpoint(cpu, va, len, BP_MEM_READ);
    }
    for (unsigned i = 0; i < pages; i++) {
        size_t n = MIN(len, (size_t)(PAGE_SIZE - (ram[i] & ~PAGE_MASK)));

        copy(p, ram_to_virt(ram[i]), n);
        p += n;
        len -= n;
    }
    return 0;
}

int cpu_stub(struct CPUState *cpu, gva_t va, const void *buf, size_t len, bool user)
{
    unsigned access = WALK_WRITE | (user ? WALK_USER : 0), pages;
    const struct tlb_entry *e = tlb_hit(&data_tlb, va, len, access);
    ram_addr_t ram[MAX_PAGES];
    const uint8_t *p = buf;

    if (likely(e && len && !cpu->debug.nr_wp && !is_tracked(e->ram))) {
        copy(e->bytes + (va & ~PAGE_MASK), p, len);
        return 0;
    }
    if (translate_range(cpu, va, len, access, ram, &pages) < 0) {
        return -EFAULT;
    }
    if (unlikely(cpu->debug.nr_wp && len)) {
        debug_remember(cpu);
        cpu_check_watchpoint(cpu, va, len, BP_MEM_WRITE);
    }
    for (unsigned i = 0; i < pages; i++) {
        size_t n = MIN(len, (size_t)(PAGE_SIZE - (ram[i] & ~PAGE_MASK)));

        copy(ram_to_virt(ram[i]), p, n);
        guest_ram_written(ram[i], n);
        p += n;
        len -= n;
    }
    return 0;
}

/* ---- writes ---- */

void guest_ram_written(ram_addr_t ram, uint64_t len)
{
    for (ram_addr_t last = ram + len - 1, n; ram <= last; ram += n) {
        ram_addr_t page = ram & PAGE_MASK;

        n = MIN(last - ram + 1, PAGE_SIZE - (ram & ~PAGE_MASK));
        if (unlikely(is_tracked(page))) {
            mm_guest_written(ram, (unsigned)n);
            shadow_guest_writes(page);
        }
    }
}

/* mm/host.h: the page walk set A/D bits in a guest table. */
void mm_guest_written(ram_addr_t ram, unsigned len)
{
    dirty_log_written(ram, len);
    tb_invalidate_phys_range(vcpu0(), ram, ram + len - 1, 0);
}
