/* SPDX-License-Identifier: MIT */
/* Monitor commands that show the guest: registers, translation blocks, pages. They change nothing, but for `mem`. */
#include "dbt/code-buffer.h"
#include "dbt/page-state.h"
#include "dbt/store-site.h"
#include "dbt/tb.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "kernel/monitor.h"
#include "kernel/run.h"
#include "mm/ram.h"
#include "mm/shadow.h"
#include "mm/track.h"

#define TB_LIST_MAX 40

int guest_mem_write(gpa_t gpa, const void *buf, size_t len)
{
    ram_addr_t ram;

    if (!gpa_range_is_ram(gpa, len) || !gpa_to_ram(gpa, &ram)) {
        return -EFAULT;
    }
    memcpy(ram_to_virt(ram), buf, len);
    guest_ram_written(ram, len);
    return 0;
}

static void print_segment(const char *name, const struct segment_cache *seg)
{
    printk("%-4s %04x base %016lx limit %08x flags %08x\n", name, seg->selector, seg->base, seg->limit, seg->flags);
}

static void cmd_regs(char *args)
{
    static const char *const gpr[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static const char *const seg[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    const struct CPUX86State *env = &vcpu0()->env;

    for (unsigned i = 0; i < ARRAY_SIZE(gpr); i++) {
        printk("%-3s %016lx%s", gpr[i], env->regs[i], i % 4 == 3 ? "\n" : "  ");
    }
    printk("rip %016lx  rflags %lx  cpl %u\n", env->eip, env->eflags, env->cpl);
    printk("cr0 %lx cr2 %lx cr3 %lx cr4 %lx cr8 %lx efer %lx xcr0 %lx\n", env->cr[0], env->cr[2], env->cr[3],
           env->cr[4], env->cr8, env->efer, env->xcr0);
    for (unsigned i = 0; i < ARRAY_SIZE(seg); i++) {
        print_segment(seg[i], &env->segs[i]);
    }
    print_segment("ldt", &env->ldt);
    print_segment("tr", &env->tr);
    print_segment("gdt", &env->gdt);
    print_segment("idt", &env->idt);
}

static void print_tb(const struct TranslationBlock *tb)
{
    printk("pc %016lx phys %09lx size %u insns %u host %016lx+%u flags %x cflags %x%s\n", tb->pc, tb->page_addr[0],
           tb->size, tb->icount, tb->tc.ptr, tb->tc.size, tb->flags, tb->cflags,
           tb_cflags(tb) & CF_INVALID ? " invalid" : "");
}

static void print_page_tb(const struct TranslationBlock *tb, void *opaque)
{
    print_tb(tb);
}

/* tb: summary; tb <host or guest pc>: those that contain it. */
static void cmd_tb(char *args)
{
    const bool summary = !*args;
    uint64_t pc = 0;
    unsigned shown = 0;

    if (*args && (!monitor_number(&args, &pc) || *args)) {
        printk("tb: expected nothing or a host or guest pc, found '%s'\n", args);
        return;
    }
    if (summary) {
        printk("%zu translation blocks, %lu bytes of code, %lu flushes\n", tb_count(), code_buffer_used(),
               vcpu0()->stat[STAT_tb_flush]);
        return;
    }
    for (size_t i = 0; i < tb_count() && shown < TB_LIST_MAX; i++) {
        const struct TranslationBlock *tb = tb_at(i);

        if (pc - tb->pc < tb->size || pc - tb->tc.ptr < tb->tc.size) {
            print_tb(tb);
            shown++;
        }
    }
    printk("%u found\n", shown);
}

static void print_store_site(const struct store_site *s)
{
    printk("store site at ram %09lx, %s: %u misses, %s", s->ram, s->user ? "user" : "kernel", s->misses,
           s->hot ? "hot" : "cold");
    if (s->armed) {
        printk(", passes at ram %09lx-%09lx", s->first, s->last);
    }
    printk("\n");
}

static void cmd_page(char *args)
{
    uint64_t gpa;
    ram_addr_t ram;

    if (!monitor_number(&args, &gpa) || *args) {
        printk("page: expected a guest physical address, found '%s'\n", args);
        return;
    }
    if (!gpa_to_ram(gpa, &ram)) {
        printk("page: %#lx is not guest RAM\n", gpa);
        return;
    }
    const struct PageDesc *pd = page_find(ram >> PAGE_SHIFT);
    unsigned reasons = track_reasons(ram & PAGE_MASK);

    printk("page %#lx: write-tracked for%s%s%s%s%s%s; %s, %u slow writes, %s byte map\n", gpa & PAGE_MASK,
           reasons ? "" : " nobody", reasons & TRACK_CODE ? " code" : "", reasons & TRACK_PT ? " page-table" : "",
           reasons & TRACK_VGA ? " vga" : "", reasons & TRACK_MIGRATION ? " migration" : "",
           reasons & TRACK_WATCH ? " watch" : "", pd ? page_state_name(pd) : "not protected",
           pd ? pd->code_write_count : 0, pd && pd->code_bitmap ? "a" : "no");
    if (pd) {
        printk("  write faults: %u misses, %u hits lately; %u ticks quiet, %u returns to protection%s\n", pd->state.misses,
               pd->state.hits, pd->state.quiet, pd->state.returns, pd->state.pinned ? ", pinned" : "");
        tb_for_each_on_page(ram, print_page_tb, NULL);
    }
    store_site_for_each(ram, print_store_site);
}

static void cmd_check(char *args)
{
    printk("check: %d violations in TB lists, %d in shadow tables\n", tb_maint_check(vcpu0()), shadow_check());
}

void monitor_guest_init(void)
{
    static const struct monitor_command commands[] = {
        {"regs", "", "the guest CPU", cmd_regs},
        {"tb", "[<pc>]", "translation blocks: summary, or those at a guest or host pc", cmd_tb},
        {"page", "<gpa>", "who tracks a guest page, and its translation blocks", cmd_page},
        {"check", "", "verify the invariants of TB lists and shadow tables", cmd_check},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        monitor_register(&commands[i]);
    }
}
