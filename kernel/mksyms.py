#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turn `nm -n` output (stdin) into the assembly of the kernel's symbol table (stdout), for backtraces.

Only code symbols inside the image are kept. The table is sorted by address: 32-bit offsets from KERNEL_VMA and into the
names. No input gives an empty table, which is what the first of two links uses (Makefile)."""
import sys

KERNEL_VMA = 0xFFFF800000000000
IMAGE_MAX = 1 << 30


def read_symbols(lines):
    symbols = []
    for line in lines:
        fields = line.split()
        if len(fields) != 3 or fields[1] not in "tT":
            continue
        offset = int(fields[0], 16) - KERNEL_VMA
        name = fields[2]
        if 0 <= offset < IMAGE_MAX and name not in ("text_start", "text_end"):
            symbols.append((offset, name))
    return sorted(symbols)


def main():
    symbols = read_symbols(sys.stdin)
    out = ['    .section .ksyms, "a"', "    .balign 8"]
    out += ["    .globl ksyms, ksyms_count, ksyms_names", "ksyms_count:", f"    .quad {len(symbols)}", "ksyms:"]
    name_offset = 0
    for offset, name in symbols:
        out.append(f"    .long {offset:#x}, {name_offset}")
        name_offset += len(name) + 1
    out.append("ksyms_names:")
    out += [f'    .asciz "{name}"' for _, name in symbols]
    out.append('    .section .note.GNU-stack, "", @progbits')
    print("\n".join(out))


if __name__ == "__main__":
    main()
