/* SPDX-License-Identifier: MIT */
/* Reads the boot memory map once and sets up frames and page tables. */
#include "kernel/memory.h"

#include "kernel/image.h"
#include "kernel/lib/log.h"
#include "kernel/x86.h"
#include "mm/frame.h"
#include "mm/kmap.h"

/* Below live firmware, the start-up of other CPUs, and the guest's tables in native mode. */
#define LOW_MEMORY 0x100000

/* Next free address for device mappings. Written at start-up only. */
static uint64_t device_next = KDEVICE_BASE;

static void add_usable(const struct boot_mem_range *r)
{
    uint64_t base = MAX(r->base, LOW_MEMORY), limit = MIN(r->base + r->len, PHYSMAP_SIZE);

    if (r->type == BOOT_MEM_USABLE && base < limit) {
        frames_add(base, limit - base);
    }
}

/* The last byte that the physmap must reach: RAM of any kind, firmware tables included, but not
 * devices. */
static hpa_t phys_last(const struct boot_info *bi)
{
    hpa_t last = 0;

    for (uint32_t i = 0; i < bi->mem_count; i++) {
        const struct boot_mem_range *r = &bi->mem[i];

        if (r->type != BOOT_MEM_RESERVED && r->type != BOOT_MEM_BAD && r->len) {
            last = MAX(last, r->base + r->len - 1);
        }
    }
    return MIN(last, PHYSMAP_SIZE - 1);
}

static void must(int err, const char *what)
{
    if (err < 0) {
        panic("memory: %s: error %d", what, err);
    }
}

static void map_image(const struct boot_info *bi)
{
    const struct {
        const char *start, *end;
        unsigned flags;
    } segments[] = {
        {text_start, text_end, KMAP_X},
        {rodata_start, rodata_end, 0},
        {data_start, kernel_end, KMAP_W},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++) {
        uint64_t offset = image_offset(segments[i].start);
        uint64_t len = (uint64_t)(segments[i].end - segments[i].start);

        must(kmap_map(KERNEL_VMA + offset, bi->kernel_base + offset, len, segments[i].flags),
             "mapping the image");
        if (!(segments[i].flags & KMAP_W)) {
            must(kmap_protect_physmap(bi->kernel_base + offset, len, 0), "protecting the image");
        }
    }
}

void memory_init(const struct boot_info *bi)
{
    for (uint32_t i = 0; i < bi->mem_count; i++) {
        add_usable(&bi->mem[i]);
    }
    must(kmap_init(phys_last(bi)), "building the physmap");
    map_image(bi);
    write_cr3(kmap_root());
}

volatile void *map_device(hpa_t hpa, uint64_t len)
{
    uint64_t va = device_next;

    ASSERT(hpa % PAGE_SIZE == 0 && len % PAGE_SIZE == 0);
    must(kmap_map(va, hpa, len, KMAP_UC | KMAP_W), "mapping a device");
    device_next += len + PAGE_SIZE;
    return (volatile void *)va;
}
