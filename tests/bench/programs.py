# SPDX-License-Identifier: MIT
"""Debian in the machine, native, translated and in a nested QEMU: boot, system calls, context switches, forks, programs."""
from report import Broken, pair_text, paired, summary, table

import engines

TITLE = "Linux: boot and programs: native, notdirty, nested QEMU TCG"
TIME_LIMIT = 1200


def measure(settings):
    present = ("native", "translate", "peer") if settings.peer else ("native", "translate")
    result = {}
    timed = settings.timed(present, lambda engine: engines.linux(settings, engine, TIME_LIMIT))
    for engine in present:
        try:
            counted = engines.linux(settings, engine, TIME_LIMIT, counted=True)
        except Broken as reason:
            if engine != "peer":
                raise
            print(f"the nested QEMU is not counted: {str(reason).splitlines()[0]}", flush=True)
            continue
        for name, insns in counted.items():
            row = result.setdefault(name, {})
            row[engine] = {"insns": insns}
            if not timed[engine] or name not in timed[engine][0]:
                continue
            cycles = [run[name] for run in timed[engine]]
            row[engine].update(cycles=summary(cycles), paired=paired(cycles, [run[name] for run in timed["native"]]))
            if engine == "peer":
                row["translate"]["over_peer"] = paired([run[name] for run in timed["translate"]], cycles)
    return result


def lines(result):
    rows = []
    for name, row in result.items():
        native, ours, peer = row["native"], row["translate"], row.get("peer")
        rows.append([name, native["insns"] / 1e6, ours["insns"] / native["insns"], peer["insns"] / native["insns"] if peer else "",
                     ours["insns"] / peer["insns"] if peer else "", native["cycles"]["min"] / 1e6 if "cycles" in native else "",
                     pair_text(ours.get("paired")), pair_text(peer.get("paired")) if peer else "", pair_text(ours.get("over_peer"))])
    return table(["", "Minsns native", "notdirty", "QEMU", "notdirty/QEMU", "Mcycles native", "notdirty", "QEMU", "notdirty/QEMU"],
                 rows)
