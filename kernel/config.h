/* SPDX-License-Identifier: MIT */
/* The configuration of this boot: defaults, then notdirty.conf, then "key=value" words of the boot
 * command line. */
#ifndef KERNEL_CONFIG_H
#define KERNEL_CONFIG_H

#include "boot/boot-info.h"
#include "kernel/lib/conf.h"

#define CONFIG_MSG_MAX 400

/*
 * 0, or -EINVAL with a line in msg that names the place and the mistake. Prints nothing: the PVH entry reads the
 * configuration for the names of files, and the kernel reads it again and shows the mistake.
 */
int config_read(const struct boot_info *bi, struct conf *conf, char msg[CONFIG_MSG_MAX]);

#endif
