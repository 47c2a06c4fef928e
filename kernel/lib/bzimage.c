/* SPDX-License-Identifier: MIT */
/*
 * Decodes the set-up header of a Linux bzImage. Pure; trusts nothing in the file. Field offsets are
 * those of the file, which are those of boot_params too ("The Real-Mode Kernel Header",
 * Documentation/arch/x86/boot.rst).
 */
#include "kernel/lib/bzimage.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"

#define OFF_SETUP_SECTS 0x1f1
#define OFF_SYSSIZE     0x1f4
#define OFF_BOOT_FLAG   0x1fe
#define OFF_JUMP_LENGTH                                                                            \
    0x201 /* second byte of the jump at 0x200: the header ends at 0x202 + this */
#define OFF_HEADER       0x202
#define OFF_VERSION      0x206
#define OFF_LOADFLAGS    0x211
#define OFF_CODE32_START 0x214
#define OFF_INITRD_MAX   0x22c
#define OFF_ALIGNMENT    0x230
#define OFF_RELOCATABLE  0x234
#define OFF_XLOADFLAGS   0x236
#define OFF_CMDLINE_SIZE 0x238
#define OFF_PREF_ADDRESS 0x258
#define OFF_INIT_SIZE    0x260
#define HEADER_END_2_12  0x268 /* end of the fields of protocol 2.12 */

#define BOOT_FLAG        0xaa55
#define LOADED_HIGH      0x01
#define XLF_KERNEL_64    0x01
#define XLF_ABOVE_4G     0x02
#define SECTOR           512u
#define PARAGRAPH                                                                                  \
    16u /* unit of syssize, which may be rounded up: memtest86+ ends 8 bytes before it */

static uint64_t field(const uint8_t *file, unsigned offset, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, file + offset, size);
    return v;
}

bool bzimage_is_bzimage(const void *data, size_t len)
{
    const uint8_t *file = data;

    return len >= OFF_VERSION && field(file, OFF_BOOT_FLAG, 2) == BOOT_FLAG &&
           memcmp(file + OFF_HEADER, "HdrS", 4) == 0;
}

static void decode(struct bzimage *bz, const uint8_t *file)
{
    unsigned sects = (unsigned)field(file, OFF_SETUP_SECTS, 1);

    bz->version = (uint16_t)field(file, OFF_VERSION, 2);
    bz->setup_size =
        ((sects ? sects : 4) + 1) * SECTOR; /* 0 means 4, for backwards compatibility */
    bz->hdr_len = OFF_HEADER + (uint32_t)field(file, OFF_JUMP_LENGTH, 1) - BZIMAGE_HDR_OFFSET;
    bz->xloadflags = (uint16_t)field(file, OFF_XLOADFLAGS, 2);
    bz->pref_address = field(file, OFF_PREF_ADDRESS, 8);
    bz->init_size = (uint32_t)field(file, OFF_INIT_SIZE, 4);
    bz->alignment = (uint32_t)field(file, OFF_ALIGNMENT, 4);
    bz->relocatable = field(file, OFF_RELOCATABLE, 1) != 0;
    bz->above_4g = (bz->xloadflags & XLF_ABOVE_4G) != 0;
    bz->cmdline_max = (uint32_t)field(file, OFF_CMDLINE_SIZE, 4);
    bz->initrd_max = field(file, OFF_INITRD_MAX, 4);
    bz->code32_start = field(file, OFF_CODE32_START, 4);
}

static bool is_truncated(const struct bzimage *bz, const uint8_t *file, size_t len)
{
    uint64_t payload_len = field(file, OFF_SYSSIZE, 4) * PARAGRAPH;

    if (bz->setup_size >= len || len - bz->setup_size <= BZIMAGE_ENTRY64) {
        return true;
    }
    return len - bz->setup_size + PARAGRAPH <= payload_len;
}

static const char *check(const struct bzimage *bz, const uint8_t *file, size_t len)
{
    if (bz->version < 0x020c) {
        return "Linux kernel is too old: boot protocol 2.12 (Linux 3.8) is needed";
    }
    if (!(field(file, OFF_LOADFLAGS, 1) & LOADED_HIGH)) {
        return "zImage: a bzImage is needed";
    }
    if (!(bz->xloadflags & XLF_KERNEL_64)) {
        return "Linux kernel has no 64-bit entry point: an x86-64 kernel is needed";
    }
    if (bz->hdr_len < HEADER_END_2_12 - BZIMAGE_HDR_OFFSET) {
        return "bzImage header is shorter than its protocol version says";
    }
    if (bz->hdr_len > BZIMAGE_HDR_MAX) {
        return "bzImage header is longer than boot_params can hold";
    }
    if (is_truncated(bz, file, len)) {
        return "bzImage is truncated";
    }
    if (bz->alignment == 0 || (bz->alignment & (bz->alignment - 1)) != 0) {
        return "bzImage has a bad kernel alignment";
    }
    if (bz->init_size == 0 || bz->pref_address + bz->init_size < bz->pref_address) {
        return "bzImage has a bad load address or size";
    }
    return NULL;
}

int bzimage_open(struct bzimage *bz, const void *data, size_t len, const char **why)
{
    const uint8_t *file = data;

    memset(bz, 0, sizeof(*bz));
    if (!bzimage_is_bzimage(data, len)) {
        *why = "not a bzImage";
        return -ENOEXEC;
    }
    if (len < HEADER_END_2_12) {
        *why = "bzImage header is truncated";
        return -ENOEXEC;
    }
    decode(bz, file);
    *why = check(bz, file, len);
    if (*why) {
        return -ENOEXEC;
    }
    bz->payload = file + bz->setup_size;
    bz->payload_len = len - bz->setup_size;
    return 0;
}
