/* SPDX-License-Identifier: MIT */
/*
 * Sampling of writes in the hosted build (dbt/host.h: tlb_sample_dirty), where no dirty bit can be read: a sampled page is
 * read-only until it is written, then writable until the next sample. Must not touch pages that are not sampled.
 */
#include <sys/mman.h>

#include "dbt/host.h"
#include "kernel/lib/log.h"
#include "tests/host/hosted.h"

enum sample { NOT_SAMPLED, SAMPLE_CLEAN, SAMPLE_DIRTY };

/* enum sample by page, the low window first. Owner: the one thread, and its signal handlers while it runs guest code. */
static uint8_t samples[2 * HOSTED_WINDOW_SIZE / PAGE_SIZE];

static uint8_t *sample_of(tb_page_addr_t ram)
{
    uint64_t page = (ram % FAR_RAM_BASE) >> PAGE_SHIFT;

    return &samples[page + (ram >= FAR_RAM_BASE ? HOSTED_WINDOW_SIZE / PAGE_SIZE : 0)];
}

static void set_writable(tb_page_addr_t ram, bool writable)
{
    if (mprotect((void *)code_page_bytes(ram & PAGE_MASK), PAGE_SIZE, PROT_READ | (writable ? PROT_WRITE : 0)) < 0) {
        panic("mprotect of a sampled page failed");
    }
}

bool hosted_sample_written(uint64_t va)
{
    tb_page_addr_t ram = probe_page_addr_data(NULL, va);

    if (ram == TB_PAGE_ADDR_INVALID || *sample_of(ram) != SAMPLE_CLEAN) {
        return false;
    }
    *sample_of(ram) = SAMPLE_DIRTY;
    set_writable(ram, true);
    return true;
}

void hosted_samples_written(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
        samples[i] = samples[i] == SAMPLE_CLEAN ? SAMPLE_DIRTY : samples[i];
    }
}

void tlb_sample_dirty(tb_page_addr_t page_addr, bool on)
{
    if (*sample_of(page_addr) == SAMPLE_CLEAN) {
        set_writable(page_addr, true);
    }
    *sample_of(page_addr) = on ? SAMPLE_DIRTY : NOT_SAMPLED;
}

bool tlb_test_and_clear_dirty(tb_page_addr_t page_addr)
{
    uint8_t *sample = sample_of(page_addr);
    bool dirty = *sample == SAMPLE_DIRTY;

    if (dirty) {
        *sample = SAMPLE_CLEAN;
        set_writable(page_addr, false);
    }
    return dirty;
}
