# SPDX-License-Identifier: MIT
# make bench: what bench.py needs beside the kernel, the image's parts and the guests.
bench-prerequisites += $(addprefix $(B)/payloads/,$(addsuffix .elf,$(bench-payloads) bench-work hello alu-checksum)) \
                       $(B)/bench/tb-count.so $(B)/bench/mix-count.so $(addprefix $(B)/bench/,work.bin work-linux hosted-bench hosted-scale)

# Plugins for the machine's QEMU, run by tests/bench/linux.py and mix.py.
$(B)/bench/%-count.so: tests/bench/%-count.c tests/bench/mark.h
	@mkdir -p $(@D)
	$(call say,PLUGIN )
	$(Q)$(CC) -std=gnu11 $(WARN) -I. -O2 -fPIC -shared $< -o $@

# The workloads: the same objects in the payload, in the image for the hosted build and in the Linux program.
WORK_CFLAGS := $(STD) $(WARN) -O2 -ffreestanding -fno-strict-aliasing -fno-pic -fno-pie -mno-red-zone -ffp-contract=off \
               -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables \
               $(call cc-flag,-fno-tree-loop-distribute-patterns)
work-objs := $(addprefix $(B)/bench/work/,table.o integer.o vector.o calls.o strings.o)
$(B)/bench/work/%.o: tests/bench/workloads/%.c
	@mkdir -p $(@D)
	$(call say,WORK   )
	$(Q)$(CC) $(WORK_CFLAGS) -c $< -o $@
$(B)/bench/work/%.o: tests/bench/hosted/%.c
	@mkdir -p $(@D)
	$(call say,WORK   )
	$(Q)$(CC) $(WORK_CFLAGS) -c $< -o $@
$(B)/bench/work/%.o: tests/bench/hosted/%.S
	@mkdir -p $(@D)
	$(call say,WORK   )
	$(Q)$(CC) $(WORK_CFLAGS) -c $< -o $@

$(B)/payloads/bench-work.elf: $(B)/payloads/bench-work/bench-work.o $(work-objs) $(B)/payloads/lib.a tests/payloads/lib/payload.lds
	$(call say,PAYLOAD)
	$(Q)$(LD) -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments --build-id=none \
	    -T tests/payloads/lib/payload.lds -o $@ $(filter %.o,$^) $(B)/payloads/lib/crt0.o $(B)/payloads/lib.a
$(B)/bench/work.elf: tests/bench/hosted/work.lds $(addprefix $(B)/bench/work/,work-entry.o work-image.o) $(work-objs)
	$(call say,LD     )
	$(Q)$(LD) -nostdlib -static -z noexecstack --no-warn-rwx-segments --build-id=none -T $< -o $@ $(filter %.o,$^)
$(B)/bench/work.bin: $(B)/bench/work.elf
	$(Q)$(OBJCOPY) -O binary --set-section-flags .data=alloc,load,contents $< $@
$(B)/bench/work-linux: tests/bench/hosted/work-linux.c $(work-objs)
	$(call say,HOSTLD )
	$(Q)$(CC) $(STD) $(WARN) -O2 -static -no-pie $(filter %.c %.o,$^) -o $@

# The hosted build as it is meant to be measured: optimized, without sanitizers.
BENCH_HOST_CFLAGS := $(STD) $(WARN) -O2 -fno-strict-aliasing -fno-omit-frame-pointer -D_GNU_SOURCE
$(B)/bench/host/%.o: %.c
	@mkdir -p $(@D)
	$(call say,HOSTCC )
	$(Q)$(CC) $(BENCH_HOST_CFLAGS) -c $< -o $@
$(B)/bench/host/%.o: %.S
	@mkdir -p $(@D)
	$(call say,HOSTAS )
	$(Q)$(CC) $(BENCH_HOST_CFLAGS) -D__ASSEMBLER__ -c $< -o $@
hosted-common-objs := tests/bench/hosted/text.o $(hosted-objs)
hosted-bench-objs := tests/bench/hosted/hosted-bench.o $(addprefix tests/bench/workloads/,table.o integer.o vector.o calls.o strings.o)
$(B)/bench/hosted-bench: $(addprefix $(B)/bench/host/,$(hosted-bench-objs) $(hosted-common-objs))
$(B)/bench/hosted-scale: $(addprefix $(B)/bench/host/,tests/bench/hosted/hosted-scale.o $(hosted-common-objs))
$(B)/bench/hosted-bench $(B)/bench/hosted-scale:
	$(call say,HOSTLD )
	$(Q)$(CC) $^ -o $@

# The Linux workloads: an initramfs on top of the default guest's, with programs of Debian.
$(B)/bench/timed: tests/bench/guest/timed.c
	@mkdir -p $(@D)
	$(call say,HOSTLD )
	$(Q)$(CC) $(STD) $(WARN) -O2 -static $< -o $@
$(B)/bench/compile.c: kernel/lib/printf.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -I. -ffreestanding -E -P $< -o $@
$(B)/bench/linux.cpio: boot/mkinitramfs.py $(wildcard boot/initramfs/* tests/bench/guest/*) \
                       $(B)/bench/timed $(B)/bench/work-linux $(B)/bench/compile.c
	$(call say,CPIO   )
	$(Q)$(PYTHON) boot/mkinitramfs.py --packages $(B)/packages -o $@ boot/initramfs/shell.list tests/bench/guest/linux.list
bench-prerequisites += $(B)/bench/linux.cpio
