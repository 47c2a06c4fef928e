# SPDX-License-Identifier: MIT
"""Payload bench-smc: what a store costs on a page that also holds code, against the same loop with its data apart. Executed
instructions per store: native, and translated with code changes found by page protection and by inline checks."""
import re

from report import COUNTED, Broken, run_guest, table

TITLE = "Stores beside code, instructions per loop pass with one store"
LINE = re.compile(r"^bench (\S+)-(\d+) ([\d.]+) ([\d.]+)\r?$", re.M)
TIME_LIMIT = 300
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


def measure(settings):
    return {name: one_run(settings, options) for name, options in ENGINES.items()}


def lines(result):
    rows = []
    for form, native in result["native"].items():
        for engine, forms in result.items():
            if engine == "native":
                continue
            ours = forms[form]
            apart = ours[0][1]
            rows.append([f"{form}, {engine}", native[0][1], apart] + [ours[n][1] for n in (1, 50, 200)] +
                        [ours[200][1] / apart, ours[200][0]])
    return table(["store", "native", "data apart", "1 block", "50", "200", "200 / apart", "first 20,000 at 200"], rows)
