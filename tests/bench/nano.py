# SPDX-License-Identifier: MIT
"""Payload bench-nano native and translated: executed instructions and TSC cycles per operation."""
import re

from report import COUNTED, Broken, pair_text, paired, run_guest, summary, table

TITLE = "Nanobenchmarks, per operation"
LINE = re.compile(r"^bench (\S+) ([\d.]+) ([\d.]+) ([\d.]+)\r?$", re.M)
TIME_LIMIT = 120


def one_run(settings, mode, extra):
    """{name: (min, median, first)}"""
    output = run_guest(settings, guest=settings.payload("bench-nano"), mode=mode, timeout=TIME_LIMIT, qemu_extra=extra)
    found = {name: tuple(map(float, values)) for name, *values in LINE.findall(output)}
    if not found:
        raise Broken(f"no results from bench-nano\n{output[-2000:]}")
    return found


def measure(settings):
    """{name: {mode: {'insns', 'insns_first', 'cycles': summary of the runs' minima, 'paired': of their ratios to native's}}}"""
    result = {}
    timed = settings.timed(("native", "translate"), lambda mode: one_run(settings, mode, []))
    for mode in timed:
        for name, (least, _, first) in one_run(settings, mode, COUNTED).items():
            cycles, native = ([run[name][0] for run in timed[m]] for m in (mode, "native"))
            result.setdefault(name, {})[mode] = {
                "insns": least, "insns_first": first, "cycles": summary(cycles), "paired": paired(cycles, native)}
    return result


def lines(result):
    rows = []
    for name, modes in result.items():
        native, ours = modes["native"], modes["translate"]
        rows.append([name, native["insns"], ours["insns"], ours["insns"] / native["insns"], ours["insns_first"],
                     native["cycles"]["min"], ours["cycles"]["min"], pair_text(ours["paired"])])
    return table(["operation", "insns native", "translated", "ratio", "first", "cycles native", "translated", "paired ratio"], rows)
