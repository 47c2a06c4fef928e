/* SPDX-License-Identifier: MIT */
/* Files of the boot volume, read whole. Says what it reads; interprets nothing. */
#include "boot/loader.h"

#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"

#define CHUNK    (4ull << 20) /* between two dots of progress */
#define PATH_MAX 128

static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
static EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
static EFI_GUID file_info_guid = EFI_FILE_INFO_ID;

EFI_STATUS open_boot_volume(struct loader *ld)
{
    EFI_BOOT_SERVICES *bs = efi_st->BootServices;
    EFI_LOADED_IMAGE *self;
    EFI_FILE_IO_INTERFACE *volume;

    if (EFI_ERROR(bs->HandleProtocol(ld->image, &loaded_image_guid, (void **)&self))) {
        return fail("the firmware does not say where the loader came from");
    }
    if (EFI_ERROR(bs->HandleProtocol(self->DeviceHandle, &file_system_guid, (void **)&volume)) ||
        EFI_ERROR(volume->OpenVolume(volume, &ld->root))) {
        return fail("the boot volume has no file system that the firmware can read");
    }
    return EFI_SUCCESS;
}

/* ASCII path with either separator to an absolute UEFI path. False if it does not fit. */
static bool efi_path(CHAR16 *out, const char *path)
{
    unsigned n = 0;

    if (*path != '/' && *path != '\\') {
        out[n++] = L'\\';
    }
    for (; *path; path++) {
        if (n == PATH_MAX - 1) {
            return false;
        }
        out[n++] = *path == '/' ? L'\\' : (CHAR16)(unsigned char)*path;
    }
    out[n] = 0;
    return true;
}

static EFI_STATUS file_size(EFI_FILE_HANDLE file, uint64_t *size, bool *directory)
{
    /* EFI_FILE_INFO ends with the file's name: at most 255 characters on FAT. */
    union {
        EFI_FILE_INFO info;
        uint8_t bytes[sizeof(EFI_FILE_INFO) + 256 * sizeof(CHAR16)];
    } u;
    UINTN len = sizeof(u);
    EFI_STATUS status = file->GetInfo(file, &file_info_guid, &len, &u);

    if (!EFI_ERROR(status)) {
        *size = u.info.FileSize;
        *directory = (u.info.Attribute & EFI_FILE_DIRECTORY) != 0;
    }
    return status;
}

static EFI_STATUS read_all(EFI_FILE_HANDLE file, const char *path, uint64_t addr, uint64_t size)
{
    for (uint64_t done = 0; done < size;) {
        UINTN n = MIN(size - done, CHUNK);

        if (EFI_ERROR(file->Read(file, &n, (void *)(uintptr_t)(addr + done)))) {
            return fail("cannot read %s: device error after %llu KiB of %llu KiB", path,
                        (unsigned long long)done >> 10, (unsigned long long)size >> 10);
        }
        if (n == 0) {
            return fail("cannot read %s: it ends after %llu KiB of %llu KiB", path,
                        (unsigned long long)done >> 10, (unsigned long long)size >> 10);
        }
        done += n;
        if (size > CHUNK) {
            say(".");
        }
    }
    return EFI_SUCCESS;
}

static EFI_STATUS read_open_file(struct loader *ld, EFI_FILE_HANDLE file, const char *what,
                                 const char *path, struct boot_module *module)
{
    EFI_STATUS status;
    bool directory = false;
    uint64_t size = 0;

    if (EFI_ERROR(file_size(file, &size, &directory))) {
        return fail("cannot read %s: no file information", path);
    }
    if (directory) {
        return fail("%s is a directory, not the %s", path, what);
    }
    if (size == 0) {
        return fail("%s is empty: it should be the %s", path, what);
    }
    say("notdirty: %s: %s, %llu KiB ", what, path, (unsigned long long)(size + 1023) >> 10);
    module->addr = alloc_own(ld, size, PAGE_SIZE, true);
    if (!module->addr) {
        return fail("not enough memory for %s: %llu KiB", path,
                    (unsigned long long)(size + 1023) >> 10);
    }
    memset((void *)(uintptr_t)(module->addr + size), 0, ALIGN_UP(size, PAGE_SIZE) - size);
    module->len = size;
    snprintf(module->name, sizeof(module->name), "%s", path);
    status = read_all(file, path, module->addr, size);
    if (!EFI_ERROR(status)) {
        say(" ok\n");
    }
    return status;
}

EFI_STATUS read_file(struct loader *ld, const char *what, const char *path, bool optional,
                     struct boot_module *module)
{
    EFI_FILE_HANDLE file;
    CHAR16 wide[PATH_MAX];
    EFI_STATUS status;

    if (!efi_path(wide, path)) {
        return fail("path of the %s is too long: %s", what, path);
    }
    status = ld->root->Open(ld->root, &file, wide, EFI_FILE_MODE_READ, 0);
    if (status == EFI_NOT_FOUND) {
        return optional ? EFI_SUCCESS
                        : fail("%s: no such file on the boot volume (%s)", path, what);
    }
    if (EFI_ERROR(status)) {
        return fail("cannot open %s (%s): firmware status 0x%llx", path, what,
                    (unsigned long long)status);
    }
    status = read_open_file(ld, file, what, path, module);
    file->Close(file);
    return status;
}
