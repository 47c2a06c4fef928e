/* SPDX-License-Identifier: MIT */
/*
 * BOOTX64.EFI: reads notdirty.conf, the kernel and the guest from the volume it was started from
 * and hands over to the kernel as boot/boot-info.h says. Every failure is one line, then a key or a
 * time-out returns to the firmware.
 */
#include "boot/loader.h"

#include "kernel/lib/string.h"
#include "kernel/lib/types.h"

#define CONF_PATH "notdirty.conf"

static const char *const kernel_paths[] = {"notdirty/kernel.elf", "kernel.elf"};

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *st);

static EFI_STATUS alloc_boot_info(struct loader *ld)
{
    ld->info = (struct boot_info *)(uintptr_t)alloc_own(ld, sizeof(*ld->info), PAGE_SIZE, false);
    if (!ld->info) {
        return fail("not enough memory below 4 GiB for the boot information");
    }
    memset(ld->info, 0, sizeof(*ld->info));
    ld->info->magic = BOOT_INFO_MAGIC;
    ld->info->version = BOOT_INFO_VERSION;
    ld->info->size = sizeof(*ld->info);
    ld->info->source = 1;
    ld->info->tsc_entry = ld->tsc_entry;
    return EFI_SUCCESS;
}

static EFI_STATUS read_conf(struct loader *ld)
{
    struct boot_module *config = &ld->info->config;
    EFI_STATUS status = read_file(ld, "configuration", CONF_PATH, false, config);
    char msg[360];
    unsigned line;

    if (EFI_ERROR(status)) {
        return status;
    }
    conf_defaults(&ld->conf);
    if (conf_parse(&ld->conf, (const char *)(uintptr_t)config->addr, config->len, &line, msg,
                   sizeof(msg)) < 0) {
        return fail("%s:%u: %s", CONF_PATH, line, msg);
    }
    return EFI_SUCCESS;
}

static EFI_STATUS read_kernel(struct loader *ld)
{
    for (size_t i = 0; i < ARRAY_SIZE(kernel_paths); i++) {
        bool last = i == ARRAY_SIZE(kernel_paths) - 1;
        EFI_STATUS status = read_file(ld, "kernel", kernel_paths[i], !last, &ld->info->kernel);

        if (EFI_ERROR(status) || ld->info->kernel.addr) {
            return status;
        }
    }
    return EFI_LOAD_ERROR;
}

static EFI_STATUS read_guest(struct loader *ld)
{
    EFI_STATUS status = read_file(ld, "guest", ld->conf.guest, false, &ld->info->guest);

    if (EFI_ERROR(status)) {
        return status;
    }
    status = check_guest(ld);
    if (!EFI_ERROR(status) && ld->conf.initrd[0]) {
        status = read_file(ld, "initrd", ld->conf.initrd, false, &ld->info->initrd);
    }
    if (!EFI_ERROR(status) && ld->conf.symbols[0]) {
        status = read_file(ld, "symbols", ld->conf.symbols, false, &ld->info->symbols);
    }
    return status;
}

static bool guid_is(const EFI_GUID *a, const EFI_GUID *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static void find_rsdp(struct boot_info *info)
{
    static const EFI_GUID acpi_2 = ACPI_20_TABLE_GUID;
    static const EFI_GUID acpi_1 = ACPI_TABLE_GUID;

    for (UINTN i = 0; i < efi_st->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *table = &efi_st->ConfigurationTable[i];

        if (guid_is(&table->VendorGuid, &acpi_2)) {
            info->rsdp = (uint64_t)(uintptr_t)table->VendorTable;
            return;
        }
        if (guid_is(&table->VendorGuid, &acpi_1)) {
            info->rsdp = (uint64_t)(uintptr_t)table->VendorTable;
        }
    }
}

static void find_framebuffer(struct boot_info *info)
{
    static EFI_GUID gop_guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    EFI_GRAPHICS_OUTPUT_PROTOCOL *gop;
    const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode;

    if (EFI_ERROR(efi_st->BootServices->LocateProtocol(&gop_guid, NULL, (void **)&gop)) ||
        !gop->Mode || !gop->Mode->Info) {
        return;
    }
    mode = gop->Mode->Info;
    if (mode->PixelFormat != PixelBlueGreenRedReserved8BitPerColor &&
        mode->PixelFormat != PixelRedGreenBlueReserved8BitPerColor) {
        return;
    }
    info->fb.addr = gop->Mode->FrameBufferBase;
    info->fb.width = mode->HorizontalResolution;
    info->fb.height = mode->VerticalResolution;
    info->fb.pitch = mode->PixelsPerScanLine * 4;
    info->fb.format = mode->PixelFormat == PixelRedGreenBlueReserved8BitPerColor;
}

static EFI_STATUS gather_facts(struct loader *ld)
{
    find_rsdp(ld->info);
    find_framebuffer(ld->info);
    say("notdirty: starting the kernel\n");
    return EFI_SUCCESS;
}

/* The boot, in order. The last step is the point of no return. */
static EFI_STATUS (*const steps[])(struct loader *) = {
    open_boot_volume, alloc_boot_info,   read_conf,    read_kernel,        load_kernel,
    read_guest,       build_page_tables, gather_facts, exit_boot_services,
};

/* Returns only if a step failed. */
static EFI_STATUS boot(struct loader *ld)
{
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        EFI_STATUS status = steps[i](ld);

        if (EFI_ERROR(status)) {
            return status;
        }
    }
    enter_kernel(ld);
}

/* A failed boot gives the firmware back what it lent. */
static void release(struct loader *ld)
{
    for (unsigned i = 0; i < ld->own_count; i++) {
        efi_st->BootServices->FreePages(ld->own[i].base, ld->own[i].len >> PAGE_SHIFT);
    }
    if (ld->root) {
        ld->root->Close(ld->root);
    }
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *st)
{
    struct loader ld = {.image = image, .tsc_entry = __builtin_ia32_rdtsc()};
    EFI_STATUS status;

    console_init(st);
    say("\nnotdirty: loader\n");
    /* Reading a large guest may take longer than the firmware's 5 minutes. */
    st->BootServices->SetWatchdogTimer(0, 0, 0, NULL);
    status = boot(&ld);
    wait_before_return();
    release(&ld);
    return status;
}
