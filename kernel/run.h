/* SPDX-License-Identifier: MIT */
/* mode = translate: the virtual machine as a whole, and its one CPU. */
#ifndef KERNEL_RUN_H
#define KERNEL_RUN_H

#include "dbt/cpu.h"
#include "kernel/lib/conf.h"
#include "kernel/load.h"
#include "mm/walk.h"

/* The one virtual CPU. */
struct CPUState *vcpu0(void);

/* Run the loaded guest to its end and print why it ended. screen: the host's. Returns the value for port 0xf4. */
int run_guest(const struct conf *conf, const struct load *load, const struct boot_framebuffer *screen);

/* The paging registers of the guest as the walker wants them. */
void vcpu_paging(const struct CPUX86State *env, struct guest_paging *gp);

/* ---- guest-memory.c ---- */

/*
 * [ram, ram + len), len > 0, has been written by something else than translated code: dirty bits are set, translations of the
 * bytes die. Every such writer calls it: exception frames and other stores made for the guest, the page walk, the monitor.
 */
void guest_ram_written(ram_addr_t ram, uint64_t len);

/* ---- machine.c: the guest's devices and their time ---- */

/* Power on, and start the tick. */
void machine_init(struct CPUState *cpu, const struct conf *conf);
/* The run is over: the console is the monitor's. */
void machine_stop(void);
/* The devices' state, and their clock: after a load it goes on from where it was saved. 0, or -EINVAL if the state is not one. */
struct vmachine_state;
void machine_save(struct vmachine_state *state);
int machine_load(const struct vmachine_state *state);
/* What is typed is the monitor's (true), or the guest's again. */
void machine_take_console(bool taken);
/* The INTA cycle: the vector that the guest's PIC delivers. */
int machine_irq_ack(void);
/* To look at, between two instructions of the guest. */
struct vmachine;
const struct vmachine *machine_devices(void);
uint32_t machine_inport(uint16_t port, unsigned size);
void machine_outport(uint16_t port, unsigned size, uint32_t value);

/* ---- guest-counters.c ---- */

/* What the guest reads at the counter port (docs/payload-abi.md): a counter of vcpu0, or the checkers' verdict. */
uint32_t guest_counter(void *opaque, uint32_t index);

/* ---- mm-host.c ---- */

/* Before ring 3 is entered: let CR3 hold the root, with no stale translation in the TLB. */
void host_load_root(hpa_t root);

/* ---- dbt-host.c ---- */

/* Frames for the code cache of cache_size bytes, tables and vCPU page, mapped in both views. 0 or -ENOMEM. */
int dbt_host_init(struct CPUState *cpu, uint64_t cache_size);

/* ---- monitor-guest.c ---- */

/* Add the commands that show the guest to the monitor. */
void monitor_guest_init(void);

/* ---- monitor-machine.c ---- */

/* Add the commands that show its address spaces and devices. */
void monitor_machine_init(void);

/* ---- fault.c ---- */

/* 0 or -ENOMEM. */
int fault_init(void);

#endif
