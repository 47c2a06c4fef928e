/* SPDX-License-Identifier: MIT */
/*
 * Guest RAM: the arithmetic between guest physical, RAMBlock and host physical addresses. Guest
 * input ends here: whoever holds a ram_addr_t below guest_ram_size() holds a valid one.
 *
 *   gpa   0 ............ 3 GiB   (devices)   4 GiB ......
 *   ram   0 ............ 3 GiB]              [3 GiB ..... size
 */
#include "mm/ram.h"

#include "kernel/lib/errno.h"
#include "kernel/lib/log.h"
#include "mm/frame.h"
#include "mm/host.h"
#include "mm/pte.h"

#define GUEST_RAM_HIGH_BASE 0x100000000ull
#define A20 BIT(20)

_Static_assert(GUEST_RAM_LOW_MAX % LARGE_SIZE == 0,
               "no large guest page may straddle the end of low RAM");

/* Set once by guest_ram_init(), then constant. */
static uint64_t ram_size;
static uint64_t ram_low; /* bytes at gpa 0 */
static hpa_t ram_base;
/* What an address of RAM is masked with. Owner: the CPU that runs the guest. */
static gpa_t a20_mask = ~0ull;

int guest_ram_init(uint64_t size)
{
    hpa_t base;

    if (!size || size % LARGE_SIZE) {
        return -EINVAL;
    }
    base = frame_alloc_contig(size >> PAGE_SHIFT, LARGE_SIZE);
    if (base == HPA_INVALID) {
        return -ENOMEM;
    }
    ram_base = base;
    ram_size = size;
    ram_low = MIN(size, GUEST_RAM_LOW_MAX);
    return 0;
}

uint64_t guest_ram_size(void)
{
    return ram_size;
}

bool gpa_to_ram(gpa_t gpa, ram_addr_t *ram)
{
    gpa &= a20_mask;
    if (gpa < ram_low) {
        *ram = gpa;
        return true;
    }
    if (gpa >= GUEST_RAM_HIGH_BASE && gpa - GUEST_RAM_HIGH_BASE < ram_size - ram_low) {
        *ram = gpa - GUEST_RAM_HIGH_BASE + ram_low;
        return true;
    }
    return false;
}

void guest_ram_set_a20(bool open)
{
    a20_mask = open ? ~0ull : ~A20;
}

bool guest_ram_a20_open(void)
{
    return a20_mask & A20;
}

gpa_t ram_to_gpa(ram_addr_t ram)
{
    ASSERT(ram < ram_size);
    return ram < ram_low ? ram : ram - ram_low + GUEST_RAM_HIGH_BASE;
}

hpa_t ram_to_hpa(ram_addr_t ram)
{
    ASSERT(ram < ram_size);
    return ram_base + ram;
}

void *ram_to_virt(ram_addr_t ram)
{
    return phys_to_virt(ram_to_hpa(ram));
}

bool hpa_to_ram(hpa_t hpa, ram_addr_t *ram)
{
    *ram = hpa - ram_base;
    return hpa >= ram_base && *ram < ram_size;
}

bool gpa_range_is_ram(gpa_t gpa, uint64_t len)
{
    ram_addr_t first, last;

    if (!gpa_to_ram(gpa, &first)) {
        return false;
    }
    if (len <= 1) {
        return true;
    }
    return gpa + len > gpa && gpa_to_ram(gpa + len - 1, &last) && last - first == len - 1;
}
