#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a boot medium carries besides the loader and the kernel: notdirty.conf, the guest, its initrd. The same files, by the
same names, go on the USB image (mkimage.py) and into the PVH bundle (mkbundle.py).

As a program: write the make variables that decide the content to a stamp file, touching it only when they have changed; or check the
files that they name."""
import argparse
import os
import re
import sys
from dataclasses import dataclass, field

FOLDER = "notdirty"


@dataclass
class Content:
    """Values are as in notdirty.conf; guest, initrd and symbols are paths on this machine, or None."""
    guest: str = None
    initrd: str = None
    symbols: str = None
    cmdline: str = ""
    memory: str = "256M"
    mode: str = "translate"
    cache: str = ""
    smc: str = "protect"
    log: str = ""
    exit: str = "poweroff"
    timeout: int = 0  # the monitor's own, in seconds; 0 = none
    conf: str = None  # the whole text of notdirty.conf, instead of one made from the fields; "" leaves the file off
    extra: dict = field(default_factory=dict)  # further files: path on the medium -> bytes

    @classmethod
    def from_environment(cls):
        """From the variables that the Makefile exports; TIMEOUT is the runner's and not part of the content."""
        get = os.environ.get
        return cls(guest=get("GUEST"), initrd=get("INITRD") or None, symbols=get("SYMBOLS") or None,
                   cmdline=get("CMDLINE", ""),
                   memory=get("MEM", "256M"), mode=get("MODE", "translate"), smc=get("SMC", "protect"),
                   log=get("LOG", ""), exit=get("EXIT", "poweroff"))

    def guest_path(self):
        return f"{FOLDER}/{medium_name(self.guest)}"

    def initrd_path(self):
        name = medium_name(self.initrd)
        clash = self.guest and medium_name(self.guest).lower() == name.lower()
        return f"{FOLDER}/{'initrd-' + name[:33] if clash else name}"

    def symbols_path(self):
        return f"{FOLDER}/symbols-{medium_name(self.symbols)[:32]}"

    def conf_text(self):
        if self.conf is not None:
            return self.conf
        lines = ["# Made by boot/content.py; keys and values: docs/boot.md"]
        if self.guest:
            lines.append(f"guest   = {self.guest_path()}")
        if self.initrd:
            lines.append(f"initrd  = {self.initrd_path()}")
        if self.symbols:
            lines.append(f"symbols = {self.symbols_path()}")
        for key in ("cmdline", "memory", "cache", "mode", "smc", "log", "exit", "timeout"):
            value = getattr(self, key)
            if value:
                lines.append(f"{key:7} = {value}")
        return "\n".join(lines) + "\n"

    def files(self):
        """[(path on the medium, bytes)]"""
        result = [("notdirty.conf", self.conf_text().encode())] if self.conf != "" else []
        if self.guest:
            result.append((self.guest_path(), read(self.guest)))
        if self.initrd:
            result.append((self.initrd_path(), read(self.initrd)))
        if self.symbols:
            result.append((self.symbols_path(), read(self.symbols)))
        return result + list(self.extra.items())


def read(path):
    with open(path, "rb") as f:
        return f.read()


def medium_name(path):
    """The file's name as FAT and the 63 characters of notdirty.conf can hold it."""
    name = re.sub(r"[^A-Za-z0-9._+-]", "_", os.path.basename(path)).strip(".")
    return name[-40:] or "file"


def complaint(variable, path, built):
    """What is wrong with the file that a variable of make names, in one line that says what to do, or None. What is in `built` make knows."""
    what = f"{variable}={path}"
    if re.search(r"\s", path):
        return f"{what}: make takes no path with blanks; rename the file, or link to it"
    if os.path.isdir(path):
        return f"{what} is a folder; name a file"
    if not os.path.exists(path):
        made = os.path.normpath(path).startswith(os.path.normpath(built) + os.sep)
        return None if made else f"{what}: there is no such file; give the path of one"
    if not os.access(path, os.R_OK):
        return f"{what} is not to be read by you; see to its permissions"
    return None


def check(built):
    for variable in ("GUEST", "INITRD", "SYMBOLS"):
        path = os.environ.get(variable)
        if path and (wrong := complaint(variable, path, built)):
            sys.exit(f"notdirty: {wrong}")


def write_stamp(path):
    new = repr(Content.from_environment()) + "\n"
    if os.path.exists(path) and read(path).decode() == new:
        return
    with open(path, "w", encoding="utf-8") as f:
        f.write(new)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--stamp", metavar="FILE")
    what.add_argument("--check", metavar="BUILD", help="exit status 1 and a line if a file is missing that is not made in BUILD")
    args = parser.parse_args()
    if args.check:
        check(args.check)
    else:
        write_stamp(args.stamp)


if __name__ == "__main__":
    main()
