/* SPDX-License-Identifier: MIT */
/* Checksums and invariants of the monitor's own memory. Changes nothing. */
#include "kernel/self-check.h"

#include "dbt/tb.h"
#include "kernel/image.h"
#include "kernel/lib/log.h"
#include "kernel/run.h"
#include "mm/kmap.h"
#include "mm/layout.h"
#include "mm/shadow.h"

/* Written by self_check_init(). */
static uint64_t image_sum;

/* FNV-1a over 8-byte words; the image's parts are page-aligned. */
static uint64_t checksum(const char *start, const char *end)
{
    uint64_t h = 0xcbf29ce484222325;

    for (const uint64_t *p = (const uint64_t *)start; p < (const uint64_t *)end; p++) {
        h = (h ^ *p) * 0x100000001b3;
    }
    return h;
}

static uint64_t sum_image(void)
{
    return checksum(text_start, text_end) ^ checksum(rodata_start, rodata_end);
}

void self_check_init(void)
{
    image_sum = sum_image();
}

static int expect_permission(const char *what, uint64_t va, int wanted)
{
    hpa_t hpa;
    int have = kmap_query(va, &hpa);

    if (have != wanted) {
        printk("self-check: %s at %#lx has permissions %d, expected %d\n", what, va, have, wanted);
        return 1;
    }
    return 0;
}

int self_check(void)
{
    int bad = 0;

    if (sum_image() != image_sum) {
        printk("self-check: the monitor's code or constants have changed\n");
        bad++;
    }
    bad += expect_permission("text", (uint64_t)text_start, KMAP_X);
    bad += expect_permission("rodata", (uint64_t)rodata_start, 0);
    bad += expect_permission("data", (uint64_t)data_start, KMAP_W);
    bad += expect_permission("page 0", 0, -1);
    bad += tb_maint_check(vcpu0());
    bad += shadow_check();
    return bad;
}
