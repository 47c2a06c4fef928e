/* SPDX-License-Identifier: MIT */
/* Marks round a piece of work that a plugin of the machine's QEMU sees (mix-count.c): two nops that no compiler makes, nopl disp32(%rax). */
#ifndef TESTS_BENCH_MARK_H
#define TESTS_BENCH_MARK_H

#define MARK_BEGIN 0x0f, 0x1f, 0x80, 0x1d, 0xbe, 0x91, 0x00
#define MARK_END   0x0f, 0x1f, 0x80, 0x1d, 0xe0, 0xd0, 0x00
#define MARK_LEN   7

static inline void mark_begin(void)
{
    __asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x1d, 0xbe, 0x91, 0x00" ::: "memory");
}

static inline void mark_end(void)
{
    __asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x1d, 0xe0, 0xd0, 0x00" ::: "memory");
}

#endif
