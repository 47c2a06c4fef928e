#!/bin/sh
# SPDX-License-Identifier: MIT
# Put a guest that Debian packages where it is asked for, without installing the package.
# Usage: boot/fetch-guest.sh memtest86+x64.bin|vmlinuz-cloud OUTPUT
set -eu
guest=$1
output=$2
scratch=$output.deb.d

fail() {
    echo "fetch-guest: $*" >&2
    exit 1
}

# linux-image-cloud-amd64 is empty and depends on the package that carries the kernel.
kernel_package() {
    apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1
}

# apt warns that its sandbox user cannot write here and then downloads as root: harmless.
download() {
    (cd "$scratch" && apt-get download "$1" >apt.log 2>&1)
}

# A machine fresh from its image has no package lists, or old ones.
refresh_lists() {
    [ "$(id -u)" = 0 ] && apt-get update -q >/dev/null 2>&1
}

case $guest in
memtest86+x64.bin)
    package=memtest86+
    inside='boot/memtest86+x64.bin'
    ;;
vmlinuz-cloud)
    package=$(kernel_package)
    [ -n "$package" ] || { refresh_lists && package=$(kernel_package); }
    [ -n "$package" ] || fail "apt-cache knows no linux-image-cloud-amd64: run apt-get update"
    inside='boot/vmlinuz-*'
    ;;
*)
    fail "no recipe for $guest"
    ;;
esac

mkdir -p "$(dirname "$output")"
if [ -r "/boot/$guest" ]; then
    cp "/boot/$guest" "$output"
    exit 0
fi
rm -rf "$scratch"
mkdir -p "$scratch"
chmod 755 "$scratch"
download "$package" || { refresh_lists && download "$package"; } ||
    fail "cannot download $package: $(tail -n 1 "$scratch/apt.log")"
dpkg-deb -x "$scratch"/*.deb "$scratch/x"
# shellcheck disable=SC2086 # the pattern is meant to expand
set -- "$scratch"/x/$inside
[ -r "$1" ] || fail "$package holds no $inside"
cp "$1" "$output"
rm -rf "$scratch"
