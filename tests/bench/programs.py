# SPDX-License-Identifier: MIT
"""Debian in the machine, native, translated and in a nested QEMU: boot, system calls, context switches, forks, programs."""
from report import summary, table

import engines

TITLE = "Linux: boot and programs: native, notdirty, nested QEMU TCG"
TIME_LIMIT = 580


def measure(settings):
    present = ("native", "translate", "peer") if settings.peer else ("native", "translate")
    result = {}
    timed = {engine: [] for engine in present}
    for _ in range(settings.runs):
        for engine in present:
            timed[engine].append(engines.linux(settings, engine, TIME_LIMIT))
    for engine in present:
        counted = engines.linux(settings, engine, TIME_LIMIT, counted=True)
        for name, insns in counted.items():
            result.setdefault(name, {})[engine] = {"insns": insns, "cycles": summary([run[name] for run in timed[engine]])}
    return result


def lines(result):
    rows = []
    for name, row in result.items():
        native, ours, peer = row["native"], row["translate"], row.get("peer")

        def over(engine, clock):
            of = (lambda e: e["insns"]) if clock == "insns" else (lambda e: e["cycles"]["min"])
            return of(engine) / of(native)

        rows.append([name, native["insns"] / 1e6, over(ours, "insns"), over(peer, "insns") if peer else "",
                     native["cycles"]["min"] / 1e6, over(ours, "cycles"), over(peer, "cycles") if peer else "",
                     ours["cycles"]["min"] / peer["cycles"]["min"] if peer else "", f"{ours['cycles']['spread']:.0%}"])
    return table(["", "Minsns native", "notdirty", "QEMU", "Mcycles native", "notdirty", "QEMU", "notdirty/QEMU", "spread"], rows)
