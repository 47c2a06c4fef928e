# SPDX-License-Identifier: MIT
# The suites (docs/suites.md): our own programs, the kernel's selftests, and the initramfs that holds them beside Debian's programs.
suite-programs := compat fault-state jit mapping step threads timers
# The 64-bit programs of tools/testing/selftests/x86; amx wants a CPU with AMX and is one of them all the same.
suite-selftests := amx check_initial_reg_state corrupt_xstate_header fsgsbase fsgsbase_restore ioperm iopl ldt_gdt mov_ss_trap \
                   ptrace_syscall sigaltstack sigreturn sigtrap_loop single_step_syscall syscall_arg_fault syscall_nt \
                   syscall_numbering sysret_rip sysret_ss_attrs test_mremap_vdso test_vsyscall

S := $(B)/suites
suites-media: media $(B)/guests/vmlinuz-cloud $(S)/suites.cpio

# What the sample needs: all but the selftests, whose source is a package of 140 MB.
suites-sample: media $(B)/guests/vmlinuz-cloud $(S)/sample.cpio
test-prerequisites += suites-sample

# SUITES: arguments of tests/suites/run.py. Without any, another kernel is booted as well.
SUITES ?=
suites: setup
	@$(MAKE) --no-print-directory suites-media
	@$(PYTHON) tests/suites/run.py --build $(B) $(SUITES)
ifeq ($(SUITES),)
	@$(MAKE) --no-print-directory $(B)/guests/vmlinuz-amd64 $(B)/guests/initramfs-shell.cpio
	@$(PYTHON) tests/system/run.py --build $(B) -j1 -k shell/generic-kernel
endif
.PHONY: suites suites-media suites-sample

$(S)/programs/%: tests/suites/programs/%.c tests/suites/programs/check.h
	@mkdir -p $(@D)
	$(call say,SUITE  )
	$(Q)$(CC) $(WARN) -std=gnu11 -O1 -D_GNU_SOURCE -pthread -static $< -o $@

# What of Debian's kernel source the selftests need; never part of this project.
$(S)/linux/.unpacked: boot/fetch-package.sh
	@mkdir -p $(@D)
	$(call say,FETCH  )
	$(Q)boot/fetch-package.sh linux-source-6.1 $(S)/linux-source
	$(Q)tar -xJf $(S)/linux-source/usr/src/linux-source-6.1.tar.xz -C $(S)/linux --strip-components=1 --wildcards \
	    '*/tools/testing/selftests/x86/*' '*/tools/testing/selftests/*.h' '*/arch/x86/include/asm/desc_defs.h'
	$(Q)rm -rf $(S)/linux-source
	$(Q)touch $@

selftests-dir := $(S)/linux/tools/testing/selftests/x86
selftest-extra-sysret_ss_attrs := $(selftests-dir)/thunks.S
selftest-extra-check_initial_reg_state := -Wl,-ereal_start -static
$(S)/x86/%: $(S)/linux/.unpacked
	@mkdir -p $(@D)
	$(call say,SUITE  )
	$(Q)$(CC) -O2 -std=gnu99 -pthread -no-pie -w -DCAN_BUILD_64 $(selftests-dir)/$*.c $(selftest-extra-$*) -o $@ -lrt -ldl

sample-binaries := $(suite-programs:%=$(S)/programs/%)
suites-binaries := $(sample-binaries) $(suite-selftests:%=$(S)/x86/%)
$(S)/%.list: tests/suites/list.mk
	@mkdir -p $(@D)
	$(Q)for f in $($*-binaries); do echo "file /suites/$${f##*/} $(CURDIR)/$$f 755"; done >$@

$(S)/sample.cpio: $(sample-binaries)
$(S)/suites.cpio: $(suites-binaries)
$(S)/%.cpio: tests/suites/suites.list $(S)/%.list $(initramfs-files) $(wildcard tests/suites/scripts/*) \
             $(addprefix tests/suites/,init passwd group)
	$(call say,CPIO   )
	$(Q)$(PYTHON) boot/mkinitramfs.py --packages $(B)/packages -o $@ tests/suites/suites.list $(S)/$*.list
