#!/bin/sh
# SPDX-License-Identifier: MIT
# Make sure that everything needed to build, run and test is installed. As root, missing packages are installed with
# apt-get; otherwise they are named, and the script stops. Silent when nothing is missing.
# Usage: boot/setup.sh [--test | --bench]      --test: also what only `make test` and .ci/run need; --bench: what `make bench` needs
set -eu

# what must exist -> the Debian package that has it
needs='
make:make
gcc:gcc
ld:binutils
python3:python3
qemu-system-x86_64:qemu-system-x86
mkfs.fat:dosfstools
mcopy:mtools
dpkg-deb:dpkg
iasl:acpica-tools
/usr/include/efi/efi.h:gnu-efi
/usr/share/OVMF/OVMF_CODE_4M.fd:ovmf
/usr/include/stdint.h:libc6-dev
'
test_needs='
git:git
clang:clang
/usr/include/cmocka.h:libcmocka-dev
/usr/include/Zydis/Zydis.h:libzydis-dev
/usr/include/capstone/capstone.h:libcapstone-dev
cpio:cpio
xz:xz-utils
'
bench_needs='
gnuplot:gnuplot-nox
qemu-x86_64:qemu-user
'
[ "${1:-}" = --bench ] && needs="$needs$test_needs$bench_needs"
[ "${1:-}" = --test ] && needs="$needs$test_needs"

present() {
    case $1 in
    /*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] ;;
    esac
}

missing() {
    for pair in $needs; do
        present "${pair%%:*}" || echo "${pair#*:}"
    done | sort -u | tr '\n' ' '
}

packages=$(missing)
[ -n "$packages" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "setup: these packages are missing: $packages" >&2
    echo "setup: install them with: sudo apt-get install $packages" >&2
    exit 1
fi
echo "setup: installing $packages" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2 </dev/null || echo "setup: apt-get update failed; trying with the lists at hand" >&2
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends $packages >&2 </dev/null
packages=$(missing)
[ -z "$packages" ] || { echo "setup: still missing after the installation: $packages" >&2; exit 1; }
