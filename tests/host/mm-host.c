/* SPDX-License-Identifier: MIT */
/* Physical memory for host tests. An address outside of it is a bug of the code under test and
 * panics. */
#include "tests/host/mm-host.h"

#include <sys/mman.h>

#include "kernel/lib/log.h"
#include "mm/host.h"

struct mm_host_hooks mm_host_hooks;

static uint8_t *arena;
static hpa_t arena_base;
static uint64_t arena_size;

void mm_host_init(hpa_t base, uint64_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    ASSERT(p != MAP_FAILED && !arena);
    arena = p;
    arena_base = base;
    arena_size = size;
}

void *phys_to_virt(hpa_t hpa)
{
    ASSERT(hpa >= arena_base && hpa - arena_base < arena_size);
    return arena + (hpa - arena_base);
}

hpa_t virt_to_phys(const void *p)
{
    uint64_t offset = (uint64_t)((const uint8_t *)p - arena);

    ASSERT(offset < arena_size);
    return arena_base + offset;
}

void host_invlpg(gva_t va)
{
    if (mm_host_hooks.invlpg) {
        mm_host_hooks.invlpg(va);
    }
}

void host_tlb_flush(void)
{
    if (mm_host_hooks.tlb_flush) {
        mm_host_hooks.tlb_flush();
    }
}

void host_drop_root(hpa_t root)
{
    if (mm_host_hooks.drop_root) {
        mm_host_hooks.drop_root(root);
    }
}

void mm_mapping_changed(void)
{
}

void mm_alias_dropped(void)
{
}

__attribute__((weak)) void mm_guest_written(ram_addr_t ram, unsigned len) /* kernel/guest-memory.c has the real one */
{
    if (mm_host_hooks.guest_written) {
        mm_host_hooks.guest_written(ram, len);
    }
}
