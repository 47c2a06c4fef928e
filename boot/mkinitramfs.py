#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write an initramfs: a newc cpio archive of files from this tree and from Debian packages, as lists say. Needs no root: owners,
modes and device nodes are only written down. Equal content gives equal bytes.

Lines of a list ('#' opens a comment at the start of a line; a later entry of the same path replaces an earlier one):

  dir  PATH [MODE]                   an empty folder; the folders above any entry are made as needed (mode 755)
  file PATH SOURCE [MODE]            SOURCE: a file beside the list, or PACKAGE:path inside a Debian package; may hold wildcards
                                     if exactly one file matches. MODE: that of the source, if not given
  tree PATH SOURCE                   everything below the folder SOURCE, as above
  link PATH TARGET                   a symbolic link
  node PATH c|b MAJOR MINOR [MODE]   a device
  applets FOLDER SOURCE              links in FOLDER for all that this busybox can do (it is asked, so it must run here)

Packages are fetched by boot/fetch-package.sh into --packages and kept there; a package's name may be followed by others that it
needs, each with its own lines."""
import argparse
import glob
import gzip
import os
import stat
import subprocess
import sys

sys.dont_write_bytecode = True  # nothing is written outside build/

from mkbundle import pad

HERE = os.path.dirname(os.path.abspath(__file__))


class Bad(Exception):
    """A list asks for something that there is not."""


class Packages:
    """Debian packages, unpacked on first use."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, package):
        path = os.path.join(self.folder, package)
        if not os.path.isdir(path):
            os.makedirs(self.folder, exist_ok=True)
            if subprocess.run([os.path.join(HERE, "fetch-package.sh"), package, path], check=False).returncode:
                raise Bad(f"package {package} cannot be had")
        return path

    def find(self, source, base):
        """The one file or folder that a SOURCE names; base: the folder of the list."""
        package, colon, inside = source.partition(":")
        pattern = os.path.join(self.path(package), inside.lstrip("/")) if colon else os.path.join(base, source)
        found = sorted(glob.glob(pattern))
        if len(found) != 1:
            raise Bad(f"{source}: {len(found)} files match, expected one")
        return found[0]


class Archive:
    """Entries by path: (mode, data, (major, minor))."""

    def __init__(self):
        self.entries = {}

    def add(self, path, mode, data=b"", device=(0, 0)):
        path = path.strip("/")
        if not path or ".." in path.split("/"):
            raise Bad(f"bad path '/{path}'")
        parts = path.split("/")
        for i in range(1, len(parts)):
            self.entries.setdefault("/".join(parts[:i]), (stat.S_IFDIR | 0o755, b"", (0, 0)))
        if stat.S_ISDIR(mode) and path in self.entries and not stat.S_ISDIR(self.entries[path][0]):
            raise Bad(f"/{path} is a folder and something else")
        self.entries[path] = (mode, data, device)

    def add_file(self, path, source, mode=None):
        with open(source, "rb") as f:
            self.add(path, stat.S_IFREG | (stat.S_IMODE(os.stat(source).st_mode) if mode is None else mode), f.read())

    def add_tree(self, path, source):
        for folder, folders, files in os.walk(source):
            inside = os.path.join(path, os.path.relpath(folder, source)) if folder != source else path
            self.add(inside, stat.S_IFDIR | 0o755)
            for name in sorted(folders + files):
                full = os.path.join(folder, name)
                if os.path.islink(full):
                    self.add(os.path.join(inside, name), stat.S_IFLNK | 0o777, os.readlink(full).encode())
                elif name in files:
                    self.add_file(os.path.join(inside, name), full)

    def write(self):
        """Parents before what is in them, everything of root, no times."""
        out = [member(n, path, *self.entries[path]) for n, path in enumerate(sorted(self.entries), 1)]
        return b"".join(out) + member(0, "TRAILER!!!", 0, b"", (0, 0))


def member(number, path, mode, data, device):
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, device[0], device[1], len(name), 0)
    return pad(b"070701" + b"".join(b"%08x" % f for f in fields) + name) + pad(data)


def applets(busybox):
    result = subprocess.run([busybox, "--list"], stdout=subprocess.PIPE, text=True, check=True)
    return [name for name in result.stdout.split() if name != "busybox"]


def add_line(archive, packages, base, words):
    kind, path, *rest = words
    if kind == "dir":
        archive.add(path, stat.S_IFDIR | int(rest[0] if rest else "755", 8))
    elif kind == "file":
        archive.add_file(path, packages.find(rest[0], base), int(rest[1], 8) if rest[1:] else None)
    elif kind == "tree":
        archive.add_tree(path, packages.find(rest[0], base))
    elif kind == "link":
        archive.add(path, stat.S_IFLNK | 0o777, rest[0].encode())
    elif kind == "node":
        archive.add(path, {"c": stat.S_IFCHR, "b": stat.S_IFBLK}[rest[0]] | int(rest[3] if rest[3:] else "600", 8),
                    device=(int(rest[1]), int(rest[2])))
    elif kind == "applets":
        for name in applets(packages.find(rest[0], base)):
            archive.add(f"{path}/{name}", stat.S_IFLNK | 0o777, b"/bin/busybox")
    else:
        raise Bad(f"unknown kind of entry '{kind}'")


def read_list(archive, packages, name):
    with open(name, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                add_line(archive, packages, os.path.dirname(os.path.abspath(name)), line.split())
            except (Bad, OSError, ValueError, KeyError, IndexError) as e:
                raise Bad(f"{name}:{number}: {line.strip()}: {e}") from e


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", nargs="+", help="in this order")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--packages", default="build/packages", help="where Debian packages are unpacked")
    parser.add_argument("--gzip", action="store_true", help="compress: quicker to load, slower to unpack")
    args = parser.parse_args()
    archive, packages = Archive(), Packages(args.packages)
    try:
        for name in args.lists:
            read_list(archive, packages, name)
    except Bad as e:
        sys.exit(f"mkinitramfs: {e}")
    data = archive.write()
    os.makedirs(os.path.dirname(os.path.abspath(args.output)), exist_ok=True)
    with open(args.output + ".part", "wb") as f:
        f.write(gzip.compress(data, mtime=0) if args.gzip else data)
    os.replace(args.output + ".part", args.output)


if __name__ == "__main__":
    main()
