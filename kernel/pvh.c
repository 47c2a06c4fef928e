/* SPDX-License-Identifier: MIT */
/*
 * Converts the PVH start info (QEMU -kernel, -initrd, -append) to struct boot_info. Runs once on
 * the boot page tables, before _start; everything is reached at PHYSMAP_BASE. The module is the
 * newc bundle of boot/mkbundle.py, or a bare guest image.
 */
#include "boot/boot-info.h"
#include "drivers/serial.h"
#include "kernel/config.h"
#include "kernel/image.h"
#include "kernel/lib/cpio.h"
#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"
#include "kernel/x86.h"
#include "mm/host.h"

/* Xen public/arch-x86/hvm/start_info.h, version 1 */
#define HVM_START_MAGIC 0x336ec578u

struct hvm_start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules; /* physical addresses */
    uint64_t cmdline;
    uint64_t rsdp;
    uint64_t memmap; /* from version 1 on */
    uint32_t memmap_count, reserved;
};
struct hvm_module {
    uint64_t base, len, cmdline, reserved;
};
struct hvm_memmap_entry {
    uint64_t base, len;
    uint32_t type; /* as in ACPI's e820: 1 RAM, 2 reserved, 3 ACPI, 4 NVS, 5 unusable: the values of
                      enum boot_mem_type */
    uint32_t reserved;
};
_Static_assert(sizeof(struct hvm_start_info) == 56, "PVH ABI");
_Static_assert(sizeof(struct hvm_memmap_entry) == 24, "PVH ABI");

/* pvh-entry.S: where the linker put the 32-bit part and loads the image. */
struct pvh_layout {
    uint64_t boot32_start, boot32_end, image;
};
extern const struct pvh_layout pvh_layout;

hpa_t pvh_boot_info(hpa_t start_info);

/* Filled here, read by the kernel through its physical address like a loader's. */
static struct boot_info info;

static void mem_insert(struct boot_info *bi, uint32_t at, uint64_t base, uint64_t len,
                       uint32_t type)
{
    if (bi->mem_count == BOOT_MEM_MAX) {
        panic("pvh: more than %u memory ranges", BOOT_MEM_MAX);
    }
    memmove(&bi->mem[at + 1], &bi->mem[at], (bi->mem_count - at) * sizeof(bi->mem[0]));
    bi->mem[at] = (struct boot_mem_range){.base = base, .len = len, .type = type};
    bi->mem_count++;
}

/* Make [base, base + len) BOOT_MEM_LOADER; it lies inside one usable range, which is split in up to
 * three. */
static void mem_reserve(struct boot_info *bi, uint64_t base, uint64_t len)
{
    uint64_t start = ALIGN_DOWN(base, PAGE_SIZE), limit = ALIGN_UP(base + len, PAGE_SIZE);

    for (uint32_t i = 0; i < bi->mem_count; i++) {
        struct boot_mem_range r = bi->mem[i];

        if (r.type != BOOT_MEM_USABLE || start < r.base || start >= r.base + r.len) {
            continue;
        }
        limit = MIN(limit, r.base + r.len);
        bi->mem[i] =
            (struct boot_mem_range){.base = start, .len = limit - start, .type = BOOT_MEM_LOADER};
        if (limit < r.base + r.len) {
            mem_insert(bi, i + 1, limit, r.base + r.len - limit, r.type);
        }
        if (start > r.base) {
            mem_insert(bi, i, r.base, start - r.base, r.type);
        }
        return;
    }
}

static void convert_memmap(struct boot_info *bi, const struct hvm_start_info *si)
{
    const struct hvm_memmap_entry *e = phys_to_virt(si->memmap);

    for (uint32_t i = 0; i < si->memmap_count; i++) {
        uint32_t at = 0;

        while (at < bi->mem_count && bi->mem[at].base < e[i].base) {
            at++;
        }
        mem_insert(bi, at, e[i].base, e[i].len, e[i].type);
    }
    mem_reserve(bi, pvh_layout.boot32_start, pvh_layout.boot32_end - pvh_layout.boot32_start);
    mem_reserve(bi, bi->kernel_base, bi->kernel_len);
}

/* Make *m the bundle's file `name`; absent if there is none. Returns whether it was found. */
static bool bundle_file(const struct hvm_module *bundle, const char *name, struct boot_module *m)
{
    const void *data;
    size_t len;

    if (!*name || cpio_find(phys_to_virt(bundle->base), bundle->len, name, &data, &len) < 0) {
        return false;
    }
    m->addr = virt_to_phys(data);
    m->len = len;
    snprintf(m->name, sizeof(m->name), "%s", name);
    return true;
}

static void convert_module(struct boot_info *bi, const struct hvm_start_info *si)
{
    const struct hvm_module *bundle = phys_to_virt(si->modules);
    char msg[CONFIG_MSG_MAX];
    struct conf conf;

    mem_reserve(bi, bundle->base, bundle->len);
    if (memcmp(phys_to_virt(bundle->base), "070701", MIN(bundle->len, 6)) != 0) {
        bi->guest =
            (struct boot_module){.addr = bundle->base, .len = bundle->len, .name = "(-initrd)"};
        return;
    }
    bundle_file(bundle, "notdirty.conf", &bi->config);
    if (config_read(bi, &conf, msg) == 0) { /* errors are shown when the kernel reads it again */
        bundle_file(bundle, conf.guest, &bi->guest);
        bundle_file(bundle, conf.initrd, &bi->initrd);
        bundle_file(bundle, conf.symbols, &bi->symbols);
    }
}

/* Called by pvh-entry.S on the boot stack. Returns the physical address of the boot information. */
hpa_t pvh_boot_info(hpa_t start_info)
{
    const struct hvm_start_info *si = phys_to_virt(start_info);
    struct boot_info *bi = &info;

    serial_init(SERIAL_COM1);
    if (si->magic != HVM_START_MAGIC || si->version < 1) {
        panic("pvh: start info has magic %#x version %u, expected %#x version 1", si->magic,
              si->version, HVM_START_MAGIC);
    }
    bi->magic = BOOT_INFO_MAGIC;
    bi->version = BOOT_INFO_VERSION;
    bi->size = sizeof(*bi);
    bi->source = 2;
    bi->tsc_entry = rdtsc();
    bi->kernel_base = pvh_layout.image;
    bi->kernel_len = image_size();
    bi->rsdp = si->rsdp;
    if (si->cmdline) {
        if (snprintf(bi->cmdline, sizeof(bi->cmdline), "%s", (const char *)phys_to_virt(si->cmdline)) >=
            (int)sizeof(bi->cmdline)) {
            printk("command line: longer than %zu characters: the rest is ignored\n", sizeof(bi->cmdline) - 1);
        }
    }
    convert_memmap(bi, si);
    if (si->module_count) {
        convert_module(bi, si);
    }
    return pvh_layout.image + image_offset(bi);
}
