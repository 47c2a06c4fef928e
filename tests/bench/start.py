# SPDX-License-Identifier: MIT
"""Seconds from the start of QEMU to the first byte of payload hello, through OVMF from the USB image and by PVH; and what of
it is OVMF's: all before the loader's first line."""
import os
import tempfile
import time

from report import Broken, cpu_seconds, summary, table

from content import Content
from machine import ExpectTimeout, Machine, Options
from mkbundle import write_bundle
from mkimage import write_image

TITLE = "Power-on to the guest's first byte, seconds"
TIME_LIMIT = 60
LOADER, KERNEL, GUEST = rb"notdirty: loader", rb"notdirty: booted by", rb"hello from the guest"


def arrivals(options, patterns):
    """[(seconds after the start, QEMU's CPU seconds)] at which each of the patterns had come."""
    times = []
    start = time.monotonic()
    with Machine(options) as machine:
        try:
            for pattern in patterns:
                machine.expect(pattern, TIME_LIMIT)
                times.append((time.monotonic() - start, cpu_seconds(machine.process)))
        except ExpectTimeout as error:
            raise Broken(str(error)) from None
    return times


def measure(settings):
    runs = {"firmware": [], "loader": [], "kernel": [], "beyond the firmware": [], "PVH": []}
    content = Content(guest=settings.payload("hello"))
    with tempfile.TemporaryDirectory(dir=settings.build) as scratch:
        image, bundle = os.path.join(scratch, "image"), os.path.join(scratch, "bundle")
        write_image(image, os.path.join(settings.build, "BOOTX64.EFI"), os.path.join(settings.build, "stick/kernel.elf"), content)
        write_bundle(bundle, content)
        for _ in range(settings.runs + 2):
            loader, kernel, guest = arrivals(Options(image=image, build=settings.build), (LOADER, KERNEL, GUEST))
            options = Options(kernel=settings.kernel, bundle=bundle, build=settings.build)
            (pvh,) = arrivals(options, (GUEST,))
            for key, since, to in (("firmware", (0, 0), loader), ("loader", loader, kernel), ("kernel", kernel, guest),
                                   ("beyond the firmware", loader, guest), ("PVH", (0, 0), pvh)):
                runs[key].append([b - a for a, b in zip(since, to)])
    return {key: {"wall": summary([v[0] for v in values]), "cpu": summary([v[1] for v in values])}
            for key, values in runs.items()}


def lines(result):
    rows = [[key] + [clocks[c][v] for c in ("wall", "cpu") for v in ("min", "median", "max")] + [str(clocks["wall"]["runs"])]
            for key, clocks in result.items()]
    return table(["", "wall min", "median", "max", "CPU min", "median", "max", "runs"], rows)
