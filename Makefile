# SPDX-License-Identifier: MIT
# Rules only; what is built is in the list.mk of each folder. Nothing is written outside build/.
CC      := $(CROSS_COMPILE)gcc
LD      := $(CROSS_COMPILE)ld
NM      := $(CROSS_COMPILE)nm
OBJCOPY := $(CROSS_COMPILE)objcopy
PYTHON  := python3
B       := build

# One short line per step; V=1 shows the commands, -s nothing.
Q   := $(if $(V),,@)
say  = $(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),,@echo "  $(1) $@")

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

WARN := -Wall -Wextra -Werror -Wshadow -Wundef -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wno-unused-parameter
STD  := -std=gnu11 -g -MMD -MP -I. -I$(B)/gen

# The flag if the compiler takes it: gcc and clang differ in a few.
cc-flag = $(shell $(CC) -Werror $(1) -c -x c /dev/null -o /dev/null 2>/dev/null && echo $(1))

# Bare metal: linked at KERNEL_VMA, outside the range of -mcmodel=kernel, hence position-independent code, statically linked.
# The FP and vector registers belong to the guest.
BARE_CFLAGS := $(STD) $(WARN) -O2 -ffreestanding -fno-strict-aliasing -fpie -include kernel/lib/hidden.h -mno-red-zone \
               -mgeneral-regs-only -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables \
               -fno-omit-frame-pointer $(call cc-flag,-fno-tree-loop-distribute-patterns)
# Host tests and the hosted build.
HOST_CFLAGS := $(STD) $(WARN) -O1 -fno-strict-aliasing -fno-omit-frame-pointer -fsanitize=address,undefined \
               -fno-sanitize-recover=undefined -D_GNU_SOURCE
HOST_LDFLAGS := -fsanitize=address,undefined
# The UEFI application (gnu-efi): a shared object that objcopy turns into PE.
EFI_INC    := /usr/include/efi
EFI_LIB    := /usr/lib
EFI_CFLAGS := $(STD) $(WARN) -O2 -isystem $(EFI_INC) -isystem $(EFI_INC)/x86_64 -isystem $(EFI_INC)/protocol \
              -ffreestanding -fpic -fvisibility=hidden -fshort-wchar -mno-red-zone -fno-strict-aliasing \
              -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables \
              $(call cc-flag,-maccumulate-outgoing-args) $(call cc-flag,-fno-tree-loop-distribute-patterns) \
              -DGNU_EFI_USE_MS_ABI

kernel-objs :=
efi-objs    :=
host-tests  :=
include kernel/list.mk dbt/list.mk mm/list.mk drivers/list.mk boot/list.mk tests/list.mk

# --- one object per (source, environment) ---
$(B)/bare/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC     )
	$(Q)$(CC) $(BARE_CFLAGS) -c $< -o $@
$(B)/bare/%.o: %.S
	@mkdir -p $(@D)
	$(call say,AS     )
	$(Q)$(CC) $(BARE_CFLAGS) -D__ASSEMBLER__ -c $< -o $@
$(B)/host/%.o: %.c
	@mkdir -p $(@D)
	$(call say,HOSTCC )
	$(Q)$(CC) $(HOST_CFLAGS) -c $< -o $@
$(B)/host/%.o: %.S
	@mkdir -p $(@D)
	$(call say,HOSTAS )
	$(Q)$(CC) $(HOST_CFLAGS) -D__ASSEMBLER__ -c $< -o $@
$(B)/efi/%.o: %.c
	@mkdir -p $(@D)
	$(call say,EFICC  )
	$(Q)$(CC) $(EFI_CFLAGS) -c $< -o $@

# --- the kernel: linked twice, because its symbol table (for backtraces) is part of it ---
# Pass 1 has an empty table; the table comes last in the image, so pass 2 moves no code (checked below).
KERNEL_LDFLAGS := -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments -T linker.ld
kernel-bare    := $(addprefix $(B)/bare/,$(kernel-objs))
ksyms          := $(PYTHON) kernel/mksyms.py

$(B)/gen/ksyms-empty.S: kernel/mksyms.py
	@mkdir -p $(@D)
	$(call say,SYMS   )
	$(Q)$(ksyms) </dev/null >$@
$(B)/gen/ksyms.S: $(B)/kernel-pass1.elf kernel/mksyms.py
	$(call say,SYMS   )
	$(Q)$(NM) -n $< | $(ksyms) >$@
