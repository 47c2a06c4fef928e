/* SPDX-License-Identifier: MIT */
/*
 * The part of loading that all formats share: the memory map, claims on guest memory, page tables,
 * GDT and the state at entry. The guest's files are untrusted: whatever is wrong with them is a
 * line on the console.
 */
#include "kernel/load-priv.h"

#include "kernel/acpi.h"
#include "kernel/framebuffer.h"
#include "kernel/lib/bzimage.h"
#include "kernel/lib/elf.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"
#include "mm/host.h"
#include "mm/ram.h"

#define EBDA_BASE 0x9fc00 /* where a PC's RAM below 1 MiB ends */
#define FOUR_GIB  (4ull << 30)
#define FRAMEBUFFER_SHARE 4 /* at most this part of low RAM */
#define MIB(x)    (((x) + 0xfffff) >> 20)

/* SDM 3A 4.5, 2.5, 2.2.1 */
#define PTE_PW       0x003
#define PTE_PW_LARGE 0x083
#define START_CR0    0x80010033 /* PG WP NE ET MP PE */
#define START_CR4    0x620      /* OSXMMEXCPT OSFXSR PAE */
#define START_EFER   0x500      /* LMA LME */

/* --- the memory map --- */

static int mem_add(struct load *ld, gpa_t base, uint64_t len, uint32_t type)
{
    struct load_mem *last = ld->mem_count ? &ld->mem[ld->mem_count - 1] : NULL;

    if (!len) {
        return 0;
    }
    if (last && last->type == type && last->base + last->len == base) {
        last->len += len;
        return 0;
    }
    if (ld->mem_count == LOAD_MEM_MAX) {
        printk("guest: the machine's memory map has more than %u ranges\n", LOAD_MEM_MAX);
        return -E2BIG;
    }
    ld->mem[ld->mem_count++] = (struct load_mem){.base = base, .len = len, .type = type};
    return 0;
}

/* A framebuffer of the screen's shape at the end of low RAM, if there is a screen and RAM to spare. Returns its size. */
static uint64_t place_framebuffer(struct load *ld, uint64_t low)
{
    uint64_t len = framebuffer_bytes(&ld->bi->fb);

    if (!len || len > low / FRAMEBUFFER_SHARE) {
        return 0;
    }
    ld->fb = ld->bi->fb;
    ld->fb.addr = low - len;
    return len;
}

/* translate: the virtual machine's RAM (mm/ram.h) as a PC would report it. */
static int virtual_memory_map(struct load *ld)
{
    uint64_t low = MIN(ld->conf->memory, GUEST_RAM_LOW_MAX);
    uint64_t fb = place_framebuffer(ld, low);

    mem_add(ld, 0, EBDA_BASE, BOOT_MEM_USABLE);
    mem_add(ld, EBDA_BASE, LOAD_HIGH - EBDA_BASE, BOOT_MEM_RESERVED);
    mem_add(ld, LOAD_HIGH, low - fb - LOAD_HIGH, BOOT_MEM_USABLE);
    mem_add(ld, low - fb, fb, BOOT_MEM_RESERVED);
    return mem_add(ld, FOUR_GIB, ld->conf->memory - low, BOOT_MEM_USABLE);
}

/* native: the host's map, RAM cut off where the virtual machine's would end. What we occupy will be
 * free by then. */
static int host_memory_map(struct load *ld)
{
    uint64_t low = MIN(ld->conf->memory, GUEST_RAM_LOW_MAX);
    uint64_t limit = ld->conf->memory > low ? FOUR_GIB + ld->conf->memory - low : low;

    for (uint32_t i = 0; i < ld->bi->mem_count; i++) {
        const struct boot_mem_range *r = &ld->bi->mem[i];
        bool ram = r->type == BOOT_MEM_USABLE || r->type == BOOT_MEM_LOADER;
        uint64_t past = ram ? MIN(r->base + r->len, limit) : r->base + r->len;

        if (r->base < past &&
            mem_add(ld, r->base, past - r->base, ram ? BOOT_MEM_USABLE : r->type) < 0) {
            return -E2BIG;
        }
    }
    return 0;
}

static uint64_t ram_top(const struct load *ld)
{
    uint64_t top = 0;

    for (unsigned i = 0; i < ld->mem_count; i++) {
        if (ld->mem[i].type == BOOT_MEM_USABLE) {
            top = ld->mem[i].base + ld->mem[i].len;
        }
    }
    return top;
}

/* --- claims --- */

