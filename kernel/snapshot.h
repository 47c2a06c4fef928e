/* SPDX-License-Identifier: MIT */
/* One snapshot of the guest in memory: virtual CPU with FP state, devices, RAM without its zero pages. Commands of the monitor;
 * each says in one line what came of it. The guest is paused between two instructions. */
#ifndef KERNEL_SNAPSHOT_H
#define KERNEL_SNAPSHOT_H

void snapshot_save(void);
void snapshot_restore(void);

/* monitor-snapshot.c: add the commands to the monitor. */
void monitor_snapshot_init(void);

#endif
