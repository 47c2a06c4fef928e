# SPDX-License-Identifier: MIT
"""Guest files that are wrong in one way each, made from a good payload."""
import struct

PHDR = 64  # where the first program header lies


def patched(data, offset, fmt, value):
    data = bytearray(data)
    struct.pack_into("<" + fmt, data, offset, value)
    return bytes(data)


def empty(good):
    return b""


def garbage(good):
    return bytes((i * 131 + (i >> 8) * 17 + 7) & 0xFF for i in range(20000))


def truncated(good):
    return good[:4200]  # the headers and the first bytes of the segment


def truncated_header(good):
    return good[:40]


def elf32(good):
    return patched(good, 4, "B", 1)


def big_endian(good):
    return patched(good, 5, "B", 2)


def wrong_machine(good):
    return patched(good, 18, "H", 183)  # AArch64


def shared_object(good):
    return patched(good, 16, "H", 3)


def segment_beyond_memory(good):
    return patched(good, PHDR + 24, "Q", 0x20000000)  # p_paddr: 512 MiB


def segment_too_low(good):
    return patched(good, PHDR + 24, "Q", 0x1000)


def segment_wraps(good):
    return patched(good, PHDR + 40, "Q", 0xFFFFFFFFFFFFF000)  # p_memsz


def file_size_beyond_memory_size(good):
    return patched(good, PHDR + 32, "Q", 0x7FFFFFFF)  # p_filesz


def entry_outside(good):
    return patched(good, 24, "Q", 0x7000000)


def no_segments(good):
    return patched(good, 56, "H", 0)
