# SPDX-License-Identifier: MIT
kernel-objs += kernel/lib/conf.o kernel/lib/elf.o kernel/lib/bzimage.o kernel/lib/cpio.o kernel/lib/symbols.o
kernel-objs += kernel/lib/string.o kernel/lib/printf.o kernel/lib/log.o
kernel-objs += kernel/head.o kernel/pvh-entry.o kernel/pvh.o kernel/config.o kernel/main.o kernel/memory.o kernel/mm-host.o \
               kernel/cpu.o kernel/trap-entry.o kernel/trap.o kernel/enter.o kernel/irq.o kernel/calibrate.o \
               kernel/printk.o kernel/panic.o kernel/exit.o kernel/stat.o \
               kernel/load.o kernel/load-elf.o kernel/load-linux.o kernel/acpi.o kernel/native.o kernel/native-jump.o kernel/monitor.o
kernel-objs += kernel/run.o kernel/guest-symbols.o kernel/machine.o kernel/dbt-host.o kernel/vcpu-host.o kernel/guest-memory.o kernel/fault.o kernel/monitor-guest.o kernel/monitor-machine.o kernel/self-check.o kernel/guest-counters.o kernel/profile.o kernel/nmi-samples.o kernel/kernel-symbols.o
kernel-objs += kernel/vcpu/cpuid.o kernel/vcpu/excp.o kernel/vcpu/far.o kernel/vcpu/flags.o kernel/vcpu/int.o \
               kernel/vcpu/io.o kernel/vcpu/iret.o kernel/vcpu/mem.o kernel/vcpu/msr.o kernel/vcpu/reset.o \
               kernel/vcpu/seg.o kernel/vcpu/segcheck.o kernel/vcpu/sensitive.o kernel/vcpu/syscall.o \
               kernel/vcpu/sysreg.o kernel/vcpu/tables.o kernel/vcpu/x87.o
kernel-objs += kernel/monitor-debug.o kernel/guest-debug.o kernel/monitor-snapshot.o kernel/snapshot.o kernel/fp-state.o kernel/framebuffer.o

# Structure offsets for assembly, generated from C.
$(B)/gen/asm-offsets.h: kernel/asm-offsets.c
	@mkdir -p $(@D)
	$(CC) $(BARE_CFLAGS) -MT $@ -MF $(B)/gen/asm-offsets.d -S $< -o $(B)/gen/asm-offsets.s
	sed -n 's/.*\.ascii[^"]*"->\([A-Z0-9_]*\) \$$\([0-9]*\)".*/#define \1 \2/p' $(B)/gen/asm-offsets.s >$@
$(addprefix $(B)/bare/kernel/,trap-entry.o enter.o native-jump.o): $(B)/gen/asm-offsets.h

# The virtual machine's DSDT as bytes of a C array.
$(B)/gen/acpi-dsdt.inc: kernel/acpi-dsdt.asl
	@mkdir -p $(@D)
	$(call say,IASL   )
	$(Q)iasl -p $(B)/gen/acpi-dsdt -tc $< >$(B)/gen/acpi-dsdt.log || { cat $(B)/gen/acpi-dsdt.log; exit 1; }
	$(Q)sed -n 's|^ *\(0x.*\)/\*.*|\1|p' $(B)/gen/acpi-dsdt.hex >$@
$(B)/bare/kernel/acpi.o $(B)/host/kernel/acpi.o: $(B)/gen/acpi-dsdt.inc
