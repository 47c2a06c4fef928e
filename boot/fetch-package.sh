#!/bin/sh
# SPDX-License-Identifier: MIT
# Unpack a Debian package into a folder, without installing it. The folder appears only when it is complete.
# Usage: boot/fetch-package.sh PACKAGE FOLDER
set -eu
package=$1
folder=$2
scratch=$folder.part

fail() {
    echo "fetch-package: $*" >&2
    rm -rf "$scratch"
    exit 1
}

# apt warns that its sandbox user cannot write here and then downloads as root: harmless.
download() {
    (cd "$scratch" && apt-get download "$1" >apt.log 2>&1)
}

# A machine fresh from its image has no package lists, or old ones.
refresh_lists() {
    [ "$(id -u)" = 0 ] && apt-get update -q >/dev/null 2>&1
}

# linux-image-amd64, -cloud-amd64 and -rt-amd64 are empty and depend on the packages that carry the kernels.
carrier() {
    case $1 in
    linux-image-amd64 | linux-image-*-amd64)
        apt-cache depends "$1" | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1
        ;;
    *)
        echo "$1"
        ;;
    esac
}

name=$(carrier "$package")
[ -n "$name" ] || { refresh_lists && name=$(carrier "$package"); }
[ -n "$name" ] || fail "apt-cache does not know $package: run apt-get update"

rm -rf "$scratch"
mkdir -p "$scratch/x"
chmod 755 "$scratch"
download "$name" || { refresh_lists && download "$name"; } ||
    fail "cannot download $name: $(tail -n 1 "$scratch/apt.log")"
dpkg-deb -x "$scratch"/*.deb "$scratch/x" || fail "cannot unpack $name"
rm -rf "$folder"
mv "$scratch/x" "$folder"
rm -rf "$scratch"
