/* SPDX-License-Identifier: MIT */
/*
 * Linux by the 64-bit boot protocol, Documentation/arch/x86/boot.rst and zero-page.rst: a bzImage at its decompressor, or an
 * unpacked kernel (vmlinux) at its own entry, which takes the same state.
 */
#include "kernel/load-priv.h"

#include "kernel/acpi.h"
#include "kernel/lib/bzimage.h"
#include "kernel/lib/elf.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "kernel/lib/string.h"

/* Fields of struct boot_params that a loader fills in; the set-up header starts at
 * BZIMAGE_HDR_OFFSET. */
#define BP_SCREEN_TYPE    0x00f
#define BP_SCREEN_WIDTH   0x012 /* then height, depth */
#define BP_SCREEN_BASE    0x018
#define BP_SCREEN_SIZE    0x01c
#define BP_SCREEN_PITCH   0x024
#define BP_SCREEN_COLOURS 0x026
#define BP_SCREEN_CAPS    0x036
#define BP_SCREEN_BASE_HIGH 0x03a
#define SCREEN_TYPE_EFI   0x70
#define SCREEN_CAPS_64BIT 2 /* VIDEO_CAPABILITY_64BIT_BASE */
#define BP_ACPI_RSDP      0x070
#define BP_E820_ENTRIES   0x1e8
#define BP_TYPE_OF_LOADER 0x210
#define BP_CODE32_START   0x214
#define BP_RAMDISK_IMAGE  0x218
#define BP_RAMDISK_SIZE   0x21c
#define BP_CMD_LINE_PTR   0x228
#define BP_E820_TABLE     0x2d0
#define BP_SIZE           0x1000

#define LOADER_UNDEFINED  0xff /* type_of_loader: none that has a number */

struct e820_entry {
    uint64_t base;
    uint64_t len;
    uint32_t type;
} __attribute__((packed));
#define E820_RESERVED 2
_Static_assert(LOAD_MEM_MAX <= 128, "boot_params has room for 128 ranges");

static void put32(uint8_t *bp, unsigned offset, uint64_t value)
{
    uint32_t v = (uint32_t)value;

    memcpy(bp + offset, &v, sizeof(v));
}

static void put_e820(const struct load *ld, uint8_t *bp)
{
    for (unsigned i = 0; i < ld->mem_count; i++) {
        struct e820_entry e = {ld->mem[i].base, ld->mem[i].len, ld->mem[i].type};

        if (e.type > BOOT_MEM_BAD) {
            e.type = E820_RESERVED;
        }
        memcpy(bp + BP_E820_TABLE + i * sizeof(e), &e, sizeof(e));
    }
    bp[BP_E820_ENTRIES] = (uint8_t)ld->mem_count;
}

/*
 * struct screen_info (include/uapi/linux/screen_info.h): a linear framebuffer as an EFI loader tells it. Depth 32, 8 bits a
 * colour.
 */
static void put_screen(const struct boot_framebuffer *fb, uint8_t *bp)
{
    const uint16_t size[] = {(uint16_t)fb->width, (uint16_t)fb->height, 32};
    const uint16_t pitch = (uint16_t)fb->pitch;
    const uint8_t red = fb->format ? 0 : 16, blue = fb->format ? 16 : 0;
    const uint8_t colours[] = {8, red, 8, 8, 8, blue, 8, 24}; /* size, position: red green blue reserved */

    if (!fb->addr || fb->width > UINT16_MAX || fb->height > UINT16_MAX || fb->pitch > UINT16_MAX) {
        return;
    }
    bp[BP_SCREEN_TYPE] = SCREEN_TYPE_EFI;
    memcpy(bp + BP_SCREEN_WIDTH, size, sizeof(size));
    put32(bp, BP_SCREEN_BASE, fb->addr);
    put32(bp, BP_SCREEN_SIZE, (uint64_t)fb->pitch * fb->height);
    memcpy(bp + BP_SCREEN_PITCH, &pitch, sizeof(pitch));
    memcpy(bp + BP_SCREEN_COLOURS, colours, sizeof(colours));
    if (fb->addr >> 32) {
        put32(bp, BP_SCREEN_CAPS, SCREEN_CAPS_64BIT);
        put32(bp, BP_SCREEN_BASE_HIGH, fb->addr >> 32);
    }
}

/* Where the kernel shall run: at its preferred address, or if that is not free, it can be moved, at the next aligned one that is.
 * From below it would move itself to the preferred one, over whatever is there (boot.rst, init_size: runtime_start). 0 after a
 * message. */
