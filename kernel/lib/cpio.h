/* SPDX-License-Identifier: MIT */
/*
 * Reader of a "newc" cpio archive in memory: finds a file by name. The PVH bundle
 * (boot/mkbundle.py) is one.
 */
#ifndef KERNEL_LIB_CPIO_H
#define KERNEL_LIB_CPIO_H

#include <stddef.h>

/*
 * Find the regular file `name` (as FAT compares names, so that bundle and stick agree: case
 * does not count, '\\' is '/'; a leading "./" or "/" in the archive or in name is ignored) and give its content. 0; -ENOENT if the archive has no such file; -EINVAL if the archive
 * is damaged before it.
 */
int cpio_find(const void *archive, size_t len, const char *name, const void **data, size_t *size);

#endif
