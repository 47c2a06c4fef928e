#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The benchmarks: bench.py [--runs N] [part ...], all parts by default. Prints a table for each part and keeps the numbers in
build/bench/<part>.json, and plots in build/bench/*.svg. What they mean and how they are taken: docs/performance.md."""
import argparse
import json
import os
import sys
import time

sys.dont_write_bytecode = True  # nothing is written outside build/

from report import Broken, Settings, Unavailable  # first: it makes boot/ importable

import decompressor
import hosted
import linux
import nano
import plots
import programs
import scaling
import size
import smc
import start
import work

PARTS = {"hosted": hosted, "work": work, "programs": programs, "nano": nano, "decompressor": decompressor, "start": start,
         "size": size, "smc": smc, "linux": linux, "scaling": scaling}


def run_part(name, settings):
    """False if it gave no numbers though it could have."""
    part = PARTS[name]
    begin = time.monotonic()
    print(f"\n{part.TITLE}\n", flush=True)
    try:
        result = part.measure(settings)
    except Unavailable as reason:
        print(f"skipped: {reason}")
        return True
    except Broken as reason:
        print(f"FAILED: {reason}")
        return False
    folder = os.path.join(settings.build, "bench")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name + ".json"), "w", encoding="ascii") as f:
        json.dump(result, f, indent=1)
    print("\n".join(part.lines(result)))
    print(f"\n({name}: {time.monotonic() - begin:.0f} s)", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--runs", type=int, default=3, help="of what is timed")
    parser.add_argument("--no-peer", action="store_true", help="leave out the nested QEMU, which takes minutes")
    parser.add_argument("part", nargs="*", metavar="part", help=" ".join(PARTS))
    options = parser.parse_args()
    unknown = set(options.part) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {' '.join(sorted(unknown))}; there are: {' '.join(PARTS)}")
    settings = Settings(options.build, options.runs, not options.no_peer)
    good = [run_part(name, settings) for name in options.part or PARTS]
    drawn = plots.draw(os.path.join(settings.build, "bench"))
    print("\nplots:", " ".join(drawn) or "none")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
