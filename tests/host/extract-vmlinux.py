#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Unpack the ELF vmlinux out of an LZ4-compressed x86 bzImage: extract-vmlinux.py VMLINUZ OUTPUT. Standard library only."""
import struct
import sys

MAGIC = b"\x02\x21\x4c\x18"  # LZ4 legacy frame


def length(src, i, n):
    """A length's extension bytes: (length, next position)."""
    while True:
        b = src[i]
        i += 1
        n += b
        if b != 255:
            return n, i


def lz4_block(src, out):
    """Append one decompressed LZ4 block to out; matches may not reach back before the block."""
    start = len(out)
    i, end = 0, len(src)
    while i < end:
        token = src[i]
        i += 1
        n = token >> 4
        if n == 15:
            n, i = length(src, i, n)
        out += src[i:i + n]
        i += n
        if i >= end:
            break
        offset = src[i] | src[i + 1] << 8
        i += 2
        n = token & 15
        if n == 15:
            n, i = length(src, i, n)
        n += 4
        at = len(out) - offset
        if offset == 0 or at < start:
            raise ValueError("bad LZ4 offset")
        if offset >= n:
            out += out[at:at + n]
        else:
            piece = bytes(out[at:])
            out += (piece * (n // offset + 1))[:n]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as f:
        image = f.read()
    # setup header, Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length
    if image[0x202:0x206] != b"HdrS":
        sys.exit("not a bzImage")
    payload = (image[0x1f1] + 1) * 512 + struct.unpack_from("<I", image, 0x248)[0]
    end = payload + struct.unpack_from("<I", image, 0x24c)[0]
    if image[payload:payload + 4] != MAGIC:
        sys.exit("the payload is not LZ4 (legacy format)")
    size = struct.unpack_from("<I", image, end - 4)[0]  # the kernel's build appends the unpacked size
    at = payload + 4
    out = bytearray()
    while len(out) < size:
        n = struct.unpack_from("<I", image, at)[0]
        lz4_block(image[at + 4:at + 4 + n], out)
        at += 4 + n
    if len(out) != size or out[:4] != b"\x7fELF":
        sys.exit("unpacked data is not the ELF file that was packed")
    with open(sys.argv[2], "wb") as f:
        f.write(out)


main()
