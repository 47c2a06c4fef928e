# SPDX-License-Identifier: MIT
"""The workloads of tests/bench/workloads/ as a bare payload in the machine: native, translated and in a nested QEMU."""
import re

from report import Broken, pair_text, paired, summary, table

import engines

TITLE = "Workloads in the machine: native, notdirty, nested QEMU TCG"
LINE = re.compile(r"^work (\S+) (\d+) (\d+) ([0-9a-f]+)\r*$", re.M)
TIME_LIMIT = 1200
ENGINES = ("native", "translate", "peer")


def one_run(settings, engine, counted, scale):
    """{name: (first, least, checksum)}"""
    if engine == "peer":
        output = engines.peer(settings, "work", TIME_LIMIT, counted)
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
        if timed[engine]:
            row[engine]["cycles"] = summary([run[name][1] for run in timed[engine]])
            row[engine]["paired"] = paired(*([run[name][1] for run in timed[e]] for e in (engine, "native")))


def check(result):
    """Every engine must have computed the same."""
    for name, row in result.items():
        if len({row[engine]["checksum"] for engine in row if engine in ENGINES}) != 1:
            raise Broken(f"{name}: the engines differ in their results")


def measure(settings):
    result = {}
    present = ENGINES if settings.peer else ENGINES[:2]
    timed = settings.timed(present, lambda engine: one_run(settings, engine, False, 0))
    for engine in present:
        merge(result, engine, one_run(settings, engine, True, 0), timed)
    check(result)
    return result


def lines(result):
    rows = []
    for name, row in result.items():
        native, ours, peer = row["native"], row["translate"], row.get("peer")
        rows.append([name, native["insns"], ours["insns"] / native["insns"],
                     peer["insns"] / native["insns"] if peer else "", native["cycles"]["min"] / 1e6 if "cycles" in native else "",
                     pair_text(ours.get("paired")), pair_text(peer.get("paired")) if peer else ""])
    return table(["workload", "insns native", "notdirty", "QEMU", "Mcycles native", "notdirty", "QEMU"], rows)
