# SPDX-License-Identifier: MIT
# Rules only; what is built is in the list.mk of each folder. Nothing is written outside build/.
CC      := $(CROSS_COMPILE)gcc
LD      := $(CROSS_COMPILE)ld
OBJCOPY := $(CROSS_COMPILE)objcopy
PYTHON  := python3
B       := build

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

WARN := -Wall -Wextra -Werror -Wshadow -Wundef -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wno-unused-parameter
STD  := -std=gnu11 -g -MMD -MP -I. -I$(B)/gen

# Bare metal: linked at KERNEL_VMA, outside the range of -mcmodel=kernel, hence position-independent code, statically linked.
# The FP and vector registers belong to the guest.
BARE_CFLAGS := $(STD) $(WARN) -O2 -ffreestanding -fno-strict-aliasing -fpie -fvisibility=hidden -mno-red-zone \
               -mgeneral-regs-only -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables \
               -fno-omit-frame-pointer -fno-tree-loop-distribute-patterns
# Host tests and the hosted build.
HOST_CFLAGS := $(STD) $(WARN) -O1 -fno-strict-aliasing -fno-omit-frame-pointer -fsanitize=address,undefined \
               -fno-sanitize-recover=undefined -D_GNU_SOURCE
HOST_LDFLAGS := -fsanitize=address,undefined

kernel-objs :=
host-tests  :=
include kernel/list.mk dbt/list.mk mm/list.mk drivers/list.mk boot/list.mk tests/list.mk

# --- one object per (source, environment) ---
$(B)/bare/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(BARE_CFLAGS) -c $< -o $@
$(B)/bare/%.o: %.S
	@mkdir -p $(@D)
	$(CC) $(BARE_CFLAGS) -D__ASSEMBLER__ -c $< -o $@
$(B)/host/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -c $< -o $@
$(B)/host/%.o: %.S
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -D__ASSEMBLER__ -c $< -o $@

# --- host tests: <name>-objs, <name>-libs in tests/list.mk ---
define host_test_rule
$(B)/tests/$(1): $(addprefix $(B)/host/,$($(1)-objs))
	@mkdir -p $$(@D)
	$(CC) $(HOST_LDFLAGS) $($(1)-ldflags) $$^ -o $$@ $($(1)-libs) -lcmocka
endef
$(foreach t,$(host-tests),$(eval $(call host_test_rule,$(t))))

.PHONY: help clean check host-tests kernel
help:
	@echo "make run | test | check | image | bench | clean   (variables: GUEST INITRD CMDLINE MEM MODE SMC LOG TIMEOUT QEMU_EXTRA)"

host-tests: $(addprefix $(B)/tests/,$(host-tests))

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
