#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the System.map that an unpacked Linux kernel carries inside itself for its own messages: kallsyms.py VMLINUX OUTPUT.
Functions, and the data that the monitor asks for.

In the image, each aligned to 8 bytes (scripts/kallsyms.c, up to Linux 6.3):

  offsets[n] (s32), relative base (u64), n (u32), names, markers[n / 256] (u32), (more,) token table, token index[256] (u16)

A name is a length byte and that many tokens; the expansion's first character is the type. markers[i] is where name 256 * i
begins. A negative offset means address = base - 1 - offset; others are absolute (per-CPU)."""
import re
import struct
import sys

WANTED_DATA = {"panic_cpu"}
COUNT_MIN = 1000
DIGITS = b"".join(b"%d\0" % d for d in range(10))  # consecutive entries of every kernel's token table


def up8(n):
    return (n + 7) & ~7


def find_tokens(image):
    """(offset of the token table, [256 tokens])"""
    for match in re.finditer(re.escape(DIGITS), image):
        at = match.start()
        end = at
        for _ in range(256 - ord("0")):
            end = image.index(b"\0", end) + 1
        index = struct.unpack_from("<256H", image, up8(end))
        start = at - index[ord("0")]
        if index[0] == 0 and list(index) == sorted(index) and image[start + index[255]:end - 1].find(b"\0") < 0:
            return start, [image[start + i:image.index(b"\0", start + i)] for i in index]
    raise ValueError("no token table")


def walk_names(image, at, count, limit):
    """([where each name begins], end), or None if they do not fit below the limit."""
    starts = []
    for _ in range(count):
        if at >= limit:
            return None
        starts.append(at)
        at += 1 + image[at]
    return starts, at


def find_names(image, tokens_at):
    """[where each name begins]: preceded by their number, followed by their markers, somewhere before the tokens."""
    for at in range(tokens_at & ~7, 16, -8):
        count, zero = struct.unpack_from("<II", image, at - 8)
        if zero or not COUNT_MIN <= count <= tokens_at - at:
            continue
        walked = walk_names(image, at, count, tokens_at)
        if not walked:
            continue
        starts, end = walked
        markers = struct.unpack_from(f"<{len(starts[::256])}I", image, up8(end))
        if list(markers) == [start - at for start in starts[::256]]:
            return starts
    raise ValueError("no names")


def symbols(image):
    """[(address, type, name)]"""
    tokens_at, tokens = find_tokens(image)
    starts = find_names(image, tokens_at)
    base = struct.unpack_from("<Q", image, starts[0] - 16)[0]
    offsets = struct.unpack_from(f"<{len(starts)}i", image, starts[0] - 16 - up8(4 * len(starts)))
    result = []
    for offset, start in zip(offsets, starts):
        text = b"".join(tokens[t] for t in image[start + 1:start + 1 + image[start]]).decode("ascii")
        result.append((base - 1 - offset if offset < 0 else offset, text[0], text[1:]))
    return result


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as f:
        found = symbols(f.read())
    with open(sys.argv[2], "w", encoding="ascii") as f:
        f.writelines(f"{address:016x} {kind} {name}\n" for address, kind, name in found
                     if kind in "tTwW" or name in WANTED_DATA)


if __name__ == "__main__":
    main()
