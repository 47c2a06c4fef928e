/* SPDX-License-Identifier: MIT */
/*
 * The set-up header of a Linux bzImage (Documentation/arch/x86/boot.rst): recognised, checked,
 * decoded. Only kernels with a 64-bit entry point are accepted (boot protocol >= 2.12,
 * XLF_KERNEL_64). Loads nothing.
 *
 * File:   [ set-up sectors: setup_size bytes ][ protected-mode code: payload_len bytes, loaded at a
 * multiple of alignment ] Entry:  load address + BZIMAGE_ENTRY64, RSI = struct boot_params, into
 * whose offset 0x1f1 the header is copied.
 */
#ifndef KERNEL_LIB_BZIMAGE_H
#define KERNEL_LIB_BZIMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BZIMAGE_ENTRY64    0x200 /* 64-bit entry, from the load address */
#define BZIMAGE_HDR_OFFSET 0x1f1 /* of the set-up header, in the file and in boot_params */
#define BZIMAGE_HDR_MAX    0x90  /* boot_params keeps this much for it, up to offset 0x281 */

struct bzimage {
    const uint8_t *payload; /* protected-mode code in the file */
    uint64_t payload_len;   /* bytes present */
    uint32_t setup_size;    /* bytes before the payload: (setup_sects + 1) * 512 */
    uint32_t hdr_len;       /* bytes of set-up header to copy from BZIMAGE_HDR_OFFSET */
    uint16_t version;       /* boot protocol, e.g. 0x020f */
    uint16_t xloadflags;
    uint64_t pref_address; /* preferred load address */
    uint32_t init_size;    /* linear memory needed from the load address on */
    uint32_t alignment;    /* of the load address if relocatable; a power of two */
    bool relocatable;
    bool above_4g;         /* kernel, initrd, boot_params and cmdline may lie above 4 GiB */
    uint32_t cmdline_max;  /* longest command line, without the NUL */
    uint64_t initrd_max;   /* highest address an initrd byte may have */
    uint64_t code32_start; /* default load address of the 32-bit protocol, informative */
};

/* True if the buffer carries the boot sector and "HdrS" signatures (nothing else is checked). */
bool bzimage_is_bzimage(const void *data, size_t len);

/* Check data[0..len) and fill *bz. 0, or -ENOEXEC with *why = a one-line reason (static text). */
int bzimage_open(struct bzimage *bz, const void *data, size_t len, const char **why);

#endif
