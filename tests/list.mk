# SPDX-License-Identifier: MIT
include tests/payloads/list.mk
include tests/suites/list.mk

tb-maint-objs := dbt/tb-maint.o dbt/page-desc.o dbt/tb-hash.o dbt/tb-jmp.o dbt/tb-check.o dbt/page-state.o dbt/data-imm.o \
                 dbt/link-set.o dbt/link-jmp.o dbt/link-check.o dbt/store-table.o \
                 dbt/decode.o dbt/decode-plain.o dbt/decode-table.o tests/host/tb-fake.o tests/host/log.o
host-tests += test-tb test-tb-inval test-tb-smp test-tb-model test-page-state
test-page-state-objs := tests/host/test-page-state.o $(tb-maint-objs)
test-tb-objs := tests/host/test-tb.o $(tb-maint-objs)
test-tb-inval-objs := tests/host/test-tb-inval.o $(tb-maint-objs)
test-tb-smp-objs := tests/host/test-tb-smp.o $(tb-maint-objs)
test-tb-model-objs := tests/host/test-tb-model.o tests/host/tb-model.o $(tb-maint-objs)
host-tests += test-link-set
test-link-set-objs := tests/host/test-link-set.o $(tb-maint-objs)
host-tests += test-kernel-links
test-kernel-links-objs := tests/host/test-kernel-links.o dbt/kernel-links.o $(tb-maint-objs)

host-tests += test-store-value
test-store-value-objs := tests/host/test-store-value.o dbt/store-value.o dbt/decode.o dbt/decode-table.o tests/host/log.o

# the hosted build: dbt/ as a Linux process
hosted-objs = tests/host/dbt-host.o tests/host/hosted-check.o tests/host/hosted-sens.o tests/host/hosted-sample.o tests/host/enter.o tests/host/log.o kernel/lib/log.o $(dbt-objs)
host-tests += test-dbt
test-dbt-objs := tests/host/test-dbt.o tests/host/dbt-cases.o tests/host/diff.o $(hosted-objs)
host-tests += test-extent
test-extent-objs := tests/host/test-extent.o $(hosted-objs)
host-tests += test-store-site
test-store-site-objs := tests/host/test-store-site.o $(hosted-objs)
host-tests += test-check
test-check-objs := tests/host/test-check.o $(hosted-objs)
host-tests += test-dbt-random
test-dbt-random-objs := tests/host/test-dbt-random.o tests/host/diff.o $(hosted-objs)
host-tests += test-dbt-operands
test-dbt-operands-objs := tests/host/test-dbt-operands.o tests/host/operand-forms.o tests/host/operand-images.o tests/host/diff.o $(hosted-objs)
smc-objs = tests/host/smc-program.o tests/host/smc-stores.o tests/host/smc-run.o tests/host/diff.o $(hosted-objs)
host-tests += test-dbt-smc
test-dbt-smc-objs := tests/host/test-dbt-smc.o $(smc-objs)
host-tests += test-dbt-irq
test-dbt-irq-objs := tests/host/test-dbt-irq.o tests/host/dbt-cases.o $(smc-objs)
host-tests += test-dbt-swapgs
test-dbt-swapgs-objs := tests/host/test-dbt-swapgs.o $(hosted-objs)

host-tests += test-dbt-sti
test-dbt-sti-objs := tests/host/test-dbt-sti.o $(hosted-objs)
host-tests += test-dbt-flush
test-dbt-flush-objs := tests/host/test-dbt-flush.o $(smc-objs)

host-tests += test-guest-memory
test-guest-memory-objs := tests/host/test-guest-memory.o tests/host/mm-host.o kernel/guest-memory.o $(tb-maint-objs) $(mm-objs)
host-tests += test-frame test-ram test-walk test-kmap test-shadow test-shadow-model
test-frame-objs := tests/host/test-frame.o tests/host/mm-host.o tests/host/log.o mm/frame.o
test-ram-objs := tests/host/test-ram.o tests/host/log.o mm/ram.o
test-walk-objs := tests/host/test-walk.o tests/host/mmu-model.o tests/host/mm-host.o tests/host/log.o $(mm-objs)
test-kmap-objs := tests/host/test-kmap.o tests/host/mmu-model.o tests/host/mm-host.o tests/host/log.o $(mm-objs)
shadow-test-objs := tests/host/shadow-sim.o tests/host/mmu-model.o tests/host/mm-host.o tests/host/log.o $(mm-objs)
test-shadow-objs := tests/host/test-shadow.o tests/host/shadow-guest.o $(shadow-test-objs)
host-tests += test-shadow-window test-shadow-alias test-shadow-roots
test-shadow-alias-objs := tests/host/test-shadow-alias.o tests/host/shadow-guest.o $(shadow-test-objs)
test-shadow-roots-objs := tests/host/test-shadow-roots.o tests/host/shadow-guest.o $(shadow-test-objs)
test-shadow-window-objs := tests/host/test-shadow-window.o tests/host/shadow-guest.o $(shadow-test-objs)
test-shadow-model-objs := tests/host/test-shadow-model.o $(shadow-test-objs)

