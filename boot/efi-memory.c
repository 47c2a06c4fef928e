/* SPDX-License-Identifier: MIT */
/* The loader's allocations, the firmware's memory map, and the way out of boot services. */
#include "boot/loader.h"

#include "kernel/lib/types.h"

#define BELOW_4G   0xffffffffull
#define EXIT_TRIES 16
#define MAP_SLACK  32 /* descriptors that may appear between sizing the map and leaving */

static uint64_t try_alloc(uint64_t pages, bool anywhere)
{
    EFI_BOOT_SERVICES *bs = efi_st->BootServices;
    EFI_PHYSICAL_ADDRESS addr = BELOW_4G;

    if (!EFI_ERROR(bs->AllocatePages(AllocateMaxAddress, EfiLoaderData, pages, &addr))) {
        return addr;
    }
    if (anywhere && !EFI_ERROR(bs->AllocatePages(AllocateAnyPages, EfiLoaderData, pages, &addr))) {
        return addr;
    }
    return 0;
}

uint64_t alloc_own(struct loader *ld, uint64_t len, uint64_t align, bool anywhere)
{
    EFI_BOOT_SERVICES *bs = efi_st->BootServices;
    /* Firmware aligns to pages only: take more, give back both ends. */
    uint64_t extra = align - PAGE_SIZE;
    uint64_t base, start, tail;

    if (ld->own_count == LOADER_OWN_MAX || len > 1ull << 46) {
        return 0;
    }
    len = ALIGN_UP(len, PAGE_SIZE);
    base = try_alloc((len + extra) >> PAGE_SHIFT, anywhere);
    if (!base) {
        return 0;
    }
    start = ALIGN_UP(base, align);
    tail = base + extra - start;
    if (start > base) {
        bs->FreePages(base, (start - base) >> PAGE_SHIFT);
    }
    if (tail) {
        bs->FreePages(start + len, tail >> PAGE_SHIFT);
    }
    ld->own[ld->own_count++] =
        (struct mem_span){.base = start, .len = len, .type = BOOT_MEM_LOADER};
    return start;
}

/* A firmware memory map and the room to convert it. */
struct efi_map {
    uint8_t *bytes;
    struct mem_span *spans;
    UINTN capacity; /* bytes */
    UINTN size;
    UINTN key;
    UINTN stride; /* of a descriptor: larger than our struct, by the specification */
};

static EFI_STATUS map_alloc(struct efi_map *map)
{
    EFI_BOOT_SERVICES *bs = efi_st->BootServices;
    UINT32 version;

    map->capacity = 0;
    bs->GetMemoryMap(&map->capacity, NULL, &map->key, &map->stride, &version);
    if (map->stride < sizeof(EFI_MEMORY_DESCRIPTOR)) {
        return fail("the firmware's memory map has descriptors of %llu bytes",
                    (unsigned long long)map->stride);
    }
    map->capacity += MAP_SLACK * map->stride;
    if (EFI_ERROR(bs->AllocatePool(EfiLoaderData, map->capacity, (void **)&map->bytes)) ||
        EFI_ERROR(bs->AllocatePool(EfiLoaderData, map->capacity / map->stride * sizeof(*map->spans),
                                   (void **)&map->spans))) {
        return fail("not enough memory for the memory map");
    }
    return EFI_SUCCESS;
}

static EFI_STATUS map_read(struct efi_map *map)
{
    UINT32 version;

    map->size = map->capacity;
    return efi_st->BootServices->GetMemoryMap(&map->size, (EFI_MEMORY_DESCRIPTOR *)map->bytes,
                                              &map->key, &map->stride, &version);
}

/* UEFI 2.10, 7.2: what each type means to an operating system after ExitBootServices. */
static uint32_t boot_mem_type(uint32_t efi_type)
{
    switch (efi_type) {
    case EfiLoaderCode:
    case EfiLoaderData:
    case EfiBootServicesCode:
    case EfiBootServicesData:
    case EfiConventionalMemory:
        return BOOT_MEM_USABLE;
    case EfiRuntimeServicesCode:
    case EfiRuntimeServicesData:
        return BOOT_MEM_RUNTIME;
    case EfiACPIReclaimMemory:
        return BOOT_MEM_ACPI_RECLAIM;
    case EfiACPIMemoryNVS:
        return BOOT_MEM_ACPI_NVS;
    case EfiUnusableMemory:
        return BOOT_MEM_BAD;
    default:
        return BOOT_MEM_RESERVED;
    }
}

static bool is_ram(uint32_t type)
{
    return type != BOOT_MEM_RESERVED && type != BOOT_MEM_BAD;
}

static size_t map_convert(const struct efi_map *map)
{
    size_t count = map->size / map->stride;

    for (size_t i = 0; i < count; i++) {
        const EFI_MEMORY_DESCRIPTOR *d =
            (const EFI_MEMORY_DESCRIPTOR *)(map->bytes + i * map->stride);

        map->spans[i].base = d->PhysicalStart;
        map->spans[i].len = d->NumberOfPages << PAGE_SHIFT;
        map->spans[i].type = boot_mem_type(d->Type);
    }
    return count;
}

static void map_free(struct efi_map *map)
{
    efi_st->BootServices->FreePool(map->spans);
    efi_st->BootServices->FreePool(map->bytes);
}

EFI_STATUS survey_memory(uint64_t *free_bytes, uint64_t *ram_last)
{
    struct efi_map map;
    EFI_STATUS status = map_alloc(&map);
    size_t count;

    if (EFI_ERROR(status)) {
        return status;
    }
    status = map_read(&map);
    if (EFI_ERROR(status)) {
        return fail("the firmware gives no memory map: status 0x%llx", (unsigned long long)status);
    }
    count = map_convert(&map);
    *free_bytes = 0;
    *ram_last = 0;
    for (size_t i = 0; i < count; i++) {
        if (map.spans[i].type == BOOT_MEM_USABLE) {
            *free_bytes += map.spans[i].len;
        }
        if (is_ram(map.spans[i].type) && map.spans[i].len) {
            *ram_last = MAX(*ram_last, map.spans[i].base + map.spans[i].len - 1);
        }
    }
    map_free(&map);
    return EFI_SUCCESS;
}

/*
 * The map's key goes stale whenever anything allocates, timers included: read and leave again until
 * it holds. After a failed ExitBootServices only memory services are promised to work: no output in
 * the loop, and the message at the end may be lost.
 */
EFI_STATUS exit_boot_services(struct loader *ld)
{
    struct efi_map map;
    EFI_STATUS status = map_alloc(&map);

    if (EFI_ERROR(status)) {
        return status;
    }
    for (unsigned i = 0; i < EXIT_TRIES; i++) {
        status = map_read(&map);
        if (EFI_ERROR(status)) {
            break;
        }
        status = efi_st->BootServices->ExitBootServices(ld->image, map.key);
        if (!EFI_ERROR(status)) {
            memory_map_build(ld->info, map.spans, map_convert(&map), ld->own, ld->own_count);
            return EFI_SUCCESS;
        }
    }
    return fail("the firmware does not let go: ExitBootServices status 0x%llx",
                (unsigned long long)status);
}
