# SPDX-License-Identifier: MIT
"""A boot of Debian's kernel to its panic for want of a root file system, native and translated: executed instructions, and
where they go, by function of the monitor. Counted by a TCG plugin (tb-count.c) while virtual time is the number of
instructions, so that timer interrupts fall on the same instructions whatever else the machine does."""
import bisect
import collections
import os
import tempfile

from report import COUNTED, Unavailable, run_guest, statistics_of, table
from rsp import symbols

TITLE = "Debian's kernel to the mount of its root"
CMDLINE = "nokaslr console=ttyS0,115200 nosmp panic=-1"
TIME_LIMIT = 300
CODE_CACHE = range(0xffffffff40000000, 0xffffffff80000000)
ROWS = 30


def by_function(counts, ordered):
    """{function: [instructions, entered blocks, translated blocks]} of the plugin's lines; ordered: symbols()."""
    starts = [address for address, _ in ordered]
    result = collections.defaultdict(lambda: [0, 0, 0])
    for line in counts:
        address, *values = (int(word, 16 if i == 0 else 10) for i, word in enumerate(line.split()))
        at = bisect.bisect(starts, address) - 1
        if address in CODE_CACHE:
            name = "(translated guest code)"
        elif at < 0 or address - starts[at] > 0x4000:
            name = "(not the monitor)"
        else:
            name = ordered[at][1]
        for i, value in enumerate(values):
            result[name][i] += value
    return result


def one_run(settings, mode):
    plugin = os.path.abspath(os.path.join(settings.build, "bench/tb-count.so"))
    if not os.path.exists(plugin):
        raise Unavailable(f"{plugin} has not been built")
    with tempfile.TemporaryDirectory(dir=settings.build) as scratch:
        counts = os.path.join(scratch, "counts")
        output = run_guest(settings, guest=settings.guest("vmlinuz-cloud"), mode=mode, cmdline=CMDLINE, timeout=TIME_LIMIT,
                           append="timeout=60", qemu_extra=COUNTED + ["-plugin", f"file={plugin},out={counts}"])
        with open(counts, encoding="ascii") as f:
            functions = by_function(f, symbols(settings.kernel))
    return {"insns": sum(values[0] for values in functions.values()), "functions": functions,
            "complete": "VFS: Unable to mount root" in output, "statistics": statistics_of(output)}


def measure(settings):
    return {mode: one_run(settings, mode) for mode in ("native", "translate")}


def lines(result):
    native, ours = result["native"], result["translate"]
    exits = ours["statistics"]["exit_total"]
    most = sorted(ours["functions"].items(), key=lambda item: -item[1][0])[:ROWS]
    rows = [[name, insns, f"{insns / ours['insns']:.1%}", entered, made] for name, (insns, entered, made) in most]
    return table(["", "native", "translated", "ratio"],
                 [["instructions", native["insns"], ours["insns"], ours["insns"] / native["insns"]],
                  ["reached the mount", str(native["complete"]), str(ours["complete"]), ""]]) + [
        "", f"Translated: {exits:,} exits, {ours['insns'] / exits:,.0f} instructions per exit", ""] + table(
            ["function", "insns", "share", "QEMU TBs entered", "QEMU TBs made"], rows)
