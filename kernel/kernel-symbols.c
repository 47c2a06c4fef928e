/* SPDX-License-Identifier: MIT */
/* Binary search in the kernel's symbol table. Touches constant data only: panics and NMIs use it. */
#include "kernel/kernel-symbols.h"

#include "kernel/image.h"

/* kernel/mksyms.py: code symbols in ascending order. */
struct ksym {
    uint32_t offset; /* from KERNEL_VMA */
    uint32_t name;   /* offset in ksyms_names */
};
extern const struct ksym ksyms[];
extern const char ksyms_names[];
extern const uint64_t ksyms_count;

const char *kernel_symbol(uint64_t addr, uint64_t *offset)
{
    uint64_t lo = 0, hi = ksyms_count;

    if (addr < (uintptr_t)text_start || addr >= (uintptr_t)text_end) {
        return NULL;
    }
    while (lo < hi) { /* first symbol after addr */
        uint64_t mid = (lo + hi) / 2;

        if (ksyms[mid].offset <= addr - KERNEL_VMA) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (!lo) {
        return NULL;
    }
    *offset = addr - KERNEL_VMA - ksyms[lo - 1].offset;
    return ksyms_names + ksyms[lo - 1].name;
}