static bool is_ram(const struct load *ld, gpa_t gpa, uint64_t len)
{
    for (unsigned i = 0; i < ld->mem_count; i++) {
        const struct load_mem *m = &ld->mem[i];

        if (m->type == BOOT_MEM_USABLE && gpa >= m->base && len <= m->len &&
            gpa - m->base <= m->len - len) {
            return gpa_range_is_ram(gpa, len);
        }
    }
    return false;
}

/* The claim that overlaps [gpa, gpa + len), or NULL. */
static const struct load_range *find_claim(const struct load *ld, gpa_t gpa, uint64_t len)
{
    for (unsigned i = 0; i < ld->range_count; i++) {
        const struct load_range *r = &ld->range[i];

        if (gpa < r->base + r->len && r->base < gpa + len) {
            return r;
        }
    }
    return NULL;
}

bool load_is_free(const struct load *ld, gpa_t gpa, uint64_t len)
{
    return is_ram(ld, gpa, len) && !find_claim(ld, gpa, len);
}

static void *guest_memory(gpa_t gpa)
{
    ram_addr_t ram;

    ASSERT(gpa_to_ram(gpa, &ram));
    return ram_to_virt(ram);
}

static void record_claim(struct load *ld, gpa_t gpa, uint64_t len)
{
    unsigned at = 0;

    while (at < ld->range_count && ld->range[at].base < gpa) {
        at++;
    }
    memmove(&ld->range[at + 1], &ld->range[at], (ld->range_count - at) * sizeof(ld->range[0]));
    ld->range[at] = (struct load_range){.base = gpa, .len = len};
    ld->range_count++;
}

void *load_claim(struct load *ld, gpa_t gpa, uint64_t len, const char *what)
{
    if (gpa + len < gpa || gpa + len > GUEST_RAM_LOW_MAX) {
        printk("guest: %s at %#lx, %#lx bytes: must lie below 3 GiB\n", what, gpa, len);
        return NULL;
    }
    if (gpa + len > ram_top(ld)) {
        printk("guest larger than memory: %s needs %lu MiB, memory = %lu MiB; raise `memory`\n",
               what, MIB(gpa + len), ld->conf->memory >> 20);
        return NULL;
    }
    if (!is_ram(ld, gpa, len)) {
        printk("guest: %s at %#lx, %#lx bytes: not RAM on this machine\n", what, gpa, len);
        return NULL;
    }
    if (find_claim(ld, gpa, len) || ld->range_count == LOAD_RANGE_MAX) {
        printk("guest: %s at %#lx, %#lx bytes: overlaps something else that is loaded\n", what, gpa,
               len);
        return NULL;
    }
    record_claim(ld, gpa, len);
    return guest_memory(gpa);
}

gpa_t load_find_low(const struct load *ld, gpa_t from, uint64_t len, uint64_t align)
{
    for (unsigned i = 0; i < ld->mem_count; i++) {
        gpa_t gpa = ALIGN_UP(MAX(ld->mem[i].base, from), align);

        for (;;) {
            const struct load_range *r;

            if (gpa < from || !is_ram(ld, gpa, len)) { /* aligning may wrap */
                break;
            }
            r = find_claim(ld, gpa, len);
            if (!r) {
                return gpa;
            }
            gpa = ALIGN_UP(r->base + r->len, align);
        }
    }
    return 0;
}

/* Highest free page-aligned place for len bytes that ends at or below limit; 0 if there is none. */
static gpa_t find_high(const struct load *ld, uint64_t len, uint64_t limit)
{
    for (unsigned i = ld->mem_count; i-- > 0;) {
        uint64_t past = MIN(ld->mem[i].base + ld->mem[i].len, limit);

        while (past >= LOAD_HIGH + len && past - len >= ld->mem[i].base) {
            gpa_t gpa = ALIGN_DOWN(past - len, PAGE_SIZE);
            const struct load_range *r;

            if (gpa < LOAD_HIGH || !is_ram(ld, gpa, len)) {
                break;
            }
            r = find_claim(ld, gpa, len);
            if (!r) {
                return gpa;
            }
            past = r->base;
        }
    }
    return 0;
}

int load_bytes(struct load *ld, gpa_t gpa, const void *data, uint64_t filesz, uint64_t memsz,
               const char *what)
{
    void *p = load_claim(ld, gpa, memsz, what);

    if (!p) {
        return -ENOMEM;
    }
    memcpy(p, data, filesz);
    LOG(BOOT, "%s: %#lx-%#lx (%lu bytes from the file)", what, gpa, gpa + memsz - 1, filesz);
    return 0;
}

