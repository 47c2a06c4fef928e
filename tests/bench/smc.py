# SPDX-License-Identifier: MIT
"""Payload bench-smc: what changing code costs, and storing to pages that hold code. Executed instructions: native, translated with code
changes found by page protection and by inline checks, and in a nested QEMU, whose softmmu checks stores as well. And the goals for
them, from what the same run has measured."""
import re

from report import COUNTED, Broken, run_guest, table

import engines

TITLE = "Code that changes, and stores beside code: instructions"
LINE = re.compile(r"^bench (\S+)-(\d+) ([\d.]+) ([\d.]+)\r*$", re.M)
PATTERN = re.compile(r"^pattern (\S+) ([\d.]+) ([\d.]+)\r*$", re.M)
TIME_LIMIT = 300
SCALE = 50  # 10^5 functions appended, 10^7 stores, 10^4 patches
ENGINES = {"native": {"mode": "native"}, "protect": {"mode": "translate"},
           "check": {"mode": "translate", "smc": "check"}}


def one_run(settings, options):
    """{form: {functions on the page: (first, later)}}"""
    output = run_guest(settings, guest=settings.payload("bench-smc"), timeout=TIME_LIMIT, qemu_extra=COUNTED, **options)
    found = {}
    for name, functions, first, later in LINE.findall(output):
        found.setdefault(name, {})[int(functions)] = (float(first), float(later))
    if not found:
        raise Broken(f"no results from bench-smc\n{output[-2000:]}")
    return found


def patterns(settings, engine, scale=1, rounds=5):
    """{pattern: (least, first)}, instructions for each operation."""
    if engine == "peer":
        output = engines.peer(settings, "smc", TIME_LIMIT, True)
    else:
        output = run_guest(settings, guest=settings.payload("bench-smc"), timeout=TIME_LIMIT, qemu_extra=COUNTED,
                           cmdline=f"patterns={scale} rounds={rounds}", **ENGINES[engine])
    found = {name: (float(least), float(first)) for name, least, first in PATTERN.findall(output)}
    if not found or "FAIL" in output:
        raise Broken(f"no results from bench-smc, or wrong ones\n{output[-2000:]}")
    return found


def goals(found):
    """[(what, value, limit, text)] of the patterns under page protection."""
    cost = {name: least for name, (least, _) in found.items()}
    translation = cost["translate+call"] - cost["call"]
    hit = cost["other-opcode"] - cost["call"]
    trips = (hit - translation) / cost["fault"]
    rows = [("hit, less one translation, in page faults", trips, 3.0,
             f"hit {hit:,.0f}, translation {translation:,.0f}, page fault that the guest does not see {cost['fault']:,.0f}")]
    for count in (1, 50, 200):
        rows.append((f"store beside {count} functions, over one to a page of data", cost[f"store-beside-{count}"] / cost["store"], 1.5,
                     f"{cost[f'store-beside-{count}']:.2f}, {cost['store']:.2f}"))
    rows.append(("store beside 200 functions, over one beside 1", cost["store-beside-200"] / cost["store-beside-1"], 1.02, ""))
    rows.append(("store to a page that held code, over one to a page that never did", cost["store-former"] / cost["store"], 1.005, ""))
    return rows


def goal_lines(rows):
    return [f"{'ok    ' if value <= limit else 'FAILED'} goal: {what}: {value:.3f}, at most {limit}{f' ({text})' if text else ''}"
            for what, value, limit, text in rows]


def measure(settings):
    result = {"stores": {name: one_run(settings, options) for name, options in ENGINES.items()},
              "patterns": {name: patterns(settings, name, SCALE, 2) for name in ENGINES}}
    if settings.peer:
        result["patterns"]["peer"] = patterns(settings, "peer")
    return result


def store_table(stores):
    rows = []
    for form, native in stores["native"].items():
        for engine, forms in stores.items():
            if engine == "native":
                continue
            ours = forms[form]
            apart = ours[0][1]
            rows.append([f"{form}, {engine}", native[0][1], apart] + [ours[n][1] for n in (1, 50, 200)] +
                        [ours[200][1] / apart, ours[200][0]])
    return table(["store", "native", "data apart", "1 block", "50", "200", "200 / apart", "first 20,000 at 200"], rows)


def pattern_table(found):
    """Least; the first round, in which all is new, for those of which it says something else."""
    names = list(found)
    rows = [[pattern] + [found[name][pattern][0] if pattern in found[name] else "" for name in names] +
            [found["protect"][pattern][1]] for pattern in found["native"]]
    return table(["operation"] + names + ["protect, first round"], rows)


def lines(result):
    found = result["patterns"]
    return pattern_table(found) + [""] + goal_lines(goals(found["protect"])) + [""] + store_table(result["stores"])
