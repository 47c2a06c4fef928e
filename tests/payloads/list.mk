# SPDX-License-Identifier: MIT
# Guest payloads: one folder per property; all its sources are linked with the library into build/payloads/<folder>.elf.
payloads := alu-checksum entry-state exceptions exit-status fpu-checksum halt-forever hello hostile jump-nowhere page-fault single-step \
            spin-forever stack-fault string-fault trap-stack triple-fault \
            control-flow address-spaces paging rip-relative timer user-mode \
            smc-alias smc-chain smc-flush smc-imprecise smc-interrupt smc-mixed-page smc-next-insn smc-own-insn smc-page-edge smc-random \
            smc-rep-string smc-store-forms smc-straddle-rmw smc-write-fault smc-decoder smc-descriptor smc-device-write \
            smc-monitor smc-serialize smc-state-image smc-fields

payloads += debug-regs debug-target dirty-target framebuffer

payload-lib-objs := crt0.o start.o console.o case.o fpu.o string.o trap-entry.o trap.o page.o irq.o snippet.o random-code.o random-run.o smc.o printf.o

PAYLOAD_CFLAGS := $(STD) $(WARN) -O2 -ffreestanding -fno-strict-aliasing -fno-pic -fno-pie -mno-red-zone \
                  -mgeneral-regs-only -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables \
                  $(call cc-flag,-fno-tree-loop-distribute-patterns)

test-prerequisites += payloads $(B)/guests/memtest86+x64.bin $(B)/guests/vmlinuz-cloud $(B)/guests/initramfs-shell.cpio $(B)/guests/vmlinuz-cloud.map
.PHONY: payloads
payloads: $(payloads:%=$(B)/payloads/%.elf)

$(B)/payloads/%.o: tests/payloads/%.c
	@mkdir -p $(@D)
	$(call say,PAYLOAD)
	$(Q)$(CC) $(PAYLOAD_CFLAGS) -c $< -o $@
$(B)/payloads/%.o: tests/payloads/%.S
	@mkdir -p $(@D)
	$(call say,PAYLOAD)
	$(Q)$(CC) $(PAYLOAD_CFLAGS) -c $< -o $@
$(B)/payloads/lib/printf.o: kernel/lib/printf.c
	@mkdir -p $(@D)
	$(call say,PAYLOAD)
	$(Q)$(CC) $(PAYLOAD_CFLAGS) -c $< -o $@
$(B)/payloads/lib.a: $(payload-lib-objs:%=$(B)/payloads/lib/%)
	@rm -f $@
	$(call say,PAYLOAD)
	$(Q)$(CROSS_COMPILE)ar rcs $@ $^

payload-objs = $(patsubst tests/payloads/%,$(B)/payloads/%,$(addsuffix .o,$(basename \
               $(wildcard tests/payloads/$(1)/*.c tests/payloads/$(1)/*.S))))
define payload_rule
$(B)/payloads/$(1).elf: $(call payload-objs,$(1)) $(B)/payloads/lib.a tests/payloads/lib/payload.lds
	$$(call say,PAYLOAD)
	$(Q)$(LD) -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments --build-id=none \
	    -T tests/payloads/lib/payload.lds -o $$@ $$(filter %.o,$$^) $(B)/payloads/lib/crt0.o $(B)/payloads/lib.a
endef
$(foreach p,$(payloads),$(eval $(call payload_rule,$(p))))

# What the benchmarks run.
bench-payloads := bench-nano bench-smc
$(foreach p,$(bench-payloads),$(eval $(call payload_rule,$(p))))
