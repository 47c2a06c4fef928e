# SPDX-License-Identifier: MIT
"""The workloads of tests/bench/workloads/ as a bare payload in the machine: native, translated and in a nested QEMU."""
import re

from report import Broken, summary, table

import engines

TITLE = "Workloads in the machine: native, notdirty, nested QEMU TCG"
LINE = re.compile(r"^work (\S+) (\d+) (\d+) ([0-9a-f]+)\r*$", re.M)
TIME_LIMIT = 300
ENGINES = ("native", "translate", "peer")


def one_run(settings, engine, counted, scale):
    """{name: (first, least, checksum)}"""
    if engine == "peer":
        output = engines.peer(settings, "work", TIME_LIMIT, counted=counted, scale=scale)
    else:
        output = engines.until(settings, rb"work sort [^\n]*\n", TIME_LIMIT, counted=counted, mode=engine,
                               guest=settings.payload("bench-work"), cmdline=f"scale={scale}")
    found = {name: (int(first), int(least), checksum) for name, first, least, checksum in LINE.findall(output)}
    if not found:
        raise Broken(f"no results from bench-work\n{output[-1500:]}")
    return found


def merge(result, engine, counted, timed):
    for name, (first, least, checksum) in counted.items():
        row = result.setdefault(name, {})
        row[engine] = {"insns": least, "insns_first": first, "checksum": checksum}
        if timed:
            row[engine]["cycles"] = summary([run[name][1] for run in timed])


def check(result):
    """Every engine must have computed the same."""
    for name, row in result.items():
        if len({row[engine]["checksum"] for engine in row if engine in ENGINES}) != 1:
            raise Broken(f"{name}: the engines differ in their results")


def measure(settings):
    result = {}
    present = ENGINES if settings.peer else ENGINES[:2]
    timed = {engine: [] for engine in present}
    for _ in range(settings.runs):  # in turns: both sides of a ratio see the same load
        for engine in present:
            timed[engine].append(one_run(settings, engine, False, 0))
    for engine in present:
        merge(result, engine, one_run(settings, engine, True, 0), timed[engine])
    check(result)
    return result


def paired(row, engine):
    """Least cycles, over native's."""
    return row[engine]["cycles"]["min"] / row["native"]["cycles"]["min"]


def lines(result):
    rows = []
    for name, row in result.items():
        native, ours, peer = row["native"], row["translate"], row.get("peer")
        rows.append([name, native["insns"], ours["insns"] / native["insns"],
                     peer["insns"] / native["insns"] if peer else "", native["cycles"]["min"] / 1e6, paired(row, "translate"),
                     paired(row, "peer") if peer else "", f"{ours['cycles']['spread']:.0%}"])
    return table(["workload", "insns native", "notdirty", "QEMU", "Mcycles native", "notdirty", "QEMU", "spread"], rows)
