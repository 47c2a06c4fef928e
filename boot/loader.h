/* SPDX-License-Identifier: MIT */
/*
 * The parts of the UEFI loader, in the order efi_main uses them. Everything here runs before
 * ExitBootServices.
 */
#ifndef BOOT_LOADER_H
#define BOOT_LOADER_H

#include <efi.h>
#include <stdbool.h>

#include "boot/boot-info.h"
#include "boot/memory-map.h"
#include "kernel/lib/conf.h"

#define LOADER_OWN_MAX                                                                             \
    16 /* allocations that outlive the loader: image, files, boot_info, page tables, ... */

/* Owner: efi_main. One per boot; lives on its stack. */
struct loader {
    EFI_HANDLE image;
    uint64_t tsc_entry;   /* when efi_main began */
    EFI_FILE_HANDLE root; /* of the volume that the loader was started from */
    struct conf conf;
    struct boot_info *info;
    uint64_t entry; /* virtual address of the kernel's _start */
    uint64_t cr3;   /* root of the boot page tables */
    struct mem_span own[LOADER_OWN_MAX];
    unsigned own_count;
};

/* --- efi-console.c --- */
extern EFI_SYSTEM_TABLE *efi_st; /* set once by console_init */

void console_init(EFI_SYSTEM_TABLE *st);
/*
 * Formatted text to the firmware's console and, where the firmware does not do that itself, to
 * COM1.
 */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* One line saying why the boot cannot go on. Returns EFI_LOAD_ERROR, for `return fail(...)`. */
EFI_STATUS fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* After fail(): wait for a key or a time-out. */
void wait_before_return(void);

/* --- efi-file.c --- */
EFI_STATUS open_boot_volume(struct loader *ld);
/*
 * Read a whole file into memory of its own and describe it in *module. `what` is its role, for
 * messages. With `optional`, a file that does not exist leaves module->addr = 0 and is no error.
 * Separators in path may be '/' or '\'.
 */
EFI_STATUS read_file(struct loader *ld, const char *what, const char *path, bool optional,
                     struct boot_module *module);

/* --- efi-memory.c --- */
/*
 * Pages that outlive the loader, from the top of the memory below 4 GiB: low memory is the native
 * guest's. If `anywhere`, from above 4 GiB when there is no room. `align` is a power of two,
 * PAGE_SIZE at least. 0 if there are none. Their content is undefined.
 */
uint64_t alloc_own(struct loader *ld, uint64_t len, uint64_t align, bool anywhere);
/*
 * Bytes of memory that will be free for the kernel and its guest (boot services' included), and
 * where RAM ends.
 */
EFI_STATUS survey_memory(uint64_t *free_bytes, uint64_t *ram_last);
/* Leave boot services; fills info->mem. After success nothing of the firmware may be called. */
EFI_STATUS exit_boot_services(struct loader *ld);

/* --- load-kernel.c --- */
EFI_STATUS load_kernel(struct loader *ld);
EFI_STATUS check_guest(const struct loader *ld);

/* --- handover.c --- */
EFI_STATUS build_page_tables(struct loader *ld);
_Noreturn void enter_kernel(const struct loader *ld);

#endif
