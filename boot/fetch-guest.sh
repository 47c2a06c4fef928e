#!/bin/sh
# SPDX-License-Identifier: MIT
# Put a guest that Debian packages where it is asked for, without installing the package.
# Usage: boot/fetch-guest.sh memtest86+x64.bin|vmlinuz-cloud|vmlinuz-amd64|vmlinuz-rt OUTPUT
set -eu
guest=$1
output=$2
scratch=$output.package

case $guest in
memtest86+x64.bin)
    package=memtest86+
    inside='boot/memtest86+x64.bin'
    ;;
vmlinuz-cloud)
    package=linux-image-cloud-amd64
    inside='boot/vmlinuz-*'
    ;;
vmlinuz-amd64)
    package=linux-image-amd64
    inside='boot/vmlinuz-*'
    ;;
vmlinuz-rt)
    package=linux-image-rt-amd64
    inside='boot/vmlinuz-*'
    ;;
*)
    echo "fetch-guest: no recipe for $guest" >&2
    exit 1
    ;;
esac

mkdir -p "$(dirname "$output")"
if [ -r "/boot/$guest" ]; then
    cp "/boot/$guest" "$output"
    exit 0
fi
"$(dirname "$0")/fetch-package.sh" "$package" "$scratch"
# shellcheck disable=SC2086 # the pattern is meant to expand
set -- "$scratch"/$inside
[ -r "$1" ] || { echo "fetch-guest: $package holds no $inside" >&2; exit 1; }
cp "$1" "$output"
rm -rf "$scratch"