$(B)/gen/%.o: $(B)/gen/%.S
	$(call say,AS     )
	$(Q)$(CC) $(BARE_CFLAGS) -D__ASSEMBLER__ -c $< -o $@
$(B)/kernel-pass1.elf: $(kernel-bare) $(B)/gen/ksyms-empty.o linker.ld
	$(call say,LD     )
	$(Q)$(LD) $(KERNEL_LDFLAGS) $(filter %.o,$^) -o $@
$(B)/kernel.elf: $(kernel-bare) $(B)/gen/ksyms.o linker.ld
	$(call say,LD     )
	$(Q)$(LD) $(KERNEL_LDFLAGS) $(filter %.o,$^) -o $@
	@$(NM) -n $@ | $(ksyms) | cmp -s - $(B)/gen/ksyms.S || { echo "$@: the symbol table moved code"; rm $@; exit 1; }

# What the stick carries: without debug information, which the slow boot medium need not deliver.
$(B)/stick/kernel.elf: $(B)/kernel.elf
	@mkdir -p $(@D)
	$(call say,STRIP  )
	$(Q)$(OBJCOPY) --strip-debug $< $@

# --- the UEFI loader; ld -shared does not fail on undefined symbols, so that is checked ---
$(B)/efi/loader.so: $(addprefix $(B)/efi/,$(efi-objs))
	$(call say,LD     )
	$(Q)$(LD) -nostdlib -znocombreloc -znoexecstack --no-warn-rwx-segments -shared -Bsymbolic -T $(EFI_LIB)/elf_x86_64_efi.lds \
	    -L$(EFI_LIB) $(EFI_LIB)/crt0-efi-x86_64.o $^ -o $@ -lgnuefi
	@test -z "$$($(NM) -u $@)" || { $(NM) -u $@; rm $@; exit 1; }
$(B)/BOOTX64.EFI: $(B)/efi/loader.so
	$(call say,PE     )
	$(Q)$(OBJCOPY) -j .text -j .sdata -j .data -j .dynamic -j .dynsym -j .rel -j .rela -j '.rel.*' -j '.rela.*' -j .reloc \
	    --target efi-app-x86_64 --subsystem=10 $< $@

# --- what the stick carries ---
# Handed to the Python scripts in the environment: no quoting.
# The default guest is Debian's kernel with a shell; another one gets no initrd and the command line of memtest86+.
linux-guest := $(B)/guests/vmlinuz-cloud
GUEST   ?= $(linux-guest)
ifeq ($(GUEST),$(linux-guest))
INITRD  ?= $(B)/guests/initramfs-shell.cpio
SYMBOLS ?= $(B)/guests/vmlinuz-cloud.map
CMDLINE ?= console=ttyS0 nokaslr nopti mitigations=off noreplace-smp tsc=reliable panic=-1
else
INITRD  ?=
SYMBOLS ?=
CMDLINE ?= console=ttyS0,115200 nosmp
endif
MEM     ?= 256M
MODE    ?= translate
SMC     ?= protect
LOG     ?=
EXIT    ?= poweroff
TIMEOUT ?= 0
PVH     ?=
QEMU_EXTRA ?=
export PYTHONDONTWRITEBYTECODE := 1
export GUEST INITRD SYMBOLS CMDLINE MEM MODE SMC LOG EXIT TIMEOUT QEMU_EXTRA

content := boot/content.py $(GUEST) $(INITRD) $(SYMBOLS) $(B)/content.stamp

# Rewritten only when a variable has changed, so that what depends on it is made again exactly then.
$(B)/content.stamp: FORCE
	@mkdir -p $(@D)
	@$(PYTHON) boot/content.py --stamp $@
$(B)/notdirty.img: $(B)/BOOTX64.EFI $(B)/stick/kernel.elf boot/mkimage.py $(content)
	$(call say,IMAGE  )
	$(Q)$(PYTHON) boot/mkimage.py --loader $< --kernel $(B)/stick/kernel.elf -o $@
$(B)/bundle.cpio: boot/mkbundle.py $(content)
	$(call say,BUNDLE )
	$(Q)$(PYTHON) boot/mkbundle.py -o $@

# Guests that Debian has, fetched into build/ (nothing is installed in /boot).
$(addprefix $(B)/guests/,memtest86+x64.bin vmlinuz-cloud vmlinuz-amd64 vmlinuz-rt):
	$(call say,FETCH  )
	$(Q)boot/fetch-guest.sh $(@F) $@

