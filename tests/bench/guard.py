#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The performance guard: executed instructions, translated / native, of bench-work, bench-nano and the patterns of bench-smc, against the
committed ones of expected.json. Instruction counts are exact (-icount), so a loss of more than 3 % is a change of the project, not of the
weather. And the goals of smc.py, absolute ones, which hold or do not.

  guard.py            compare; last line "N passed, N failed[, N skipped]"
  guard.py --accept   write the present values to expected.json (make bench-accept)
  guard.py --expected FILE --found FILE     other expectations; ratios as measured before (tests/bench/test-guard.py)

With another QEMU or compiler than expected.json was made with, nothing can be compared: all is skipped, and said."""
import argparse
import functools
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True  # nothing is written outside build/

from report import COUNTED, Settings

import nano
import smc
import work

EXPECTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.json")
LOSS = 0.03
# Which layer a measurement is of; workloads not named here are copied code and direct jumps.
LAYERS = {
    "indirect branches": ["fib", "tree", "interp", "icall", "sort", "call+ret", "indirect-call", "fib-20"],
    "exits: sensitive instructions": ["cpuid", "in-0x61", "pushf+popf", "int-0x80+iret", "syscall+sysret"],
    "inline: virtual interrupt flag": ["cli+sti", "rdtsc"],
    "paging: faults, fills, flushes": ["page-fault-skip", "page-fault-map", "invlpg+touch", "cr3+touch-16"],
    "self-modifying code": ["store-beside-1", "store-beside-50", "smc-hit-1", "smc-hit-50", "opcode-hit-1", "opcode-hit-50",
                            "opcode-hit-200", "opcode-same-50"],
    "translation": ["cold-insn"],
}


def layer_of(name):
    if name.startswith("smc: "):
        return "self-modifying code"
    return next((layer for layer, names in LAYERS.items() if name in names), "copied code, direct jumps")


def first_line(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]


@functools.lru_cache
def tools():
    """What the counts depend on besides the project."""
    return {"qemu": first_line("qemu-system-x86_64", "--version"), "compiler": first_line("gcc", "--version")}


def measure(settings):
    """{name: translated / native}, goals"""
    ratios = {}
    native, ours = (work.one_run(settings, mode, True, 0) for mode in ("native", "translate"))
    ratios.update({name: ours[name][1] / native[name][1] for name in native})
    native, ours = (nano.one_run(settings, mode, COUNTED) for mode in ("native", "translate"))
    ratios.update({name: ours[name][0] / native[name][0] for name in native})
    native, ours = (smc.patterns(settings, engine) for engine in ("native", "protect"))
    ratios.update({f"smc: {name}": ours[name][0] / native[name][0] for name in native})
    return ratios, smc.goals(ours)


def read(path):
    with open(path, encoding="ascii") as f:
        return json.load(f)


def accept(found):
    with open(EXPECTED, "w", encoding="ascii") as f:
        json.dump({"tools": tools(), "ratios": {name: round(value, 4) for name, value in found.items()}}, f, indent=1)
        f.write("\n")
    print(f"{len(found)} ratios written to {os.path.relpath(EXPECTED)}")


def compare(found, expected):
    """Prints what moved; returns the names that have lost."""
    lost = []
    for name, was in expected.items():
        now = found.get(name)
        if now is None:
            print(f"FAILED {name}: no result")
            lost.append(name)
        elif now > was * (1 + LOSS):
            print(f"FAILED {name}: {was:.2f} -> {now:.2f} times native, {now / was - 1:+.1%}; layer: {layer_of(name)}")
            lost.append(name)
        elif now < was * (1 - LOSS):
            print(f"ok     {name}: {was:.2f} -> {now:.2f} times native, {now / was - 1:+.1%}: better; make bench-accept keeps it")
    for name in found.keys() - expected.keys():
        print(f"ok     {name}: new, {found[name]:.2f} times native; make bench-accept adds it")
    return lost


def missed(goals):
    """Prints the goals; returns those that are not reached."""
    print("\n".join(smc.goal_lines(goals)), end="\n" if goals else "")
    return [what for what, value, limit, _ in goals if value > limit]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--accept", action="store_true")
    parser.add_argument("--expected", default=EXPECTED)
    parser.add_argument("--found", help="a file like expected.json: do not measure, these are the ratios")
    options = parser.parse_args(arguments)
    settings = Settings(options.build, 1, False)
    if options.accept:
        accept(measure(settings)[0])
        return 0
    expected = read(options.expected)
    if expected["tools"] != tools():
        print(f"expected.json was made with {expected['tools']}, here is {tools()}: nothing to compare")
        print(f"0 passed, 0 failed, {len(expected['ratios'])} skipped")
        return 0
    found, goals = (read(options.found)["ratios"], []) if options.found else measure(settings)
    lost = compare(found, expected["ratios"])
    lost += missed(goals)
    print(f"{len(expected['ratios']) + len(goals) - len(lost)} passed, {len(lost)} failed")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
