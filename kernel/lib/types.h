/* SPDX-License-Identifier: MIT */
/* Base types. Addresses say their kind by type and name; all are plain 64-bit integers. */
#ifndef KERNEL_LIB_TYPES_H
#define KERNEL_LIB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ul
#define PAGE_MASK  (~(PAGE_SIZE - 1))

typedef uint64_t gva_t;      /* guest virtual */
typedef uint64_t gpa_t;      /* guest physical */
typedef uint64_t hpa_t;      /* host physical */
typedef uint64_t ram_addr_t; /* offset in guest RAM (the RAMBlock), as in QEMU */
#define RAM_ADDR_INVALID (~(ram_addr_t)0)

#define ARRAY_SIZE(a)       (sizeof(a) / sizeof((a)[0]))
#define ALIGN_DOWN(x, a)    ((x) & ~((__typeof__(x))(a)-1))
#define ALIGN_UP(x, a)      ALIGN_DOWN((x) + (__typeof__(x))(a)-1, a)
#define MIN(a, b)           ((a) < (b) ? (a) : (b))
#define MAX(a, b)           ((a) > (b) ? (a) : (b))
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#define likely(x)           __builtin_expect(!!(x), 1)
#define unlikely(x)         __builtin_expect(!!(x), 0)
#define BIT(n)              (1ul << (n))

#endif