int load_initrd(struct load *ld, uint64_t limit, gpa_t *gpa)
{
    const struct boot_module *m = &ld->bi->initrd;

    *gpa = 0;
    if (!m->addr || !m->len) {
        if (ld->conf->initrd[0]) {
            printk("initrd: the file '%s' was not found or is empty\n", ld->conf->initrd);
            return -ENOENT;
        }
        return 0;
    }
    *gpa = find_high(ld, m->len, MIN(limit, GUEST_RAM_LOW_MAX));
    if (!*gpa) {
        printk("guest larger than memory: no room for an initrd of %lu MiB, memory = %lu MiB; "
               "raise `memory`\n",
               MIB(m->len), ld->conf->memory >> 20);
        return -ENOMEM;
    }
    return load_bytes(ld, *gpa, phys_to_virt(m->addr), m->len, m->len, "initrd");
}

int load_cmdline(struct load *ld, uint64_t max)
{
    size_t len = strlen(ld->conf->cmdline);

    if (len > MIN(max, LOAD_CMDLINE_MAX - 1)) {
        printk("guest: the command line has %zu characters, this guest takes %lu\n", len,
               MIN(max, LOAD_CMDLINE_MAX - 1));
        return -E2BIG;
    }
    return load_bytes(ld, LOAD_CMDLINE, ld->conf->cmdline, len, LOAD_CMDLINE_MAX, "command line");
}

/* --- what every guest starts with --- */

static int load_tables(struct load *ld)
{
    static const uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
    uint64_t *table = load_claim(ld, LOAD_PML4, LOAD_PD + 4 * PAGE_SIZE - LOAD_PML4, "page tables");

    if (!table || load_bytes(ld, LOAD_GDT, gdt, sizeof(gdt), PAGE_SIZE, "GDT") < 0 ||
        !load_claim(ld, LOAD_STACK, LOAD_STACK_SIZE, "stack")) {
        return -ENOMEM;
    }
    table[0] = LOAD_PDPT | PTE_PW;
    for (unsigned i = 0; i < 4; i++) {
        table[(LOAD_PDPT - LOAD_PML4) / 8 + i] = (LOAD_PD + i * PAGE_SIZE) | PTE_PW;
    }
    for (unsigned i = 0; i < 4 * 512; i++) {
        table[(LOAD_PD - LOAD_PML4) / 8 + i] = ((uint64_t)i << 21) | PTE_PW_LARGE;
    }
    ld->start = (struct guest_start){
        .gpr[4] = LOAD_STACK + LOAD_STACK_SIZE - 8, /* as after a call, with return address 0 */
        .rflags = 0x2,
        .cr0 = START_CR0,
        .cr3 = LOAD_PML4,
        .cr4 = START_CR4,
        .efer = START_EFER,
        .gdt_base = LOAD_GDT,
        .gdt_limit = sizeof(gdt) - 1,
        .cs = LOAD_CS,
        .ds = LOAD_DS,
    };
    return 0;
}

/* Linux marks its ELF file with notes of its own; payloads have none. */
static bool is_vmlinux(const void *data, size_t len)
{
    struct elf_image elf;
    const char *why;

    return elf_open(&elf, data, len, &why) == 0 && elf_has_note(&elf, "Linux");
}

int load_guest(struct load *ld, const struct boot_info *bi, const struct conf *conf)
{
    const void *data;
    int err;

    *ld = (struct load){.bi = bi, .conf = conf};
    if (!bi->guest.addr || !bi->guest.len) {
        printk("guest: the file '%s' was not found or is empty\n", conf->guest);
        return -ENOENT;
    }
    data = phys_to_virt(bi->guest.addr);
    if (conf->mode == CONF_MODE_TRANSLATE) {
        acpi_build(guest_memory(ACPI_BASE)); /* in the reserved part of the memory map */
    }
    if (conf->mode == CONF_MODE_NATIVE) {
        ld->fb = bi->fb;
    }
    err = conf->mode == CONF_MODE_NATIVE ? host_memory_map(ld) : virtual_memory_map(ld);
    if (err < 0 || (err = load_tables(ld)) < 0) {
        return err;
    }
    if (is_vmlinux(data, bi->guest.len)) {
        return load_vmlinux(ld, data, bi->guest.len);
    }
    if (elf_is_elf(data, bi->guest.len)) {
        return load_elf(ld, data, bi->guest.len);
    }
    if (bzimage_is_bzimage(data, bi->guest.len)) {
        return load_linux(ld, data, bi->guest.len);
    }
    printk("guest: '%s' is neither an ELF64 file nor a Linux bzImage\n", bi->guest.name);
    return -ENOEXEC;
}
