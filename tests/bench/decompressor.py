# SPDX-License-Identifier: MIT
"""What Debian's kernel executes to unpack itself: from the bzImage's 64-bit entry to the entry of the unpacked kernel, native
and translated, in instructions and in QEMU's CPU time. Native, both are addresses of the guest. Translated, they are the
monitor's first entry of cpu_exec(), and the moment when it protects the page of the unpacked kernel's entry to translate it."""
import os
import tempfile

from report import COUNTED, cpu_seconds, summary, table

from content import Content
from machine import Options
from mkbundle import write_bundle
from rsp import RDI, Stopped, symbols

TITLE = "Debian's kernel unpacks itself"
ENTRY = 0x1000200     # load address + 0x200, boot protocol
UNPACKED = 0x1000000  # pref_address of an unrelocated kernel
CMDLINE = "nokaslr earlyprintk=serial,ttyS0,115200"
TIME_LIMIT = 120


def to_entry(machine, mode, names):
    machine.breakpoint(ENTRY if mode == "native" else names["cpu_exec"])
    machine.breakpoint(machine.run(TIME_LIMIT), on=False)


def to_unpacked(machine, mode, names):
    if mode == "native":
        machine.breakpoint(UNPACKED)
        machine.run(TIME_LIMIT)
        return
    machine.breakpoint(names["tlb_protect_code"])  # once for each page of code: few stops
    machine.run(TIME_LIMIT)                        # the bzImage's entry, on the same page as the one waited for
    while machine.run(TIME_LIMIT) and machine.register(RDI) != UNPACKED:
        pass


def one_run(settings, mode, extra):
    """(instructions, seconds); instructions are 0 if they are not counted."""
    names = {name: address for address, name in symbols(settings.kernel)}
    with tempfile.TemporaryDirectory(dir=settings.build) as scratch:
        bundle = os.path.join(scratch, "bundle")
        write_bundle(bundle, Content(guest=settings.guest("vmlinuz-cloud"), mode=mode, cmdline=CMDLINE))
        options = Options(kernel=settings.kernel, bundle=bundle, qemu_extra=extra, build=settings.build)
        with Stopped(options) as machine:
            to_entry(machine, mode, names)
            before, start = machine.instructions(), cpu_seconds(machine.process)
            to_unpacked(machine, mode, names)
            seconds = cpu_seconds(machine.process) - start
            return machine.instructions() - before, seconds


def measure(settings):
    result = {}
    for mode in ("native", "translate"):
        insns, _ = one_run(settings, mode, COUNTED)
        seconds = [one_run(settings, mode, [])[1] for _ in range(settings.runs)]
        result[mode] = {"insns": insns, "seconds": summary(seconds)}
    return result


def lines(result):
    native, ours = result["native"], result["translate"]
    rows = [["instructions", native["insns"], ours["insns"], ours["insns"] / native["insns"], ""]]
    for key in ("min", "median"):
        rows.append([f"CPU seconds, {key}", native["seconds"][key], ours["seconds"][key],
                     ours["seconds"][key] / native["seconds"][key], f"{ours['seconds']['spread']:.0%}"])
    return table(["", "native", "translated", "ratio", "spread"], rows)