# Initramfs archives: files and Debian packages, as lists in boot/initramfs say; initramfs-<name>.cpio is made from <name>.list.
initramfs-files := boot/mkinitramfs.py boot/mkbundle.py boot/fetch-package.sh $(wildcard boot/initramfs/*)
$(B)/guests/initramfs-%.cpio: boot/initramfs/%.list $(initramfs-files)
	@mkdir -p $(@D)
	$(call say,CPIO   )
	$(Q)$(PYTHON) boot/mkinitramfs.py --packages $(B)/packages -o $@ $<

# The kernel proper, unpacked: text for the decoder to prove itself on.
$(B)/guests/vmlinux: tests/host/extract-vmlinux.py $(B)/guests/vmlinuz-cloud
	$(call say,UNPACK )
	$(Q)$(PYTHON) $^ $@

# Its symbols, which the unpacked kernel carries for itself.
$(B)/guests/vmlinuz-cloud.map: boot/kallsyms.py $(B)/guests/vmlinux
	$(call say,SYMS   )
	$(Q)$(PYTHON) $^ $@

guests: $(B)/guests/memtest86+x64.bin $(B)/guests/vmlinuz-cloud $(B)/guests/initramfs-shell.cpio

# --- host tests: <name>-objs, <name>-libs in tests/list.mk ---
define host_test_rule
$(B)/tests/$(1): $(addprefix $(B)/host/,$($(1)-objs))
	@mkdir -p $$(@D)
	$$(call say,HOSTLD )
	$(Q)$(CC) $(HOST_LDFLAGS) $($(1)-ldflags) $$^ -o $$@ $($(1)-libs) -lcmocka
endef
$(foreach t,$(host-tests),$(eval $(call host_test_rule,$(t))))
host-programs := $(addprefix $(B)/tests/,$(host-tests))

.PHONY: FORCE help setup kernel efi media guests image bundle run test check host-tests bench bench-guard bench-accept clean print-dbt-objs
FORCE:

help:
	@cat boot/help.txt

setup:
	@boot/setup.sh --test

kernel: $(B)/kernel.elf
efi: $(B)/BOOTX64.EFI
media: $(B)/kernel.elf $(B)/stick/kernel.elf $(B)/BOOTX64.EFI
image: $(B)/notdirty.img
bundle: $(B)/bundle.cpio

# The runner prints the run's exit status; make itself can only say 0 or 2.
run:
	@boot/setup.sh
	@$(PYTHON) boot/content.py --check $(B)
	@$(MAKE) --no-print-directory $(if $(PVH),kernel bundle,image)
	@$(PYTHON) boot/run.py --build $(B) $(if $(PVH),--pvh)

host-tests: $(host-programs)

check: host-tests
	@$(PYTHON) tests/run-all.py $(host-programs) tests/bench/test-guard.py tests/test-content.py

test: setup
	@$(MAKE) --no-print-directory host-tests media $(test-prerequisites) $(B)/guests/vmlinux
	@$(PYTHON) tests/run-all.py "$(B)/tests/decode-diff elf $(B)/guests/vmlinux" $(host-programs) tests/bench/test-guard.py tests/test-content.py \
	    --stage tests/system/run.py --stage "tests/suites/run.py --sample"

# BENCH: parts of tests/bench/bench.py, all if empty. Parts whose guest is missing are skipped.
BENCH ?=
bench:
	@boot/setup.sh --bench
	@$(MAKE) --no-print-directory media $(bench-prerequisites)
	-@$(MAKE) --no-print-directory guests $(B)/guests/vmlinux
	@$(PYTHON) tests/bench/bench.py --build $(B) $(BENCH)

# The performance guard (.ci/run), and its new expectations.
guard-prerequisites := $(B)/kernel.elf $(B)/payloads/bench-work.elf $(B)/payloads/bench-nano.elf $(B)/payloads/bench-smc.elf
bench-guard: $(guard-prerequisites)
	@$(PYTHON) tests/bench/guard.py --build $(B)
bench-accept: $(guard-prerequisites)
	@$(PYTHON) tests/bench/guard.py --build $(B) --accept

# For .ci/checks.
print-dbt-objs:
	@echo $(addprefix $(B)/bare/,$(dbt-objs))

clean:
	rm -rf $(B)

-include $(shell find $(B) -path $(B)/packages -prune -o -type f -name '*.d' -print 2>/dev/null)
