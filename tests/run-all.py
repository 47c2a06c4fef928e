#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run host test programs (cmocka) and whole stages, and add up what they say.

  run-all.py build/tests/test-foo "build/tests/test-bar 1000" ...     host tests, with their arguments
  run-all.py ... --stage tests/system/run.py     also run a script that ends with a line "N passed, N failed[, N skipped]";
                                                 --stage may be given again, and the script's arguments may follow its name

The last line printed is "N passed, N failed[, N skipped]"; the exit status is 0 only if nothing failed. A program that crashes,
times out or runs no test counts as a failure."""
import argparse
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

PROGRAM_TIMEOUT = 300
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")


def run_program(path):
    """One program with its arguments in one string, usually of cmocka. Returns (what to show, Counter): its output is shown
    only if something failed."""
    command = shlex.split(path)
    name = " ".join(map(os.path.basename, command))
    shown = []
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                timeout=PROGRAM_TIMEOUT, check=False)
        output, code = result.stdout.decode("utf-8", "replace"), result.returncode
    except subprocess.TimeoutExpired as e:
        output, code = (e.stdout or b"").decode("utf-8", "replace") + f"\ntime-out after {PROGRAM_TIMEOUT} s\n", "time-out"
    except OSError as e:
        output, code = f"{e}\n", "not started"
    count = count_cmocka(output) + count_summary(output)
    if code != 0 and not count["failed"]:
        count["failed"] += 1  # a crash or leak outside any test
    if not sum(count.values()):
        count["failed"] += 1
    if count["failed"]:
        shown += [output.rstrip("\n"), f"{name}: exit status {code}"]
    return "\n".join(shown + [f"{name}: {text(count)}"]), count


def count_cmocka(output):
    """Every test that began must also have ended well; one that did not, failed."""
    begun = len(re.findall(r"^\[ RUN      \]", output, re.M))
    passed = len(re.findall(r"^\[       OK \]", output, re.M))
    skipped = len(re.findall(r"^\[  SKIPPED \] \w+$", output, re.M))
    skipped = min(skipped, begun - passed)
    return Counter(passed=passed, failed=begun - passed - skipped, skipped=skipped)


def count_summary(output):
    """For a program that is not a cmocka one: its last summary line."""
    matches = [match for match in map(SUMMARY.match, output.splitlines()) if match]
    return as_count(matches[-1]) if matches else Counter()


def as_count(match):
    return Counter(passed=int(match[1]), failed=int(match[2]), skipped=int(match[3] or 0))


def run_stage(script):
    """A script with a summary line of its own, which is taken into account instead of shown."""
    count = None
    with subprocess.Popen([sys.executable, *shlex.split(script)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        for line in process.stdout:
            match = SUMMARY.match(line.strip())
            if match:
                count = as_count(match)
            else:
                print(line, end="", flush=True)
    if count is None:
        print(f"{script}: no summary line (exit status {process.returncode})")
        return Counter(failed=1)
    if process.returncode != 0 and not count["failed"]:
        print(f"{script}: exit status {process.returncode}")
        count["failed"] = 1
    return count


def text(count):
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    return f"{count['passed']} passed, {count['failed']} failed{skipped}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*")
    parser.add_argument("--stage", action="append", default=[])
    parser.add_argument("-j", "--jobs", type=int, default=2)
    args = parser.parse_args()
    total = Counter()
    with ThreadPoolExecutor(args.jobs) as pool:
        for shown, count in pool.map(run_program, args.programs):
            print(shown, flush=True)
            total += count
    for script in args.stage:
        total += run_stage(script)
    print(text(total))
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
