/* SPDX-License-Identifier: MIT */
/*
 * The guest page walk, SDM vol. 3 ch. 4: 4-level long-mode paging with 4 KiB, 2 MiB and 1 GiB pages (5-level is hidden from
 * the guest). Exact #PF error codes, reserved bits, accessed and dirty bits set with compare-and-swap.
 */
#ifndef MM_WALK_H
#define MM_WALK_H

#include "kernel/lib/types.h"

/* What the walk depends on; a copy of the guest's control registers. CR0.PG and EFER.LMA are 1 (long mode). */
struct guest_paging {
    uint64_t cr0, cr3, cr4, efer;
    uint8_t maxphyaddr; /* bits; reserved-bit checks */
};

#define WALK_WRITE 0x1
#define WALK_USER  0x2 /* CPL 3 access */
#define WALK_FETCH 0x4
#define WALK_PROBE 0x8 /* do not set A/D bits */

struct walk_result {
    gpa_t gpa;           /* of the byte addressed */
    unsigned level;      /* 1 = 4 KiB, 2 = 2 MiB, 3 = 1 GiB */
    bool writable;       /* by this privilege (CR0.WP, U/S, R/W of all levels), for the present CPL */
    bool user;           /* U/S = 1 at all levels */
    bool dirty;          /* leaf D bit is set (after this walk) */
    bool nx;             /* NX at any level (EFER.NXE = 1) */
    bool global;
    uint32_t error_code; /* when the walk fails: #PF error code */
    uint64_t entry[5];   /* [4] down to [level], when it succeeds: the entries passed, after this walk */
};

/* Walk for an access at gva (canonical, the caller checks). 0, or -EFAULT with res->error_code set. Tables outside RAM read
 * as all-ones and so fault with RSVD. */
int guest_walk(const struct guest_paging *gp, gva_t gva, unsigned access, struct walk_result *res);

#endif
