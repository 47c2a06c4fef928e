# SPDX-License-Identifier: MIT
efi-objs += boot/efi-main.o boot/efi-console.o boot/efi-file.o boot/efi-memory.o boot/memory-map.o boot/load-kernel.o
efi-objs += boot/handover.o
efi-objs += kernel/lib/conf.o kernel/lib/log.o kernel/lib/elf.o kernel/lib/bzimage.o kernel/lib/printf.o
efi-objs += kernel/lib/string.o
