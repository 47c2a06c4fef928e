/* SPDX-License-Identifier: MIT */
/* The cases of smc-random that have a file of their own. */
#ifndef SMC_RANDOM_H
#define SMC_RANDOM_H

/* Code and data on the same pages, seen at several addresses; needs paging_init(). */
void mixed(void);

#endif
