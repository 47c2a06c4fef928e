/* SPDX-License-Identifier: MIT */
/* Guest code in bulk: the .text of an ELF file. */
#ifndef TESTS_BENCH_HOSTED_TEXT_H
#define TESTS_BENCH_HOSTED_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Print the message and end the program. */
_Noreturn void die(const char *what, const char *detail);
/* Read a whole file of less than max bytes; its length. */
size_t load_file(const char *path, void *at, size_t max);
/* Copy .text, at most max bytes of it, to `at`; its length. */
size_t load_text(const char *path, uint8_t *at, size_t max);

#endif
