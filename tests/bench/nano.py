# SPDX-License-Identifier: MIT
"""Payload bench-nano native and translated: executed instructions and TSC cycles per operation."""
import re

from report import COUNTED, Broken, run_guest, summary, table

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
    """{name: {mode: {'insns', 'insns_first', 'cycles': summary of the runs' minima, 'cycles_median'}}}"""
    result = {}
    for mode in ("native", "translate"):
        counted = one_run(settings, mode, COUNTED)
        timed = [one_run(settings, mode, []) for _ in range(settings.runs)]
        for name, (least, _, first) in counted.items():
            result.setdefault(name, {})[mode] = {
                "insns": least, "insns_first": first, "cycles": summary([run[name][0] for run in timed]),
                "cycles_median": summary([run[name][1] for run in timed])["median"]}
    return result


def lines(result):
    rows = []
    for name, modes in result.items():
        native, ours = modes["native"], modes["translate"]
        rows.append([name, native["insns"], ours["insns"], ours["insns"] / native["insns"], ours["insns_first"],
                     native["cycles"]["min"], ours["cycles"]["min"], ours["cycles"]["min"] / native["cycles"]["min"],
                     ours["cycles_median"], f"{ours['cycles']['spread']:.0%}"])
    return table(["operation", "insns native", "translated", "ratio", "first", "cycles native", "translated", "ratio",
                  "median", "spread"], rows)
