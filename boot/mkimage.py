#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the bootable disk image: GPT with one FAT32 EFI system partition, to be dd-ed to a stick. Needs mkfs.fat and mtools,
neither root nor loop devices. Equal content gives an equal image; its size grows with the content."""
import argparse
import hashlib
import os
import struct
import subprocess
import sys
import tempfile
import uuid
import zlib

sys.dont_write_bytecode = True  # nothing is written outside build/

from content import Content, read

SECTOR = 512
MIB = 1 << 20
ESP_START = 2048  # sectors: 1 MiB, where every partitioning tool puts the first one
ENTRIES = 128
ENTRY_SIZE = 128
TABLE_SECTORS = ENTRIES * ENTRY_SIZE // SECTOR
ESP_TYPE = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
FILE_MAX = (1 << 32) - 1  # FAT32


def esp_geometry(files):
    """(size in MiB, sectors per cluster) so that the files fit and mkfs.fat can make a FAT32 (65525 clusters at least)."""
    total = sum(len(data) + 64 * 1024 for _, data in files)
    size = max(36, total * 102 // 100 // MIB + 4)
    return size, 1 if size < 260 else 8


def run(*command):
    """A tool that is silent unless it fails; fixed time stamps where it writes any."""
    env = dict(os.environ, SOURCE_DATE_EPOCH="1577836800", MTOOLS_SKIP_CHECK="1", TZ="UTC")
    result = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode:
        sys.exit(f"mkimage: {command[0]} failed: {result.stdout.strip()}")


def folders(files):
    """Every folder that the paths need, parents first."""
    found = []
    for path, _ in files:
        parts = path.split("/")[:-1]
        for i in range(len(parts)):
            folder = "/".join(parts[: i + 1])
            if folder not in found:
                found.append(folder)
    return found


def make_esp(esp, files, serial):
    size, cluster = esp_geometry(files)
    for path, data in files:
        if len(data) > FILE_MAX:
            sys.exit(f"mkimage: {path}: {len(data)} bytes do not fit in one file of a FAT32 volume")
    with open(esp, "wb") as f:
        f.truncate(size * MIB)
    run("mkfs.fat", "-F", "32", "-s", str(cluster), "-h", str(ESP_START), "-i", f"{serial:08x}", "--invariant", "-n",
        "NOTDIRTY", esp)
    made = folders(files)
    if made:
        run("mmd", "-i", esp, *("::" + folder for folder in made))
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(esp))) as scratch:
        source = os.path.join(scratch, "file")
        for path, data in files:
            with open(source, "wb") as f:
                f.write(data)
            run("mcopy", "-i", esp, source, "::" + path)


def gpt_header(own, other, first_usable, last_usable, disk, table_at, table):
    def pack(crc):
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, own, other, first_usable, last_usable,
                           disk.bytes_le, table_at, ENTRIES, ENTRY_SIZE, zlib.crc32(table))
    return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")


def protective_mbr(sectors):
    entry = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFFFFFF))
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def write_gpt(out, esp, digest):
    """Protective MBR, header, table, [1 MiB: ESP], table, header (UEFI 2.10, chapter 5)."""
    esp_sectors = os.path.getsize(esp) // SECTOR
    last_esp = ESP_START + esp_sectors - 1
    sectors = last_esp + 1 + MIB // SECTOR  # the tail holds the backup, and keeps the size a multiple of 1 MiB
    last = sectors - 1
    disk, part = uuid.UUID(bytes=digest[:16], version=4), uuid.UUID(bytes=digest[16:32], version=4)
    entry = struct.pack("<16s16sQQQ72s", ESP_TYPE.bytes_le, part.bytes_le, ESP_START, last_esp, 0,
                        "EFI system partition".encode("utf-16-le"))
    table = entry.ljust(ENTRIES * ENTRY_SIZE, b"\0")
    first_usable, last_usable = 2 + TABLE_SECTORS, last - TABLE_SECTORS - 1
    with open(out, "wb") as f:
        f.write(protective_mbr(sectors))
        f.write(gpt_header(1, last, first_usable, last_usable, disk, 2, table))
        f.write(table)
        with open(esp, "rb") as source:
            copy_sparse(source, f, ESP_START * SECTOR)
        f.seek((last - TABLE_SECTORS) * SECTOR)
        f.write(table)
        f.write(gpt_header(last, 1, first_usable, last_usable, disk, last - TABLE_SECTORS, table))


def copy_sparse(source, out, offset):
    """Copy a file to `offset`, leaving holes where it is zero."""
    while chunk := source.read(MIB):
        if chunk.count(0) != len(chunk):
            out.seek(offset)
            out.write(chunk)
        offset += len(chunk)


def write_image(path, loader, kernel, content):
    """Also used by the test runner. loader and kernel are paths; either may be None, to see what the machine then says."""
    files = [("EFI/BOOT/BOOTX64.EFI", read(loader))] if loader else []
    files += [("notdirty/kernel.elf", read(kernel))] if kernel else []
    files += content.files()
    digest = hashlib.sha256(repr([(p, hashlib.sha256(d).digest()) for p, d in files]).encode()).digest()
    esp = path + ".esp"
    try:
        make_esp(esp, files, int.from_bytes(digest[:4], "little"))
        write_gpt(path, esp, digest)
    finally:
        if os.path.exists(esp):
            os.unlink(esp)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loader", required=True)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()
    write_image(args.output, args.loader, args.kernel, Content.from_environment())


if __name__ == "__main__":
    main()
