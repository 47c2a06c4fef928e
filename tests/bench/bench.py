#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The benchmarks: bench.py [--runs N] [part ...], all parts by default. Prints a table for each part and keeps the numbers in
build/bench/<part>.json, what they were taken of in build/bench/about.json, and plots in build/bench/*.svg. What they mean and how
they are taken: docs/performance.md."""
import argparse
import json
import os
import platform
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True  # nothing is written outside build/

from report import Broken, Settings, Unavailable  # first: it makes boot/ importable

import decompressor
import hosted
import linux
import mix
import nano
import plots
import programs
import scaling
import size
import smc
import start
import work

PARTS = {"hosted": hosted, "work": work, "programs": programs, "nano": nano, "decompressor": decompressor, "start": start,
         "size": size, "smc": smc, "linux": linux, "mix": mix, "scaling": scaling}


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "none"
    return (done.stdout.splitlines() or ["unknown"])[0]


def about():
    """What the numbers are of."""
    return {"commit": first_line("git", "describe", "--always", "--dirty", "--abbrev=12"), "compiler": first_line("gcc", "--version"),
            "qemu": first_line("qemu-system-x86_64", "--version"), "linux": platform.release(), "cpus": os.cpu_count(),
            "begun": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())}


def note(folder, name, begin, outcome, run):
    """Add a part to about.json, beside what the parts of earlier runs say."""
    path = os.path.join(folder, "about.json")
    parts = {}
    if os.path.exists(path):
        with open(path, encoding="ascii") as f:
            parts = json.load(f)
    parts[name] = dict(run, seconds=round(time.monotonic() - begin), outcome=outcome,
                       load=[round(value, 1) for value in os.getloadavg()])
    with open(path, "w", encoding="ascii") as f:
        json.dump(parts, f, indent=1)


def run_part(name, settings):
    """What became of it: measured, skipped or FAILED (it gave no numbers though it could have)."""
    part = PARTS[name]
    print(f"\n{part.TITLE}\n", flush=True)
    try:
        result = part.measure(settings)
    except Unavailable as reason:
        print(f"skipped: {reason}")
        return "skipped"
    except Broken as reason:
        print(f"FAILED: {reason}")
        return "FAILED"
    except Exception:  # pylint: disable=broad-exception-caught  # one part's error must not cost the others' numbers
        print(f"FAILED:\n{traceback.format_exc()}")
        return "FAILED"
    folder = os.path.join(settings.build, "bench")
    with open(os.path.join(folder, name + ".json"), "w", encoding="ascii") as f:
        json.dump(result, f, indent=1)
    print("\n".join(part.lines(result)))
    return "measured"


def run_parts(names, settings):
    """{part: what became of it}"""
    folder = os.path.join(settings.build, "bench")
    os.makedirs(folder, exist_ok=True)
    outcomes = {}
    for name in names:
        begin, run = time.monotonic(), about()
        outcomes[name] = run_part(name, settings)
        note(folder, name, begin, outcomes[name], run)
        print(f"\n({name}: {time.monotonic() - begin:.0f} s)", flush=True)
    return outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--runs", type=int, default=3, help="of what is timed; two of the nested QEMU")
    parser.add_argument("--no-peer", action="store_true", help="leave out the nested QEMU, which takes minutes")
    parser.add_argument("part", nargs="*", metavar="part", help=" ".join(PARTS))
    options = parser.parse_args()
    unknown = set(options.part) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {' '.join(sorted(unknown))}; there are: {' '.join(PARTS)}")
    settings = Settings(options.build, options.runs, not options.no_peer)
    begin = time.monotonic()
    outcomes = run_parts(options.part or PARTS, settings)
    drawn = plots.draw(os.path.join(settings.build, "bench"))
    print("\nplots:", " ".join(drawn) or "none")
    counts = [f"{list(outcomes.values()).count(outcome)} {outcome}" for outcome in ("measured", "skipped", "FAILED")]
    print(f"{', '.join(counts)} of {len(outcomes)} parts, {(time.monotonic() - begin) / 60:.0f} min, {about()['commit']}")
    return 1 if "FAILED" in outcomes.values() else 0


if __name__ == "__main__":
    sys.exit(main())
