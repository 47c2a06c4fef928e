/* SPDX-License-Identifier: MIT */
/* The configuration of this boot: defaults, then notdirty.conf, then "key=value" words of the boot
 * command line. */
#ifndef KERNEL_CONFIG_H
#define KERNEL_CONFIG_H

#include "boot/boot-info.h"
#include "kernel/lib/conf.h"

/* 0, or -EINVAL after printing one line that names the place and the mistake. */
int config_read(const struct boot_info *bi, struct conf *conf);

#endif
