#!/bin/sh
# SPDX-License-Identifier: MIT
# Load the kernel's own modules, use them, unload them; again at what is often the same address. Argument: how often, or for how long (60s).
set -e
. /suites/turns.sh
turns=${1:-3}
i=0
while more; do
    insmod /modules/dummy.ko numdummies=1
    grep -q '^dummy ' /proc/modules
    ifconfig dummy0 10.0.0.1 up
    ping -c 1 -W 5 10.0.0.1 >/dev/null
    rmmod dummy
    grep -q '^dummy ' /proc/modules && { echo "dummy is still there"; exit 1; }

    insmod /modules/brd.ko rd_nr=1 rd_size=256
    dd if=/dev/urandom of=data bs=1k count=256 2>/dev/null
    dd if=data of=/dev/ram0 bs=4k conv=fsync 2>/dev/null
    cmp data /dev/ram0
    rmmod brd

    insmod /modules/sha512_generic.ko
    insmod /modules/sha512-ssse3.ko
    grep -q 'sha512-avx2\|sha512-ssse3\|sha512-avx' /proc/crypto
    rmmod sha512_ssse3
    rmmod sha512_generic
    i=$((i + 1))
done
echo "loaded and unloaded $i times"
