/* SPDX-License-Identifier: MIT */
/* Samples of the monitor's own PC, taken by NMIs, since interrupts are off in the monitor: where in it the time goes. */
#ifndef KERNEL_NMI_SAMPLES_H
#define KERNEL_NMI_SAMPLES_H

#include "kernel/lib/types.h"

/* Begin sampling (997 NMIs a second, which keeps out of step with the tick); end it. False if the machine has no local APIC. */
bool nmi_samples_start(void);
void nmi_samples_stop(void);
/* The prompt is open (or closed): it is not what is to be measured. */
void nmi_samples_pause(bool paused);
void nmi_samples_clear(void);
/* The functions found most, a line each, and the share of the monitor in all samples; nothing if there are none. */
void nmi_samples_print(void);

/* NMI context: rip was interrupted, of ring 3 or of the monitor. */
void nmi_sample(uint64_t rip, bool ring3);

#endif