host-tests += test-vdev-acpi test-vdev-bus test-vdev-pit test-vdev-uart test-vdev-pic \
              test-vdev-rtc test-vdev-small test-vdev-machine test-vdev-fuzz test-vdev-pace
test-vdev-pace-objs := tests/host/test-vdev-pace.o drivers/vdev/irq-pace.o
test-vdev-acpi-objs := tests/host/test-vdev-acpi.o drivers/vdev/acpi-pm.o
test-vdev-bus-objs := tests/host/test-vdev-bus.o drivers/vdev/bus.o tests/host/log.o
test-vdev-pit-objs := tests/host/test-vdev-pit.o drivers/vdev/pit.o
test-vdev-uart-objs := tests/host/test-vdev-uart.o drivers/vdev/uart.o
test-vdev-pic-objs := tests/host/test-vdev-pic.o drivers/vdev/pic.o
test-vdev-rtc-objs := tests/host/test-vdev-rtc.o drivers/vdev/rtc.o
test-vdev-small-objs := tests/host/test-vdev-small.o $(addprefix drivers/vdev/,i8042.o pci.o dma.o misc.o port61.o pit.o)
test-vdev-machine-objs := tests/host/test-vdev-machine.o $(vdev-objs) tests/host/log.o
test-vdev-fuzz-objs := tests/host/test-vdev-fuzz.o $(vdev-objs) tests/host/log.o

# the guest CPU: kernel/vcpu/ alone, on flat memory
vcpu-test-objs := $(filter kernel/vcpu/%,$(kernel-objs)) tests/host/vcpu-env.o tests/host/log.o \
                  dbt/decode.o dbt/decode-plain.o dbt/decode-table.o dbt/disas.o dbt/x87-image.o
vcpu-tests := $(addprefix test-vcpu-,int far seg io cpuid sys misc)
host-tests += $(vcpu-tests)
$(foreach t,$(vcpu-tests),$(eval $(t)-objs := tests/host/$(t).o $(vcpu-test-objs)))

host-tests += test-symbols test-conf test-elf test-bzimage test-cpio test-memory-map test-parsers-fuzz
test-symbols-objs := tests/host/test-symbols.o tests/host/sample-files.o kernel/lib/symbols.o
test-conf-objs := tests/host/test-conf.o kernel/lib/conf.o kernel/lib/log.o
test-elf-objs := tests/host/test-elf.o tests/host/sample-files.o kernel/lib/elf.o
test-bzimage-objs := tests/host/test-bzimage.o tests/host/sample-files.o kernel/lib/bzimage.o
test-cpio-objs := tests/host/test-cpio.o tests/host/sample-files.o kernel/lib/cpio.o
test-memory-map-objs := tests/host/test-memory-map.o boot/memory-map.o
test-parsers-fuzz-objs := tests/host/test-parsers-fuzz.o tests/host/sample-files.o kernel/lib/conf.o kernel/lib/elf.o \
                          kernel/lib/bzimage.o kernel/lib/cpio.o kernel/lib/symbols.o kernel/lib/log.o

host-tests += test-calibrate
test-calibrate-objs := tests/host/test-calibrate.o kernel/calibrate.o
host-tests += test-lib
test-lib-objs := tests/host/test-lib.o kernel/lib/log.o tests/host/log.o
host-tests += test-load
test-load-objs := tests/host/test-load.o tests/host/sample-files.o kernel/load.o kernel/load-elf.o kernel/load-linux.o kernel/acpi.o \
                  kernel/lib/elf.o kernel/lib/bzimage.o

# the decoder: unit tests, and against Zydis and Capstone (decode-diff without arguments samples all encodings)
decode-objs := dbt/decode.o dbt/decode-plain.o dbt/decode-table.o dbt/disas.o dbt/access.o
host-tests += test-decode decode-diff
test-decode-objs := tests/host/test-decode.o $(decode-objs)
decode-diff-objs := tests/host/decode-diff.o tests/host/decode-compare.o tests/host/decode-explained.o $(decode-objs)
decode-diff-libs := -lZydis -lcapstone

# clients of write tracking beside code; the devices' state
host-tests += test-track-clients test-vdev-state
test-track-clients-objs := tests/host/test-track-clients.o tests/host/shadow-guest.o $(shadow-test-objs)
test-vdev-state-objs := tests/host/test-vdev-state.o $(vdev-objs) tests/host/log.o

# last: it links what is listed above
include tests/bench/list.mk
