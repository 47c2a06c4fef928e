/* SPDX-License-Identifier: MIT */
/*
 * A naive MMU, written level by level from SDM 3A 4.5 to 4.7, with nothing in common with mm/: the
 * oracle for the guest walk and the hardware that walks shadow and kernel tables in tests. Changes
 * nothing.
 */
#ifndef TESTS_HOST_MMU_MODEL_H
#define TESTS_HOST_MMU_MODEL_H

#include <stdbool.h>
#include <stdint.h>

struct mmu_model {
    uint64_t (*read)(uint64_t addr); /* physical memory, 8 bytes */
    uint64_t cr3;
    bool wp, nxe, smep, pge;
    unsigned maxphyaddr;
};

struct mmu_access {
    bool write, user, fetch;
};

struct mmu_result {
    bool ok;
    uint32_t error_code; /* of the #PF if not ok */
    unsigned page_level; /* 1, 2, 3 */
    uint64_t addr;
    bool writable; /* at this privilege */
    bool user, nx, dirty, global;
    unsigned entries; /* passed on the way, from the top */
    uint64_t entry_addr[4];
    uint64_t entry[4];
};

struct mmu_result mmu_model_walk(const struct mmu_model *m, uint64_t va, struct mmu_access access);

#endif
