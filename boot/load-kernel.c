/* SPDX-License-Identifier: MIT */
/*
 * Places the kernel's ELF image in memory, and looks at the guest so that a bad one is refused
 * while the firmware is there.
 */
#include "boot/loader.h"

#include "kernel/lib/bzimage.h"
#include "kernel/lib/elf.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"
#include "mm/layout.h"

#define LARGE_PAGE (2ull << 20)
#define IMAGE_MAX  (1ull << 30) /* one page directory maps it */

/* Segments below KERNEL_VMA belong to the PVH entry, which this loader does not use. */
static bool is_ours(const struct elf_segment *seg)
{
    return seg->vaddr >= KERNEL_VMA;
}

/*
 * Bytes from KERNEL_VMA to the end of the last segment; 0 if there is none, or one that is out of
 * range.
 */
static uint64_t image_length(const struct elf_image *elf)
{
    uint64_t len = 0;

    for (unsigned i = 0; i < elf->load_count; i++) {
        struct elf_segment seg;

        elf_load_segment(elf, i, &seg);
        if (!is_ours(&seg)) {
            continue;
        }
        if (seg.vaddr - KERNEL_VMA >= IMAGE_MAX ||
            seg.memsz > IMAGE_MAX - (seg.vaddr - KERNEL_VMA)) {
            return 0;
        }
        len = MAX(len, seg.vaddr - KERNEL_VMA + seg.memsz);
    }
    return len;
}

EFI_STATUS load_kernel(struct loader *ld)
{
    struct boot_info *info = ld->info;
    struct elf_image elf;
    const char *why;
    uint64_t len;
    int entry_segment;

    if (elf_open(&elf, (const void *)(uintptr_t)info->kernel.addr, info->kernel.len, &why) < 0) {
        return fail("%s: %s", info->kernel.name, why);
    }
    len = image_length(&elf);
    entry_segment = elf_find(&elf, ELF_VIRTUAL, elf.entry);
    if (len == 0 || entry_segment < 0 || elf.entry < KERNEL_VMA) {
        return fail("%s: not a notdirty kernel: it is not linked at 0x%llx", info->kernel.name,
                    (unsigned long long)KERNEL_VMA);
    }
    info->kernel_len = ALIGN_UP(len, LARGE_PAGE);
    info->kernel_base = alloc_own(ld, info->kernel_len, LARGE_PAGE, false);
    if (!info->kernel_base) {
        return fail("not enough memory below 4 GiB for the kernel: %llu KiB",
                    (unsigned long long)info->kernel_len >> 10);
    }
    memset((void *)(uintptr_t)info->kernel_base, 0, info->kernel_len);
    for (unsigned i = 0; i < elf.load_count; i++) {
        struct elf_segment seg;

        elf_load_segment(&elf, i, &seg);
        if (is_ours(&seg)) {
            memcpy((void *)(uintptr_t)(info->kernel_base + (seg.vaddr - KERNEL_VMA)), seg.data,
                   seg.filesz);
        }
    }
    ld->entry = elf.entry;
    return EFI_SUCCESS;
}

EFI_STATUS check_guest(const struct loader *ld)
{
    const struct boot_module *guest = &ld->info->guest;
    const void *data = (const void *)(uintptr_t)guest->addr;
    const char *why = "neither an ELF file nor a bzImage";
    struct bzimage bz;
    struct elf_image elf;

    if (elf_is_elf(data, guest->len) && elf_open(&elf, data, guest->len, &why) == 0) {
        return EFI_SUCCESS;
    }
    if (bzimage_is_bzimage(data, guest->len) && bzimage_open(&bz, data, guest->len, &why) == 0) {
        return EFI_SUCCESS;
    }
    return fail("%s: %s", guest->name, why);
}