static gpa_t choose_address(const struct load *ld, const struct bzimage *bz, uint64_t size)
{
    gpa_t gpa = 0;

    if (bz->relocatable) {
        gpa = load_find_low(ld, MAX(bz->pref_address, (uint64_t)LOAD_HIGH), size, MAX(bz->alignment, PAGE_SIZE));
    } else if (bz->pref_address >= LOAD_HIGH && load_is_free(ld, bz->pref_address, size)) {
        gpa = bz->pref_address;
    }
    if (!gpa) {
        printk("guest larger than memory: needs %lu MiB, memory = %lu MiB; raise `memory`\n",
               (bz->pref_address + size + 0xfffff) >> 20, ld->conf->memory >> 20);
    }
    return gpa;
}

/* hdr[0..hdr_len): the kernel's set-up header. */
static int load_boot_params(struct load *ld, const uint8_t *hdr, size_t hdr_len, gpa_t kernel, gpa_t initrd)
{
    uint8_t *bp = load_claim(ld, LOAD_INFO, BP_SIZE, "boot_params");
    uint64_t rsdp = ld->conf->mode == CONF_MODE_NATIVE ? ld->bi->rsdp : ACPI_BASE;

    if (!bp) {
        return -ENOMEM;
    }
    memcpy(bp + BZIMAGE_HDR_OFFSET, hdr, MIN(hdr_len, BZIMAGE_HDR_MAX));
    bp[BP_TYPE_OF_LOADER] = LOADER_UNDEFINED;
    put32(bp, BP_CODE32_START, kernel);
    put32(bp, BP_RAMDISK_IMAGE, initrd);
    put32(bp, BP_RAMDISK_SIZE, initrd ? ld->bi->initrd.len : 0);
    put32(bp, BP_CMD_LINE_PTR, LOAD_CMDLINE);
    memcpy(bp + BP_ACPI_RSDP, &rsdp, sizeof(rsdp));
    put_e820(ld, bp);
    put_screen(&ld->fb, bp);
    return 0;
}

int load_linux(struct load *ld, const void *data, size_t len)
{
    struct bzimage bz;
    const char *why;
    uint64_t size;
    gpa_t kernel, initrd;
    int err = bzimage_open(&bz, data, len, &why);

    if (err < 0) {
        printk("guest: '%s': %s\n", ld->bi->guest.name, why);
        return err;
    }
    size = MAX((uint64_t)bz.init_size, bz.payload_len);
    kernel = choose_address(ld, &bz, size);
    if (!kernel) {
        return -ENOMEM;
    }
    if ((err = load_bytes(ld, kernel, bz.payload, bz.payload_len, size, "kernel")) < 0 ||
        (err = load_initrd(ld, bz.initrd_max + 1, &initrd)) < 0 ||
        (err = load_cmdline(ld, bz.cmdline_max)) < 0 ||
        (err = load_boot_params(ld, (const uint8_t *)data + BZIMAGE_HDR_OFFSET, bz.hdr_len, kernel, initrd)) < 0) {
        return err;
    }
    ld->start.rip = kernel + BZIMAGE_ENTRY64;
    ld->start.gpr[6] = LOAD_INFO;
    return 0;
}

/* What a vmlinux cannot tell, for it has no set-up header: the least that every kernel with a 64-bit entry takes. */
#define VMLINUX_INITRD_MAX  0x7fffffffull /* protocol 2.03 */
#define VMLINUX_CMDLINE_MAX 2047          /* COMMAND_LINE_SIZE less the NUL */

/* A set-up header as boot.rst asks of a loader that has none from a file: signatures, protocol 2.12, LOADED_HIGH. */
static void make_header(uint8_t hdr[BZIMAGE_HDR_MAX])
{
    static const struct {
        uint16_t offset; /* in boot_params */
        uint8_t bytes[4];
        uint8_t len;
    } fields[] = {{0x1fe, {0x55, 0xaa}, 2}, {0x202, {'H', 'd', 'r', 'S'}, 4}, {0x206, {0x0c, 0x02}, 2}, {0x211, {1}, 1}};

    memset(hdr, 0, BZIMAGE_HDR_MAX);
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        memcpy(hdr + fields[i].offset - BZIMAGE_HDR_OFFSET, fields[i].bytes, fields[i].len);
    }
}

int load_vmlinux(struct load *ld, const void *data, size_t len)
{
    uint8_t hdr[BZIMAGE_HDR_MAX];
    struct elf_image elf;
    gpa_t initrd;
    int err;

    make_header(hdr);
    if ((err = load_elf_segments(ld, data, len, &elf)) < 0 ||
        (err = load_initrd(ld, VMLINUX_INITRD_MAX + 1, &initrd)) < 0 ||
        (err = load_cmdline(ld, VMLINUX_CMDLINE_MAX)) < 0 ||
        (err = load_boot_params(ld, hdr, sizeof(hdr), elf.entry, initrd)) < 0) {
        return err;
    }
    ld->start.rip = elf.entry;
    ld->start.gpr[6] = LOAD_INFO;
    return 0;
}
