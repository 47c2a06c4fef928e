# SPDX-License-Identifier: MIT
# make bench: what bench.py needs beside the kernel, the image's parts and the guests.
bench-prerequisites += $(addprefix $(B)/payloads/,$(addsuffix .elf,$(bench-payloads) hello alu-checksum)) $(B)/bench/tb-count.so

# A plugin for the machine's QEMU, run by tests/bench/linux.py.
$(B)/bench/tb-count.so: tests/bench/tb-count.c
	@mkdir -p $(@D)
	$(call say,PLUGIN )
	$(Q)$(CC) -std=gnu11 $(WARN) -O2 -fPIC -shared $< -o $@
