/* SPDX-License-Identifier: MIT */
/* Bare payloads: a static ELF64 file and struct payload_info (docs/payload-abi.md). */
#include "kernel/load-priv.h"

#include "kernel/irq.h"
#include "kernel/lib/elf.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/printf.h"
#include "kernel/payload-abi.h"

_Static_assert(LOAD_MEM_MAX <= PAYLOAD_MEM_MAX, "every range fits");
_Static_assert(sizeof(struct payload_info) <= LOAD_CMDLINE - LOAD_INFO, "one page");
_Static_assert(BOOT_MEM_USABLE == PAYLOAD_MEM_RAM && BOOT_MEM_BAD == PAYLOAD_MEM_BAD,
               "types are e820's");

static int load_segment(struct load *ld, const struct elf_image *elf, unsigned index)
{
    struct elf_segment seg;
    char what[32];

    elf_load_segment(elf, index, &seg);
    snprintf(what, sizeof(what), "segment %u", index);
    if (seg.paddr < LOAD_HIGH) {
        printk("guest: %s is at %#lx; payloads are loaded at 1 MiB and above\n", what, seg.paddr);
        return -ENOEXEC;
    }
    return load_bytes(ld, seg.paddr, seg.data, seg.filesz, seg.memsz, what);
}

static int load_info(struct load *ld, gpa_t initrd)
{
    struct payload_info *info = load_claim(ld, LOAD_INFO, LOAD_CMDLINE - LOAD_INFO, "payload_info");
    bool native = ld->conf->mode == CONF_MODE_NATIVE;

    if (!info) {
        return -ENOMEM;
    }
    info->magic = PAYLOAD_MAGIC;
    info->version = PAYLOAD_VERSION;
    info->size = sizeof(*info);
    info->cmdline = LOAD_CMDLINE;
    info->initrd = initrd;
    info->initrd_len = initrd ? ld->bi->initrd.len : 0;
    info->tsc_khz = tsc_khz;
    if (native) {
        info->rsdp = ld->bi->rsdp;
    }
    if (ld->fb.addr) {
        info->fb_addr = ld->fb.addr;
        info->fb_width = ld->fb.width;
        info->fb_height = ld->fb.height;
        info->fb_pitch = ld->fb.pitch;
        info->fb_format = ld->fb.format;
    }
    for (unsigned i = 0; i < ld->mem_count; i++) {
        info->mem[i].base = ld->mem[i].base;
        info->mem[i].len = ld->mem[i].len;
        info->mem[i].type =
            ld->mem[i].type <= BOOT_MEM_BAD ? ld->mem[i].type : PAYLOAD_MEM_RESERVED;
    }
    info->mem_count = ld->mem_count;
    return 0;
}

int load_elf_segments(struct load *ld, const void *data, size_t len, struct elf_image *elf)
{
    const char *why;
    int err = elf_open(elf, data, len, &why);

    if (err < 0) {
        printk("guest: '%s': %s\n", ld->bi->guest.name, why);
        return err;
    }
    for (unsigned i = 0; i < elf->load_count; i++) {
        err = load_segment(ld, elf, i);
        if (err < 0) {
            return err;
        }
    }
    if (elf_find(elf, ELF_PHYSICAL, elf->entry) < 0) {
        printk("guest: '%s': the entry %#lx lies in no segment\n", ld->bi->guest.name, elf->entry);
        return -ENOEXEC;
    }
    return 0;
}

int load_elf(struct load *ld, const void *data, size_t len)
{
    struct elf_image elf;
    gpa_t initrd;
    int err = load_elf_segments(ld, data, len, &elf);

    if (err < 0) {
        return err;
    }
    if ((err = load_initrd(ld, ~0ull, &initrd)) < 0 ||
        (err = load_cmdline(ld, LOAD_CMDLINE_MAX)) < 0 || (err = load_info(ld, initrd)) < 0) {
        return err;
    }
    ld->start.rip = elf.entry;
    ld->start.gpr[7] = LOAD_INFO;
    return 0;
}
