#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the PVH bundle: a newc cpio archive with notdirty.conf, the guest and its initrd, for QEMU's -initrd."""
import argparse
import sys

sys.dont_write_bytecode = True  # nothing is written outside build/

from content import Content


def member(name, data, number):
    """One archive member; time stamps and owners are 0, so equal content gives equal bytes."""
    encoded = name.encode() + b"\0"
    mode = 0o100644 if number else 0
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08x" % f for f in fields) + encoded
    return pad(header) + pad(data)


def pad(data):
    return data + bytes(-len(data) % 4)


def bundle(content):
    members = [member(name, data, i + 1) for i, (name, data) in enumerate(content.files())]
    return b"".join(members) + member("TRAILER!!!", b"", 0)


def write_bundle(path, content):
    with open(path, "wb") as f:
        f.write(bundle(content))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", required=True)
    write_bundle(parser.parse_args().output, Content.from_environment())


if __name__ == "__main__":
    main()
