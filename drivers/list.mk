# SPDX-License-Identifier: MIT

# What the guest sees on its ports; also built for host tests.
vdev-objs := $(addprefix drivers/vdev/,bus.o uart.o pic.o pit.o port61.o rtc.o i8042.o pci.o dma.o misc.o acpi-pm.o irq-pace.o machine.o state.o)
kernel-objs += $(vdev-objs)
kernel-objs += drivers/serial.o drivers/pit.o drivers/pic.o drivers/lapic.o drivers/cmos-clock.o
