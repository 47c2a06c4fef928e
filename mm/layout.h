/* SPDX-License-Identifier: MIT */
/*
 * The virtual memory map of the host page tables (docs/memory-map.md). All of PML4 slots 256-271 is ours in every root:
 * x86-64 Linux leaves it to hypervisors. In the top 1 GiB-aligned windows we take only what Linux documents as unused.
 *
 *   PML4[i]           range                                  who     what
 *   0..255,272..510   guest                                  user    guest pages, NX always, filled on fault
 *   256               ffff8000_00000000                      super   kernel image
 *   258..265          ffff8100_00000000                      super   physmap: all RAM, read-write, NX (image text read-only)
 *   266               ffff8500_00000000                      super   stacks with guard pages, device mappings
 *   511  PDPT[509]    ffffffff_40000000 - ffffffff_7fffffff  user    code cache (RX), slots (R), links (R)
 *   511  PDPT[511]    ffffffff_ffe00000 - ffffffff_ffffefff  user    look-up and store tables (R), vCPU page, aliases (RW)
 */
#ifndef MM_LAYOUT_H
#define MM_LAYOUT_H

#define KERNEL_VMA        0xffff800000000000
#define PHYSMAP_BASE      0xffff810000000000
#define PHYSMAP_SIZE      0x0000040000000000 /* 4 TiB, PML4[258..265] */
#define KSTACK_BASE       0xffff850000000000 /* stacks, 256 GiB */
#define KDEVICE_BASE      0xffff854000000000 /* device mappings, 256 GiB; addresses are chosen by kernel/ */
#define MONITOR_PML4_FIRST 256
#define MONITOR_PML4_LAST  271

#define CODE_CACHE_BASE   0xffffffff40000000
#define CODE_CACHE_MAX    0x0000000030000000 /* 768 MiB of code at most */
#define SLOTS_BASE        0xffffffff70000000
#define SLOTS_MAX         0x0000000008000000
#define LINKS_BASE        0xffffffff78000000 /* slots of the present link set; in the guest-user view only */
#define LINKS_SIZE        0x40000            /* 32768 jumps of user code between pages, 256 KiB */
#define USER_WINDOW_BASE  0xffffffffffe00000 /* 2 MiB hole at the top; the last page stays unmapped (ERR_PTR) */
#define JUMP_TABLE_ADDR   0xffffffffffe00000 /* 512 KiB */
#define JUMP_TABLE_SIZE   0x80000
#define VCPU_PAGE_ADDR    0xffffffffffe80000
#define STORE_ALIAS_ADDR  0xffffffffffe90000 /* always-writable aliases of guest pages, in pairs */
#define STORE_ALIAS_PAGES 128
#define STORE_TABLE_ADDR  0xfffffffffff20000 /* smc = check: which granules hold no code; 512 KiB */

#endif
