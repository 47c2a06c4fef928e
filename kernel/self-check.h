/* SPDX-License-Identifier: MIT */
/* Is the monitor still what it was? For the end of every run: no guest may have changed any of it. */
#ifndef KERNEL_SELF_CHECK_H
#define KERNEL_SELF_CHECK_H

/* Remember what must not change. After the image has been mapped, before the guest runs. */
void self_check_init(void);
/*
 * Compare: text and read-only data by checksum, page permissions of the image and the windows that ring 3 sees, TB lists and
 * shadow tables by their invariants. Returns the number of violations, each printed.
 */
int self_check(void);

#endif
